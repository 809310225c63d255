"""`xstilts data check`: read data files as a run would, and tell all that is wrong with them at once."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from xstilts.common import fast_yaml
from xstilts.common.errors import UserError
from xstilts.common.textfile import check_regular
from xstilts.data import hub
from xstilts.data.load import check_names, find, read_files, source_of
from xstilts.data.problems import Problems, count
from xstilts.data.readers import Source, read
from xstilts.data.readers.text import json_content, lines, suffix
from xstilts.tasks import Catalog, builtin_catalog
from xstilts.tasks.formats import Example
from xstilts.tasks.task import Files, Split, Task

SPLITS: tuple[Split, ...] = ("train", "dev", "test")

NOT_THERE = "no such file or folder; give a data folder or a data file"


@dataclass(frozen=True)
class Checked:
    """Files that were read together: a split of a task in a language, or one file by its layout alone."""

    paths: tuple[Path, ...]
    what: str  # e.g. "xquad test de", or the layout
    examples: int
    gold: int  # how many of them have gold
    expected: int | None = None  # how many the whole official split has, where the catalog says it


@dataclass(frozen=True)
class Inspection:
    """What a check found; ``problems`` holds one line each, and none means that a run can use the files."""

    checked: tuple[Checked, ...]
    problems: tuple[str, ...]
    not_recognised: tuple[Path, ...]
    notes: tuple[str, ...] = ()  # what is odd, and does not keep a run from using the files

    def lines(self) -> list[str]:
        """The report for people: counts, then what was not recognised, then the problems."""
        told = []
        for one in self.checked:
            files = str(one.paths[0]) if len(one.paths) == 1 else f"{one.paths[0]} and {len(one.paths) - 1} more"
            without = one.examples - one.gold
            gold = "" if not without else ", without gold" if not one.gold else f", {without:,} without gold"
            of = "" if one.expected is None else f"{one.examples:,} of "
            told.append(f"{files}: {one.what}, {of}{count(one.expected or one.examples, 'example')}{gold}")
        by_folder: dict[Path, list[str]] = {}
        for path in self.not_recognised:
            by_folder.setdefault(path.parent, []).append(path.name)
        for folder, names in by_folder.items():
            few = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            told.append(f"{folder}: not recognised: {few}")
        return [*told, *(f"note: {note}" for note in self.notes), *self.problems]


def check(path: Path, catalog: Catalog | None = None) -> Inspection:
    """Read every file under ``path`` (a data folder, a part of one, or one file) that a run could use.

    Files are recognised by the patterns of the catalog; a single file that no pattern names is read by its layout
    (SQuAD-style JSON, pairs in JSON, CoNLL-U, JSON lines, CSV, tables). Raises UserError where there is no such file.
    """
    files = sorted(_walk(path))
    problems = Problems(collect=True)
    checked: list[Checked] = []
    seen: set[Path] = set()
    # what was read: XTREME's folders end as the official ones do, so that two layouts find the same files; and
    # XTREME-R's tasks have the files of XTREME's, and more languages
    done: set[tuple[Split, str, tuple[Path, ...], str, tuple[str, ...]]] = set()
    by_split: dict[tuple[str, Split, str], Checked] = {}  # in the layout that a run would take
    catalog = builtin_catalog() if catalog is None else catalog
    # A run finds files by the names they have in the folder, be these links or not. What has none of these names is
    # known by that of the file that it links to.
    for named in (os.path.abspath, os.path.realpath):
        names = [(file, Path(named(file)).as_posix()) for file in files if file not in seen]
        for task, split, language, source in _recognised(names, catalog):
            reading = (split, language, source.paths, source.layout.reader, source.labels)
            if reading in done:
                continue
            done.add(reading)
            examples = read_files(task, source, problems)
            seen.update(source.paths, [source.gold] if source.gold else [])
            one = _checked(source, f"{task.name} {split} {language}", examples, task.count(split, language))
            checked.append(one)
            by_split.setdefault((task.name, split, language), one)
    checked += _united(catalog, by_split)
    rest = [file for file in files if file not in seen]
    if rest == [path] and (guess := _by_layout(path, problems)) is not None:
        checked.append(_checked(guess, f"layout {guess.layout.reader}", read(guess, problems)))
        rest = []
    found = problems.lines()
    if not checked and not found:
        found = [
            f"{path}: nothing here that a run could read; docs/data.md says how the files are named, and --task names "
            "an entry of your own"
        ]
    return Inspection(tuple(checked), tuple(found), tuple(rest), tuple(problems.notes))


def check_task(task: Task, path: Path) -> Inspection:
    """Read every file of a task under ``path``, the data folder, as a run would; or one file, by the task's reader.

    Raises UserError where there is none.
    """
    problems = Problems(collect=True)
    sources = []
    if path.is_dir():
        for part, split in product(task.parts or (task,), SPLITS):
            for language in part.languages:
                if (located := find(part, split, language, path)) is not None:
                    sources.append((part, source_of(part, located)))
                else:
                    check_names(part, split, language, path)
    else:
        check_regular(path, NOT_THERE)
        sources = [(part, _source_of_file(part, path)) for part in (task.parts or (task,))[:1]]
    # A dev set that is cut out of train is in the same files.
    sources = list({(one.paths, one.language, one.split): (part, one) for part, one in sources}.values())
    if not sources:
        patterns = [p for layout in task.layouts for p in (layout.train, layout.dev, layout.test) if p]
        raise UserError(f"{path}: no file of {task.name}; its entry names {', '.join(dict.fromkeys(patterns))}")
    checked = [
        _checked(
            source,
            f"{part.name} {source.split or ''} {source.language}".replace("  ", " "),
            read_files(part, source, problems),
            part.count(source.split, source.language) if source.split else None,
        )
        for part, source in sources
    ]
    return Inspection(tuple(checked), tuple(problems.lines()), (), tuple(problems.notes))


def _source_of_file(task: Task, path: Path) -> Source:
    """One file of a task, as the entry reads such files: by its name, or by the first of its layouts."""
    for named in (os.path.abspath, os.path.realpath):
        for _, _, _, source in _recognised([(path, Path(named(path)).as_posix())], [task]):
            return source
    if not task.layouts:
        raise UserError(f"{task.name}: its entry has no `files`")
    return Source((path,), task.layouts[0], task.languages[0], task.labels, None, task.labels_from_data, task.format)


def check_hub(names: Sequence[str]) -> Inspection:
    """Read everything that the hub has of some tasks, at the catalog's revisions, and count it.

    Raises UserError where a task has nothing there, or the hub cannot be reached.
    """
    catalog = builtin_catalog()
    by_split: dict[tuple[str, Split, str], Checked] = {}
    problems: list[str] = []
    notes: list[str] = []
    for task in {part.name: part for name in names for part in catalog[name].parts or (catalog[name],)}.values():
        if task.hub is None:
            raise UserError(f"--hub {task.name}: the catalog names no data set of the hub for it (docs/data.md does)")
        places = [hub.locate(task, split, language, {}) for split in SPLITS for language in task.languages]
        for place in filter(None, places):
            try:
                told = Problems()
                examples = hub.read(task, place, told)
                notes += told.notes
            except UserError as error:
                problems.append(str(error))
                continue
            where = Path(f"{place.layout.repository}@{place.commit[:10]}")
            what = f"{task.name} {place.split} {place.language} ({place.config} {'+'.join(place.splits)})"
            expected = None if task.hub.counts_differ else task.count(place.split, place.language)
            by_split[task.name, place.split, place.language] = Checked(
                (where,), what, len(examples), sum(example.has_gold for example in examples), expected
            )
        if not any(places):
            problems.append(f"{task.name}: {hub.missing(task, 'test' if task.hub.test else 'train', 'en', {})}")
    united = [one for one in _united(catalog, by_split) if one.what.partition(" ")[0] in names]
    return Inspection((*by_split.values(), *united), tuple(problems), (), tuple(notes))


def _checked(source: Source, what: str, examples: list[Example], expected: int | None = None) -> Checked:
    return Checked(source.paths, what, len(examples), sum(example.has_gold for example in examples), expected)


def _united(catalog: Catalog, by_split: dict[tuple[str, Split, str], Checked]) -> Iterator[Checked]:
    """The tasks that unite others, of which all parts are there."""
    for task in catalog:
        for split in SPLITS:
            for language in task.languages if task.parts else ():
                parts = [by_split.get((part.name, split, language)) for part in task.parts]
                there = [part for part in parts if part is not None]
                if len(there) == len(parts):
                    yield Checked(
                        tuple(path for part in there for path in part.paths),
                        f"{task.name} {split} {language}",
                        sum(part.examples for part in there),
                        sum(part.gold for part in there),
                        task.count(split, language),
                    )


def _walk(path: Path) -> Iterator[Path]:
    """Every file in a folder and those in it, or the file that ``path`` is; links are followed, each folder once."""
    if not path.is_dir():
        check_regular(path, NOT_THERE)
        yield path
        return
    entered = {path.resolve()}
    for folder, folders, names in os.walk(path, followlinks=True):
        new = [name for name in folders if Path(folder, name).resolve() not in entered]
        entered.update(Path(folder, name).resolve() for name in new)
        folders[:] = new
        yield from (Path(folder, name) for name in names)


def _recognised(names: list[tuple[Path, str]], catalog: Iterable[Task]) -> Iterator[tuple[Task, Split, str, Source]]:
    """The sources that files make up, by the catalog's patterns matched against the end of their ``names``."""
    for task in catalog:
        for layout in task.layouts:
            for split in SPLITS:
                pattern = {"train": layout.train, "dev": layout.dev, "test": layout.test}[split]
                if pattern is not None:
                    yield from _of_pattern(task, layout, split, pattern, names)


