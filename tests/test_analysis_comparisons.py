from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from simulated import as_said
from simulated_gains import Recipes, drawn
from synthetic import estimates, gain_by_size, make_results, without
from xstilts.analysis.analyse import analyse
from xstilts.analysis.axes import ZERO_SHOT, axes
from xstilts.analysis.bootstrap import resample
from xstilts.analysis.comparisons import (
    ABOVE,
    BELOW,
    HELPS,
    HURTS,
    NO_EFFECT,
    NO_EVIDENCE,
    NO_VARIATION,
    NOT_JUDGED,
    ONE_SEED,
    SHOWN,
    collapsed_models,
    gains,
    sides_of,
)
from xstilts.analysis.crossed import combined
from xstilts.analysis.results import Results
from xstilts.planning.recipe import AverageEntry
from xstilts.reporting.tables import averaging_table


def of(results: Results) -> pl.DataFrame:
    return gains(resample(results.outcomes), axes(results))


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
    results = make_results(examples=100, seeds=range(6), encoders={"e": 1_000_000})
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
    assert ((others["p"] < 0.05) == outside).all() and (others["verdict"].is_in([ABOVE, BELOW]) == outside).all()
    small = multipletests(main["equivalence_p"].to_numpy(), method="holm")[1]
    assert (
        main["equivalence_p_holm"].to_numpy() == pytest.approx(small) and others["equivalence_p_holm"].is_null().all()
    )


def test_no_effect_is_said_where_the_gain_is_shown_to_be_small():
    """All models alike but for single examples: no gain of a point, which 10 languages of 3,000 examples show."""
    recipes, encoders = ("none", "mini-squad"), {"e": 1_000_000}
    results = make_results(encoders=encoders, recipes=recipes, examples=3000, seeds=(0, 1, 2), seed_noise=0.02)
    (row,) = of(results).filter(pl.col("language") == ZERO_SHOT, pl.col("target") == "mini-qa").iter_rows(named=True)
    assert row["verdict"] == NO_EFFECT and row["equivalence_p"] < 0.05 and row["mde"] < 1
    few = make_results(encoders=encoders, recipes=recipes, examples=100, seeds=(0, 1, 2))
    (row,) = of(few).filter(pl.col("language") == ZERO_SHOT, pl.col("target") == "mini-qa").iter_rows(named=True)
    assert row["verdict"] == NO_EVIDENCE and row["mde"] > 1


def test_a_sum_of_one_gain_is_its_row_and_of_two_recipes_their_difference():
    results = make_results(gain_by_size(5.0), examples=40, seeds=(0, 1, 2))
    frame, of_axes = of(results), axes(results)
    (block,) = (one for one in resample(results.outcomes).blocks(of_axes)
                if (one.encoder, one.target) == ("bundled/e5-small@12", "mini-qa"))  # fmt: skip
    rows = frame.filter(encoder=block.encoder, target=block.target, language=ZERO_SHOT)
    assert rows["recipe"].to_list() == ["mini-squad", "mini-mnli", "mini-squad+mlm"]
    squad, mnli = (sides_of(block, recipe, ZERO_SHOT, of_axes) for recipe in rows["recipe"][:2])
    alone = combined([(1.0, squad[0]), (-1.0, squad[1])])
    assert (alone.value, alone.error) == pytest.approx((rows["gain"][0], rows["error"][0]), rel=1e-2)
    difference = combined([(1.0, squad[0]), (-1.0, mnli[0])])
    assert difference.value == pytest.approx(rows["gain"][0] - rows["gain"][1])
    assert difference.error < rows["error"][0] + rows["error"][1]


def test_one_seed_is_not_judged_however_large_the_gain():
    frame = of(make_results(lambda *cell: 20.0 * (cell[1] == "mini-squad"), seeds=(0,), examples=60))
    assert set(frame["verdict"]) == {NOT_JUDGED} and set(frame["reason"]) == {ONE_SEED}
    assert frame["p_holm"].is_null().all() and frame["mde"].is_null().all()
    assert frame.filter(recipe="mini-squad", language=ZERO_SHOT)["low"].min() > 5, "the estimate is there"


