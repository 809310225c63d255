"""Which examples make a batch: buckets of like length, in an order that the seed decides."""

from __future__ import annotations

import random
from collections.abc import Sequence

POOL = 64  # batches whose rows are sorted by length together: long enough to pad little, short enough to stay random


def training_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """One exact epoch: every row index once, ``batch_size`` a batch (the last may be smaller), like lengths together.

    ``lengths`` are tokens a row. Same arguments, same order, on every machine.
    """
    order = random.Random(f"{seed}/{epoch}")
    rows = list(range(len(lengths)))
    order.shuffle(rows)
    batches = []
    for at in range(0, len(rows), POOL * batch_size):
        pool = sorted(rows[at : at + POOL * batch_size], key=lambda row: lengths[row])
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    order.shuffle(batches)
    return batches


def evaluation_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Every row index once, sorted by length; a batch holds at most ``max_tokens`` with padding, or a single row."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
