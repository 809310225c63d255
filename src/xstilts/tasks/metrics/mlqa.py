"""Exact match and F1 of MLQA, whose official script normalises answers by language.

Source: mlqa_evaluation_v1.py (facebookresearch/MLQA, commit 5ef5c731; Lewis et al. 2020, arXiv 1910.07475), which
XTREME and jiant copy. The language is that of the passage, and so of the answers; the question may be in another.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

from xstilts.tasks.metrics.squad import bag_f1


def _words(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b({words.replace(' ', '|')})\b")


#: What is dropped as an article; Hindi and Chinese have none.
_ARTICLES = {
    # The script's pattern is "\sال^|ال", of which the first half never matches: every "ال" goes, inside words too.
    "ar": re.compile("ال"),
    "de": _words("ein eine einen einem eines einer der die das den dem des"),
    "en": _words("a an the"),
    "es": _words("un una unos unas el la los las"),
    "hi": None,
    "vi": _words("của là cái chiếc những"),
    "zh": None,
}
_HANZI = re.compile("[\u4e00-\u9fa5]")


def normalize_answer(text: str, language: str) -> str:
    """Lower case without punctuation, ``language``'s articles and superfluous white space, in this order.

    Punctuation is Unicode's (categories P*) and ASCII's. Of Chinese, each character of U+4E00 to U+9FA5 becomes a
    word. Raises ValueError for a language that MLQA does not have.
    """
    if language not in _ARTICLES:
        raise ValueError(f"MLQA has no rules for language {language!r}, only for {', '.join(_ARTICLES)}")
    kept = "".join(char for char in text.lower() if not _is_punctuation(char))
    articles = _ARTICLES[language]
    if articles:
        kept = articles.sub(" ", kept)
    if language == "zh":
        kept = _HANZI.sub(r" \g<0> ", kept)
    return " ".join(kept.split())


def exact_match(prediction: str, golds: Sequence[str], language: str) -> float:
    """1.0 when the prediction equals one of ``golds`` after normalisation, else 0.0.

    Raises ValueError without golds, and for a language that MLQA does not have.
    """
    normalized = normalize_answer(prediction, language)
    return max(float(normalized == normalize_answer(gold, language)) for gold in golds)


def f1(prediction: str, golds: Sequence[str], language: str) -> float:
    """Largest F1, 0 to 1, between the bags of words of the prediction and of one of ``golds``.

    A gold of which normalisation leaves nothing gives 0, even to an equal prediction. Raises ValueError without
    golds, and for a language that MLQA does not have.
    """
    words = normalize_answer(prediction, language).split()
    return max(bag_f1(words, normalize_answer(gold, language).split()) for gold in golds)


def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")
