"""Retrieval: find each English sentence's translation among the foreign ones, by nearest neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from xstilts.tasks.formats import Example, Format, GoldAnswer, Outcomes, Trace
from xstilts.tasks.task import Task


@dataclass(frozen=True, slots=True)
class RetrievalExample(Example):
    """A pair of sentences that translate each other: ``source`` in the foreign language, ``target`` in English."""

    source: str
    target: str

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.source, self.target)

    @property
    def group(self) -> str:
        return self.source

    @property
    def has_gold(self) -> bool:
        return True

    def traces(self, language: str) -> Iterator[Trace]:
        yield Trace("sentence", language, (self.source,), by_chance=True)
        yield Trace("sentence", "en", (self.target,), by_chance=True)

    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> RetrievalExample:
        return replace(self, source=texts[0], target=texts[1])


class Retrieval(Format[RetrievalExample]):
    example = RetrievalExample
    pipeline_tag = "feature-extraction"
    heading = "Retrieval"
    typical_tokens = 16.0  # Tatoeba
    fields = ()
    untranslatable = "nothing is trained on it"
    comparison = "cosine"
    single_sentences = True

    def metrics(self, task: Task) -> tuple[str, ...]:
        return ("accuracy",)

    def majority(self, examples: Sequence[RetrievalExample], task: Task) -> list[str]:
        raise TypeError("nothing is trained on sentences to compare")

    def score(
        self, examples: Sequence[RetrievalExample], predictions: Sequence[str], task: Task, language: str
    ) -> Outcomes:
        """Whether the translation was found: ``accuracy`` with the chosen block, ``accuracy@n`` with block n."""
        found = [
            [(float(name == example.id), 1.0) for name in prediction.split(" ")]
            for example, prediction in zip(examples, predictions, strict=True)
        ]
        chosen, *blocks = map(list, zip(*found, strict=True))
        return {"accuracy": chosen} | {f"accuracy@{n}": outcomes for n, outcomes in enumerate(blocks)}


FORMAT = Retrieval()