def _of_pattern(
    task: Task, layout: Files, split: Split, pattern: str, names: list[tuple[Path, str]]
) -> Iterator[tuple[Task, Split, str, Source]]:
    languages = {layout.codes.get(language, language): language for language in task.languages}
    groups: dict[tuple[str, str], list[Path]] = {}
    for file, name in names:
        if (match := _regex(pattern).search(name)) is None:
            continue
        data = name[: match.start("tail")]
        codes = [code for group, code in match.groupdict().items() if group != "tail"]  # of one language, or of a pair
        if not codes:
            among = task.languages if layout.by_language else task.languages[:1]
            for language in among:
                groups.setdefault((data, language), []).append(file)
        elif (code := "-".join(codes)) in languages:
            groups.setdefault((data, languages[code]), []).append(file)
    for (data, language), paths in sorted(groups.items()):
        gold = Path(data) / layout.test_gold if split == "test" and layout.test_gold else None
        by_name = {name: file for file, name in names}
        gold = by_name.get(str(gold), gold) if gold else None
        gold = gold if gold and gold.is_file() else None  # XTREME's own download has none
        source = Source(tuple(paths), layout, language, task.labels, gold, task.labels_from_data, task.format, split)
        yield task, split, language, source


def _regex(pattern: str) -> re.Pattern[str]:
    """A catalog pattern as a regular expression for the end of a path; a language is one and the same throughout."""
    parts = re.split(r"(\{(?:lang|context|question)\}|\*)", pattern)
    named: set[str] = set()
    expression = ""
    for part in parts:
        if part.startswith("{"):
            name = part[1:-1]
            expression += f"(?P={name})" if name in named else f"(?P<{name}>[^/.-]+)"
            named.add(name)
        else:
            expression += "[^/]*" if part == "*" else re.escape(part)
    return re.compile(f"(?:^|/)(?P<tail>{expression})$")


