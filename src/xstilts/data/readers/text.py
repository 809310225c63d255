"""Reading text, tables and JSON so that a fault is told with its file and line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from xstilts.common import textfile
from xstilts.common.strict_json import JsonError, parse
from xstilts.common.textfile import UnreadableError
from xstilts.data.problems import Problems, Where, count

ABSENT = "no such file; check the data folder"

#: Objects of a file, each with where it stands: its line, or "record 3" in an array.
Rows = Iterator[tuple[Where, dict[str, Any]]]


def suffix(path: Path) -> str:
    """The ending of a file's name, that of a packed one before its .gz."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix


def lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Line number and line, ends (LF or CRLF), a byte order mark and blank lines at the end of the file left off.

    Only LF ends a line: the corpora hold U+2028 and the like inside sentences, where ``str.splitlines`` would break.
    """
    try:
        raw = textfile.read_bytes(path, ABSENT).rstrip(b"\r\n")
        textfile.check_encoding(path, raw)
    except UnreadableError as error:
        problems.add(path, error.what, error.line)
        return
    if not raw:
        return
    try:
        rows = raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        yield from _decodable(raw, path, problems)
        return
    if len(rows) == 1 and "\r" in rows[0]:
        problems.add(path, "lines end in CR, as on old Macs; save the file with LF or CRLF")
        return
    yield from enumerate((row.removesuffix("\r") for row in rows) if b"\r" in raw else rows, start=1)


def _decodable(raw: bytes, path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            problems.add(path, f"byte {error.start + 1} is not valid UTF-8; save the file as UTF-8", number)


def json_content(path: Path, problems: Problems) -> dict[str, Any] | Rows | None:
    """The JSON object that ``path`` holds; of JSON lines, or an array, the objects in it. None after a problem."""
    try:
        text = textfile.read_text(path, ABSENT)
    except UnreadableError as error:
        problems.add(path, error.what, error.line)
        return None
    if not text.strip():
        problems.add(path, "the file is empty; fetch it again")
        return None
    if _holds_lines(path, text):
        return _line_by_line(text, path, problems)
    try:
        document = parse(text, "is the file whole?")
    except JsonError as error:
        problems.add(path, error.what, error.line)
        return None
    if isinstance(document, dict):
        return document
    if isinstance(document, list):
        return _objects(((f"record {n}", row) for n, row in enumerate(document, start=1)), path, problems)
    problems.add(path, f"{document!r} is all it holds; it must be objects, in an array or one a line")
    return None


def json_rows(path: Path, problems: Problems) -> Rows:
    """The objects of JSON lines, or of an array; an object that is the whole file is one row."""
    content = json_content(path, problems)
    if content is not None:
        yield from [(1, content)] if isinstance(content, dict) else content


def _holds_lines(path: Path, text: str) -> bool:
    """Whether each line is JSON by itself: by the file's name where it may be, else by the first line."""
    first, _, more = text.lstrip().partition("\n")
    if not more.strip():
        return False
    if suffix(path) == ".jsonl" and not first.startswith("["):
        return True
    try:
        json.loads(first)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):  # JSON that `parse` refuses, in its line
        pass
    return True


def _line_by_line(text: str, path: Path, problems: Problems) -> Rows:
    def parsed() -> Iterator[tuple[Where, Any]]:
        for number, line in enumerate(text.rstrip("\r\n").split("\n"), start=1):
            try:
                yield number, parse(line, "one object a line")
            except JsonError as error:
                problems.add(path, error.what, number)

    return _objects(parsed(), path, problems)


def _objects(values: Iterable[tuple[Where, Any]], path: Path, problems: Problems) -> Rows:
    for where, value in values:
        if isinstance(value, dict):
            yield where, value
        else:
            problems.add(path, "not a JSON object; one object a line", where)


def csv_rows(
    path: Path, problems: Problems, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number (of a row's last line) and cells of each row, by the names in the first row."""
    csv.field_size_limit(textfile.MOST_BYTES)  # a cell may be as long as any text that is read at all
    rows = csv.reader((line + "\n" for _, line in lines(path, problems)), strict=True)
    try:
        header = next(rows, None)
        if header is None:
            return
        missing = [name for name in needed if name not in header]
        if missing:
            expected = ", ".join([*needed, *optional])
            problems.add(path, f"no column {missing[0]!r} in the first row; expected {expected}", 1)
            return
        if twice := [name for name in (*needed, *optional) if header.count(name) > 1]:
            problems.add(path, f"column {twice[0]!r} stands twice in the first row; rename one", 1)
            return
        for cells in rows:
            if len(cells) == len(header):
                yield rows.line_num, dict(zip(header, cells, strict=True))
            else:
                what = f"{count(len(cells), 'column')}, not {len(header)}; quote texts with commas"
                problems.add(path, what, rows.line_num)
    except csv.Error as error:
        problems.add(path, f"not valid CSV ({error}); mend the quotes", rows.line_num)
