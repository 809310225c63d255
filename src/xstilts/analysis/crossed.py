"""The standard error of everything that is shown: seeds and examples are crossed, and their noise is counted once.

Of one quantity (a score, a gain, a mean of gains), the value with seed s and example i is

    mean + seed_s + example_i + noise_si

and its mean over S seeds and n examples has the variance seed / S + example / n + noise / (S n). The variance over
samples of the examples (`xstilts.analysis.bootstrap`) holds the last two, that between the seeds, s² / S, the first and
the last; both together count the noise twice (and resampling both at once three times: Owen 2007, "The pigeonhole
bootstrap"). It is taken off once, as readers and cases are combined in diagnostic imaging (Hillis 2014, "A
marginal-mean ANOVA approach for analyzing multireader multicase radiological imaging data"):

    V = V_examples + max(0, V_seeds − V_noise)
    V_seeds = s² / S,  V_noise = Σ_s Var(seed s − mean over seeds) / (S (S − 1)), Var over samples of the examples

Quantiles are Student's t with Satterthwaite's degrees of freedom (1946, "An approximate distribution of estimates of
variance components"), f = V² / (V_seeds² / (S − 1) + V_examples² / (n − 1)). V_noise counts as known, for it rests on
seeds times examples; where it accounts for all of V_seeds, their term is halved, for what is cut off at 0 varies less.
Tests that are corrected for their number, which look farther into the tails, leave it whole. Where seeds alone vary
this is the t test of S values, where examples alone vary that of n. They are no fewer than the fewer of S − 1 and
n − 1, as those of any sum of variances: taking V_noise off would bring them near 0 where it is about V_seeds.

Of Σ weight · part, with the examples shared by all parts and the seeds by none, V_seeds and V_noise are the sums of
weight² times the parts' own, and V_seeds² / (S − 1) that of the parts' (weight² · V_seeds)² / (S − 1). A gain has two
parts, the recipe and `none`: each side's seeds vary as they do, so that neither a recipe whose seeds vary most, nor
that all recipes share one `none`, makes an interval too narrow, and rows lend each other nothing. That the two sides
have the same seed is not made use of, which errs on the safe side: what a seed decides for both (head, order of the
data) makes them alike (in docs/results/size-real.parquet their covariance is positive or 0 in all 16 cells of an
encoder and target). It is made use of, with one part, where both sides are one training, as with averaged weights, and
where the training sample is drawn anew for each seed. With three seeds quantiles lie between 2.8 standard errors (four
degrees of freedom) and 4.3 (two) where seeds make up all of the variance.

`covariance` has V of each part and of each pair of them, for models that take it as known.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xstilts.analysis.intervals import Spread
from xstilts.common.arrays import Floats


class BySeed(NamedTuple):
    """A part by seed: its ``values`` [seeds], and its ``replicates`` [seeds, resamples] over samples of ``n`` examples.

    Examples that share a text count once. All NaN for a seed that was not run.
    """

    values: Floats
    replicates: Floats
    n: float = np.inf


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of gains, in points, with its 95 % interval and two-sided p-value, uncorrected."""

    value: float
    low: float
    high: float
    error: float  # standard error
    freedom: float
    p: float


def spread(
    of_examples: Floats,
    of_seeds: Floats,
    of_noise: Floats,
    freedom: Floats,
    n: Floats | float = np.inf,
    *,
    tails: bool = False,
) -> Spread:
    """Of estimates with these variances (V_examples, V_seeds, V_noise), all [rows].

    V_seeds has ``freedom`` degrees of freedom, 0 with a single seed, and V_examples rests on ``n`` examples. ``tails``
    is for tests that are corrected for their number.
    """
    variances = of_examples + np.maximum(of_seeds - of_noise, 0.0)
    share = np.where(of_seeds > of_noise, 1.0, 1.0 if tails else 0.5)
    of_n = np.maximum(np.asarray(n, dtype=float) - 1, 1)
    squares = share * of_seeds**2 / np.maximum(freedom, 1) + of_examples**2 / of_n
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(squares > 0, variances**2 / squares, np.inf)
    fewest = np.minimum(np.where(freedom > 0, np.maximum(freedom, 1), np.inf), of_n)
    return Spread(np.sqrt(variances), np.maximum(effective, fewest))


