"""Retrieval: find each English sentence's translation among the foreign ones, by nearest neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from xstilts.data.examples import RetrievalExample
from xstilts.study import Lengths
from xstilts.tasks import Task
from xstilts.tasks.formats import Outcomes, Row, encode

AUTO_CLASS = "AutoModel"
SIDES = ("source", "target")  # foreign, English
CHUNK = 4096  # queries compared at a time, which bounds the memory of the similarities


def model_options(task: Task) -> dict[str, Any]:
    return {}


def make_rows(
    examples: Sequence[RetrievalExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
) -> list[Row]:
    """Two rows an example: ``window`` says which of `SIDES` it is."""
    rows = []
    for side, name in enumerate(SIDES):
        texts = [getattr(example, name) for example in examples]
        encoded = encode(tokenizer, texts, None, truncation=True, max_length=lengths.max_length)
        rows += [Row(i, [ids], [types] if types else None, window=side) for i, (ids, types) in enumerate(encoded)]
    return rows


def targets(rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
    raise TypeError("retrieval is not trained")


def loss(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    raise TypeError("retrieval is not trained")


def reduce(rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
    """The L2-normalised mean of each sentence's token vectors, special tokens included (jiant taskmodels.py:335).

    ``outputs`` is (hidden states of the chosen block [rows, length, hidden], attention mask [rows, length]).
    """
    hidden, mask = outputs
    weights = mask.unsqueeze(-1).to(torch.float32)
    mean = (hidden.float() * weights).sum(1) / weights.sum(1)
    return list(torch.nn.functional.normalize(mean, dim=-1).cpu().numpy())


def assemble(
    examples: Sequence[RetrievalExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
) -> list[str]:
    """For each English sentence the id of the nearest foreign one: XTREME's direction (utils_retrieve.py:331-339)."""
    source, target = sides = np.empty((len(SIDES), len(examples), len(reduced[0])), np.float32)
    for row, vector in zip(rows, reduced, strict=True):
        sides[row.window[0], row.example] = vector
    nearest = np.concatenate(
        [
            (target[at : at + CHUNK] @ source.T).argmax(1)  # cosine, as both sides are normalised
            for at in range(0, len(examples), CHUNK)
        ]
    )
    return [examples[i].id for i in nearest.tolist()]


def score(examples: Sequence[RetrievalExample], predictions: Sequence[str], task: Task) -> Outcomes:
    return {
        "accuracy": [
            (float(prediction == example.id), 1.0) for example, prediction in zip(examples, predictions, strict=True)
        ]
    }
