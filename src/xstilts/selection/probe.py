"""What of a task's examples is turned into vectors, and the label of each vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from xstilts.common.arrays import Ints
from xstilts.engine import heads
from xstilts.engine.rows import Row
from xstilts.tasks.task import Task

#: Tokens of a row that are read beside those with an answer's ends: a passage has hundreds that are neither.
TOKENS = 32


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
    """The vectors that a head of the task's format reads, and what it is to say of each; see `Head.probe`."""
    head = heads.get(task.format)
    found = [head.probe(row, partial(_some, number=i)) for i, row in enumerate(rows)]
    labels = np.concatenate([labels for _, labels in found]).astype(np.int64)
    if not head.of_tokens:
        return Probe(_single(rows), labels)
    return Probe(_at(_single(rows), [places for places, _ in found if places is not None]), labels)


def _single(rows: Sequence[Row]) -> list[Row]:
    """Each sequence of ``rows`` as a row of its own, but those that are empty, with which rows may be filled up."""
    return [
        Row(row.example, [ids], [row.type_ids[i]] if row.type_ids is not None else None)
        for row in rows
        for i, ids in enumerate(row.sequences)
        if len(ids)
    ]


def _at(rows: Sequence[Row], positions: Sequence[npt.NDArray[Any]]) -> list[Row]:
    return [replace(row, window=places) for row, places in zip(rows, positions, strict=True)]


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
