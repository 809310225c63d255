"""One file a format: examples → rows of token ids → model targets → predictions → scores.

A format is a module with the functions of :class:`Format`. Predictions are strings, one an example, so that every
format's predictions fit one table: an answer (after its null odds and a tab, where there may be none), a label, the
index of a choice, tags joined by spaces, a pair's id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

#: metric → one (numerator, denominator) an example; the score is 100 · Σ numerator / Σ denominator.
Outcomes = dict[str, list[tuple[float, float]]]


def most_frequent(gold: Iterable[str]) -> str:
    """The first in the alphabet, if tied."""
    counts = Counter(gold)
    return min(counts, key=lambda each: (-counts[each], each), default="")
