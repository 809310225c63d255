import numpy as np
import polars as pl
import pytest

from simulated import as_said
from xstilts.analysis.axes import Axes, SizedEncoder
from xstilts.analysis.bootstrap import resample
from xstilts.analysis.clusters import clusters
from xstilts.analysis.comparisons import gains, sides_of
from xstilts.analysis.crossed import combined
from xstilts.analysis.results import OUTCOMES_SCHEMA
from xstilts.tasks.formats.span import SpanExample


def questions(**passage_of: str) -> list[SpanExample]:
    """Questions by id, each about a passage."""
    return [SpanExample(id, passage, f"{id}?", ()) for id, passage in passage_of.items()]


def test_questions_on_one_passage_are_a_cluster_and_one_alone_is_none():
    assert clusters({"en": questions(b="one", a="one", c="two")}) == {"a": "a", "b": "a"}


def test_a_language_may_lack_some_questions_of_a_passage():
    """As in MLQA: the passage of a, b and c is one in English, and German has but two of its questions, by itself."""
    sets = {"en": questions(a="P", b="P", c="P"), "de": questions(a="Q", c="Q"), "es": questions(b="R")}
    assert clusters(sets) == {"a": "a", "b": "a", "c": "a"}


def test_tests_that_are_not_parallel_have_clusters_of_their_own():
    sets = {"en": questions(e1="P", e2="P"), "fi": questions(f1="P", f2="Q")}
    assert clusters(sets) == {"e1": "e1", "e2": "e1"}


def test_row_numbers_that_mean_something_else_in_each_language_join_nothing():
    """`Yes.` is the text of rows 1 and 2 in one language, of 2 and 3 in another: no cluster of all three."""
    sets = {
        "en": questions(**{"1": "Yes.", "2": "Yes.", "3": "So."}),
        "de": questions(**{"1": "Nun.", "2": "Ja.", "3": "Ja."}),
        "fr": questions(**{"1": "Bien.", "2": "Oui.", "3": "Non."}),
    }
    assert clusters(sets) == {}


GROUPS = 5  # questions a passage
POINTS = 10.0  # SD of the gain on a question, and that of a passage


def outcomes(rng: np.random.Generator, n_passages: int, n_seeds: int, *, told: bool) -> pl.DataFrame:
    """A gain of 3 points on `n_passages` passages of GROUPS questions; ``told`` says which are on one passage."""
    shape = (2, n_seeds, n_passages, GROUPS)
    gain = rng.normal(0, POINTS, shape[2:]) + rng.normal(0, POINTS, (n_passages, 1))
    runs = rng.normal(0, 0.6, (2, n_seeds, 1, 1))
    value = 50 + runs + rng.normal(0, 3, shape) + np.array([0, 1])[:, None, None, None] * (3 + gain)
    recipe, seed, passage, question = (part.ravel() for part in np.indices(shape))
    return pl.DataFrame(
        {"recipe": np.array(["none", "squad"])[recipe], "seed": seed, "group": passage,
         "id": passage * GROUPS + question, "numerator": value.ravel() / 100}
    ).with_columns(
        encoder=pl.lit("e"), source=pl.lit("e"), averaged=None, target=pl.lit("xquad"), language=pl.lit("de"),
        metric=pl.lit("f1"), main=pl.lit(True), denominator=pl.lit(1.0), group=pl.col("group") if told else None,
    ).select(*OUTCOMES_SCHEMA).cast(pl.Schema(OUTCOMES_SCHEMA))  # fmt: skip


def axes_of(frame: pl.DataFrame) -> Axes:
    return Axes(
        (SizedEncoder("e", "e", True, False, 1),), ("none", "squad"), ("xquad",), {"xquad": ("de",)},
        {"xquad": "span"}, {"xquad": "f1"}, {}, tuple(frame["seed"].unique().sort()),
    )  # fmt: skip


def found_gains(frame: pl.DataFrame, seed: int = 0, resamples: int = 300) -> pl.DataFrame:
    return gains(resample(frame, resamples=resamples, seed=seed), axes_of(frame)).filter(pl.col("language") == "de")


def coverage(n_passages: int, n_seeds: int, runs: int, *, told: bool) -> float:
    """How often the interval of the gain holds the 3 points that it is on all passages there could be."""
    rng, held = np.random.default_rng(n_passages + n_seeds), 0
    for run in range(runs):
        row = found_gains(outcomes(rng, n_passages, n_seeds, told=told), run).row(0, named=True)
        held += row["low"] <= 3 <= row["high"]
    return held / runs


def test_intervals_hold_the_truth_where_passages_are_drawn_whole_and_not_where_questions_are():
    assert as_said({"gain": coverage(40, 3, 200, told=True)}, 200)
    assert coverage(40, 3, 200, told=False) < 0.88


@pytest.mark.soak
@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("n_passages", [10, 100])
def test_coverage_with_passages(n_passages: int, n_seeds: int):
    found = coverage(n_passages, n_seeds, 2000, told=True)
    print(f"{n_passages} passages, {n_seeds} seeds: {found:.3f}")
    assert as_said({"gain": found}, 2000), found


def test_the_number_of_passages_stands_beside_that_of_questions():
    frame = outcomes(np.random.default_rng(0), 8, 2, told=True)
    assert found_gains(frame).select("n", "n_groups").row(0) == (40, 8)
    assert found_gains(frame.with_columns(group=pl.lit(None, pl.String))).select("n", "n_groups").row(0) == (40, 40)


def test_a_sum_of_gains_knows_how_few_passages_it_is_of():
    """Its degrees of freedom are those of the row of the table: at most one fewer than the passages."""
    frame = outcomes(np.random.default_rng(0), 8, 2, told=True)
    of = axes_of(frame)
    (block,) = resample(frame, resamples=300, seed=0).blocks(of)
    sides = sides_of(block, "squad", "de", of)
    assert {side.n for side in sides} == {8}
    found, row = combined([(1.0, sides[0]), (-1.0, sides[1])]), found_gains(frame).row(0, named=True)
    assert found.freedom == pytest.approx(row["freedom"], rel=0.02)
    assert (found.low, found.high) == pytest.approx((row["low"], row["high"]), rel=0.02)


def test_one_passage_alone_says_nothing_of_others():
    """Its questions are all of one draw: how the gain varies over passages is not known, and no interval is told."""
    row = found_gains(outcomes(np.random.default_rng(0), 1, 3, told=True)).row(0, named=True)
    assert row["gain"] is not None and row["low"] is None and row["verdict"] == "not judged"