def test_what_does_not_vary_is_not_judged():
    """Every model alike on every example, as of questions that all can answer: a gain of 0 is no evidence of none."""
    results = make_results(seeds=(0, 1, 2), examples=6)
    outcomes = results.outcomes.with_columns(
        numerator=pl.when(pl.col("target") == "mini-qa").then(1.0).otherwise("numerator")
    )
    frame = of(Results(**{**vars(results), "outcomes": outcomes}))
    same = frame.filter(target="mini-qa")
    assert set(same["verdict"]) == {NOT_JUDGED} and set(same["reason"]) == {NO_VARIATION}
    others = frame.filter(pl.col("target") != "mini-qa", pl.col("language") == ZERO_SHOT)
    assert others["reason"].is_null().all()
    assert others["p_holm"].to_numpy() == pytest.approx(multipletests(others["p"].to_numpy(), method="holm")[1])


def test_models_that_collapsed_are_not_judged():
    results = make_results(gain_by_size(30.0), seeds=(0, 1, 2), examples=30)
    cell = (pl.col("recipe") == "mini-squad") & (pl.col("seed") == 1) & (pl.col("target") == "mini-qa")
    failed = results.scores.filter(cell)["model"].unique().implode()
    stages = results.stages.with_columns(collapsed=pl.col("key").is_in(failed))
    collapsed = collapsed_models(results.scores, stages)
    frame = gains(resample(results.outcomes), axes(results), collapsed)
    there = frame.filter(pl.col("verdict") == NOT_JUDGED)
    assert set(there["recipe"]) == {"mini-squad"} and set(there["target"]) == {"mini-qa"}
    assert set(there["reason"]) == {"collapsed: 1 of the 6 models compared"}
    assert there.height == frame.filter(recipe="mini-squad", target="mini-qa").height


def test_the_detectable_gain_is_that_of_the_corrected_test():
    frame = of(make_results(examples=60, seeds=(0, 1, 2)))
    main, alone = frame.filter(language=ZERO_SHOT), frame.filter(language="de")
    for rows, level in ((main, 0.05 / main.height), (alone, 0.05)):
        critical = stats.t.isf(level / 2, rows["freedom"])
        power = stats.nct.sf(critical, rows["freedom"], rows["mde"] / rows["error"])
        assert power == pytest.approx(np.full(rows.height, 0.8), abs=0.03)


def test_seeds_are_paired_where_each_has_a_training_sample_of_its_own():
    results = make_results(seeds=(0, 1, 2), examples=40, seed_noise=6.0)
    apart, paired = of(results), gains(resample(results.outcomes), replace(axes(results), paired_seeds=True))
    assert paired["gain"].to_list() == apart["gain"].to_list()
    main = pl.col("language") == ZERO_SHOT
    assert paired.filter(main)["freedom"].min() < 4 and (paired["error"] != apart["error"]).any()
    drawn_anew = replace(results, study=results.study.model_copy(update={"sample": "per_seed"}))
    assert axes(drawn_anew).paired_seeds and not axes(results).paired_seeds


def test_intervals_hold_though_none_varies_most():
    found = drawn(Recipes(seeds=3, examples=500, none=3.0), runs=12)
    assert 0.84 < found.mean <= 1 and 0.9 < found.language <= 1 and found.wrong < 0.25


@pytest.mark.soak
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("examples", [50, 500])
@pytest.mark.parametrize("none", [1.0, 3.0])
@pytest.mark.parametrize("unequal", [0.0, 0.7])
def test_coverage_and_wrong_verdicts(seeds: int, examples: int, none: float, unequal: float):
    runs = 400
    found = drawn(Recipes(seeds=seeds, examples=examples, none=none, unequal=unequal), runs=runs)
    print(f"{seeds} seeds, {examples} examples, none {none}, unequal {unequal}: {found}")
    intervals = {name: getattr(found, name) for name in ("mean", "language", "score", "gap")}
    assert as_said(intervals, runs) and found.wrong * runs <= stats.binom.ppf(0.99, runs, 0.06)


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
