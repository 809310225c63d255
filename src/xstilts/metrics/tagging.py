"""Accuracy over tokens and F1 over entities, one outcome a sentence.

Entities follow conlleval (CoNLL-2000), which seqeval's default mode ports and XTREME uses for PAN-X: a lenient
reading of IOB2, where an I- without a matching tag before it begins an entity. Not for part-of-speech tags:
seqeval 1.2.2 takes their first letter for a prefix, so that CCONJ and SCONJ count as equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Tags = Sequence[Sequence[str]]  # of sentences


class Entity(NamedTuple):
    """Tokens ``start`` to ``end``, the latter excluded, of one type."""

    type: str
    start: int
    end: int


def accuracy(gold: Tags, predicted: Tags) -> list[tuple[float, float]]:
    """Correct tags over tokens, for each sentence. Raises ValueError when the lengths differ."""
    return [
        (float(sum(g == p for g, p in zip(sentence, guess, strict=True))), float(len(sentence)))
        for sentence, guess in zip(gold, predicted, strict=True)
    ]


def entity_f1(gold: Tags, predicted: Tags) -> list[tuple[float, float]]:
    """2·correct over predicted + gold entities, for each sentence; correct: same type, start and end.

    Raises ValueError when the lengths differ, and for tags as :func:`entities` does.
    """
    outcomes = []
    for sentence, guess in zip(gold, predicted, strict=True):
        if len(sentence) != len(guess):
            raise ValueError(f"{len(guess)} predicted tags for {len(sentence)} tokens")
        there, found = entities(sentence), entities(guess)
        outcomes.append((2.0 * len(set(there) & set(found)), float(len(there) + len(found))))
    return outcomes


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence. Raises ValueError for a tag other than O, B-type and I-type."""
    found: list[Entity] = []
    start, open_type = 0, ""
    for position, tag in enumerate([*tags, "O"]):
        prefix, dash, type_ = tag.partition("-")
        if tag == "O":
            type_ = ""
        elif prefix not in ("B", "I") or not dash or not type_:
            raise ValueError(f"tag {tag!r} is not O, B-type or I-type")
        if open_type and (prefix == "B" or type_ != open_type):
            found.append(Entity(open_type, start, position))
            open_type = ""
        if type_ and not open_type:
            start, open_type = position, type_
    return found
