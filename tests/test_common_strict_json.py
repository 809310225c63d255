"""What Python's parser lets through, or dies of, is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.common.strict_json import JsonError
from xstilts.common.strict_json import parse as parse_with_remedy

CHARACTERS = st.text(st.characters(blacklist_categories=("Cs",)))


def parse(text: str) -> object:
    return parse_with_remedy(text, "is it whole?")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | CHARACTERS,
    lambda inner: st.lists(inner) | st.dictionaries(CHARACTERS, inner),
    max_leaves=8,
)


@given(VALUES, st.booleans())
def test_valid_json_is_read(value: object, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only)) == value


@given(st.text(st.characters(), max_size=8))
def test_a_string_is_refused_where_it_cannot_be_written(text: str) -> None:
    try:
        text.encode()
        writable = True
    except UnicodeEncodeError:
        writable = False
    written = json.dumps(text)
    if writable or json.loads(written).isprintable():  # halves that meet are a character
        assert parse(written) == json.loads(written)
    else:
        with pytest.raises(JsonError, match="half of a surrogate pair"):
            parse(written)


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ('{"a":\n 1,}', "column 4: invalid JSON (Expecting property name enclosed in double quotes); is it whole?", 2),
        ("[" * 200_000 + "]" * 200_000, "lists or objects nested too deeply; flatten them", None),
        ('{"a": ' + "9" * 5000 + "}", "a number of thousands of digits; write it as a text", None),
        (
            '["\\\\ud800",\n "\\ud83d\\ude00 \\ud800"]',
            "column 16: \\ud800 is half of a surrogate pair, no character; mend the text",
            2,
        ),
        ('{"id": {"a": 1, "b": 2, "a": 3}}', "'a' is given twice in one object; keep one", None),
    ],
    ids=["invalid", "deep", "digits", "surrogate", "twice"],
)
def test_what_is_wrong_is_told(text: str, what: str, line: int | None) -> None:
    with pytest.raises(JsonError) as told:
        parse(text)
    assert (told.value.what, told.value.line) == (what, line)
