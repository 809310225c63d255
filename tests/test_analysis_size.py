from typing import Any

import numpy as np
import polars as pl
import pytest

from simulated import Design, coverage
from synthetic import SIZES, gain_by_size, make_results, without
from xstilts.analysis.analyse import Analysis, analyse
from xstilts.analysis.axes import ZERO_SHOT, SizedEncoder
from xstilts.analysis.size import (
    ALL_ENCODERS,
    ALL_RECIPES,
    GROWS,
    READING,
    SHRINKS,
    TOO_FEW,
    UNDECIDED,
    groups,
    slope_weights,
)
from xstilts.encoders import parse
from xstilts.planning.study import EncoderEntry

SPAN = {"xquad": "span", "mlqa": "span", "tatoeba": "retrieval"}
DESIGNS: dict[str, dict[str, Any]] = {  # what the variance of a slope is made of
    "examples": {"run": 0.5, "examples": 60},
    "both": {"run": 1.5, "examples": 100},
    "seeds": {"run": 3.0, "examples": 200},
    "uneven": {"run": 1.0, "run_of_smallest": 4.0, "examples": 200},
}


def row(found: Analysis, **cell: str) -> dict[str, Any]:
    return found.sizes.row(by_predicate=pl.all_horizontal(pl.col(k) == v for k, v in cell.items()), named=True)


def test_the_slope_is_least_squares_of_the_gain_over_log_size():
    found = analyse(make_results(gain_by_size(10.0), examples=50))
    one = row(found, recipe="mini-squad", target="mini-qa")
    means = found.gains.filter(
        pl.col("recipe") == "mini-squad", pl.col("target") == "mini-qa", pl.col("language") == ZERO_SHOT
    )
    expected = np.polyfit(np.log10([SIZES[label] for label in means["encoder"]]), means["gain"], 1)[0]
    assert one["slope"] == pytest.approx(expected)
    assert (one["n_sizes"], one["smallest"], one["largest"]) == (3, min(SIZES.values()), max(SIZES.values()))
    assert slope_weights([10**6, 10**7, 10**8]) == pytest.approx([-0.5, 0, 0.5])


@pytest.mark.parametrize(("points", "at_smallest", "verdict"), [(25.0, 0.0, GROWS), (-25.0, 20.0, SHRINKS)])
def test_known_slopes_are_found(points: float, at_smallest: float, verdict: str):
    found = analyse(
        make_results(gain_by_size(points, at_smallest=at_smallest), targets=SPAN, examples=200, seeds=(0, 1, 2))
    )
    known = found.sizes.filter(pl.col("recipe") == "mini-squad")
    assert known["target"].to_list() == [READING, *SPAN] and set(known["verdict"]) == {verdict}
    assert ((known["low"] < points) & (points < known["high"])).all()


def test_pooled_rows_are_the_means_of_what_they_pool():
    found = analyse(make_results(gain_by_size(10.0), targets=SPAN, examples=50))
    span = found.sizes.filter(pl.col("target").is_in(["xquad", "mlqa"]))
    for recipe in ("mini-squad", "mini-mnli", ALL_RECIPES):
        of_targets = span.filter(pl.col("recipe") == recipe)["slope"].mean()
        assert row(found, target=READING, recipe=recipe)["slope"] == pytest.approx(of_targets)
    alone = span.filter(pl.col("recipe") != ALL_RECIPES)
    assert row(found, target=READING, recipe=ALL_RECIPES)["slope"] == pytest.approx(alone["slope"].mean())


def test_one_span_target_and_one_recipe_have_no_pooled_rows():
    found = analyse(make_results(recipes=("none", "squad"), examples=20)).sizes
    assert set(found["target"]) == {"mini-qa", "mini-nli"} and set(found["recipe"]) == {"squad"}


def test_no_slope_is_no_evidence():
    found = analyse(make_results(examples=100, random_state=3)).sizes
    assert found["verdict"].to_list().count(UNDECIDED) >= 6


def test_two_sizes_are_too_few_and_one_has_no_slope():
    two = {"bundled/e5-small@3": 5_000_000, "bundled/e5-small@6": 10_000_000}
    found = analyse(make_results(encoders=two, examples=20)).sizes
    assert set(found["verdict"]) == {TOO_FEW} and found["slope"].is_not_null().all()
    found = analyse(make_results(encoders={"bundled/e5-small@3": 5_000_000}, examples=20)).sizes
    assert set(found["verdict"]) == {TOO_FEW} and found["slope"].is_null().all()


