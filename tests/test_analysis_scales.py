import numpy as np
import pytest

from xstilts.analysis.scales import ERROR, LOGIT, POINTS, SCALES


@pytest.mark.parametrize(
    ("without", "score", "points", "error", "logit"),
    # Flan-PaLM on TyDiQA, one-shot exact match (Chung et al. 2022, table 20): fewer points, as much of the error.
    [(25.0, 47.5, 22.5, 30.0, 1.00), (40.5, 58.7, 18.2, 30.6, 0.74), (52.9, 67.8, 14.9, 31.6, 0.63)],
)
def test_a_published_gain_on_three_scales(without: float, score: float, points: float, error: float, logit: float):
    gains = [float(scale.gain(np.float64(score), np.float64(without), 1000)) for scale in SCALES]
    assert gains == pytest.approx([points, error, logit], abs=0.05)


def test_scores_at_the_ends_are_half_an_example_away():
    none, all_, half = (np.array([score]) for score in (0.0, 100.0, 50.0))
    assert LOGIT.gain(half, none, 100) == pytest.approx(np.log(99.5 / 0.5))
    assert LOGIT.gain(all_, half, 10) == pytest.approx(np.log(95 / 5))
    assert ERROR.gain(all_, all_, 100) == 0 and np.isfinite(ERROR.gain(half, all_, 100)).all()
    assert POINTS.gain(all_, none, 10) == 100, "points are what they are"


def test_a_score_that_is_not_there_stays_so():
    assert all(np.isnan(scale.gain(np.array([np.nan]), np.array([1.0]), 10)).all() for scale in SCALES)
