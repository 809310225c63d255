import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from simulated import as_said
from test_analysis_bootstrap import block_of
from xstilts.analysis.crossed import (
    BySeed,
    combined,
    covariance,
    encoders_covariance,
    mean_of,
    mean_over_seeds,
    over_seeds,
    spread,
    sum_of,
)
from xstilts.analysis.intervals import Spread
from xstilts.analysis.meta_regression import fit
from xstilts.analysis.results import OUTCOMES_SCHEMA


def of_rows(of_examples: np.ndarray, by_seed: np.ndarray, of_noise: np.ndarray, n: int) -> Spread:
    of_seeds, freedom = over_seeds(by_seed)
    return spread(of_examples, of_seeds, of_noise, freedom, n)


def seeds_alone(values: list[float]) -> BySeed:
    """A part that no example changes."""
    return BySeed(np.array(values), np.repeat(np.array(values)[:, None], 50, axis=1))


def drawn(values: np.ndarray, rng: np.random.Generator, resamples: int = 20_000) -> BySeed:
    """From values by seed and example, [seeds, examples]."""
    n = values.shape[1]
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    return BySeed(values.mean(axis=1), values @ weights.T)


def test_two_parts_are_welchs_problem():
    """As SciPy's and Stata's `ttest kidney, by(west) unequal`: Satterthwaite's degrees of freedom."""
    rng = np.random.default_rng(0)
    parts = []
    for weight, (n, mean, deviation) in ((-1.0, (20, 3.006, 0.3001298)), (1.0, (24, 2.618333, 0.5983722))):
        values = rng.normal(size=n)
        parts.append((weight, seeds_alone(mean + deviation * (values - values.mean()) / values.std(ddof=1))))
    found = combined(parts)
    assert found.value == pytest.approx(2.618333 - 3.006)
    assert found.error == pytest.approx(0.139365, abs=1e-5)
    expected = stats.ttest_ind_from_stats(2.618333, 0.5983722, 24, 3.006, 0.3001298, 20, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue) and found.freedom == pytest.approx(34.8, abs=0.5)


def test_one_part_whose_seeds_alone_vary_is_students_t():
    values = [1.0, 2.5, 4.0]
    found, expected = combined([(1.0, seeds_alone(values))]), stats.ttest_1samp(values, 0)
    low, high = expected.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))
    assert found.freedom == pytest.approx(2)


def test_where_only_seeds_vary_it_is_a_t_test():
    """Against SciPy and statsmodels: interval, p-value and equivalence of the mean of five normal values."""
    values = np.random.default_rng(0).normal(0.4, 0.5, 5)
    error = values.std(ddof=1) / np.sqrt(5)
    about = of_rows(np.zeros(1), values[None], np.zeros(1), 1000)
    assert about.errors == pytest.approx([error]) and about.freedom == pytest.approx([4])
    mean = values.mean(keepdims=True)
    reference = stats.ttest_1samp(values, 0)
    assert about.p_values(mean) == pytest.approx([reference.pvalue])
    low, high = about.interval(mean)
    assert (low[0], high[0]) == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert about.equivalence(mean, 1.0) == pytest.approx([DescrStatsW(values).ttost_mean(-1.0, 1.0)[0]])


def test_where_only_examples_vary_it_is_nearly_a_t_test():
    right = np.random.default_rng(0).normal(1, 10, 400)
    cell = pl.DataFrame({"id": [str(i) for i in range(400)], "numerator": right}).with_columns(
        encoder=pl.lit("e"), source=pl.lit("e"), recipe=pl.lit("none"), averaged=None, group=None, target=pl.lit("t"),
        language=pl.lit("en"), metric=pl.lit("f1"), main=pl.lit(True), seed=pl.lit(0), denominator=pl.lit(1.0),
    ).select(*OUTCOMES_SCHEMA)  # fmt: skip
    sample = block_of(cell, 4000).over(np.array([0]), np.array([0]))
    about = of_rows(sample.of_examples, sample.by_seed, sample.of_noise, 400)
    assert about.errors == pytest.approx([100 * stats.sem(right)], rel=0.05)
    assert about.freedom == pytest.approx([399])


