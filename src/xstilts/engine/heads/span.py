"""Span extraction: windows over the passage, and the best span over them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from xstilts.common.arrays import Ints
from xstilts.encoders.packing import reads_at_end
from xstilts.engine.heads import Head, InPython
from xstilts.engine.rows import Row
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.task import Task

#: Labels of a window's tokens: the head tells the first token of an answer, and the last.
NEITHER, FIRST, LAST = 0, 1, 2  # FIRST + LAST: an answer of one token, or the null token of a window without one

#: Of tokens outside of a passage, in place of their logits.
FLOOR = torch.finfo(torch.float32).min / 4

MAX_ANSWER_TOKENS = 30  # run_qa, jiant core.py:366-376 and XTREME alike


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a passage that a row holds: token positions [first, last] and their character offsets [n, 2].

    ``null`` is the position of the token that says "no answer".
    """

    first: int
    last: int
    null: int
    offsets: np.ndarray

    def packed(self) -> np.ndarray:
        return np.concatenate([[self.first, self.last, self.null], self.offsets.reshape(-1)])

    @classmethod
    def of(cls, row: Row) -> Window:
        first, last, null = row.window[:3].tolist()
        return cls(first, last, null, row.window[3:].reshape(-1, 2))


@dataclass(frozen=True)
class _Tokens:
    ids: np.ndarray  # [n]
    offsets: np.ndarray  # [n, 2], characters


@dataclass(frozen=True)
class _Frame:
    """The special tokens around and between question and passage, and the token types of the three parts.

    ``null_at`` is where the token stands that says "no answer": the first, BERT's CLS, or the last (-1) where nothing
    precedes the question, or the encoder is a decoder, whose first token has read nothing.
    """

    before: np.ndarray
    between: np.ndarray
    after: np.ndarray
    types: list[int]  # of the question and what precedes it, of what is between, of the passage and what follows
    null_at: int


def _frame(tokenizer: Any) -> _Frame:
    pair = tokenizer("a", "a")
    parts = pair.sequence_ids()
    question, passage = parts.index(0), parts.index(1)
    middle, end = len(parts) - parts[::-1].index(0), len(parts) - parts[::-1].index(1)
    ids = np.asarray(pair["input_ids"], np.int32)
    types = pair["token_type_ids"] if "token_type_ids" in tokenizer.model_input_names else None
    of_parts = [types[i] for i in (question, middle, passage)] if types else []
    null_at = 0 if question and not reads_at_end(tokenizer) else -1
    return _Frame(ids[:question], ids[middle:passage], ids[end:], of_parts, null_at)


def _tokens(texts: list[str], tokenizer: Any) -> dict[str, _Tokens]:
    """The tokens of each text, without special ones. Every text is read once: many questions share a passage."""
    encoded = tokenizer(
        texts, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
    )
    return {
        text: _Tokens(np.asarray(ids, np.int32), np.asarray(offsets, np.int32).reshape(-1, 2))
        for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    }


