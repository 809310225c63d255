"""Digests stand in the keys of stages, caches and translated files: these are what they were when those were made."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from pathlib import Path

from xstilts.common import digests


def test_of_json_as_keys_have_it() -> None:
    content = {"b": ["é", 1.5, None], "a": (True,)}
    assert digests.of_json(content) == hashlib.sha256(b'{"a": [true], "b": ["\\u00e9", 1.5, null]}').hexdigest()
    plain = '{"b": ["é", 1.5, null], "a": [true]}'.encode()
    assert digests.of_json(content, sort_keys=False, ensure_ascii=False) == hashlib.sha256(plain).hexdigest()


def test_of_a_file_that_changes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for content in (b"one", b"other", b""):
        file.write_bytes(content)
        assert digests.of_file(file) == digests.of_stream(BytesIO(content)) == hashlib.sha256(content).hexdigest()
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 1))
    assert digests.of_file(file) == hashlib.sha256(b"one").hexdigest()


def test_of_files_has_their_names(tmp_path: Path) -> None:
    files = [tmp_path / "b", tmp_path / "a"]
    for file in files:
        file.write_text(file.name * 3)
    lines = "".join(f"{name} {hashlib.sha256(name.encode() * 3).hexdigest()}\n" for name in "ba")
    assert digests.of_files(files) == hashlib.sha256(lines.encode()).hexdigest()
    assert digests.of_files(files, before="x") == hashlib.sha256(b"x" + lines.encode()).hexdigest()
