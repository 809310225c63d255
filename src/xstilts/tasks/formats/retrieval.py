"""Retrieval: find each English sentence's translation among the foreign ones, by nearest neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xstilts.data.examples import RetrievalExample
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats import Outcomes, Row
from xstilts.tasks.formats.sentences import AUTO_CLASS, loss, model_options, reduce, rows_of, targets
from xstilts.tasks.task import Task
from xstilts.vectors import Embedded

__all__ = ["AUTO_CLASS", "assemble", "loss", "make_rows", "model_options", "reduce", "score", "targets"]

SIDES = ("source", "target")  # foreign, English
CHUNK = 4096  # queries compared at a time, which bounds the memory of the similarities


def make_rows(
    examples: Sequence[RetrievalExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
) -> list[Row]:
    """Two rows an example: ``window`` says which of `SIDES` it is."""
    sides = [[getattr(example, name) for example in examples] for name in SIDES]
    return [row for side, texts in enumerate(sides) for row in rows_of(texts, tokenizer, lengths, side)]


def assemble(examples: Sequence[RetrievalExample], rows: Sequence[Row], reduced: Embedded, task: Task) -> list[str]:
    """For each English sentence the id of the nearest foreign one: XTREME's direction (utils_retrieve.py:331-339).

    By the chosen block, then by each from the embeddings to the last, with spaces between.
    """
    sides = np.empty((len(SIDES), len(examples)), np.int64)
    for i, row in enumerate(rows):
        sides[row.window[0], row.example] = i
    nearest = [_nearest(*(reduced.block(block, side) for side in sides)) for block in range(reduced.blocks)]
    by_example = zip(nearest[reduced.chosen], *nearest, strict=True)
    return [" ".join(examples[i].id for i in by_block) for by_block in by_example]


def _nearest(source: np.ndarray, target: np.ndarray) -> list[int]:
    """For each row of ``target`` the nearest of ``source``; of equals the first."""
    candidates = source.astype(np.float32).T
    best = [
        (target[at : at + CHUNK].astype(np.float32) @ candidates).argmax(1)  # cosine, as both sides are normalised
        for at in range(0, len(target), CHUNK)
    ]
    return np.concatenate(best).tolist() if best else []


def score(examples: Sequence[RetrievalExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
    """Whether the translation was found: ``accuracy`` with the chosen block, ``accuracy@n`` with block n."""
    found = [
        [(float(name == example.id), 1.0) for name in prediction.split(" ")]
        for example, prediction in zip(examples, predictions, strict=True)
    ]
    chosen, *blocks = map(list, zip(*found, strict=True))
    return {"accuracy": chosen} | {f"accuracy@{n}": outcomes for n, outcomes in enumerate(blocks)}
