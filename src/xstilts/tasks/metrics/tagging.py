"""Accuracy over tokens and F1 over entities or chunks, one outcome a sentence.

Entities follow conlleval (CoNLL-2000), which seqeval's default mode ports and XTREME uses for PAN-X: a lenient
reading of IOB2, where an I- without a matching tag before it begins an entity; and of BIOES, where E- ends one and S-
is one. BILOU is BIOES with L- and U-, which seqeval's default mode does not know.

XTREME scores parts of speech by the same function, though their tags have no prefixes: what seqeval 0.0.12 makes of
them are :func:`chunks`, and its F1 is what the XTREME paper calls accuracy (google-research/xtreme, issue 56). Later
versions of seqeval take a tag's first letter for a prefix and cut it off, so that CCONJ and SCONJ count as equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
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
    return _f1(entity_counts(gold, predicted))


def chunk_f1(gold: Tags, predicted: Tags) -> list[tuple[float, float]]:
    """2·correct over predicted + gold chunks, for each sentence; correct: same tag, start and end.

    Raises ValueError when the lengths differ, and for tags as :func:`chunks` does.
    """
    return _f1(chunk_counts(gold, predicted))


class Counts(NamedTuple):
    """How many entities (or chunks) are right, were predicted, and are there."""

    correct: int
    predicted: int
    gold: int


def entity_counts(gold: Tags, predicted: Tags) -> list[Counts]:
    """Of entities, for each sentence; raises ValueError as :func:`entity_f1` does."""
    return _counts(gold, predicted, entities)


def chunk_counts(gold: Tags, predicted: Tags) -> list[Counts]:
    """Of chunks, for each sentence; raises ValueError as :func:`chunk_f1` does."""
    return _counts(gold, predicted, chunks)


def _counts(gold: Tags, predicted: Tags, spans: Callable[[Sequence[str]], list[Entity]]) -> list[Counts]:
    counts = []
    for sentence, guess in zip(gold, predicted, strict=True):
        if len(sentence) != len(guess):
            raise ValueError(f"{len(guess)} predicted tags for {len(sentence)} tokens")
        there, found = spans(sentence), spans(guess)
        counts.append(Counts(len(set(there) & set(found)), len(found), len(there)))
    return counts


def _f1(counts: Sequence[Counts]) -> list[tuple[float, float]]:
    return [(2.0 * correct, float(predicted + gold)) for correct, predicted, gold in counts]


#: Prefixes of tags in IOB2, BIOES and BILOU; with those an entity begins, and with those it ends.
PREFIXES, BEGIN, END = frozenset("BIESLU"), frozenset("BSU"), frozenset("ESLU")


def is_entity_tag(tag: str) -> bool:
    """Whether a tag is O, or a type behind a prefix."""
    prefix, _, type_ = tag.partition("-")
    return tag == "O" or (prefix in PREFIXES and type_ != "")


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence. Raises ValueError for a tag that is none of :func:`is_entity_tag`."""
    found: list[Entity] = []
    start, open_type, before = 0, "", "O"
    for position, tag in enumerate([*tags, "O"]):
        if not is_entity_tag(tag):
            raise ValueError(f"tag {tag!r} is not O, nor a type behind B-, I-, E- or S-")
        prefix, _, type_ = tag.partition("-")
        if open_type and (prefix in BEGIN or before in END or type_ != open_type):
            found.append(Entity(open_type, start, position))
            open_type = ""
        if type_ and not open_type:
            start, open_type = position, type_
        before = prefix
    return found


def chunks(tags: Sequence[str]) -> list[Entity]:
    """The chunks of one sentence of tags without prefixes; raises ValueError for an empty tag and one with a dash.

    Equal neighbours are one chunk, except for tags that begin with B, E or S (SCONJ, SYM), each of which is one; tags
    that begin with O or a full stop are in none. So it is in seqeval 0.0.12 (metrics/sequence_labeling.py:
    get_entities, start_of_chunk, end_of_chunk), which takes a tag's first letter for its prefix and, in a tag without
    a dash, all of it for its type. It puts an O behind each sentence: no chunk goes on into the next one.
    """
    found: list[Entity] = []
    start = 0
    for tag, run in groupby(tags):
        if not tag or "-" in tag:
            raise ValueError(f"tag {tag!r} is empty or has a prefix")
        end = start + len(list(run))
        step = 1 if tag[0] in "BES" else end - start
        if tag[0] not in "O.":
            found += [Entity(tag, at, at + step) for at in range(start, end, step)]
        start = end
    return found
