import numpy as np
import polars as pl
import pytest

from synthetic import SIZES, gain_by_size, make_results
from xstilts.analysis.axes import ZERO_SHOT, axes
from xstilts.analysis.bootstrap import resample
from xstilts.analysis.comparisons import Gains, gains
from xstilts.analysis.size import ALL_ENCODERS, GROWS, SHRINKS, TOO_FEW, UNDECIDED, gains_by_seed, sizes
from xstilts.results import Results


def of(results: Results) -> tuple[Gains, pl.DataFrame]:
    study = axes(results.scores)
    drawn = resample(results.outcomes)
    return gains(drawn, study), sizes(gains_by_seed(drawn, study), study)


def test_the_slope_is_least_squares_of_the_gain_over_log_size():
    found, frame = of(make_results(gain_by_size(10.0), examples=50))
    row = frame.row(by_predicate=(pl.col("recipe") == "mini-squad") & (pl.col("target") == "mini-qa"), named=True)
    means = found.frame.filter(
        pl.col("recipe") == "mini-squad", pl.col("target") == "mini-qa", pl.col("language") == ZERO_SHOT
    )
    expected = np.polyfit(np.log10([SIZES[label] for label in means["encoder"]]), means["gain"], 1)[0]
    assert row["slope"] == pytest.approx(expected)
    assert (row["n_sizes"], row["smallest"], row["largest"]) == (3, min(SIZES.values()), max(SIZES.values()))


@pytest.mark.parametrize(("points", "at_smallest", "verdict"), [(25.0, 0.0, GROWS), (-25.0, 20.0, SHRINKS)])
def test_known_slopes_are_found(points: float, at_smallest: float, verdict: str):
    results = make_results(gain_by_size(points, at_smallest=at_smallest), examples=200, seeds=(0, 1, 2))
    _, frame = of(results)
    known = frame.filter(pl.col("recipe") == "mini-squad")
    assert known["verdict"].to_list() == [verdict, verdict]
    assert known["low"].to_numpy() == pytest.approx(points, abs=25)
    assert ((known["low"] < points) & (points < known["high"])).all()


def test_no_slope_is_no_evidence():
    _, frame = of(make_results(examples=100, random_state=3))
    assert frame["verdict"].to_list().count(UNDECIDED) >= 5


def test_two_sizes_are_too_few_and_one_has_no_slope():
    two = {"bundled/e5-small@3": 5_000_000, "bundled/e5-small@6": 10_000_000}
    _, frame = of(make_results(encoders=two, examples=20))
    assert set(frame["verdict"]) == {TOO_FEW} and frame["slope"].is_not_null().all()
    _, frame = of(make_results(encoders={"bundled/e5-small@3": 5_000_000}, examples=20))
    assert set(frame["verdict"]) == {TOO_FEW} and frame["slope"].is_null().all()


def test_families_are_kept_apart_and_random_encoders_left_out():
    encoders = {**SIZES, "xlm-roberta-base": 85_000_000, "bundled/e5-small@6 random": 10_650_624}
    _, frame = of(make_results(encoders=encoders, examples=20))
    by_family = dict(frame.group_by("family").agg(pl.col("n_sizes").max()).iter_rows())
    assert by_family == {"bundled/e5-small": 3, "xlm-roberta-base": 1, ALL_ENCODERS: 4}
