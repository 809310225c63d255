"""What retrieval and mining have in common: sentences are compared by the encoder's vectors, and nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from xstilts.engine.rows import Row, encode
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.task import Task

AUTO_CLASS = "AutoModel"


def model_options(task: Task) -> dict[str, Any]:
    return {}


def rows_of(texts: Iterable[str], tokenizer: Any, lengths: Lengths, side: int | None = None) -> list[Row]:
    """A row a text; ``window`` holds the ``side`` of a pair that it is."""
    encoded = encode(tokenizer, list(texts), None, truncation=True, max_length=lengths.max_length)
    return [Row(i, [ids], [types] if types else None, window=side) for i, (ids, types) in enumerate(encoded)]


def targets(rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
    raise TypeError("nothing is trained on sentences to compare")


def loss(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    raise TypeError("nothing is trained on sentences to compare")


def reduce(rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
    """Each sentence's vector after every block, L2-normalised: [blocks, hidden] a row, in 16 bits.

    ``outputs`` is (hidden states [rows, length, hidden] of the blocks, attention mask [rows, length], pooling).
    ``mean`` is over all tokens, special ones included (jiant taskmodels.py:335, XTREME's Tatoeba); ``cls`` takes the
    first token (XTREME's scripts/run_bucc2018.sh).
    """
    blocks, mask, pooling = outputs
    if pooling == "cls":
        pooled = [hidden[:, 0].float() for hidden in blocks]
    else:
        weights = mask.unsqueeze(-1).to(torch.float32)
        pooled = [(hidden.float() * weights).sum(1) / weights.sum(1) for hidden in blocks]
    return list(torch.nn.functional.normalize(torch.stack(pooled, 1), dim=-1).half().cpu().numpy())
