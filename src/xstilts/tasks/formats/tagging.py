"""Tagging: one tag a token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from xstilts.tasks.formats import Example, Format, GoldAnswer, Outcomes, Trace, most_frequent
from xstilts.tasks.metrics import tagging as metrics
from xstilts.tasks.task import Task


@dataclass(frozen=True, slots=True)
class TaggingExample(Example):
    """A sentence as tokens, with one tag a token; ``tags`` is None without gold."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return (" ".join(self.tokens),)

    @property
    def group(self) -> str:
        return " ".join(self.tokens)

    @property
    def has_gold(self) -> bool:
        return self.tags is not None

    @property
    def fault(self) -> str | None:
        if not self.tokens or not all(self.tokens):
            return "no tokens, or an empty one; remove it"
        if self.tags is None or len(self.tags) == len(self.tokens):
            return None
        return f"{len(self.tags)} tags, but {len(self.tokens)} tokens; one tag a token"

    def traces(self, language: str) -> Iterator[Trace]:
        yield Trace("sentence", language, self.texts, by_chance=True)

    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> str:
        return Tagging.untranslatable


class Tagging(Format[TaggingExample]):
    example = TaggingExample
    pipeline_tag = "token-classification"
    heading = "Structured prediction"
    typical_tokens = 20.0  # PAN-X, UD
    fields = ("tokens",)
    untranslatable = "tags cannot be carried into a translation"
    labelled = True
    open_labels = True
    many_labels = True
    single_sentences = True

    def metrics(self, task: Task) -> tuple[str, ...]:
        return ("accuracy", "f1", "chunk_f1")

    def faults(self, task: Task) -> Iterator[str]:
        """Entities (f1) are of tags with prefixes, chunks of tags without."""
        yield from super().faults(task)
        if spaced := [tag for tag in task.labels if len(tag.split()) > 1]:
            yield f"`labels` has {spaced[0]!r}; a tag is one word"
        if task.metric == "f1" and (strange := [tag for tag in task.labels if not metrics.is_entity_tag(tag)]):
            yield (
                f"`metric: f1` is over entities, and `labels` has {strange[0]!r}: write O, and types behind B- and I-, "
                f"or as BIOES or BILOU have them; or take `metric: accuracy`"
            )
        if task.metric == "chunk_f1" and (prefixed := [tag for tag in task.labels if "-" in tag]):
            yield f"`metric: chunk_f1` is over tags without prefixes, and `labels` has {prefixed[0]!r}; take f1"

    def majority(self, examples: Sequence[TaggingExample], task: Task) -> list[str]:
        """The most frequent tag, everywhere."""
        tag = most_frequent(tag for example in examples for tag in example.tags or ())
        return [" ".join([tag] * len(example.tokens)) for example in examples]

    def score(
        self, examples: Sequence[TaggingExample], predictions: Sequence[str], task: Task, language: str
    ) -> Outcomes:
        """Accuracy; with it F1 over entities where that is the metric, and over chunks where tags have no prefixes."""
        gold = [list(example.tags or ()) for example in examples]
        predicted = [prediction.split(" ") for prediction in predictions]
        outcomes = {"accuracy": metrics.accuracy(gold, predicted)}
        if task.metric == "f1":
            outcomes["f1"] = metrics.entity_f1(gold, predicted)
        elif not any("-" in label for label in task.labels):
            outcomes["chunk_f1"] = metrics.chunk_f1(gold, predicted)
        return outcomes

    def labels_of(self, examples: Iterable[TaggingExample]) -> set[str]:
        return {tag for example in examples for tag in example.tags or ()}

    def readable(self, example: TaggingExample, prediction: str, task: Task) -> list[str]:
        """The tags."""
        return prediction.split(" ")


FORMAT = Tagging()
