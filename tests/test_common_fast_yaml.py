"""A YAML file is read, or told in one line what is wrong with it, and in which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from xstilts.common import fast_yaml
from xstilts.common.errors import UserError


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: Größe\nseeds: [1, 2.5, ~]\n", encoding="utf-8")
    assert fast_yaml.read(tmp_path / "a.yaml") == {"name": "Größe", "seeds": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: x\nencoders: [a\nrecipes: b\n", ":3: not valid YAML: "),
        (b"name: x\n\tb: c\n", ":2: not valid YAML: "),
        (b"name: x\ndescription: Gr\xf6\xdfe\n", ":2: not UTF-8; save the file as UTF-8"),
        (b"name: \x07\n", ": not valid YAML: "),
        (b"name: 2026-13-01\n", ": not valid YAML: month must be in 1..12"),
        (None, ": none of ours"),
    ],
)
def test_a_broken_file_is_told_with_its_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        fast_yaml.read(file, "none of ours")
    assert str(raised.value).startswith(f"{file}{message}") and "\n" not in str(raised.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: a folder"):
        fast_yaml.read(tmp_path)
