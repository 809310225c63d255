import math
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xstilts.tasks.metrics.bucc import Candidate, best_threshold, f1, mined

CANDIDATES = st.lists(
    st.tuples(st.integers(0, 5), st.one_of(st.integers(1, 4).map(float), st.floats(0.01, 5))), max_size=8
).map(lambda rows: [Candidate(i, target, margin) for i, (target, margin) in enumerate(rows)])
GOLD = st.sets(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=8)


def value(pairs, gold):
    numerator, denominator = f1(pairs, gold)
    return numerator / denominator


@given(CANDIDATES, GOLD)
@example([Candidate(0, 0, 1.0), Candidate(1, 0, math.nextafter(1.0, 0.0))], {(0, 0)})  # nothing is midway
def test_the_best_threshold_is_the_best_of_all(candidates, gold):
    best = max(value(mined(candidates, t), gold) for t in [math.inf, *(c.margin for c in candidates)])
    assert value(mined(candidates, best_threshold(candidates, gold)), gold) == best


def test_the_threshold_is_midway_between_the_last_that_counts_and_the_next():
    candidates = [Candidate(0, 0, 3.0), Candidate(1, 1, 2.0), Candidate(2, 2, 1.0)]
    assert best_threshold(candidates, {(0, 0), (1, 1)}) == 1.5
    assert best_threshold(candidates[::-1], {(0, 0), (1, 1)}) == 1.5


def test_all_candidates_may_be_right():
    """XTREME's script looks for the candidate behind the last one and fails."""
    candidates = [Candidate(0, 0, 3.0), Candidate(1, 1, 2.0)]
    assert best_threshold(candidates, {(0, 0), (1, 1)}) == 2.0
    assert mined(candidates, 2.0) == {(0, 0), (1, 1)}


def test_a_threshold_counts_itself():
    assert mined([Candidate(0, 0, 1.5), Candidate(1, 1, 1.25)], 1.5) == {(0, 0)}


def test_no_threshold_parts_equal_margins():
    """Cut between the two, F1 would be 1.0: but a threshold takes both or neither."""
    assert best_threshold([Candidate(0, 0, 1.0), Candidate(1, 1, 1.0)], {(0, 0)}) == 1.0
    candidates = [Candidate(0, 0, 2.0), Candidate(1, 1, 2.0), Candidate(2, 2, 1.0)]
    assert best_threshold(candidates, {(0, 0)}) == 1.5


def test_without_a_right_candidate_the_threshold_takes_all():
    assert best_threshold([Candidate(0, 0, 1.0)], {(1, 1)}) == 0.0
    assert best_threshold([], {(1, 1)}) == 0.0


def test_a_threshold_needs_gold():
    with pytest.raises(ValueError, match="needs gold pairs"):
        best_threshold([Candidate(0, 0, 1.0)], set())


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3))), GOLD)
def test_f1_is_that_of_sets_and_adds_up(pairs, gold):
    common = len(pairs & gold)
    if common:
        precision, recall = common / len(pairs), common / len(gold)
        assert value(pairs, gold) == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert value(pairs, gold) == 0.0
    by_source = Counter()
    for i in range(10):
        numerator, denominator = f1({p for p in pairs if p[0] == i}, {p for p in gold if p[0] == i})
        by_source.update(numerator=numerator, denominator=denominator)
    assert (by_source["numerator"], by_source["denominator"]) == f1(pairs, gold)
