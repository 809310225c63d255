from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from simulated import as_said
from xstilts.analysis.meta_regression import Fit, der_simonian_laird, fit, leave_one_out

# Colditz et al. 1994, as metafor's dat.bcg: vaccinated with and without tuberculosis, others so, absolute latitude.
BCG = np.array(
    [(4, 119, 11, 128, 44), (6, 300, 29, 274, 55), (3, 228, 11, 209, 42), (62, 13536, 248, 12619, 52),
     (33, 5036, 47, 5761, 13), (180, 1361, 372, 1079, 44), (8, 2537, 10, 619, 19), (505, 87886, 499, 87892, 13),
     (29, 7470, 45, 7232, 27), (17, 1699, 65, 1600, 42), (186, 50448, 141, 27197, 18), (5, 2493, 3, 2338, 33),
     (27, 16886, 29, 17825, 33)], dtype=float
)  # fmt: skip
# Konstantopoulos 2011, as metafor's dat.konstantopoulos2011: of each district, effects and variances of its schools.
SCHOOLS: dict[int, list[tuple[float, float]]] = {
    11: [(-0.18, 0.118), (-0.22, 0.118), (0.23, 0.144), (-0.3, 0.144)],
    12: [(0.13, 0.014), (-0.26, 0.014), (0.19, 0.015), (0.32, 0.024)],
    18: [(0.45, 0.023), (0.38, 0.043), (0.29, 0.012)],
    27: [(0.16, 0.02), (0.65, 0.004), (0.36, 0.004), (0.6, 0.007)],
    56: [(0.08, 0.019), (0.04, 0.007), (0.19, 0.005), (-0.06, 0.004)],
    58: [(-0.18, 0.02), (0, 0.018), (0, 0.019), (-0.28, 0.022), (-0.04, 0.02), (-0.3, 0.021), (0.07, 0.006),
         (0, 0.007), (0.05, 0.007), (-0.08, 0.007), (-0.09, 0.007)],
    71: [(0.3, 0.015), (0.98, 0.011), (1.19, 0.01)],
    86: [(-0.07, 0.001), (-0.05, 0.001), (-0.01, 0.001), (0.02, 0.001), (-0.03, 0.001), (0, 0.001), (0.01, 0.001),
         (-0.1, 0.001)],
    91: [(0.5, 0.01), (0.66, 0.011), (0.2, 0.01), (0, 0.009), (0.05, 0.013), (0.07, 0.013)],
    108: [(-0.52, 0.031), (0.7, 0.031), (-0.03, 0.03), (0.27, 0.03), (-0.34, 0.03)],
    644: [(0.12, 0.087), (0.61, 0.082), (0.04, 0.067), (-0.05, 0.067)],
}  # fmt: skip
NEAR: dict[str, Any] = {"abs": 5.1e-5, "rel": 0}  # to the four digits that metafor prints


def bcg() -> tuple[np.ndarray, np.ndarray]:
    """Log risk ratios and their variances."""
    ill, well, others_ill, others_well, _ = BCG.T
    n, others = ill + well, others_ill + others_well
    return np.log(ill / n) - np.log(others_ill / others), 1 / ill - 1 / n + 1 / others_ill - 1 / others


def schools() -> tuple[np.ndarray, np.ndarray, list[int]]:
    y, v = np.array([pair for of in SCHOOLS.values() for pair in of]).T
    return y, v, [district for district, of in SCHOOLS.items() for _ in of]


def mean(effects: np.ndarray, variances: np.ndarray, **options: Any) -> Fit:
    return fit(effects, np.ones((len(effects), 1)), np.diag(variances), **options)


def test_bcg_without_a_moderator():
    """metafor's README: rma(yi, vi, data=dat, test="knha"), and its prediction interval."""
    found = mean(*bcg())
    assert found.coefficients == pytest.approx([-0.7145], **NEAR)
    assert [found.errors[0], found.low[0], found.high[0], found.p[0]] == pytest.approx(
        [0.1808, -1.1084, -0.3206, 0.0019], **NEAR
    )
    assert found.variances == pytest.approx([0.3132], **NEAR) and found.freedom.tolist() == [12]
    assert found.q == pytest.approx(152.2330, **NEAR) and found.q_freedom == 12 and found.q_p < 1e-4
    assert found.i2 == pytest.approx(92.22, abs=0.005) and found.r2 is None
    assert np.exp(found.at([1])) == pytest.approx([0.49, 0.33, 0.73, 0.14, 1.76], abs=0.005)


