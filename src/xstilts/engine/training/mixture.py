"""Which task each optimiser step trains on, where a stage trains on several: shares of steps, kept exactly.

A step is of one task. jiant draws each step's task at random (task_sampler.py:28-87); here the shares are rounded to
whole steps and these are shuffled, so that every run has the stated shares. How many steps there are is as in jiant
(configurator.py:369-386): those that the tasks would take on their own.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from xstilts.engine.batches import training_batches
from xstilts.planning.hyperparameters import Reading

if TYPE_CHECKING:
    from xstilts.engine.heads import Head
    from xstilts.engine.rows import Row


@dataclass(frozen=True)
class Stream:
    """The rows of one task in a stage's training, and how they are made into batches.

    ``view`` gives the rows of an epoch, told the epoch's seed: the rows themselves, or masked anew each time.
    """

    task: str
    head: Head
    rows: Sequence[Row]
    reading: Reading  # of which epochs and the size of batches count here
    name_of: Callable[[Row], str]  # for error messages
    supervised: bool = True  # whether its steps are what `epochs` says; else they are mixed in
    view: Callable[[Sequence[Row], str], Sequence[Row]] = lambda rows, seed: rows

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row, all its sequences as long as the longest; once, since rows are read from files."""
        return [row.length * len(row.sequences) for row in self.rows]

    def batches(self, seed: int, epoch: int) -> list[list[int]]:
        return training_batches(self.lengths, self.reading.batch_size, seed, epoch, self.reading.batch_tokens)


@dataclass(frozen=True)
class Step:
    """One optimiser step: a batch of one stream."""

    stream: Stream
    rows: Sequence[Row]


def order(counts: Sequence[int], seed: int) -> list[int]:
    """The stream of each step: ``counts[i]`` times ``i``, shuffled."""
    streams = [i for i, count in enumerate(counts) for _ in range(count)]
    random.Random(f"{seed}/mixture").shuffle(streams)
    return streams


def steps(streams: Sequence[Stream], chosen: Sequence[int], seed: int, done: int = 0) -> Iterator[Step]:
    """The steps, of the streams ``chosen``, after the first ``done``, whose rows are not read.

    Each stream goes on where it was, epoch after epoch.
    """
    over = Counter(chosen[:done])
    running = [_endless(stream, seed, over[i]) for i, stream in enumerate(streams)]
    for i in chosen[done:]:
        yield next(running[i])


def _endless(stream: Stream, seed: int, done: int) -> Iterator[Step]:
    for epoch in count():
        batches = stream.batches(seed, epoch)
        if done < len(batches):
            rows = stream.view(stream.rows, f"{seed}/{epoch}")
            for batch in batches[done:]:
                yield Step(stream, [rows[i] for i in batch])
        done = max(0, done - len(batches))