def over_seeds(by_seed: Floats) -> tuple[Floats, Floats]:
    """V_seeds of each row, and its degrees of freedom; ``by_seed`` [rows, seeds], NaN where none is.

    With a single seed nothing is known of it: both are 0.
    """
    n_seeds = (~np.isnan(by_seed)).sum(axis=1)
    variances, several = np.zeros(len(by_seed)), n_seeds > 1
    variances[several] = np.nanvar(by_seed[several], axis=1, ddof=1) / n_seeds[several]
    return variances, np.maximum(n_seeds - 1.0, 0.0)


def mean_of(parts: Sequence[BySeed]) -> BySeed:
    """The mean of quantities that share their seeds, such as an encoder's gains on several targets."""
    return sum_of([(1 / len(parts), part) for part in parts])


def sum_of(parts: Sequence[tuple[float, BySeed]]) -> BySeed:
    """Σ weight · part of quantities that share their seeds, seed by seed; of as many examples as the fewest."""
    return BySeed(
        np.sum([weight * part.values for weight, part in parts], axis=0),
        np.sum([weight * part.replicates for weight, part in parts], axis=0),
        min(part.n for _, part in parts),
    )


class MeanOverSeeds(NamedTuple):
    """A part's mean over its seeds, and what its variance is made of."""

    value: float
    drawn: Floats  # [resamples], the mean over samples of the examples
    of_seeds: float  # s² / S; 0 with one seed
    noise: float  # its part of V_noise
    n: int  # seeds
    examples: float  # that it is a mean of, those that share a text counted once


def mean_over_seeds(part: BySeed) -> MeanOverSeeds:
    """Of a part of which one seed at least was run. A replicate that is not defined (NaN) is left out of the noise."""
    there = ~np.isnan(part.values)
    values, replicates = part.values[there], part.replicates[there].astype(np.float64)
    n, drawn = len(values), replicates.mean(axis=0)
    if n < 2:
        return MeanOverSeeds(float(values.mean()), drawn, 0.0, 0.0, n, part.n)
    left = (replicates - drawn)[:, ~np.isnan(drawn)]
    left -= left.mean(axis=1, keepdims=True) if left.size else 0.0
    noise = float((left * left).sum()) / max(left.shape[1] - 1, 1) / (n * (n - 1))
    return MeanOverSeeds(float(values.mean()), drawn, float(np.var(values, ddof=1)) / n, noise, n, part.n)


def combined(parts: Sequence[tuple[float, BySeed]]) -> Contrast:
    """Σ weight · (mean over the part's seeds), as the module says. A part with one seed varies by its examples alone.

    A replicate that is not defined (NaN) is left out; without two that are, all but the value is NaN.
    """
    return weighted([(weight, mean_over_seeds(part)) for weight, part in parts if not np.isnan(part.values).all()])


def weighted(parts: Sequence[tuple[float, MeanOverSeeds]]) -> Contrast:
    """`combined`, of means that are known; their variance over examples is known as well as the fewest tell it."""
    value = float(sum(weight * part.value for weight, part in parts))
    drawn = np.sum([weight * part.drawn for weight, part in parts], axis=0)
    defined = ~np.isnan(drawn)
    if np.count_nonzero(defined) < 2:
        return Contrast(value, *[float("nan")] * 5)
    own = np.array([weight**2 * part.of_seeds for weight, part in parts])
    squares = float((own**2 / np.array([max(part.n - 1, 1) for _, part in parts])).sum())
    noise = sum(weight**2 * part.noise for weight, part in parts)
    of_examples, freedom = float(np.var(drawn[defined], ddof=1)), own.sum() ** 2 / squares if squares else 0.0
    examples = min(part.examples for _, part in parts)
    of_parts = (np.array([one]) for one in (of_examples, own.sum(), noise, freedom, examples))
    about = spread(*of_parts)
    at = np.array([value])
    (low,), (high,), (p,) = *about.interval(at), about.p_values(at)
    return Contrast(value, float(low), float(high), about.errors.item(), about.freedom.item(), float(p))