def test_bcg_by_the_moments():
    """metafor's documentation: rma(yi, vi, data=dat, method="DL")."""
    found = der_simonian_laird(*bcg())
    assert found.coefficients == pytest.approx([-0.7141], **NEAR)
    assert found.variances == pytest.approx([0.3088], **NEAR)


def test_bcg_with_latitude():
    """metafor's README: rma(yi, vi, mods = ~ ablat, data=dat, test="knha").

    It stops where a step of τ² is below 1e-5, just short of the maximum at 0.07635, hence the tolerance.
    """
    effects, variances = bcg()
    found = fit(effects, np.column_stack([np.ones(13), BCG[:, 4]]), np.diag(variances))
    near = {"abs": 7e-5, "rel": 0}
    assert found.coefficients == pytest.approx([0.2515, -0.0291], **near)
    assert found.errors == pytest.approx([0.2839, 0.0082], **near)
    assert found.low == pytest.approx([-0.3735, -0.0472], **near)
    assert found.high == pytest.approx([0.8764, -0.0111], **near)
    assert found.p == pytest.approx([0.3948, 0.0046], **near) and found.freedom.tolist() == [11, 11]
    assert found.variances == pytest.approx([0.0764], **near)
    assert (found.q, found.q_p) == pytest.approx((30.7331, 0.0012), **near) and found.q_freedom == 11
    assert (found.i2, found.r2) == pytest.approx((68.39, 75.62), abs=0.015, rel=0)


def test_schools_in_two_levels():
    """metafor's test of analyses:konstantopoulos2011: rma(yi, vi, data=dat), and the Q-profile interval."""
    effects, variances, _ = schools()
    found = mean(effects, variances)
    assert found.coefficients == pytest.approx([0.1279], **NEAR)
    assert found.components[0] == pytest.approx((0.0884, 0.0565, 0.1388), **NEAR)


def test_schools_within_districts():
    """The same: rma.mv(yi, vi, random = ~ 1 | district/school, data=dat), and its profile likelihood intervals."""
    effects, variances, districts = schools()
    found = mean(effects, variances, groups=[districts, range(len(effects))])
    assert found.coefficients == pytest.approx([0.1847], **NEAR)
    assert found.errors == pytest.approx([0.0846], **NEAR)
    assert found.components[0] == pytest.approx((0.0651, 0.0222, 0.2072), **NEAR)
    assert found.components[1] == pytest.approx((0.0327, 0.0163, 0.0628), **NEAR)
    assert found.freedom.tolist() == [10], "dfs contain: eleven districts, less one coefficient"
    assert found.i2 == pytest.approx(95.19, abs=0.005), "metafor-project.org, tips:i2_multilevel_multivariate"


def test_one_component_of_all_rows_is_the_model_without_groups():
    effects, variances, _ = schools()
    one, other = mean(effects, variances), mean(effects, variances, groups=[[f"s{i}" for i in range(56)]])
    assert other.low == pytest.approx(one.low) and other.components == one.components


def test_crossed_groups_and_a_moderator_within_them():
    """What varies within studies and encoders alike has the degrees of freedom of the rows; the rest of the fewest."""
    rng = np.random.default_rng(0)
    studies, encoders = np.repeat(np.arange(6), 8), np.tile(np.arange(8), 6)
    size = np.linspace(-1, 1, 8)[encoders]
    own = rng.normal(size=48)
    effects = 2 + 3 * size + rng.normal(0, 2, 6)[studies] + rng.normal(0, 0.5, 8)[encoders] + rng.normal(0, 0.3, 48)
    design = np.column_stack([np.ones(48), size, own])
    found = fit(effects, design, 0.09 * np.eye(48), groups=[studies.tolist(), encoders.tolist()])
    assert found.freedom.tolist() == [3, 5, 45]
    assert found.variances[0] > 1 > found.variances[1] > 0
    assert (found.low < [2, 3, 0]).all() and (found.high > [2, 3, 0]).all()
    turned = fit(effects, design, 0.09 * np.eye(48), groups=[encoders.tolist(), studies.tolist()])
    assert turned.variances[::-1] == pytest.approx(found.variances, rel=1e-3)


def test_errors_that_are_shared_do_not_count_as_evidence_of_the_mean():
    effects = np.array([1.0, 1.2, 0.9, 1.1])
    apart = mean(effects, np.full(4, 0.5))
    together = fit(effects, np.ones((4, 1)), 0.01 * np.eye(4) + 0.49)
    assert apart.coefficients == pytest.approx(together.coefficients)
    assert together.q > apart.q and together.q_p < 1


