"""What the methods of selection look at, what it costs, and nothing made twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from xstilts.encoders import Encoder, describe
from xstilts.engine.features import rows_of
from xstilts.engine.inference import reduced_outputs
from xstilts.engine.models import Trimmed, build_model
from xstilts.engine.rows import Row
from xstilts.planning import cost
from xstilts.planning.data_ref import DataRef
from xstilts.planning.hyperparameters import Lengths, Precision
from xstilts.planning.plan import Train
from xstilts.selection.probe import Probe, labelled, taken, unlabelled
from xstilts.store import Store
from xstilts.tasks.task import Task

T = TypeVar("T")
Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Material:
    """A task's training data, as a training stage reads them."""

    task: Task
    train: DataRef
    lengths: Lengths
    precision: Precision
    digest: str  # of the stage's part that they are of

    @classmethod
    def of(cls, spec: Train) -> tuple[Material, ...]:
        """Of each task."""
        precision = spec.optimisation.precision
        return tuple(cls(part.task, part.train, part.reading.lengths, precision, part.digest) for part in spec.parts)


@dataclass(frozen=True)
class Contender:
    """A recipe: the tasks that it trains on in English, and the stage that leaves its encoder, None for `none`."""

    recipe: str
    parts: tuple[Material, ...]
    stage: str | None


@dataclass(frozen=True)
class Question:
    """Which of the candidates is the best before a target: ``part`` is its training, ``encoder`` that of all."""

    encoder: Encoder
    target: str
    part: Material
    candidates: tuple[Contender, ...]  # `none` among them, if the study has it

    def among(self, stages: Collection[str]) -> Question:
        """The question without the candidates whose encoder is not among ``stages``."""
        there = tuple(one for one in self.candidates if one.stage is None or one.stage in stages)
        return replace(self, candidates=there)


@dataclass
class Meter:
    """What a method takes, as if it were used alone: operations counted, seconds measured; each thing once."""

    flops: float = 0.0
    seconds: float = 0.0
    _seen: set[Hashable] = field(default_factory=set)

    def add(self, what: Hashable, flops: float, seconds: float) -> None:
        if what not in self._seen:
            self._seen.add(what)
            self.flops += flops
            self.seconds += seconds


@dataclass
class Evidence:
    """Vectors of English training examples, for the methods to share. ``meter`` is that of the method at work."""

    store: Store
    examples: int  # of a task that are looked at
    seed: int  # of new heads
    meter: Meter = field(default_factory=Meter)
    _made: dict[Hashable, tuple[Any, float, float]] = field(default_factory=dict)

    def once(self, what: Hashable, make: Callable[[], tuple[T, float]]) -> T:
        """What ``make`` gives, with the operations that it took; made once, and metered once a method."""
        if what not in self._made:
            began = time.perf_counter()
            value, flops = make()
            self._made[what] = value, flops, time.perf_counter() - began
        value, flops, seconds = self._made[what]
        self.meter.add(what, flops, seconds)
        return cast(T, value)

    def by_vectors(
        self, method: str, question: Question, measure: Callable[[Floats32, npt.NDArray[Any]], float]
    ) -> dict[str, float]:
        """Recipe → ``measure`` of the vectors and labels of the target's examples, by the encoder that it leaves."""
        found = {}
        for candidate in question.candidates:
            read = self.labelled(question.encoder, question.part, candidate.stage)
            what = (method, question.encoder, question.part.digest, candidate.stage)
            found[candidate.recipe] = self.once(what, lambda read=read: (measure(*read), 0.0))  # type: ignore[misc]
        return found

    def rows(self, encoder: Encoder, part: Material, *, training: bool) -> Sequence[Row]:
        """The rows of the task's first English training examples (see `data.cap`); nothing else is looked at."""
        cap = min(self.examples, part.train.max_examples or self.examples)
        english = replace(part.train, language="en", max_examples=cap, caps=())
        return rows_of(english, encoder, part.lengths, training=training, store=self.store)

    def labelled(self, encoder: Encoder, part: Material, stage: str | None) -> tuple[Floats32, npt.NDArray[Any]]:
        """The vectors of a target's examples, by the encoder that ``stage`` left or the plain one, and their labels."""
        probe = self._labels(encoder, part)
        assert probe.labels is not None
        vectors = self.once(
            ("labelled", encoder, part.digest, stage), lambda: self._vectors(encoder, part, stage, probe)
        )
        return vectors, probe.labels

    def unlabelled(self, encoder: Encoder, part: Material, stage: str | None, *, tokens: bool) -> Floats32:
        """The vectors of a task's texts: one a sequence, or some of its tokens' where ``tokens`` are asked for."""

        def make() -> tuple[Floats32, float]:
            probe = unlabelled(self.rows(encoder, part, training=True), tokens=tokens)
            return self._vectors(encoder, part, stage, probe)

        return self.once(("unlabelled", encoder, part.digest, stage, tokens), make)

    def _labels(self, encoder: Encoder, part: Material) -> Probe:
        # Rows to train on do not say where the passage is.
        make = lambda: (labelled(self.rows(encoder, part, training=False), part.task), 0.0)  # noqa: E731
        return self.once(("labels", encoder.source, encoder.revision, part.digest), make)

    def _vectors(self, encoder: Encoder, part: Material, stage: str | None, probe: Probe) -> tuple[Floats32, float]:
        trimmed = self.model(encoder, part, stage, probe.rows)
        found: dict[int, Floats32] = {}
        outputs = reduced_outputs(
            cast(Any, trimmed.model.base_model), trimmed.rows(probe.rows), range(len(probe.rows)), taken,
            pad_id=trimmed.pad_id, precision=part.precision,
        )  # fmt: skip
        for places, vectors in outputs:
            found.update(zip(places, vectors, strict=True))
        array = np.concatenate([found[i] for i in range(len(probe.rows))])
        return array, passes(encoder, probe.rows, training=False)

    def model(self, encoder: Encoder, part: Material, stage: str | None, rows: Sequence[Row]) -> Trimmed:
        """The encoder that ``stage`` left, or the plain one, under a new head of the task."""
        with self.store.files(stage) if stage else nullcontext() as start:
            return build_model(encoder, part.task, self.seed, start, rows, head=False)


def passes(encoder: Encoder, rows: Sequence[Row], *, training: bool) -> float:
    """The operations of one pass over ``rows``, with the backward pass where training."""
    tokens, count = sum(row.tokens for row in rows), sum(len(row.sequences) for row in rows)
    return cost.flops(describe(encoder), tokens, tokens / max(1, count), training=training)
