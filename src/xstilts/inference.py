"""Rows in, predictions out: no gradients, longest batches first, outputs reduced batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from xstilts.tasks import Task
from xstilts.tasks.formats import Format, Row, pad
from xstilts.training.batches import evaluation_batches
from xstilts.training.device import accelerator, autocast

MAX_TOKENS = 4096  # of a batch, with padding


@torch.no_grad()
def predict(
    model: PreTrainedModel,
    examples: Sequence[Any],
    rows: Sequence[Row],
    fmt: Format,
    task: Task,
    *,
    pad_id: int,
    precision: str,
    hidden_layer: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """One prediction an example. ``hidden_layer`` (retrieval): the block whose output is pooled, 0 = embeddings."""
    device = accelerator().device
    model.to(device).eval()
    reduced: list[Any] = [None] * len(rows)
    batches = evaluation_batches([row.tokens for row in rows], MAX_TOKENS)
    for done, batch in enumerate(batches, 1):
        chosen = [rows[i] for i in batch]
        inputs = {name: tensor.to(device) for name, tensor in pad(chosen, pad_id).items()}
        with autocast(precision):
            outputs = model(**inputs, output_hidden_states=hidden_layer is not None)
        if hidden_layer is not None:
            outputs = outputs.hidden_states[hidden_layer], inputs["attention_mask"]
        for i, result in zip(batch, fmt.reduce(chosen, outputs, task), strict=True):
            reduced[i] = result
        if progress:
            progress(done, len(batches))
    return fmt.assemble(examples, rows, reduced, task)


def score(examples: Sequence[Any], predictions: Sequence[str], fmt: Format, task: Task) -> float:
    """The task's main metric over ``examples``, in points."""
    outcomes = fmt.score(examples, predictions, task)[task.metric]
    return 100.0 * sum(n for n, _ in outcomes) / max(sum(d for _, d in outcomes), 1.0)
