"""From a catalog entry to examples: which files, read by which reader, and which part of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from xstilts.common import digests
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.textfile import check_regular
from xstilts.data import hub
from xstilts.data.problems import Problems
from xstilts.data.readers import Source, read
from xstilts.data.readers.tokens import separator_of
from xstilts.tasks import formats
from xstilts.tasks.formats import Example
from xstilts.tasks.task import TOKENS, Files, Split, Task

#: Goes up when reading, cutting or numbering changes what examples the same files give.
VERSION = 1

#: The same, of single readers.
READER_VERSIONS = {"conllu": 2}

#: The data folder that comes with the install.
BUNDLED = Path(__file__).parent / "bundled"

#: Share of the training groups that is cut out as dev where a task has no dev files.
DEV_SHARE = 0.1


@dataclass(frozen=True)
class Provider:
    """Where examples come from: a folder of data files (bundled ones need none), then the hub if ``hub``.

    ``revisions`` are pairs of a repository of the hub and the branch, tag or commit to read; others have the catalog's.
    """

    folder: Path | None = None
    hub: bool = False
    revisions: tuple[tuple[str, str], ...] = ()


#: A folder alone is a provider too.
Data = Provider | Path | None


def provider_of(data: Data) -> Provider:
    """``data`` as a provider."""
    return data if isinstance(data, Provider) else Provider(data)


def load(task: Task, split: Split, language: str, data: Data) -> list[Example]:
    """The examples of a split in one language; ``data`` is the data folder (None does for bundled files) or Provider.

    Where the catalog entry has no dev files, dev is a tenth of train: the groups (all the examples on one passage,
    premise or prompt) with the lowest sha256 of their text; train is the rest. A task that unites others has
    the examples of each, under ids that begin with its name. Raises UserError, naming file and line, where files are
    missing or faulty.
    """
    if task.parts:
        return [
            replace(example, id=f"{part.name}-{example.id}")
            for part in task.parts
            for example in load(part, split, language, data)
        ]
    located = _locate(task, split, language, data)
    examples = list(_loaded(task, located).examples)
    return cut(examples, split, _name(task, split)) if located.cut else examples


def notes(task: Task, split: Split, language: str, data: Data) -> tuple[str, ...]:
    """What is odd about the examples that ``load`` gives, and does not keep them from being used: one line each."""
    if task.parts:
        return tuple(note for part in task.parts for note in notes(part, split, language, data))
    return _loaded(task, _locate(task, split, language, data)).notes


def fingerprint(task: Task, split: Split, language: str, data: Data) -> str:
    """A sha256 over all that decides the examples: the bytes of the files, and how the catalog entry reads them."""
    if task.parts:
        united = [[part.name, fingerprint(part, split, language, data)] for part in task.parts]
        return digests.of_json([task.format, task.labels, united])
    located = _locate(task, split, language, data)
    if located.hub:
        return _hub_fingerprint(task, split, located, located.hub)
    layout = task.layouts[located.layout]
    parts: dict[str, Any] = {
        "version": READER_VERSIONS.get(layout.reader, VERSION),
        "format": task.format,
        "labels": task.labels,
        "reader": layout.reader,
        "columns": layout.columns,
        "header": layout.header,
        "language": language,
        "split": split if located.cut else None,
    }
    if layout.label_names:
        parts["label_names"] = layout.label_names
    if layout.skip_short:
        parts["skip_short"] = True
    if layout.comment:
        parts["comment"] = layout.comment
    if layout.on_bad_offset != "error" and located.split == "train":
        parts["on_bad_offset"] = layout.on_bad_offset
    if layout.reader == TOKENS:
        separators = [separator_of(path, layout) for path in located.paths]
        if set(separators) != {"\t"}:  # earlier versions knew no other
            parts["separators"] = separators
    parts["files"] = [_digest(path) for path, *_ in _stat(located)]
    parts["gold"] = located.gold is not None
    return digests.of_json(parts)


def _digest(path: Path) -> str:
    check_regular(path)
    try:
        return digests.of_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _hub_fingerprint(task: Task, split: Split, located: Located, place: hub.HubSplit) -> str:
    layout = place.layout.model_dump(include={"repository", "reader", "columns", "label_names"})
    parts = [VERSION, hub.VERSION, task.format, task.labels, task.unanswerable, layout, place.commit, place.config,
             place.splits, located.language, split if located.cut else None]  # fmt: skip
    if place.layout.on_bad_offset != "error" and place.split == "train":
        parts.append(place.layout.on_bad_offset)
    return digests.of_json(parts)


def on_hub(task: Task, split: Split, language: str, data: Data) -> list[tuple[Task, hub.HubSplit]]:
    """What the examples of a split are read from on the hub: nothing where files have them; else task and place.

    A task that unites others is read from several places.
    """
    if task.parts:
        return [place for part in task.parts for place in on_hub(part, split, language, data)]
    located = _locate(task, split, language, data)
    return [(task, located.hub)] if located.hub else []


def hub_counts(task: Task, place: hub.HubSplit) -> tuple[int, int | None]:
    """How many examples the hub has in a place of ``on_hub``, and how many the official split; None if unknown."""
    examples = _loaded(task, Located(-1, place.config, place.split, False, place.language, hub=place)).examples
    return len(examples), None if place.layout.counts_differ else task.count(place.split, place.language)


def labelled(task: Task, data: Data) -> Task:
    """``task`` with the labels that its English data have, where the entry leaves it to them; else as it is.

    The tags of dev count too: a rare one that train lacks is still a tag, and never predicted.
    """
    if not task.labels_from_data:
        return task
    parts: tuple[Split, ...] = ("train", "dev")
    examples = [example for split in parts for example in load(task, split, "en", data)]
    labels = formats.get(task.format).labels_of(examples)
    return task.model_copy(update={"labels": tuple(sorted(labels)), "labels_from_data": False})


def available(task: Task, split: Split, data: Data) -> tuple[str, ...]:
    """The task's languages for which the files of ``split`` are there, in the catalog's order."""
    parts = task.parts or (task,)
    return tuple(
        language
        for language in task.languages
        if all(language in part.languages and find(part, split, language, data) is not None for part in parts)
    )


def own_languages(task: Task, split: Split, data: Data) -> tuple[str, ...]:
    """Of `available`, the languages with data of their own: English, and those whose name chooses what is read.

    A pattern without the language names one file whatever `languages` says, and what one trains on is English.
    """
    parts = task.parts or (task,)
    return tuple(
        language
        for language in available(task, split, data)
        if language == "en" or all(_chosen_by_language(part, find(part, split, language, data)) for part in parts)
    )


def _chosen_by_language(task: Task, located: Located | None) -> bool:
    if located is None:
        return False
    if located.hub:
        layout = located.hub.layout
        return "{" in layout.config or "language" in layout.columns or layout.reader == "span"
    return task.layouts[located.layout].chooses(located.pattern)


def training_size(task: Task, data: Data) -> int | None:
    """How many English training examples there are, those included that dev is cut out of; None without files."""
    if task.parts:
        sizes = [training_size(part, data) for part in task.parts]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    if task.training_task != task.name or "en" not in available(task, "train", data):
        return None
    splits: tuple[Split, ...] = ("train", "dev") if _is_cut(task, "train") else ("train",)
    return sum(len(load(task, split, "en", data)) for split in splits)


def cap(examples: Sequence[Example], n: int, draw: int | None = None) -> list[Example]:
    """At most ``n`` examples, as their format samples them: the same in every run, and in every language of a
    parallel corpus. Each number ``draw`` gives a sample of its own.
    """
    return formats.of(examples[0]).cap(examples, n, draw) if examples else []


def cut(examples: Sequence[Example], split: Split, what: str = "train") -> list[Example]:
    """The dev or the train part of training data that has no dev files; see ``load``."""
    groups = sorted({example.group for example in examples}, key=formats.sha256)
    if len(groups) < 2:
        raise UserError(f"{what}: one passage or premise only, too few to cut dev out of; give `dev` files")
    dev = set(groups[: max(1, round(DEV_SHARE * len(groups)))])
    return [example for example in examples if (example.group in dev) == (split == "dev")]


@dataclass(frozen=True)
class Located:
    """Where the examples of a split in one language come from: a layout of the task, its pattern, the files."""

    layout: int  # place in task.layouts
    pattern: str
    split: Split  # of the files: train where dev is to be cut out of it
    cut: bool
    language: str
    paths: tuple[Path, ...] = ()
    gold: Path | None = None
    hub: hub.HubSplit | None = None  # in place of files


def file_name(pattern: str, layout: Files, language: str) -> str:
    """``pattern`` with the language filled in, under the code that the files have for it.

    Of a pair of languages ("de-en"), ``{context}`` is the passage's and ``{question}`` the question's.
    """
    context, _, question = language.partition("-")
    filled = pattern.replace("{lang}", layout.codes.get(language, language))
    return filled.replace("{context}", context).replace("{question}", question)


def _pattern(layout: Files, split: Split) -> str | None:
    return {"train": layout.train, "dev": layout.dev, "test": layout.test}[split]


def _is_cut(task: Task, split: Split) -> bool:
    """Whether dev is cut out of train, since the task has no dev set of its own."""
    return (
        split != "test" and not formats.get(task.format).plain_text and not any(layout.dev for layout in task.layouts)
    )


def _candidates(task: Task, split: Split, language: str) -> list[Located]:
    """A row for each layout that has the split; their files may be there or not."""
    cut = _is_cut(task, split)
    source: Split = "train" if cut else split
    return [
        Located(index, pattern, source, cut, language)
        for index, layout in enumerate(task.layouts)
        if (pattern := _pattern(layout, source)) is not None
    ]


def find(task: Task, split: Split, language: str, data: Data) -> Located | None:
    """The first layout whose files are there, else what the hub has, if it may be asked."""
    provider = provider_of(data)
    for located in _candidates(task, split, language):
        layout = task.layouts[located.layout]
        folder = BUNDLED if layout.bundled else provider.folder
        if folder is not None and (paths := matching(folder, file_name(located.pattern, layout, language))):
            gold = folder / file_name(layout.test_gold, layout, language) if layout.test_gold else None
            with_gold = gold is not None and gold.is_file() and split == "test"  # XTREME's own download has none
            return replace(located, paths=paths, gold=gold if with_gold else None)
    if provider.hub:
        cut = _is_cut(task, split)
        source: Split = "train" if cut else split
        if place := hub.locate(task, source, language, dict(provider.revisions)):
            return Located(-1, place.config, source, cut, language, hub=place)
    return None


def _locate(task: Task, split: Split, language: str, data: Data) -> Located:
    name = _name(task, split)
    if language not in task.languages:
        raise UserError(f"{name}: the task has no language {language!r}; {did_you_mean(language, task.languages)}")
    found = find(task, split, language, data)
    if found is not None:
        return found
    candidates = _candidates(task, split, language)
    if not candidates:
        trained = f"; it is trained on {task.train!r}" if task.train and split != "test" else ""
        raise UserError(f"{name}: the catalog entry has no such split{trained}")
    provider = provider_of(data)
    folder = BUNDLED if all(task.layouts[one.layout].bundled for one in candidates) else provider.folder
    if folder is not None and not folder.is_dir():
        raise UserError(f"{folder}: no such folder; set `data:` in the study or XSTILTS_DATA to the data folder")
    if provider.hub and task.hub:
        why = hub.missing(task, "train" if _is_cut(task, split) else split, language, dict(provider.revisions))
        raise UserError(f"{name}, {language}: no files, and {why}; set `data:` to a folder of its files (docs/data.md)")
    if folder is None:
        or_hub = ", or say `hub: true`" if task.hub else ""
        raise UserError(
            f"{task.name}: no data folder; set `data:` in the study or XSTILTS_DATA to the folder of its files{or_hub}"
        )
    check_names(task, split, language, folder)
    wanted = " nor ".join(file_name(one.pattern, task.layouts[one.layout], language) for one in candidates)
    there = available(task, split, data)
    others = f"; files are there for {' '.join(there)}" if there else ""
    source = f"; get it from {task.url}" if task.url else ""
    raise UserError(f"{folder}: no {wanted} ({name}, {language}){others}{source}")


def check_names(task: Task, split: Split, language: str, data: Data) -> None:
    """Raises UserError where a file should be and a folder or a pipe is, or a link that leads nowhere."""
    folder = provider_of(data).folder
    if folder is None:
        return
    for one in _candidates(task, split, language):
        name = file_name(one.pattern, task.layouts[one.layout], language)
        for path in {folder / name, *folder.glob(name)}:
            if path.is_symlink() or path.exists():
                check_regular(path)


def _name(task: Task, split: Split) -> str:
    return f"{task.name} {split}"


def matching(data: Path, pattern: str) -> tuple[Path, ...]:
    """The files under ``data`` that a pattern names, sorted."""
    return tuple(sorted(path for path in data.glob(pattern) if path.is_file()))


Stat = tuple[Path, int, int]


def _stat(located: Located) -> tuple[Stat, ...]:
    """Path, size and time of change of each file: what a cached reading is good for."""
    paths = [*located.paths, *([located.gold] if located.gold else [])]
    return tuple((path, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths)


class Loaded(NamedTuple):
    """What files hold, and what is to be known of it, a line each."""

    examples: tuple[Example, ...]
    notes: tuple[str, ...]


def _loaded(task: Task, located: Located) -> Loaded:
    return _read(task.model_dump_json(), located, () if located.hub else _stat(located))


@lru_cache(maxsize=256)
def _read(task_json: str, located: Located, _stat: tuple[Stat, ...]) -> Loaded:
    task = Task.model_validate_json(task_json)
    problems = Problems()
    examples = (
        hub.read(task, located.hub, problems) if located.hub else read_files(task, source_of(task, located), problems)
    )
    return Loaded(tuple(examples), tuple(problems.notes))


def read_files(task: Task, source: Source, problems: Problems) -> list[Example]:
    """The examples of ``source``. That they are sound, but none of the task's, is a problem too."""
    examples = read(source, problems)
    if misfit := formats.get(task.format).misfit(examples, task):
        problems.add(source.paths[0], misfit)
    return examples


def source_of(task: Task, located: Located) -> Source:
    """The files, and what the task says of them."""
    return Source(
        located.paths,
        task.layouts[located.layout],
        located.language,
        task.labels,
        located.gold,
        task.labels_from_data,
        task.format,
        located.split,
    )
