"""Models with fewer blocks, feed-forward units and attention heads than they were pretrained with.

**Which units and heads** of a block are kept: those of the largest mean |activation| · ‖outgoing weights‖, and of
heads the largest mean norm of their output · ‖outgoing weights‖. Wanda (Sun et al. 2024, arXiv 2306.11695, equation 1)
scores single weights so. Activations are those over `PIECES` pseudo-random pieces of the vocabulary, so that the choice
is a function of the weights alone and loading a model needs no data; in 64 bits, so that it is the same on every
machine. docs/results/size-axes.md compares it with the norms of incoming and outgoing weights, which are no better than
chance, and with activations over real text.

**Fewer heads** cannot be said in the configuration of BERT and its like, whose hidden size is heads times head size.
They train with narrower projections; `fill_heads` gives the others back with weights of 0, which add nothing: the same
function, for plain Transformers to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from xstilts.encoders.pruning import PARTS, Kept, Parts, configured

M = TypeVar("M", bound=PreTrainedModel)


#: Sequences and pieces in each, over which activations are looked at.
PIECES = (32, 64)


@dataclass(frozen=True)
class Chosen:
    """The feed-forward units and heads of a block that are kept, by their numbers; None: all."""

    units: torch.Tensor | None  # [kept]
    heads: torch.Tensor | None  # [kept]


def pieces(config: Any) -> np.ndarray:
    """The ids over which activations are looked at [sequences, length]: the same for all models of a vocabulary."""
    ids = np.random.default_rng(0).integers(config.vocab_size, size=PIECES)
    return np.where(ids == config.pad_token_id, (ids + 1) % config.vocab_size, ids)


def choose(model: PreTrainedModel, kept: Kept) -> list[Chosen]:
    """The most important units and heads of each block of a whole model that is ``kept``. The model is used up."""
    parts = PARTS[model.config.model_type]
    blocks, size = _blocks(model, parts), _head_size(model)
    read: list[dict[str, torch.Tensor]] = [{} for _ in blocks]  # layer → mean |activation|, or norm of heads, it reads

    def look(found: dict[str, torch.Tensor], name: str, inputs: torch.Tensor) -> None:
        flat = inputs.reshape(-1, inputs.shape[-1])
        if name != parts.down:
            flat = flat.reshape(len(flat), -1, size).norm(dim=2)
        found[name] = flat.abs().mean(0)

    hooks = [
        _linear(block, name).register_forward_pre_hook(
            lambda _, inputs, found=found, name=name: look(found, name, inputs[0])
        )
        for block, found in zip(blocks, read, strict=True)
        for name in (parts.down, *(parts.heads or ())[3:])
    ]
    ids = torch.from_numpy(pieces(model.config)[:, : model.config.max_position_embeddings // 2])
    with torch.inference_mode():
        model.eval().double()(input_ids=ids, attention_mask=torch.ones_like(ids))
    for hook in hooks:
        hook.remove()
    return [_chosen(blocks[i], parts, kept, read[i]) for i in kept.blocks]


def _chosen(block: nn.Module, parts: Parts, kept: Kept, read: dict[str, torch.Tensor]) -> Chosen:
    units = heads = None
    if kept.ffn is not None:
        units = _most(read[parts.down] * _linear(block, parts.down).weight.detach().norm(dim=0), kept.ffn)
    if kept.heads is not None and parts.heads:
        output = parts.heads[3]
        outgoing = _linear(block, output).weight.detach().T.reshape(len(read[output]), -1).norm(dim=1)
        heads = _most(read[output] * outgoing, kept.heads)
    return Chosen(units, heads)


def _most(importance: torch.Tensor, count: int) -> torch.Tensor:
    """The places of the ``count`` largest, in their order; of equal ones the first."""
    return importance.argsort(descending=True, stable=True)[:count].sort().values


def cut(model: M, kept: Kept, chosen: Sequence[Chosen]) -> M:
    """``model`` with what is ``kept`` of it, in place; its configuration says so, but for heads.

    ``chosen`` are the units and heads of each block that is kept.
    """
    parts, encoder = PARTS[model.config.model_type], model.base_model
    blocks = _blocks(model, parts)
    encoder.set_submodule(parts.blocks, nn.ModuleList([blocks[i] for i in kept.blocks]))
    for block, own in zip(_blocks(model, parts), chosen, strict=True):
        if own.units is not None:
            _keep_units(block, parts, own.units)
        if own.heads is not None:
            _keep_heads(block, parts, own.heads, _head_size(model))
    for name, value in configured(model.config.to_dict(), kept).items():
        if name in ("num_hidden_layers", "intermediate_size", "layer_types"):
            setattr(model.config, name, value)
    return model


def fill_heads(model: PreTrainedModel) -> None:
    """Give the blocks of ``model`` as many heads as its configuration says: new ones of 0, which add nothing."""
    parts = PARTS.get(model.config.model_type)
    if parts is None or parts.heads is None:
        return
    wanted = model.config.num_attention_heads * _head_size(model)
    *reading, output = parts.heads
    for block in _blocks(model, parts):
        missing = wanted - _linear(block, output).in_features
        if not missing:
            continue
        for name in reading:
            layer = _linear(block, name)
            _replace(block, name, _filled(layer.weight, missing, 0), _filled(layer.bias, missing, 0))
        layer = _linear(block, output)
        _replace(block, output, _filled(layer.weight, missing, 1), layer.bias)


def _blocks(model: PreTrainedModel, parts: Parts) -> nn.ModuleList:
    blocks = model.base_model.get_submodule(parts.blocks)
    assert isinstance(blocks, nn.ModuleList)
    return blocks


def _linear(block: nn.Module, name: str) -> nn.Linear:
    layer = block.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def _keep_units(block: nn.Module, parts: Parts, chosen: torch.Tensor) -> None:
    for name in parts.up:
        units = _linear(block, name).out_features // parts.fused
        _keep_outputs(block, name, torch.cat([chosen + i * units for i in range(parts.fused)]))
    _keep_inputs(block, parts.down, chosen)


def _keep_heads(block: nn.Module, parts: Parts, chosen: torch.Tensor, size: int) -> None:
    assert parts.heads is not None
    places = (chosen[:, None] * size + torch.arange(size)).flatten()
    *reading, output = parts.heads
    for name in reading:
        _keep_outputs(block, name, places)
    _keep_inputs(block, output, places)


def _keep_outputs(block: nn.Module, name: str, places: torch.Tensor) -> None:
    layer = _linear(block, name)
    _replace(block, name, layer.weight[places], None if layer.bias is None else layer.bias[places])


def _keep_inputs(block: nn.Module, name: str, places: torch.Tensor) -> None:
    layer = _linear(block, name)
    _replace(block, name, layer.weight[:, places], layer.bias)


def _filled(weights: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    """With ``count`` rows or columns of 0 more."""
    shape = list(weights.shape)
    shape[dim] = count
    return torch.cat([weights, weights.new_zeros(shape)], dim)


def _replace(block: nn.Module, name: str, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """A linear layer of these weights [outputs, inputs] in the place of another."""
    old = _linear(block, name)
    new = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    new.weight = nn.Parameter(weight.detach().contiguous(), old.weight.requires_grad)
    if bias is not None:
        new.bias = nn.Parameter(bias.detach().contiguous(), old.weight.requires_grad)
    block.set_submodule(name, new.train(old.training))


def _head_size(model: PreTrainedModel) -> int:
    return int(model.config.hidden_size // model.config.num_attention_heads)
