"""Classification of a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xstilts.tasks.formats import Outcomes, most_frequent
from xstilts.tasks.task import Task


def majority(examples: Sequence[ClassificationExample], task: Task) -> list[str]:
    """The most frequent label."""
    return [most_frequent(example.label or "" for example in examples)] * len(examples)


def score(examples: Sequence[ClassificationExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
    return {
        "accuracy": [
            (float(prediction == example.label), 1.0) for example, prediction in zip(examples, predictions, strict=True)
        ]
    }


@dataclass(frozen=True, slots=True)
class ClassificationExample:
    """A text, or a pair of texts (premise and hypothesis), with a label; ``label`` is None without gold."""

    id: str
    premise: str
    hypothesis: str | None
    label: str | None
