import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.meta_analysis import combine_effects

from xstilts.analysis.meta import random_effects

# Kacker 2004, "Combining information from interlaboratory evaluations using a random effects model", as statsmodels'
# tests have it (stats/tests/results/results_meta.py), with what R's metafor gives by method="DL", test="knha".
KACKER = (
    [61.0, 61.4, 62.21, 62.3, 62.34, 62.6, 62.7, 62.84, 65.9],
    np.sqrt([0.2025, 1.2100, 0.0900, 0.2025, 0.3844, 0.5625, 0.0676, 0.0225, 1.8225]),
)


def test_a_published_example():
    found = random_effects(*KACKER)
    assert np.sqrt(found.tau2) == pytest.approx(0.5359, abs=1e-3), "Kacker 2004, table 1"
    assert found.tau2 == pytest.approx(0.288049246973751, abs=1e-10)
    assert found.q == pytest.approx(24.801897741835, abs=1e-10)
    assert found.q_p == pytest.approx(0.00167935146372742, abs=1e-12)
    assert found.effect == pytest.approx(62.3901386044504, abs=1e-10)
    assert found.error == pytest.approx(0.29477605699879, abs=1e-10)
    assert (found.low, found.high) == pytest.approx((61.710383798052, 63.0698934108488), abs=1e-10)
    assert found.i2 == pytest.approx(67.744403741711, abs=1e-8)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of statsmodels, where its variance is negative
@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(0.1, 5)), min_size=2, max_size=8))
def test_as_statsmodels_has_it(pairs):
    effects, errors = map(np.array, zip(*pairs, strict=True))
    found, other = random_effects(effects, errors), combine_effects(effects, errors**2, method_re="dl")
    assert found.q == pytest.approx(other.q, abs=1e-6)
    assert found.tau2 == pytest.approx(max(0.0, other.tau2), abs=1e-6)
    assert effects.min() - 1e-9 <= found.effect <= effects.max() + 1e-9
    if other.tau2 > 0:
        assert found.effect == pytest.approx(other.mean_effect_re, abs=1e-6)
        assert found.error == pytest.approx(max(other.sd_eff_w_re, other.sd_eff_w_re_hksj), abs=1e-6)


def test_with_few_studies_the_interval_holds_the_truth():
    rng = np.random.default_rng(0)
    for k, tau in ((2, 1.0), (3, 0.0), (5, 1.0)):
        inside = 0
        for _ in range(1000):
            errors = rng.uniform(0.3, 2.0, k)
            found = random_effects(rng.normal(3.0, np.sqrt(errors**2 + tau**2)), errors)
            inside += found.low <= 3.0 <= found.high
        assert inside >= 930


def test_equal_effects_have_no_heterogeneity():
    found = random_effects([2.0, 2.0], [1.0, 1.0])
    assert (found.effect, found.tau2, found.q, found.q_p, found.i2) == (2.0, 0.0, 0.0, 1.0, 0.0)
    assert found.error == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize(
    ("effects", "errors"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, 2.0], [1.0, 0.0]), ([1.0, np.nan], [1.0, 1.0])]
)
def test_what_cannot_be_pooled(effects, errors):
    with pytest.raises(ValueError, match=r"at least two|must be numbers"):
        random_effects(effects, errors)
