"""The table of a paper: what stands in which cell, what marks it, and that LaTeX takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest

from synthetic import SIZES, gain_by_size, make_results, without
from xstilts.analysis.analyse import analyse
from xstilts.analysis.axes import ALL_LANGUAGES, ZERO_SHOT
from xstilts.analysis.results import Results
from xstilts.reporting.paper_table import PAPER_SCHEMA, paper_table
from xstilts.reporting.table import Number, Table, latex, markdown
from xstilts.reporting.write import html

TARGETS = {"xnli": "classification", "xquad": "span", "pawsx": "classification", "tatoeba": "retrieval"}
LARGE = "bundled/e5-small@12"


def small(targets: Mapping[str, str] = TARGETS, **options: object) -> Results:
    two = {name: SIZES[name] for name in list(SIZES)[1:]}
    gain = gain_by_size(20.0, "squad_v2", at_smallest=20.0)
    recipes, languages = ("none", "squad_v2", "mnli"), ("en", "de", "ru")
    return make_results(gain, encoders=two, recipes=recipes, targets=targets, languages=languages, **options)


def panels(results: Results, languages: str = ZERO_SHOT) -> tuple[Table, ...]:
    return paper_table(results, analyse(results, resamples=50), languages).panels


def cell(table: Table, encoder: str, recipe: str, column: str) -> Number | None:
    (row,) = (row for row in table.rows if row[:2] == (encoder, recipe))
    found = row[table.header.index(column)]
    assert not isinstance(found, str)
    return found


def with_a_collapse(results: Results, recipe: str, target: str) -> Results:
    """The results where the first training of the large encoder on a target is no better than the majority class."""
    stage = f"t{LARGE}/{recipe}/{target}/0"
    named = pl.col("model").replace({f"t/{LARGE}/{recipe}/{target}/0": stage})
    spoilt = pl.when(pl.col("key") == stage).then(True).otherwise(pl.col("collapsed"))
    return replace(
        results, stages=results.stages.with_columns(collapsed=spoilt), scores=results.scores.with_columns(model=named)
    )


def test_targets_stand_in_groups_under_the_names_and_metrics_that_people_write() -> None:
    scores, gains = panels(small())
    assert scores.header == ("encoder", "recipe", "XNLI", "PAWS-X", "XQuAD", "Tatoeba", "mean")
    assert scores.over == ("", "", "Classification", "Classification", "Question answering", "Retrieval", "")
    assert scores.units == ("", "", "Acc.", "Acc.", "F1 / EM", "Acc.", "")
    assert gains.header == scores.header[:-1] and gains.units[2:] == ("Acc.", "Acc.", "F1", "Acc.")
    assert [row[1] for row in scores.rows] == ["none", "SQuAD v2.0", "MNLI"] * 2
    assert [row[1] for row in gains.rows] == ["SQuAD v2.0", "MNLI"] * 2


@pytest.mark.parametrize(("languages", "english"), [(ZERO_SHOT, False), (ALL_LANGUAGES, True)])
def test_scores_are_means_of_the_studys_and_the_mean_is_xtremes(languages: str, english: bool) -> None:
    """Against the scores themselves: over seeds and languages, then over targets, of answers F1 and exact match."""
    results = small()
    scores, _ = panels(results, languages)
    rows = results.scores.filter(encoder=LARGE, recipe="mnli")
    if not english:
        rows = rows.filter(pl.col("language") != "en")
    means = {(target, metric): value for target, metric, value in
             rows.group_by("target", "metric").agg(pl.col("value").mean()).iter_rows()}  # fmt: skip
    answers = cell(scores, LARGE, "MNLI", "XQuAD")
    assert answers is not None and answers.value == pytest.approx(means["xquad", "f1"])
    assert answers.beside == pytest.approx(means["xquad", "exact_match"])
    wanted = [*(means[name, "accuracy"] for name in ("xnli", "pawsx", "tatoeba")),
              (means["xquad", "f1"] + means["xquad", "exact_match"]) / 2]  # fmt: skip
    mean = cell(scores, LARGE, "MNLI", "mean")
    assert mean is not None and mean.value == pytest.approx(sum(wanted) / 4)
    assert ("all languages" if english else "the non-English languages") in scores.caption
    assert f"XQuAD {3 if english else 2}" in scores.caption


def test_gains_have_the_intervals_and_verdicts_of_the_analysis_and_no_others() -> None:
    results = small()
    analysis = analyse(results, resamples=50)
    _, gains = paper_table(results, analysis).panels
    shown = set()
    for row in analysis.gains.filter(pl.col("language") == ZERO_SHOT).iter_rows(named=True):
        called = {"squad_v2": "SQuAD v2.0", "mnli": "MNLI"}[row["recipe"]]
        column = {"xnli": "XNLI", "pawsx": "PAWS-X", "xquad": "XQuAD", "tatoeba": "Tatoeba"}[row["target"]]
        number = cell(gains, row["encoder"], called, column)
        assert number is not None and (number.value, number.low, number.high) == (row["gain"], row["low"], row["high"])
        assert number.marked == (row["verdict"] in ("helps", "hurts"))
        shown.add(number.marked)
    assert shown == {True, False}


def test_cells_say_what_they_lack() -> None:
    results = without(small(), recipe="mnli", seed=1, target="xquad")
    results = without(results, recipe="mnli", encoder=LARGE, target="xnli")
    results = without(results, recipe="squad_v2", encoder=LARGE, target="tatoeba", language="ru")
    results = with_a_collapse(results, "squad_v2", "pawsx")
    found = paper_table(results, analyse(results, resamples=50))
    scores, gains = found.panels
    few = cell(scores, LARGE, "MNLI", "XQuAD")
    assert few is not None and few.signs == "†" and few.note == "1 of 2 seeds"
    assert cell(scores, LARGE, "MNLI", "XNLI") is None and cell(scores, LARGE, "MNLI", "mean") is None
    assert cell(gains, LARGE, "MNLI", "XNLI") is None
    for table in (scores, gains):
        collapsed, fewer = (cell(table, LARGE, "SQuAD v2.0", column) for column in ("PAWS-X", "Tatoeba"))
        assert collapsed is not None and collapsed.signs == "‡" and fewer is not None and fewer.signs == "§"
        assert all(f"{sign}: " in table.caption for sign in "†‡§–")
    other = cell(scores, LARGE, "none", "PAWS-X")
    assert other is not None and other.signs == ""
    spoilt = with_a_collapse(small(), "none", "xquad")
    kept, compared = (cell(table, LARGE, "MNLI", "XQuAD") for table in panels(spoilt))
    assert kept is not None and compared is not None and (kept.signs, compared.signs) == ("", "‡")
    assert found.frame.schema == pl.Schema(PAPER_SCHEMA) and found.frame.height == 2 * 3 * 4
    assert found.frame.filter(encoder=LARGE, recipe="mnli", target="xnli").select(
        "value", "n_seeds", "seeds_asked"
    ).row(0) == (None, 0, 2)
    whole = panels(small())[0]
    assert not set("†‡§–") & set(whole.caption)
    baseline = without(small(), recipe="none", encoder=LARGE, target="xnli", seed=0)
    scores, gains = panels(without(baseline, recipe="none", encoder=LARGE, target="xnli", language="de"))
    kept, compared = (cell(table, LARGE, "MNLI", "XNLI") for table in (scores, gains))
    assert kept is not None and compared is not None and (kept.signs, compared.signs) == ("", "†§")


def test_what_was_never_run_is_a_row_of_dashes() -> None:
    results = without(without(small(), recipe="squad_v2"), target="pawsx")
    scores, gains = panels(results)
    assert [row[1] for row in scores.rows] == ["none", "MNLI", "SQuAD v2.0"] * 2
    assert scores.rows[2][2:] == (None,) * 5 and "PAWS-X" in scores.header
    assert "| bundled/e5-small@6 | SQuAD v2.0 | – | – | – | – | – |" in markdown([scores])
    assert [row[1] for row in gains.rows] == ["MNLI"] * 2


def test_one_target_has_no_mean_and_the_baseline_alone_no_gains() -> None:
    (scores,) = panels(without(without(small({"xnli": "classification"}), recipe="mnli"), recipe="squad_v2"))
    assert scores.header == ("encoder", "recipe", "XNLI") and "mean is over the targets" not in scores.caption


def test_forms_agree() -> None:
    tables = panels(small())
    (number,) = [entry for row in tables[0].rows for entry in row if isinstance(entry, Number) and entry.beside][:1]
    assert f"| {number.text} |" in markdown(tables)
    text = latex(tables)
    assert text.count(r"\multicolumn{2}{c}{Classification}") == 2 and r"\cmidrule(lr){3-4}\cmidrule(lr){5-5}" in text
    assert f"${number.text}$" in text
    rows = [line for line in text.splitlines() if line.startswith("bundled")]
    assert {row.count("&") for row in rows} == {6, 5}

    class Cells(HTMLParser):
        spans = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.spans += int(dict(attrs).get("colspan") or 0)

    page, cells = html(tables), Cells()
    cells.feed(page)
    assert cells.spans == 7 + 6 and number.text in page and "<small>F1 / EM</small>" in page


def test_an_interval_without_end_is_not_told_to_the_digit() -> None:
    wide, narrow = Number(1.0, -1e15, 1e15, sign=True), Number(1.0, -998.0, 1000.0, sign=True)
    assert (wide.half_width, narrow.half_width) == (">999", "999.0")
    table = Table("t", "c", ("a", "b"), (("x", wide),))
    assert "| +1.0 ± >999 |" in markdown([table]) and r"$+1.0_{\pm >999}$" in latex([table])


def test_targets_that_are_in_the_scores_alone_have_columns() -> None:
    """Outcomes may come from elsewhere."""
    results = small()
    renamed = {name: getattr(results, name).with_columns(pl.col("target").replace({"xnli": "elsewhere"}))
               for name in ("scores", "outcomes")}  # fmt: skip
    scores, _ = panels(replace(results, **renamed))
    found = cell(scores, LARGE, "none", "elsewhere")
    assert found is not None and scores.over[scores.header.index("elsewhere")] == "Classification"


def test_long_words_of_running_text_may_be_broken() -> None:
    rows = (("anli_plus+mnli", "anli_plus+mnli, a/b, +2.7"),)
    text = latex([Table("t", "c", ("name", "evidence"), rows, texts=frozenset({1}))])
    broken = r"anli\_\allowbreak{}plus+\allowbreak{}mnli, a/\allowbreak{}b, +2.7"
    assert rf"anli\_plus+mnli & {broken} \\" in text
