"""What is said of a study before it runs, against simulations of such studies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from simulated_power import gains_found, slopes_found
from synthetic import make_results
from xstilts.analysis.power import (
    EVERY_TARGET,
    Deviations,
    best_of,
    of_gain,
    of_pilot,
    of_slope,
    outlook,
)
from xstilts.analysis.size import READING
from xstilts.cli.app import app
from xstilts.common.errors import UserError
from xstilts.planning.study import make_study

#: Points: what the pilots of the bundled encoder show.
KNOWN = Deviations(run=1.2, example=0.6, encoder=0.5)
#: Of the bundled encoder, without embeddings.
LAYER = 1_774_464

#: Layers, seeds → half-width per tenfold size and power at 4 points, as simulated: medians of two or three digits.
DESIGNS: list[tuple[Sequence[int], int, float, float]] = [
    ((3, 6, 9, 12), 3, 8.4, 0.18),
    ((3, 6, 12), 7, 18.0, 0.12),
    ((2, 3, 4, 6, 8, 12), 5, 3.8, 0.54),
    ((*range(2, 11), 12), 4, 3.0, 0.75),
    ((*range(2, 13), *range(2, 13)), 3, 1.9, 0.98),
    (range(6, 13), 5, 8.6, 0.16),
]


def test_many_sizes_beat_many_seeds_as_simulated():
    for layers, seeds, half_width, power in DESIGNS:
        found = of_slope(KNOWN, [n * LAYER for n in layers], seeds)
        assert found is not None
        assert found.half_width == pytest.approx(half_width, rel=0.02), layers
        assert found.power(4.0) == pytest.approx(power, abs=0.012), layers


@pytest.mark.parametrize(("layers", "seeds"), [((3, 6, 9, 12), 3), ((2, 3, 4, 6, 8, 12), 5)])
def test_slopes_that_are_simulated_are_as_precise_and_as_often_found(layers: Sequence[int], seeds: int):
    parameters = [n * LAYER for n in layers]
    found = of_slope(KNOWN, parameters, seeds)
    assert found is not None
    half_widths, p_values = slopes_found(KNOWN, parameters, seeds, effect=4.0, runs=8000)
    assert np.median(half_widths) == pytest.approx(found.half_width, rel=0.03)
    assert np.mean(p_values < 0.05) == pytest.approx(found.power(4.0), abs=0.015)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("comparisons", [1, 20])
def test_gains_that_are_simulated_are_as_precise_and_as_often_found(seeds: int, comparisons: int):
    """As `analysis.crossed` tests them: each side's seeds vary as they do."""
    found = of_gain(KNOWN, seeds)
    assert found is not None
    half_widths, p_values = gains_found(KNOWN, seeds, effect=4.0, runs=8000)
    alpha = 0.05 / comparisons
    assert np.median(half_widths) == pytest.approx(found.half_width, rel=0.03)
    assert np.mean(p_values < alpha) == pytest.approx(found.power(4.0, alpha), abs=0.015)


def test_power_without_an_effect_is_the_probability_of_a_wrong_verdict():
    slope = of_slope(KNOWN, [n * LAYER for n in (3, 6, 9, 12)], 3)
    assert slope and slope.power(0.0, 0.01) == pytest.approx(0.01, abs=0.0005)
    certain = of_gain(Deviations(run=0.0, example=1.0), 3)  # of which nothing has to be estimated
    assert certain and certain.half_width == pytest.approx(stats.norm.ppf(0.975))
    assert certain.power(2.0) == pytest.approx(stats.norm.sf(stats.norm.ppf(0.975) - 2.0), abs=1e-4)


def test_the_power_of_a_slope_is_that_of_the_noncentral_t_distribution():
    found = of_slope(KNOWN, [n * LAYER for n in (3, 6, 9, 12)], 3)
    assert found is not None
    critical = stats.t.ppf(0.975, 2)
    shift = 4.0 / found.error
    assert found.power(4.0) == pytest.approx(
        stats.nct.sf(critical, 2, shift) + stats.nct.cdf(-critical, 2, shift), abs=1e-3
    )


