import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from xstilts.analysis.intervals import Spread, holm


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    for n in (1, 2, 40):
        p_values = np.round(rng.beta(0.3, 3, n), 3)  # small ones, and ties
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_leaves_out_what_is_not_defined():
    corrected = holm(np.array([0.01, np.nan, 0.04]))
    assert corrected[[0, 2]] == pytest.approx([0.02, 0.04]) and np.isnan(corrected[1])


def test_equivalence_is_shown_where_the_90_percent_interval_lies_within_the_margin():
    about = Spread(np.full(4, 0.5), np.full(4, 6.0))
    values = np.array([0.0, 0.02, 0.03, 3.0])
    low, high = about.interval(values, 0.9)
    inside = (low > -1) & (high < 1)
    assert ((about.equivalence(values, 1.0) < 0.05) == inside).all() and inside.tolist() == [True, True, False, False]


def test_without_any_variation_the_value_is_certain():
    about = Spread(np.zeros(3), np.full(3, np.inf))
    values = np.array([0.0, 0.5, 1.0])
    assert about.p_values(values).tolist() == [1, 0, 0] and about.detectable().tolist() == [0, 0, 0]
    assert about.equivalence(values, 1.0).tolist() == [0, 0, 0.5]


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 20])
@pytest.mark.parametrize("freedom", [2.0, 4.0, 8.0, 50.0])
def test_the_detectable_effect_is_found_with_the_power_stated(freedom: float, level: float):
    """Against SciPy's noncentral t, of one comparison and of Holm's first step of twenty."""
    effect = Spread(np.array([0.5]), np.array([freedom])).detectable(level).item()
    critical = stats.t.ppf((1 + level) / 2, freedom)
    assert stats.nct.sf(critical, freedom, effect / 0.5) == pytest.approx(0.8, abs=0.015)
