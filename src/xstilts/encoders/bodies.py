"""What of a Transformers model reads token ids: its body, built from ``config.json`` alone.

That is the model that `AutoModel` gives; of an encoder–decoder model its encoder.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    MODEL_MAPPING,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from xstilts.common.errors import UserError, did_you_mean

#: Fields of a configuration that other code looks up: remote code or kernels to fetch and run, what was saved before.
LOOKED_UP = ("auto_map", "architectures", "torch_dtype", "dtype", "_name_or_path", "attn_implementation",
             "_attn_implementation", "_attn_implementation_internal", "experts_implementation")  # fmt: skip

#: Parts that no model goes beyond, so that a wrong number in a configuration is told at once: of 94 layers with 128
#: experts each, 48,000.
_MOST_MODULES = 200_000

#: Parameters that no model goes beyond.
_MOST_PARAMETERS = 10**13

#: Types that read both ways, though they have no head for masked language modelling and say nothing of it.
_BOTH_WAYS = ("xlnet", "cpmant")

#: How weights are read: from the folder alone, never unpickled.
LOCAL: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}


@contextmanager
def told(what: str) -> Iterator[None]:
    """Whatever Transformers raises of a folder's files, which are the user's, is a UserError of one line.

    It has no error of its own: a wrong value is a KeyError here and a ZeroDivisionError there.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        reason = f"{reason} is not known" if isinstance(error, KeyError) else reason
        raise UserError(f"{what} cannot be used: {reason}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without Transformers' reports: that a new head is not among the pretrained weights is as it should be."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def config_of(
    values: Mapping[str, Any], name: str, layers: int | None = None, whole: int | None = None
) -> PreTrainedConfig:
    """The configuration that a ``config.json`` describes, cut to the lowest ``layers`` of the ``whole``.

    Depth goes by the type's own name for ``num_hidden_layers``, and lists with an entry a layer are cut to it. Raises
    UserError, of encoder ``name``, also where a type cannot be cut so.
    """
    model_type = values["model_type"]
    if model_type not in CONFIG_MAPPING:
        code = " and brings code of its own, which xstilts does not run" if "auto_map" in values else ""
        hint = did_you_mean(model_type, CONFIG_MAPPING)
        raise UserError(f"encoder {name}: its model type {model_type!r} is not known to Transformers{code}; {hint}")
    config_class = CONFIG_MAPPING[model_type]
    values = {field: value for field, value in values.items() if field not in LOOKED_UP}
    if layers is not None:
        own = config_class.attribute_map.get("num_hidden_layers", "num_hidden_layers")
        values.pop("num_hidden_layers", None)
        values[own] = layers
        for field, value in values.items():
            if "layer" in field and isinstance(value, list) and len(value) == whole:
                values[field] = value[:layers]
    is_cut = layers is not None and layers != whole
    what = f"its type {model_type} with its lowest {layers} layers" if is_cut else "config.json"
    with quiet(), told(f"encoder {name}: {what}"):
        config: PreTrainedConfig = config_class.from_dict(values)
    return config


def has_decoder(config: PreTrainedConfig) -> bool:
    """Whether a model of the configuration is an encoder–decoder, also where its encoder alone was saved."""
    return bool(config.is_encoder_decoder or getattr(type(config), "is_encoder_decoder", False))


def make(config: PreTrainedConfig, **options: Any) -> PreTrainedModel:
    """A body, its weights drawn by the configuration's initialiser; ``options`` are those of ``from_config``."""
    if not has_decoder(config):
        body: PreTrainedModel = AutoModel.from_config(config, **options)
    elif type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING:
        encoder_class: Any = MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)]
        body = encoder_class._from_config(deepcopy(config), **options)  # T5's changes it
    else:
        body = AutoModel.from_config(config, **options).get_encoder()
    return both_ways(body)


def pretrained(folder: Path, config: PreTrainedConfig, **options: Any) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    """A body with the weights in ``folder``, and what ``from_pretrained`` tells of their loading."""
    options |= {"config": deepcopy(config), "output_loading_info": True, **LOCAL}
    if not has_decoder(config):
        body, info = AutoModel.from_pretrained(folder, **options)
        return both_ways(body), info
    encoder_class: Any = type(outline(config, str(folder)))
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures")
    if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING or saved == [encoder_class.__name__]:
        body, info = encoder_class.from_pretrained(folder, **options)
        return body, info
    whole, info = AutoModel.from_pretrained(folder, **options)
    encoder = whole.get_encoder()
    (prefix,) = (f"{name}." for name, module in whole.named_modules() if module is encoder)
    missing = {name.removeprefix(prefix) for name in info["missing_keys"] if name.startswith(prefix)}
    return encoder, {**info, "missing_keys": missing}