def test_noise_of_seed_and_example_is_counted_once():
    """Of crossed normal effects the estimated variance is, on average, the true one."""
    rng = np.random.default_rng(1)
    n_seeds, n, found = 4, 40, []
    for _ in range(400):
        seeds, examples, noise = (rng.normal(0, sd, size) for sd, size in ((1, (4, 1)), (3, (1, n)), (6, (4, n))))
        found.append(combined([(1.0, drawn(seeds + examples + noise, rng, 200))]).error ** 2)
    assert np.mean(found) == pytest.approx(1 / n_seeds + 9 / n + 36 / (n_seeds * n), rel=0.08)


def test_examples_are_shared_by_the_parts():
    """What an example does to both parts cancels in their difference."""
    rng = np.random.default_rng(2)
    examples = np.repeat(rng.normal(0, 5, (1, 30)), 3, axis=0)
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=500) / 30
    same = BySeed(examples.mean(axis=1), examples @ weights.T)
    assert combined([(1.0, same)]).error > 0.5
    apart = combined([(1.0, same), (-1.0, same)])
    assert (apart.value, apart.error) == pytest.approx((0, 0), abs=1e-12)


def test_one_seed_varies_by_its_examples_alone():
    rng = np.random.default_rng(3)
    values = rng.normal(0, 2, (1, 50))
    found = combined([(1.0, drawn(values, rng))])
    assert found.error == pytest.approx(values.std() / np.sqrt(50), rel=0.05) and np.isinf(found.freedom)


def test_seeds_that_were_not_run_and_replicates_that_are_not_defined_are_left_out():
    whole = seeds_alone([1.0, 3.0, 4.0])
    values, replicates = np.append(whole.values, np.nan), np.vstack([whole.replicates, np.full(50, np.nan)])
    replicates[0, :7] = np.nan
    assert combined([(1.0, BySeed(values, replicates))]) == combined([(1.0, whole)])
    never = combined([(1.0, BySeed(whole.values, np.full((3, 50), np.nan)))])
    assert never.value == pytest.approx(8 / 3) and np.isnan(never.error) and np.isnan(never.low)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=4),
    factor=st.floats(0.1, 10),
)
def test_the_unit_does_not_matter(values: list[list[float]], factor: float):
    one = combined([(0.5, seeds_alone(part)) for part in values])
    other = combined([(0.5, seeds_alone([factor * value for value in part])) for part in values])
    assert other.value == pytest.approx(factor * one.value, rel=1e-6, abs=1e-6)
    assert other.error == pytest.approx(factor * one.error, rel=1e-6, abs=1e-6)


def test_noise_that_accounts_for_nearly_all_of_the_seeds_leaves_their_degrees_of_freedom():
    """Else an interval may be as wide as 10^15 points."""
    about = spread(*(np.array([one]) for one in (1e-9, 1.0, 1 - 1e-9, 2.0)), 6)
    assert about.freedom == [2.0]


def test_few_passages_hardly_tell_the_variance_over_them():
    """Ten: the interval is Student's of nine degrees of freedom, where seeds do not vary."""
    rng = np.random.default_rng(3)
    passages = np.repeat(rng.normal(0, 2, (1, 10)), 2, axis=0)
    part = drawn(passages, rng)
    few = combined([(1.0, part._replace(n=10))])
    assert np.isinf(combined([(1.0, part)]).freedom) and few.freedom == pytest.approx(9)
    assert few.high - few.value == pytest.approx(stats.t.ppf(0.975, 9) * few.error)
    mean = mean_of([part._replace(n=10), part._replace(n=40)])
    assert combined([(1.0, mean)]).freedom == pytest.approx(9), "the fewest"
    _, known = encoders_covariance([mean_over_seeds(one._replace(n=10)) for one in (part, drawn(passages, rng))])
    assert known == pytest.approx(9, rel=0.1)


def test_the_mean_of_parts_is_seed_by_seed():
    found = mean_of([seeds_alone([1.0, 2.0, np.nan]), seeds_alone([3.0, 6.0, 1.0])])
    assert found.values[:2].tolist() == [2.0, 4.0] and np.isnan(found.values[2])


def test_differences_are_seed_by_seed():
    found = sum_of([(1.0, seeds_alone([3.0, 6.0])), (-1.0, seeds_alone([1.0, 2.0]))])
    assert found.values.tolist() == [2.0, 4.0] and combined([(1.0, found)]).value == 3.0


