"""Meta-regression: how effects depend on what they were measured with, and how much they differ beyond that.

Of effects y [k] with the design X [k, p] and the known covariance V [k, k] of their sampling errors,

    y = X β + Σ_j Z_j u_j + e,  u_j ~ N(0, σ_j² I),  e ~ N(0, V)

with one variance component σ_j² for each grouping of the rows (studies, encoders, or the rows themselves), crossed or
nested as their labels are. That is the model of metafor's `rma.mv`, and of its `rma.uni` where each row is a group of
its own and V is diagonal (Viechtbauer 2010, "Conducting meta-analyses in R with the metafor package"); the tests have
its figures. PyMARE has one level and independent errors, statsmodels' mixed models have no known covariance, so
neither fits it.

The variances are those of restricted maximum likelihood (Harville 1977, "Maximum likelihood approaches to variance
component estimation and to related problems"): the likelihood of Kᵀy, with K an orthonormal basis of what is orthogonal
to X, which knows nothing of β. With M = V + Σ σ_j² Z_j Z_jᵀ, β is the generalised least-squares estimate and its
covariance (XᵀM⁻¹X)⁻¹. Where each row is a group of its own, it is multiplied by rᵀM⁻¹r / (k − p) of the residuals r,
and quantiles are Student's t with k − p degrees of freedom (Knapp and Hartung 2003, "Improved tests for a random
effects meta-regression with a single covariate"). With other groupings they are Student's t with as many degrees of
freedom as the coarsest grouping within which a moderator does not vary has groups, less p (`test="t", dfs="contain"`
of `rma.mv`).

The interval of a variance is that of Q-profiles where each row is a group of its own (Viechtbauer 2007, "Confidence
intervals for the amount of heterogeneity in meta-analysis"), else of the profile likelihood. Everything is in the unit
of the effects; intervals are of 95 %.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, special
from threadpoolctl import ThreadpoolController

from xstilts.analysis.intervals import LEVEL
from xstilts.common.arrays import Floats

_LIBRARIES = ThreadpoolController()

Groups = Sequence[Sequence[Hashable]]

#: The level at which what is known of the sampling errors alone guards an interval (`Fit.among`), and the share of
#: cases in which they leave so little that what is left counts as theirs.
GUARD, OF_ITS_OWN = 0.8, 0.1


class Component(NamedTuple):
    """A variance of random effects, with its interval."""

    variance: float
    low: float
    high: float


class Prediction(NamedTuple):
    """The mean effect at a row of the design with its interval, and where a new group's true effect is expected."""

    value: float
    low: float
    high: float
    predicted_low: float
    predicted_high: float


class Among(NamedTuple):
    """`Prediction` guarded by V, and how far from 0 the mean has to be to be told from it, however well a line fits."""

    value: float
    low: float
    high: float
    predicted_low: float
    predicted_high: float
    identified: float


