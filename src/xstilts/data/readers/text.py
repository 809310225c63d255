"""Reading text, tables and JSON so that a fault is told with its file and line."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xstilts.data.problems import Problems, count

#: How much a packed file may unpack to: a small one can hold more zeros than there is memory.
MOST_BYTES = 1 << 31

CHUNK = 1 << 20


def suffix(path: Path) -> str:
    """The ending of a file's name, that of a packed one before its .gz."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix


def read_bytes(path: Path, problems: Problems) -> bytes:
    """The bytes of ``path``, unpacked when its name ends in .gz; empty after a problem."""
    try:
        return _unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError:
        problems.add(path, "no such file; check the data folder")
    except OverflowError:
        problems.add(path, f"unpacks to more than {MOST_BYTES:,} bytes; unpack it yourself, if it is meant to")
    except (OSError, EOFError, zlib.error) as error:
        problems.add(path, f"cannot be read ({error}); fetch it again")
    return b""


def _unpacked(path: Path) -> bytes:
    chunks: list[bytes] = []
    left = MOST_BYTES
    with gzip.open(path) as file:
        while chunk := file.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise OverflowError
            chunks.append(chunk)
    return b"".join(chunks)


def lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Line number and line, ends (LF or CRLF), a byte order mark and blank lines at the end of the file left off.

    Only LF ends a line: the corpora hold U+2028 and the like inside sentences, where ``str.splitlines`` would break.
    """
    raw = read_bytes(path, problems).rstrip(b"\r\n")
    if not raw:
        return
    try:
        rows = raw.decode("utf-8-sig").split("\n")
        yield from enumerate((row.removesuffix("\r") for row in rows) if b"\r" in raw else rows, start=1)
    except UnicodeDecodeError:
        yield from _decodable(raw, path, problems)


def _decodable(raw: bytes, path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            problems.add(path, f"byte {error.start + 1} is not valid UTF-8; save the file as UTF-8", number)


def json_document(path: Path, problems: Problems) -> Any:
    """The JSON value that ``path`` holds; None after a problem."""
    raw = read_bytes(path, problems)
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.add(path, "not valid UTF-8; save the file as UTF-8", line)
    except json.JSONDecodeError as error:
        if raw:
            what = f"column {error.colno}: invalid JSON ({error.msg}); is the file whole?"
            problems.add(path, what, error.lineno)
        elif path.is_file():
            problems.add(path, "the file is empty; fetch it again")
    return None


def json_lines(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and JSON object of each line."""
    for number, line in lines(path, problems):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.add(path, f"column {error.colno}: invalid JSON ({error.msg}); one object a line", number)
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            problems.add(path, "not a JSON object; one object a line", number)


def csv_rows(
    path: Path, problems: Problems, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number (of a row's last line) and cells of each row, by the names in the first row."""
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
        for cells in rows:
            if len(cells) == len(header):
                yield rows.line_num, dict(zip(header, cells, strict=True))
            else:
                what = f"{count(len(cells), 'column')}, not {len(header)}; quote texts with commas"
                problems.add(path, what, rows.line_num)
    except csv.Error as error:
        problems.add(path, f"not valid CSV ({error}); mend the quotes", rows.line_num)
