"""Models with fewer blocks, feed-forward units and attention heads than they were pretrained with.

**Which units and heads** of a block are kept is a pure function of its weights, so that no data are needed: those of
the largest ‖incoming weights‖ · ‖outgoing weights‖. A unit's incoming weights are its row of the layer before, with its
bias, and of all such layers where they are gated (the product of their norms); its outgoing weights are its column of
the layer after. A head's incoming weights are those of its values, its outgoing ones its columns of the layer that
reads the heads. Han et al. 2015 (arXiv 1506.02626) prune single weights by magnitude, Li et al. 2017 (arXiv 1608.08710,
section 3) whole filters by the norm of theirs.

**Fewer heads** cannot be said in the configuration of BERT and its like, whose hidden size is heads times head size.
They train with narrower projections; `fill_heads` gives the others back with weights of 0, which add nothing: the same
function, for plain Transformers to run.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from xstilts.encoders.pruning import PARTS, Kept, Parts, configured

M = TypeVar("M", bound=PreTrainedModel)


def cut(model: M, kept: Kept) -> M:
    """``model`` with what is ``kept`` of it, in place; its configuration says so, but for heads."""
    parts, encoder = PARTS[model.config.model_type], model.base_model
    blocks = _blocks(model, parts)
    encoder.set_submodule(parts.blocks, nn.ModuleList([blocks[i] for i in kept.blocks]))
    for block in _blocks(model, parts):
        if kept.ffn is not None:
            _keep_units(block, parts, kept.ffn)
        if kept.heads is not None:
            _keep_heads(block, parts, kept.heads, _head_size(model))
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


def importance(block: nn.Module, parts: Parts) -> torch.Tensor:
    """Of each feed-forward unit of a block [units], in 64 bits."""
    outgoing = _linear(block, parts.down).weight.detach().double().norm(dim=0)
    for name in parts.up:
        for rows in _with_bias(_linear(block, name)).chunk(parts.fused):
            outgoing = outgoing * rows.norm(dim=1)
    return outgoing


def head_importance(block: nn.Module, parts: Parts, size: int) -> torch.Tensor:
    """Of each attention head of a block, of so many dimensions [heads], in 64 bits."""
    assert parts.heads is not None
    _, _, value, output = (_linear(block, name) for name in parts.heads)
    incoming = _with_bias(value).reshape(-1, size * (value.in_features + 1)).norm(dim=1)
    outgoing = output.weight.detach().double().T.reshape(-1, size * output.out_features).norm(dim=1)
    return incoming * outgoing


def _blocks(model: PreTrainedModel, parts: Parts) -> nn.ModuleList:
    blocks = model.base_model.get_submodule(parts.blocks)
    assert isinstance(blocks, nn.ModuleList)
    return blocks


def _linear(block: nn.Module, name: str) -> nn.Linear:
    layer = block.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def _with_bias(layer: nn.Linear) -> torch.Tensor:
    """[outputs, inputs + 1], in 64 bits; without a bias the last column is 0."""
    weight = layer.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()
    return torch.cat([weight, bias[:, None]], 1)


def _most(importance: torch.Tensor, count: int) -> torch.Tensor:
    """The places of the ``count`` largest, in their order; of equal ones the first."""
    return importance.argsort(descending=True, stable=True)[:count].sort().values


def _keep_units(block: nn.Module, parts: Parts, count: int) -> None:
    chosen = _most(importance(block, parts), count)
    for name in parts.up:
        layer = _linear(block, name)
        units = layer.out_features // parts.fused
        _keep_outputs(block, name, torch.cat([chosen + i * units for i in range(parts.fused)]))
    _keep_inputs(block, parts.down, chosen)


def _keep_heads(block: nn.Module, parts: Parts, count: int, size: int) -> None:
    assert parts.heads is not None
    chosen = _most(head_importance(block, parts, size), count)
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
