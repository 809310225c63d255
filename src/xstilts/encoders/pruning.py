"""Which parts of a model a pruned encoder keeps: blocks, feed-forward units, attention heads. Without torch.

Depth is cut by leaving blocks out (Sajjad et al. 2023, arXiv 2004.03844), width by leaving the least important units
and heads of each block out (Michel et al. 2019, arXiv 1905.10650); `xstilts.encoders.cut` says which these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from xstilts.common.errors import UserError
from xstilts.encoders.sizes import Linear, Shape


@dataclass(frozen=True)
class Every:
    """Every so-manieth block from the lowest on: 0, ``every``, 2 · ``every`` …"""

    every: int


#: The lowest so many blocks, these blocks, or every so-manieth.
Layers = int | tuple[int, ...] | Every


@dataclass(frozen=True)
class Kept:
    """What is kept of a model: blocks, counted from 0, and of each so many feed-forward units and heads; None: all."""

    blocks: tuple[int, ...]
    ffn: int | None = None
    heads: int | None = None

    @property
    def whole_blocks(self) -> bool:
        """Whether it is the lowest blocks as they are, which a configuration says by their number alone."""
        return self.blocks == tuple(range(len(self.blocks))) and self.ffn is None and self.heads is None


@dataclass(frozen=True)
class Parts:
    """What a model type calls the list of its blocks, and in a block the linear layers that are cut.

    ``up`` give the feed-forward units, ``fused`` of them in one, and ``down`` reads them. ``heads`` are the queries,
    keys, values, and the layer that reads the heads; None where a type's code could not run fewer of them.
    """

    blocks: str
    up: tuple[str, ...]
    down: str
    fused: int = 1
    bias: bool = True  # of all of these
    heads: tuple[str, str, str, str] | None = None


_BERT = Parts("encoder.layer", ("intermediate.dense",), "output.dense")
_HEADS = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")

#: By model type.
PARTS: Mapping[str, Parts] = {
    "bert": replace(_BERT, heads=_HEADS),
    "roberta": replace(_BERT, heads=_HEADS),
    "xlm-roberta": replace(_BERT, heads=_HEADS),
    "xlm-roberta-xl": replace(_BERT, heads=_HEADS),
    "deberta-v2": _BERT,
    "modernbert": Parts("layers", ("mlp.Wi",), "mlp.Wo", fused=2, bias=False),
    "eurobert": Parts("layers", ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj", bias=False),
}


def kept(shape: Shape, layers: Layers | None, ffn: float | None, heads: int | None, label: str) -> Kept:
    """What ``layers``, ``ffn`` (a share up to 1, else a number of units) and ``heads`` keep of a model of ``shape``.

    Raises UserError, of the encoder ``label``, where the model has less, or its type cannot be cut so.
    """
    found = Kept(_blocks(shape, layers, label), _units(shape, ffn, label), _heads(shape, heads, label))
    if found.whole_blocks:
        return found
    if shape.model_type not in PARTS:
        raise UserError(f"encoder {label}: of a {shape.model_type} only the lowest `layers` can be kept, whole")
    if found.heads is not None and PARTS[shape.model_type].heads is None:
        raise UserError(f"encoder {label}: a {shape.model_type} cannot have fewer heads; cut `layers` or `ffn`")
    if shape.model_type == "modernbert" and found.blocks[0] != 0:  # its lowest block alone lacks a norm
        raise UserError(f"encoder {label}: the first block that is kept of a modernbert must be its lowest, 0")
    return found


def _blocks(shape: Shape, layers: Layers | None, label: str) -> tuple[int, ...]:
    match layers:
        case None:
            blocks = range(shape.layers)
        case Every(every):
            blocks = range(0, shape.layers, every)
        case int():
            if not 1 <= layers <= shape.layers:
                raise UserError(f"encoder {label}: the model has {shape.layers} layers; keep 1 to {shape.layers}")
            blocks = range(layers)
        case _:
            if layers[-1] >= shape.layers:
                raise UserError(
                    f"encoder {label}: the model has the blocks 0 to {shape.layers - 1}, and no {layers[-1]}"
                )
            return layers
    return tuple(blocks)


def _units(shape: Shape, ffn: float | None, label: str) -> int | None:
    if ffn is None:
        return None
    units = round(ffn) if ffn > 1 else max(1, round(ffn * shape.ffn))
    if units > shape.ffn:
        raise UserError(f"encoder {label}: the model has {shape.ffn} feed-forward units; keep 1 to {shape.ffn}")
    return units if units < shape.ffn else None


def _heads(shape: Shape, heads: int | None, label: str) -> int | None:
    if heads is not None and heads > shape.heads:
        raise UserError(f"encoder {label}: the model has {shape.heads} attention heads; keep 1 to {shape.heads}")
    return heads if heads != shape.heads else None


def pruned(shape: Shape, what: Kept) -> Shape:
    """The shape of what is kept."""
    if what.ffn is None and what.heads is None:
        return replace(shape, layers=len(what.blocks))
    parts, h = PARTS[shape.model_type], shape.hidden
    ffn, heads, size = what.ffn or shape.ffn, what.heads or shape.heads, shape.hidden // shape.heads
    matrices = len(parts.up) * parts.fused
    unit = (matrices + 1) * h + matrices * parts.bias
    head = (4 * h + 3 * parts.bias) * size
    sizes: dict[tuple[str, int, int], tuple[int, int]] = {}  # (name, inputs, outputs) → of what is kept
    for name in parts.up:
        sizes[_last(name), h, parts.fused * shape.ffn] = h, parts.fused * ffn
    sizes[_last(parts.down), shape.ffn, h] = ffn, h
    if parts.heads:
        *reading, output = map(_last, parts.heads)
        sizes |= {(name, h, h): (h, heads * size) for name in reading} | {(output, h, h): (heads * size, h)}
    linear = [Linear(one.name, *sizes.get((one.name, one.inputs, one.outputs), one[1:])) for one in shape.linear]
    return replace(
        shape,
        layers=len(what.blocks),
        ffn=ffn,
        heads=heads,
        layer=shape.layer - unit * (shape.ffn - ffn) - head * (shape.heads - heads),
        linear=tuple(linear),
    )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def configured(config: Mapping[str, Any], what: Kept) -> dict[str, Any]:
    """A model's ``config.json`` with what is kept of it; of heads it says nothing: see `xstilts.encoders.cut`."""
    values = dict(config)
    values["num_hidden_layers"] = len(what.blocks)
    if what.ffn is not None:
        values["intermediate_size"] = what.ffn
    if values.get("layer_types") is not None:
        values["layer_types"] = [values["layer_types"][i] for i in what.blocks]
    return values
