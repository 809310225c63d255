import numpy as np
import polars as pl
import pytest
from statsmodels.stats.multitest import multipletests

from synthetic import estimates, gain_by_size, make_results, without
from xstilts.analysis.analyse import analyse
from xstilts.analysis.axes import ZERO_SHOT, axes
from xstilts.analysis.bootstrap import resample
from xstilts.analysis.comparisons import HELPS, HURTS, NO_EFFECT, NO_EVIDENCE, SHOWN, contrast, gains
from xstilts.analysis.results import Results
from xstilts.planning.recipe import AverageEntry
from xstilts.reporting.tables import averaging_table


def of(results: Results) -> pl.DataFrame:
    return gains(resample(results.outcomes), axes(results)).frame


def test_a_gain_is_the_difference_of_the_means():
    results = make_results(gain_by_size(5.0), examples=30)
    table = estimates(resample(results.outcomes), axes(results))
    keys = ["encoder", "target", "language"]
    base = table.filter(pl.col("recipe") == "none").select(*keys, base="value")
    expected = table.join(base, on=keys).select(*keys, "recipe", expected=pl.col("value") - pl.col("base"))
    joined = of(results).join(expected, on=[*keys, "recipe"])
    assert joined.height == 3 * 3 * 2 * 13  # encoders, recipes but none, targets, languages and their means
    assert np.allclose(joined["gain"], joined["expected"])


def test_pairing_makes_the_interval_narrower_than_two_apart():
    results = make_results(examples=100)
    table = estimates(resample(results.outcomes), axes(results)).filter(pl.col("language") == ZERO_SHOT)
    paired = of(results).filter(pl.col("language") == ZERO_SHOT)
    width = (paired["high"] - paired["low"]).mean()
    apart = np.sqrt(2) * (table["high"] - table["low"]).mean()
    assert width < 0.8 * apart


def test_large_effects_are_found_and_named():
    def gain(encoder: str, recipe: str, target: str) -> float:
        return {"mini-squad": 15.0, "mini-mnli": -15.0}.get(recipe, 0.0)

    means = of(make_results(gain, seeds=(0, 1, 2))).filter(pl.col("language") == ZERO_SHOT)
    verdicts = {
        recipe: set(frame["verdict"]) for (recipe,), frame in means.partition_by("recipe", as_dict=True).items()
    }
    assert verdicts["mini-squad"] == {HELPS} and verdicts["mini-mnli"] == {HURTS}
    assert NO_EVIDENCE in verdicts["mini-squad+mlm"]


def test_without_an_effect_about_one_interval_in_twenty_excludes_zero():
    found, shown = [], 0
    for state in range(20):
        results = make_results(examples=60, seeds=(0, 1, 2), random_state=state, languages=("en", "de", "ru"))
        frame = of(results).filter(pl.col("language") == ZERO_SHOT)
        found += ((frame["low"] > 0) | (frame["high"] < 0)).to_list()
        shown += frame["verdict"].is_in(SHOWN).any()
    assert len(found) == 360 and 0 < np.mean(found) < 0.08
    assert shown <= 3  # studies with a wrong verdict


def test_seeds_and_languages_that_one_side_lacks_are_left_out():
    results = without(make_results(seeds=(0, 1, 2), examples=20), recipe="mini-mnli", seed=2)
    results = without(results, recipe="mini-mnli", target="mini-qa", language="de")
    frame = of(results)
    mnli = frame.filter(pl.col("recipe") == "mini-mnli")
    assert set(mnli["n_seeds"]) == {2} and set(frame.filter(pl.col("recipe") == "mini-squad")["n_seeds"]) == {3}
    rows = mnli.filter(pl.col("target") == "mini-qa")
    assert "de" not in rows["language"] and set(rows.filter(pl.col("language") == ZERO_SHOT)["n_languages"]) == {9}


def test_untrained_retrieval_gives_the_same_outcomes_for_every_seed():
    results = make_results(targets={"mini-tatoeba": "retrieval"}, seeds=(0, 1), examples=40)
    same = results.outcomes.filter((pl.col("recipe") != "none") | (pl.col("seed") == 0))
    copied = results.outcomes.filter((pl.col("recipe") == "none") & (pl.col("seed") == 0)).with_columns(
        seed=pl.lit(1, dtype=pl.Int64)
    )
    frame = of(Results(**{**vars(results), "outcomes": pl.concat([same, copied])}))
    assert set(frame["n_seeds"]) == {2} and frame["low"].is_not_null().all()


def test_no_baseline_no_gains():
    assert of(without(make_results(examples=10), recipe="none")).height == 0


