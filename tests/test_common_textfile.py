"""Files that users name are read, or told in one line: no pipe is waited for, and no bomb fills memory."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from xstilts.common import textfile
from xstilts.common.errors import UserError


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfgr\xc3\xbcn\n")
    assert textfile.read_text(path) == "grün\n"


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("grün".encode()) + gzip.compress(b" too"))
    assert textfile.read_text(path) == "grün too"


PACKED = gzip.compress(b"word and word\n" * 50)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "wörd".encode("utf-16"), "a.txt: UTF-16, not UTF-8; save the file as UTF-8"),
        ("a.txt", b"one\nw\0rd", "a.txt:2: a NUL byte, so not UTF-8 text"),
        ("a.txt", "one\nwörd".encode("latin-1"), "a.txt:2: not UTF-8; save the file as UTF-8"),
        ("a.gz", PACKED[:-9], "a.gz: cannot be unpacked: "),
        ("a.gz", PACKED[:15] + b"\xff\xff" + PACKED[17:], "a.gz: cannot be unpacked: "),
        ("a.gz", b"words", "a.gz: cannot be unpacked: Not a gzipped file"),
        ("a.gz", gzip.compress(bytes(textfile.ANY_UNPACKED + 1)), "a.gz: unpacks to far more than a text would"),
    ],
    ids=["utf-16", "nul", "latin-1", "cut", "bits", "not-gz", "bomb"],
)
def test_what_is_no_text_is_told(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as told:
        textfile.read_text(tmp_path / name)
    assert str(told.value).startswith(f"{tmp_path}/{expected}")


def test_what_is_no_file_is_told_at_once(tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for, and /dev/zero has no end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    for name, expected in {
        "pipe": "cannot be read: a named pipe or a device, not a file",
        "zero": "cannot be read: a named pipe or a device, not a file",
        "loop": "cannot be read: Too many levels of symbolic links",
        "dangling": "links to nowhere, which is not there",
        "folder": "cannot be read: a folder, not a file",
        "absent": "no such file",
        "n" * 300: "cannot be read: File name too long",
    }.items():
        with pytest.raises(UserError) as told:
            textfile.read_text(tmp_path / name)
        assert str(told.value) == f"{tmp_path / name}: {expected}"


def test_a_file_larger_than_any_text_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:
        file.truncate(textfile.MOST_BYTES + 1)
    with pytest.raises(UserError, match="2,147,483,649 bytes, of at most 2,147,483,648; split the file"):
        textfile.read_text(path)