def encoders_covariance(parts: Sequence[MeanOverSeeds]) -> tuple[Floats, float]:
    """The covariance [k, k] of a part of each of k encoders, and the degrees of freedom with which it is known.

    As `covariance` has it, but that the variance s² between seeds is one for all encoders: two or three seeds say
    little of an encoder's, and a model that takes it as known would find deviations where there are none. So many seeds
    know it well enough that V_seeds − V_noise may be below 0, for cut off there it is too large on average; it is cut
    off where it would take more than half of the least that the samples of the examples vary in any direction. Few
    examples say little of the covariance over them, whose noise a fit to it would follow: it is shrunk (`_shrunk`).

    The degrees of freedom are Satterthwaite's, of the mean variances over seeds and over the examples that all seeds
    share, the latter as well known as the fewest tell it. NaN where fewer than two replicates of the examples are
    defined for all.
    """
    drawn = np.array([part.drawn for part in parts])
    defined = ~np.isnan(drawn).any(axis=0)
    if np.count_nonzero(defined) < 2:
        return np.full((len(parts), len(parts)), np.nan), np.inf
    examples = max(min(part.examples for part in parts) - 1, 1)
    own, noise, n = (np.array([getattr(part, name) for part in parts]) for name in ("of_seeds", "noise", "n"))
    of_examples, noise = _shrunk(np.atleast_2d(np.cov(drawn[:, defined])), noise, examples)
    freedom = max(float((n - 1).sum()), 1.0)
    together = (own * n * (n - 1)).sum() / freedom / n
    of_seeds = np.where(n > 1, np.maximum(together, noise - np.linalg.eigvalsh(of_examples)[0] / 2), 0.0)
    shared = max(float((np.diag(of_examples) - noise).sum()), 0.0)
    squares = of_seeds.sum() ** 2 / freedom + shared**2 / examples
    known = (of_seeds.sum() + shared) ** 2 / squares if squares > 0 else np.inf
    return of_examples + np.diag(of_seeds - noise), float(known)


def _shrunk(of_examples: Floats, noise: Floats, freedom: float) -> tuple[Floats, Floats]:
    """Variances towards their mean, the noise in them alike, and correlations towards theirs.

    As far as what they differ by is what estimates with these degrees of freedom would: the share Σ Var / Σ (estimate −
    mean)², at most 1, with the variances 2 s⁴ / f and (1 − r²)² / f of normal values (Schäfer and Strimmer 2005, "A
    shrinkage approach to large-scale covariance matrix estimation and implications for functional genomics").
    """

    def towards_mean(estimates: Floats, errors: Floats) -> float:
        spread = float(((estimates - estimates.mean()) ** 2).sum())
        return min(1.0, float(errors.sum()) / spread) if spread > 0 else 1.0

    variances, off = np.diag(of_examples), ~np.eye(len(of_examples), dtype=bool)
    if not (variances > 0).all() or len(of_examples) < 2:
        return of_examples, noise
    share = towards_mean(variances, 2 * variances**2 / freedom)
    new, noise = (each + share * (each.mean() - each) for each in (variances, noise))
    correlations = of_examples / np.sqrt(np.outer(variances, variances))
    share = towards_mean(correlations[off], (1 - correlations[off] ** 2) ** 2 / freedom)
    correlations = np.where(off, correlations + share * (correlations[off].mean() - correlations), 1.0)
    return np.sqrt(np.outer(new, new)) * correlations, noise


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
