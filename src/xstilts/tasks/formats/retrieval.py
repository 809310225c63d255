"""Retrieval: find each English sentence's translation among the foreign ones, by nearest neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xstilts.tasks.formats import Outcomes
from xstilts.tasks.task import Task


def score(examples: Sequence[RetrievalExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
    """Whether the translation was found: ``accuracy`` with the chosen block, ``accuracy@n`` with block n."""
    found = [
        [(float(name == example.id), 1.0) for name in prediction.split(" ")]
        for example, prediction in zip(examples, predictions, strict=True)
    ]
    chosen, *blocks = map(list, zip(*found, strict=True))
    return {"accuracy": chosen} | {f"accuracy@{n}": outcomes for n, outcomes in enumerate(blocks)}


@dataclass(frozen=True, slots=True)
class RetrievalExample:
    """A pair of sentences that translate each other: ``source`` in the foreign language, ``target`` in English."""

    id: str
    source: str
    target: str
