import numpy as np
import polars as pl
import pytest

from synthetic import gain_by_size, make_results, without
from xstilts.analysis.axes import ALL_LANGUAGES, ZERO_SHOT, axes
from xstilts.analysis.bootstrap import Column, covers, estimates, interval, resample
from xstilts.results import OUTCOMES_SCHEMA


def one_cell(rows: list[tuple[str, int, str, float, float]]) -> pl.DataFrame:
    """Outcomes of one encoder, recipe and target from rows of language, seed, id, numerator, denominator."""
    return pl.DataFrame(
        [("e", "none", "t", language, seed, "f1", True, id_, up, down) for language, seed, id_, up, down in rows],
        schema=OUTCOMES_SCHEMA,
        orient="row",
    )


def test_values_are_ratios_of_sums():
    outcomes = one_cell([("en", 0, "a", 2, 3), ("en", 0, "b", 0, 1), ("en", 0, "c", 4, 4)])
    drawn = resample(outcomes, resamples=50)
    assert drawn.values[drawn.columns[Column("e", "none", "t", "en", 0)]] == pytest.approx(100 * 6 / 8)
    possible = {100 * (2 * a + 4 * c) / (3 * a + (3 - a - c) + 4 * c) for a in range(4) for c in range(4 - a)}
    assert all(min(abs(value - p) for p in possible) < 1e-3 for value in drawn.replicates[0])


def test_the_same_seed_gives_the_same_replicates_and_another_recipe_leaves_them_alone():
    results = make_results(examples=30, seeds=(0, 1))
    fewer = without(results, recipe="mini-mnli")
    first, again, other = (resample(results.outcomes), resample(fewer.outcomes), resample(fewer.outcomes, seed=1))
    cell = ("bundled/e5-small@6", "none", "mini-qa", ["de", "ru"], (0, 1))
    assert np.array_equal(first.mean(*cell).replicates, again.mean(*cell).replicates)
    assert not np.array_equal(first.mean(*cell).replicates, other.mean(*cell).replicates)


def test_estimates_agree_with_the_scores_table():
    results = make_results(gain_by_size(5.0), examples=40)
    table = estimates(resample(results.outcomes), axes(results.scores))
    means = (
        results.scores.filter(pl.col("main")).group_by("encoder", "recipe", "target", "language").agg(pl.mean("value"))
    )
    joined = table.join(means, on=["encoder", "recipe", "target", "language"], suffix="_of_scores")
    assert joined.height == means.height
    assert np.allclose(joined["value"], joined["value_of_scores"])
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    zero_shot = means.filter(pl.col("language") != "en").group_by("encoder", "recipe", "target").agg(pl.mean("value"))
    of_table = table.filter(pl.col("language") == ZERO_SHOT)
    both = of_table.join(zero_shot, on=["encoder", "recipe", "target"], suffix="_of_scores")
    assert np.allclose(both["value"], both["value_of_scores"])
    assert of_table["n"].unique().to_list() == [10 * 40] and of_table["n_languages"].unique().to_list() == [10]
    assert table.filter(pl.col("language") == ALL_LANGUAGES)["n_languages"].unique().to_list() == [11]


def test_parallel_languages_share_their_sample_and_others_do_not():
    rng = np.random.default_rng(0)
    hits = rng.random(200) < 0.5
    parallel = [(language, 0, f"{i}", float(hit), 1.0) for language in ("de", "fr") for i, hit in enumerate(hits)]
    apart = [(language, 0, f"{language}-{id_}", up, down) for language, _, id_, up, down in parallel]
    for rows, correlation in ((parallel, 1.0), (apart, 0.0)):
        drawn = resample(one_cell(rows))
        assert np.corrcoef(drawn.replicates)[0, 1] == pytest.approx(correlation, abs=0.1)


@pytest.mark.parametrize("n_seeds", [2, 5])
def test_the_variance_over_seeds_is_not_understated(n_seeds: int):
    """With every example of a seed alike, only seeds vary: the replicates' variance is s² / S on average."""
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(200):
        level = rng.normal(0.5, 0.1, n_seeds)
        outcomes = one_cell([("en", seed, f"{i}", level[seed], 1.0) for seed in range(n_seeds) for i in range(3)])
        mean = resample(outcomes, resamples=400, seed=int(rng.integers(1000))).mean(
            "e", "none", "t", ["en"], tuple(range(n_seeds))
        )
        ratios.append(mean.replicates.var() / (100**2 * 0.01 / n_seeds))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.2)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    n_seeds, n, runs = 5, 80, 300
    held = 0
    for run in range(runs):
        # Standard errors of the mean, in points: 0.7 from the seeds, 2 from the examples, 0.5 from both together.
        seeds, examples, both = (rng.normal(0, sd, size) for sd, size in ((1.5, (5, 1)), (18, (1, n)), (10, (5, n))))
        frame = pl.DataFrame(
            {
                "seed": np.repeat(np.arange(n_seeds), n),
                "id": [str(i) for i in range(n)] * n_seeds,
                "numerator": (0.6 + (seeds + examples + both) / 100).ravel(),
            }
        ).with_columns(encoder=pl.lit("e"), recipe=pl.lit("none"), target=pl.lit("t"), language=pl.lit("en"))
        frame = frame.with_columns(metric=pl.lit("f1"), main=pl.lit(True), denominator=pl.lit(1.0))
        drawn = resample(frame.select(*OUTCOMES_SCHEMA), resamples=300, seed=run)
        low, high = interval(drawn.mean("e", "none", "t", ["en"], tuple(range(n_seeds))).replicates)
        held += low <= 60 <= high
    assert 0.92 <= held / runs <= 0.99


def test_one_seed_is_said_to_cover_examples_only():
    results = make_results(seeds=(7,), examples=20)
    table = estimates(resample(results.outcomes), axes(results.scores))
    assert table["covers"].unique().to_list() == [covers(1)] == ["examples"]


def test_a_score_that_is_not_defined_gives_no_interval_and_no_crash():
    drawn = resample(one_cell([("en", 0, "a", 0.0, 0.0), ("en", 0, "b", 0.0, 0.0)]), resamples=20)
    low, high = interval(drawn.replicates)
    assert np.isnan(low).all() and np.isnan(high).all()
    mixed = resample(one_cell([("en", 0, "a", 0.0, 0.0), ("en", 0, "b", 1.0, 1.0)]), resamples=20)
    low, high = interval(mixed.replicates)
    assert low[0] == high[0] == 100


def test_no_outcomes_give_an_empty_table():
    results = make_results(recipes=())
    assert estimates(resample(results.outcomes), axes(results.scores)).height == 0