@dataclass(frozen=True)
class _Problem:
    """The effects, and what is left of them and of the variances where X explains nothing: Kᵀy, KᵀVK, KᵀZZᵀK."""

    effects: Floats
    design: Floats
    covariance: Floats
    levels: tuple[npt.NDArray[np.int64], ...]  # of each grouping, the group of each row

    @cached_property
    def indicators(self) -> tuple[Floats, ...]:
        """Z Zᵀ of each grouping, [k, k]: 1 where two rows are of one group."""
        return tuple((one[:, None] == one).astype(np.float64) for one in self.levels)

    @cached_property
    def basis(self) -> Floats:
        rows, columns = self.design.shape
        return np.asarray(linalg.qr(self.design)[0][:, columns:]).reshape(rows, rows - columns)

    @cached_property
    def errors(self) -> Floats:
        return np.asarray(self.basis.T @ self.effects)

    @cached_property
    def sampling(self) -> Floats:
        return np.asarray(self.basis.T @ self.covariance @ self.basis)

    @cached_property
    def random(self) -> tuple[Floats, ...]:
        return tuple(self.basis.T @ one @ self.basis for one in self.indicators)

    @cached_property
    def by_row(self) -> bool:
        """Whether the only groups are the rows."""
        return len(self.levels) == 1 and len(np.unique(self.levels[0])) == len(self.effects)

    @cached_property
    def diagonal(self) -> tuple[Floats, Floats]:
        """Where the only groups are the rows: the eigenvalues d of KᵀVK and the squares of Kᵀy in their directions.

        The restricted likelihood is then a sum over log(d + τ²) and square / (d + τ²), and so is rᵀM⁻¹r.
        """
        values, vectors = np.linalg.eigh(self.sampling)
        return values, (vectors.T @ self.errors) ** 2

    def deviance(self, variances: Floats) -> tuple[float, Floats]:
        """-2 · the restricted log-likelihood, a constant aside, and its gradient."""
        total = self.sampling + sum(v * part for v, part in zip(variances, self.random, strict=True))
        try:
            factor = linalg.cho_factor(total, lower=True)
        except linalg.LinAlgError:  # a variance that the search tries is so small that the sum is not positive definite
            return np.inf, np.zeros(len(variances))
        inverse = linalg.cho_solve(factor, np.eye(len(total)))
        weighted = inverse @ self.errors
        value = 2 * np.log(np.diag(factor[0])).sum() + self.errors @ weighted
        gradient = [(inverse * part).sum() - weighted @ part @ weighted for part in self.random]
        return float(value), np.array(gradient)

    def least(self, fixed: tuple[int, float] | None = None, near: Floats | None = None) -> tuple[float, Floats]:
        """The least deviance and the variances that have it: all of them free, or one ``fixed`` (its place and value).

        A search that begins ``near`` begins nowhere else.
        """
        size = float(np.mean(self.errors**2)) or float(np.mean(np.diag(self.sampling)))
        n = len(self.random)
        starts = np.vstack([np.full(n, 1 / n), np.eye(n) + 0.01, np.full(n, 0.01)]) if near is None else [near / size]
        lower, upper = np.zeros(n), np.full(n, np.inf)
        if fixed is not None:
            lower[fixed[0]] = upper[fixed[0]] = fixed[1] / size
        best = np.inf, np.zeros(n)
        with _LIBRARIES.limit(limits=1):  # threads that wait for each other cost more than such small matrices do
            for start in starts:
                found = optimize.minimize(
                    self._scaled, np.clip(start, lower, upper), args=(size,), jac=True, method="L-BFGS-B",
                    bounds=optimize.Bounds(lower, upper), options={"ftol": 1e-13, "gtol": 1e-9},
                )  # fmt: skip
                if found.fun < best[0]:
                    best = float(found.fun), found.x * size
        return best

    def variances(self) -> Floats:
        """The restricted maximum likelihood estimates."""
        return np.array([self._row_variance()]) if self.by_row else self.least()[1]

    def _scaled(self, variances: Floats, size: float) -> tuple[float, Floats]:
        value, gradient = self.deviance(variances * size)
        return value, gradient * size

    def _row_variance(self) -> float:
        values, squares = self.diagonal

        def slope(variance: float) -> float:
            return float(((values + variance - squares) / (values + variance) ** 2).sum())

        most = squares.max(initial=0.0)  # above it the deviance grows
        grid = np.concatenate([[0.0], most * np.geomspace(1e-6, 1, 60)])
        of_grid = (np.log(values + grid[:, None]) + squares / (values + grid[:, None])).sum(axis=1)
        at = int(np.argmin(of_grid))
        below, above = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
        return float(optimize.brentq(slope, below, above)) if slope(below) < 0 < slope(above) else float(grid[at])

    def q(self, variance: float = 0.0) -> float:
        """rᵀM⁻¹r where each row is a group of its own with that variance."""
        values, squares = self.diagonal
        return float((squares / (values + variance)).sum())


