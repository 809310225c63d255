"""`xstilts data check`: read data files as a run would, and tell all that is wrong with them at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from xstilts.common import fast_yaml
from xstilts.common.errors import UserError
from xstilts.data import hub
from xstilts.data.problems import Problems, count
from xstilts.data.readers import Source, read
from xstilts.data.readers.text import json_document, lines
from xstilts.tasks import Catalog, builtin_catalog
from xstilts.tasks.formats import Example
from xstilts.tasks.task import Files, Split, Task

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class Checked:
    """Files that were read together: a split of a task in a language, or one file by its layout alone."""

    paths: tuple[Path, ...]
    what: str  # e.g. "xquad test de", or the layout
    examples: int
    gold: int  # how many of them have gold
    expected: int | None = None  # how many the whole official split has, where the catalog says it


@dataclass(frozen=True)
class Report:
    """What a check found; ``problems`` holds one line each, and none means that a run can use the files."""

    checked: tuple[Checked, ...]
    problems: tuple[str, ...]
    not_recognised: tuple[Path, ...]

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
        return [*told, *self.problems]


def check(path: Path, catalog: Catalog | None = None) -> Report:
    """Read every file under ``path`` (a data folder, a part of one, or one file) that a run could use.

    Files are recognised by the patterns of the catalog; a single file that no pattern names is read by its layout
    (SQuAD-style JSON, pairs in JSON, CoNLL-U, JSON lines, CSV, tables). Raises UserError where there is no such file.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; give a data folder or a data file")
    files = [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file())
    problems = Problems(collect=True)
    checked: list[Checked] = []
    seen: set[Path] = set()
    # what was read: XTREME's folders end as the official ones do, so that two layouts find the same files; and
    # XTREME-R's tasks have the files of XTREME's, and more languages
    done: set[tuple[Split, str, tuple[Path, ...], str, tuple[str, ...]]] = set()
    by_split: dict[tuple[str, Split, str], Checked] = {}  # in the layout that a run would take
    catalog = builtin_catalog() if catalog is None else catalog
    for task, split, language, source in _recognised(files, catalog):
        reading = (split, language, source.paths, source.layout.reader, source.labels)
        if reading in done:
            continue
        done.add(reading)
        examples = read(source, problems)
        seen.update(source.paths, [source.gold] if source.gold else [])
        one = _checked(source, f"{task.name} {split} {language}", examples, task.count(split, language))
        checked.append(one)
        by_split.setdefault((task.name, split, language), one)
    checked += _united(catalog, by_split)
    rest = [file for file in files if file not in seen]
    if path.is_file() and rest and (guess := _by_layout(path, problems)) is not None:
        checked.append(_checked(guess, f"layout {guess.layout.reader}", read(guess, problems)))
        rest = []
    found = problems.lines()
    if not checked and not found:
        found = [f"{path}: nothing here that a run could read; docs/data.md says how the files are named"]
    return Report(tuple(checked), tuple(found), tuple(rest))


def check_hub(names: Sequence[str]) -> Report:
    """Read everything that the hub has of some tasks, at the catalog's revisions, and count it.

    Raises UserError where a task has nothing there, or the hub cannot be reached.
    """
    catalog = builtin_catalog()
    by_split: dict[tuple[str, Split, str], Checked] = {}
    problems: list[str] = []
    for task in {part.name: part for name in names for part in catalog[name].parts or (catalog[name],)}.values():
        if task.hub is None:
            raise UserError(f"--hub {task.name}: the catalog names no data set of the hub for it (docs/data.md does)")
        places = [hub.locate(task, split, language, {}) for split in SPLITS for language in task.languages]
        for place in filter(None, places):
            try:
                examples = hub.read(task, place)
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
    return Report((*by_split.values(), *united), tuple(problems), ())


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


def _recognised(files: list[Path], catalog: Catalog) -> Iterator[tuple[Task, Split, str, Source]]:
    """The sources that ``files`` make up, by the catalog's patterns matched against the end of their paths."""
    names = [(file, file.resolve().as_posix()) for file in files]
    for task in catalog:
        for layout in task.layouts:
            if layout.reader == "mini":
                continue
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
        source = Source(tuple(paths), layout, language, task.labels, gold, open_labels=task.labels_from_data)
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
    tail = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if tail == ".tsv":
        return _table(path)
    if tail == ".json":
        document = json_document(path, Problems(collect=True))
        if isinstance(document, dict) and "data" not in document and "0" in document:
            labels = sorted({str(row.get("label")) for row in document.values() if isinstance(row, dict)})
            return Source((path,), Files(reader="pairs_json"), "", tuple(labels))
    first = ""
    if any("holds" in one for one in _layouts() if one["ending"] == tail):
        first = next((line for _, line in lines(path, Problems(collect=True))), "")
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
    width = len(rows[0]) if rows else 0
    if any(row == [""] for row in rows) and width <= 2:
        return Source((path,), Files(reader="tokens"), "", tuple({row[-1] for row in rows}))
    columns = ("premise", "hypothesis", "label")[:width] if width <= 3 else ("premise", *["_"] * (width - 1))
    return Source((path,), Files(reader="tsv", columns=columns), "", tuple(Counter(row[-1] for row in rows)))
