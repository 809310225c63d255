import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from test_analysis_bootstrap import block_of
from xstilts.analysis.intervals import Spread, holm, moderated, spread, variance_over_seeds
from xstilts.analysis.results import OUTCOMES_SCHEMA


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    for n in (1, 2, 40):
        p_values = np.round(rng.beta(0.3, 3, n), 3)  # small ones, and ties
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_leaves_out_what_is_not_defined():
    corrected = holm(np.array([0.01, np.nan, 0.04]))
    assert corrected[[0, 2]] == pytest.approx([0.02, 0.04]) and np.isnan(corrected[1])


def test_where_only_seeds_vary_it_is_a_t_test():
    """Against SciPy and statsmodels: interval, p-value and equivalence of the mean of five normal values."""
    values = np.random.default_rng(0).normal(0.4, 0.5, 5)
    error = values.std(ddof=1) / np.sqrt(5)
    about = spread(np.zeros(1), *variance_over_seeds(values[None]), np.array([1000]))
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
    about = spread(sample.of_examples, *variance_over_seeds(sample.by_seed), np.array([400]))
    assert about.errors == pytest.approx([100 * stats.sem(right)], rel=0.05)
    assert about.freedom == pytest.approx([399])


def test_equivalence_is_shown_where_the_90_percent_interval_lies_within_the_margin():
    about = Spread(np.full(4, 0.5), np.full(4, 6.0))
    values = np.array([0.0, 0.02, 0.03, 3.0])
    low, high = about.interval(values, 0.9)
    inside = (low > -1) & (high < 1)
    assert ((about.equivalence(values, 1.0) < 0.05) == inside).all() and inside.tolist() == [True, True, False, False]


def test_without_any_variation_the_value_is_certain():
    about = Spread(np.zeros(3), np.full(3, np.inf))
    values = np.array([0.0, 0.5, 1.0])
    assert about.p_values(values).tolist() == [1, 0, 0] and about.detectable().tolist() == [0, 0, 0]
    assert about.equivalence(values, 1.0).tolist() == [0, 0, 0.5]


def test_the_detectable_effect_is_found_with_the_power_stated():
    rng = np.random.default_rng(0)
    error, freedom = 0.5, 8.0
    effect = Spread(np.array([error]), np.array([freedom])).detectable().item()
    runs = 20_000
    errors = error * np.sqrt(rng.chisquare(freedom, runs) / freedom)
    p_values = Spread(errors, np.full(runs, freedom)).p_values(rng.normal(effect, error, runs))
    assert np.mean(p_values < 0.05) == pytest.approx(0.8, abs=0.02)


def test_moderated_variances_are_those_of_the_prior_they_were_drawn_from():
    rng = np.random.default_rng(0)
    prior, scale, d = 8.0, 3.0, np.full(4000, 2.0)
    true = prior * scale / rng.chisquare(prior, 4000)
    drawn = true * rng.chisquare(2, 4000) / 2
    found, freedom = moderated(drawn, d)
    assert freedom == pytest.approx(np.full(4000, prior + 2), rel=0.15)
    assert found == pytest.approx((prior * scale + 2 * drawn) / (prior + 2), rel=0.1)
    assert np.mean((found - true) ** 2) < 0.5 * np.mean((drawn - true) ** 2)


def test_moderation_keeps_the_freedom_of_all_rows_together_and_leaves_alone_what_does_not_vary():
    alike, freedom = moderated(np.array([1.0, 1.1, 0.9]), np.full(3, 2.0))
    assert alike == pytest.approx([1, 1, 1], rel=1e-4) and freedom.tolist() == [6, 6, 6]
    for same in (np.array([2.0]), np.zeros(4)):
        found, freedom = moderated(same, np.full(len(same), 2.0))
        assert (found == same).all() and (freedom == 2).all()
    found, freedom = moderated(np.array([1.0, 0.0, 1.2]), np.array([2.0, 0.0, 2.0]))  # one with a single seed
    assert found[1] == freedom[1] == 0 and freedom[0] == 4


