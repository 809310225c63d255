"""Masked language modelling: plain text in any language, mixed into the training of other tasks.

15 % of the pieces are chosen, of which 80 % are masked, 10 % replaced by a random one and 10 % left (Devlin et al.
2019, section 3.1); special ones never are. A line is an example, cut at the end; nothing is packed (jiant
templates/mlm.py:127-195). Pieces are chosen anew in each epoch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from xstilts.engine.heads import Head
from xstilts.engine.rows import IGNORED, Row, Rows, encode
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.mlm import TextExample
from xstilts.tasks.task import Task

CHOSEN, MASKED, RANDOM = 0.15, 0.8, 0.1  # the latter two of those chosen


@dataclass(frozen=True)
class Masked(Rows):
    """Rows with some of their ids masked; the target of a row is the id of each chosen piece, `IGNORED` elsewhere.

    ``special`` are ids that are never chosen, ``mask`` is the mask's, ``vocabulary`` the number of ids that a piece may
    be replaced by. At least one piece of a row is chosen. The same ``seed`` chooses the same.
    """

    rows: Sequence[Row]
    special: frozenset[int]
    mask: int
    vocabulary: int
    seed: str

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, i: int) -> Row:
        row = self.rows[i]
        drawn = np.random.default_rng(random.Random(f"{self.seed}/{i}").getrandbits(64))
        ids = np.array(row.sequences[0])
        pieces = np.flatnonzero(~np.isin(ids, list(self.special)))
        chosen = pieces[drawn.random(len(pieces)) < CHOSEN]
        if not len(chosen) and len(pieces):
            chosen = drawn.choice(pieces, 1)
        target = np.full(len(ids), IGNORED, np.int32)
        target[chosen] = ids[chosen]
        fate = drawn.random(len(chosen))
        ids[chosen[fate < MASKED]] = self.mask
        replaced = chosen[(fate >= MASKED) & (fate < MASKED + RANDOM)]
        ids[replaced] = drawn.integers(self.vocabulary, size=len(replaced))
        return replace(row, sequences=[ids], target=target)


class MlmHead(Head[TextExample]):
    AUTO_CLASS = "AutoModelForMaskedLM"

    def make_rows(
        self, examples: Sequence[TextExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        texts = [example.text for example in examples]
        encoded = encode(tokenizer, texts, None, truncation=True, max_length=lengths.max_length)
        return [Row(i, [ids], [types] if types else None) for i, (ids, types) in enumerate(encoded)]

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        labels = torch.full((len(rows), length), IGNORED)
        for i, row in enumerate(rows):
            labels[i, : len(row.target)] = torch.from_numpy(row.target)
        return {"labels": labels}

    def loss(self, model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The mean cross entropy over the chosen pieces; the model's own expects its whole vocabulary."""
        labels = inputs["labels"]
        logits = model(**{name: tensor for name, tensor in inputs.items() if name != "labels"}).logits
        chosen = labels != IGNORED
        return torch.nn.functional.cross_entropy(logits[chosen].float(), labels[chosen])

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        raise TypeError("MLM predicts nothing")

    def assemble(
        self, examples: Sequence[TextExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
    ) -> list[str]:
        raise TypeError("MLM predicts nothing")


HEAD = MlmHead()
