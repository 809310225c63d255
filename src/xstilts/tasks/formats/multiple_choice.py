"""Multiple choice: the right one of a prompt's continuations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from xstilts.tasks.formats import EVEN, Example, Format, GoldAnswer, Outcomes, Trace, most_frequent
from xstilts.tasks.task import Task

#: Why a translation is left out.
SAME_CHOICES = "its right choice reads as another one"


@dataclass(frozen=True, slots=True)
class MultipleChoiceExample(Example):
    """A prompt and its candidate continuations; ``label`` is the index of the right one, None without gold."""

    prompt: str
    choices: tuple[str, ...]
    label: int | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.prompt, *self.choices)

    @property
    def inputs(self) -> Sequence[tuple[str, ...]]:
        return [(self.prompt, choice) for choice in self.choices]

    @property
    def group(self) -> str:
        return self.prompt

    @property
    def has_gold(self) -> bool:
        return self.label is not None

    @property
    def gold_label(self) -> int | None:
        return self.label

    @property
    def fault(self) -> str | None:
        if len(self.choices) < 2:
            return "fewer than two choices"
        if self.label is not None and not 0 <= self.label < len(self.choices):
            return f"label {self.label} of {len(self.choices)} choices; they count from 0"
        return None

    def traces(self, language: str) -> Iterator[Trace]:
        yield Trace("prompt", language, (self.prompt,), any_order=self.choices)

    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> MultipleChoiceExample | str:
        prompt, *choices = texts
        if self.label is not None and choices.count(choices[self.label]) > self.choices.count(self.choices[self.label]):
            return SAME_CHOICES
        return replace(self, prompt=prompt, choices=tuple(choices))


class MultipleChoice(Format[MultipleChoiceExample]):
    example = MultipleChoiceExample
    pipeline_tag = "multiple-choice"
    heading = "Classification"
    typical_tokens = 180.0  # HellaSwag, Cosmos QA, CommonsenseQA
    fields = ("prompt", "choices")
    lists = ("choices",)
    untranslatable = None
    inputs = 4

    def metrics(self, task: Task) -> tuple[str, ...]:
        return ("accuracy",)

    def misfit(self, examples: Iterable[MultipleChoiceExample], task: Task) -> str | None:
        """One loss is over the choices of several examples."""
        counts = {len(example.choices): example.id for example in reversed(list(examples))}
        if len(counts) < 2:
            return None
        (few, first), (more, other) = sorted(counts.items())[:2]
        return (
            f"example {first!r} has {few} choices and {other!r} has {more}; all of a data set must have as many: "
            f"fill them up, or make two tasks of it"
        )

    def majority(self, examples: Sequence[MultipleChoiceExample], task: Task) -> list[str]:
        """The most frequent position of the right choice."""
        return [most_frequent(str(example.label) for example in examples)] * len(examples)

    def score(
        self, examples: Sequence[MultipleChoiceExample], predictions: Sequence[str], task: Task, language: str
    ) -> Outcomes:
        return {
            "accuracy": [
                (float(prediction == str(example.label)), 1.0)
                for example, prediction in zip(examples, predictions, strict=True)
            ]
        }

    def readable(self, example: MultipleChoiceExample, prediction: str, task: Task, least: float = EVEN) -> str:
        """The text of the choice."""
        return example.choices[int(prediction)]


FORMAT = MultipleChoice()