def check_type(config: PreTrainedConfig, name: str) -> None:
    """Raises UserError where models of the type read other than token ids alone."""
    classes: Any = MODEL_MAPPING.get(type(config), None)
    first = classes[0] if isinstance(classes, tuple) else classes
    parts = {"text_config", "vision_config", "audio_config"} & {*config.sub_configs}
    if first is None or first.main_input_name != "input_ids" or parts:
        raise UserError(
            f"encoder {name}: its type {config.model_type} is no model of text alone; take one that reads token ids"
        )


def imported_from(body: PreTrainedModel) -> tuple[str, str]:
    """The module and the name of the class by which Transformers opens a body that was saved."""
    if not has_decoder(body.config):
        return "transformers", "AutoModel"
    name = type(body).__name__
    return ("transformers" if hasattr(transformers, name) else type(body).__module__), name


def outline(config: PreTrainedConfig, name: str) -> PreTrainedModel:
    """A body without weights (on the meta device). Raises UserError, of encoder ``name``, where none can be built.

    It has token ids for its input, embeddings of them, and blocks: what of a model is no such body is refused.
    """
    built = 0

    def bounded(*_: Any) -> None:
        nonlocal built
        built += 1
        if built > _MOST_MODULES:
            raise UserError(f"encoder {name}: config.json describes a model of more parts than any has; correct it")

    check_type(config, name)
    hook = register_module_module_registration_hook(bounded)
    try:
        with quiet(), torch.device("meta"), told(f"encoder {name}: config.json"):
            body = make(config)
            words = body.get_input_embeddings() if body.main_input_name == "input_ids" else None
    except UserError as error:
        if "get_input_embeddings" in str(error):
            words = None
        else:
            raise
    finally:
        hook.remove()
    if not isinstance(words, nn.Embedding) or body.base_model is not body:
        raise UserError(f"encoder {name}: its type {config.model_type} reads no token ids; take one that does")
    if sum(parameter.numel() for parameter in body.parameters()) > _MOST_PARAMETERS:
        raise UserError(f"encoder {name}: config.json describes a model larger than any is; correct it")
    return body


def is_causal(body: PreTrainedModel) -> bool:
    """Whether each token reads those before it alone, as far as a body says; `attends_forward` tries it."""
    config = body.config
    if has_decoder(config) or getattr(config, "is_causal", None) is False:
        return False
    said = [module.is_causal for module in body.modules() if isinstance(getattr(module, "is_causal", None), bool)]
    if said:
        return any(said)
    has_mlm = type(config) in MODEL_FOR_MASKED_LM_MAPPING or config.model_type in _BOTH_WAYS
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not has_mlm


def has_mlm(body: PreTrainedModel) -> bool:
    """Whether Transformers has a head for masked language modelling over a body."""
    return (
        type(body.config) in MODEL_FOR_MASKED_LM_MAPPING and not body.config.is_encoder_decoder and not is_causal(body)
    )


def accepts(body: PreTrainedModel, name: str) -> bool:
    """Whether a body has an input of this name."""
    return name in inspect.signature(body.forward).parameters


def read_both_ways(config: PreTrainedConfig) -> None:
    """Have the body of a configuration attend to what follows a token too, as LLM2Vec does.

    BehnamGhader et al. 2024 (arXiv 2404.05961, section 2.1). `make` and `pretrained` heed it.
    """
    config.is_causal = False
    if hasattr(config, "use_bidirectional_attention"):
        config.use_bidirectional_attention = True


def both_ways(model: PreTrainedModel) -> PreTrainedModel:
    """A model that attends both ways where its configuration is told to.

    SDPA goes by what each of its modules says, where no token is padding.
    """
    if getattr(model.config, "is_causal", None) is False:
        for module in model.modules():
            if hasattr(module, "is_causal"):
                setattr(module, "is_causal", False)  # noqa: B010 - mypy takes what modules have for tensors
    return model
