"""The templates of a language, and their rendering into pieces that keep track of names and values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.mini.facts import Fact, Value, french_article, write
from tools.mini.settings import SPACELESS
from xstilts.common import fast_yaml

FOLDER = Path(__file__).parent / "templates"
FORMS = 2  # wordings of a statement, and of a question
MARKUP = re.compile(r"\{(?P<slot>\w+)\}|\[(?P<man>[^|\]]*)\|(?P<woman>[^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text; ``value`` is what fills it, None for the template's own words."""

    text: str
    value: Value | None = None


@cache
def load(language: str) -> dict[str, Any]:
    """The templates of ``language``: relations, events, stories, pos."""
    loaded: dict[str, Any] = fast_yaml.load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def _parsed(template: str) -> tuple[Piece | re.Match[str], ...]:
    """The template's own words, and its slots in between."""
    parts: list[Piece | re.Match[str]] = []
    end = 0
    for match in MARKUP.finditer(template):
        parts += [Piece(template[end : match.start()]), match]
        end = match.end()
    return (*parts, Piece(template[end:]))


def render(template: str, language: str, fills: Mapping[str, Value]) -> list[Piece]:
    """Fill the slots of a template. ``[a|b]`` takes the gender of the people in it, who are all alike."""
    woman = any(value.is_woman for value in fills.values())
    pieces = []
    for part in _parsed(template):
        if isinstance(part, Piece):
            pieces.append(part)
        elif (slot := part["slot"]) is None:
            pieces.append(Piece(part["woman"] if woman else part["man"]))
        elif slot == "le":
            pieces.append(Piece(french_article(fills["value"])))
        elif slot.startswith("le_"):
            pieces.append(Piece(french_article(fills[slot[3:]])))
        else:
            pieces.append(Piece(write(fills[slot], language), fills[slot]))
    return [piece for piece in pieces if piece.text]


def text(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def fill(template: str, language: str, **fills: Value) -> str:
    """The text of a template with its slots filled."""
    return text(render(template, language, fills))


def state(fact: Fact, form: int, language: str) -> list[Piece]:
    """The fact as a sentence."""
    template = load(language)["relations"][fact.kind][fact.relation]["says"][form]
    return render(template, language, {"name": fact.subject, "value": fact.value})


def ask(fact: Fact, form: int, language: str) -> str:
    """The question whose answer is the fact's value."""
    return fill(load(language)["relations"][fact.kind][fact.relation]["asks"][form], language, name=fact.subject)


def join(sentences: Iterable[list[Piece]], language: str) -> list[Piece]:
    """Sentences as one text."""
    space = [] if language in SPACELESS else [Piece(" ")]
    pieces: list[Piece] = []
    for sentence in sentences:
        pieces += (space if pieces else []) + sentence
    return pieces


def span_of(value: Value, pieces: Iterable[Piece]) -> tuple[str, int]:
    """Text and offset of the first piece that ``value`` fills."""
    start = 0
    for piece in pieces:
        if piece.value == value:
            return piece.text, start
        start += len(piece.text)
    raise ValueError(f"{value} is not in the text")
