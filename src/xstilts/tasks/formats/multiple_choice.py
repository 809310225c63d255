"""Multiple choice: one logit a choice, each choice read together with the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xstilts.tasks.formats import Outcomes, most_frequent
from xstilts.tasks.task import Task


def majority(examples: Sequence[MultipleChoiceExample], task: Task) -> list[str]:
    """The most frequent position of the right choice."""
    return [most_frequent(str(example.label) for example in examples)] * len(examples)


def score(examples: Sequence[MultipleChoiceExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
    return {
        "accuracy": [
            (float(prediction == str(example.label)), 1.0)
            for example, prediction in zip(examples, predictions, strict=True)
        ]
    }


@dataclass(frozen=True, slots=True)
class MultipleChoiceExample:
    """A prompt and its candidate continuations; ``label`` is the index of the right one, None without gold."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    label: int | None