def _by_layout(path: Path, problems: Problems) -> Source | None:
    """How to read a file that the catalog does not know, from its name's ending and its first rows; None if unclear."""
    tail = suffix(path)
    if tail == ".tsv":
        return _table(path)
    if tail == ".json":
        document = json_content(path, Problems(collect=True))
        if isinstance(document, dict) and "data" not in document and "0" in document:
            labels = sorted({str(row.get("label")) for row in document.values() if isinstance(row, dict)})
            return Source((path,), Files(reader="pairs_json"), "", tuple(labels))
    first = ""
    if any("holds" in one for one in _layouts() if one["ending"] == tail):
        first = next((line for _, line in lines(path, Problems(collect=True))), "")
        if not first:
            return Source((path,), Files(reader="lines"), "")  # which tells why there is none
    for one in _layouts():
        if one["ending"] == tail and one.get("holds", "") in first:
            if "reader" in one:
                return Source((path,), Files(reader=one["reader"]), "")
            task = builtin_catalog()[one["task"]]
            return Source((path,), task.layouts[one.get("also", 0)], "", task.labels)
    return None


@cache
def _layouts() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fast_yaml.read(Path(__file__).with_name("layouts.yaml"))
    return found


def _table(path: Path) -> Source:
    """A table without a catalog entry: tokens where empty lines part the sentences, else two texts and a label."""
    rows = [line.split("\t") for _, line in lines(path, Problems(collect=True))]
    width = len(rows[0]) if rows else 1
    if any(row == [""] for row in rows) and width <= 2:
        return Source((path,), Files(reader="tokens"), "", tuple({row[-1] for row in rows}))
    columns = ("premise", "hypothesis", "label")[:width] if width <= 3 else ("premise", *["_"] * (width - 1))
    return Source((path,), Files(reader="tsv", columns=columns), "", tuple(Counter(row[-1] for row in rows)))
