"""SHA-256 digests in hexadecimal, of which the keys of stages and caches are made: other bytes here are other keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import IO, Any


def of_json(content: Any, *, sort_keys: bool = True, ensure_ascii: bool = True) -> str:
    """Of ``content`` as `json.dumps` writes it."""
    return hashlib.sha256(json.dumps(content, sort_keys=sort_keys, ensure_ascii=ensure_ascii).encode()).hexdigest()


def of_stream(stream: IO[bytes]) -> str:
    """Of what is left to read; it need not fit in memory."""
    digest = hashlib.sha256()  # Python 3.10 has no hashlib.file_digest
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def of_file(file: Path) -> str:
    """Of a file's content, which is read again only when its size or time has changed."""
    stat = file.stat()
    return _of_file(file, stat.st_size, stat.st_mtime_ns)


@cache
def _of_file(file: Path, _size: int, _modified: int) -> str:
    with file.open("rb") as stream:
        return of_stream(stream)


def of_files(files: Iterable[Path], before: str = "") -> str:
    """Of the names and contents of ``files``, in their order, and of a text ``before`` them."""
    return hashlib.sha256((before + "".join(f"{file.name} {of_file(file)}\n" for file in files)).encode()).hexdigest()
