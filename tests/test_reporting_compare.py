from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from synthetic import SIZES, gain_by_size, make_results
from test_reporting_write import Page
from xstilts.analysis.results import Results
from xstilts.common.errors import UserError
from xstilts.reporting.compare import compare, gains_table, settings_table, write_comparison

LARGEST = {"bundled/e5-small@12": SIZES["bundled/e5-small@12"]}


def study(name: str, **options: object) -> Results:
    given = {"encoders": LARGEST, "languages": ("en", "de", "ru"), "targets": {"mini-qa": "span"}, "examples": 60}
    return make_results(gain_by_size(20.0), name=name, **{**given, **options})


@pytest.fixture(scope="module")
def first() -> Results:
    return study("first")


def test_gains_of_what_all_have_stand_side_by_side(first: Results, tmp_path: Path):
    second = study("second", seeds=(0, 1, 2), languages=("en", "de", "sw"), recipes=("none", "mini-squad", "other"))
    found = compare([first, second])
    assert (found.targets, found.recipes) == (("mini-qa",), ("mini-squad",))
    table = gains_table(found)
    assert table.header == ("target", "recipe", "first: bundled/e5-small@12", "second: bundled/e5-small@12")
    assert "(mini-qa: de)" in table.caption, "the mean is over the one non-English language that both have"
    own = first.scores.filter("main", pl.col("language") == "de", pl.col("recipe").is_in(["none", "mini-squad"]))
    none, squad = own.group_by("recipe", maintain_order=True).agg(pl.col("value").mean())["value"]
    assert table.rows[0][2].value == pytest.approx(squad - none, abs=1e-4)
    settings = {row[0]: row[1:] for row in settings_table(found).rows}
    assert settings == {"seeds": ("2 (0, 1)", "3 (0, 1, 2)")}
    assert found.left_out == (
        "first: mini-mnli, mini-squad+mlm left out, a recipe that not all studies have",
        "second: other left out, a recipe that not all studies have",
    )
    page = write_comparison(found, tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    Page(text)
    assert "The studies differ in 1 setting: seeds." in text and "a recipe that not all studies have" in text
    written = pl.read_csv(tmp_path / "out" / "tables" / "gains.csv")
    assert set(written["study"]) == {"first", "second"} and (tmp_path / "out" / "tables" / "gains.tex").exists()
    assert (tmp_path / "out" / "charts" / "forest-mini-qa.svg").exists()


def test_settings_of_the_study_files_are_compared(first: Results):
    second = study("second", examples=40)
    training = {"training": {"epochs": 3, "memory": "8GB"}}
    second = replace(second, study=second.study.model_copy(update=training))
    rows = settings_table(compare([first, second])).rows
    assert rows == (
        ("examples a language, mini-qa", "60", "40"),
        ("training.epochs", "by default", "3"),
        ("training.memory", "by default", "8GB"),
    )


def test_gains_in_other_precisions_are_not_side_by_side_without_a_word(first: Results):
    fp32 = replace(study("second"), scores=study("second").scores.with_columns(precision=pl.lit("fp32")))
    found = compare([first, fp32])
    assert settings_table(found).rows == (("precision", "bf16", "fp32"),)
    assert gains_table(found).caption.endswith("Computed in bf16 (first); fp32 (second).")
    assert "Computed in" not in gains_table(compare([first, study("second")])).caption


def test_a_target_that_is_not_comparable_is_left_out_with_its_reason(first: Results):
    targets = {"mini-qa": "span", "mini-nli": "classification"}
    both, other = study("both", targets=targets), study("other", targets=targets)
    changed = pl.when(pl.col("task") == "mini-nli", pl.col("language") == "de").then(pl.lit("f" * 64))
    other = replace(other, data=other.data.with_columns(fingerprint=changed.otherwise("fingerprint")))
    found = compare([both, other])
    assert found.targets == ("mini-qa",)
    assert found.left_out == ("mini-nli: not comparable, its evaluation data differ (de)",)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (study("other", targets={"mini-nli": "classification"}), "first, other: not comparable, no target has scores"),
        (study("other", recipes=("none", "else")), "share no recipe besides `none`"),
        (study("other", languages=("en", "sw")), "the studies share no non-English language of it"),
        (study("first"), "two studies have the same name"),
    ],
)
def test_what_is_not_comparable_is_refused_in_one_line(first: Results, other: Results, said: str):
    with pytest.raises(UserError, match=said) as refused:
        compare([first, other])
    assert "\n" not in str(refused.value)


def test_another_metric_is_refused(first: Results):
    other = study("other")
    other = replace(other, scores=other.scores.with_columns(metric=pl.lit("exact_match")))
    with pytest.raises(UserError, match=r"mini-qa: not comparable, its metric differs \(f1 / exact_match\)"):
        compare([first, other])


def test_one_study_is_not_compared(first: Results):
    with pytest.raises(UserError, match="at least two"):
        compare([first])


def test_names_are_escaped(tmp_path: Path):
    evil = "<script>alert(1)</script>"
    text = write_comparison(compare([study(evil), study("b")]), tmp_path).read_text(encoding="utf-8")
    assert text.count("<script") == 1
    Page(text)
