"""Regret and rank correlation by hand, and gains from scores."""

from __future__ import annotations

from itertools import combinations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthetic import make_results
from xstilts.selection.agreement import agreement, by_chance, gains, regret

GAINED = {"mnli": 2.0, "squad": 5.0, "qqp": -1.0, "hellaswag": 3.0}


def test_regret_is_how_far_the_best_recipe_is_ahead_of_the_best_chosen() -> None:
    predicted = {"mnli": 0.9, "qqp": 0.8, "hellaswag": 0.7, "squad": 0.1}
    assert regret(predicted, GAINED, 1) == 3.0  # 5 - 2
    assert regret(predicted, GAINED, 3) == 2.0  # 5 - 3
    assert regret(predicted, GAINED, 4) == 0.0
    assert regret(dict.fromkeys(GAINED, 1.0), GAINED, 1) == 3.0  # tied: the first of the study


def test_correlations_are_spearmans_and_kendalls() -> None:
    predicted = {"mnli": 0.9, "qqp": 0.8, "hellaswag": 0.7, "squad": 0.1}  # ranks 1 2 3 4, in truth 3 4 2 1
    found = agreement(predicted, GAINED)
    assert found.spearman == pytest.approx(1 - 6 * (4 + 4 + 1 + 9) / (4 * 15))
    assert found.kendall == pytest.approx((1 - 5) / 6)  # of 6 pairs only (mnli, qqp) is in the right order
    assert (found.n, found.regret_1, found.regret_3) == (4, 3.0, 2.0)


def test_few_or_tied_recipes_have_no_correlation_and_three_no_regret_at_three() -> None:
    three = {"mnli": 3.0, "squad": 2.0, "qqp": 1.0}
    assert agreement(three, GAINED).regret_3 is None and agreement(three, GAINED).spearman == pytest.approx(0.5)
    assert agreement({"mnli": 3.0, "squad": 2.0}, GAINED).spearman is None
    assert agreement(dict.fromkeys(GAINED, 1.0), GAINED).kendall is None


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=6), st.integers(1, 4))
def test_chance_is_the_mean_over_all_choices(values: list[float], k: int) -> None:
    gained = {str(i): value for i, value in enumerate(values)}
    choices = list(combinations(values, min(k, len(values))))
    assert by_chance(gained, k) == pytest.approx(max(values) - sum(map(max, choices)) / len(choices), abs=1e-9)


def test_gains_are_means_over_other_languages_and_shared_seeds() -> None:
    results = make_results(lambda encoder, recipe, target: 10.0 if recipe == "mini-squad" else 0.0, examples=20)
    scores = results.scores
    lost = (pl.col("recipe") == "mini-squad") & (pl.col("seed") == 1) & (pl.col("target") == "mini-qa")
    found = gains(scores.filter(~lost), ["mini-qa"])
    encoder = scores["encoder"][0]
    own = scores.filter(
        pl.col("main") & (pl.col("encoder") == encoder) & (pl.col("target") == "mini-qa") & (pl.col("seed") == 0)
        & (pl.col("language") != "en")
    )  # fmt: skip
    mean = {recipe: own.filter(pl.col("recipe") == recipe)["value"].mean() for recipe in ("none", "mini-squad")}
    assert found[encoder, "mini-qa"]["mini-squad"] == pytest.approx(mean["mini-squad"] - mean["none"])
    assert {target for _, target in found} == {"mini-qa"} and set(found[encoder, "mini-qa"]) == {
        "mini-squad", "mini-mnli", "mini-squad+mlm",
    }  # fmt: skip


def test_a_recipe_that_lacks_a_language_is_left_out() -> None:
    scores = make_results(examples=20).scores
    partial = scores.filter(~((pl.col("recipe") == "mini-mnli") & (pl.col("language") == "zh")))
    assert all("mini-mnli" not in of for of in gains(partial, ["mini-qa"]).values())
