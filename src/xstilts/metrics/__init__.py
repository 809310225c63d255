"""The metrics of every task, one outcome an example.

An example's outcome is a numerator and a denominator; a set of examples scores 100 · Σ numerator / Σ denominator.
A mean has denominator 1, an F1 over spans 2·correct over predicted + gold: so any subset, and any bootstrap
resample of examples, is scored from the same rows without the predictions.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple


class Outcome(NamedTuple):
    """One example's share of a metric."""

    numerator: float
    denominator: float


def value(outcomes: Iterable[Outcome]) -> float:
    """The metric over a set of examples, in points (0 to 100).

    0 where the denominators sum to zero: nothing to find and nothing predicted, as conlleval and seqeval have it.
    Raises ValueError when there are no outcomes.
    """
    numerator = denominator = 0.0
    count = 0
    for outcome in outcomes:
        numerator += outcome.numerator
        denominator += outcome.denominator
        count += 1
    if not count:
        raise ValueError("no outcomes to score")
    return 100.0 * numerator / denominator if denominator else 0.0


def accuracy(predicted: Hashable, gold: Hashable) -> Outcome:
    """One decision: a label, the index of a choice, the sentence retrieved for a query."""
    return Outcome(float(predicted == gold), 1.0)
