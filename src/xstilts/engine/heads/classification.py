"""Classification: one logit a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from xstilts.engine.heads import model_loss
from xstilts.engine.rows import Row, encode
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.classification import ClassificationExample, majority, score  # noqa: F401
from xstilts.tasks.task import Task

AUTO_CLASS = "AutoModelForSequenceClassification"


def model_options(task: Task) -> dict[str, Any]:
    return {"num_labels": len(task.labels), "id2label": dict(enumerate(task.labels)),
            "label2id": {label: i for i, label in enumerate(task.labels)}}  # fmt: skip


def make_rows(
    examples: Sequence[ClassificationExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
) -> list[Row]:
    class_id = {label: i for i, label in enumerate(task.labels)}
    pairs = any(example.hypothesis is not None for example in examples)
    encoded = encode(
        tokenizer,
        [example.premise for example in examples],
        [example.hypothesis or "" for example in examples] if pairs else None,
        truncation="longest_first",
        max_length=lengths.max_length,
    )
    return [
        Row(i, [ids], [types] if types else None, None if example.label is None else class_id[example.label])
        for i, (example, (ids, types)) in enumerate(zip(examples, encoded, strict=True))
        if example.label is not None or not training
    ]


def targets(rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
    return {"labels": torch.tensor([int(row.target[0]) for row in rows])}


loss = model_loss


def reduce(rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
    return [task.labels[i] for i in outputs.logits.argmax(-1).tolist()]


def assemble(
    examples: Sequence[ClassificationExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
) -> list[str]:
    return list(reduced)
