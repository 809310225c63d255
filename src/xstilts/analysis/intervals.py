"""What is said of an estimate whose standard error is known: interval, p-value, equivalence, what could be detected.

The standard errors are those of `xstilts.analysis.crossed`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from xstilts.common.arrays import Floats

LEVEL = 0.95
#: The power at which the minimum detectable effect is stated.
POWER = 0.8
#: Points within which an effect counts as none: below what the literature reports as an effect of a recipe (5 to 9
#: points), and about what one of its tables differs by from the next version of it.
EQUIVALENCE_MARGIN = 1.0


#: Degrees of freedom that are as good as infinitely many.
_MOST = 1e6


@dataclass(frozen=True)
class Spread:
    """The standard error of estimates, in their unit, and its degrees of freedom; both [rows]."""

    errors: Floats
    freedom: Floats

    def interval(self, values: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
        half = stats.t.ppf((1 + level) / 2, self.freedom) * self.errors
        return values - half, values + half

    def p_values(self, values: Floats) -> Floats:
        """Two-sided, of the true value being 0."""
        return np.where(values == 0, 1.0, 2 * stats.t.sf(np.abs(self._ratio(values)), self.freedom))

    def equivalence(self, values: Floats, margin: float = EQUIVALENCE_MARGIN) -> Floats:
        """The p-value of the true value being as far from 0 as ``margin`` or farther: two one-sided tests.

        Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach". Below 0.05 where
        the 90 % interval lies within the margin.
        """
        nearest = margin - np.abs(values)
        return np.where(nearest == 0, 0.5, stats.t.sf(self._ratio(nearest), self.freedom))

    def detectable(self, level: Floats | float = LEVEL, power: float = POWER) -> Floats:
        """The smallest true value that a two-sided test at 1 - ``level`` would tell from 0 with ``power``.

        In standard errors, the noncentrality at which t exceeds its critical value c with that probability, which is
        the ``power`` quantile of c·W − Z, with W² = χ²/f of f degrees of freedom and Z normal; by its mean and variance
        (Johnson and Welch 1940, "Applications of the non-central t-distribution").
        """
        freedom = np.minimum(self.freedom, _MOST)
        critical = stats.t.ppf((1 + level) / 2, freedom)
        with np.errstate(divide="ignore", invalid="ignore"):  # no degrees of freedom: NaN
            mean = np.exp(0.5 * np.log(2 / freedom) + special.gammaln((freedom + 1) / 2) - special.gammaln(freedom / 2))
        deviation = np.sqrt(1 + critical**2 * np.maximum(1 - mean**2, 0))
        return np.asarray((critical * mean + stats.norm.ppf(power) * deviation) * self.errors)

    def _ratio(self, values: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return values / self.errors


def holm(p_values: Floats) -> Floats:
    """Corrected for the number of p-values (Holm 1979, "A simple sequentially rejective multiple test procedure").

    NaN stays so, and does not count.
    """
    corrected = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: int((~np.isnan(p_values)).sum())]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return corrected
