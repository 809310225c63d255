"""How many steps of each task a stage of several tasks takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xstilts.planning.hyperparameters import Reading
from xstilts.planning.recipe import Sampling


def step_counts(
    sizes: Sequence[int], readings: Sequence[Reading], sampling: Sampling, mlm_share: float = 0.0
) -> tuple[list[int], int]:
    """Steps of each supervised task, of ``sizes`` rows, and of MLM, which makes up ``mlm_share`` of all steps.

    All tasks together take Σ epochs · ⌈min(rows, cap) / batch size⌉ steps. A task's share of them is proportional to
    min(rows, cap) to the power of 1/temperature (Raffel et al. 2020, arXiv 1910.10683, section 3.5.2), or the same for
    all; a single task has all of them.
    """
    capped = [min(size, sampling.cap or size) for size in sizes]
    total = sum(each.epochs * math.ceil(size / each.batch_size) for size, each in zip(capped, readings, strict=True))
    if sampling.by == "uniform":
        weights = [1.0] * len(sizes)
    else:
        weights = [size ** (1.0 / sampling.temperature) for size in capped]
    mlm = round(total * mlm_share / (1.0 - mlm_share))
    return _rounded(total, weights), mlm


def _rounded(total: int, weights: Sequence[float]) -> list[int]:
    """``total`` shared out by ``weights``, in whole numbers: the largest remainders are rounded up."""
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts
