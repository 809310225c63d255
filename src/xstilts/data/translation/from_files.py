"""Translated training data from files: those of XTREME and PAWS-X, and the ones that `xstilts translate` makes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xstilts.common import digests
from xstilts.common.errors import UserError
from xstilts.common.progress import Event, Sink, silent
from xstilts.data.load import Data, file_name, load, matching, provider_of
from xstilts.data.problems import Problems, count
from xstilts.data.readers import Source, read
from xstilts.data.readers.text import lines, suffix
from xstilts.data.translation.by_engine import VERSION, Translations, translate_each
from xstilts.data.translation.engines import Engine
from xstilts.tasks import formats
from xstilts.tasks.formats import Example
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.task import Task

#: Examples that are translated and written at a time: what ^C loses.
CHUNK = 200

#: Why an example of the source is not among the translated ones.
MISSING = "it is not in the file"
NO_ANSWER = "it has no answer in the file"
MISPLACED = "its answer is not at its offset"

#: What a reader gives: for each id its example, or why it is left out.
FoundTranslations = dict[str, Example | str]


def read_translated(task: Task, pattern: str, language: str, source: Sequence[Example], data: Data) -> Translations:
    """The translations of ``source``, English training examples of ``task``, in files that ``pattern`` names.

    ``pattern`` is relative to the data folder, or absolute; ``{lang}`` stands for the language. The files are what
    `write_translated` makes; XTREME's en-LANG-translated.tsv, whose rows hold the English texts too; or in one of the
    task's own layouts, parallel to its English training files: the same ids, where the files have ids, else the same
    number of rows; and the same labels. Examples that files with ids lack are counted, as are those whose answer is
    gone or not at its offset. Raises UserError, naming file and id or line, where files are missing, faulty or not
    parallel.
    """
    paths = _paths(task, pattern, language, data)
    english = {example.id: example for example in _all_english(task, data)}
    found: FoundTranslations = {}
    if _header(paths[0]) is not None:
        for path in paths:
            found |= _read_own(path, task, language, english)
    elif all(_is_xtreme_pairs(path, task) for path in paths):
        for path in paths:
            found |= _read_xtreme_pairs(path, task, english)
    else:
        found = _read_layout(paths, task, language, english)
    if found and all(isinstance(one, str) or one.texts == english[id].texts for id, one in found.items()):
        raise UserError(f"{paths[0]}: holds the English texts, or none, not their translations into {language}")
    return Translations.of([found.get(example.id, MISSING) for example in source])


def files_fingerprint(task: Task, pattern: str, language: str, data: Data) -> str:
    """A sha256 over what decides the translations of ``read_translated``: the bytes of its files; for a stage's key."""
    whole = hashlib.sha256(f"{VERSION}".encode())
    for path in _paths(task, pattern, language, data):
        whole.update(digests.of_file(path).encode())
    return whole.hexdigest()


def _paths(task: Task, pattern: str, language: str, data: Data) -> tuple[Path, ...]:
    filled = file_name(pattern, task.layouts[0], language) if task.layouts else pattern.replace("{lang}", language)
    folder = provider_of(data).folder
    place = Path(filled).expanduser()
    if place.is_absolute():
        paths = matching(Path(place.anchor), str(place.relative_to(place.anchor)))
    elif folder is None:
        raise UserError(f"{filled}: no data folder to look for it in; set `data:` in the study or XSTILTS_DATA")
    else:
        paths = matching(folder, filled)
    if not paths:
        where = "" if place.is_absolute() else f" in {folder}"
        raise UserError(
            f"{filled}: no such file{where} (translations of {task.name} into {language}); "
            f"`xstilts translate {task.name} --to {language} --out FILE` makes one"
        )
    return paths


def _all_english(task: Task, data: Data) -> list[Example]:
    """The English training examples before dev is cut out of them: what files are parallel to."""
    examples = load(task, "train", "en", data)
    parts = task.parts or (task,)
    cut = [part for part in parts if not any(layout.dev for layout in part.layouts)]
    return examples + (load(task, "dev", "en", data) if cut else [])


def _check(example: Example, english: dict[str, Example], where: str) -> None:
    """Raises UserError unless ``example`` can be the translation of the English one of its id."""
    own = english[example.id]
    if own.gold_label != example.gold_label:
        raise _not_parallel(where, f"label {example.gold_label!r}, but {own.gold_label!r} in English")
    if len(own.texts) != len(example.texts):
        raise _not_parallel(where, f"{len(example.texts)} texts, but {len(own.texts)} in English")
    if example.marks and not own.marks:
        raise _not_parallel(where, "an answer, but the English question has none")


