"""Plain text, for masked language modelling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from xstilts.tasks.formats import Example, Format, GoldAnswer, Outcomes, Trace
from xstilts.tasks.task import Task


@dataclass(frozen=True, slots=True)
class TextExample(Example):
    """A text without any label: a line of a corpus, for masked language modelling."""

    text: str

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def group(self) -> str:
        return self.text

    @property
    def has_gold(self) -> bool:
        return True

    def traces(self, language: str) -> Iterator[Trace]:
        for kind in ("passage", "sentence"):
            yield Trace(kind, language, (self.text,), by_chance=True)

    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> TextExample:
        return replace(self, text=texts[0])


class Mlm(Format[TextExample]):
    example = TextExample
    pipeline_tag = "fill-mask"
    heading = "Language modelling"
    typical_tokens = 126.0
    fields = ()
    untranslatable = "there is text in every language"
    plain_text = True

    def metrics(self, task: Task) -> tuple[str, ...]:
        return ("loss",)

    def majority(self, examples: Sequence[TextExample], task: Task) -> list[str]:
        raise TypeError("MLM predicts nothing")

    def score(self, examples: Sequence[TextExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
        raise TypeError("MLM predicts nothing")


FORMAT = Mlm()