def test_a_covariance_that_is_hardly_known_refutes_less():
    """Of errors whose variance has f degrees of freedom, the test of fit is one of F: 5 % of lines are refuted."""
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(6), np.arange(6)])
    refuted = []
    for _ in range(1000):
        variance = rng.chisquare(8) / 8  # estimated, of 1
        effects = rng.normal(size=6)
        found = fit(effects, design, variance * np.eye(6), freedom=8)
        refuted.append((found.q_p < 0.05, fit(effects, design, variance * np.eye(6)).q_p < 0.05,
                        found.components[0].low > 0))  # fmt: skip
    of_f, of_chi, above = np.mean(refuted, axis=0)
    assert 0.035 <= of_f <= 0.065 < 0.08 < of_chi and 0.012 <= above <= 0.04


def test_without_each_row_in_turn():
    effects, variances = bcg()
    design = np.column_stack([np.ones(13), BCG[:, 4]])
    found = leave_one_out(effects, design, np.diag(variances))
    assert len(found) == 13 and all(one.q_freedom == 10 for one in found)
    fourth = np.arange(13) != 3
    assert found[3].low == pytest.approx(fit(effects[fourth], design[fourth], np.diag(variances[fourth])).low)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-20, 20), st.floats(0.05, 5)), min_size=4, max_size=8),
    st.floats(0.01, 100),
    st.integers(0, 2**32 - 1),
)
def test_unit_and_direction_of_the_effects_do_not_matter(rows: list[tuple[float, float]], unit: float, seed: int):
    effects, variances = map(np.array, zip(*rows, strict=True))
    design = np.column_stack([np.ones(len(rows)), np.random.default_rng(seed).normal(size=len(rows))])
    one = fit(effects, design, np.diag(variances))
    other = fit(-unit * effects, design, unit**2 * np.diag(variances))
    scale = unit * max(1.0, float(np.abs(effects).max()))
    assert -other.high == pytest.approx(unit * one.low, rel=1e-4, abs=1e-4 * scale)
    assert other.q == pytest.approx(one.q, rel=1e-6, abs=1e-9)


def test_the_variance_is_where_the_restricted_likelihood_is_highest():
    effects, variances = bcg()
    design = np.column_stack([np.ones(13), BCG[:, 4]])
    found = fit(effects, design, np.diag(variances)).variances[0]

    def log_likelihood(variance: float) -> float:  # Harville 1977, with XᵀM⁻¹X in place of the basis
        weights = 1 / (variances + variance)
        information = design.T @ (weights[:, None] * design)
        left = effects - design @ np.linalg.solve(information, design.T @ (weights * effects))
        determinants = np.log(weights).sum() - np.linalg.slogdet(information)[1]
        return 0.5 * float(determinants - (weights * left**2).sum())

    assert all(log_likelihood(found) > log_likelihood(found + step) for step in (-0.01, -1e-4, 1e-4, 0.01))


def test_equal_effects_have_no_variance_and_a_slope_through_points_no_error():
    found = mean(np.full(3, 2.0), np.ones(3))
    assert (found.coefficients[0], found.components[0].variance, found.q) == (pytest.approx(2.0), 0.0, pytest.approx(0))
    assert found.components[0].low == 0.0 and found.i2 == 0.0


ONES = np.ones((3, 1))


@pytest.mark.parametrize(
    ("effects", "design", "covariance", "groups", "said"),
    [
        ([1.0, 2.0], np.eye(2), np.eye(2), (), "more effects are needed"),
        ([1.0, 2.0, 3.0], np.ones((2, 1)), np.eye(3), (), "a row for each effect"),
        ([1.0, 2.0, 3.0], ONES, np.eye(3), [["a", "b"]], "a row for each effect"),
        ([1.0, np.nan, 3.0], ONES, np.eye(3), (), "must be numbers"),
        ([1.0, 2.0, 3.0], np.ones((3, 2)), np.eye(3), (), "depend on each other"),
        ([1.0, 2.0, 3.0], ONES, np.diag([1.0, 1.0, 0.0]), (), "positive definite"),
        ([1.0, 2.0, 3.0], ONES, np.ones((3, 3)), (), "positive definite"),
        ([1.0, 2.0, 3.0], ONES, np.zeros((3, 3)), (), "positive definite"),
        ([1.0, 2.0, 3.0], ONES, np.eye(3), [["a", "a", "a"]], "cannot be told apart"),
        ([1.0, 2.0, 3.0], ONES, np.eye(3), [["a", "b", "b"], [1, 2, 2]], "cannot be told apart"),
    ],
)
def test_what_cannot_be_fitted(effects: Any, design: Any, covariance: Any, groups: Any, said: str):
    with pytest.raises(ValueError, match=said):
        fit(effects, design, covariance, groups=groups)