@dataclass(frozen=True)
class Fit:
    """A meta-regression. Of the coefficients, each [p]: standard errors, degrees of freedom, interval, p-value of 0."""

    coefficients: Floats
    covariance: Floats  # of the coefficients, [p, p]
    freedom: Floats
    variances: Floats  # of the random effects, one a grouping
    _of: _Problem
    _unscaled: Floats  # (XᵀM⁻¹X)⁻¹
    _known: float = np.inf  # degrees of freedom with which the sampling covariance is known

    @property
    def errors(self) -> Floats:
        return np.sqrt(np.diag(self.covariance))

    @property
    def low(self) -> Floats:
        return np.asarray(self.coefficients - special.stdtrit(self.freedom, (1 + LEVEL) / 2) * self.errors)

    @property
    def high(self) -> Floats:
        return np.asarray(self.coefficients + special.stdtrit(self.freedom, (1 + LEVEL) / 2) * self.errors)

    @property
    def p(self) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(self.coefficients == 0, 0.0, np.abs(self.coefficients) / self.errors)
        return np.asarray(2 * special.stdtr(self.freedom, -ratios))

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """The variances of the random effects with their intervals; with Q-profiles both ends may be 0."""
        return tuple(
            Component(float(variance), *(self._q_profile() if self._of.by_row else self._profile(at)))
            for at, variance in enumerate(self.variances)
        )

    @property
    def q(self) -> float:
        """Q_E, the test of fit: what the residuals are too large by for the sampling errors alone (Cochran 1954)."""
        return self._of.q()

    @property
    def q_freedom(self) -> int:
        return len(self._of.errors)

    @property
    def q_p(self) -> float:
        if np.isinf(self._known):
            return float(special.chdtrc(self.q_freedom, self.q))
        return float(special.fdtrc(self.q_freedom, self._known, self.q / self.q_freedom))

    @property
    def i2(self) -> float:
        """The share of the variation about the line that is not of sampling, percent.

        Higgins and Thompson 2002, "Quantifying heterogeneity in a meta-analysis"; for several components and dependent
        errors as metafor's documentation has it, by the trace of the projection.
        """
        return float(100 * self.variances.sum() / (self.variances.sum() + self._typical))

    @cached_property
    def r2(self) -> float | None:
        """The share of the variance between groups that the moderators account for, percent.

        Raudenbush 2009, "Analyzing effect sizes: random-effects models". None without a moderator beside a constant, or
        where nothing varies without it.
        """
        of = self._of
        ones = np.ones((len(of.effects), 1))
        if of.design.shape[1] == 1 or not np.allclose(of.basis.T @ ones, 0):
            return None
        without = _Problem(of.effects, ones, of.covariance, of.levels).variances().sum()
        return float(100 * max(0.0, 1 - self.variances.sum() / without)) if without > 0 else None

    def at(self, x: npt.ArrayLike) -> Prediction:
        """The mean effect at the row ``x`` [p] of the design, and the interval of the true effect of a new group there.

        The latter: Higgins, Thompson and Spiegelhalter 2009, "A re-evaluation of random-effects meta-analysis", with
        the degrees of freedom of the coefficients, as in metafor. Where Knapp and Hartung's factor is below 1, it is
        left out: with few effects that lie close to the line by chance, the interval would be too short.
        """
        row = np.asarray(x, dtype=np.float64)
        value, variance = float(row @ self.coefficients), float(row @ self.covariance @ row)
        quantile = float(special.stdtrit(self.freedom[row != 0].min(initial=self.freedom.max()), (1 + LEVEL) / 2))
        around = max(variance, float(row @ self._unscaled @ row)) + self.variances.sum()
        half, wide = quantile * np.sqrt(variance), quantile * np.sqrt(around)
        return Prediction(value, value - half, value + half, value - wide, value + wide)

    def among(self, x: npt.ArrayLike) -> list[Among]:
        """`at` of each row ``x`` [rows, p], guarded by V where the effects lie closer to the line than V lets expect.

        Knapp and Hartung's intervals hold a coefficient as often as they say whatever τ² is, but are narrower than V
        alone would have them where few effects lie on the line by luck (Wiksten, Rücker and Schwarzer 2016,
        "Hartung-Knapp method is not always conservative compared with fixed-effect meta-analysis"). Here they are never
        narrower than the interval that V alone gives at GUARD; were it at 95 %, they would hold the coefficient in up
        to 99 %, where effects do lie on the line (docs/model-size.md has the figures).
        ``identified`` takes no factor below 1 (Röver, Knapp and Friede 2015, "Hartung-Knapp-Sidik-Jonkman approach and
        its modification for random-effects meta-analysis with few studies"), and errs on the safe side.

        A new group deviates by τ², whose estimate takes all of V from what the residuals vary, and is often 0 for few
        effects though τ² is not: intervals then are too short (Partlett and Riley 2017, "Random effects meta-analysis:
        Coverage performance of 95 % confidence and prediction intervals following REML estimation"). Here V is taken
        off as far as sampling alone would leave it in all but OF_ITS_OWN of cases: τ² is larger by the typical sampling
        variance (as in `i2`) times what Q / (k − p), at most 1, is above that quantile of χ² / (k − p), or of F.

        Only where the effects are groups of their own; raises ValueError elsewhere.
        """
        of, rows = self._of, np.atleast_2d(np.asarray(x, dtype=np.float64))
        if not of.by_row:
            raise ValueError("V tells of the coefficients alone only where each row is a group of its own")
        free, tau2 = self.q_freedom, float(self.variances[0])
        variances = np.einsum("ri,ij,rj->r", rows, self._unscaled, rows)
        weights = rows @ self._unscaled @ linalg.solve(
            of.covariance + tau2 * np.eye(len(of.effects)), of.design, assume_a="pos"
        ).T  # fmt: skip
        by_v = np.einsum("ri,ij,rj->r", weights, of.covariance, weights)
        guard = special.stdtrit(self._known, (1 + GUARD) / 2) * np.sqrt(by_v)
        factor, quantile = of.q(tau2) / free, special.stdtrit(free, (1 + LEVEL) / 2)
        half = np.maximum(quantile * np.sqrt(factor * variances), guard)
        least = self._chance(np.array(OF_ITS_OWN)) / free
        own = tau2 + self._typical * max(0.0, min(self.q / free, 1.0) - float(least))
        wide = np.maximum(quantile * np.sqrt(factor * variances + own), guard)
        identified = quantile * np.sqrt(max(factor, 1.0) * variances)
        columns = np.column_stack([rows @ self.coefficients, half, wide, identified])
        return [
            Among(value, value - narrow, value + narrow, value - new, value + new, steep)
            for value, narrow, new, steep in columns.tolist()
        ]

    def _chance(self, shares: Floats) -> Floats:
        """The quantiles of Q of effects that lie on the line."""
        if np.isinf(self._known):
            return np.asarray(special.chdtri(self.q_freedom, 1 - shares))
        return np.asarray(self.q_freedom * special.fdtri(self.q_freedom, self._known, shares))

    @property
    def _typical(self) -> float:
        """Sampling variance."""
        return float(self.q_freedom / (1 / self._of.diagonal[0]).sum())  # tr P = tr (KᵀVK)⁻¹

    def _q_profile(self) -> tuple[float, float]:
        of = self._of

        def variance_with(quantile: float) -> float:
            if of.q() <= quantile:
                return 0.0
            above = of.diagonal[1].sum() / quantile  # q falls below the quantile there, for no d is negative
            return float(optimize.brentq(lambda variance: of.q(variance) - quantile, 0, above))

        low, high = self._chance(np.array([(1 + LEVEL) / 2, (1 - LEVEL) / 2]))
        return variance_with(low), variance_with(high)

    def _profile(self, at: int) -> tuple[float, float]:
        of, least = self._of, self._of.deviance(self.variances)[0]
        allowed = float(special.chdtri(1, 1 - LEVEL))

        def beyond(variance: float) -> float:
            return of.least((at, variance), self.variances)[0] - least - allowed

        estimate = float(self.variances[at])
        above = 2 * estimate or float(np.mean(np.diag(of.sampling)))
        while beyond(above) < 0:
            above *= 2
        low = 0.0 if beyond(0.0) < 0 else float(optimize.brentq(beyond, 0.0, estimate, xtol=1e-6 * above))
        return low, float(optimize.brentq(beyond, estimate, above, xtol=1e-6 * above))


