"""Encoders under the heads of tasks: built, trimmed to the words of their data, saved to artifacts and loaded back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from xstilts.common.errors import StageError
from xstilts.encoders import Encoder, cut, trim
from xstilts.encoders.load import load_model, load_tokenizer
from xstilts.engine import heads
from xstilts.engine.features import Renumbered
from xstilts.engine.machine import device
from xstilts.engine.machine.dropout import replace_dropout
from xstilts.engine.rows import Row
from xstilts.planning.hyperparameters import DropoutMode
from xstilts.tasks.task import Task

WEIGHTS = "model.safetensors"
MEAN = "mean.safetensors"  # of a training's checkpoints, beside its best weights
ROWS, IDS = "embedding.rows", "embedding.ids"  # the trained part of the word embeddings, and the ids of its rows


class Joint(nn.Module):
    """One encoder under the heads of one or several tasks: ``joint(task, **inputs)`` is the task's model of them.

    The encoder is that of the first model with a pooler, if one has any: the others pass it over. A model may be the
    bare encoder, for a task without a head.
    """

    def __init__(self, models: Mapping[str, PreTrainedModel]):
        super().__init__()
        self.models = nn.ModuleDict(models)
        if len(models) == 1:
            return
        with_pooler = [model for model in models.values() if getattr(model.base_model, "pooler", None) is not None]
        shared = (with_pooler or list(models.values()))[0].base_model
        for name, model in models.items():
            if _is_bare(model):
                self.models[name] = shared
                continue
            setattr(model, model.base_model_prefix, shared)
            output = model.get_output_embeddings()
            if output is not None and model.config.tie_word_embeddings:
                output.weight = model.get_input_embeddings().weight

    def forward(self, task: str, **inputs: torch.Tensor) -> Any:
        return self.models[task](**inputs)

    def model(self, task: str) -> PreTrainedModel:
        return cast(PreTrainedModel, self.models[task])

    @property
    def encoder(self) -> nn.Module:
        return cast(PreTrainedModel, next(iter(self.models.values()))).base_model


@dataclass(frozen=True)
class Trimmed:
    """Models over one encoder that knows only the pieces of its data. ``ids`` are the full vocabulary's, row by row."""

    joint: Joint
    ids: torch.Tensor  # [kept]
    mapping: torch.Tensor  # [vocabulary] → row, or -1
    pad_id: int  # padding's row

    @property
    def model(self) -> PreTrainedModel:
        """The model of the first task."""
        return cast(PreTrainedModel, next(iter(self.joint.models.values())))

    def rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """``rows`` in the trimmed vocabulary's ids."""
        return Renumbered(rows, self.mapping.numpy())


def build_models(
    encoder: Encoder,
    tasks: Sequence[Task],
    seed: int,
    start: Path | None,
    rows: Iterable[Row],
    *,
    head: bool,
    pooler: bool = True,
    dropout: DropoutMode = "preset",
) -> Trimmed:
    """The encoder under the heads of ``tasks``, trimmed to what ``rows`` read.

    It has the weights of the artifact in ``start``, with its ``pooler`` or without; with ``head`` the artifact's head
    is taken over too (for a single task); else heads are new, drawn from ``seed``.
    """
    saved = load_file(start / WEIGHTS) if start else {}
    trained = [saved[IDS].numpy()] if start else []
    read = (np.asarray(ids) for row in rows for ids in row.sequences)
    tokenizer = load_tokenizer(encoder)
    vocabulary = trim.used_vocabulary(chain(trained, read), tokenizer)
    ids = torch.from_numpy(vocabulary)
    models = {task.name: load_architecture(encoder, task, seed, dropout, vocabulary) for task in tasks}
    mapping, *_ = [trim.trim_vocabulary(model, ids) for model in models.values()]
    joint = Joint(models)
    if start:
        kept = {name: tensor for name, tensor in saved.items() if pooler or ".pooler." not in name}
        load_weights(models[tasks[0].name], kept, mapping, head=head)
    return Trimmed(joint, ids, mapping, int(mapping[tokenizer.pad_token_id]))