def test_a_language_that_one_encoder_lacks_counts_for_none():
    whole = make_results(gain_by_size(10.0), examples=50)
    lacking = without(whole, encoder="bundled/e5-small@3", language="de", target="mini-qa")
    fair = analyse(without(whole, language="de", target="mini-qa"))
    cell = {"recipe": "mini-squad", "target": "mini-qa"}
    assert row(analyse(lacking), **cell)["slope"] == pytest.approx(row(fair, **cell)["slope"])


def test_an_encoder_that_lacks_a_recipe_is_left_out_of_that_row_alone():
    found = analyse(without(make_results(examples=20), encoder="bundled/e5-small@3", recipe="mini-mnli"))
    n_sizes = dict(found.sizes.filter(pl.col("target") == "mini-qa").select("recipe", "n_sizes").iter_rows())
    assert n_sizes == {ALL_RECIPES: 2, "mini-squad": 3, "mini-mnli": 2, "mini-squad+mlm": 3}


def encoders(**sizes: int) -> list[SizedEncoder]:
    known = [(label, parse(label), size) for label, size in sizes.items()]
    return [
        SizedEncoder(label, one.source, one.layers is None, one.init == "random", size) for label, one, size in known
    ]


def test_groups_are_sources_families_and_all():
    labels = {
        "bundled/e5-small@3": 5,
        "bundled/e5-small@12": 21,
        "FacebookAI/xlm-roberta-base": 85,
        "FacebookAI/xlm-roberta-large@6": 75,
        "FacebookAI/xlm-roberta-large": 302,
        "someone/model": 100,
        "bundled/e5-small@3 random": 5,
    }
    found = {group.name: [one.label for one in group.encoders] for group in groups(encoders(**labels))}
    assert found == {
        "bundled/e5-small": ["bundled/e5-small@3", "bundled/e5-small@12"],
        "FacebookAI/xlm-roberta-large": ["FacebookAI/xlm-roberta-large@6", "FacebookAI/xlm-roberta-large"],
        "XLM-R": ["FacebookAI/xlm-roberta-base", "FacebookAI/xlm-roberta-large"],
        "someone/model": ["someone/model"],
        ALL_ENCODERS: list(labels)[:-1],
    }


def test_an_at_sign_in_a_path_cuts_no_layers_off():
    folders = {f"models@lab/{name}": size for name, size in (("a", 5_000_000), ("b", 10_000_000), ("c", 20_000_000))}
    entries = {EncoderEntry(source=folder): size for folder, size in folders.items()}
    analysis = analyse(make_results(encoders=entries, examples=20))
    assert [(one.source, one.whole) for one in analysis.axes.encoders] == [(folder, True) for folder in folders]
    assert set(analysis.sizes["family"]) == {*folders, ALL_ENCODERS}, "three models, each of a family of its own"
    assert analysis.sizes.filter(pl.col("family") == ALL_ENCODERS)["confounded"].all()
    assert not any("first layers" in caveat for caveat in analysis.answer.cannot)


@pytest.mark.parametrize(
    ("sizes", "confounded"),
    [
        ({"a": 10**6, "b": 10**7, "c": 10**8}, True),
        ({"a@3": 10**6, "a@6": 10**7, "b@3": 10**6, "b@6": 10**7}, False),  # every family in every size
        ({"a@3": 10**6, "a@6": 10**7, "b@6": 10**7, "b@12": 10**8}, True),
    ],
)
def test_sizes_that_go_with_family_are_confounded(sizes: dict[str, int], confounded: bool):
    *_, last = groups(encoders(**sizes))
    assert last.name == ALL_ENCODERS and last.confounded is confounded
    found = analyse(make_results(encoders=sizes, examples=10, languages=("en", "de"))).sizes
    assert set(found.filter(pl.col("family") == ALL_ENCODERS)["confounded"]) == {confounded}
    assert not found.filter(pl.col("family") != ALL_ENCODERS)["confounded"].any()


def test_intervals_hold_the_known_slope_about_as_often_as_they_say():
    found = coverage(Design(), runs=150, resamples=200)
    assert all(0.9 <= held <= 1.0 for held in found.values()), found


@pytest.mark.soak
@pytest.mark.parametrize("layers", [(3, 6, 12), (3, 6, 9, 12)], ids=len)
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("varies", DESIGNS)
def test_intervals_hold_the_known_slope_in_a_thousand_simulations(varies: str, seeds: int, layers: tuple[int, ...]):
    found = coverage(Design(seeds=seeds, layers=layers, languages=6, **DESIGNS[varies]), runs=1000)
    print(f"\n| {varies} | {seeds} | {len(layers)} | " + " | ".join(f"{100 * held:.1f}" for held in found.values()))
    # Too few seeds to know the variance of each size, where those differ fourfold.
    lowest = (0.9 if seeds == 2 else 0.92) - (0.03 if varies == "uneven" else 0)
    assert all(lowest <= held <= 0.98 for held in found.values()), found
