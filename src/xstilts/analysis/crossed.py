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

`covariance` has V of each part and of each pair of them, for models that take it as known.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xstilts.analysis.comparisons import Contrast
from xstilts.analysis.intervals import Spread, moderated
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


class OverSeeds(NamedTuple):
    """A part's mean over its seeds, and what its variance is made of."""

    value: float
    drawn: Floats  # [resamples], the mean over samples of the examples
    of_seeds: float  # s² / S; 0 with one seed
    noise: float  # its part of V_noise
    n: int  # seeds


def over_seeds(part: BySeed) -> OverSeeds:
    """Of a part of which one seed at least was run. A replicate that is not defined (NaN) is left out of the noise."""
    there = ~np.isnan(part.values)
    values, replicates = part.values[there], part.replicates[there].astype(np.float64)
    n, drawn = len(values), replicates.mean(axis=0)
    if n < 2:
        return OverSeeds(float(values.mean()), drawn, 0.0, 0.0, n)
    left = (replicates - drawn)[:, ~np.isnan(drawn)]
    left -= left.mean(axis=1, keepdims=True) if left.size else 0.0
    noise = float((left * left).sum()) / max(left.shape[1] - 1, 1) / (n * (n - 1))
    return OverSeeds(float(values.mean()), drawn, float(np.var(values, ddof=1)) / n, noise, n)


def combined(parts: Sequence[tuple[float, BySeed]]) -> Contrast:
    """Σ weight · (mean over the part's seeds), as the module says. A part with one seed varies by its examples alone.

    A replicate that is not defined (NaN) is left out; without two that are, all but the value is NaN.
    """
    return weighted([(weight, over_seeds(part)) for weight, part in parts if not np.isnan(part.values).all()])


def weighted(parts: Sequence[tuple[float, OverSeeds]]) -> Contrast:
    """`combined`, of means that are known."""
    value = float(sum(weight * part.value for weight, part in parts))
    drawn = np.sum([weight * part.drawn for weight, part in parts], axis=0)
    defined = ~np.isnan(drawn)
    if np.count_nonzero(defined) < 2:
        return Contrast(value, *[float("nan")] * 5)
    several = [(weight**2 * part.of_seeds, part.n) for weight, part in parts if part.n > 1]
    of_seeds = sum(own for own, _ in several) - sum(weight**2 * part.noise for weight, part in parts)
    variance = float(np.var(drawn[defined], ddof=1)) + max(0.0, of_seeds)
    shares = sum((own / variance) ** 2 / (n + 1) for own, n in several) if of_seeds > 0 else 0.0
    freedom = max(1 / shares - 2, min(n for _, n in several) - 1) if shares else np.inf
    about, at = Spread(np.sqrt([variance]), np.array([freedom])), np.array([value])
    (low,), (high,), (p,) = *about.interval(at), about.p_values(at)
    return Contrast(value, float(low), float(high), about.errors.item(), about.freedom.item(), float(p))


def encoders_covariance(parts: Sequence[OverSeeds]) -> tuple[Floats, float]:
    """The covariance [k, k] of a part of each of k encoders, and the degrees of freedom with which it is known.

    As `covariance` has it, but for V_seeds: two or three seeds say little of an encoder's, and a model that takes it as
    known would find deviations where there are none. It is drawn together as far as the encoders are alike
    (`intervals.moderated`). The degrees of freedom are Satterthwaite's, of the mean variance. NaN where fewer than two
    replicates of the examples are defined for all.
    """
    drawn = np.array([part.drawn for part in parts])
    defined = ~np.isnan(drawn).any(axis=0)
    if np.count_nonzero(defined) < 2:
        return np.full((len(parts), len(parts)), np.nan), np.inf
    total = np.atleast_2d(np.cov(drawn[:, defined]))
    own, noise, n = (np.array([getattr(part, name) for part in parts]) for name in ("of_seeds", "noise", "n"))
    together, freedom = moderated(own, n - 1.0)
    of_seeds = np.maximum(together - noise, 0.0)
    total += np.diag(of_seeds)
    share = of_seeds.sum() / np.trace(total) if of_seeds.any() else 0.0
    return total, float(freedom[n > 1].mean() / share**2) if share > 0 else np.inf


def covariance(parts: Sequence[BySeed], encoders: Sequence[Hashable]) -> Floats:
    """The covariance [k, k] of the parts' means over their seeds, with the variances of `combined` on its diagonal.

    Examples are shared by all parts, seeds by those of one encoder (``encoders`` [k]): gains of recipes over one `none`
    vary together. Positive semi-definite; NaN where fewer than two replicates of the examples are defined for all.
    """
    run = [~np.isnan(part.values) for part in parts]
    drawn = np.array([part.replicates[there].mean(axis=0, dtype=np.float64)
                      for part, there in zip(parts, run, strict=True)])  # fmt: skip
    defined = ~np.isnan(drawn).any(axis=0)
    if np.count_nonzero(defined) < 2:
        return np.full((len(parts), len(parts)), np.nan)
    total = np.atleast_2d(np.cov(drawn[:, defined]))
    for encoder in dict.fromkeys(encoders):
        own = [i for i, one in enumerate(encoders) if one == encoder]
        total[np.ix_(own, own)] += _of_seeds([parts[i] for i in own], [run[i] for i in own], defined)
    return total


def _of_seeds(parts: Sequence[BySeed], run: Sequence[npt.NDArray[np.bool_]], defined: npt.NDArray[np.bool_]) -> Floats:
    """V_seeds − V_noise of the parts of one encoder and of their pairs, by the seeds that both of a pair have."""
    found = np.zeros((len(parts), len(parts)))
    for i, j in combinations_with_replacement(range(len(parts)), 2):
        both = run[i] & run[j]
        n = np.count_nonzero(both)
        if n > 1:
            values = [part.values[both] - part.values[both].mean() for part in (parts[i], parts[j])]
            left = [part.replicates[both][:, defined].astype(np.float64) for part in (parts[i], parts[j])]
            left = [one - one.mean(axis=0) for one in left]
            left = [one - one.mean(axis=1, keepdims=True) for one in left]
            noise = (left[0] * left[1]).sum() / (np.count_nonzero(defined) - 1)
            weight = n / np.count_nonzero(run[i]) / np.count_nonzero(run[j])
            found[i, j] = found[j, i] = weight * (values[0] @ values[1] - noise) / (n - 1)
    return _semi_definite(found)


def _semi_definite(covariance: Floats) -> Floats:
    """With no variance below 0, and correlations that can be: those of the nearest such matrix."""
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    values, vectors = np.linalg.eigh(covariance)
    half = vectors * np.sqrt(np.maximum(values, 0.0))
    nearest = half @ half.T
    own = np.sqrt(np.diag(nearest))
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(own > 0, deviations / own, 0.0)
    return np.asarray(nearest * np.outer(scale, scale))
