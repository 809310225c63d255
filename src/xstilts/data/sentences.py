"""Cutting passages into sentences, and putting their translations together again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Characters a sentence may have: longer ones are cut at a clause or a space. Translation models take some 500
#: sub-words, and drop what is beyond, or lose the thread well before.
LONGEST = 500

#: The end of a sentence: its punctuation and closing quotes, then white space, then what a sentence begins with.
_END = re.compile(r"""[.!?…]+["'”’»)\]]*(\s+)(?=["'“‘«(\[¿¡]*[^\W_a-z])""")

#: Abbreviations, and single letters (initials, U.S.), whose full stop ends no sentence.
_ABBREVIATION = re.compile(
    r"\b(?:mr|mrs|ms|dr|prof|rev|hon|st|ste|jr|sr|gen|col|lt|maj|capt|cmdr|sgt|gov|sen|rep|"
    r"pres|vs|etc|eg|ie|cf|ca|al|no|nos|vol|vols|pp|ed|eds|fig|figs|est|approx|inc|ltd|co|"
    r"corp|bros|dept|univ|mt|ft|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|[^\W\d_])\.$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a text at ``start``, and the white space after it."""

    text: str
    start: int
    gap: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def split(text: str) -> list[Sentence]:
    """The sentences of an English text: their texts and gaps, in order, are the text; none is longer than LONGEST.

    White space at the beginning of the text makes an empty first sentence. A line break ends a sentence.
    """
    sentences: list[Sentence] = []
    start = 0
    for end, gap_end in [*_ends(text), (len(text.rstrip()), len(text))]:
        if gap_end > start:
            sentences += _cut(text, start, max(end, start), gap_end)
            start = gap_end
    return sentences


def join(sentences: Sequence[Sentence], translations: Sequence[str], language: str) -> tuple[str, list[int]]:
    """The translated text, with the white space of the original, and where each translation starts in it.

    Chinese and Japanese put no space between sentences.
    """
    whole = ""
    starts = []
    for sentence, translation in zip(sentences, translations, strict=True):
        starts.append(len(whole))
        whole += translation + ("" if sentence.gap == " " and language in ("ja", "zh") else sentence.gap)
    return whole, starts


def _ends(text: str) -> list[tuple[int, int]]:
    """Where sentences end, and where the white space after them does."""
    ends = {(match.start(), match.end()) for match in re.finditer(r"\s*\n\s*", text)}
    for match in _END.finditer(text):
        if not _ABBREVIATION.search(text[max(0, match.start() - 9) : match.start() + 1]) and "\n" not in match[1]:
            ends.add(match.span(1))
    return sorted(ends)


def _cut(text: str, start: int, end: int, gap_end: int) -> list[Sentence]:
    """A sentence, in pieces where it is too long: cut after a semicolon, a comma, at a space, or where it must be."""
    pieces: list[Sentence] = []
    while end - start > LONGEST:
        window = text[start : start + LONGEST]
        for break_at in (r"[;:]\s+", r",\s+", r"\s+"):
            found = [match for match in re.finditer(break_at, window) if match.start() >= LONGEST // 3]
            if found:
                stop = start + found[-1].start() + (break_at != r"\s+")
                next_start = start + found[-1].end()
                break
        else:
            stop = next_start = start + LONGEST
        pieces.append(Sentence(text[start:stop], start, text[stop:next_start]))
        start = next_start
    pieces.append(Sentence(text[start:end], start, text[end:gap_end]))
    return pieces