def build_model(
    encoder: Encoder, task: Task, seed: int, start: Path | None, rows: Iterable[Row], *, head: bool,
    dropout: DropoutMode = "preset",
) -> Trimmed:  # fmt: skip
    """`build_models` for a single task."""
    return build_models(encoder, [task], seed, start, rows, head=head, dropout=dropout)


def build_bare(encoder: Encoder, name: str, vocabulary: np.ndarray) -> Trimmed:
    """The pretrained encoder without a head or dropout, as the model of ``name``, trimmed to the ids ``vocabulary``."""
    options: dict[str, Any] = {**_NO_DROPOUT, "attn_implementation": device.attention()}
    model = load_model(encoder, transformers.AutoModel, seed=0, vocabulary=vocabulary, **options)
    ids = torch.from_numpy(vocabulary)
    mapping = trim.trim_vocabulary(model, ids)
    return Trimmed(Joint({name: model}), ids, mapping, int(mapping[load_tokenizer(encoder).pad_token_id]))


_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def load_architecture(
    encoder: Encoder, task: Task, seed: int, dropout: DropoutMode = "preset", vocabulary: np.ndarray | None = None
) -> PreTrainedModel:
    fmt = heads.get(task.format)
    options: dict[str, Any] = {**fmt.model_options(task), "attn_implementation": device.attention()}
    if dropout == "none":
        options |= _NO_DROPOUT
    model = load_model(encoder, getattr(transformers, fmt.AUTO_CLASS), seed=seed, vocabulary=vocabulary, **options)
    if device.on_cpu():
        replace_dropout(model)
    return model


def load_weights(model: PreTrainedModel, saved: dict[str, torch.Tensor], mapping: torch.Tensor, *, head: bool) -> None:
    """Fill ``model`` from an artifact's tensors: the encoder, its pooler where both have one, and on demand the head.

    ``mapping`` gives the row of the word embeddings for each id. Raises StageError where another part is missing or
    left over.
    """
    encoder: torch.nn.Module = model.base_model
    prefix, own_prefix = _prefix(model), model.base_model_prefix + "."
    words = _word_embeddings(model)
    with torch.no_grad():
        words[mapping[saved[IDS]]] = saved[ROWS]
    inner = {name.removeprefix(prefix): tensor for name, tensor in saved.items() if name.startswith(prefix)}
    missing, unexpected = encoder.load_state_dict(inner, strict=False)
    own = {name for name, tensor in encoder.named_parameters(remove_duplicate=False) if tensor is words}
    lost = [name for name in (*missing, *unexpected) if name not in own and not name.startswith("pooler.")]
    if head and encoder is not model:
        outer = {name: saved[name] for name in saved.keys() - {ROWS, IDS} if not name.startswith(prefix)}
        lost += {name for name in model.state_dict() if not name.startswith(own_prefix)} ^ set(outer)
        model.load_state_dict(outer, strict=False)
    if lost:
        raise StageError(f"the trained weights do not fit the model: {', '.join(sorted(lost)[:3])}")


