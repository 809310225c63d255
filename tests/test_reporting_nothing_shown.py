"""Studies of which nothing can be concluded: no word of an effect anywhere, and the first sentence says why."""

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from synthetic import make_results
from xstilts.analysis.analyse import Analysis, analyse
from xstilts.analysis.results import STAGES_SCHEMA, Results
from xstilts.reporting.write import write_report

SHAPE = {"encoders": {"a": 10_000_000, "b": 30_000_000, "c": 90_000_000}, "languages": ("en", "de", "sw")}


def one_seed_and_six_questions() -> Results:
    """That every model answers all alike, so that nothing varies."""
    results = make_results(seeds=(0,), examples=6, targets={"xquad": "span"}, **SHAPE)  # type: ignore[arg-type]
    return replace(results, outcomes=results.outcomes.with_columns(numerator=pl.lit(1.0)))


def all_collapsed() -> Results:
    """Every model says the same whatever it reads: equal scores for all seeds, and nothing learnt before."""
    results = make_results(seeds=(0, 1, 2), examples=6, targets={"xquad": "span"}, **SHAPE)  # type: ignore[arg-type]
    outcomes = results.outcomes.with_columns(numerator=(pl.col("id").str.ends_with("1")).cast(pl.Float64))
    intermediate = pl.when(pl.col("recipe") != "none").then(pl.format("i{}/{}/{}", "encoder", "recipe", "seed"))
    scores = results.scores.with_columns(intermediate=intermediate)
    keys = pl.concat([scores["model"], scores["intermediate"]]).drop_nulls().unique()
    told = {"kind": pl.lit("train"), "collapsed": pl.lit(True), "learnt": pl.lit(False), "state": pl.lit("done")}
    rest = {name: pl.lit(None, kind) for name, kind in STAGES_SCHEMA.items() if name not in ("key", *told)}
    stages = pl.DataFrame({"key": keys}).with_columns(**told, **rest).with_columns(label="key").select(*STAGES_SCHEMA)
    return replace(results, outcomes=outcomes, scores=scores, stages=stages)


@pytest.mark.parametrize(
    ("make", "first"),
    [
        (one_seed_and_six_questions, "Nothing can be concluded on any intermediate task, for there is one seed"),
        (all_collapsed, "Nothing can be concluded on any intermediate task: training collapsed"),
    ],
)
def test_nothing_is_shown_and_the_first_sentence_says_what_happened(make, first: str, tmp_path: Path):
    results = make()
    found = analyse(results)
    page = write_report(results, tmp_path, found).read_text(encoding="utf-8")
    answer = re.sub(r"<[^>]+>", "", page[page.index('<div class="answer">') :]).strip()
    assert answer.startswith(first) and found.answer.text().startswith(first)
    nothing_said(found)
    words = re.sub(r"<(style|script|svg).*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"shown to|is shown|\b(help|hurt)s most|grows|shrinks", words)
    if make is all_collapsed:
        assert "| a | mini-squad | 0 of 3 | not learnt |" in (tmp_path / "tables" / "learnt.md").read_text("utf-8")
        assert "Intermediate trainings that were learnt" in words
    for table in (tmp_path / "tables").glob("*.md"):
        assert "**" not in table.read_text(encoding="utf-8"), table.name


def nothing_said(found: Analysis) -> None:
    assert set(found.gains["verdict"]) == {"not judged"} and found.gains["reason"].is_not_null().all()
    assert found.gains["gain"].is_not_null().all(), "the estimates are there"
    assert found.gains["p_holm"].is_null().all() and found.gains["mde"].is_null().all()
    assert found.choices["reason"].is_not_null().all() and found.choices["low"].is_null().all()
    assert "shown" not in found.answer.text()
