from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest

from synthetic import SIZES, without
from synthetic import make_results as make_large_results
from xstilts.analysis.analyse import analyse
from xstilts.analysis.axes import ZERO_SHOT
from xstilts.analysis.choice import ALL_TARGETS, CHOICES_SCHEMA
from xstilts.analysis.results import Results

make_results = partial(make_large_results, languages=("en", "de", "ru"), encoders=dict(list(SIZES.items())[:2]))

GAINS = {"mini-squad": 12.0, "mini-mnli": 6.0}


def helped(encoder: str, recipe: str, target: str) -> float:
    return GAINS.get(recipe, 0.0)


def with_dev(results: Results, dev: dict[str, float], noise: float = 0.0, state: int = 0) -> Results:
    """English dev scores by recipe, with normal noise for each model."""
    models = results.scores.select("encoder", "recipe", "target", "seed").unique(maintain_order=True)
    drawn = np.random.default_rng(state).normal(0, noise, models.height)
    known = models.with_columns(dev=pl.col("recipe").replace_strict(dev, default=50.0) + pl.Series(drawn))
    scores = results.scores.drop("dev").join(known, on=["encoder", "recipe", "target", "seed"])
    return replace(results, scores=scores.select(results.scores.columns))


def test_the_recipe_with_the_best_dev_score_is_chosen_and_its_gain_is_that_of_the_table():
    results = make_results(helped, examples=80, seeds=(0, 1, 2))
    found = analyse(results)
    frame = found.choices
    assert dict(frame.schema) == {name: kind() for name, kind in CHOICES_SCHEMA.items()}
    assert frame.height == 2 * (2 + 1)
    row = frame.row(0, named=True)
    assert row["chosen"] == row["best"] == "mini-squad" and row["optimism"] == 0 and row["dev_score"] == 72
    gains = found.gains.filter(pl.col("language") == ZERO_SHOT, pl.col("recipe") == "mini-squad")
    same = gains.row(
        by_predicate=(pl.col("encoder") == row["encoder"]) & (pl.col("target") == row["target"]), named=True
    )
    assert row["gain"] == pytest.approx(same["gain"]) == pytest.approx(row["score"] - row["none_score"])
    # None of the replicates chooses anything else: the interval is that of the gain, but for the draws.
    assert row["high"] - row["low"] == pytest.approx(same["high"] - same["low"], rel=0.35)
    (mean,) = frame.filter(pl.col("target") == ALL_TARGETS, pl.col("encoder") == row["encoder"]).iter_rows(named=True)
    own = frame.filter(pl.col("encoder") == row["encoder"], pl.col("target") != ALL_TARGETS)
    assert mean["gain"] == pytest.approx(own["gain"].mean()) and mean["chosen"] is None
    assert mean["low"] > 0 and mean["high"] - mean["low"] < (own["high"] - own["low"]).mean()


def test_a_wrong_choice_costs_what_hindsight_would_have_gained():
    results = with_dev(make_results(helped, examples=80, seeds=(0, 1, 2)), {"mini-mnli": 60.0})
    for row in analyse(results).choices.filter(pl.col("target") != ALL_TARGETS).iter_rows(named=True):
        assert (row["chosen"], row["best"]) == ("mini-mnli", "mini-squad")
        assert row["optimism"] == pytest.approx(row["best_gain"] - row["gain"]) and 2 < row["optimism"] < 10


def test_none_may_be_chosen_and_gains_nothing():
    frame = analyse(with_dev(make_results(helped, examples=30), {"none": 60.0})).choices
    one = frame.filter(pl.col("target") != ALL_TARGETS)
    assert set(one["chosen"]) == {"none"} and set(one["gain"]) == {0.0} and set(one["low"]) == set(one["high"]) == {0.0}


def test_the_interval_covers_that_another_recipe_might_have_been_chosen():
    results = make_results(helped, examples=300, seeds=(0, 1, 2))
    sure = analyse(with_dev(results, {"mini-mnli": 70.0})).choices
    unsure = with_dev(results, {"mini-mnli": 55.0, "mini-squad": 54.9}, noise=2.0)
    open_ = analyse(unsure).choices
    same = open_.join(sure, on=["encoder", "target", "chosen", "gain"], suffix="_sure")
    assert same.height >= 1
    assert (same["high"] - same["low"]).mean() > 1.2 * (same["high_sure"] - same["low_sure"]).mean()


def test_targets_without_a_dev_score_and_untrained_encoders_are_left_out():
    encoders = {"e": 1_000_000, "e random": 1_000_000}
    targets = {"mini-qa": "span", "mini-tatoeba": "retrieval"}
    frame = analyse(make_results(examples=20, encoders=encoders, targets=targets)).choices
    assert frame.select("encoder", "target").rows() == [("e", "mini-qa")]
    assert analyse(without(make_results(examples=20), recipe="none")).choices.height == 0


def test_a_recipe_that_lacks_a_seed_is_not_compared():
    results = without(make_results(helped, examples=20, seeds=(0, 1, 2)), recipe="mini-squad", seed=2)
    frame = analyse(results).choices
    assert set(frame["chosen"].drop_nulls()) == {"mini-mnli"} and set(frame["n_seeds"]) == {3}
