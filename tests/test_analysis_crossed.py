import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.analysis.crossed import BySeed, combined, mean_of


def seeds_alone(values: list[float]) -> BySeed:
    """A part that no example changes."""
    return BySeed(np.array(values), np.repeat(np.array(values)[:, None], 50, axis=1))


def drawn(values: np.ndarray, rng: np.random.Generator, resamples: int = 20_000) -> BySeed:
    """From values by seed and example, [seeds, examples]."""
    n = values.shape[1]
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    return BySeed(values.mean(axis=1), values @ weights.T)


def test_two_parts_are_welchs_problem():
    """A published run of Stata's `ttest kidney, by(west) unequal welch`: 36.2258 degrees of freedom."""
    rng = np.random.default_rng(0)
    parts = []
    for weight, (n, mean, deviation) in ((-1.0, (20, 3.006, 0.3001298)), (1.0, (24, 2.618333, 0.5983722))):
        values = rng.normal(size=n)
        parts.append((weight, seeds_alone(mean + deviation * (values - values.mean()) / values.std(ddof=1))))
    found = combined(parts)
    assert found.value == pytest.approx(2.618333 - 3.006)
    assert found.error == pytest.approx(0.139365, abs=1e-5)
    assert found.freedom == pytest.approx(36.2258, abs=1e-3)


def test_one_part_whose_seeds_alone_vary_is_students_t():
    from scipy import stats

    values = [1.0, 2.5, 4.0]
    found, expected = combined([(1.0, seeds_alone(values))]), stats.ttest_1samp(values, 0)
    low, high = expected.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))
    assert found.freedom == pytest.approx(2)


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


def test_the_mean_of_parts_is_seed_by_seed():
    found = mean_of([seeds_alone([1.0, 2.0, np.nan]), seeds_alone([3.0, 6.0, 1.0])])
    assert found.values[:2].tolist() == [2.0, 4.0] and np.isnan(found.values[2])
