"""Exact match and F1 of extractive question answering, as SQuAD's official scripts compute them.

Sources: evaluate-v1.1.py (Rajpurkar et al. 2016) and evaluate-v2.0.py (Rajpurkar et al. 2018). XTREME scores XQuAD
and TyDiQA with the v1.1 rules in every language, English articles included (google-research/xtreme,
third_party/evaluate_squad.py). MLQA has rules of its own: :mod:`xstilts.metrics.mlqa`.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

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


def _normalized(golds: Sequence[str], unanswerable: bool) -> list[str]:
    normalized = [normalize_answer(gold) for gold in golds]
    if unanswerable:
        normalized = [gold for gold in normalized if gold]
    return normalized or [""]
