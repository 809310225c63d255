"""What a training goes through, step by step: the batches, the learning rate, and when the model is evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from xstilts.engine.training import mixture
from xstilts.engine.training.mixture import Step, Stream
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.planning.recipe import PROPORTIONAL, Sampling
from xstilts.planning.steps import step_counts


@dataclass(frozen=True)
class Course:
    """The tasks' rows, and how a model is trained on them.

    Where there are several ``streams``, ``sampling`` and ``mlm_share`` say which of them each step is of (see
    `mixture`).
    """

    streams: Sequence[Stream]
    hyper: Hyperparameters
    seed: int
    precision: str
    pad_id: int
    sampling: Sampling = PROPORTIONAL
    mlm_share: float = 0.0

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
            [len(stream.rows) for stream in own], [stream.hyper for stream in own], self.sampling, self.mlm_share
        )
        left = iter(counts)
        return mixture.order([next(left) if stream.supervised else mlm for stream in self.streams], self.seed)

    @cached_property
    def evaluated_after(self) -> frozenset[int]:
        """After which steps: each epoch of a single task; of several, as often as the most epochs of one."""
        if len(self.streams) == 1:
            return frozenset(self._ends)
        times = max(stream.hyper.epochs for stream in self.supervised)
        return frozenset(round(len(self.order) * (i + 1) / times) for i in range(times))

    @cached_property
    def _ends(self) -> list[int]:
        """Of the epochs of a single task, in steps."""
        (stream,) = self.streams
        return list(accumulate(len(stream.batches(self.seed, epoch)) for epoch in range(stream.hyper.epochs)))

    def steps(self, done: int) -> Iterator[Step]:
        """Those after the first ``done``."""
        return mixture.steps(self.streams, self.order, self.seed, done)

    def learning_rate(self, step: int) -> float:
        """Of the step after ``step`` ones: it rises linearly during warm-up, and falls linearly to 0 at the end."""
        hyper, steps = self.hyper, len(self.order)
        warmup = round(hyper.warmup * steps) if hyper.warmup < 1 else int(hyper.warmup)
        if step < warmup:
            return hyper.learning_rate * (step / max(1, warmup))
        return hyper.learning_rate * max(0.0, (steps - step) / max(1, steps - warmup))
