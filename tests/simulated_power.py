"""Estimates of gains and slopes as studies would find them, drawn anew each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from xstilts.analysis.power import Deviations


def slopes_found(
    deviations: Deviations, parameters: Sequence[int], seeds: int, *, effect: float, runs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Half-widths and p-values of least-squares slopes with residual variance on k − 2 degrees of freedom."""
    rng, k = np.random.default_rng(0), len(parameters)
    assert deviations.encoder is not None
    size = np.log10(parameters)
    size = size - size.mean()
    gains = effect * size + rng.normal(0, deviations.encoder, (runs, k)) + rng.normal(0, deviations.example, (runs, k))
    gains += rng.normal(0, deviations.run, (runs, k, seeds)).mean(axis=2)
    slopes = gains @ size / (size @ size)
    left = gains - gains.mean(axis=1, keepdims=True) - slopes[:, None] * size
    errors = np.sqrt((left**2).sum(axis=1) / (k - 2) / (size @ size))
    return stats.t.ppf(0.975, k - 2) * errors, 2 * stats.t.sf(np.abs(slopes / errors), k - 2)


def gains_found(deviations: Deviations, seeds: int, *, effect: float, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Half-widths and p-values of gains: each side's seeds vary as they do, and the share of the questions is known."""
    rng = np.random.default_rng(seeds)
    sides = rng.normal(0, deviations.run / np.sqrt(2), (2, runs, seeds))
    found = effect + sides[0].mean(axis=1) - sides[1].mean(axis=1) + rng.normal(0, deviations.example, runs)
    of_seeds = sides.var(axis=2, ddof=1) / seeds  # [sides, runs]
    variances = deviations.example**2 + of_seeds.sum(axis=0)
    freedom = variances**2 / (of_seeds**2 / (seeds - 1)).sum(axis=0)
    errors = np.sqrt(variances)
    return stats.t.ppf(0.975, freedom) * errors, 2 * stats.t.sf(np.abs(found / errors), freedom)
