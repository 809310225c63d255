"""Answer retrieval: questions and sentences are compared by their vectors, which training brings together.

A text's vector is the mean over its tokens, special ones included, of the last block's output; nearness is the cosine.
A sentence is read by itself; LAReQA's own models and XTREME-R's read its passage behind it, and take the first token's
vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from xstilts.common.arrays import Ints
from xstilts.common.errors import UserError
from xstilts.common.progress import Sink
from xstilts.engine.heads import class_ids
from xstilts.engine.heads.sentences import Compared, mean, rows_of
from xstilts.engine.inference import Reader, Set
from xstilts.engine.rows import Ids, Row
from xstilts.engine.vectors import Embedded
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.answer_retrieval import OTHERS, SEPARATOR, AnswerRetrievalExample
from xstilts.tasks.task import Task

#: ``window`` of a question's row; that of a sentence's is its place in the passage.
QUESTION = -1
#: What cosines are multiplied with before the softmax: that of XTREME-R's LAReQA (google-research/xtreme, commit
#: 4fd68dc6, third_party/bert.py), and multilingual-e5's (a temperature of 0.01, arXiv 2402.05672).
SCALE = 100.0
#: Questions compared at a time, which bounds the memory of the similarities.
CHUNK = 1024


class AnswerRetrievalHead(Compared[AnswerRetrievalExample]):
    def make_rows(
        self, examples: Sequence[AnswerRetrievalExample], task: Task, tokenizer: Any, lengths: Lengths, *,
        training: bool,
    ) -> list[Row]:  # fmt: skip
        """To train, a row a question: the question, the sentence that answers it, and up to `OTHERS` around that one.

        Where the passage has fewer the last sequences are empty, so that all rows have as many. Else a row a text: a
        question, and behind the first question on a passage the sentences of it.
        """
        if training:
            learnt = {i: example.around for i, example in enumerate(examples) if len(example.around) > 1}
            texts = [text for i, around in learnt.items() for text in (examples[i].question, *around)]
            read = iter(rows_of(texts, tokenizer, lengths) if texts else ())
            return [_together(i, list(islice(read, 1 + len(around)))) for i, around in learnt.items()]
        texts, origins, met = [], [], set()
        for i, example in enumerate(examples):
            sentences = () if example.sentences in met else example.sentences
            met.add(example.sentences)
            texts += [example.question, *sentences]
            origins += [(i, n) for n in range(QUESTION, len(sentences))]
        rows = rows_of(texts, tokenizer, lengths)
        return [Row(i, row.sequences, row.type_ids, window=n) for row, (i, n) in zip(rows, origins, strict=True)]

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        """The place of the answer among the sentences of a row."""
        return class_ids(rows)

    def loss(self, model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Cross entropy of the answer among the sentences of its own passage alone, by their cosine with the question.

        XTREME-R takes the answers of the other questions of the batch (third_party/bert.py), of which a batch that is
        divided would have fewer.
        """
        texts = {name: tensor for name, tensor in inputs.items() if name != "labels"}
        there = texts["attention_mask"].any(-1)  # [rows, sequences]
        hidden = model(**{name: tensor[there] for name, tensor in texts.items()}).last_hidden_state
        pooled = mean(hidden, texts["attention_mask"][there])
        vectors = pooled.new_zeros(*there.shape, pooled.shape[-1])
        vectors[there] = torch.nn.functional.normalize(pooled, dim=-1)
        # Not a product of matrices, which autocast would take in 16 bits: a hundredfold, these are too few.
        cosines = (vectors[:, :1] * vectors[:, 1:]).sum(-1)
        return torch.nn.functional.cross_entropy(
            (SCALE * cosines).masked_fill(~there[:, 1:], -torch.inf), inputs["labels"]
        )

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        """Each text's vector as `Compared.reduce` has it: after every block, or of a trained model after the last."""
        if not isinstance(outputs, tuple):
            hidden = outputs.last_hidden_state
            lengths = torch.tensor([row.length for row in rows], device=hidden.device)
            mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
            outputs = (hidden,), mask, "mean"
        return super().reduce(rows, outputs, task)

    def assemble(
        self, examples: Sequence[AnswerRetrievalExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
    ) -> list[str]:
        """By the trained model, among the sentences of ``examples`` alone."""
        (ranks,) = Pool([(examples, rows)]).ranks([np.concatenate(reduced).__getitem__])
        return ranks

    def probe(self, row: Row, some: Callable[[Ints], Ints]) -> tuple[Ints | None, Ints]:
        raise UserError("answer retrieval has no labels for logme and hscore: name other targets, or methods")

    def embed(self, reader: Reader, sets: Sequence[Set], progress: Sink) -> list[Embedded]:
        """The vectors of each of ``sets``; a trained model is asked for those of its last block."""
        if reader.hidden_layer is None:
            reader = replace(reader, hidden_layer=reader.model.config.num_hidden_layers, pooling="mean")
        return super().embed(reader, sets, progress)

    def compared(self, reader: Reader, embedded: Sequence[Embedded]) -> list[list[str]]:
        """Among the sentences of all sets; where nothing is trained by each block too."""
        pool = Pool([(one.examples, one.rows) for one in reader.sets])
        blocks = [embedded[0].chosen, *(() if reader.hidden_layer is None else range(embedded[0].blocks))]
        by_block = [pool.ranks([partial(vectors.block, n) for vectors in embedded]) for n in blocks]
        return [list(map(SEPARATOR.join, zip(*of_set, strict=True))) for of_set in zip(*by_block, strict=True)]


class Pool:
    """The candidates of several sets of examples and their rows: the sentences of all passages, each once."""

    def __init__(self, sets: Sequence[tuple[Sequence[AnswerRetrievalExample], Sequence[Row]]]) -> None:
        self._ids = [[example.id for example in examples] for examples, _ in sets]
        self._questions: list[Ints] = []  # of each set, the row of each example's question
        self._sentences: list[Ints] = []  # of each set, the row of each candidate
        self._answers: dict[str, list[int]] = {}  # id → the places of its answers among all candidates
        count = 0
        for examples, rows in sets:
            questions = np.empty(len(examples), np.int64)
            sentences: list[int] = []
            places: dict[tuple[tuple[str, ...], int], int] = {}
            for i, row in enumerate(rows):
                passage, n = examples[row.example].sentences, int(row.window[0])
                if n == QUESTION:
                    questions[row.example] = i
                elif (passage, n) not in places:
                    places[passage, n] = count + len(sentences)
                    sentences.append(i)
            for example in examples:
                if example.answer is not None:
                    self._answers.setdefault(example.id, []).append(places[example.sentences, example.answer])
            count += len(sentences)
            self._questions.append(questions)
            self._sentences.append(np.array(sentences, np.int64))

    def ranks(self, vectors: Sequence[Callable[[Ints], np.ndarray]]) -> list[list[str]]:
        """Predictions for each set, by the ``vectors`` [rows, hidden] of each, L2-normalised, that its rows have."""
        sentences = [take(rows) for take, rows in zip(vectors, self._sentences, strict=True)]
        candidates = np.concatenate(sentences).astype(np.float32).T
        return [
            [
                ranks
                for at in range(0, len(ids), CHUNK)
                for ranks in self._of(take(rows[at : at + CHUNK]).astype(np.float32) @ candidates, ids[at : at + CHUNK])
            ]
            for take, rows, ids in zip(vectors, self._questions, self._ids, strict=True)
        ]

    def _of(self, cosines: np.ndarray, ids: Sequence[str]) -> list[str]:
        """The ranks of each question's answers, by its ``cosines`` [questions, candidates]."""
        answers = [np.array(self._answers.get(id, ()), np.int64) for id in ids]
        ranks = [(own >= own[places, None]).sum(1) for own, places in zip(cosines, answers, strict=True)]
        return [" ".join(map(str, each.tolist())) for each in ranks]


def _together(example: int, texts: Sequence[Row]) -> Row:
    """The training row of a question and sentences, the first of which answers it."""
    empty: list[Ids] = [()] * (OTHERS + 2 - len(texts))
    types = [ids for text in texts for ids in text.type_ids or ()]
    sequences = [*(text.sequences[0] for text in texts), *empty]
    return Row(example, sequences, [*types, *empty] if types else None, target=0)


HEAD = AnswerRetrievalHead()
