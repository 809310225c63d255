"""Filters and pivots, on scores that were made up."""

import polars as pl
import pytest

from synthetic import make_results
from xstilts.analysis.scores import pivot, select
from xstilts.common.errors import UserError

FRAME = make_results(examples=20, languages=("en", "de", "ru", "sw"), seeds=(0, 1, 2)).scores


def test_filters_leave_what_has_one_of_the_values():
    found = select(FRAME, {"language": ["de", "sw"], "seed": [1], "recipe": ["none"]})
    assert set(found["language"]) == {"de", "sw"} and set(found["seed"]) == {1} and set(found["recipe"]) == {"none"}
    assert select(FRAME, {"family": ["Niger-Congo"]}).equals(FRAME.filter(pl.col("language") == "sw"))
    assert set(select(FRAME, {"script": ["Latn"]})["language"]) == {"en", "de", "sw"}


@pytest.mark.parametrize(
    ("axis", "value", "said"),
    [("language", "tlh", "there are de, en, ru, sw"), ("seed", 7, "there are 0, 1, 2"), ("langage", "de", "language")],
)
def test_what_no_score_has_is_said_with_what_there_is(axis: str, value: object, said: str):
    with pytest.raises(UserError, match=said):
        select(FRAME, {axis: [value]})


def test_by_language_cells_are_means_over_seeds():
    found = pivot(FRAME.filter("main"), "language")
    assert found.columns == ["encoder", "recipe", "target", "metric", "de", "en", "ru", "sw"]
    assert found.height == FRAME.filter("main").select("encoder", "recipe", "target").n_unique()
    first = found.row(0, named=True)
    cell = FRAME.filter("main", *(pl.col(name) == first[name] for name in ("encoder", "recipe", "target")))
    for language in ("de", "ru"):
        assert first[language] == pytest.approx(cell.filter(pl.col("language") == language)["value"].mean())


def test_by_family_and_by_seed_cells_are_means_over_what_is_left():
    main = FRAME.filter("main", pl.col("recipe") == "none", pl.col("target") == "mini-qa")
    (row, *_) = pivot(main, "family").iter_rows(named=True)
    of_it = main.filter(pl.col("encoder") == row["encoder"])
    germanic = of_it.filter(pl.col("language").is_in(["de", "en"]))["value"].mean()
    assert row["Indo-European: Germanic"] == pytest.approx(germanic)
    by_seed = pivot(main, "seed")
    assert by_seed.columns == ["encoder", "recipe", "target", "metric", "language", "0", "1", "2"]
    assert by_seed.height == 3 * 4


def test_recipes_stand_in_the_order_of_the_study():
    main = FRAME.filter("main").with_columns(pl.col("recipe").replace({"none": "zero"}))
    recipes = main["recipe"].unique(maintain_order=True).to_list()
    assert recipes[0] == "zero" and pivot(main, "recipe").columns[-len(recipes) :] == recipes


def test_a_language_without_a_family_has_a_column_too():
    results = make_results(examples=5, languages=("en", "xx"))
    found = pivot(results.scores.filter("main"), "family")
    assert "—" in found.columns


def test_no_axis_is_said():
    with pytest.raises(UserError, match="did you mean 'language'"):
        pivot(FRAME, "langage")
