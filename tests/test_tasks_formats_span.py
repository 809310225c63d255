"""What a threshold on answers comes to, by hand and by SQuAD's own rules."""

from __future__ import annotations

import math
from typing import Any

import pytest

from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats import Abstention
from xstilts.tasks.formats.span import FORMAT, GoldAnswer, SpanExample

TASK = builtin_catalog()["squad_v2"]

#: Null odds, answer, gold: sure and right, fairly sure and half right, unsure and wrong, twice.
QUESTIONS = [(-5.0, "Bonn", "Bonn"), (-0.5, "in Bonn", "Bonn"), (0.5, "Rome", "Bonn"), (2.0, "Rome", None)]
EXAMPLES = [SpanExample(str(i), "in Bonn", "Where?", (GoldAnswer(gold, 3),) if gold else ())
            for i, (_, _, gold) in enumerate(QUESTIONS)]  # fmt: skip
PREDICTIONS = [f"{odds}\t{answer}" for odds, answer, _ in QUESTIONS]
HALF = 100 * 2 / 3  # F1 of "in Bonn"


def at(threshold: float) -> Abstention:
    (found,) = [one for one in FORMAT.abstentions(EXAMPLES, PREDICTIONS, TASK) if one.threshold == threshold]
    return found


def test_what_thresholds_cost() -> None:
    assert at(0.0)[1:] == (1.0, 25.0, pytest.approx((100 + HALF) / 4), 25.0, pytest.approx((100 + HALF) / 4))
    assert at(0.5)[1:] == (0.5, 50.0, pytest.approx((100 + HALF) / 2), 50.0, pytest.approx((200 + HALF) / 4))
    assert at(0.95)[1:] == (0.25, 100.0, 100.0, 50.0, 50.0)
    assert FORMAT.abstentions(EXAMPLES, ["9\tx"] * 4, TASK)[-1][1:] == (0.0, None, None, 25.0, 25.0)
    assert FORMAT.abstentions(EXAMPLES, ["Bonn"] * 4, builtin_catalog()["xquad"]) == []


def test_an_even_threshold_is_what_is_scored() -> None:
    scored: Any = FORMAT.score(EXAMPLES, PREDICTIONS, TASK, "en")
    for metric in ("f1", "exact_match"):
        mean = 100 * sum(n for n, _ in scored[metric]) / len(EXAMPLES)
        assert getattr(at(0.5), metric) == pytest.approx(mean)
    said = [FORMAT.readable(example, one, TASK) for example, one in zip(EXAMPLES, PREDICTIONS, strict=True)]
    assert said == ["Bonn", "in Bonn", "", ""]


@pytest.mark.parametrize(
    ("odds", "expected"),
    [(0.0, 0.5), (math.log(3), 0.25), (-math.log(3), 0.75), (1e6, 0.0), (-1e6, 1.0)],
)
def test_certainty_is_the_probability_of_the_answer_against_none(odds: float, expected: float) -> None:
    assert FORMAT.confidence(f"{odds}\tx", TASK) == pytest.approx(expected)
