"""Tiny models of many types, at random, with tokenizers as their families have them: each a folder as of the hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CONFIG_MAPPING, AutoModel, PreTrainedTokenizerFast

H, L, A, F = 16, 3, 2, 32  # hidden size, layers, heads, feed-forward size
NAMES = {"hidden_size": H, "num_hidden_layers": L, "num_attention_heads": A, "intermediate_size": F,
         "max_position_embeddings": 96}  # fmt: skip
VOCABULARY = 400


@dataclass(frozen=True)
class Kind:
    """A type: its configuration, and which of the `TOKENIZERS` its families have."""

    config: dict[str, Any]
    tokenizer: str = "framed"
    standard: dict[str, Any] = field(default_factory=lambda: dict(NAMES))


KINDS: dict[str, Kind] = {
    "bert": Kind({}),
    "xlm-roberta": Kind({"pad_token_id": 1}),
    "xlm-roberta-xl": Kind({"pad_token_id": 1}),
    "deberta-v2": Kind({"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}),
    "modernbert": Kind({"local_attention": 8, "cls_token_id": 0, "sep_token_id": 2}),
    "eurobert": Kind({"num_key_value_heads": 1}),
    "distilbert": Kind({"dim": H, "n_layers": L, "n_heads": A, "hidden_dim": F, "max_position_embeddings": 96},
                       standard={}),
    "rembert": Kind({"input_embedding_size": 8, "output_embedding_size": 8}),
    "albert": Kind({"embedding_size": 8}),
    "nomic_bert": Kind({}),
    "mt5": Kind({"d_model": H, "d_kv": 8, "d_ff": F, "num_layers": L, "num_heads": A, "feed_forward_proj": "gated-gelu",
                 "is_encoder_decoder": True}, "ended", standard={}),
    "t5": Kind({"d_model": H, "d_kv": 8, "d_ff": F, "num_layers": L, "num_heads": A}, "ended", standard={}),
    "m2m_100": Kind({"d_model": H, "encoder_layers": L, "decoder_layers": 2, "encoder_attention_heads": A,
                     "decoder_attention_heads": A, "encoder_ffn_dim": F, "decoder_ffn_dim": F,
                     "max_position_embeddings": 96, "pad_token_id": 1, "scale_embedding": True}, standard={}),
    "qwen3": Kind({"num_key_value_heads": 1, "head_dim": 8}, "bare"),
    "llama": Kind({"num_key_value_heads": 1}, "begun"),
    "gemma3_text": Kind({"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 16}, "begun"),
    "gemma2": Kind({"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 16}, "begun"),
    "bloom": Kind({"hidden_size": H, "n_layer": L, "n_head": A}, "bare", standard={}),
    "gpt2": Kind({"n_embd": H, "n_layer": L, "n_head": A, "n_positions": 96}, "bare", standard={}),
    "xglm": Kind({"d_model": H, "num_layers": L, "attention_heads": A, "ffn_dim": F, "max_position_embeddings": 96,
                  "pad_token_id": 1}, "framed", standard={}),
}  # fmt: skip

#: Special tokens around a text, and around two: encoders', T5's, decoders' that begin a text, and that add nothing.
TOKENIZERS: dict[str, tuple[str, str] | None] = {
    "framed": ("<s> $A </s>", "<s> $A </s> $B </s>"),
    "ended": ("$A </s>", "$A </s> $B </s>"),
    "begun": ("<s> $A", "<s> $A <s> $B"),
    "bare": None,
}

_TEXTS = ["the word of a passage is read and its answer found", "who did what, where and when? in the year 1999.",
          "der die das und ist nicht ein eine zu den mit", "ya wa na kwa katika ni za la cha si"] * 5  # fmt: skip


@cache
def _core(kind: str) -> Tokenizer:
    """Pieces of bytes, so that any language is read."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind != "bare")
    core.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    core.train_from_iterator(_TEXTS, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))  # fmt: skip
    if template := TOKENIZERS[kind]:
        single, pair = template
        core.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    return core


def save_tokenizer(folder: Path, kind: str) -> None:
    named = {"eos_token": "</s>"}
    if kind in ("framed", "ended"):
        named |= {"pad_token": "<pad>", "unk_token": "<unk>"}
    if kind == "framed":
        named |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    if kind == "begun":
        named |= {"bos_token": "<s>"}
    PreTrainedTokenizerFast(tokenizer_object=_core(kind), **named).save_pretrained(folder)


def save(folder: Path, model_type: str, **changes: Any) -> Path:
    """A folder with a model of a type."""
    kind = KINDS[model_type]
    values = {"vocab_size": VOCABULARY, "pad_token_id": 1, **kind.standard, **kind.config, **changes}
    torch.manual_seed(1)
    config = CONFIG_MAPPING[model_type].from_dict({"model_type": model_type, **values})
    AutoModel.from_config(config).save_pretrained(folder)
    save_tokenizer(folder, kind.tokenizer)
    return folder