def test_the_means_are_corrected_for_their_number_and_nothing_else_is():
    frame = of(make_results(gain_by_size(3.0), examples=60, seeds=(0, 1, 2)))
    main = frame.filter(pl.col("language") == ZERO_SHOT)
    assert main["p_holm"].to_numpy() == pytest.approx(multipletests(main["p"].to_numpy(), method="holm")[1])
    assert set(main.filter(pl.col("p_holm") >= 0.05)["verdict"]).isdisjoint(SHOWN)
    others = frame.filter(pl.col("language") != ZERO_SHOT)
    assert others["p_holm"].is_null().all()
    outside = (others["low"] > 0) | (others["high"] < 0)
    assert ((others["p"] < 0.05) == outside).all() and (others["verdict"].is_in(SHOWN) == outside).all()


def test_no_effect_is_said_where_the_gain_is_shown_to_be_small():
    """All models alike but for single examples: no gain of a point, which 10 languages of 3,000 examples show."""
    recipes, encoders = ("none", "mini-squad"), {"e": 1_000_000}
    results = make_results(encoders=encoders, recipes=recipes, examples=3000, seeds=(0, 1, 2), seed_noise=0.02)
    (row,) = of(results).filter(pl.col("language") == ZERO_SHOT, pl.col("target") == "mini-qa").iter_rows(named=True)
    assert row["verdict"] == NO_EFFECT and row["equivalence_p"] < 0.05 and row["mde"] < 1
    few = make_results(encoders=encoders, recipes=recipes, examples=100, seeds=(0, 1, 2))
    (row,) = of(few).filter(pl.col("language") == ZERO_SHOT, pl.col("target") == "mini-qa").iter_rows(named=True)
    assert row["verdict"] == NO_EVIDENCE and row["mde"] > 1


def test_a_contrast_of_one_row_is_that_row_and_of_two_recipes_their_difference():
    results = make_results(gain_by_size(5.0), examples=40, seeds=(0, 1, 2))
    found = gains(resample(results.outcomes), axes(results))
    first = found.frame.row(0, named=True)
    alone = contrast(found, [0], [1.0])
    assert alone.value == pytest.approx(first["gain"]) and alone.low < first["gain"] < alone.high
    rows = found.frame.with_row_index("row").filter(
        pl.col("language") == ZERO_SHOT, pl.col("target") == "mini-qa", pl.col("encoder") == "bundled/e5-small@12"
    )
    assert rows["recipe"].to_list() == ["mini-squad", "mini-mnli", "mini-squad+mlm"]
    gain, error = rows["gain"].to_list(), rows["error"].to_list()
    difference = contrast(found, rows["row"][:2], [1, -1])
    assert difference.value == pytest.approx(gain[0] - gain[1])
    assert difference.low < difference.value < difference.high and difference.error < error[0] + error[1]
    other = found.frame.with_row_index("row").filter(
        pl.col("language") == ZERO_SHOT, pl.col("target") == "mini-qa", pl.col("recipe") == "mini-squad"
    )
    mean = contrast(found, other["row"], np.full(3, 1 / 3))  # three encoders: seeds of their own, so more freedom
    assert mean.value == pytest.approx(other["gain"].mean()) and mean.error < other["error"].mean()


def test_averaged_models_are_compared_with_the_baseline_averaged_alike_and_with_the_models_they_are_of():
    shape = {"encoders": {"bundled/e5-small@6": 1000}, "targets": {"mini-qa": "span"}, "languages": ("en", "de", "sw")}
    average = AverageEntry(checkpoints=3, seeds=True)
    results = make_results(recipes=("none", "mini-mnli"), average=average, examples=60, seed_noise=3.0, **shape)  # type: ignore[arg-type]
    labels = [mean.label(recipe) for mean in results.study.means for recipe in ("none", "mini-mnli")]
    for label in labels[2:]:  # one model
        results = without(results, recipe=label, seed=1)
    found = analyse(results)
    value = {(row["recipe"], row["language"]): row["value"] for row in found.scores.iter_rows(named=True)}
    gained = {(row["recipe"], row["language"]): row["gain"] for row in found.gains.iter_rows(named=True)}
    assert {recipe for recipe, _ in gained} == {"mini-mnli", *labels[1::2]}
    for (recipe, language), gain in gained.items():
        assert gain == pytest.approx(value[recipe, language] - value[recipe.replace("mini-mnli", "none"), language])
    over_plain = list(found.averaging.iter_rows(named=True))
    assert {row["recipe"] for row in over_plain} == set(labels) and len(over_plain) == 6 * 5
    for row in over_plain:
        recipe, language = row["recipe"], row["language"]
        assert row["gain"] == pytest.approx(value[recipe, language] - value[recipe.split(" (")[0], language], abs=1e-4)
        one = "seeds" in recipe
        assert (row["n_seeds"], row["covers"]) == ((1, "examples") if one else (2, "seeds and examples"))
    assert set(found.sizes["recipe"]) == {"mini-mnli", *labels[1::2]}
    report = averaging_table(found.averaging.filter(language=ZERO_SHOT))
    assert len(report.rows) == 6 and report.rows[0][2] in labels
    assert analyse(make_results(examples=10)).averaging.is_empty()
