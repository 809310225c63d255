"""Classification of a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from xstilts.tasks.formats import Example, Format, GoldAnswer, Outcomes, Trace, most_frequent
from xstilts.tasks.task import Task


@dataclass(frozen=True, slots=True)
class ClassificationExample(Example):
    """A text, or a pair of texts (premise and hypothesis), with a label; ``label`` is None without gold."""

    premise: str
    hypothesis: str | None = None
    label: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.premise,) if self.hypothesis is None else (self.premise, self.hypothesis)

    @property
    def group(self) -> str:
        return self.premise

    @property
    def has_gold(self) -> bool:
        return self.label is not None

    @property
    def gold_label(self) -> str | None:
        return self.label

    def traces(self, language: str) -> Iterator[Trace]:
        if self.hypothesis is None:
            yield Trace("sentence", language, (self.premise,), by_chance=True)
        else:
            yield Trace("pair", language, (), any_order=(self.premise, self.hypothesis))

    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> ClassificationExample:
        return replace(self, premise=texts[0], hypothesis=None if self.hypothesis is None else texts[1])


class Classification(Format[ClassificationExample]):
    example = ClassificationExample
    pipeline_tag = "text-classification"
    heading = "Classification"
    typical_tokens = 40.0  # MNLI, QQP, SNLI, ANLI
    fields = ("premise", "hypothesis*")
    untranslatable = None
    labelled = True

    def metrics(self, task: Task) -> tuple[str, ...]:
        return ("accuracy",)

    def majority(self, examples: Sequence[ClassificationExample], task: Task) -> list[str]:
        """The most frequent label."""
        return [most_frequent(example.label or "" for example in examples)] * len(examples)

    def score(
        self, examples: Sequence[ClassificationExample], predictions: Sequence[str], task: Task, language: str
    ) -> Outcomes:
        return {
            "accuracy": [
                (float(prediction == example.label), 1.0)
                for example, prediction in zip(examples, predictions, strict=True)
            ]
        }


FORMAT = Classification()
