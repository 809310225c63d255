"""The standard error of sums over parts whose seeds vary apart while all are scored on the same examples.

Seeds and examples are crossed random effects: of a part p, seed s and example i, the value is

    part_p + seed_ps + example_pi + noise_psi

and its mean over S seeds and n examples has the variance seed / S + example / n + noise / (S n), of which the variance
over samples of the examples holds the last two and that between the seeds, s² / S, the first and the last. Their sum
counts the noise twice (and resampling both at once three times: Owen 2007, "The pigeonhole bootstrap"), so the noise
is taken off once. Its own estimate is the variance, over samples of the examples, of what is left of each seed without
the mean over the seeds. Of Σ weight · part, with the examples shared by all parts and the seeds by none:

    V = V_examples + max(0, V_seeds − V_noise)
    V_seeds = Σ weight² · s² / S,  V_noise = Σ weight² · Σ_s Var(seed s − mean) / (S (S − 1))

Quantiles are Student's t, for with few seeds V_seeds is hardly known. The degrees of freedom are Satterthwaite's (1946,
"An approximate distribution of estimates of variance components") in the form of Welch (1947, "The generalization of
'Student's' problem when several different population variances are involved"), f = V² / Σ (V_part² / (S_part + 1)) − 2
and never below the fewest S_part − 1. V_examples and V_noise count as known, for there are far more examples than
seeds; where noise accounts for all of V_seeds, nothing is left that seeds would have to tell, and quantiles are normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xstilts.analysis.comparisons import Contrast
from xstilts.analysis.intervals import Spread
from xstilts.common.arrays import Floats


class BySeed(NamedTuple):
    """A part by seed: its ``values`` [seeds], and its ``replicates`` [seeds, resamples] over samples of the examples.

    All NaN for a seed that was not run.
    """

    values: Floats
    replicates: Floats


def mean_of(parts: Sequence[BySeed]) -> BySeed:
    """The mean of quantities that share their seeds, such as an encoder's gains on several targets."""
    return BySeed(
        np.mean([part.values for part in parts], axis=0), np.mean([part.replicates for part in parts], axis=0)
    )


def combined(parts: Sequence[tuple[float, BySeed]]) -> Contrast:
    """Σ weight · (mean over the part's seeds), as the module says. A part with one seed varies by its examples alone.

    A replicate that is not defined (NaN) is left out; without two that are, all but the value is NaN.
    """
    run = [(weight, part.values[there], part.replicates[there]) for weight, part in parts
           if (there := ~np.isnan(part.values)).any()]  # fmt: skip
    value = float(sum(weight * values.mean() for weight, values, _ in run))
    drawn = np.sum([weight * replicates.mean(axis=0, dtype=np.float64) for weight, _, replicates in run], axis=0)
    defined = ~np.isnan(drawn)
    if np.count_nonzero(defined) < 2:
        return Contrast(value, *[float("nan")] * 5)
    seeds, noise, fewest = [], 0.0, np.inf
    for weight, values, replicates in run:
        n = len(values)
        if n > 1:
            left = replicates[:, defined] - replicates[:, defined].mean(axis=0)
            noise += weight**2 * float(np.var(left, axis=1, ddof=1).sum()) / (n * (n - 1))
            seeds.append((weight**2 * float(np.var(values, ddof=1)) / n, n))
            fewest = min(fewest, n - 1)
    of_seeds = sum(own for own, _ in seeds) - noise
    variance = float(np.var(drawn[defined], ddof=1)) + max(0.0, of_seeds)
    shares = sum((own / variance) ** 2 / (n + 1) for own, n in seeds) if of_seeds > 0 else 0.0
    freedom = max(1 / shares - 2, fewest) if shares else np.inf
    about, at = Spread(np.sqrt([variance]), np.array([freedom])), np.array([value])
    (low,), (high,), (p,) = *about.interval(at), about.p_values(at)
    return Contrast(value, float(low), float(high), about.errors.item(), about.freedom.item(), float(p))
