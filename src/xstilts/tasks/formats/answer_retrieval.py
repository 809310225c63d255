"""Answer retrieval: the sentences that answer a question, found among all sentences of all languages (LAReQA).

Roy et al. 2020, arXiv 2004.05484. A prediction is the ranks of a question's answers, one a language, among all
candidates by their nearness to it: numbers from 1, with spaces between; of candidates that are equally near each has
the rank of the last. Where nothing is trained there are such ranks by the chosen block, then by each from the
embeddings to the last, with tabs between.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from xstilts.tasks.formats import Example, Format, GoldAnswer, Outcomes, Trace
from xstilts.tasks.task import Task

#: Between the ranks by one block and those by the next.
SEPARATOR = "\t"
#: Candidates that XTREME-R looks at.
FIRST = 20
#: Sentences of the passage beside the answer that a question is trained against, at most: all there are for four
#: fifths of SQuAD's questions.
OTHERS = 5


@dataclass(frozen=True, slots=True)
class AnswerRetrievalExample(Example):
    """A question, and the sentences of the passage that it is about, in order.

    ``answer`` is the place, from 0, of the sentence in which the answer begins; None without gold. Questions with the
    same ``id`` in several languages translate one another, and so do the sentences that answer them.
    """

    question: str
    sentences: tuple[str, ...]
    answer: int | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.question, *self.sentences)

    @property
    def inputs(self) -> Sequence[tuple[str, ...]]:
        """The question and sentences are each read by themselves."""
        return [(text,) for text in (self.question, *(self.around or self.sentences))]

    @property
    def around(self) -> tuple[str, ...]:
        """The sentence that answers it, and up to `OTHERS` of the passage, the nearest first; none without gold."""
        answer = self.answer
        if answer is None:
            return ()
        nearest = sorted(range(len(self.sentences)), key=lambda n: abs(n - answer))
        return tuple(self.sentences[n] for n in nearest[: OTHERS + 1])

    @property
    def group(self) -> str:
        return " ".join(self.sentences)

    @property
    def has_gold(self) -> bool:
        return self.answer is not None

    @property
    def fault(self) -> str | None:
        if self.answer is not None and not 0 <= self.answer < len(self.sentences):
            return f"answer {self.answer} of {len(self.sentences)} sentences; they count from 0"
        return None

    def traces(self, language: str) -> Iterator[Trace]:
        yield Trace("passage", language, (self.group,))
        yield Trace("question", language, (self.question,), by_chance=True)

    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> AnswerRetrievalExample:
        return replace(self, question=texts[0], sentences=tuple(texts[1:]))


class AnswerRetrieval(Format[AnswerRetrievalExample]):
    example = AnswerRetrievalExample
    pipeline_tag = "sentence-similarity"
    heading = "Retrieval"
    typical_tokens = 150.0  # SQuAD, XQuAD-R
    fields = ()
    untranslatable = None
    comparison = "cosine"
    inputs = OTHERS + 2

    def metrics(self, task: Task) -> tuple[str, ...]:
        return ("map", "map20")

    def majority(self, examples: Sequence[AnswerRetrievalExample], task: Task) -> list[str]:
        """The ranks in one order for all questions: first the sentences that answer most of them."""
        asked = Counter((example.sentences, example.answer) for example in examples)
        ranks = {candidate: str(rank) for rank, (candidate, _) in enumerate(asked.most_common(), 1)}
        return [ranks[example.sentences, example.answer] for example in examples]

    def score(
        self, examples: Sequence[AnswerRetrievalExample], predictions: Sequence[str], task: Task, language: str
    ) -> Outcomes:
        """The average precision of each question: ``map`` over all candidates, ``map20`` over the nearest 20.

        Where nothing is trained ``map@n`` and ``map20@n`` are by block n.
        """
        by_example = [
            [[int(rank) for rank in ranks.split()] for ranks in prediction.split(SEPARATOR)]
            for prediction in predictions
        ]
        outcomes: Outcomes = {}
        for n, by_block in enumerate(zip(*by_example, strict=True)):
            block = f"@{n - 1}" if n else ""
            outcomes[f"map{block}"] = [(average_precision(ranks), 1.0) for ranks in by_block]
            outcomes[f"map20{block}"] = [(average_precision(ranks, FIRST), 1.0) for ranks in by_block]
        return outcomes


def average_precision(ranks: Sequence[int], first: int | None = None) -> float:
    """The mean over relevant candidates, which have these ``ranks``, of the share of relevant ones up to each rank.

    As LAReQA has it: scikit-learn's average_precision_score, by `mean_avg_prec` of google-research/xtreme (commit
    4e6401c6), third_party/utils_lareqa.py. With ``first`` = k it is XTREME-R's, Ruder et al. 2021, arXiv 2104.07412,
    by `average_precision_at_k` in the same file (commit 68ff4bec), which puts the equally near in any order: candidates
    beyond rank k add nothing, and of more than k relevant ones the mean is over k. 0 where nothing is relevant.
    """
    counted = sorted(rank for rank in ranks if first is None or rank <= first)
    shares = [bisect_right(counted, rank) / rank for rank in counted]
    return sum(shares) / max(1, len(ranks) if first is None else min(len(ranks), first))


FORMAT = AnswerRetrieval()
