"""Encoders as Transformers models: heads, truncation, seeds, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import bodies_of_types
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, bundled, load, sources
from xstilts.encoders.headed import Headed
from xstilts.encoders.load import load_config, load_model, load_tokenizer

SMALL = {
    "num_hidden_layers": 3,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 30,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
TYPES: dict[str, dict[str, Any]] = {
    "bert": {},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "deberta-v2": {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": {"cls_token_id": 0, "sep_token_id": 2, "layer_types": None, "local_attention": 8},
    "eurobert": {"num_key_value_heads": 1},
}


def save_tokenizer(folder: Path) -> None:
    words = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)


def save_model(folder: Path, model_type: str, auto_class: Any = AutoModelForMaskedLM) -> PreTrainedModel:
    torch.manual_seed(1)
    config = CONFIG_MAPPING[model_type].from_dict(SMALL | TYPES[model_type] | {"model_type": model_type})
    model: PreTrainedModel = auto_class.from_config(config)
    for parameter in model.parameters():  # nothing at its initial value, so that nothing passes by chance
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return model.eval()


def encoder_state(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: t for name, t in model.base_model.state_dict().items() if not name.startswith("pooler.")}


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.tensor([[0, 10, 876, 501, 104, 2], [0, 35773, 1294, 2, 1, 1]])


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 6])
def test_truncation_runs_the_lowest_layers(layers: int, ids: torch.Tensor) -> None:
    mask = (ids != 1).long()
    whole = load_model(Encoder(bundled.NAME), AutoModel, seed=0)
    cut = load_model(Encoder(bundled.NAME, layers=layers), AutoModel, seed=0)
    assert cut.config.num_hidden_layers == len(cut.encoder.layer) == layers
    states = whole(ids, attention_mask=mask, output_hidden_states=True).hidden_states
    assert torch.equal(cut(ids, attention_mask=mask).last_hidden_state, states[layers])


@pytest.mark.parametrize("model_type", TYPES)
def test_folders_of_every_type(model_type: str, tmp_path: Path) -> None:
    saved = encoder_state(save_model(tmp_path, model_type))
    whole = load_model(Encoder(str(tmp_path)), AutoModelForSequenceClassification, seed=0, num_labels=3)
    loaded = encoder_state(whole)
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    cut = load_model(Encoder(str(tmp_path), layers=2), AutoModelForTokenClassification, seed=0, num_labels=5)
    kept = encoder_state(cut)
    assert cut.config.num_hidden_layers == 2
    assert kept.keys() < saved.keys()
    assert {name for name in saved.keys() - kept.keys() if ".2." not in name} == set()
    assert all(torch.equal(kept[name], saved[name]) for name in kept)
    tokens = load_tokenizer(Encoder(str(tmp_path)))(["a b", "c"], ["d", "e"], padding=True, return_tensors="pt")
    assert cut(**tokens).logits.shape == (2, 6, 5)


def test_truncated_modernbert_saves_and_opens(tmp_path: Path) -> None:
    """Its configuration lists a type for every layer, which must be cut too."""
    save_model(tmp_path / "whole", "modernbert")
    cut = load_model(Encoder(str(tmp_path / "whole"), layers=2), AutoModel, seed=0)
    assert len(cut.config.layer_types) == 2
    cut.save_pretrained(tmp_path / "cut")
    again = AutoModel.from_pretrained(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), cut.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "auto_class",
    [
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        AutoModelForMultipleChoice,
        AutoModelForTokenClassification,
    ],
)
def test_heads_of_the_bundled_encoder(auto_class: Any) -> None:
    encoder = Encoder(bundled.NAME, layers=1)
    state = torch.get_rng_state()
    first, same, other = (load_model(encoder, auto_class, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], same[name]) for name in first)
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert differing
    assert all("pooler" in name or not name.startswith("bert.") for name in differing)


def test_overrides_reach_the_configuration() -> None:
    labels = {0: "entailment", 1: "neutral", 2: "contradiction"}
    model = load_model(
        Encoder(bundled.NAME, layers=1),
        AutoModelForSequenceClassification,
        seed=0,
        num_labels=3,
        id2label=labels,
        label2id={name: i for i, name in labels.items()},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    assert model.config.id2label == labels
    assert model.config._attn_implementation == "eager"
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_dropout_by_berts_names(tmp_path: Path) -> None:
    save_model(tmp_path, "modernbert")
    config = load_config(Encoder(str(tmp_path)), hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    assert (config.embedding_dropout, config.mlp_dropout, config.attention_dropout) == (0.3, 0.3, 0.2)


def test_models_do_not_share_weights() -> None:
    encoder = Encoder(bundled.NAME, layers=1)
    first = load_model(encoder, AutoModel, seed=0)
    for parameter in first.parameters():
        parameter.data.zero_()
    again = load_model(encoder, AutoModel, seed=0).get_input_embeddings().weight
    assert again.requires_grad
    assert again.abs().sum() > 0


def test_random_initialisation() -> None:
    encoder = Encoder(bundled.NAME, layers=2, init="random")
    state = torch.get_rng_state()
    one, two = (load_model(encoder, AutoModelForQuestionAnswering, seed=seed) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    same = load_model(encoder, AutoModelForQuestionAnswering, seed=1)
    words = [model.get_input_embeddings().weight for model in (one, two, same)]
    assert torch.equal(words[0], words[2])
    assert not torch.equal(words[0], words[1])
    assert words[0].std().item() == pytest.approx(0.02, rel=0.01)
    pretrained = load_model(Encoder(bundled.NAME, layers=2), AutoModelForQuestionAnswering, seed=1)
    assert {n: t.shape for n, t in one.state_dict().items()} == {n: t.shape for n, t in pretrained.state_dict().items()}


def test_trained_heads_are_not_taken_over_but_language_models_are(tmp_path: Path) -> None:
    trained = save_model(tmp_path / "qa", "xlm-roberta", AutoModelForQuestionAnswering)
    model = load_model(Encoder(str(tmp_path / "qa")), AutoModelForQuestionAnswering, seed=0)
    assert not torch.equal(model.qa_outputs.weight, trained.qa_outputs.weight)
    assert torch.equal(model.get_input_embeddings().weight, trained.get_input_embeddings().weight)
    language = save_model(tmp_path / "mlm", "xlm-roberta")
    model = load_model(Encoder(str(tmp_path / "mlm")), AutoModelForMaskedLM, seed=0)
    assert torch.equal(model.lm_head.dense.weight, language.lm_head.dense.weight)


def test_position_limit_of_the_tokenizer(tmp_path: Path) -> None:
    save_model(tmp_path, "xlm-roberta")
    assert load_tokenizer(Encoder(str(tmp_path))).model_max_length == 38


def test_weights_that_are_not_safetensors(tmp_path: Path) -> None:
    save_model(tmp_path, "bert")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no complete model\.safetensors in .*; xstilts unpickles nothing") as error:
        load_model(Encoder(str(tmp_path)), AutoModel, seed=0)
    assert "\n" not in str(error.value)


def test_folder_without_tokenizer(tmp_path: Path) -> None:
    save_model(tmp_path, "bert")
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match=r"no tokenizer in .*; save it there with save_pretrained") as error:
        load_tokenizer(Encoder(str(tmp_path)))
    assert "\n" not in str(error.value)


def test_weights_of_another_model(tmp_path: Path) -> None:
    save_model(tmp_path, "xlm-roberta")
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 3', '"num_hidden_layers": 4'))
    with pytest.raises(UserError, match=r"config\.json has 4 layers, the weights 3"):
        load_model(Encoder(str(tmp_path)), AutoModel, seed=0)


def test_head_that_an_architecture_lacks(tmp_path: Path) -> None:
    save_model(tmp_path, "eurobert")
    model = load_model(Encoder(str(tmp_path)), AutoModelForQuestionAnswering, seed=0)
    assert isinstance(model, Headed) and model.head.weight.shape == (2, SMALL["hidden_size"])
    bodies_of_types.save(tmp_path / "d", "qwen3")
    with pytest.raises(UserError, match="its type qwen3 has no AutoModelForMaskedLM in Transformers"):
        load_model(Encoder(str(tmp_path / "d")), AutoModelForMaskedLM, seed=0)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `some/model` in a hub cache, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    sources._hub_file.cache_clear()
    load._tokenizer.cache_clear()
    repo = tmp_path / "models--some--model"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    return repo / "snapshots" / COMMIT


def test_cached_hub_model(snapshot: Path) -> None:
    saved = encoder_state(save_model(snapshot, "xlm-roberta"))
    model = load_model(Encoder("some/model", layers=2), AutoModelForQuestionAnswering, seed=0)
    assert model.config.num_hidden_layers == 2
    assert all(torch.equal(tensor, saved[name]) for name, tensor in encoder_state(model).items())
    assert load_tokenizer(Encoder("some/model"))("a b")["input_ids"] == [0, 4, 5, 2]


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json"])
def test_hub_model_cached_in_part(missing: str, snapshot: Path) -> None:
    save_model(snapshot, "xlm-roberta")
    (snapshot / missing).unlink()
    with pytest.raises(
        UserError, match=r"encoder some/model: no .* at commit 0123456789: either .*hf download"
    ) as error:
        load_tokenizer(Encoder("some/model"))
        load_model(Encoder("some/model"), AutoModel, seed=0)
    assert "\n" not in str(error.value)
