"""An encoder's shape, counted from the module that Transformers builds of its configuration, without weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from xstilts.common.errors import UserError
from xstilts.encoders import bodies
from xstilts.encoders.shape import BOUNDS, UNBOUNDED, Linear, Shape, check_number

#: What types call the linear layers of the queries and the values, or of queries, keys and values in one.
_ATTENTION = (
    ("query", "value"), ("query_proj", "value_proj"), ("q_proj", "v_proj"), ("q_lin", "v_lin"), ("q", "v"),
    ("q_proj", "kv_proj"), ("query_key_value",), ("Wqkv",), ("qkv_proj",), ("c_attn",), ("qkv",), ("in_proj",),
)  # fmt: skip


def counted(config: Mapping[str, Any], name: str) -> Shape:
    """The shape of the encoder ``name`` of a ``config.json``. Raises UserError where it has no body that is trained."""
    own = bodies.config_of(config, name)
    bodies.check_type(own, name)
    for field in ("hidden_size", "num_hidden_layers", "vocab_size"):
        called = own.attribute_map.get(field, field)
        value, default = getattr(own, field, None), getattr(type(own), called, None)
        if value is None or (value == default and not {field, called} & {*config}):
            raise UserError(f"encoder {name}: config.json: {called} is missing")
        check_number(called, value, *BOUNDS[field], name)
    body = bodies.outline(own, name)
    layers = int(own.num_hidden_layers)
    blocks = _blocks(body, layers)
    parameters = {parameter: parameter.numel() for name, parameter in body.named_parameters() if "pooler" not in name}
    tables = sum(parameters.pop(parameter, 0) for module in body.modules() if isinstance(module, nn.Embedding)
                 for parameter in module.parameters())  # fmt: skip
    of_block = [sum(parameters.pop(parameter, 0) for module in block for parameter in module.parameters())
                for block in blocks]  # fmt: skip
    shared = sum(parameters.values())
    layer = of_block[-1] if of_block else 0
    uneven = any(count != layer for count in of_block[1:])
    linear = [_linear(block) for block in blocks]
    alike = linear[-1] if linear and all(Counter(one) == Counter(linear[-1]) for one in linear) else ()
    words = cast(nn.Embedding, body.get_input_embeddings())
    hidden = int(own.hidden_size)
    return Shape(
        model_type=own.model_type,
        layers=layers,
        hidden=hidden,
        heads=int(getattr(own, "num_attention_heads", None) or 1),
        ffn=max((one.inputs for one in (linear[-1] if linear else ()) if one.outputs == hidden), default=hidden),
        vocabulary=int(words.weight.shape[0]),
        embedding=int(words.weight.shape[1]),
        max_length=_max_length(body),
        tables=tables,
        shared=shared + (of_block[0] - layer if of_block and not uneven else 0),
        layer=layer,
        linear=alike,
        attention=_attention(alike),
        blocks=tuple(of_block) if uneven else (),
        causal=bodies.is_causal(body),
        mlm=bodies.has_mlm(body),
    )


def _blocks(body: PreTrainedModel, layers: int) -> list[list[nn.Module]]:
    """The modules of each block: of all outermost lists with an entry a layer. Empty where layers share one block."""
    found: dict[str, nn.ModuleList] = {}
    for name, module in body.named_modules():
        inner = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList) and len(module) == layers and not inner:
            found[name] = module
    return [list(block) for block in zip(*found.values(), strict=True)]


def _linear(block: list[nn.Module]) -> tuple[Linear, ...]:
    found = [(name or "dense", module) for part in block for name, module in part.named_modules()
             if isinstance(module, nn.Linear | Conv1D)]  # fmt: skip
    return tuple(Linear(name.rpartition(".")[2], *_width(module)) for name, module in found)


def _width(module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs; Conv1D keeps its weights [inputs, outputs]."""
    rows, columns = cast(torch.Tensor, module.weight).shape
    return (columns, rows) if isinstance(module, nn.Linear) else (rows, columns)


def _attention(linear: tuple[Linear, ...]) -> tuple[str, ...]:
    names = {one.name for one in linear}
    return next((own for own in _ATTENTION if names.issuperset(own)), ())


def _max_length(body: PreTrainedModel) -> int:
    """Tokens that positions reach; RoBERTa and its like count them from the padding id + 1."""
    positions = getattr(body.config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return UNBOUNDED
    tables = [
        module for name, module in body.named_modules() if isinstance(module, nn.Embedding) and "position" in name
    ]
    unused = max((table.padding_idx + 1 for table in tables if table.padding_idx is not None), default=0)
    return min(positions - unused, UNBOUNDED)
