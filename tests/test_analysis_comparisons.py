import numpy as np
import polars as pl

from synthetic import gain_by_size, make_results, without
from xstilts.analysis.axes import ZERO_SHOT, axes
from xstilts.analysis.bootstrap import estimates, resample
from xstilts.analysis.comparisons import HELPS, HURTS, NO_EVIDENCE, gains
from xstilts.results import Results


def of(results: Results) -> pl.DataFrame:
    return gains(resample(results.outcomes), axes(results.scores)).frame


def test_a_gain_is_the_difference_of_the_means():
    results = make_results(gain_by_size(5.0), examples=30)
    table = estimates(resample(results.outcomes), axes(results.scores))
    keys = ["encoder", "target", "language"]
    base = table.filter(pl.col("recipe") == "none").select(*keys, base="value")
    expected = table.join(base, on=keys).select(*keys, "recipe", expected=pl.col("value") - pl.col("base"))
    joined = of(results).join(expected, on=[*keys, "recipe"])
    assert joined.height == 3 * 3 * 2 * 13  # encoders, recipes but none, targets, languages and their means
    assert np.allclose(joined["gain"], joined["expected"])


def test_pairing_makes_the_interval_narrower_than_two_apart():
    results = make_results(examples=100)
    table = estimates(resample(results.outcomes), axes(results.scores)).filter(pl.col("language") == ZERO_SHOT)
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
    found = []
    for state in range(20):
        results = make_results(examples=60, seeds=(0, 1, 2), random_state=state, languages=("en", "de", "ru"))
        frame = of(results).filter(pl.col("language") == ZERO_SHOT)
        found += (frame["verdict"] != NO_EVIDENCE).to_list()
    assert len(found) == 360
    assert np.mean(found) < 0.09


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