def _not_parallel(where: str, what: str) -> UserError:
    return UserError(f"{where}: {what}: not parallel to the English training data; take the files that belong together")


# The task's own layouts


def _read_layout(paths: tuple[Path, ...], task: Task, language: str, english: dict[str, Example]) -> FoundTranslations:
    examples = _by_layout(paths, task, language)
    strangers = [example.id for example in examples if example.id not in english]
    numbered = all(example.id == str(number) for number, example in enumerate(examples, start=1))
    if numbered and len(examples) != len(english):
        what = f"{count(len(examples), 'row')}, but {len(english):,} in English"
        raise _not_parallel(str(paths[0]), what)
    if strangers:
        what = f"{count(len(strangers), 'id')} that the English data lack, the first {strangers[0]!r}"
        raise _not_parallel(str(paths[0]), what)
    found: FoundTranslations = {}
    for example in examples:
        _check(example, english, f"{paths[0]}: id {example.id}")
        found[example.id] = example
        if not _in_place(example):
            found[example.id] = MISPLACED
        elif not example.has_gold:
            found[example.id] = NO_ANSWER
    return found


def _by_layout(paths: tuple[Path, ...], task: Task, language: str) -> list[Example]:
    """The examples, as the first of the task's layouts reads them that finds no fault; misplaced answers are none."""
    faults: list[list[str]] = []
    for layout in task.layouts:
        of = "en" if layout.languages_in_ids else language  # of the original
        problems = Problems(collect=True)
        # As a test set's, which may have answers that are not at their offset: they are left out, here or later.
        layout = layout.model_copy(update={"on_bad_offset": "drop"})
        source = Source(paths, layout, of, task.labels, format=task.format, split="test")
        examples: list[Example] = read(source, problems)
        faults.append(problems.lines())
        if not faults[-1]:
            return examples
    if not faults:
        raise UserError(
            f"{paths[0]}: {task.name} has no layout of its own to read it by; use what `xstilts translate` makes"
        )
    raise UserError(min(faults, key=len)[0])


def _in_place(example: Example) -> bool:
    return all(
        mark.start >= 0 and example.texts[0][mark.start : mark.start + len(mark.text)] == mark.text
        for mark in example.marks
    )


# XTREME's tables of pairs: English premise, English hypothesis, premise, hypothesis, label; no header, no quotes
# (xtreme_translations/{XNLI,PAWSX}/translate-train/en-LANG-translated.tsv; read so by TFDS's xtreme_xnli, xtreme_pawsx)


def _is_xtreme_pairs(path: Path, task: Task) -> bool:
    if suffix(path) != ".tsv":
        return False
    first = next((line for _, line in lines(path, Problems(collect=True))), "").split("\t")
    return len(first) == 5 and _label(first[4], task) in task.labels


def _label(written: str, task: Task) -> str | None:
    """The task's name of a label as any of its layouts writes it."""
    names = {theirs: own for layout in task.layouts for theirs, own in layout.label_names.items()}
    return names.get(written, written)


def _read_xtreme_pairs(path: Path, task: Task, english: dict[str, Example]) -> FoundTranslations:
    by_texts: dict[tuple[str, ...], list[Example]] = {}
    for example in english.values():
        by_texts.setdefault(tuple(map(_squeezed, example.texts)), []).append(example)
    found: FoundTranslations = {}
    rows = matched = unmatched = 0  # unmatched is the first such line
    for number, line in lines(path, Problems()):
        cells = line.split("\t")
        if len(cells) != 5 or (label := _label(cells[4], task)) not in task.labels:
            continue  # "some rows in the files have been wrongly populated", says the reader of TFDS
        rows += 1
        sources = by_texts.get((_squeezed(cells[0]), _squeezed(cells[1])), [])
        if not sources:
            unmatched = unmatched or number
            continue
        matched += 1
        own = next((one for one in sources if one.id not in found), sources[0])  # repeated pairs, each to one row
        translated = ClassificationExample(own.id, cells[2], cells[3], label)
        _check(translated, english, f"{path}:{number}")
        found[own.id] = translated
    if matched < rows / 2:
        what = f"{matched:,} of {count(rows, 'row')} have English texts of {task.name}'s training data"
        raise _not_parallel(f"{path}:{unmatched or 1}", what)
    return found