def held(encoders: int, deviation: float, runs: int, *, uneven: bool, seed: int = 0) -> dict[str, float]:
    """How often intervals hold the slope, the ends of the line, the deviation and the effect of a new encoder.

    Of gains whose errors have a variance of 1, estimated with 8 degrees of freedom for each encoder.
    """
    rng = np.random.default_rng([seed, encoders, int(deviation), uneven])
    size = np.log10(np.linspace(2, 12, encoders))
    design = np.column_stack([np.ones(encoders), size])
    errors = np.geomspace(1.7, 0.6, encoders) if uneven else np.ones(encoders)
    covariance = (0.7 * np.eye(encoders) + 0.3) * np.outer(errors, errors)  # a part of it is shared
    inside = []
    for _ in range(runs):
        effects = rng.multivariate_normal(1 + 4 * size, covariance) + rng.normal(0, deviation, encoders)
        known = 8 * encoders
        found = fit(effects, design, covariance * rng.chisquare(known) / known, freedom=known)
        slope, *line = found.among([(0, 1), (1, size[0]), (1, size.mean()), (1, size[-1])])
        row = [slope.low <= 4 <= slope.high]
        for at, there in zip((size[0], size.mean(), size[-1]), line, strict=True):
            mean = 1 + 4 * at
            row += [there.low <= mean <= there.high]
            row += [there.predicted_low <= mean + rng.normal(0, deviation) <= there.predicted_high]
        inside.append([*row, found.components[0].low <= deviation**2 <= found.components[0].high])
    names = ("slope", "smallest", "new there", "middle", "new there too", "largest", "new at the largest", "deviation")
    return dict(zip(names, np.mean(inside, axis=0).tolist(), strict=True))


@pytest.mark.parametrize("deviation", [0.0, 2.0])
def test_intervals_hold_the_slope_about_as_often_as_they_say(deviation: float):
    found = held(4, deviation, 300, uneven=True)
    assert as_said(found, 300), found


@pytest.mark.soak
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("deviation", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("encoders", [4, 6, 10])
def test_intervals_hold_the_slope_in_three_thousand_simulations(encoders: int, deviation: float, uneven: bool):
    found = held(encoders, deviation, 3000, uneven=uneven)
    print(f"\n| {encoders} | {deviation} | {uneven} | " + " | ".join(f"{100 * one:.1f}" for one in found.values()))
    assert as_said(found, 3000), found


def test_where_effects_lie_on_a_line_by_luck_the_sampling_errors_guard_the_interval():
    """Of four effects with errors of 1 that lie on it exactly, Knapp and Hartung's interval has no width."""
    design = np.column_stack([np.ones(4), np.arange(4.0)])
    found = fit(1 + 2 * np.arange(4.0), design, np.eye(4))
    assert found.low[1] == pytest.approx(found.high[1]) == pytest.approx(2)
    slope, middle = found.among([(0, 1), (1, 1.5)])
    error = 1 / np.sqrt(5)  # of a slope over 0, 1, 2, 3
    assert (slope.high - 2, slope.identified) == pytest.approx((special.ndtri(0.9) * error, 4.3027 * error), rel=1e-4)
    assert middle.predicted_high == middle.high, "no deviation is seen"
    hardly = fit(1 + 2 * np.arange(4.0), design, np.eye(4), freedom=4).among([0, 1])[0]
    assert hardly.high - 2 == pytest.approx(special.stdtrit(4, 0.9) * error)


def test_where_effects_vary_more_than_by_luck_intervals_are_those_of_knapp_and_hartung():
    effects, variances = bcg()
    design = np.column_stack([np.ones(13), BCG[:, 4]])
    found = fit(effects, design, np.diag(variances))
    slope, mean = found.among([(0, 1), (1, 30)])
    assert (slope.low, slope.high) == pytest.approx((found.low[1], found.high[1]))
    there = found.at([1, 30])
    assert (mean.low, mean.high) == pytest.approx((there.low, there.high))
    assert mean.predicted_low < there.predicted_low and there.predicted_high < mean.predicted_high
    effects, variances, districts = schools()
    with pytest.raises(ValueError, match="each row is a group of its own"):
        mean_of = fit(effects, np.ones((56, 1)), np.diag(variances), groups=[districts, range(56)])
        mean_of.among([1])
