"""Tagging: parts of speech from templates that carry them, entities from the statements of facts."""

from __future__ import annotations

import unicodedata

from tools.mini.facts import Draw, Value
from tools.mini.settings import SIZES, SPACELESS, VERSION
from tools.mini.templates import FORMS, Piece, join, load, render, state, text
from xstilts.tasks.formats.tagging import TaggingExample

ENTITY = {"person": "PER", "organisation": "ORG", "city": "LOC", "country": "LOC"}

SENTENCES = 12  # part-of-speech templates a language
VARIANTS = 6  # divides evenly into the two or three alternative words of a place in a template


def pos(split: str, language: str) -> list[TaggingExample]:
    """Sentences with UPOS tags; words are segmented as in the language's UD treebanks, names stay whole words."""
    draw = Draw(f"{VERSION}/pos/{split}", split)
    rng = draw.random
    examples = []
    for number in range(SIZES[split]):
        person, friend = draw.values("person", 2, women=rng.random() < 0.5)
        fills = {"person": person, "friend": friend}
        for kind in ("organisation", "city", "country", "number"):
            (fills[kind],) = draw.values(kind, 1)
        sentence, variant = number % SENTENCES, rng.randrange(VARIANTS)
        tokens: list[str] = []
        tags: list[str] = []
        for word in load(language)["pos"][sentence].split():
            form, tag = word.rsplit("/", 1)
            alternatives = text(render(form, language, fills)).split("|")
            words = alternatives[variant % len(alternatives)].split()
            tokens += words
            tags += [tag] * len(words)
        examples.append(TaggingExample(f"pos-{split}-{number:04}", tuple(tokens), tuple(tags)))
    return examples


def entities(split: str, language: str) -> list[TaggingExample]:
    """Two facts as one text, with IOB2 tags of people, organisations and places.

    Tokens are words and punctuation marks, characters in Chinese and Japanese, as in WikiANN."""
    draw = Draw(f"{VERSION}/entities/{split}", split)
    rng = draw.random
    examples = []
    for number in range(SIZES[split]):
        kinds = [rng.choice(("person", "company", "traveller")) for _ in range(2)]
        facts = [draw.passage(kind, 1, 1)[0] for kind in kinds]
        pieces = join((state(fact, rng.randrange(FORMS), language) for fact in facts), language)
        tokens: list[str] = []
        tags: list[str] = []
        for piece in _words(pieces):
            words = tokenize(piece.text, language)
            tokens += words
            tags += iob2(piece.value, len(words))
        examples.append(TaggingExample(f"entities-{split}-{number:04}", tuple(tokens), tuple(tags)))
    return examples


def _words(pieces: list[Piece]) -> list[Piece]:
    """The pieces with the template's own neighbouring ones put together, since a word may be spread over several."""
    merged: list[Piece] = []
    for piece in pieces:
        value = piece.value if piece.value and piece.value.kind in ENTITY else None
        if merged and value is None and merged[-1].value is None:
            merged[-1] = Piece(merged[-1].text + piece.text)
        else:
            merged.append(Piece(piece.text, value))
    return merged


def tokenize(sentence: str, language: str) -> list[str]:
    """Words and punctuation marks; single characters where a language has no spaces."""
    if language in SPACELESS:
        return [character for character in sentence if not character.isspace()]
    tokens = []
    word = ""
    for character in sentence + " ":
        if character.isspace() or unicodedata.category(character).startswith("P"):
            tokens += [word] * bool(word) + [character] * (not character.isspace())
            word = ""
        else:
            word += character
    return tokens


def iob2(value: Value | None, length: int) -> list[str]:
    if value is None:
        return ["O"] * length
    kind = ENTITY[value.kind]
    return [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
