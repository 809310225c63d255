"""Multiple choice: one logit a choice, each choice read together with the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from xstilts.engine.heads import model_loss
from xstilts.engine.rows import Row, encode
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample, majority, score  # noqa: F401
from xstilts.tasks.task import Task

AUTO_CLASS = "AutoModelForMultipleChoice"


def model_options(task: Task) -> dict[str, Any]:
    return {}


def make_rows(
    examples: Sequence[MultipleChoiceExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
) -> list[Row]:
    """An over-long prompt is cut at its start, as jiant does (multiple_choice.py:65): the end decides what follows."""
    tokenizer.truncation_side = "left"
    encoded = encode(
        tokenizer,
        [example.prompt for example in examples for _ in example.choices],
        [choice for example in examples for choice in example.choices],
        truncation="longest_first",
        max_length=lengths.max_length,
    )
    tokenizer.truncation_side = "right"
    rows, at = [], 0
    for i, example in enumerate(examples):
        sequences = encoded[at : at + len(example.choices)]
        at += len(example.choices)
        if example.label is not None or not training:
            types = [types for _, types in sequences]
            rows.append(Row(i, [ids for ids, _ in sequences], types if types[0] else None, example.label))
    return rows


def targets(rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
    return {"labels": torch.tensor([int(row.target[0]) for row in rows])}


loss = model_loss


def reduce(rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
    return [str(i) for i in outputs.logits.argmax(-1).tolist()]


def assemble(
    examples: Sequence[MultipleChoiceExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
) -> list[str]:
    return list(reduced)