def take_head(model: PreTrainedModel, folder: Path) -> None:
    """Give ``model`` the head of the artifact in ``folder``, of the same task, and keep it from being trained.

    A pooler that the head reads is part of it: encoders come without or with one of another use. Raises StageError
    where the artifact has another head.
    """
    if _is_bare(model):
        return
    saved = load_file(folder / WEIGHTS)
    own = {_saved_name(name, model): each for name, each in model.named_parameters()
           if not name.startswith(model.base_model_prefix + ".") or ".pooler." in name}  # fmt: skip
    if lost := own.keys() - saved.keys():
        raise StageError(f"the trained head does not fit the model: {', '.join(sorted(lost)[:3])}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(saved[name])
            parameter.requires_grad_(False)


def save_trained(trimmed: Trimmed, folder: Path, name: str = WEIGHTS) -> None:
    """The encoder and the first task's head; of the word embeddings only the rows that the model knows.

    The others are the encoder's own.
    """
    save_file(_tensors(trimmed), folder / name)


def _tensors(trimmed: Trimmed) -> dict[str, torch.Tensor]:
    embedding = _word_embeddings(trimmed.model)
    tensors = {
        _saved_name(name, trimmed.model): tensor.detach().cpu().contiguous()
        for name, tensor in trimmed.model.state_dict().items()
        if tensor.data_ptr() != embedding.data_ptr()
    }
    return tensors | {ROWS: embedding.detach().cpu().contiguous(), IDS: trimmed.ids}


def save_healed(trimmed: Trimmed, folder: Path) -> None:
    """A bare encoder without its word embeddings, which are as they were pretrained, and without a pooler.

    No row of the embeddings is kept, so that what starts from it knows the pieces of its own data alone.
    """
    tensors = {name: tensor for name, tensor in _tensors(trimmed).items() if ".pooler." not in name}
    none = {ROWS: tensors[ROWS][:0].clone(), IDS: tensors[IDS][:0].clone()}
    save_file(tensors | none, folder / WEIGHTS)


def load_trained(
    encoder: Encoder, task: Task, seed: int, folder: Path, dropout: DropoutMode = "preset"
) -> PreTrainedModel:
    """The trained model with its whole vocabulary and as many heads as its configuration says, to be handed over."""
    model = load_architecture(encoder, task, seed, dropout)
    saved = load_file(folder / WEIGHTS)
    pretrained = _word_embeddings(model)
    mapping = trim.trim_vocabulary(model, saved[IDS])
    load_weights(model, saved, mapping, head=True)
    trim.restore_vocabulary(model, pretrained, saved[IDS])
    cut.fill_heads(model)
    return model


def load_bare(encoder: Encoder, seed: int, folder: Path | None) -> PreTrainedModel:
    """The encoder with its whole vocabulary and all heads, without a head or pooler, to be handed over.

    As it was trained or healed in the artifact in ``folder``; else as it was pretrained.
    """
    model = load_model(encoder, transformers.AutoModel, seed=seed)
    if folder:
        load_weights(model, load_file(folder / WEIGHTS), torch.arange(len(_word_embeddings(model))), head=False)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]
    cut.fill_heads(model)
    return model


def merge(
    encoder: Encoder, seed: int, start: Path | None, trained: Sequence[tuple[Path, float]]
) -> dict[str, torch.Tensor]:
    """The tensors of an artifact whose encoder is θ₀ + Σ weight · (θ − θ₀) over the artifacts in ``trained``.

    θ₀ is the encoder before any training, or the one in ``start``, if it was healed: task arithmetic (Ilharco et al.
    2023, arXiv 2212.04089, section 2). The pooler, which many encoders do not come with, is left out, and so are the
    heads.
    """
    saved = [(load_file(folder / WEIGHTS), weight) for folder, weight in trained]
    ids = torch.from_numpy(np.unique(np.concatenate([tensors[IDS].numpy() for tensors, _ in saved])))
    base = load_model(encoder, transformers.AutoModel, seed=seed, vocabulary=ids.numpy())
    mapping = trim.trim_vocabulary(base, ids)
    if start:
        load_weights(base, load_file(start / WEIGHTS), mapping, head=False)
    words = _word_embeddings(base)
    before = {name: value for name, value in base.state_dict().items() if value.data_ptr() != words.data_ptr()}
    merged = {name: value.clone() for name, value in before.items() if not name.startswith("pooler.")}
    merged_rows = words.detach().clone()
    prefix = _prefix(base)
    for tensors, weight in saved:
        rows = mapping[tensors[IDS]]
        merged_rows[rows] += weight * (tensors[ROWS] - words.detach()[rows])
        for name, value in merged.items():
            value += weight * (tensors[prefix + name] - before[name])
    return {**{prefix + name: value for name, value in merged.items()}, ROWS: merged_rows, IDS: ids}


def _prefix(model: PreTrainedModel) -> str:
    """Before the names of the encoder's tensors in artifacts: the same under any head, and under none."""
    return f"{model.base_model.base_model_prefix or 'encoder'}."


def _saved_name(name: str, model: PreTrainedModel) -> str:
    """What an artifact calls a tensor of a model."""
    if _is_bare(model):
        return _prefix(model) + name
    own = model.base_model_prefix + "."
    return _prefix(model) + name.removeprefix(own) if name.startswith(own) else name


def _is_bare(model: PreTrainedModel) -> bool:
    """Whether a model is an encoder without a head."""
    return model.base_model is model


def _word_embeddings(model: PreTrainedModel) -> torch.Tensor:
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return weight
