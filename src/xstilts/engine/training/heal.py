"""Healing: a pruned encoder learns, on plain text, to give the last hidden states of the model that it was cut out of.

The loss is the relative squared error ‖s − t‖² / ‖t‖² of a token's last hidden state s against the whole model's t,
mean over the real tokens. The squared error of hidden states is FitNets' hint (Romero et al. 2015, arXiv 1412.6550,
equation 3) and TinyBERT's (Jiao et al. 2020, arXiv 1909.10351, equation 8); relative to ‖t‖² it is 1 for states of 0,
whatever the model. Hidden sizes are the same, so that no projection is learnt. The lookup tables stay as they were
pretrained, and neither model drops anything out. It knows nothing of any task, and nothing but text is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from xstilts.common.progress import Sink
from xstilts.encoders import Encoder
from xstilts.encoders.load import load_tokenizer
from xstilts.encoders.trim import used_vocabulary
from xstilts.engine.batches import evaluation_batches
from xstilts.engine.heads.mlm import MlmHead
from xstilts.engine.inference import MAX_TOKENS
from xstilts.engine.machine.device import accelerator, autocast
from xstilts.engine.models import Trimmed, build_bare
from xstilts.engine.rows import IGNORED, Row, Rows, pad, padded
from xstilts.engine.training import loop
from xstilts.engine.training.checkpoints import Checkpoints
from xstilts.engine.training.course import Course
from xstilts.engine.training.log import Log
from xstilts.engine.training.mixture import Stream
from xstilts.planning.hyperparameters import Optimisation, Reading

#: Of the rows one in so many is not learnt from, and shows how far the student is from its teacher.
HELD_OUT = 50

#: Of the order of the batches: healing has no seeds, as all of a study's begin with the same encoder.
SEED = 0


@dataclass(frozen=True)
class Healed:
    """``before`` and ``error`` are the relative squared error on held-out text, as pruned and in the end."""

    student: Trimmed
    log: Log
    before: float
    error: float


@dataclass(frozen=True)
class _Learnt(Rows):
    """What is not held out."""

    rows: Sequence[Row]

    def __len__(self) -> int:
        return len(self.rows) - -(-len(self.rows) // HELD_OUT)

    def row(self, i: int) -> Row:
        return self.rows[i + i // (HELD_OUT - 1) + 1]


class Distilling(MlmHead):
    """The states of ``teacher``, which reads what the student does, are the targets."""

    def __init__(self, teacher: nn.Module) -> None:
        self.teacher = teacher

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        """Which tokens are real: 0 there."""
        real = torch.full((len(rows), length), IGNORED)
        for i, row in enumerate(rows):
            real[i, : row.length] = 0
        return {"real": real}

    def loss(self, model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        real = inputs["real"] != IGNORED
        read = {name: tensor for name, tensor in inputs.items() if name != "real"}
        with torch.no_grad():
            wanted = self.teacher(**read).last_hidden_state[real].float()
        given = model(**read).last_hidden_state[real].float()
        return ((given - wanted).square().sum(-1) / wanted.square().sum(-1)).mean()


def heal(
    encoder: Encoder,
    name: str,
    rows: Sequence[Row],
    reading: Reading,
    optimisation: Optimisation,
    tokens: int,
    progress: Sink,
    checkpoints: Checkpoints | None = None,
) -> Healed:
    """Distil ``encoder`` from its whole model on about ``tokens`` tokens of ``rows``, text of the task ``name``.

    Both models are trimmed to the vocabulary of the rows. Raises StageError as `loop.train` does.
    """
    tokenizer = load_tokenizer(encoder)
    vocabulary = used_vocabulary((np.asarray(ids) for row in rows for ids in row.sequences), tokenizer)
    student, teacher = build_bare(encoder, name, vocabulary), build_bare(encoder.whole, name, vocabulary).model
    teacher.to(accelerator().device).eval().requires_grad_(False)
    for module in student.joint.modules():
        if isinstance(module, nn.Embedding):
            module.weight.requires_grad_(False)
    own, pad_id = student.rows(rows), student.pad_id
    held_out, learnt = own[::HELD_OUT], _Learnt(own)
    head = Distilling(teacher)
    stream = Stream(name, head, learnt, reading, lambda row: f"line {row.example + 1}")
    course = Course([stream], optimisation, SEED, optimisation.precision, pad_id, tokens=tokens)
    error = partial(_error, student, name, head, held_out, pad_id, optimisation.precision)
    before = error()
    log = loop.train(student.joint, course, lambda: {name: 100.0 * (1.0 - error())}, progress, checkpoints)
    return Healed(student, log, before, 1.0 - log.best_dev / 100.0)


def _error(student: Trimmed, name: str, head: Distilling, rows: Sequence[Row], pad_id: int, precision: str) -> float:
    """The loss over all real tokens of ``rows``."""
    device = accelerator().device
    model = student.joint.to(device).eval()
    total, count = 0.0, 0
    for batch in evaluation_batches([padded(row.length) for row in rows], MAX_TOKENS):
        chosen = [rows[i] for i in batch]
        inputs = pad(chosen, pad_id) | head.targets(chosen, padded(max(row.length for row in chosen)))
        with torch.no_grad(), autocast(precision):
            loss = head.loss(partial(model, name), {key: tensor.to(device) for key, tensor in inputs.items()})
        real = sum(row.length for row in chosen)
        total, count = total + loss.item() * real, count + real
    return total / count