def test_many_rows_at_once_are_each_as_one():
    rng = np.random.default_rng(5)
    parts = [drawn(rng.normal(0, 10, (4, 1)) + rng.normal(0, 30, (4, 25)), rng, 4000) for _ in range(3)]
    rows = variances_of(parts)
    about = of_rows(*rows, 10**9)
    alone = [combined([(1.0, part)]) for part in parts]
    assert about.errors == pytest.approx([one.error for one in alone], rel=1e-3)
    assert about.freedom == pytest.approx([one.freedom for one in alone], rel=1e-3)


def variances_of(parts: list[BySeed]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The variances over examples, the values by seed, and the noise of parts that all have the same seeds."""
    replicates = np.array([part.replicates for part in parts])
    left = replicates - replicates.mean(axis=1, keepdims=True)
    n = replicates.shape[1]
    noise = left.var(axis=2).sum(axis=1) / (n * (n - 1))
    return replicates.mean(axis=1).var(axis=1), np.array([part.values for part in parts]), noise


#: Shares of the variance of a difference that come from seeds, from examples, and from both together.
SHARES = [(0, 0.1, 0.9), (0.2, 0.4, 0.4), (0.5, 0.1, 0.4), (0.8, 0.1, 0.1), (0.8, 0, 0.2), (1, 0, 0)]


def coverage(n_seeds: int, shares: tuple[float, float, float], times: float, runs: int, n: int = 50) -> float:
    """How often the interval of a difference holds its truth; the seeds of its second side vary ``times`` as much."""
    rng = np.random.default_rng(n_seeds)
    of_side = [1 / (1 + times**2), times**2 / (1 + times**2)]
    shared = rng.normal(0, np.sqrt(shares[1] * n), (runs, 1, n))
    sides = [
        rng.normal(0, np.sqrt(shares[0] * of_side[i] * n_seeds), (runs, n_seeds, 1))
        + rng.normal(0, np.sqrt(shares[2] / 2 * n_seeds * n), (runs, n_seeds, n))
        + (shared if i == 0 else 0)
        for i in range(2)
    ]
    of_examples = (sides[0] - sides[1]).mean(axis=1).var(axis=1) / n  # what a bootstrap has on average
    of_seeds, squares, of_noise = (np.zeros(runs) for _ in range(3))
    for side in sides:
        own, freedom = over_seeds(side.mean(axis=2))
        of_seeds, squares = of_seeds + own, squares + own**2 / freedom
        left = side - side.mean(axis=1, keepdims=True)
        of_noise += left.var(axis=2).sum(axis=1) / n / (n_seeds * (n_seeds - 1))
    values = sides[0].mean(axis=(1, 2)) - sides[1].mean(axis=(1, 2))
    low, high = spread(of_examples, of_seeds, of_noise, of_seeds**2 / squares, n).interval(values)
    return float(np.mean((low <= 0) & (high >= 0)))


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("times", [1.0, 3.0])
@pytest.mark.parametrize(("n_seeds", "least"), [(2, 0.91), (3, 0.93), (5, 0.93)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(
    n_seeds: int, least: float, times: float, shares: tuple[float, float, float]
):
    assert least <= coverage(n_seeds, shares, times, runs=3000) <= 0.98


def crossed(rng: np.random.Generator, parts: int, shared: float = 0.0) -> list[BySeed]:
    """Of crossed normal effects: examples of all parts alike, seeds with a variance in common of ``shared``."""
    n_seeds, n = 4, 40
    base = rng.normal(0, np.sqrt(shared), (n_seeds, 1))
    examples, found = rng.normal(0, 3, (1, n)), []
    weights = rng.multinomial(n, np.full(n, 1 / n), size=300) / n
    for _ in range(parts):
        values = base + rng.normal(0, 1, (n_seeds, 1)) + examples + rng.normal(0, 2, (n_seeds, n))
        found.append(BySeed(values.mean(axis=1), values @ weights.T))
    return found


def test_the_covariance_has_the_variances_of_each_part():
    parts = [*crossed(np.random.default_rng(4), 3), seeds_alone([1.0, 2.0, 5.0, 0.0])]
    few = BySeed(np.append(parts[0].values[:3], np.nan), np.vstack([parts[0].replicates[:3], np.full(300, np.nan)]))
    parts = [*parts[:3], few]
    for encoders in ("abcd", "aaaa", "aabb"):
        found = covariance(parts, encoders)
        assert np.diag(found) == pytest.approx([combined([(1.0, part)]).error ** 2 for part in parts])
        assert np.linalg.eigvalsh(found).min() > -1e-12 and (found == found.T).all()


def test_the_variance_of_a_difference_is_that_of_the_covariance():
    """Of encoders, each with seeds of its own: as `combined` has it where no variance is cut at 0."""
    one, other = crossed(np.random.default_rng(5), 2)
    found = covariance([one, other], ["a", "b"])
    weights = np.array([1.0, -1.0])
    assert weights @ found @ weights == pytest.approx(combined([(1.0, one), (-1.0, other)]).error ** 2)


def test_recipes_of_an_encoder_vary_with_their_baseline():
    """Gains over one `none`, whose seeds vary by 4, share its variance of 4 / 4 seeds, and that of the examples."""
    rng = np.random.default_rng(6)
    found = np.mean([covariance(crossed(rng, 2, shared=4.0), "aa") for _ in range(400)], axis=0)
    assert found[0, 1] == pytest.approx(4 / 4 + 9 / 40, rel=0.1)
    assert found[0, 0] == pytest.approx(5 / 4 + 9 / 40 + 4 / 160, rel=0.1)
    apart = np.mean([covariance(crossed(rng, 2, shared=4.0), "ab") for _ in range(100)], axis=0)
    assert apart[0, 1] == pytest.approx(9 / 40, rel=0.2), "another encoder's seeds have nothing in common with it"


def test_a_covariance_without_replicates_is_not_known():
    part = BySeed(np.array([1.0, 2.0]), np.full((2, 50), np.nan))
    assert np.isnan(covariance([part, part], "ab")).all()


def test_encoders_lend_each_other_what_they_say_of_seeds():
    """Their variances are drawn together, examples and pairs stay, and more is known of them than by one alone."""
    rng = np.random.default_rng(7)
    parts = crossed(rng, 6)
    apart = covariance(parts, range(6))
    found, freedom = encoders_covariance([mean_over_seeds(part) for part in parts])
    off = ~np.eye(6, dtype=bool)
    assert found[off] == pytest.approx(apart[off])
    assert np.ptp(np.diag(found)) < np.ptp(np.diag(apart)) and freedom > 3
    assert np.linalg.eigvalsh(found).min() > 0
    alone, of_one = encoders_covariance(
        [mean_over_seeds(BySeed(part.values[:1], part.replicates[:1])) for part in parts]
    )
    assert np.isinf(of_one) and np.isfinite(alone).all()


def test_a_slope_over_sizes_is_held_though_few_passages_tell_the_covariance():
    """Eight of them, six encoders on a line: a fit that takes the covariance between these as it comes is misled."""
    rng, size = np.random.default_rng(8), np.log10([2.0, 3, 4, 6, 8, 12])
    design = np.column_stack([np.ones(6), size])
    held = []
    for _ in range(300):
        passages = 2 * size[:, None] + rng.normal(0, 2, (1, 8)) + rng.normal(0, 2, (6, 8))
        weights = rng.multinomial(7, np.full(8, 1 / 8), size=200) / 7
        parts = [mean_over_seeds(BySeed(one.mean(keepdims=True), (weights @ one)[None], 8)) for one in passages]
        inside = []
        for few in (parts, [part._replace(examples=np.inf) for part in parts]):
            sampling, known = encoders_covariance(few)
            slope, _ = fit([part.value for part in few], design, sampling, freedom=known).among([(0, 1), (1, 0)])
            inside.append(slope.low <= 2 <= slope.high)
        held.append(inside)
    found, as_it_comes = np.mean(held, axis=0)
    assert as_said({"slope": float(found)}, 300) and as_it_comes < 0.9, (found, as_it_comes)


def test_many_examples_leave_the_covariance_as_it_is():
    rng = np.random.default_rng(9)
    parts = [mean_over_seeds(part) for part in crossed(rng, 5)]
    plain, many = (encoders_covariance([one._replace(examples=n) for one in parts])[0] for n in (np.inf, 1e5))
    assert many == pytest.approx(plain, rel=0.05)
