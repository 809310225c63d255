"""Which examples make a batch: buckets of like length, in an order that the seed decides."""

from __future__ import annotations

import random
from collections.abc import Sequence

POOL = 64  # batches whose rows are sorted by length together: long enough to pad little, short enough to stay random


def training_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int, max_tokens: int | None = None
) -> list[list[int]]:
    """One exact epoch: every row index once, ``batch_size`` a batch (the last may be smaller), like lengths together.

    With ``max_tokens`` a batch holds as many rows as fit into it when all are as long as the longest, at least one.
    The largest batch comes first, so that a want of memory shows at once. ``lengths`` are tokens a row.
    Same arguments, same order, on every machine: a place in it is (epoch, batch).
    """
    order = random.Random(f"{seed}/{epoch}")
    rows = list(range(len(lengths)))
    order.shuffle(rows)
    batches = []
    for at in range(0, len(rows), POOL * batch_size):
        pool = sorted(rows[at : at + POOL * batch_size], key=lambda row: lengths[row])
        if max_tokens is None:
            batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        else:
            batches += _filled(pool, lengths, max_tokens)
    order.shuffle(batches)
    largest = max(
        range(len(batches)), key=lambda i: len(batches[i]) * max(lengths[row] for row in batches[i]), default=0
    )
    return batches[largest : largest + 1] + batches[:largest] + batches[largest + 1 :]


def _filled(rows: Sequence[int], lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """``rows``, sorted by length, in batches of at most ``max_tokens`` with padding, or a single row."""
    batches: list[list[int]] = []
    for row in rows:
        if not batches or lengths[row] * (len(batches[-1]) + 1) > max_tokens:
            batches.append([])
        batches[-1].append(row)
    return batches


def evaluation_batches(lengths: Sequence[int], max_tokens: int, batch_size: int | None = None) -> list[list[int]]:
    """Every row index once, longest first; a batch holds at most ``max_tokens`` with padding, or a single row.

    Batches hold a power of two of rows where there are enough left, so that few shapes of batches come up. With
    ``batch_size`` they hold so many rows, whatever their lengths.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    if batch_size is not None:
        return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    batches: list[list[int]] = []
    at = 0
    while at < len(order):
        room = max(1, max_tokens // lengths[order[at]])
        size = 1 << (room.bit_length() - 1)
        batches.append(order[at : at + size])
        at += size
    return batches
