"""Sentence pairs with a label: tables (XNLI, PAWS-X, GLUE), JSON lines, CSV, line-aligned files and JSON objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xstilts.common.errors import did_you_mean
from xstilts.data.problems import Problems, Where, count
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import csv_rows, json_content, json_rows, lines
from xstilts.tasks.formats.classification import ClassificationExample

TableRow = tuple[Path, Where, dict[str, Any]]


def read_tsv(source: Source, problems: Problems) -> Iterator[ClassificationExample]:
    """Rows of tab-separated tables without quoting; the id is the row's number, so that parallel files stay parallel.

    ``columns`` of the layout says what the columns hold: `premise`, `hypothesis`, `label`, `language` (rows of other
    languages are passed over), `_` for any other. A list goes by position, and a file as a whole may lack a last
    column `label`: it has no gold then, unless the layout names a `test_gold` file. A mapping goes by the names in
    the first row. With `skip_short`, rows that lack columns are passed over: GLUE's QQP has some, where a question
    holds a line break, and its own readers leave them out.
    """
    gold: list[str] = []
    if source.gold is not None:
        for line, label in lines(source.gold, problems):
            source.check_labels([label], source.gold, line, problems)
            gold.append(label)
    number = 0
    for path, where, row in _rows(source, problems):
        if row.get("language", source.language) != source.language:
            continue
        number += 1
        own = row.get("label")
        if own is not None:
            if (own := source.label(own)) is None:
                continue
            source.check_labels([own], path, where, problems)
        elif number <= len(gold):
            own = gold[number - 1]
        yield ClassificationExample(str(number), row["premise"], row.get("hypothesis"), own)
    if source.gold is not None and source.gold.is_file() and len(gold) != number:
        problems.add(
            source.gold,
            f"{count(len(gold), 'label')} for {count(number, 'row')} of {source.paths[0].name}; one label a row",
        )


def _rows(source: Source, problems: Problems) -> Iterator[TableRow]:
    columns = source.layout.columns
    for path in source.paths:
        table = lines(path, problems)
        if isinstance(columns, dict):
            fields = _named_columns(columns, path, table, problems)
            if fields is None:
                continue
        else:
            fields = list(columns)
            if source.layout.header:
                next(table, None)
        width = None
        for number, line in table:
            cells = line.split("\t")
            if width is None:  # the first row tells whether the file has labels
                unlabelled = not isinstance(columns, dict) and fields[-1] == "label" and len(cells) == len(fields) - 1
                width = len(cells) if unlabelled else len(fields)
            if len(cells) == width:
                yield path, number, dict(zip(fields, cells, strict=False))
            elif not (source.layout.skip_short and len(cells) < width):
                what = "an empty line" if line == "" else count(len(cells), "column")
                named = ", ".join(fields[:width]) if width <= 4 else f"{width} columns"
                problems.add(path, f"{what}; expected {named}, separated by tabs", number)


def _named_columns(
    columns: dict[str, str], path: Path, table: Iterator[tuple[int, str]], problems: Problems
) -> list[str] | None:
    """What each column of ``table`` holds, by the names in its first row; None when one is missing."""
    number, line = next(table, (1, ""))
    header = line.split("\t")
    missing = [name for name in columns.values() if name not in header]
    if missing:
        problems.add(path, f"no column {missing[0]!r} in the first row; {did_you_mean(missing[0], header)}", number)
        return None
    held = {name: field for field, name in columns.items()}
    return [held.get(name, "_") for name in header]


def read_jsonl(source: Source, problems: Problems) -> Iterator[ClassificationExample]:
    """JSON lines (SNLI, MultiNLI, ANLI), or an array; ``columns`` names the fields, `id` among them or not.

    Labels and ids may be whole numbers: their digits are what they are called.
    """
    rows = ((path, where, row) for path in source.paths for where, row in json_rows(path, problems))
    return _named(source, rows, problems)


def read_csv(source: Source, problems: Problems) -> Iterator[ClassificationExample]:
    """CSV with names in the first row (ANLI's annotations); ``columns`` as for JSON lines."""
    needed = tuple(_named_fields(source).values())
    rows = ((path, line, row) for path in source.paths for line, row in csv_rows(path, problems, needed))
    return _named(source, rows, problems)


def _named(source: Source, rows: Iterator[TableRow], problems: Problems) -> Iterator[ClassificationExample]:
    """Rows whose fields go by name; without a field `id`, ids count the rows, those passed over too."""
    columns = _named_fields(source)
    for number, (path, where, row) in enumerate(rows, start=1):
        held = {field: _text(row.get(name), field) for field, name in columns.items()}
        if None in held.values():
            field = next(field for field, text in held.items() if text is None)
            problems.add(path, _no_text(field, columns[field], row), where)
            continue
        texts = {field: str(text) for field, text in held.items()}
        label = None
        if "label" in texts:
            if (label := source.label(texts["label"])) is None:
                continue
            source.check_labels([label], path, where, problems)
        yield ClassificationExample(texts.get("id", str(number)), texts["premise"], texts.get("hypothesis"), label)


def _text(value: Any, field: str) -> str | None:
    """A text, or the digits of a whole number where ``field`` is a name and no text to be read; None for the rest."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int and field in ("id", "label") else None


def _no_text(field: str, name: str, row: dict[str, Any]) -> str:
    if name not in row:
        return f"no field {name!r}; {did_you_mean(name, row)}"
    wanted = "a text or a whole number" if field in ("id", "label") else "a text"
    return f"{name!r} is {row[name]!r}, not {wanted}"


def _named_fields(source: Source) -> dict[str, str]:
    columns = source.layout.columns
    assert isinstance(columns, dict), "the catalog sees to it"
    return columns


ALIGNED = ("s1", "s2", "labels")


def read_aligned(source: Source, problems: Problems) -> Iterator[ClassificationExample]:
    """Three files s1.*, s2.* and labels.*, whose lines belong together (SNLI as e-SNLI has it); ids count the lines."""
    by_name = {path.name.partition(".")[0]: path for path in source.paths}
    if len(source.paths) != len(ALIGNED) or set(by_name) != set(ALIGNED):
        problems.add(source.paths[0], "not one of three files s1, s2 and labels; put the three beside one another")
        return
    paths = [by_name[name] for name in ALIGNED]
    sides = [dict(lines(path, problems)) for path in paths]
    usual = Counter(map(len, sides)).most_common(1)[0][0]
    odd = [path for path, side in zip(paths, sides, strict=True) if len(side) != usual]
    if odd:
        others = ", ".join(
            f"{path.name} {len(side):,}" for path, side in zip(paths, sides, strict=True) if path != odd[0]
        )
        own = len(sides[paths.index(odd[0])])
        problems.add(odd[0], f"{count(own, 'line')}, but {others}; lines must go together, fetch the three again")
        return
    for number in range(1, usual + 1):
        premise, hypothesis, written = (side.get(number, "").strip(" ") for side in sides)
        if not (premise and hypothesis and written):
            empty = paths[(premise, hypothesis, written).index("")]
            problems.add(empty, "an empty line; each of the three files has something on every line", number)
        elif (label := source.label(written)) is not None:
            source.check_labels([label], paths[2], number, problems)
            yield ClassificationExample(str(number), premise, hypothesis, label)


def read_pairs_json(source: Source, problems: Problems) -> Iterator[ClassificationExample]:
    """One JSON object a file, {"0": {"text_a": …, "text_b": …, "label": …}, …}; the key is the id."""
    for path in source.paths:
        document = json_content(path, problems)
        if document is None:
            continue
        if not isinstance(document, dict):
            problems.add(path, 'not an object of pairs; the layout is {"0": {text_a, text_b, label}}')
            continue
        for id, row in document.items():
            match row:
                case {"text_a": str(premise), "text_b": str(hypothesis), "label": str() | int() as label} if (
                    type(label) is not bool
                ):
                    if (own := source.label(str(label))) is not None:
                        source.check_labels([own], path, None, problems)
                        yield ClassificationExample(id, premise, hypothesis, own)
                case _:
                    problems.add(path, f"{id!r}: not {{text_a, text_b, label}}, all three texts; mend the entry")
