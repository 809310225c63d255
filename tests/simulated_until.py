"""Studies that add seeds until an interval is narrow enough, drawn anew each time."""

from __future__ import annotations

import numpy as np
from scipy import stats

from xstilts.analysis.until import LEAST


def coverage(
    run: float, example: float, wanted: float, *, start: int, runs: int, most: int = 40
) -> tuple[float, float]:
    """How often the 95 % interval at which seeds end holds the true gain, as `analysis.crossed` makes intervals.

    ``run`` and ``example`` are SDs of a gain, in points. Seeds end at the first half-width of ``wanted`` from ``start``
    on; and, as in `run --until`, with one seed more, LEAST at least before it.
    """
    rng = np.random.default_rng(start)
    sides, errors = rng.normal(0, run / np.sqrt(2), (2, runs, most)), rng.normal(0, example, runs)
    ends, held = np.full((2, runs), most), np.zeros((most + 1, runs), dtype=bool)
    for seeds in range(most, 1, -1):
        drawn = sides[:, :, :seeds]
        of_seeds = drawn.var(axis=2, ddof=1) / seeds
        variances = example**2 + of_seeds.sum(axis=0)
        freedom = variances**2 / (of_seeds**2 / (seeds - 1)).sum(axis=0)
        half = stats.t.ppf(0.975, freedom) * np.sqrt(variances)
        held[seeds] = np.abs(drawn[0].mean(axis=1) - drawn[1].mean(axis=1) + errors) <= half
        for one_more, least in ((0, start), (1, max(start, LEAST))):
            if seeds >= least:
                ends[one_more, half <= wanted] = min(seeds + one_more, most)
    first, more = (float(np.mean(held[own, np.arange(runs)])) for own in ends)
    return first, more