def fit(
    effects: npt.ArrayLike,
    design: npt.ArrayLike,
    covariance: npt.ArrayLike,
    *,
    groups: Groups = (),
    freedom: float = np.inf,
) -> Fit:
    """Fit the model to ``effects`` [k] with the ``design`` [k, p] and the sampling ``covariance`` [k, k].

    ``groups`` has the label of each row's group, [k], for each variance component; without any, each row is a group.
    Labels that are nested must differ between the groups that they are nested in. Of a covariance that was estimated,
    with ``freedom`` degrees of freedom, the test of fit and the Q-profiles refer to F in place of χ².

    Raises ValueError if there are not more effects than coefficients, if the design's columns depend on each other, if
    the covariance is not that of errors which all vary, or if groupings cannot be told apart, or from the design.
    """
    of = _problem(effects, design, covariance, groups)
    return _fitted(of, of.variances(), freedom)


def der_simonian_laird(effects: npt.ArrayLike, variances: npt.ArrayLike) -> Fit:
    """The mean of independent ``effects`` [k] with sampling ``variances`` [k], and the variance between them.

    The latter from the moments of Cochran's Q (DerSimonian and Laird 1986, "Meta-analysis in clinical trials"), the
    rest as in `fit`. Raises ValueError as `fit` does.
    """
    known = np.asarray(variances, dtype=np.float64)
    of = _problem(effects, np.ones((len(known), 1)), np.diag(known), ())
    weights = 1 / known
    variance = (of.q() - len(of.errors)) / (weights.sum() - (weights**2).sum() / weights.sum())
    return _fitted(of, np.array([max(0.0, variance)]))


