"""Records in files: JSON lines, CSV as spreadsheets write it, Parquet; read whole, and written with what was added."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from xstilts.common import strict_json, textfile
from xstilts.common.errors import UserError
from xstilts.common.strict_json import JsonError
from xstilts.data.problems import count

Layout = Literal["jsonl", "csv", "parquet"]
SUFFIXES: Mapping[str, Layout] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv",
                                  ".parquet": "parquet"}  # fmt: skip
STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written: German, French and other spreadsheets part columns by semicolons."""

    delimiter: str = ","
    line_end: str = "\n"
    mark: bool = False  # whether a byte order mark stands before it, by which Excel knows UTF-8


@dataclass(frozen=True)
class Records:
    """``rows`` as they were read, ``places`` where each stands, as errors name it, and the sha256 of the whole."""

    rows: Sequence[Mapping[str, Any]]
    places: Sequence[str]
    digest: str
    layout: Layout = "jsonl"
    dialect: Dialect = Dialect()

    def values(self, row: Mapping[str, Any], lists: Sequence[str]) -> Mapping[str, Any]:
        """Those of a row: an empty cell of CSV is none, and one of the fields ``lists`` may hold a JSON list."""
        if self.layout != "csv":
            return row
        filled = {name: cell for name, cell in row.items() if cell != ""}
        for name in lists:
            cell = filled.get(name)
            if isinstance(cell, str) and cell.lstrip().startswith("["):
                try:
                    filled[name] = strict_json.parse(cell, 'write it as ["a", "b"]')
                except JsonError as error:
                    raise ValueError(f"{name!r}: {error.what}") from None
        return filled


def layout_of(path: Path) -> Layout | None:
    """By the ending of its name, that of a packed file before its .gz; None of another."""
    return SUFFIXES.get((path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower())


def given(rows: Sequence[Mapping[str, Any]]) -> Records:
    """Records that a program has."""
    digest = hashlib.sha256(repr(rows).encode("utf-8", "surrogatepass")).hexdigest()
    return Records(rows, [f"record {number}" for number in range(1, len(rows) + 1)], digest)


def read_records(path: Path, fields: Sequence[str] = ()) -> Records:
    """The records of a file, of a pipe, or of standard input (``-``); what has no known ending is JSON lines.

    ``fields`` are names by which the separator of CSV is told. Raises UserError, with file and line.
    """
    raw = _content(path)
    digest, layout = hashlib.sha256(raw).hexdigest(), layout_of(path) or "jsonl"
    if layout == "parquet":
        return Records(*_of_parquet(path, raw), digest, layout)
    text = _decoded(path, raw)
    if layout == "jsonl":
        return Records(*_parted(_json_lines(path, text)), digest)
    dialect, body, skipped = _dialect(text, fields, raw)
    return Records(*_parted(_csv_rows(path, body, dialect, skipped)), digest, layout, dialect)


def _parted(found: Iterator[tuple[str, dict[str, Any]]]) -> tuple[list[dict[str, Any]], list[str]]:
    pairs = list(found)
    return [row for _, row in pairs], [place for place, _ in pairs]


def _content(path: Path) -> bytes:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        if stat.S_ISFIFO(path.stat().st_mode):  # as `<(…)` of a shell gives it
            return path.read_bytes()
    except (OSError, ValueError):  # told below
        pass
    return textfile.read_bytes(path)


def _decoded(path: Path, raw: bytes) -> str:
    name = "standard input" if path == STANDARD_INPUT else str(path)
    textfile.check_encoding(path, raw)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}:{line}: not UTF-8; save the file as UTF-8") from None


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):  # JSON strings may hold U+2028, where splitlines breaks
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = strict_json.parse(line, "write one object a line")
        except JsonError as error:
            raise UserError(f"{where}: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: expected an object with named fields")
        yield where, record


def _of_parquet(path: Path, raw: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    try:
        rows = pl.read_parquet(io.BytesIO(raw)).to_dicts()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}; write it again") from None
    return rows, [f"{path}: row {number}" for number in range(1, len(rows) + 1)]


def _dialect(text: str, fields: Sequence[str], raw: bytes) -> tuple[Dialect, str, int]:
    """How a CSV file is written, its text, and how many lines were passed over: Excel may put `sep=;` first."""
    first, _, rest = text.partition("\n")
    line_end = "\r\n" if first.endswith("\r") else "\n"
    mark = raw.startswith(b"\xef\xbb\xbf")
    if first.lower().startswith("sep=") and len(first.strip("\r")) == 5:
        return Dialect(first[4], line_end, mark), rest, 1

    def known(delimiter: str) -> tuple[int, int]:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        return len({*header} & {*fields}), len(header)

    return Dialect(max(",;\t", key=known), line_end, mark), text, 0


def _csv_rows(path: Path, text: str, dialect: Dialect, skipped: int) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(textfile.MOST_BYTES)  # a cell may be as long as any text that is read at all
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, strict=True)
    try:
        header = next(rows, [])
        if twice := next((name for name in header if name and header.count(name) > 1), None):
            raise UserError(f"{path}:{1 + skipped}: column {twice!r} stands twice in the first row; rename one")
        begun = rows.line_num
        for cells in rows:
            where, begun = f"{path}:{begun + 1 + skipped}", rows.line_num
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{where}: {count(len(cells), 'column')}, not {len(header)}; "
                    f"quote texts that hold {dialect.delimiter!r} or a line break"
                )
            if nameless := next((i for i, name in enumerate(header) if not name and cells[i]), None):
                raise UserError(f"{where}: column {nameless + 1} has no name in the first row; name it")
            yield where, {name: cell for name, cell in zip(header, cells, strict=True) if name}
    except csv.Error as error:
        raise UserError(f"{path}:{rows.line_num + skipped}: not valid CSV ({error}); mend the quotes") from None


def write_records(rows: Sequence[Mapping[str, Any]], layout: Layout, dialect: Dialect, file: Path) -> None:
    """In the layout and, of CSV, the dialect; lists are JSON there."""
    if layout == "parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)
        return
    if layout == "jsonl":
        with file.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(json_line(row) for row in rows)
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", encoding="utf-8-sig" if dialect.mark else "utf-8", newline="") as out:
        table = csv.writer(out, delimiter=dialect.delimiter, lineterminator=dialect.line_end)
        table.writerow(names)
        table.writerows([_cell(row.get(name)) for name in names] for row in rows)


def json_line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, default=str) + "\n"  # Parquet has dates and the like


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
