import numpy as np
import polars as pl
import pytest

from synthetic import estimates, gain_by_size, make_results, without
from xstilts.analysis.axes import ALL_LANGUAGES, ZERO_SHOT, Axes, SizedEncoder, axes
from xstilts.analysis.bootstrap import Block, Sample, resample
from xstilts.analysis.comparisons import covers
from xstilts.analysis.results import OUTCOMES_SCHEMA


def one_cell(rows: list[tuple[str, int, str, float, float]]) -> pl.DataFrame:
    """Outcomes of one encoder, recipe and target from rows of language, seed, id, numerator, denominator."""
    return pl.DataFrame(
        [
            ("e", "e", "none", None, "t", language, seed, "f1", True, id_, None, up, down)
            for language, seed, id_, up, down in rows
        ],
        schema=OUTCOMES_SCHEMA,
        orient="row",
    )


def block_of(outcomes: pl.DataFrame, resamples: int = 1000, seed: int = 0) -> Block:
    """The only block of outcomes of one encoder and target."""
    languages, seeds = (tuple(outcomes[name].unique().sort()) for name in ("language", "seed"))
    recipes = tuple(outcomes["recipe"].unique(maintain_order=True))
    encoder = SizedEncoder("e", "e", True, False, 1)
    of = Axes((encoder,), recipes, ("t",), {"t": languages}, {"t": "span"}, {"t": "f1"}, {}, seeds)
    (block,) = resample(outcomes, resamples=resamples, seed=seed).blocks(of)
    return block


def mean_of(block: Block) -> Sample:
    return block.over(np.arange(len(block.languages)), np.arange(1))


def test_values_are_ratios_of_sums():
    block = block_of(one_cell([("en", 0, "a", 2, 3), ("en", 0, "b", 0, 1), ("en", 0, "c", 4, 4)]), resamples=50)
    assert block.values.item() == pytest.approx(100 * 6 / 8)
    possible = {100 * (2 * a + 4 * c) / (3 * a + (2 - a - c) + 4 * c) for a in range(3) for c in range(3 - a)}
    assert all(min(abs(value - p) for p in possible) < 1e-3 for value in block.replicates.ravel())


def test_the_same_seed_gives_the_same_replicates_and_another_recipe_leaves_them_alone():
    results = make_results(examples=30, seeds=(0, 1))
    fewer = without(results, recipe="mini-mnli")
    of = axes(results)
    first, again, other = (
        next(resample(outcomes, seed=seed).blocks(of)).means(np.arange(1), np.arange(1, 11))
        for outcomes, seed in ((results.outcomes, 0), (fewer.outcomes, 0), (fewer.outcomes, 1))
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_chunks_of_encoders_and_of_weights_change_nothing(monkeypatch: pytest.MonkeyPatch):
    results = make_results(examples=30)
    of = axes(results)
    whole = estimates(resample(results.outcomes), of)
    monkeypatch.setattr("xstilts.analysis.bootstrap._REPLICATES_AT_ONCE", 1)
    assert estimates(resample(results.outcomes), of).equals(whole)


def test_estimates_agree_with_the_scores_table():
    results = make_results(gain_by_size(5.0), examples=40)
    table = estimates(resample(results.outcomes), axes(results))
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
        replicates = block_of(one_cell(rows)).replicates
        assert np.corrcoef(replicates.reshape(2, -1))[0, 1] == pytest.approx(correlation, abs=0.1)


def test_both_sides_of_a_comparison_are_drawn_in_pairs():
    """Recipes that differ by 3 points for every seed and example: no replicate of their difference says otherwise."""
    rng = np.random.default_rng(1)
    level, right = rng.normal(0.5, 0.1, 3), rng.random(40)
    rows = [("en", seed, f"{i}", level[seed] + right[i], 1.0) for seed in range(3) for i in range(40)]
    base = one_cell(rows)
    more = base.with_columns(recipe=pl.lit("more"), numerator=pl.col("numerator") + 0.03)
    block = block_of(pl.concat([base, more]))
    sample = block.over(np.array([0]), np.array([1]), minus=0)
    assert sample.values.item() == pytest.approx(3) and sample.by_seed == pytest.approx(np.full((1, 3), 3.0))
    assert sample.of_examples == pytest.approx(0, abs=1e-8)
    together = block.over(np.array([0]), np.array([1]), minus=0, paired=True)
    assert together.of_seeds == pytest.approx(0) and together.of_noise == pytest.approx(0, abs=1e-8)
    spread = np.var(100 * level, ddof=1) / 3  # of each side
    assert sample.of_seeds == pytest.approx(2 * spread) and sample.freedom == pytest.approx(4)


def test_one_seed_is_said_to_cover_examples_only():
    results = make_results(seeds=(7,), examples=20)
    table = estimates(resample(results.outcomes), axes(results))
    assert table["covers"].unique().to_list() == [covers(1)] == ["examples"]


def test_a_score_that_is_not_defined_gives_no_interval_and_no_crash():
    of = one_cell([("en", 0, "a", 0.0, 0.0), ("en", 0, "b", 0.0, 0.0)])
    mean = mean_of(block_of(of, resamples=20))
    assert np.isnan(mean.values).all() and np.isnan(mean.of_examples).all()
    block = block_of(one_cell([("en", 0, "a", 0.0, 0.0), ("en", 0, "b", 1.0, 1.0)]), resamples=20)
    mixed, drawn = mean_of(block), block.replicates.ravel()
    defined = drawn[~np.isnan(drawn)]
    assert mixed.values.item() == 100 and 0 < defined.size < 20 and set(defined) == {100}
    assert mixed.of_examples.item() == 0


def test_no_outcomes_give_an_empty_table():
    results = make_results(recipes=())
    assert estimates(resample(results.outcomes), axes(results)).height == 0


def test_what_is_noise_of_each_seed_is_that_of_the_replicates():
    """As the module `crossed` defines it: Σ Var(seed − mean) / (S (S − 1))."""
    rng = np.random.default_rng(3)
    right = rng.random((4, 60)) < rng.random(60)
    rows = [("en", seed, f"{i}", float(right[seed, i]), 1.0) for seed in range(4) for i in range(60)]
    block = block_of(one_cell(rows))
    sample, drawn = mean_of(block), block.replicates[0, :, 0].astype(float)
    left = drawn - drawn.mean(axis=0)
    assert sample.of_noise.item() == pytest.approx(left.var(axis=1).sum() / (4 * 3), rel=1e-3)
    assert 0 < sample.of_noise.item() < sample.of_examples.item() == pytest.approx(drawn.mean(axis=0).var(), rel=1e-3)
    one = mean_of(block_of(one_cell([row for row in rows if row[1] == 0])))
    assert one.of_noise.item() == 0 and one.of_examples.item() > 0
