import polars as pl
import pytest

from synthetic import make_results, without
from xstilts.analysis.analyse import analyse
from xstilts.analysis.gap import GAPS_SCHEMA


def test_the_gap_is_english_less_the_mean_over_the_others():
    results = make_results(examples=60, seeds=(0, 1, 2))
    frame = analyse(results).gaps
    assert dict(frame.schema) == {name: kind() for name, kind in GAPS_SCHEMA.items()} and frame.height == 3 * 4 * 2
    row = frame.row(5, named=True)
    cell = results.scores.filter("main", *(pl.col(name) == row[name] for name in ("encoder", "recipe", "target")))
    english = cell.filter(pl.col("language") == "en")["value"].mean()
    others = cell.filter(pl.col("language") != "en")["value"].mean()
    assert (row["english"], row["zero_shot"]) == pytest.approx((english, others))
    assert row["gap"] == pytest.approx(english - others) and row["low"] < row["gap"] < row["high"]
    assert (row["n_languages"], row["n_seeds"]) == (10, 3)


def test_intervals_hold_a_gap_of_zero():
    frame = analyse(make_results(examples=60, seeds=(0, 1, 2), languages=("en", "de", "ru"))).gaps
    assert ((frame["low"] <= 0) & (frame["high"] >= 0)).mean() > 0.85


def test_without_english_or_without_others_there_is_none_and_a_seed_that_lacks_one_does_not_count():
    results = make_results(examples=20, seeds=(0, 1))
    assert analyse(without(results, language="en")).gaps.height == 0
    assert analyse(make_results(examples=20, languages=("en",))).gaps.height == 0
    fewer = analyse(without(results, language="en", seed=1, recipe="none")).gaps
    assert set(fewer.filter(pl.col("recipe") == "none")["n_seeds"]) == {1}
    assert set(fewer.filter(pl.col("recipe") != "none")["n_seeds"]) == {2}
