"""An encoder's size, from its configuration: of the listed ones as their list says, of any other as its module has it.

Sizes are of the encoder as Transformers builds it, without pooler and heads; tests compare the list with the modules.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xstilts.common import digests
from xstilts.common.cache import user_cache
from xstilts.common.errors import UserError
from xstilts.common.extras import need
from xstilts.encoders import listed
from xstilts.encoders.shape import BOUNDS, Linear, Shape, check_number

__all__ = ["Linear", "Shape", "shape"]

_MAY_BE_NULL = ("pad_token_id", "head_dim", "num_key_value_heads")

#: Of other whole numbers: those that count layers, by whatever name, and all else.
_MOST_LAYERS, _MOST = 1000, 1 << 40

#: Goes up when a change of `counting` changes what is counted.
_REVISION = 1


def shape(config: Mapping[str, Any], name: str) -> Shape:
    """The shape that ``config`` (a ``config.json``) describes, of the encoder ``name``.

    A listed encoder's is at hand; for any other Transformers builds the module, without weights. Raises UserError.
    """
    _check(config, name)
    entry = listed.entry(name)
    if entry and all(config.get(field) == value for field, value in entry["config"].items()):
        found = _read({"model_type": entry["config"]["model_type"], **entry["shape"]})
    else:
        found = _counted(json.dumps(config, sort_keys=True), name)
    if found.max_length < 16:
        raise UserError(
            f"encoder {name}: config.json: max_position_embeddings leaves {found.max_length} tokens for a text"
        )
    return found


def _check(config: Mapping[str, Any], name: str) -> None:
    """What can be wrong before anything is built of it. Raises UserError."""
    if not isinstance(config.get("model_type"), str):
        raise UserError(f"encoder {name}: config.json: its model type is {config.get('model_type')!r}, and no word")
    if "quantization_config" in config:
        raise UserError(f"encoder {name}: config.json: quantized weights are not trained; take the model before that")
    for field, (least, most) in BOUNDS.items():
        value = config.get(field)
        absent = field not in config or (value is None and field in _MAY_BE_NULL)
        if not absent:
            check_number(field, value, least, most, name)
    for field, value in config.items():
        if type(value) is int and field not in BOUNDS:
            check_number(field, value, -_MOST, _MOST_LAYERS if "layer" in field else _MOST, name)
    heads, hidden = config.get("num_attention_heads"), config.get("hidden_size")
    for what, is_wrong in (
        (f"hidden_size {hidden} is no multiple of num_attention_heads {heads}",
         heads and hidden and hidden % heads and not config.get("head_dim")),
        (f"pad_token_id {config.get('pad_token_id')} is outside of vocab_size {config.get('vocab_size')}",
         config.get("vocab_size") and (config.get("pad_token_id") or 0) >= config["vocab_size"]),
        ("layer_types is no list", not isinstance(config.get("layer_types") or [], list)),
    ):  # fmt: skip
        if is_wrong:
            raise UserError(f"encoder {name}: config.json: {what}")


def _read(values: Mapping[str, Any]) -> Shape:
    """A shape as JSON or YAML has it."""
    lists = {field: tuple(values[field]) for field in ("attention", "blocks") if field in values}
    return Shape(**{**values, **lists, "linear": tuple(Linear(*one) for one in values["linear"])})


@cache
def _counted(config: str, name: str) -> Shape:
    """The shape of a ``config.json``, from the user's cache where it was counted before: PyTorch takes its seconds."""
    need("train", "torch", "transformers")
    key = digests.of_json([_REVISION, version("transformers"), version("torch"), config])
    file = user_cache() / "shapes" / f"{key}.json"
    if file.is_file():
        return _read(json.loads(file.read_text(encoding="utf-8")))
    from xstilts.encoders import counting

    found = counting.counted(json.loads(config), name)
    _keep(json.dumps(asdict(found)), file)
    return found


def _keep(content: str, file: Path) -> None:
    """Write a file, whole or not at all; who cannot write there counts anew each time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as new:
            new.write(content)
        os.replace(new.name, file)
    except OSError:
        return