#: Shares of the variance of a mean that come from seeds, from examples, and from both together.
SHARES = [(0, 1, 0), (0, 0, 1), (0.2, 0.4, 0.4), (0.5, 0.25, 0.25), (0.8, 0.1, 0.1), (1, 0, 0)]


def coverage(n_seeds: int, shares: tuple[float, float, float], runs: int, n: int = 80) -> float:
    """How often the interval of a mean over seeds holds 60, its truth; the standard error is 2 points."""
    rng = np.random.default_rng(n_seeds)
    held = 0
    for run in range(runs):
        sizes = ((n_seeds, 1), (1, n), (n_seeds, n))
        seeds, examples, both = (
            rng.normal(0, 2 * np.sqrt(share * size[0] ** (size[0] > 1) * size[1] ** (size[1] > 1)), size)
            for share, size in zip(shares, sizes, strict=True)
        )
        frame = pl.DataFrame(
            {
                "seed": np.repeat(np.arange(n_seeds), n),
                "id": [str(i) for i in range(n)] * n_seeds,
                "numerator": (0.6 + (seeds + examples + both) / 100).ravel(),
            }
        ).with_columns(
            encoder=pl.lit("e"),
            source=pl.lit("e"),
            recipe=pl.lit("none"),
            averaged=None,
            group=None,
            target=pl.lit("t"),
            language=pl.lit("en"),
        )
        frame = frame.with_columns(metric=pl.lit("f1"), main=pl.lit(True), denominator=pl.lit(1.0))
        sample = block_of(frame.select(*OUTCOMES_SCHEMA), 300, run).over(np.array([0]), np.array([0]))
        about = spread(sample.of_examples, *variance_over_seeds(sample.by_seed), np.array([n]))
        low, high = about.interval(sample.values)
        held += bool(low[0] <= 60 <= high[0])
    return held / runs


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    assert 0.92 <= coverage(3, (0.33, 0.33, 0.34), runs=200) <= 0.99


@pytest.mark.soak
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize(("n_seeds", "least"), [(2, 0.895), (3, 0.925), (5, 0.93)])
def test_coverage(n_seeds: int, least: float, shares: tuple[float, float, float]):
    found = coverage(n_seeds, shares, runs=2000)
    print(f"{n_seeds} seeds, shares of seeds, examples, both {shares}: {found:.3f}")
    assert least <= found <= 0.995


@pytest.mark.soak
@pytest.mark.parametrize("differ", [0.0, 0.7])
@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
@pytest.mark.parametrize(("n_seeds", "least", "wrong"), [(2, 0.895, 0.24), (3, 0.915, 0.16), (5, 0.925, 0.12)])
def test_coverage_of_a_table(n_seeds: int, least: float, wrong: float, share: float, differ: float):
    """15 gains of 3 encoders over their baselines; ``share`` of the variance is the seeds', which ``differ``."""
    rng, held, verdicts, runs = np.random.default_rng(0), [], [], 2000
    for _ in range(runs):
        sizes = np.sqrt(share * n_seeds / 2) * np.exp(rng.normal(0, differ, (3, 6, 1)))
        models = sizes * rng.normal(size=(3, 6, n_seeds))
        by_seed = (models[:, 1:] - models[:, :1]).reshape(15, n_seeds)
        found = by_seed.mean(axis=1) + rng.normal(0, np.sqrt(1 - share), 15)
        drawn = moderated(*variance_over_seeds(by_seed))
        about = spread(np.full(15, 1 - share), *drawn, np.full(15, 1000))
        low, high = about.interval(found)
        held += ((low <= 0) & (high >= 0)).tolist()
        verdicts.append(bool((holm(about.p_values(found)) < 0.05).any()))
    print(f"{n_seeds} seeds, share {share}, differ {differ}: {np.mean(held):.3f}, wrong {np.mean(verdicts):.3f}")
    assert least <= np.mean(held) <= 0.99 and np.mean(verdicts) <= wrong
