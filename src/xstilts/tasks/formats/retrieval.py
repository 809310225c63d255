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

    ``outputs`` is (hidden states [rows, length, hidden] of several blocks, attention mask [rows, length]); a row gives
    [blocks, hidden] in 16 bits, since all sentences are held until both sides of all languages are there.
    """
    blocks, mask = outputs
    weights = mask.unsqueeze(-1).to(torch.float32)
    means = torch.stack([(hidden.float() * weights).sum(1) / weights.sum(1) for hidden in blocks], 1)
    return list(torch.nn.functional.normalize(means, dim=-1).half().cpu().numpy())


def assemble(
    examples: Sequence[RetrievalExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
) -> list[str]:
    """For each English sentence the id of the nearest foreign one: XTREME's direction (utils_retrieve.py:331-339).

    By the chosen block, then by each from the embeddings to the last, with spaces between.
    """
    nearest = [_nearest([vectors[block] for vectors in reduced], examples, rows) for block in range(len(reduced[0]))]
    return [" ".join(examples[i].id for i in by_block) for by_block in zip(*nearest, strict=True)]


def _nearest(vectors: Sequence[Any], examples: Sequence[RetrievalExample], rows: Sequence[Row]) -> list[int]:
    source, target = sides = np.empty((len(SIDES), len(examples), len(vectors[0])), np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        sides[row.window[0], row.example] = vector
    best = [
        (target[at : at + CHUNK] @ source.T).argmax(1)  # cosine, as both sides are normalised
        for at in range(0, len(examples), CHUNK)
    ]
    return np.concatenate(best).tolist()


def score(examples: Sequence[RetrievalExample], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
    """Whether the translation was found: ``accuracy`` with the chosen block, ``accuracy@n`` with block n."""
    found = [
        [(float(name == example.id), 1.0) for name in prediction.split(" ")]
        for example, prediction in zip(examples, predictions, strict=True)
    ]
    chosen, *blocks = map(list, zip(*found, strict=True))
    return {"accuracy": chosen} | {f"accuracy@{n}": outcomes for n, outcomes in enumerate(blocks)}