def test_what_nothing_identifies_is_not_told():
    assert of_gain(KNOWN, 1) is None
    assert of_slope(KNOWN, [LAYER, 2 * LAYER, 2 * LAYER], 3) is None
    assert of_slope(Deviations(1.2, 0.6), [LAYER, 2 * LAYER, 3 * LAYER], 3) is None


def test_a_pilot_shows_the_deviations_that_it_was_made_with():
    """Runs of 2 points on either side, 3 questions of 4 decided by luck that all models share; gains on a line."""
    runs, between = [], []
    for state in range(6):
        results = make_results(
            targets={"xquad": "span", "mlqa": "span"}, seeds=range(4), seed_noise=2.0, examples=400, random_state=state,
            languages=("en", "de", "ar"), recipes=("none", "a", "b"),
        )  # fmt: skip
        found = of_pilot(results, resamples=200)
        assert set(found) == {"xquad", "mlqa", READING}
        runs.append(found["xquad"].run)
        between.append(found["xquad"].encoder)
        assert found[READING].run < found["xquad"].run  # two targets, each with runs of its own
    assert np.sqrt(np.mean(np.square(runs))) == pytest.approx(2.0 * np.sqrt(2), rel=0.2)
    assert np.mean(between) < 1.5


def test_a_pilot_of_one_seed_says_what_to_do():
    with pytest.raises(UserError, match=r"no gain of two seeds or more.*--run-sd"):
        of_pilot(make_results(seeds=(1,), examples=20))


STUDY: dict[str, Any] = {
    "name": "planned", "encoders": [f"bundled/e5-small@{n}" for n in (3, 6, 9, 12)], "recipes": ["none", "mini-nli"],
    "targets": [{"task": "mini-span", "max_examples": 30}], "seeds": [1, 2, 3],
    "training": {"max_train_examples": 20, "precision": "fp32"},
}  # fmt: skip


def test_an_outlook_has_the_study_as_it_is_and_what_each_change_buys():
    found = outlook(make_study(STUDY), {EVERY_TARGET: KNOWN})
    assert found.design.comparisons == 4 and found.design.sizes == 4
    own = found.power.filter(of="slope", sizes=4, seeds=3, questions=1.0).row(0, named=True)
    expected = of_slope(KNOWN, [n * LAYER for n in (3, 6, 9, 12)], 3)
    assert expected and own["half_width"] == pytest.approx(expected.half_width, rel=1e-3)
    gain = found.power.filter(of="gain", seeds=3, questions=1.0).row(0, named=True)
    assert gain["power_4"] == pytest.approx(of_gain(KNOWN, 3).power(4.0, 0.05 / 4))  # type: ignore[union-attr]
    changes = found.changes["change"].to_list()
    assert changes[0] == "one more seed" and changes[1].startswith("one more size, bundled/e5-small@")
    assert changes[2] == "twice the questions"
    assert found.changes["share"][0] == pytest.approx(1 / 3)
    assert best_of(found.changes, "slope") == changes[1]  # from 2 degrees of freedom to 3


def test_all_questions_are_no_less_than_all():
    study = make_study({**STUDY, "targets": ["mini-span"]})
    assert "twice the questions" not in outlook(study, {EVERY_TARGET: KNOWN}).changes["change"].to_list()


def test_the_command_says_which_change_buys_most(tmp_path: Any):
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(STUDY))
    run = CliRunner().invoke(app, ["power", str(file), "--run-sd", "1.2", "--example-sd", "0.6", "--encoder-sd", "0.5"])
    assert run.exit_code == 0, run.output
    assert "± 8.3" in run.output and "most for its compute" in run.output
    told = CliRunner().invoke(
        app, ["power", str(file), "--run-sd", "1.2", "--example-sd", "0.6", "--encoder-sd", "0.5", "--json"]
    )
    assert {row["of"] for row in json.loads(told.output)["power"]} == {"gain", "slope"}


def test_what_is_not_stated_is_asked_for(tmp_path: Any):
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(STUDY))
    run = CliRunner().invoke(app, ["power", str(file), "--run-sd", "1.2"])
    assert isinstance(run.exception, UserError) and "--example-sd" in str(run.exception)
