"""F1 of mined pairs of translations, and the threshold that is best for it, as XTREME has them for BUCC 2018.

Source: google-research/xtreme (commit 4940374c), third_party/utils_retrieve.py: read_candidate2score, bucc_optimize,
bucc_extract; evaluate.py: bucc_f1. The threshold is chosen on dev (BUCC's sample split) and applied to test (its
training split).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from typing import NamedTuple

#: Row of the source sentence and row of the target sentence.
Pair = tuple[int, int]


class Candidate(NamedTuple):
    """A pair that may be a translation, by row, with its margin."""

    source: int
    target: int
    margin: float


def best_threshold(candidates: Sequence[Candidate], gold: Collection[Pair]) -> float:
    """The margin from which on candidates count, so that :func:`f1` of what is :func:`mined` is largest.

    Of several the largest; midway between two candidates, or the last one's own margin where all of them count
    (XTREME's script fails there), and 0.0 where none is in ``gold``. Raises ValueError without ``gold``.
    """
    wanted = set(gold)
    if not wanted:
        raise ValueError("a threshold needs gold pairs")
    ranked = sorted(candidates, key=lambda candidate: -candidate.margin)
    threshold, best, correct = 0.0, 0.0, 0
    for count, candidate in enumerate(ranked, 1):
        correct += candidate[:2] in wanted
        below = ranked[count].margin if count < len(ranked) else None
        if below == candidate.margin:  # no threshold parts these two
            continue
        score = 2 * correct / (count + len(wanted))
        if score > best:
            middle = candidate.margin if below is None else (candidate.margin + below) / 2
            threshold, best = candidate.margin if middle == below else middle, score
    return threshold


def mined(candidates: Sequence[Candidate], threshold: float) -> set[Pair]:
    """The pairs whose margin is ``threshold`` or more."""
    return {candidate[:2] for candidate in candidates if candidate.margin >= threshold}


def f1(pairs: Set[Pair], gold: Set[Pair]) -> tuple[float, float]:
    """F1 between two sets of pairs as an outcome: 2·common over the sum of their sizes.

    The outcomes of parts, such as the pairs of each source sentence, add up to that of the whole.
    """
    return 2.0 * len(pairs & gold), float(len(pairs) + len(gold))
