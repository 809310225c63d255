"""TaskEmb: how like each other two tasks are in which of an encoder's weights matter to them (Vu et al. 2020)."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.stats import rankdata
from torch import nn
from transformers import PreTrainedModel

from xstilts.encoders import Encoder
from xstilts.engine import heads
from xstilts.engine.batches import training_batches
from xstilts.engine.heads import Head
from xstilts.engine.machine.device import accelerator
from xstilts.engine.rows import Row, pad, padded
from xstilts.selection.evidence import Evidence, Material, Question, passes
from xstilts.selection.textemb import cosine

#: How the head is trained on the frozen encoder: our choice.
EPOCHS, BATCH_SIZE, LEARNING_RATE = 3, 16, 1e-3

#: Of reciprocal rank fusion (Cormack et al. 2009); as in davidschulte/hf-dataset-selector, main_taskemb.py.
FUSION = 60


def scores(evidence: Evidence, question: Question) -> dict[str, float]:
    """Recipe → fused ranks of its tasks' embedding by nearness to the target's: the mean of 1 / (60 + rank).

    Each weight of the encoder ranks the recipes by cosine (Vu et al. 2020, rank fusion over components).
    A recipe of several tasks has the mean of their embeddings.
    """
    encoder = question.encoder
    target = embedding(evidence, encoder, question.part)
    of = {
        candidate.recipe: [embedding(evidence, encoder, part) for part in candidate.parts]
        for candidate in question.candidates
        if candidate.parts
    }
    nearness = np.array([[_nearness(target, parts, name) for parts in of.values()] for name in target.names])
    return dict(zip(of, fused(nearness).tolist(), strict=True))


def fused(nearness: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """[components, recipes] → [recipes]: the mean over components of 1 / (60 + rank), rank 1 the nearest."""
    ranks = rankdata(-np.asarray(nearness, np.float64), axis=1)
    return np.asarray((1.0 / (FUSION + ranks)).mean(axis=0))


class Embedding:
    """A task's embedding by weight, on disk: it is as large as the encoder. Its folder vanishes with it."""

    def __init__(self, fisher: Mapping[str, torch.Tensor]) -> None:
        folder = tempfile.mkdtemp(prefix="xstilts-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._file = Path(folder) / "fisher.safetensors"
        self.names = tuple(fisher)
        save_file(dict(fisher), self._file)

    def component(self, name: str) -> npt.NDArray[np.float32]:
        with safe_open(self._file, framework="numpy") as file:
            return np.asarray(file.get_tensor(name))


def _nearness(target: Embedding, parts: Sequence[Embedding], name: str) -> float:
    return cosine(target.component(name), np.mean([part.component(name) for part in parts], axis=0))


def embedding(evidence: Evidence, encoder: Encoder, part: Material) -> Embedding:
    """The embedding of a task by the plain encoder, frozen under a head trained on the task's examples.

    Vu et al. fine-tune the whole encoder on each task first, or freeze it and train the head alone (README of
    tuvuumass/task-transferability); here it is frozen, so that no recipe and no target need be trained.
    """

    def make() -> tuple[Embedding, float]:
        rows = evidence.rows(encoder, part, training=True)
        trimmed = evidence.model(encoder, part, None, rows)
        head, padding = heads.get(part.task.format), trimmed.pad_id
        own = trimmed.rows(rows)
        train_head(trimmed.model, own, head, padding, evidence.seed)
        fisher = fisher_diagonal(trimmed.model, own, head, padding, weights_of(trimmed.model))
        once = passes(encoder, rows, training=False)
        return Embedding(fisher), EPOCHS * once + passes(encoder, rows, training=True)

    return evidence.once(("embedding", encoder, part.digest), make)


def weights_of(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The encoder's weights but its pooler, which not all formats have, and the words' rows, which are TextEmb's."""
    words = model.get_input_embeddings().weight
    named = model.base_model.named_parameters()
    return {name: weight for name, weight in named if weight is not words and not name.startswith("pooler.")}


def train_head(model: PreTrainedModel, rows: Sequence[Row], head: Head, padding: int, seed: int) -> None:
    """Train what lies over the encoder, its pooler with it, and leave the encoder as it is."""
    model.to(accelerator().device).eval()
    if model.base_model is model:  # nothing does
        return
    for name, weight in model.base_model.named_parameters():
        weight.requires_grad_(name.startswith("pooler."))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, LEARNING_RATE)
    lengths = [row.length * len(row.sequences) for row in rows]
    for epoch in range(EPOCHS):
        for batch in training_batches(lengths, BATCH_SIZE, seed, epoch):
            _loss(model, [rows[i] for i in batch], head, padding).backward()
            optimizer.step()
            optimizer.zero_grad()


def fisher_diagonal(
    model: nn.Module, rows: Sequence[Row], head: Head, padding: int, weights: Mapping[str, nn.Parameter]
) -> dict[str, torch.Tensor]:
    """Name → the mean over ``rows`` of the squared gradient of a row's loss at its gold label: the empirical Fisher.

    Vu et al. 2020. Their code squares the gradient of a batch; here each row has its own, as the formula.
    """
    model.to(accelerator().device).eval()
    model.requires_grad_(False)
    for weight in weights.values():
        weight.requires_grad_(True)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for row in rows:
        gradients = torch.autograd.grad(_loss(model, [row], head, padding), list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient**2
    return {name: (value / len(rows)).cpu() for name, value in total.items()}


def _loss(model: nn.Module, rows: Sequence[Row], head: Head, padding: int) -> torch.Tensor:
    inputs = pad(rows, padding) | head.targets(rows, padded(max(row.length for row in rows)))
    return head.loss(model, {name: tensor.to(accelerator().device) for name, tensor in inputs.items()})
