"""Mining: find the pairs of sentences in two corpora that translate each other (BUCC 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xstilts.tasks.formats import Outcomes
from xstilts.tasks.task import Task

#: The prediction for a sentence whose translation is not there.
NONE = "-"
#: Between the ids of a prediction: they come from a table whose columns it parts, so that none holds it.
SEPARATOR = "\t"


def pairs(examples: Sequence[MiningExample], predictions: Sequence[str]) -> list[tuple[str, str]]:
    """The mined pairs of ids, foreign and English, by the chosen block: what BUCC's submission files hold."""
    partners = (prediction.split(SEPARATOR, 1)[0] for prediction in predictions)
    return [(example.id, id) for example, id in zip(examples, partners, strict=True) if id != NONE]


def score(examples: Sequence[MiningExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
    """F1 of the mined pairs: ``f1`` by the chosen block, ``f1@n`` by block n, ``f1@dev`` by the block best on dev.

    An English sentence, and one that neither has a translation nor was given one, adds nothing: (0, 0).
    """
    width = max((prediction.count(SEPARATOR) + 1 for prediction in predictions), default=0)
    columns: list[list[tuple[float, float]]] = [[] for _ in range(width)]
    for example, prediction in zip(examples, predictions, strict=True):
        gold = set(example.translations or ())
        ids = [NONE] * width if example.english else prediction.split(SEPARATOR)
        for outcomes, id in zip(columns, ids, strict=True):
            outcomes.append((2.0 * (id in gold), float(len(gold) + (id != NONE))))
    names = ["f1", "f1@dev", *(f"f1@{block}" for block in range(width - 2))]
    return dict(zip(names, columns, strict=True))


@dataclass(frozen=True, slots=True)
class MiningExample:
    """A sentence of one of two corpora in which translations are to be found.

    ``translations`` are the ids of the English sentences that translate a sentence of the other language; None
    without gold, and for English ones.
    """

    id: str
    text: str
    english: bool
    translations: tuple[str, ...] | None