def _squeezed(text: str) -> str:
    """A text without white space, which distributions of the same data set differ in."""
    return "".join(text.split())


# What `xstilts translate` makes: JSON lines, first a header, then one for each example


def write_translated(
    task: Task,
    examples: Sequence[Example],
    engine: Engine,
    language: str,
    out: Path,
    progress: Sink = silent,
) -> Counter[str]:
    """Translate ``examples`` into a new file ``out``; how many there were left out, by reason.

    A line is the fields of an example, or its id and why it was left out as ``dropped``, with a hash of the English one
    as ``source``. Until all are written the file's name ends in .part; a call with the same arguments goes on with it.
    ``progress`` hears of examples. Raises UserError where ``out`` exists.
    """
    if out.exists():
        raise UserError(f"{out}: exists already; name a new file, or remove it to translate again")
    about = {
        "task": task.name,
        "format": task.format,
        "language": language,
        "engine": engine.id(language),
        "version": VERSION,
        "examples": len(examples),
        "source": hashlib.sha256("".join(map(_source, examples)).encode()).hexdigest()[:16],
    }
    header = json.dumps({"translation": about})
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        whole = part.read_text(encoding="utf-8").rpartition("\n")[0].split("\n") if part.exists() else []
        if not whole or whole[0] != header:
            whole = [header]
        part.write_text("\n".join(whole) + "\n", encoding="utf-8")  # without a line that was cut short
        done = len(whole) - 1
        with part.open("a", encoding="utf-8") as file:
            for start in range(done, len(examples), CHUNK):
                chunk = examples[start : start + CHUNK]
                rows = zip(chunk, translate_each(chunk, engine, language), strict=True)
                file.writelines(_line(own, translated) for own, translated in rows)
                file.flush()
                progress(Event(done=start + len(chunk), steps=len(examples)))
        reasons = [json.loads(line).get("dropped") for line in part.read_text(encoding="utf-8").splitlines()[1:]]
        part.rename(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}; name a file elsewhere") from None
    return Counter(reason for reason in reasons if reason is not None)


def _line(own: Example, translated: Example | str) -> str:
    row = {"id": own.id, "dropped": translated} if isinstance(translated, str) else asdict(translated)
    return json.dumps({**row, "source": _source(own)}, ensure_ascii=False) + "\n"


def _source(example: Example) -> str:
    return digests.of_json(asdict(example), sort_keys=False)[:16]


def _header(path: Path) -> dict[str, Any] | None:
    """What the first line of a file of ours says; None where it is none of ours."""
    first = next((line for _, line in lines(path, Problems(collect=True))), "")
    try:
        row = json.loads(first) if first.startswith('{"translation"') else None
    except ValueError:
        return None
    return row["translation"] if isinstance(row, dict) and isinstance(row["translation"], dict) else None


def _read_own(path: Path, task: Task, language: str, english: dict[str, Example]) -> FoundTranslations:
    header = _header(path)
    if header is None:
        raise UserError(f"{path}:1: no header of `xstilts translate`, which the files beside it have")
    for field, wanted in (("task", task.name), ("language", language)):
        if header.get(field) != wanted:
            raise UserError(
                f"{path}:1: {field} {header.get(field)!r}, not {wanted!r}; name the file that was made for it"
            )
    found: FoundTranslations = {}
    rows = 0
    for number, row in _own_rows(path):
        rows += 1
        where = f"{path}:{number}"
        id = row.get("id")
        if not isinstance(id, str) or id not in english:
            raise _not_parallel(where, f"id {id!r} is not in the English data")
        if row.get("source") != _source(english[id]):
            raise _not_parallel(where, f"id {id}: another English text")
        if "dropped" in row:
            found[id] = str(row["dropped"])
            continue
        try:
            example = formats.get(task.format).example.from_record(row)
        except ValueError:
            raise UserError(f"{where}: not a {task.format} example; translate again") from None
        _check(example, english, where)
        if not _in_place(example):
            raise UserError(f"{where}: an answer is not at its offset; translate again")
        found[id] = example
    if rows != header.get("examples"):
        raise UserError(
            f"{path}: {count(rows, 'example')}, but its header says {header.get('examples')}; translate again"
        )
    return found


def _own_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines(path, Problems()):
        if number == 1:
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: not a JSON object; translate again")
        yield number, row
