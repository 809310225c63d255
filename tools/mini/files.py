"""The suite as files: JSON lines for the reader `records`, packed."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tools.mini import generate, parts
from xstilts.data.load import BUNDLED
from xstilts.tasks.formats import Example

FOLDER = BUNDLED / "mini"


def name(dataset: str, split: str, language: str) -> str:
    return f"{dataset}/{split}-{language}.jsonl.gz"


def content(examples: Sequence[Example]) -> bytes:
    """A row an example, its fields in their order; all of the suite's have gold."""
    rows = ({key: value for key, value in asdict(each).items() if key != "has_gold"} for each in examples)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def packed(raw: bytes) -> bytes:
    """``raw`` by gzip, without time or name: the same bytes on each call with the same zlib."""
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=9, fileobj=packed, mtime=0) as file:
        file.write(raw)
    return packed.getvalue()


def write(folder: Path = FOLDER) -> list[Path]:
    """Write the suite in place of what ``folder`` holds; the files."""
    shutil.rmtree(folder, ignore_errors=True)
    paths = []
    for part in parts():
        path = folder / name(*part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed(content(generate(*part))))
        paths.append(path)
    return paths
