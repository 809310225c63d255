"""Random-effects meta-analysis: what effects of several studies say together, and how much they differ.

DerSimonian and Laird 1986, "Meta-analysis in clinical trials": the variance between studies, τ², from the moments of
Cochran's Q. The interval is Hartung and Knapp's, on Student's t with k - 1 degrees of freedom, in the modified form
that never shrinks the classic one (Röver, Knapp and Friede 2015, "Hartung-Knapp-Sidik-Jonkman approach and its
modification for random-effects meta-analysis with few studies"): with two or three studies whose standard errors
differ, the unmodified one errs too often. Statsmodels' `combine_effects` lets τ² fall below 0, which gives weights
without meaning; the tests compare with it where it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from xstilts.analysis.intervals import LEVEL


@dataclass(frozen=True)
class Pooled:
    """Effects together, in their unit."""

    k: int  # effects
    effect: float
    error: float  # standard error, Hartung and Knapp's
    low: float
    high: float
    tau2: float  # variance between studies
    q: float  # Cochran's
    q_p: float  # p-value of all effects being the same
    i2: float  # share of the variation that is between studies, percent (Higgins and Thompson 2002)


def random_effects(effects: Sequence[float], errors: Sequence[float], level: float = LEVEL) -> Pooled:
    """Pool at least two ``effects`` with their standard errors. Raises ValueError."""
    values, variances = np.asarray(effects, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2
    k = len(values)
    if k < 2 or len(variances) != k:
        raise ValueError(f"{k} effects with {len(variances)} standard errors: at least two are pooled, each with one")
    if not (np.isfinite(values).all() and np.isfinite(variances).all() and (variances > 0).all()):
        raise ValueError("effects must be numbers, and standard errors positive ones")
    weights = 1 / variances
    fixed = weights @ values / weights.sum()
    q = float(weights @ (values - fixed) ** 2)
    tau2 = max(0.0, (q - (k - 1)) / (weights.sum() - (weights**2).sum() / weights.sum()))
    weights = 1 / (variances + tau2)
    effect = float(weights @ values / weights.sum())
    scale = float(weights @ (values - effect) ** 2) / (k - 1)
    error = float(np.sqrt(max(1.0, scale) / weights.sum()))
    half = float(stats.t.ppf((1 + level) / 2, k - 1)) * error
    i2 = 100 * max(0.0, (q - (k - 1)) / q) if q > 0 else 0.0
    return Pooled(k, effect, error, effect - half, effect + half, tau2, q, float(stats.chi2.sf(q, k - 1)), i2)
