"""What a training goes through, step by step: the batches, the learning rate, and when the model is evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, count

from xstilts.engine.training import mixture
from xstilts.engine.training.mixture import Step, Stream
from xstilts.planning.hyperparameters import Optimisation
from xstilts.planning.recipe import PROPORTIONAL, Sampling
from xstilts.planning.steps import step_counts


@dataclass(frozen=True)
class Course:
    """The tasks' rows, and how a model is trained on them.

    Where there are several ``streams``, ``sampling`` and ``mlm_share`` say which of them each step is of (see
    `mixture`).
    """

    streams: Sequence[Stream]
    optimisation: Optimisation
    seed: int
    precision: str
    pad_id: int
    sampling: Sampling = PROPORTIONAL
    mlm_share: float = 0.0
    tokens: int | None = None  # of a single stream, in place of its epochs: it ends with the step that reaches so many

    @property
    def supervised(self) -> list[Stream]:
        return [stream for stream in self.streams if stream.supervised]

    @cached_property
    def order(self) -> list[int]:
        """The stream of each step."""
        if len(self.streams) == 1:
            return [0] * self._ends[-1]
        own = self.supervised
        counts, mlm = step_counts(
            [len(stream.rows) for stream in own], [stream.reading for stream in own], self.sampling, self.mlm_share
        )
        left = iter(counts)
        return mixture.order([next(left) if stream.supervised else mlm for stream in self.streams], self.seed)

    @cached_property
    def evaluated_after(self) -> frozenset[int]:
        """After which steps: each epoch of a single task; of several, as often as the most epochs of one."""
        if len(self.streams) == 1:
            return frozenset(self._ends)
        times = max(stream.reading.epochs for stream in self.supervised)
        return frozenset(round(len(self.order) * (i + 1) / times) for i in range(times))

    @cached_property
    def _ends(self) -> list[int]:
        """Of the epochs of a single task, in steps."""
        (stream,) = self.streams
        if self.tokens is not None:
            return [self._steps_to(stream, self.tokens)]
        return list(accumulate(len(stream.batches(self.seed, epoch)) for epoch in range(stream.reading.epochs)))

    def _steps_to(self, stream: Stream, tokens: int) -> int:
        batches = chain.from_iterable(stream.batches(self.seed, epoch) for epoch in count())
        seen = accumulate(sum(stream.lengths[i] for i in batch) for batch in batches)
        return 1 + next(step for step, so_far in enumerate(seen) if so_far >= tokens)

    def steps(self, done: int) -> Iterator[Step]:
        """Those after the first ``done``."""
        return mixture.steps(self.streams, self.order, self.seed, done)

    def learning_rate(self, step: int) -> float:
        """Of the step after ``step`` ones: it rises linearly during warm-up, and falls linearly to 0 at the end."""
        highest, warmup, steps = self.optimisation.learning_rate, self.optimisation.warmup, len(self.order)
        warmup = round(warmup * steps) if warmup < 1 else int(warmup)
        if step < warmup:
            return highest * (step / max(1, warmup))
        return highest * max(0.0, (steps - step) / max(1, steps - warmup))
