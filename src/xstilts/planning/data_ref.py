"""One split of a task in one language, as a stage reads it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from xstilts import data
from xstilts.planning import cost
from xstilts.tasks import formats
from xstilts.tasks.formats import Example
from xstilts.tasks.task import Split, Task


@dataclass(frozen=True)
class DataRef:
    """One split of a task in one language, as a stage reads it. Equal where the examples are equal."""

    task: Task = field(compare=False)
    split: Split
    language: str  # several are joined by "+", where a task trains on more than English
    provider: data.Data = field(compare=False)
    fingerprint: str
    max_examples: int | None = None
    excluded: frozenset[str] = frozenset()  # ids dropped since they overlap with evaluation data
    expected: int | None = None  # examples that there should be, where the data are not at hand
    cut: bool = False  # out of the train files, even if there are dev files: these are evaluated on
    draw: int | None = None  # which sample of max_examples: that of a seed, or None, the one of all seeds
    caps: tuple[tuple[str, int], ...] = ()  # language → at most so many of its examples, where several are joined

    @property
    def whole(self) -> DataRef:
        """All that there is of it."""
        return replace(self, max_examples=None, caps=(), excluded=frozenset(), draw=None)

    def of(self, language: str) -> DataRef:
        """One language of those that are joined, capped as it is among them."""
        return replace(self, language=language, max_examples=dict(self.caps).get(language, self.max_examples), caps=())

    def key(self) -> list[Any]:
        decides = [self.split, self.language, self.fingerprint, self.max_examples, sorted(self.excluded)]
        drawn = [] if self.draw is None else [{"draw": self.draw}]
        caps = [{"caps": self.caps}] if self.caps else []
        return [*decides, *(["cut"] if self.cut else []), *drawn, *caps]


@lru_cache(maxsize=256)
def examples(ref: DataRef) -> list[Example]:
    """The examples that a stage reads: loaded, those that overlap dropped, capped."""
    caps, kept = dict(ref.caps), []
    for language in ref.language.split("+"):
        own = [example for example in _in(ref, language) if _id(example, ref, language) not in ref.excluded]
        if language in caps:  # by the ids of the language alone: the same sample as where nothing is joined to it
            own = data.cap(own, caps[language], ref.draw)
        alone = language == ref.language
        kept += own if alone else [replace(example, id=_id(example, ref, language)) for example in own]
    return kept if ref.max_examples is None else data.cap(kept, ref.max_examples, ref.draw)


def size(ref: DataRef) -> int:
    """How many examples there are, or should be."""
    return len(examples(ref)) if ref.expected is None else ref.expected


def _in(ref: DataRef, language: str) -> list[Example]:
    loaded = data.load(ref.task, "train" if ref.cut else ref.split, language, ref.provider)
    if ref.cut:
        loaded = data.cut(loaded, ref.split, f"{ref.task.name} train")
    return loaded


def _id(example: Example, ref: DataRef, language: str) -> str:
    """Where languages are joined, row numbers begin anew in each; other ids stay, so that they can be compared."""
    return f"{language}-{example.id}" if language != ref.language and example.id.isdecimal() else example.id


@lru_cache(maxsize=256)
def has_gold(ref: DataRef) -> bool:
    """Whether a set can be scored: XTREME's own test files come without labels."""
    return ref.expected is not None or not without_gold(ref)


def wanting_gold(ref: DataRef) -> int:
    """How many examples gold says something of."""
    return sum(example.wants_gold for example in examples(ref))


def without_gold(ref: DataRef) -> list[str]:
    """The ids of examples that cannot be scored."""
    return [example.id for example in examples(ref) if not example.has_gold]


@lru_cache(maxsize=256)
def token_count(ref: DataRef, max_length: int) -> int:
    """Tokens of the model inputs, roughly."""
    if ref.expected is not None:
        return round(ref.expected * min(max_length, formats.get(ref.task.format).typical_tokens))
    return cost.estimate_tokens(examples(ref), max_length)
