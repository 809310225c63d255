"""Encoders as Transformers models: the standard heads, so that a saved model opens in Transformers alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, bundled, describe, sources

#: BERT's names of the dropouts, and what other architectures call them. EuroBERT has none on hidden states.
_DROPOUTS: dict[str, dict[str, tuple[str, ...]]] = {
    "modernbert": {
        "hidden_dropout_prob": ("embedding_dropout", "mlp_dropout"),
        "attention_probs_dropout_prob": ("attention_dropout",),
    },
    "eurobert": {"hidden_dropout_prob": (), "attention_probs_dropout_prob": ("attention_dropout",)},
}

#: How weights are read: from the folder alone, never unpickled.
_LOCAL = {"use_safetensors": True, "local_files_only": True}


def load_config(encoder: Encoder, **overrides: Any) -> PreTrainedConfig:
    """The encoder's configuration, of its truncated depth, with ``overrides`` (num_labels, hidden_dropout_prob, ...).

    Dropouts go by BERT's names for every architecture. Raises UserError as `describe` does.
    """
    facts = describe(encoder)
    values = dict(sources.resolve(encoder.source, encoder.revision).config)
    values["num_hidden_layers"] = facts.layers
    if values.get("layer_types") is not None:
        values["layer_types"] = values["layer_types"][: facts.layers]
    # Names that other code looks up: remote code to run, the class and type of the weights that were saved.
    for name in ("auto_map", "architectures", "torch_dtype", "dtype", "_name_or_path"):
        values.pop(name, None)
    if "num_labels" in overrides:  # else the saved names of labels would decide their number
        for name in ("id2label", "label2id"):
            values.pop(name, None)
    for name, value in overrides.items():
        for own in _DROPOUTS.get(facts.model_type, {}).get(name, (name,)):
            values[own] = value
    with _quiet():
        config: PreTrainedConfig = CONFIG_MAPPING[facts.model_type].from_dict(values)
    return config


def load_tokenizer(encoder: Encoder) -> PreTrainedTokenizerBase:
    """The encoder's fast tokenizer, one per process: do not change it. Raises UserError where there is no fast one."""
    return _tokenizer(Encoder(encoder.source, revision=encoder.revision))  # the same at any depth


@cache
def _tokenizer(encoder: Encoder) -> PreTrainedTokenizerBase:
    source = sources.resolve(encoder.source, encoder.revision)
    if source.folder is None:
        return bundled.tokenizer()
    folder = sources.with_tokenizer(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"encoder {encoder.source}: its tokenizer cannot be loaded: {reason}") from None
    if not tokenizer.is_fast:
        raise UserError(f"encoder {encoder.source}: it has no fast tokenizer; save one as tokenizer.json beside it")
    # XLM-R and others leave it unset, which Transformers takes as boundless.
    tokenizer.model_max_length = min(tokenizer.model_max_length, describe(encoder).max_length)
    return tokenizer


def check_loadable(encoder: Encoder) -> None:
    """Raises UserError where an encoder's tokenizer or weights cannot be had, or are of a kind that is not read."""
    load_tokenizer(encoder)
    if encoder.init == "pretrained":
        source = sources.resolve(encoder.source, encoder.revision)
        if source.folder is not None:
            sources.with_weights(source)


def load_model(
    encoder: Encoder, auto_class: Any, *, seed: int, vocabulary: np.ndarray | None = None, **overrides: Any
) -> PreTrainedModel:
    """A model of the class that ``auto_class`` (AutoModelForQuestionAnswering, ...) gives, in float32, in eval mode.

    The encoder has its pretrained weights, or with ``init`` random ones of the configuration's initialiser; the
    head is always initialised afresh, except a language-modelling head, which is kept where the source has one.
    What is random depends on ``seed`` alone; the caller's random state is untouched. ``overrides`` go to the
    configuration; ``attn_implementation`` to the model, where its architecture has a choice. Every call gives weights
    of its own. Who will read no other ids than ``vocabulary`` says so, which spares the bundled encoder 384 MB of
    word embeddings: the others are 0.

    Raises UserError when the source cannot be had, or its architecture has no such head.
    """
    attention = overrides.pop("attn_implementation", None)
    config = load_config(encoder, **overrides)
    with _quiet(), torch.device("meta"):
        try:
            model_class = type(auto_class.from_config(config))
        except ValueError:
            raise UserError(
                f"encoder {encoder.source}: its type {config.model_type} has no {auto_class.__name__} in Transformers"
            ) from None
    options: dict[str, Any] = {"dtype": torch.float32}
    if attention is not None:  # some architectures, as DeBERTa, have their own attention only
        options["attn_implementation"] = attention if model_class._supports_attention_backend else "eager"
    with _quiet(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        if encoder.init == "random":
            model: PreTrainedModel = auto_class.from_config(config, **options)
            return model.eval()
        source = sources.resolve(encoder.source, encoder.revision)
        if source.folder is not None and auto_class is AutoModelForMaskedLM:
            model = model_class.from_pretrained(sources.with_weights(source), config=config, **_LOCAL, **options)
            return model
        state = _encoder_state(source, config, vocabulary)
        if auto_class is not AutoModel:
            prefix = model_class.base_model_prefix
            state = {f"{prefix}.{name}": tensor for name, tensor in state.items()}
        model = model_class.from_pretrained(None, config=config, state_dict=state, **options)
        return model


@contextmanager
def _quiet() -> Iterator[None]:
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


def _encoder_state(
    source: sources.EncoderSource, config: PreTrainedConfig, vocabulary: np.ndarray | None
) -> dict[str, torch.Tensor]:
    """The weights of the bare encoder, by the names of its class."""
    if source.folder is None:
        arrays = bundled.state_dict(config.num_hidden_layers, vocabulary)
        return {name: torch.from_numpy(array) for name, array in arrays}
    folder = sources.with_weights(source)
    model, info = AutoModel.from_pretrained(
        folder, config=config, dtype=torch.float32, output_loading_info=True, **_LOCAL
    )
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise UserError(
            f"encoder {source.name}: the weights lack {len(missing)} of the encoder's tensors, such as {missing[0]}"
        )
    state: dict[str, torch.Tensor] = model.state_dict()
    for name in info["missing_keys"]:
        del state[name]
    return state
