"""Span extraction: the answer to a question is a piece of the passage (SQuAD and its relatives)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from xstilts.tasks.formats import EVEN, Abstention, Example, Format, Outcomes, Trace
from xstilts.tasks.formats import GoldAnswer as GoldAnswer
from xstilts.tasks.metrics import mlqa, squad
from xstilts.tasks.task import Task


@dataclass(frozen=True, slots=True)
class SpanExample(Example):
    """A question about a passage. No ``answers`` and ``has_gold``: the question is unanswerable (SQuAD v2)."""

    context: str
    question: str
    answers: tuple[GoldAnswer, ...]
    has_gold: bool = True

    @classmethod
    def completed(cls, record: dict[str, Any]) -> dict[str, Any]:
        """No ``answers``, or null: there is no gold. An empty list of them: the question is unanswerable."""
        has_gold = record.get("answers") is not None
        return {"has_gold": has_gold, **record, "answers": record["answers"] if has_gold else []}

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.context, self.question)

    @property
    def marks(self) -> tuple[GoldAnswer, ...]:
        return self.answers

    @property
    def group(self) -> str:
        return self.context

    def traces(self, language: str) -> Iterator[Trace]:
        passage, _, question = language.partition("-")
        yield Trace("passage", passage, (self.context,))
        yield Trace("question", question or passage, (self.question,), by_chance=True)

    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> SpanExample:
        return replace(self, context=texts[0], question=texts[1], answers=answers)


def answers(predictions: Sequence[str], task: Task, threshold: float = 0.0) -> list[str]:
    """The answers that predictions give; none ("") where their null odds are above ``threshold``."""
    if not task.unanswerable:
        return list(predictions)
    fields = (prediction.partition("\t") for prediction in predictions)
    return [answer if float(odds) <= threshold else "" for odds, _, answer in fields]


def certainty(null_odds: float) -> float:
    """The probability of the best answer against none, exp(answer) / (exp(answer) + exp(none)), of their scores."""
    return 1.0 / (1.0 + math.exp(min(null_odds, 700.0)))


#: Thresholds of certainty whose cost is told.
THRESHOLDS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def _outcomes(
    metric: Callable[[str, list[str]], float], given: Sequence[str], golds: Sequence[list[str]]
) -> list[tuple[float, float]]:
    return [(metric(answer, gold), 1.0) for answer, gold in zip(given, golds, strict=True)]


class Span(Format[SpanExample]):
    example = SpanExample
    pipeline_tag = "question-answering"
    heading = "Question answering"
    beside = "exact_match"
    typical_tokens = 160.0  # SQuAD, XQuAD, MLQA, TyDiQA
    fields = ("question", "context")
    untranslatable = None
    comprehension = True
    windowed = True
    n_best = True

    def metrics(self, task: Task) -> tuple[str, ...]:
        return ("f1", "exact_match", "best_f1", "best_exact_match") if task.unanswerable else ("f1", "exact_match")

    def misfit(self, examples: Iterable[SpanExample], task: Task) -> str | None:
        """Questions without an answer are scored, and told from others, by rules of their own."""
        blank = [example.id for example in examples if example.has_gold and not example.answers]
        if task.unanswerable or not blank:
            return None
        return (
            f"{len(blank):,} questions have no answer, the first {blank[0]!r}, and the entry does not say "
            f"`unanswerable: true`; say so, or remove them"
        )

    def majority(self, examples: Sequence[SpanExample], task: Task) -> list[str]:
        """No answer."""
        return ["inf\t" if task.unanswerable else ""] * len(examples)

    def teaches(self, examples: Sequence[SpanExample], task: Task) -> tuple[list[int], Task]:
        """The questions that have an answer: HasAns F1 of evaluate-v2.0.py, whatever the model thinks of "no answer".

        A model that has learnt where answers stand, but not yet when there is none, scores below "no answer" over all.
        """
        if not task.unanswerable:
            return list(range(len(examples))), task
        answerable = [i for i, example in enumerate(examples) if example.answers]
        return answerable, task.model_copy(update={"unanswerable": False, "metric": "f1"})

    def blind(self, examples: Sequence[SpanExample], task: Task) -> list[str]:
        """The whole passage, whatever the question."""
        return [example.context for example in examples]

    def score(self, examples: Sequence[SpanExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
        """F1 and exact match; where there are unanswerable questions, also at the best threshold of "no answer".

        ``best_f1`` and ``best_exact_match`` have each the threshold that is best for it on these very examples, as
        best_f1 and best_exact of evaluate-v2.0.py, of which jiant's main metric for SQuAD v2 is the mean.
        """
        golds = [[answer.text for answer in example.answers] for example in examples]
        match task.answer_rules:
            case "squad":
                f1 = partial(squad.f1, unanswerable=task.unanswerable)
                exact_match = partial(squad.exact_match, unanswerable=task.unanswerable)
            case "mlqa":
                of_passage = language.split("-")[0]  # of a pair, the question's comes second
                f1, exact_match = partial(mlqa.f1, language=of_passage), partial(mlqa.exact_match, language=of_passage)
        metrics: dict[str, Callable[[str, list[str]], float]] = {"f1": f1, "exact_match": exact_match}
        outcomes = {name: _outcomes(metric, answers(predictions, task), golds) for name, metric in metrics.items()}
        if task.unanswerable:
            odds = [float(prediction.partition("\t")[0]) for prediction in predictions]
            for name, metric in metrics.items():
                scores = [value for value, _ in _outcomes(metric, answers(predictions, task, math.inf), golds)]
                best = squad.best_threshold(odds, scores, [bool(gold) for gold in golds])
                outcomes[f"best_{name}"] = _outcomes(metric, answers(predictions, task, best.value), golds)
        return outcomes

    def readable(self, example: SpanExample, prediction: str, task: Task, least: float = EVEN) -> str:
        """The answer, empty where there is none."""
        certain = self.confidence(prediction, task)
        return "" if certain is not None and certain < least else answers([prediction], task, math.inf)[0]

    def confidence(self, prediction: str, task: Task) -> float | None:
        return certainty(float(prediction.partition("\t")[0])) if task.unanswerable else None

    def said(self, best: Sequence[Mapping[str, Any]], task: Task, least: float = EVEN) -> str:
        answer = next((one for one in best if one["text"]), None)
        if answer is None:
            return ""
        none = next((one["probability"] for one in best if not one["text"]), 0.0)
        certain = answer["probability"] / max(answer["probability"] + none, sys.float_info.min)
        return "" if task.unanswerable and certain < least else str(answer["text"])

    def abstentions(self, examples: Sequence[SpanExample], predictions: Sequence[str], task: Task) -> list[Abstention]:
        """At `THRESHOLDS`, by the rules of SQuAD v2.0."""
        if not task.unanswerable or not examples:
            return []
        golds = [[answer.text for answer in example.answers] for example in examples]
        certain = [self.confidence(prediction, task) or 0.0 for prediction in predictions]
        given = answers(predictions, task, math.inf)
        right = [[metric(answer, gold, unanswerable=True) for answer, gold in zip(given, golds, strict=True)]
                 for metric in (squad.exact_match, squad.f1)]  # fmt: skip
        none = [float(not gold) for gold in golds]
        found = []
        for least in THRESHOLDS:
            kept = [i for i, one in enumerate(certain) if one >= least]
            of_kept = [sum(values[i] for i in kept) for values in right]
            left = sum(none) - sum(none[i] for i in kept)
            answered = [100.0 * total / len(kept) if kept else None for total in of_kept]
            of_all = [100.0 * (total + left) / len(examples) for total in of_kept]
            found.append(Abstention(least, len(kept) / len(examples), answered[0], answered[1], *of_all))
        return found


FORMAT = Span()
