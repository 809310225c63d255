"""Exact match and F1 of extractive question answering, as SQuAD's official scripts compute them.

Sources: evaluate-v1.1.py (Rajpurkar et al. 2016) and evaluate-v2.0.py (Rajpurkar et al. 2018). XTREME scores XQuAD
and TyDiQA with the v1.1 rules in every language, English articles included (google-research/xtreme,
third_party/evaluate_squad.py). MLQA has rules of its own: :mod:`xstilts.tasks.metrics.mlqa`.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

_DROP_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower case without ASCII punctuation, English articles and superfluous white space, in this order."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DROP_PUNCTUATION)).split())


def exact_match(prediction: str, golds: Sequence[str], *, unanswerable: bool = False) -> float:
    """1.0 when the prediction equals one of ``golds`` after normalisation, else 0.0.

    No ``golds``: the question has no answer, and the empty prediction is right. ``unanswerable`` says that the data
    set has such questions; the v2.0 script then passes over golds of which normalisation leaves nothing, which
    v1.1 keeps (SQuAD dev has three golds ".").
    """
    normalized = normalize_answer(prediction)
    return max(float(normalized == gold) for gold in _normalized(golds, unanswerable))


def f1(prediction: str, golds: Sequence[str], *, unanswerable: bool = False) -> float:
    """Largest F1, 0 to 1, between the bags of words of the prediction and of one of ``golds``.

    No ``golds``: 1.0 when the prediction is empty too. ``unanswerable`` as in :func:`exact_match`; without it a gold
    of which normalisation leaves nothing gives 0, even to an equal prediction, as in v1.1.
    """
    words = normalize_answer(prediction).split()
    both_empty = 1.0 if unanswerable or not golds else 0.0
    return max(bag_f1(words, gold.split(), both_empty) for gold in _normalized(golds, unanswerable))


def bag_f1(predicted: Sequence[str], gold: Sequence[str], both_empty: float = 0.0) -> float:
    """F1, 0 to 1, between two bags of words; ``both_empty`` where neither holds any."""
    if not predicted and not gold:
        return both_empty
    common = (Counter(predicted) & Counter(gold)).total()
    if not common:
        return 0.0
    precision = common / len(predicted)
    recall = common / len(gold)
    return 2 * precision * recall / (precision + recall)


class Threshold(NamedTuple):
    """Answers are given where the null odds are at most ``value``; ``score`` is the mean, 0 to 1, that comes of it."""

    value: float
    score: float


def best_threshold(null_odds: Sequence[float], scores: Sequence[float], answerable: Sequence[bool]) -> Threshold:
    """The threshold that makes the mean score of a set with unanswerable questions largest; of several, the least.

    For each question: ``null_odds``, the score of "no answer" minus that of the best answer; ``scores``, exact match
    or F1 of that answer, 0 to 1; ``answerable``, whether the question has one. Called with exact match it gives
    best_exact and best_exact_thresh of evaluate-v2.0.py (find_best_thresh), with F1 best_f1 and best_f1_thresh.

    It differs from the script where that reports what no threshold reaches: between questions of equal odds there is
    none, and where no answer at all is best the script says 0.0, here -inf. Raises ValueError for an empty set and
    when the lengths differ.
    """
    questions = sorted(zip(null_odds, scores, answerable, strict=True))
    if not questions:
        raise ValueError("a threshold needs at least one question")
    total = best = float(sum(not has_answer for _, _, has_answer in questions))  # when nothing is answered
    value = -math.inf
    for odds, equal in groupby(questions, key=itemgetter(0)):
        total += sum(score if has_answer else score - 1.0 for _, score, has_answer in equal)
        if total > best:
            value, best = odds, total
    return Threshold(value, best / len(questions))


def _normalized(golds: Sequence[str], unanswerable: bool) -> list[str]:
    normalized = [normalize_answer(gold) for gold in golds]
    if unanswerable:
        normalized = [gold for gold in normalized if gold]
    return normalized or [""]
