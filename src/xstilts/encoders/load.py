"""Encoders as Transformers models: the standard heads, so that a saved model opens in Transformers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, bodies, bundled, cut, describe, packing, pruning, sizes, sources
from xstilts.encoders.bodies import LOCAL, quiet, told
from xstilts.encoders.headed import KINDS, Headed

#: BERT's names of the dropouts, and what other architectures call them.
_DROPOUTS: dict[str, tuple[str, ...]] = {
    "hidden_dropout_prob": ("hidden_dropout_prob", "hidden_dropout", "dropout", "dropout_rate", "activation_dropout",
                            "embedding_dropout", "mlp_dropout", "embd_pdrop", "resid_pdrop", "resid_dropout"),
    "attention_probs_dropout_prob": ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop"),
}  # fmt: skip

#: So many parameters are run to see that a model gives numbers: all of XLM-R base's, a third of XLM-R large's.
_TRIED = 100_000_000

#: Read to see whether a tokenizer and its model work: words, and letters that no piece has.
_TWO_WORDS = "two words ꙮ"

#: Types whose heads in Transformers look for special tokens by their ids, which trimming changes.
_HEADS_BY_IDS = ("longformer", "big_bird")


def load_config(encoder: Encoder, **overrides: Any) -> PreTrainedConfig:
    """The encoder's configuration, of its depth and width, with ``overrides`` (num_labels, hidden_dropout_prob, ...).

    Dropouts go by BERT's names for every architecture. Raises UserError as `describe` does.
    """
    facts = describe(encoder)
    source = sources.resolve(encoder.source, encoder.revision)
    values = pruning.configured(source.config, facts.kept)
    if "num_labels" in overrides:  # else the saved names of labels would decide their number
        for name in ("id2label", "label2id"):
            values.pop(name, None)
    dropouts = {name: overrides.pop(name) for name in _DROPOUTS if name in overrides}
    whole = sizes.shape(source.config, encoder.source).layers
    config = bodies.config_of(values | overrides, encoder.source, facts.layers, whole)
    for name, value in dropouts.items():
        for own in _DROPOUTS[name]:
            if hasattr(config, own):
                setattr(config, own, value)
    if facts.decoder:
        config.use_cache = False
        config.pad_token_id = None  # it may have any id, and masks alone say what is padding
        if not facts.causal:
            bodies.read_both_ways(config)
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
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    where = f"encoder {encoder.source}: the tokenizer in {folder}"
    if not tokenizer.is_fast:
        raise UserError(f"encoder {encoder.source}: it has no fast tokenizer; save one as tokenizer.json beside it")
    if not isinstance(tokenizer.model_max_length, int) or tokenizer.model_max_length < 16:
        raise UserError(f"{where} takes {tokenizer.model_max_length!r} tokens (model_max_length); mend its "
                        f"tokenizer_config.json: the model takes {facts.max_length}")  # fmt: skip
    with told(f"encoder {encoder.source}: its tokenizer"):
        bare = tokenizer(_TWO_WORDS, add_special_tokens=False)["input_ids"]
    if not bare:
        raise UserError(f"{where} reads no words; save it again with save_pretrained")
    if facts.decoder:
        tokenizer = packing.packed(tokenizer, where)
    if tokenizer.pad_token_id is None:
        raise UserError(f"{where} has no padding token; name its `pad_token` in tokenizer_config.json")
    with told(f"encoder {encoder.source}: its tokenizer"):
        one, two = (tokenizer(*texts)["input_ids"] for texts in ((_TWO_WORDS,), (_TWO_WORDS, _TWO_WORDS)))
    if len(one) == len(bare) or len(two) <= len(one) + len(bare) - 1:
        raise UserError(f"{where} puts no special tokens around a text, and so no `post_processor` was saved with it; "
                        f"take the model's own tokenizer")  # fmt: skip
    if (highest := max(*one, *two, tokenizer.pad_token_id)) >= facts.vocabulary:
        raise UserError(f"{where} gives ids up to {highest}, the model's vocabulary ends at {facts.vocabulary - 1}; "
                        f"take both from the same model")  # fmt: skip
    # XLM-R and others leave it unset, which Transformers takes as boundless.
    tokenizer.model_max_length = min(tokenizer.model_max_length, facts.max_length)
    tokenizer.padding_side = "right"  # heads and `pad` take it to be
    if "token_type_ids" in tokenizer.model_input_names and not bodies.accepts(_outline(encoder), "token_type_ids"):
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    return tokenizer


def _outline(encoder: Encoder) -> PreTrainedModel:
    source = sources.resolve(encoder.source, encoder.revision)
    return bodies.outline(bodies.config_of(source.config, encoder.source), encoder.source)


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
        with quiet(), told(f"encoder {encoder.source}: {folder}: its weights"):
            config = load_config(encoder)
            _, info = bodies.pretrained(folder, config, device_map="meta", ignore_mismatched_sizes=True)
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
        last = ids.clone()
        last[0, -1] = ids[0, 0]  # another last token: who is read both ways, is read otherwise from the first on
        others = model(input_ids=last, attention_mask=torch.ones_like(ids)).last_hidden_state
    if not bool(torch.isfinite(states).all()):
        raise UserError(
            f"encoder {encoder.source}: two words come out as NaN or infinite: its weights are damaged; copy or "
            f"download them again"
        )
    if facts.decoder and torch.equal(states[0, 0], others[0, 0]) != facts.causal:
        how = "though `attention: full` was asked for" if not facts.causal else "and not forwards, as its type is"
        raise UserError(f"encoder {encoder.source}: a {facts.model_type} is read "
                        f"{'forwards' if not facts.causal else 'both ways'} {how}; leave it out")  # fmt: skip


def _cut_out_of(encoder: Encoder) -> Encoder:
    """The lowest blocks of the source, whole, that a pruned encoder is cut out of; itself where these are all."""
    kept = describe(encoder).kept
    return (
        encoder if kept.whole_blocks else replace(encoder, layers=kept.blocks[-1] + 1, ffn=None, heads=None, heal=None)
    )


@cache
def _chosen(encoder: Encoder, _digest: str) -> list[cut.Chosen]:
    """Which units and heads a pruned encoder keeps: once a process, since the whole model is run for it."""
    kept = describe(encoder).kept
    if kept.ffn is None and kept.heads is None:
        return [cut.Chosen(None, None)] * len(kept.blocks)
    larger = _cut_out_of(encoder)
    read = np.unique(cut.pieces(load_config(larger)))
    return cut.choose(load_model(larger, AutoModel, seed=0, vocabulary=read), kept)


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
        return cut.cut(whole, kept, _chosen(replace(encoder, heal=None), describe(encoder).digest))
    attention = overrides.pop("attn_implementation", None)
    config = load_config(encoder, **overrides)
    facts, kind = describe(encoder), own_head(config, auto_class)
    if kind is None and auto_class is not AutoModel and type(config) not in auto_class._model_mapping:
        raise UserError(
            f"encoder {encoder.source}: its type {config.model_type} has no {auto_class.__name__} in Transformers"
        )
    if kind or auto_class is AutoModel:
        model_class = type(bodies.outline(config, encoder.source))
    else:
        with quiet(), torch.device("meta"), told(f"encoder {encoder.source}: config.json"):
            model_class = type(auto_class.from_config(config))
    options: dict[str, Any] = {"dtype": torch.float32}
    if attention is not None:  # some architectures, as DeBERTa, have their own attention only
        has_choice = model_class._supports_attention_backend and (attention != "sdpa" or model_class._supports_sdpa)
        options["attn_implementation"] = attention if has_choice else "eager"
    with quiet(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        source = sources.resolve(encoder.source, encoder.revision)
        if kind:
            body = bodies.make(config, **options)
            if encoder.init == "pretrained":
                body.load_state_dict(_encoder_state(source, config, vocabulary), strict=False)
            return Headed(body, kind, facts.pooling).eval()
        if encoder.init == "random":
            make = bodies.make if auto_class is AutoModel else auto_class.from_config
            model: PreTrainedModel = bodies.both_ways(make(config, **options)).eval()
            if kept.heads is not None:  # the rest its configuration says
                first = cut.Chosen(None, torch.arange(kept.heads))
                blocks = tuple(range(len(kept.blocks)))
                cut.cut(model, replace(kept, blocks=blocks, ffn=None), [first] * len(blocks))
            return model
        if source.folder is not None and auto_class is AutoModelForMaskedLM:
            model = model_class.from_pretrained(sources.with_weights(source), config=config, **LOCAL, **options)
            return model
        state = _encoder_state(source, config, vocabulary)
        if auto_class is not AutoModel:
            prefix = model_class.base_model_prefix
            state = {f"{prefix}.{name}": tensor for name, tensor in state.items()}
        model = model_class.from_pretrained(None, config=config, state_dict=state, **options)
        return bodies.both_ways(model)


def own_head(config: PreTrainedConfig, auto_class: Any) -> str | None:
    """The kind of our own head (`headed`) that stands in for a class of Transformers'; None where that serves.

    Ours is for types without it, for encoders of encoder–decoder models, whose heads want a decoder, and for classes of
    decoders: Transformers looks for a row's last token by the padding's id, which may be the last token's too.
    """
    kind = KINDS.get(auto_class.__name__)
    serves = type(config) in auto_class._model_mapping and config.model_type not in _HEADS_BY_IDS
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING
    if serves and not bodies.has_decoder(config) and not (kind == "sequence" and causal):
        return None
    return kind


def _encoder_state(
    source: sources.EncoderSource, config: PreTrainedConfig, vocabulary: np.ndarray | None
) -> dict[str, torch.Tensor]:
    """The weights of the bare encoder, by the names of its class."""
    if source.folder is None:
        arrays = bundled.state_dict(config.num_hidden_layers, vocabulary)
        return {name: torch.from_numpy(array) for name, array in arrays}
    folder = sources.with_weights(source)
    model, info = bodies.pretrained(folder, config, dtype=torch.float32)
    check_complete(source.name, info)
    state: dict[str, torch.Tensor] = model.state_dict()
    for name in info["missing_keys"]:
        del state[name]
    return state
