"""Tagging: one tag a token."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xstilts.tasks.formats import EVEN, Example, Format, GoldAnswer, Outcomes, Trace, most_frequent
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


#: Scripts that are written without spaces between words, by the first words of their characters' names in Unicode.
WITHOUT_SPACES = ("CJK ", "HIRAGANA ", "KATAKANA ", "HALFWIDTH KATAKANA ", "BOPOMOFO ", "THAI ", "LAO ", "KHMER ",
                  "MYANMAR ", "TIBETAN ")  # fmt: skip


@lru_cache(maxsize=1 << 16)
def _kind(character: str) -> str:
    """`alone` of a character that is a token, `joined` of one that goes with what is before it, `edge`, or `inside`."""
    category = unicodedata.category(character)
    if category[0] == "M" or character in "\u200c\u200d":  # joiners, which Persian and Indic words hold
        return "joined"
    if category in ("Ps", "Pe", "Pi", "Pf") or character in '"„“”':
        return "alone"
    if category[0] in "PS":
        return "edge"
    return "alone" if unicodedata.name(character, "").startswith(WITHOUT_SPACES) else "inside"


def words(text: str) -> list[str]:
    """The tokens of raw text, in the manner of WikiAnn's (PAN-X): what stands between white space, parted further.

    Tokens by themselves are brackets and quotation marks, any other punctuation mark or symbol at the beginning or end
    (inside, as in 3.14 or d'Uruguay, it stays), and each character of a script that is `WITHOUT_SPACES`, with the marks
    on it.
    """
    found: list[str] = []
    for word in text.split():
        kinds = [_kind(character) for character in word]
        pieces: list[list[int]] = []  # of a word: runs of characters, each of them alone, or all inside
        before = ""
        for i, kind in enumerate(kinds):
            if kind == "joined" and pieces:
                pieces[-1].append(i)
                continue
            if kind == "alone" or before != "run":
                pieces.append([])
            pieces[-1].append(i)
            before = "alone" if kind == "alone" else "run"
        for piece in pieces:
            found += _parted(word[piece[0] : piece[-1] + 1])
    return found


def _parted(run: str) -> list[str]:
    """A run of characters, with the punctuation at its edges parted from it, each mark by itself."""
    first, last = 0, len(run)
    while first < last and _kind(run[first]) == "edge":
        first += 1
    while last > first and _kind(run[last - 1]) == "edge":
        last -= 1
    return [*run[:first], *([run[first:last]] if first < last else []), *run[last:]]


class Tagging(Format[TaggingExample]):
    example = TaggingExample
    pipeline_tag = "token-classification"
    heading = "Structured prediction"
    typical_tokens = 20.0  # PAN-X, UD
    fields = ("tokens*", "text*")
    lists = ("tokens",)
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

    def readable(self, example: TaggingExample, prediction: str, task: Task, least: float = EVEN) -> list[str]:
        """The tags."""
        return prediction.split(" ")

    def asked(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Its tokens, or those of its `text`."""
        read = super().asked(record)
        text, tokens = read.pop("text", None), read.get("tokens")
        if tokens is None and isinstance(text, str):
            read["tokens"] = words(text)
        return read

    def answered(self, example: TaggingExample, readable: Any) -> list[tuple[str, str]]:
        """Each token with its tag."""
        return list(zip(example.tokens, readable, strict=True))

    def called(self, *given: Any) -> dict[str, Any]:
        """A text, or its tokens."""
        if len(given) == 1 and isinstance(given[0], str):
            return {"text": given[0]}
        return super().called(*(list(one) for one in given))


FORMAT = Tagging()
