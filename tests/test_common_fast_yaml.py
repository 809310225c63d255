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
        (b"name: 2026-13-01\n", ":1: 2026-13-01 is no date; write it otherwise, or in quotes"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", ":3: 'a' is written twice, first in line 1"),
        ("a: {b: 1, b: 2}\n", ":1: 'b' is written twice"),
        ("a: 1\n---\nb: 2\n", ":2: a second document"),
        ("a: 010\n", ":1: 010 is another number to YAML"),
        ("a: 1:30\n", ":1: 1:30 is another number to YAML"),
        (f"a: {'9' * 5000}\n", "is a number of 5,000 digits"),
        ("a: !!python/object/apply:os.system [ls]\n", ":1: a tag (!!python/object/apply:os.system)"),
        ("a: !!set {1, 2}\n", ":1: a tag (!!set)"),
        ("? [a, b]\n: 1\n", ":1: a key that is no word"),
        ("a: &a [*a]\n", ":1: *a names nothing that is whole before it"),
        ("<<: &m {<<: *m}\n", ":1: *m names nothing that is whole"),
        ("a: *b\n", ":1: *b names nothing"),
        ("<<: 3\n", ":1: << merges mappings"),
        ("a: " + "[" * 100_000 + "]" * 100_000, ":1: more than 50 levels"),
        ("".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9 if i else 'x'}]\n" for i in range(10)), "more than 100,000 values"),
        ("".join(f"a{i}: &a{i} [{f'*a{i - 1}' if i else 'x'}]\n" for i in range(100)), "more than 50 levels"),
        ('a: "\\ud800"\n', ":1: not valid YAML"),
    ],
)
def test_what_grows_or_means_something_else_than_it_looks_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as raised:
        fast_yaml.read(file)
    assert message in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 300


def test_keys_are_text_as_written_and_aliases_and_merges_are_followed() -> None:
    text = "base: &b {no: 1, 2: x}\nlist: [*b, {<<: *b, 2: y}]\nmany: {<<: [*b, {c: 3}]}\n"
    assert fast_yaml.load(text) == {
        "base": {"no": 1, "2": "x"},
        "list": [{"no": 1, "2": "x"}, {"no": 1, "2": "y"}],
        "many": {"no": 1, "2": "x", "c": 3},
    }


def test_what_yaml_took_for_something_else_is_known_with_its_line() -> None:
    document = fast_yaml.parse("labels:\n- no\n- 'yes'\nname: 1.0\nday: 2026-01-02\n")
    assert document.quoted(("labels", 0)) == 'YAML reads no as false; put it in quotes: "no"'
    assert document.quoted(("labels", 1)) is None and document.quoted(("labels",)) is None
    assert document.quoted(("name",)) == 'YAML reads 1.0 as a number; put it in quotes: "1.0"'
    assert document.quoted(("day",)) == 'YAML reads 2026-01-02 as a date; put it in quotes: "2026-01-02"'
    assert [document.line(at) for at in [("labels", 1), ("name", "x"), ("nothing",)]] == [3, 4, 1]
