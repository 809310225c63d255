"""Parameter counts from a model's configuration, by the shape of its architecture.

The counts are of the encoder as Transformers builds it, without pooler and heads; tests compare them with the
modules themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from xstilts.common.errors import UserError

#: Fields of config.json that must be whole numbers where they are given, and what no encoder goes beyond.
_BOUNDS = {
    "hidden_size": (1, 1 << 16), "num_hidden_layers": (1, 1000), "num_attention_heads": (1, 1 << 12),
    "intermediate_size": (1, 1 << 20), "vocab_size": (1, 1 << 24), "max_position_embeddings": (1, 1 << 24),
    "type_vocab_size": (0, 1 << 10), "pad_token_id": (0, 1 << 24), "head_dim": (1, 1 << 16),
    "num_key_value_heads": (1, 1 << 12),
}  # fmt: skip

_MAY_BE_NULL = ("pad_token_id", "head_dim", "num_key_value_heads")


class Linear(NamedTuple):
    """A linear layer by its module's name, which several of a block may share."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Shape:
    """What decides an encoder's size."""

    model_type: str
    layers: int
    hidden: int
    heads: int
    ffn: int
    vocabulary: int
    max_length: int  # tokens
    tables: int  # parameters of the lookup tables: words, positions, types
    shared: int  # parameters outside both tables and layers: the norms before or after them
    layer: int  # parameters of one layer
    linear: tuple[Linear, ...]  # those in a layer
    attention: tuple[str, ...]  # of these the queries' and the values', where Hu et al. 2021 (section 4.2) put LoRA

    def parameters(self, layers: int) -> tuple[int, int]:
        """(lookup tables, all the rest) of a model with so many layers."""
        return self.tables, self.shared + layers * self.layer


