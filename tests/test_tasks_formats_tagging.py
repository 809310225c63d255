"""Raw text to tag: where tokens begin and end, against Universal Dependencies' own."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from xstilts.tasks.formats.tagging import words


def sentences(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Text, and its tokens, of a CoNLL-U file."""
    text, tokens = "", list[str]()
    with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            cells = line.rstrip("\n").split("\t")
            if line.startswith("# text ="):
                text = line[8:].strip()
            elif cells[0].isdigit():
                tokens.append(cells[1])
            elif tokens and not line.strip():
                yield text, tokens
                tokens = []


def places(text: str, tokens: Sequence[str]) -> set[tuple[int, int]]:
    found, at = set(), 0
    for token in tokens:
        if (first := text.find(token, at)) >= 0:  # parts of a contraction, as of French "au", are not in the text
            at = first + len(token)
            found.add((first, at))
    return found


#: F1 of the tokens' places in points, as docs/predict.md says.
AGREE = {"ar_pud-ud-test": 80.6, "de_pud-ud-test": 93.9, "en_ewt-ud-test": 94.2, "en_pud-ud-test": 97.5,
         "es_pud-ud-test": 93.1, "fr_pud-ud-test": 84.1, "hi_pud-ud-test": 99.0, "ja_pud-ud-test": 40.3,
         "ru_pud-ud-test": 99.3, "th_pud-ud-test": 5.4, "zh_pud-ud-test": 41.2}  # fmt: skip


@pytest.mark.realdata
@pytest.mark.parametrize("name", AGREE)
def test_tokens_agree_with_universal_dependencies_as_the_page_says(name: str, real_data: Path) -> None:
    (file,) = (real_data / "ud").glob(f"{name}.conllu*")
    gold = found = both = 0
    for text, tokens in sentences(file):
        theirs, ours = places(text, tokens), places(text, words(text))
        gold, found, both = gold + len(theirs), found + len(ours), both + len(theirs & ours)
    assert 200 * both / (gold + found) == pytest.approx(AGREE[name], abs=0.06)
