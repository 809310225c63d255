"""What of a task's examples is turned into vectors, and the label of each vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xstilts.engine.heads.span import Window
from xstilts.engine.rows import Row
from xstilts.tasks.task import Task

#: Tokens of a row that are read beside those with an answer's ends: a passage has hundreds that are neither.
TOKENS = 32

#: Formats whose heads read single tokens; the others read one vector a sequence.
OF_TOKENS = ("span", "tagging")

#: Labels of a span target's tokens, as its head has them: it tells the first token of an answer, and the last.
NEITHER, FIRST, LAST = 0, 1, 2  # FIRST + LAST: an answer of one token, or the CLS token of a window without one

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Probe:
    """Sequences of which vectors are taken, and the label of each vector, where labels are wanted.

    Each row has one sequence; its ``window`` holds the positions of the tokens whose vectors are taken, None where the
    mean over all tokens is.
    """

    rows: Sequence[Row]
    labels: Ints | None = None


def unlabelled(rows: Sequence[Row], *, tokens: bool) -> Probe:
    """One vector a sequence; with ``tokens``, those of up to `TOKENS` tokens of each."""
    single = _single(rows)
    return Probe(_at(single, [_some(np.arange(row.length), i) for i, row in enumerate(single)]) if tokens else single)


def labelled(rows: Sequence[Row], task: Task) -> Probe:
    """The vectors that a head of the task's format reads, and what it is to say of each.

    Classification: the mean over the sequence, and its class. Multiple choice: that of each choice, and whether it is
    the right one. Tagging: the first piece of each word, and its tag; vectors of tokens as in Bassignana et al. 2022
    (arXiv 2210.11255). Span: the CLS token, the first and the last token of the answer, and up to `TOKENS` others of
    the passage, each with its part in the answer (`NEITHER`, `FIRST`, `LAST`, or both).

    That of span and multiple choice is our choice: the official code of Poth et al. 2021 (arXiv 2104.08247,
    run_model_features.py) makes a whole window one vector, of the label start + 2 · end.
    """
    match task.format:
        case "classification":
            return Probe(_single(rows), np.array([row.target[0] for row in rows], np.int64))
        case "multiple_choice":
            right = [i == row.target[0] for row in rows for i in range(len(row.sequences))]
            return Probe(_single(rows), np.array(right, np.int64))
        case "tagging":
            tags = np.concatenate([row.target for row in rows]).astype(np.int64)
            return Probe(_at(_single(rows), [row.window[1:] for row in rows]), tags)
        case "span":
            answers = [_answer(row, i) for i, row in enumerate(rows)]
            labels = np.concatenate([labels for _, labels in answers])
            return Probe(_at(_single(rows), [places for places, _ in answers]), labels)
    raise AssertionError(f"{task.name}: {task.format} has no labels to learn")


def _single(rows: Sequence[Row]) -> list[Row]:
    """Each sequence of ``rows`` as a row of its own."""
    return [
        Row(row.example, [ids], [row.type_ids[i]] if row.type_ids is not None else None)
        for row in rows
        for i, ids in enumerate(row.sequences)
    ]


def _at(rows: Sequence[Row], positions: Sequence[npt.NDArray[Any]]) -> list[Row]:
    return [replace(row, window=places) for row, places in zip(rows, positions, strict=True)]


def _answer(row: Row, number: int) -> tuple[Ints, Ints]:
    window = Window.of(row)
    first, last = int(row.target[0]), int(row.target[1])
    others = _some(np.arange(window.first, window.last + 1), number)
    places = np.unique(np.concatenate([[0, first, last], others]))
    return places, FIRST * (places == first) + LAST * (places == last)


def _some(places: Ints, number: int) -> Ints:
    """Up to `TOKENS` of them, drawn at random: the same for the same row in every run."""
    if len(places) <= TOKENS:
        return places
    return np.sort(np.random.default_rng(number).choice(places, TOKENS, replace=False))


def taken(rows: Sequence[Row], outputs: Any) -> list[npt.NDArray[np.float32]]:
    """The vectors [n, d] of each row of a probe, out of an encoder's outputs for them."""
    hidden = outputs.last_hidden_state.float().cpu().numpy()
    return [
        own[: row.length].mean(axis=0, keepdims=True) if row.window is None else own[row.window]
        for row, own in zip(rows, hidden, strict=True)
    ]
