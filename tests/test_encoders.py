"""Naming encoders, their facts and sizes, and where they come from."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from xstilts.common import extras
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, Every, bodies, bundled, counting, describe, listed, parse, sizes, sources
from xstilts.encoders.families import expected, family_of, known_encoders

TINY = {
    "model_type": "xlm-roberta",
    "num_hidden_layers": 3,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 34,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    sources._hub_file.cache_clear()
    return tmp_path


def put_in_cache(cache: Path, name: str, files: dict[str, str]) -> Path:
    repo = cache / ("models--" + name.replace("/", "--"))
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for file, text in files.items():
        (snapshot / file).write_text(text, encoding="utf-8")
    return snapshot


@pytest.mark.parametrize(
    ("text", "encoder"),
    [
        ("bundled/e5-small", Encoder("bundled/e5-small")),
        ("bundled/e5-small@6", Encoder("bundled/e5-small", layers=6)),
        ("FacebookAI/xlm-roberta-base@12 random", Encoder("FacebookAI/xlm-roberta-base", layers=12, init="random")),
        ("./my models/mbert random", Encoder("./my models/mbert", init="random")),
        ("Qwen/Qwen3-0.6B-Base full", Encoder("Qwen/Qwen3-0.6B-Base", attention="full")),
        ("./q@2 full random", Encoder("./q", layers=2, attention="full", init="random")),
        ("bundled/e5-small@0,2,5,8,11", Encoder("bundled/e5-small", layers=(0, 2, 5, 8, 11))),
        ("bundled/e5-small@every 2 ffn 384", Encoder("bundled/e5-small", layers=Every(2), ffn=384)),
        ("bundled/e5-small ffn 0.25 heads 6", Encoder("bundled/e5-small", ffn=0.25, heads=6)),
        ("bundled/e5-small@6 healed 300k", Encoder("bundled/e5-small", layers=6, heal=300_000)),
        ("bundled/e5-small ffn 384 healed 2M", Encoder("bundled/e5-small", ffn=384, heal=2_000_000)),
        ("bundled/e5-small ffn 384 healed 2500", Encoder("bundled/e5-small", ffn=384, heal=2500)),
        ("a/b@3 heads 6 random", Encoder("a/b", layers=3, heads=6, init="random")),
    ],
)
def test_labels_are_read_back(text: str, encoder: Encoder) -> None:
    assert parse(text) == encoder
    assert encoder.label == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@3",
        "bundled/e5-small@",
        "bundled/e5-small@0",
        "bundled/e5-small@six",
        "a@1@2",
        "a@1,",
        "a@1 ffn 0",
        "a@1 heads",
    ],
)
def test_wrong_labels(text: str) -> None:
    with pytest.raises(UserError, match="not of the form SOURCE or SOURCE@LAYERS"):
        parse(text)


def test_facts_of_the_bundled_encoder() -> None:
    whole, half = describe(Encoder(bundled.NAME)), describe(Encoder(bundled.NAME, layers=6))
    assert (whole.layers, whole.hidden_size, whole.heads, whole.ffn) == (12, 384, 12, 1536)
    assert (whole.vocabulary, whole.max_length, whole.parameters) == (250037, 512, 117_505_920)
    assert half.layers == 6
    assert 2 * (half.parameters_without_embeddings - 768) == whole.parameters_without_embeddings - 768
    assert whole.digest == half.digest == "sha256:1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"


def test_describing_needs_no_torch() -> None:
    code = "import sys, runpy; from xstilts import encoders; encoders.describe(encoders.parse('bundled/e5-small@6'));"
    code += "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    package = Path(sources.__file__).parents[1]
    # the package's own __init__ may import more: what is tested is this room
    stub = "import sys, types; sys.modules['xstilts'] = types.ModuleType('xstilts');"
    stub += f"sys.modules['xstilts'].__path__ = [{str(package)!r}];"
    out = subprocess.run([sys.executable, "-c", stub + code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("layers", [0, 13])
def test_more_layers_than_there_are(layers: int) -> None:
    with pytest.raises(UserError, match="the model has 12 layers; keep 1 to 12"):
        describe(Encoder(bundled.NAME, layers=layers))


def test_unknown_bundled_encoder() -> None:
    with pytest.raises(UserError, match="did you mean 'bundled/e5-small'"):
        describe(Encoder("bundled/e5-smal"))


def test_revision_of_what_has_none(tmp_path: Path) -> None:
    for name in (bundled.NAME, str(tmp_path)):
        with pytest.raises(UserError, match="only models of the hub have revisions"):
            describe(Encoder(name, revision="main"))


def module_sizes(config: dict[str, Any]) -> tuple[int, int]:
    """(all parameters, those outside lookup tables) of the encoder that Transformers builds, pooler aside."""
    body = bodies.outline(bodies.config_of(config, "x"), "x")
    counted = {name: p.numel() for name, p in body.named_parameters() if not name.startswith("pooler.")}
    named = ("embed", "shared", "wte", "wpe", "relative_attention_bias")
    tables = {name: n for name, n in counted.items() if any(word in name for word in named)}
    tables = {name: n for name, n in tables.items() if "norm" not in name.lower() and "embedding_hidden" not in name}
    return sum(counted.values()), sum(counted.values()) - sum(tables.values())


@pytest.mark.parametrize("entry", listed.entries().values(), ids=lambda entry: entry["name"])
def test_sizes_are_those_of_the_modules(entry: dict[str, Any]) -> None:
    config = entry["config"]
    assert sizes.shape(config, entry["name"]) == counting.counted(config, entry["name"])
    for layers in (1, sizes.shape(config, entry["name"]).layers):
        tables, rest = sizes.shape(config, entry["name"]).parameters(layers)
        field = next(name for name in ("num_hidden_layers", "num_layers", "n_layers", "n_layer") if name in config)
        assert (tables + rest, rest) == module_sizes(config | {field: layers})


@pytest.mark.parametrize(
    "change",
    [{"share_att_key": False}, {"position_biased_input": True}, {"type_vocab_size": 2}, {"norm_rel_ebd": "none"}],
    ids=str,
)
def test_sizes_of_other_debertas(change: dict[str, Any]) -> None:
    entry = listed.entries()["microsoft/mdeberta-v3-base"]
    config = entry["config"] | {"vocab_size": 100, "num_hidden_layers": 2} | change
    tables, rest = sizes.shape(config, entry["name"]).parameters(2)
    assert (tables + rest, rest) == module_sizes(config)


#: A body of each way to be built: shared tables, layers that differ, one layer for all, lists side by side.
OTHERS: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 3, "num_heads": 2},
    "m2m_100": {"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 32},
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40},
    "albert": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "embedding_size": 8},
    "xlm": {"emb_dim": 16, "n_layers": 3, "n_heads": 2, "n_words": 30},
    "deepseek_v3": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "first_k_dense_replace": 1,
                    "n_routed_experts": 2, "num_experts_per_tok": 1, "n_group": 1, "topk_group": 1,
                    "intermediate_size": 24, "moe_intermediate_size": 8},
}  # fmt: skip


@pytest.mark.parametrize("model_type", OTHERS)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_sizes_of_other_types_at_any_depth(model_type: str, layers: int) -> None:
    config = {"model_type": model_type, "vocab_size": 30, **OTHERS[model_type]}
    tables, rest = sizes.shape(config, "x").parameters(layers)
    cut = bodies.outline(bodies.config_of(config, "x", layers), "x")
    parameters = sum(p.numel() for name, p in cut.named_parameters() if not name.startswith("pooler."))
    assert tables + rest == parameters


def test_what_was_counted_once_is_read_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"vocab_size": 77}))
    counted = describe(Encoder(str(tmp_path)))
    sizes._counted.cache_clear()
    monkeypatch.setattr(counting, "counted", None)  # which imports it
    assert replace(describe(Encoder(str(tmp_path))), digest="") == replace(counted, digest="")
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"vocab_size": 78}))
    with pytest.raises(TypeError):
        describe(Encoder(str(tmp_path)))


def test_an_encoder_that_is_not_listed_wants_torch_to_be_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"vocab_size": 79}))
    with pytest.raises(UserError, match="torch is not installed; pip install"):
        describe(Encoder(str(tmp_path)))
    assert expected(Encoder("Qwen/Qwen3-8B-Base")) is not None


def test_a_configuration_without_end_is_refused_at_once(tmp_path: Path) -> None:
    vast = {"model_type": "mixtral", "hidden_size": 16, "num_hidden_layers": 1000, "vocab_size": 30,
            "num_attention_heads": 2, "intermediate_size": 32, "num_local_experts": 4096}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(vast | {"hidden_size": 65536, "intermediate_size": 1 << 20}))
    began = time.monotonic()
    with pytest.raises(UserError, match="describes a model larger than any is"):
        describe(Encoder(str(tmp_path)))
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"num_hidden_layers": 10**9}))
    with pytest.raises(UserError, match="num_hidden_layers is 1000000000, no whole number"):
        describe(Encoder(str(tmp_path)))
    assert time.monotonic() - began < 30


def test_known_encoders(hub_cache: Path) -> None:
    known = {entry.source: entry for entry in known_encoders()}
    e5, facts = known[bundled.NAME], describe(Encoder(bundled.NAME))
    assert (e5.layers, e5.parameters, e5.max_length) == (facts.layers, facts.parameters, facts.max_length)
    assert [name for name, entry in known.items() if entry.available] == [bundled.NAME]
    put_in_cache(hub_cache, "jhu-clsp/mmBERT-small", {"config.json": "{}", "model.safetensors": ""})
    assert {entry.source for entry in known_encoders() if entry.available} == {bundled.NAME, "jhu-clsp/mmBERT-small"}


def test_cached_hub_model(hub_cache: Path) -> None:
    put_in_cache(hub_cache, "some/model", {"config.json": json.dumps(TINY)})
    facts = describe(Encoder("some/model", layers=2))
    assert (facts.layers, facts.max_length, facts.digest) == (2, 32, f"hub:{COMMIT}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("some/absent", "not in the local cache, and the hub cannot be reached"),
        ("no name", "neither a folder nor a name that the hub could have"),
        ("./absent", "no such folder"),
        ("a/b/c", "no such folder"),
        ("a\\b", "no such folder"),
        ("~nobody-of-this-name/x", "no such folder"),
        ("xlm-roberta-base", "did you mean FacebookAI/xlm-roberta-base?"),
        ("my-model", "a model of the hub is named ORGANISATION/NAME"),
        ("some/a--b", "neither a folder nor a name that the hub could have"),
        ("a\0b", "neither a folder nor a name that the hub could have"),
        ("x" * 5000, "neither a folder nor a name that the hub could have"),
    ],
)
def test_sources_that_are_not_there(name: str, message: str, hub_cache: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        describe(Encoder(name))
    assert "\n" not in str(error.value)


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    save_file({"embeddings.word_embeddings.weight": torch.zeros(20, 8)}, tmp_path / "model.safetensors")
    before = describe(Encoder(str(tmp_path)))
    assert (before.model_type, before.layers, before.hidden_size) == ("xlm-roberta", 3, 8)
    assert describe(Encoder(str(tmp_path))).digest == before.digest
    save_file({"embeddings.word_embeddings.weight": torch.ones(20, 8)}, tmp_path / "model.safetensors")
    assert describe(Encoder(str(tmp_path))).digest != before.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "config.json: missing; a model folder is what save_pretrained writes"),
        ("{", "is not JSON"),
        ("[]", "is not a model's: it is no object"),
        (
            '{"model_type": "xml-roberta"}',
            "type 'xml-roberta' is not known to Transformers; did you mean 'xlm-roberta'",
        ),
        ('{"model_type": 5}', "its model type is 5, and no word"),
        ('{"model_type": "t5", "vocab_size": 9, "num_layers": 2}', "config.json: d_model is missing"),
        (
            '{"model_type": "t5", "vocab_size": 9, "d_model": 8, "num_layers": 2000}',
            "num_layers is 2000, no whole number from ",
        ),
        ('{"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1}', "is no model of text alone"),
        ('{"model_type": "whisper", "vocab_size": 8}', "is no model of text alone"),
        ('{"model_type": "gemma3", "text_config": {}}', "is no model of text alone"),
        ('{"model_type": "canine", "vocab_size": 9, "hidden_size": 24, "num_hidden_layers": 1}', "reads no token ids"),
        ('{"model_type": "new", "auto_map": {}}', "brings code of its own, which xstilts does not run"),
        ('{"model_type": "bert"}', "config.json: hidden_size is missing"),
    ],
)
def test_folders_that_are_no_encoders(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        describe(Encoder(str(tmp_path)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "total", "without_embeddings", "digits"),
    [  # as published, in millions
        ("FacebookAI/xlm-roberta-base", 277, None, 0),  # the paper's 270M and the hub's 278M, pooler and head aside
        ("facebook/xlm-roberta-xxl", 10_700, None, -2),
        ("jhu-clsp/mmBERT-small", 140, 42, 0),
        ("jhu-clsp/mmBERT-base", 307, 110, 0),
        ("EuroBERT/EuroBERT-210m", 210, 113, -1),
        ("EuroBERT/EuroBERT-610m", 610, 460, -1),
        ("EuroBERT/EuroBERT-2.1B", 2100, 1810, -2),
        ("distilbert/distilbert-base-multilingual-cased", 134, None, -1),
        ("sentence-transformers/LaBSE", 471, None, -1),
        ("google/mt5-xxl", 5655, None, 0),  # the encoder's part of 13 billion
        ("Qwen/Qwen3-0.6B-Base", 600, 440, -1),
        ("Qwen/Qwen3-1.7B-Base", 1700, 1400, -2),
        ("Qwen/Qwen3-4B-Base", 4000, 3600, -2),
        ("Qwen/Qwen3-8B-Base", 7600, 6900, -2),  # 8.2 billion with the language-modelling head
        ("google/gemma-3-270m", 270, 100, -1),
        ("google/gemma-3-1b-pt", 1000, 698, 0),
        ("bigscience/bloom-560m", 559, None, 0),
        ("bigscience/bloom-1b1", 1065, None, 0),
        ("bigscience/bloom-1b7", 1722, None, 0),
        ("bigscience/bloom-3b", 3003, None, 0),
        ("bigscience/bloom-7b1", 7069, None, 0),
    ],
)
def test_sizes_are_the_published_ones(name: str, total: int, without_embeddings: int | None, digits: int) -> None:
    known = {entry.source: entry for entry in known_encoders()}[name]
    assert round(known.parameters / 1e6, digits) == round(total, digits)
    if without_embeddings is not None:
        assert round(known.parameters_without_embeddings / 1e6, digits) == round(without_embeddings, digits)


def test_families_and_how_many_sizes_each_has() -> None:
    sizes_of: dict[str, int] = {}
    for entry in known_encoders():
        sizes_of[entry.family] = sizes_of.get(entry.family, 0) + 1
    assert sizes_of == {
        "multilingual-E5": 4, "XLM-R": 4, "mBERT": 2, "mDeBERTa": 1, "mmBERT": 2, "EuroBERT": 3, "InfoXLM": 2,
        "MiniLM": 1, "LaBSE": 1, "RemBERT": 1, "mT5": 5, "Qwen3": 4, "Gemma 3": 2, "BLOOM": 5,
    }  # fmt: skip
    assert family_of("facebook/xlm-roberta-xl") == "XLM-R" and family_of("./mine") == "./mine"