def _windows(tokens: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """[start, end) of each window: ``room`` tokens, the last fewer, sharing ``stride`` with the one before."""
    start = 0
    while start < tokens:
        end = min(start + room, tokens)
        yield start, end
        if end == tokens:
            return
        start += room - stride


def _target(example: SpanExample, window: Window) -> tuple[int, int]:
    if not example.answers:
        return (window.null, window.null)
    start = example.answers[0].start
    end = start + len(example.answers[0].text)
    if start < window.offsets[0, 0] or end > window.offsets[-1, 1]:
        return (window.null, window.null)
    # The first token that ends behind the start, the last that begins before the end: pieces may carry a space.
    first = int(np.searchsorted(window.offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(window.offsets[:, 0], end, side="left")) - 1
    return (window.first + first, window.first + max(first, last))


@dataclass(frozen=True, slots=True)
class Spans:
    """The best spans of one window, from the best down: scores [k], character offsets [k]; at least one."""

    scores: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    null: float  # score of "no answer"


def best_spans(rows: Sequence[Row], outputs: Any, k: int) -> list[Spans]:
    """The ``k`` best spans of each window: those of at most 30 tokens inside the passage, by the sum of two logits.

    They are looked for among all spans, without a loop over tokens; run_qa (utils_qa.py) and XTREME look only at
    those from the 20 best starts to the 20 best ends, and so find no better one.
    """
    scores, null = _scores(rows, outputs)
    return _best(rows, scores, null, k)


def _scores(rows: Sequence[Row], outputs: Any) -> tuple[torch.Tensor, list[float]]:
    """The sum of two logits of each span, [rows, length, reach]: from token i to i + j; `FLOOR` and less of those that
    leave the passage. And of each window the score of "no answer"."""
    start, end = outputs.start_logits.float(), outputs.end_logits.float()  # [rows, length]
    length = start.shape[1]
    edges = torch.tensor([row.window[:3].tolist() for row in rows], device=start.device)
    positions = torch.arange(length, device=start.device)
    outside = (positions < edges[:, :1]) | (positions > edges[:, 1:2])
    each = torch.arange(len(rows), device=start.device)
    null = (start[each, edges[:, 2]] + end[each, edges[:, 2]]).tolist()
    start, end = start.masked_fill(outside, FLOOR), end.masked_fill(outside, FLOOR)
    reach = min(MAX_ANSWER_TOKENS, length)
    padded = torch.nn.functional.pad(end, (0, reach - 1), value=FLOOR)
    return start.unsqueeze(-1) + padded.unfold(1, reach, 1), null


def _best(rows: Sequence[Row], scores: torch.Tensor, null: Sequence[float], k: int) -> list[Spans]:
    length, reach = scores.shape[1:]
    best = scores.flatten(1).topk(min(k, length * reach))
    spans = []
    found = best.values.cpu().numpy(), best.indices.cpu().numpy()
    for window, own, flat, nothing in zip(map(Window.of, rows), *found, null, strict=True):
        inside = own > FLOOR / 2
        first, more = np.divmod(flat[inside], reach)
        offsets = window.offsets
        starts, ends = offsets[first - window.first, 0], offsets[first - window.first + more, 1]
        spans.append(Spans(own[inside].astype(float), starts, ends, nothing))
    return spans


@dataclass(frozen=True)
class NBest:
    """Decodes to the ``n`` best answers of each example, in place of the best one."""

    n: int

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        """The best spans of each window, and the log of the sum of exp(score) over all that it has."""
        scores, null = _scores(rows, outputs)
        totals = torch.logsumexp(scores.flatten(1).double(), 1).tolist()
        return list(zip(_best(rows, scores, null, self.n), totals, strict=True))

    def assemble(
        self, examples: Sequence[SpanExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
    ) -> list[str]:
        """JSON lists of text and probability from the best answer down.

        The probability is exp(score) over its sum over all spans of at most 30 tokens in all of the example's windows,
        and "no answer" (the least over the windows, as the empty text) where the task has unanswerable questions; that
        stands in the list even if others are better, as in run_qa. So it is the same for every ``n``, and those of a
        list sum to 1 at most; nbest_predictions.json of run_qa shares 1 out
        among the listed ones. A text is named once, with the score of its best span; a span that two windows hold is
        two spans.
        """
        scored: list[dict[str, float]] = [{} for _ in examples]
        totals: list[list[float]] = [[] for _ in examples]
        null = [math.inf] * len(examples)
        for row, (spans, total) in zip(rows, reduced, strict=True):
            texts, context = scored[row.example], examples[row.example].context
            totals[row.example].append(total)
            null[row.example] = min(null[row.example], spans.null)
            for value, start, end in zip(spans.scores.tolist(), spans.starts, spans.ends, strict=True):
                text = context[start:end].strip()
                texts[text] = max(value, texts.get(text, value))
        if task.unanswerable:
            for texts, of_windows, nothing in zip(scored, totals, null, strict=True):
                if of_windows:
                    texts[""] = max(nothing, texts.get("", nothing))
                    of_windows.append(nothing)
        return [
            json.dumps(
                _with_probabilities(texts, np.logaddexp.reduce(of_windows), self.n, task.unanswerable),
                ensure_ascii=False,
            )
            for texts, of_windows in zip(scored, totals, strict=True)
        ]


def _with_probabilities(scores: Mapping[str, float], total: float, n: int, none: bool) -> list[dict[str, Any]]:
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    best = ordered[:n] + [item for item in ordered[n:] if item[0] == "" and none]
    return [{"text": text, "probability": math.exp(value - total)} for text, value in best]


class SpanHead(Head[SpanExample]):
    AUTO_CLASS = "AutoModelForQuestionAnswering"
    of_tokens = True
    ONNX = ("start_logits", "end_logits")
    OUTPUTS = "torch.stack([(said := model(**inputs)).start_logits, said.end_logits], -1)"

    def make_rows(
        self, examples: Sequence[SpanExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        """One row a window of ``max_length`` tokens, neighbours sharing ``doc_stride``.

        The target is the (first, last) token of the first gold answer, or twice the null token (CLS), where the window
        does not hold it whole; only the first answer is learnt, as in run_qa and jiant.
        """
        frame = _frame(tokenizer)
        questions = _tokens([example.question.lstrip() for example in examples], tokenizer)
        passages = _tokens(list(dict.fromkeys(example.context for example in examples)), tokenizer)
        rows = []
        for i, example in enumerate(examples):
            if training and not example.has_gold:
                continue
            question = questions[example.question.lstrip()].ids[: lengths.max_query_length]
            passage = passages[example.context]
            head = np.concatenate([frame.before, question, frame.between])
            room = lengths.max_length - len(head) - len(frame.after)
            for start, end in _windows(len(passage.ids), room, lengths.doc_stride):
                ids = np.concatenate([head, passage.ids[start:end], frame.after])
                window = Window(
                    len(head), len(head) + end - start - 1, frame.null_at % len(ids), passage.offsets[start:end]
                )
                types = None
                if frame.types:
                    counts = len(frame.before) + len(question), len(frame.between), len(ids) - len(head)
                    types = [np.repeat(frame.types, counts)]
                # Training reads no answer back: without offsets its rows take a third of the room.
                rows.append(Row(i, [ids], types, _target(example, window), None if training else window.packed()))
        return rows

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        return {
            "start_positions": torch.tensor([int(row.target[0]) for row in rows]),
            "end_positions": torch.tensor([int(row.target[1]) for row in rows]),
        }

    def loss(self, model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The mean of two cross entropies, of the first and of the last token, over all tokens of a row.

        The model's own loss lets padding take part, so that it would depend on the other rows of a batch.
        """
        outputs = model(**{name: tensor for name, tensor in inputs.items() if not name.endswith("_positions")})
        padding = inputs["attention_mask"] == 0
        ends = ((outputs.start_logits, inputs["start_positions"]), (outputs.end_logits, inputs["end_positions"]))
        losses = [
            torch.nn.functional.cross_entropy(logits.float().masked_fill(padding, -torch.inf), positions)
            for logits, positions in ends
        ]
        return (losses[0] + losses[1]) / 2

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        """The best span of each window, and the score of "no answer"."""
        return best_spans(rows, outputs, 1)

    def assemble(
        self, examples: Sequence[SpanExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
    ) -> list[str]:
        """The best span over an example's windows.

        Where the task has unanswerable questions, the null odds stand before it, with a tab between: the score of "no
        answer" (the least over the windows) minus that of the span, as in run_qa and SQuAD's null_odds.json.
        """
        best: list[tuple[float, int, int]] = [(float("-inf"), 0, 0)] * len(examples)
        null = [float("inf")] * len(examples)
        for row, spans in zip(rows, reduced, strict=True):
            null[row.example] = min(null[row.example], spans.null)
            if spans.scores[0] > best[row.example][0]:
                best[row.example] = float(spans.scores[0]), int(spans.starts[0]), int(spans.ends[0])
        found = [example.context[start:end].strip() for example, (_, start, end) in zip(examples, best, strict=True)]
        if not task.unanswerable:
            return found
        return [f"{null[i] - best[i][0]}\t{answer}" for i, answer in enumerate(found)]

    def best(self, n: int) -> NBest:
        return NBest(n)

    def in_python(self, task: Task, tokenizer: Any, lengths: Lengths, block: int | None, pooling: str) -> InPython:
        null = "0" if _frame(tokenizer).null_at == 0 else 'inputs["attention_mask"].sum(1) - 1'
        none = f"""
none = said[torch.arange(len(said)), {null}].sum(-1).min()
answer = "" if none > scores.max() else answer"""
        return InPython(
            'question = "Where does she live?"\ncontext = "She lives in Nairobi, and works in Thika."',
            "question, context",
            f"""inputs = tokenizer(
    question, context, truncation="only_second", max_length={lengths.max_length}, stride={lengths.doc_stride},
    return_overflowing_tokens=True, return_offsets_mapping=True, padding=True, return_tensors="pt",
)
passage = torch.tensor([[part == 1 for part in inputs.sequence_ids(i)] for i in range(len(inputs["input_ids"]))])
offsets = inputs.pop("offset_mapping")
inputs.pop("overflow_to_sample_mapping")
said = outputs(inputs)  # of each window and token: the first of the answer? the last?
first, last = said.masked_fill(~passage[:, :, None], -1e9).unbind(-1)
scores = first[:, :, None] + last[:, None, :]
near = torch.ones_like(scores[0]).triu().tril({MAX_ANSWER_TOKENS - 1}).bool()  # {MAX_ANSWER_TOKENS} tokens at most
scores = scores.masked_fill(~near, -1e9)
window, i, j = (int(n) for n in torch.unravel_index(scores.argmax(), scores.shape))
answer = context[offsets[window, i, 0] : offsets[window, j, 1]].strip()"""
            + (none if task.unanswerable else ""),
            f"questions of up to {lengths.max_query_length} tokens; xstilts cuts longer ones to that",
        )

    def probe(self, row: Row, some: Callable[[Ints], Ints]) -> tuple[Ints | None, Ints]:
        """The null token (CLS), the answer's first and last, and some others of the passage, with their part in it.

        `NEITHER`, `FIRST`, `LAST`, or both. It is our choice: the official code of Poth et al. 2021 (arXiv 2104.08247,
        run_model_features.py) makes a whole window one vector, of the label start + 2 · end.
        """
        window = Window.of(row)
        first, last = int(row.target[0]), int(row.target[1])
        places = np.unique(np.concatenate([[window.null, first, last], some(np.arange(window.first, window.last + 1))]))
        return places, FIRST * (places == first) + LAST * (places == last)


HEAD = SpanHead()
