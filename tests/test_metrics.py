import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.metrics import Outcome, accuracy, value

OUTCOMES = st.lists(
    st.integers(0, 20).flatmap(lambda d: st.tuples(st.integers(0, d), st.just(d))).map(lambda nd: Outcome(*nd)),
    min_size=1,
)


def test_accuracy_is_in_points():
    assert value([accuracy("neutral", "neutral"), accuracy("neutral", "entailment")]) == 50.0
    assert value([accuracy(3, 3)]) == 100.0


def test_no_outcomes_is_an_error():
    with pytest.raises(ValueError, match="no outcomes"):
        value([])


@given(OUTCOMES)
def test_a_value_is_between_0_and_100_and_does_not_depend_on_order(outcomes):
    assert 0.0 <= value(outcomes) <= 100.0
    assert value(outcomes[::-1]) == value(outcomes)
    assert value(outcomes * 3) == pytest.approx(value(outcomes))