def leave_one_out(
    effects: npt.ArrayLike, design: npt.ArrayLike, covariance: npt.ArrayLike, *, groups: Groups = ()
) -> list[Fit]:
    """The fits without each row in turn. Raises ValueError as `fit` does, of what is left."""
    of = _problem(effects, design, covariance, groups)
    found = []
    for out in range(len(of.effects)):
        kept = np.arange(len(of.effects)) != out
        x, v = of.design[kept], of.covariance[np.ix_(kept, kept)]
        if of.by_row and len(x) > x.shape[1] == np.linalg.matrix_rank(x):  # all else was looked at
            without = _Problem(of.effects[kept], x, v, (np.arange(len(x)),))
        else:
            of_these = [[label for i, label in enumerate(one) if i != out] for one in groups]
            without = _problem(of.effects[kept], x, v, of_these)
        found.append(_fitted(without, without.variances()))
    return found


def _problem(effects: npt.ArrayLike, design: npt.ArrayLike, covariance: npt.ArrayLike, groups: Groups) -> _Problem:
    y, x, v = (np.asarray(one, dtype=np.float64) for one in (effects, design, covariance))
    k = len(y)
    if x.ndim != 2 or len(x) != k or v.shape != (k, k) or any(len(one) != k for one in groups):
        raise ValueError(f"{k} effects with a design {x.shape}, a covariance {v.shape} and groups of "
                         f"{[len(one) for one in groups]} rows: all have a row for each effect")  # fmt: skip
    if not all(np.isfinite(one).all() for one in (y, x, v)):
        raise ValueError("effects, design and covariance must be numbers")
    if k <= x.shape[1]:
        raise ValueError(f"{k} effects cannot tell {x.shape[1]} coefficients and a variance: more effects are needed")
    if np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError("columns of the design depend on each other")
    if not np.allclose(v, v.T) or not np.linalg.eigvalsh(v).min() > 1e-12 * np.diag(v).max() > 0:
        raise ValueError("the covariance is not that of errors which all vary: not symmetric and positive definite")
    levels = tuple(_levels(one) for one in groups) or (np.arange(k),)
    of = _Problem(y, x, v, levels)
    if not of.by_row:
        apart = np.array([one.ravel() for one in of.random])
        if np.linalg.matrix_rank(apart, tol=1e-9 * k) < len(apart):
            raise ValueError("groups cannot be told apart, or from the design: leave one of them out")
    return of


def _levels(labels: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    places = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return np.array([places[label] for label in labels], dtype=np.int64)


def _fitted(of: _Problem, variances: Floats, known: float = np.inf) -> Fit:
    total = of.covariance + sum(v * one for v, one in zip(variances, of.indicators, strict=True))
    factor = linalg.cho_factor(total, lower=True)
    weighted = linalg.cho_solve(factor, of.design)
    covariance = np.linalg.inv(of.design.T @ weighted)
    coefficients = covariance @ (weighted.T @ of.effects)
    k, p = of.design.shape
    if of.by_row:
        scale, freedom = of.q(float(variances[0])) / (k - p), np.full(p, float(k - p))
    else:
        scale, freedom = 1.0, np.array([max(1.0, _contained(column, of.levels) - p) for column in of.design.T])
    return Fit(coefficients, scale * covariance, freedom, variances, of, covariance, known)


def _contained(column: Floats, levels: Sequence[npt.NDArray[np.int64]]) -> int:
    """The fewest groups of a grouping within whose groups the column does not vary; if there is none, the rows."""
    of_these = [len(np.unique(one)) for one in levels
                if len(np.unique(np.column_stack([one, column]), axis=0)) == len(np.unique(one))]  # fmt: skip
    return min(of_these, default=len(column))
