"""Retrieval: the nearest neighbour by the encoder's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xstilts.engine.heads.sentences import Compared, rows_of
from xstilts.engine.rows import Row
from xstilts.engine.vectors import Embedded
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.task import Task

SIDES = ("source", "target")  # foreign, English


CHUNK = 4096  # queries compared at a time, which bounds the memory of the similarities


def _nearest(source: np.ndarray, target: np.ndarray) -> list[int]:
    """For each row of ``target`` the nearest of ``source``; of equals the first."""
    candidates = source.astype(np.float32).T
    best = [
        (target[at : at + CHUNK].astype(np.float32) @ candidates).argmax(1)  # cosine, as both sides are normalised
        for at in range(0, len(target), CHUNK)
    ]
    return np.concatenate(best).tolist() if best else []


class RetrievalHead(Compared[RetrievalExample]):
    def make_rows(
        self, examples: Sequence[RetrievalExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        """Two rows an example: ``window`` says which of `SIDES` it is."""
        sides = [[getattr(example, name) for example in examples] for name in SIDES]
        return [row for side, texts in enumerate(sides) for row in rows_of(texts, tokenizer, lengths, side)]

    def assemble(
        self, examples: Sequence[RetrievalExample], rows: Sequence[Row], reduced: Embedded, task: Task
    ) -> list[str]:
        """For each English sentence the id of the nearest foreign one: XTREME's direction (utils_retrieve.py:331-339).

        By the chosen block, then by each from the embeddings to the last, with spaces between.
        """
        sides = np.empty((len(SIDES), len(examples)), np.int64)
        for i, row in enumerate(rows):
            sides[row.window[0], row.example] = i
        nearest = [_nearest(*(reduced.block(block, side) for side in sides)) for block in range(reduced.blocks)]
        by_example = zip(nearest[reduced.chosen], *nearest, strict=True)
        return [" ".join(examples[i].id for i in by_block) for by_block in by_example]


HEAD = RetrievalHead()
