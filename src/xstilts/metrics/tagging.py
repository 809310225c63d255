"""Accuracy over tokens and F1 over entities, one outcome a sentence.

Entities follow conlleval (CoNLL-2000), which seqeval's default mode ports and XTREME uses for PAN-X: a lenient
reading of IOB2, where an I- without a matching tag before it begins an entity. Not for part-of-speech tags:
seqeval 1.2.2 takes their first letter for a prefix, so that CCONJ and SCONJ count as equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xstilts.metrics import Outcome


class Entity(NamedTuple):
    """Tokens ``start`` to ``end``, the latter excluded, of one type."""

    type: str
    start: int
    end: int


def token_accuracy(predicted: Sequence[str], gold: Sequence[str]) -> Outcome:
    """Correct tags over tokens of one sentence. Raises ValueError when the lengths differ."""
    return Outcome(float(sum(p == g for p, g in zip(predicted, gold, strict=True))), float(len(gold)))


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


def entity_f1(predicted: Sequence[str], gold: Sequence[str]) -> Outcome:
    """2·correct over predicted + gold entities of one sentence; correct: same type, start and end.

    Raises ValueError when the lengths differ, and for tags as :func:`entities` does.
    """
    if len(predicted) != len(gold):
        raise ValueError(f"{len(predicted)} predicted tags for {len(gold)} tokens")
    predicted_entities, gold_entities = entities(predicted), entities(gold)
    correct = len(set(predicted_entities) & set(gold_entities))
    return Outcome(2.0 * correct, float(len(predicted_entities) + len(gold_entities)))