def shape(config: Mapping[str, Any], name: str) -> Shape:
    """The shape that ``config`` (a ``config.json``) describes. ``name`` is for the message of the UserError."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in _SHAPES:
        known = ", ".join(_SHAPES)
        code = " and brings code of its own, which xstilts does not run" if "auto_map" in config else ""
        raise UserError(f"encoder {name}: its model type {model_type!r} is not known{code}; known types: {known}")
    if "quantization_config" in config:
        raise UserError(f"encoder {name}: config.json: quantized weights are not trained; take the model before that")
    for field, (least, most) in _BOUNDS.items():
        value = config.get(field)
        absent = field not in config or (value is None and field in _MAY_BE_NULL)
        if not absent and (type(value) is not int or not least <= value <= most):
            shown = repr(value)[:40] if type(value) is not int or abs(value) < 10**20 else "a huge number"
            raise UserError(f"encoder {name}: config.json: {field} is {shown}, no whole number from {least} to {most}")
    try:
        found = _SHAPES[model_type](config)
    except KeyError as error:
        raise UserError(f"encoder {name}: config.json: {error.args[0]} is missing") from None
    except (TypeError, AttributeError) as error:  # null where a number is wanted, and the like
        raise UserError(f"encoder {name}: config.json: a value of a wrong type ({error})") from None
    for what, is_wrong in (
        (f"hidden_size {found.hidden} is no multiple of num_attention_heads {found.heads}",
         found.hidden % found.heads != 0 and not config.get("head_dim")),
        (f"pad_token_id {config.get('pad_token_id')} is outside of vocab_size {found.vocabulary}",
         (config.get("pad_token_id") or 0) >= found.vocabulary),
        (f"max_position_embeddings leaves {found.max_length} tokens for a text", found.max_length < 16),
        ("layer_types is no list", not isinstance(config.get("layer_types") or [], list)),
    ):  # fmt: skip
        if is_wrong:
            raise UserError(f"encoder {name}: config.json: {what}")
    return found


def _bert(config: Mapping[str, Any]) -> Shape:
    """BERT (Devlin et al. 2019), and XLM-R (Conneau et al. 2020) of the same shape.

    XLM-R XL and XXL (Goyal et al. 2021) normalise before each block: the norm after the embeddings goes to the end.
    """
    h, f = config["hidden_size"], config["intermediate_size"]
    positions = config["max_position_embeddings"]
    model_type = config["model_type"]
    # RoBERTa counts positions from the padding id + 1
    unused = 0 if model_type == "bert" else config.get("pad_token_id", 1) + 1
    return Shape(
        model_type=model_type,
        layers=config["num_hidden_layers"],
        hidden=h,
        heads=config["num_attention_heads"],
        ffn=f,
        vocabulary=config["vocab_size"],
        max_length=positions - unused,
        tables=(config["vocab_size"] + positions + config["type_vocab_size"]) * h,
        shared=2 * h,
        layer=4 * (h * h + h) + (h * f + f) + (f * h + h) + 2 * 2 * h,
        linear=_block(h, f, "query", "key", "value"),
        attention=("query", "value"),
    )


def _block(h: int, f: int, *projections: str) -> tuple[Linear, ...]:
    """The linear layers of one of BERT's blocks: attention's projections, its output, and the feed-forward layers."""
    attention = [Linear(name, h, h) for name in projections]
    return (*attention, Linear("dense", h, h), Linear("dense", h, f), Linear("dense", f, h))


def _deberta(config: Mapping[str, Any]) -> Shape:
    """DeBERTa v3 (He et al. 2021): positions are relative, their table is shared by all layers."""
    h, f = config["hidden_size"], config["intermediate_size"]
    rows = config["vocab_size"] + config["type_vocab_size"]
    if config.get("position_biased_input", True):
        rows += config["max_position_embeddings"]
    projections = ["query_proj", "key_proj", "value_proj"]
    shared, layer = 2 * h, 4 * (h * h + h) + (h * f + f) + (f * h + h) + 2 * 2 * h
    if config.get("relative_attention", False):
        buckets = config.get("position_buckets", -1)
        span = config.get("max_relative_positions", -1)
        rows += 2 * (buckets if buckets > 0 else span if span > 0 else config["max_position_embeddings"])
        if "layer_norm" in config.get("norm_rel_ebd", "none"):
            shared += 2 * h
        if not config.get("share_att_key", False):
            kinds = config.get("pos_att_type") or ()
            kinds = kinds.lower().split("|") if isinstance(kinds, str) else kinds
            layer += ("c2p" in kinds) * (h * h + h) + ("p2c" in kinds) * (h * h + h)
            projections += [f"pos_{own}_proj" for own, kind in (("key", "c2p"), ("query", "p2c")) if kind in kinds]
    return Shape(
        model_type=config["model_type"],
        layers=config["num_hidden_layers"],
        hidden=h,
        heads=config["num_attention_heads"],
        ffn=f,
        vocabulary=config["vocab_size"],
        max_length=config["max_position_embeddings"],
        tables=rows * h,
        shared=shared,
        layer=layer,
        linear=_block(h, f, *projections),
        attention=("query_proj", "value_proj"),
    )


def _modernbert(config: Mapping[str, Any]) -> Shape:
    """ModernBERT (Warner et al. 2024): gated feed-forward, no biases, rotary positions, no norm in the first layer."""
    h, f = config["hidden_size"], config["intermediate_size"]
    return Shape(
        model_type="modernbert",
        layers=config["num_hidden_layers"],
        hidden=h,
        heads=config["num_attention_heads"],
        ffn=f,
        vocabulary=config["vocab_size"],
        max_length=config["max_position_embeddings"],
        tables=config["vocab_size"] * h,
        shared=h,  # the norms before and after the layers, less the one that the first layer lacks
        layer=3 * h * h + h * h + 2 * h * f + f * h + 2 * h,
        linear=(Linear("Wqkv", h, 3 * h), Linear("Wo", h, h), Linear("Wi", h, 2 * f), Linear("Wo", f, h)),
        attention=("Wqkv",),
    )


def _eurobert(config: Mapping[str, Any]) -> Shape:
    """EuroBERT (Boizard et al. 2025): Llama's blocks, with grouped queries, read in both directions."""
    h, f, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head = config.get("head_dim") or h // heads
    grouped = config.get("num_key_value_heads") or heads
    return Shape(
        model_type="eurobert",
        layers=config["num_hidden_layers"],
        hidden=h,
        heads=heads,
        ffn=f,
        vocabulary=config["vocab_size"],
        max_length=config["max_position_embeddings"],
        tables=config["vocab_size"] * h,
        shared=h,
        layer=2 * h * heads * head + 2 * h * grouped * head + 3 * h * f + 2 * h,
        linear=(
            Linear("q_proj", h, heads * head), Linear("k_proj", h, grouped * head), Linear("v_proj", h, grouped * head),
            Linear("o_proj", heads * head, h), Linear("gate_proj", h, f), Linear("up_proj", h, f),
            Linear("down_proj", f, h),
        ),
        attention=("q_proj", "v_proj"),
    )  # fmt: skip


_SHAPES: dict[str, Callable[[Mapping[str, Any]], Shape]] = {
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "xlm-roberta-xl": _bert,
    "deberta-v2": _deberta,
    "modernbert": _modernbert,
    "eurobert": _eurobert,
}
