"""Tagging: one tag a token, predicted at its first piece. Long sentences are split and re-joined, never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xstilts.tasks.formats import Outcomes, most_frequent
from xstilts.tasks.metrics import tagging as metrics
from xstilts.tasks.task import Task


def majority(examples: Sequence[TaggingExample], task: Task) -> list[str]:
    """The most frequent tag, everywhere."""
    tag = most_frequent(tag for example in examples for tag in example.tags or ())
    return [" ".join([tag] * len(example.tokens)) for example in examples]


def score(examples: Sequence[TaggingExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
    """Accuracy; with it F1 over entities where that is the metric, and over chunks where tags have no prefixes."""
    gold = [list(example.tags or ()) for example in examples]
    predicted = [prediction.split(" ") for prediction in predictions]
    outcomes = {"accuracy": metrics.accuracy(gold, predicted)}
    if task.metric == "f1":
        outcomes["f1"] = metrics.entity_f1(gold, predicted)
    elif not any("-" in label for label in task.labels):
        outcomes["chunk_f1"] = metrics.chunk_f1(gold, predicted)
    return outcomes


@dataclass(frozen=True, slots=True)
class TaggingExample:
    """A sentence as tokens, with one tag a token; ``tags`` is None without gold."""

    id: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...] | None
