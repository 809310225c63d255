"""Encoders as Transformers models: the standard heads, so that a saved model opens in Transformers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
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
from xstilts.encoders import Encoder, bundled, cut, describe, pruning, sources

#: BERT's names of the dropouts, and what other architectures call them. EuroBERT has none on hidden states.
_DROPOUTS: dict[str, dict[str, tuple[str, ...]]] = {
    "modernbert": {
        "hidden_dropout_prob": ("embedding_dropout", "mlp_dropout"),
        "attention_probs_dropout_prob": ("attention_dropout",),
    },
    "eurobert": {"hidden_dropout_prob": (), "attention_probs_dropout_prob": ("attention_dropout",)},
}

#: Fields of a configuration that other code looks up: remote code or kernels to fetch and run, what was saved before.
_LOOKED_UP = ("auto_map", "architectures", "torch_dtype", "dtype", "_name_or_path", "attn_implementation",
              "_attn_implementation", "_attn_implementation_internal", "experts_implementation")  # fmt: skip

#: So many parameters are run to see that a model gives numbers: all of XLM-R base's, a third of XLM-R large's.
_TRIED = 100_000_000

#: Read to see whether a tokenizer and its model work: words, and letters that no piece has.
_TWO_WORDS = "two words ꙮ"

#: How weights are read: from the folder alone, never unpickled.
_LOCAL = {"use_safetensors": True, "local_files_only": True}


def load_config(encoder: Encoder, **overrides: Any) -> PreTrainedConfig:
    """The encoder's configuration, of its depth and width, with ``overrides`` (num_labels, hidden_dropout_prob, ...).

    Dropouts go by BERT's names for every architecture. Raises UserError as `describe` does.
    """
    facts = describe(encoder)
    values = pruning.configured(sources.resolve(encoder.source, encoder.revision).config, facts.kept)
    for name in _LOOKED_UP:
        values.pop(name, None)
    if "num_labels" in overrides:  # else the saved names of labels would decide their number
        for name in ("id2label", "label2id"):
            values.pop(name, None)
    for name, value in overrides.items():
        for own in _DROPOUTS.get(facts.model_type, {}).get(name, (name,)):
            values[own] = value
    with _quiet(), told(f"encoder {encoder.source}: config.json"):
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
    folder, facts = sources.with_tokenizer(source), describe(encoder)
    with told(f"encoder {encoder.source}: its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    where = f"encoder {encoder.source}: the tokenizer in {folder}"
    if not tokenizer.is_fast:
        raise UserError(f"encoder {encoder.source}: it has no fast tokenizer; save one as tokenizer.json beside it")
    if not isinstance(tokenizer.model_max_length, int) or tokenizer.model_max_length < 16:
        raise UserError(f"{where} takes {tokenizer.model_max_length!r} tokens (model_max_length); mend its "
                        f"tokenizer_config.json: the model takes {facts.max_length}")  # fmt: skip
    if tokenizer.pad_token_id is None:
        raise UserError(f"{where} has no padding token; name its `pad_token` in tokenizer_config.json")
    with told(f"encoder {encoder.source}: its tokenizer"):
        one, two = (tokenizer(*texts)["input_ids"] for texts in ((_TWO_WORDS,), (_TWO_WORDS, _TWO_WORDS)))
        bare = tokenizer(_TWO_WORDS, add_special_tokens=False)["input_ids"]
    if not bare:
        raise UserError(f"{where} reads no words; save it again with save_pretrained")
    if len(one) == len(bare) or len(two) <= len(one) + len(bare) - 1:
        raise UserError(f"{where} puts no special tokens around a text, and so no `post_processor` was saved with it; "
                        f"take the model's own tokenizer")  # fmt: skip
    if (highest := max(*one, *two, tokenizer.pad_token_id)) >= facts.vocabulary:
        raise UserError(f"{where} gives ids up to {highest}, the model's vocabulary ends at {facts.vocabulary - 1}; "
                        f"take both from the same model")  # fmt: skip
    # XLM-R and others leave it unset, which Transformers takes as boundless.
    tokenizer.model_max_length = min(tokenizer.model_max_length, facts.max_length)
    return tokenizer


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


@cache
def check_loadable(encoder: Encoder) -> None:
    """Open an encoder as stages will, before any does. Raises UserError where something is missing or does not fit.

    All names and shapes of tensors are compared with the model's, by the files' headers. Then two words go through
    the lowest blocks, of `_TRIED` parameters at most, and must come out as numbers: small encoders are run whole, and
    of a large one no more is read than its embeddings and these blocks.
    """
    encoder = _cut_out_of(encoder)
    tokenizer = load_tokenizer(encoder)
    source, facts = sources.resolve(encoder.source, encoder.revision), describe(encoder)
    if source.folder is not None and encoder.init == "pretrained":
        folder = sources.with_weights(source)
        describe(encoder)  # once more: a hub model's weights are there from now on
        with _quiet(), told(f"encoder {encoder.source}: {folder}: its weights"):
            config = load_config(encoder)
            _, info = AutoModel.from_pretrained(
                folder,
                config=config,
                device_map="meta",
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **_LOCAL,
            )
        check_complete(source.name, info)
        if info["mismatched_keys"]:
            tensor, saved, wanted = sorted(info["mismatched_keys"])[0]
            raise UserError(
                f"encoder {source.name}: {folder}: {tensor} has the shape {tuple(saved)}, by config.json it would be "
                f"{tuple(wanted)}; take both from the same model"
            )
    blocks = max(1, min(facts.layers, _TRIED // max(1, facts.parameters_without_embeddings // facts.layers)))
    with told(f"encoder {encoder.source}: a first pass through it"), torch.inference_mode():
        model = load_model(replace(encoder, layers=blocks), AutoModel, seed=0)
        ids = torch.tensor([tokenizer(_TWO_WORDS)["input_ids"]])
        states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    if not bool(torch.isfinite(states).all()):
        raise UserError(
            f"encoder {encoder.source}: two words come out as NaN or infinite: its weights are damaged; copy or "
            f"download them again"
        )


def _cut_out_of(encoder: Encoder) -> Encoder:
    """The lowest blocks of the source, whole, that a pruned encoder is cut out of; itself where these are all."""
    kept = describe(encoder).kept
    return (
        encoder if kept.whole_blocks else replace(encoder, layers=kept.blocks[-1] + 1, ffn=None, heads=None, heal=None)
    )


def check_complete(name: str, info: Mapping[str, Any]) -> None:
    """Raises UserError where a model has tensors that its files lack: ``info`` is what ``from_pretrained`` tells."""
    missing = sorted(each for each in info["missing_keys"] if not each.startswith("pooler."))
    if missing:
        raise UserError(f"encoder {name}: the weights lack {len(missing)} of the model's tensors, such as {missing[0]}")


def load_model(
    encoder: Encoder, auto_class: Any, *, seed: int, vocabulary: np.ndarray | None = None, **overrides: Any
) -> PreTrainedModel:
    """A model of the class that ``auto_class`` (AutoModelForQuestionAnswering, ...) gives, in float32, in eval mode.

    The encoder has its pretrained weights, or with ``init`` random ones of the configuration's initialiser; the
    head is always initialised afresh, except a language-modelling head, which is kept where the source has one.
    What is random depends on ``seed`` alone; the caller's random state is untouched. What is pruned is cut out of the
    pretrained weights; fewer heads are narrower projections (`xstilts.encoders.cut`). ``overrides`` go to the
    configuration; ``attn_implementation`` to the model, where its architecture has a choice. Every call gives weights
    of its own. Who will read no other ids than ``vocabulary`` says so, which spares the bundled encoder 384 MB of
    word embeddings: the others are 0.

    Raises UserError when the source cannot be had, or its architecture has no such head.
    """
    larger, kept = _cut_out_of(encoder), describe(encoder).kept
    if larger != encoder and encoder.init == "pretrained":
        whole = load_model(larger, auto_class, seed=seed, vocabulary=vocabulary, **overrides)
        return cut.cut(whole, kept)
    attention = overrides.pop("attn_implementation", None)
    config = load_config(encoder, **overrides)
    if type(config) not in auto_class._model_mapping:
        raise UserError(
            f"encoder {encoder.source}: its type {config.model_type} has no {auto_class.__name__} in Transformers"
        )
    with _quiet(), torch.device("meta"), told(f"encoder {encoder.source}: config.json"):
        model_class = type(auto_class.from_config(config))
    options: dict[str, Any] = {"dtype": torch.float32}
    if attention is not None:  # some architectures, as DeBERTa, have their own attention only
        options["attn_implementation"] = attention if model_class._supports_attention_backend else "eager"
    with _quiet(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        if encoder.init == "random":
            model: PreTrainedModel = auto_class.from_config(config, **options).eval()
            if kept.heads is not None:  # the rest its configuration says
                cut.cut(model, replace(kept, blocks=tuple(range(len(kept.blocks))), ffn=None))
            return model
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
    check_complete(source.name, info)
    state: dict[str, torch.Tensor] = model.state_dict()
    for name in info["missing_keys"]:
        del state[name]
    return state
