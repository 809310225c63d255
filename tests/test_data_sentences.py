"""Sentences of a passage: nothing of it is lost, and none is too long for a translation engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.data.sentences import LONGEST, join, split

PASSAGES = st.text(st.sampled_from('aB1.!?;, \n\t”")(Mr…é中'), max_size=200) | st.text(max_size=200)


@given(PASSAGES)
def test_sentences_and_gaps_are_the_passage(passage: str) -> None:
    sentences = split(passage)
    assert "".join(sentence.text + sentence.gap for sentence in sentences) == passage
    assert all(passage[sentence.start : sentence.end] == sentence.text for sentence in sentences)
    assert all(sentence.gap.strip() == "" for sentence in sentences)


@given(PASSAGES, st.integers(1, 30))
def test_no_sentence_is_longer_than_an_engine_takes(passage: str, times: int) -> None:
    sentences = split(passage * times)
    assert max((len(sentence.text) for sentence in sentences), default=0) <= LONGEST
    assert "".join(sentence.text + sentence.gap for sentence in sentences) == passage * times


@pytest.mark.parametrize(
    ("passage", "sentences"),
    [
        ("It rains. It pours! Does it? Yes.", ["It rains.", "It pours!", "Does it?", "Yes."]),
        ("He said “Go!” Then he went.", ["He said “Go!”", "Then he went."]),
        ("Mr. J. K. Smith of the U.S. Army met Dr. No.", ["Mr. J. K. Smith of the U.S. Army met Dr. No."]),
        ("It is 3.5 miles, e.g. on foot. 1984 was cold.", ["It is 3.5 miles, e.g. on foot.", "1984 was cold."]),
        ("A heading\nThe text. it goes on.", ["A heading", "The text. it goes on."]),
    ],
)
def test_sentences_end_where_english_ones_do(passage: str, sentences: list[str]) -> None:
    assert [sentence.text for sentence in split(passage)] == sentences


def test_long_sentences_are_cut_at_a_clause() -> None:
    clause = "the cat " * 40 + "sat; "
    pieces = split(clause * 3)
    assert [piece.text.endswith("sat;") for piece in pieces] == [True, True, True]


def test_translations_keep_the_white_space_and_tell_where_they_start() -> None:
    sentences = split("It rains. It pours.\n\nYes.")
    assert join(sentences, ["Chove.", "Jorra.", "Sim."], "pt") == ("Chove. Jorra.\n\nSim.", [0, 7, 15])


def test_chinese_has_no_space_between_sentences() -> None:
    assert join(split("It rains. Yes.\nNo."), ["下雨。", "是。", "不。"], "zh") == ("下雨。是。\n不。", [0, 3, 6])
