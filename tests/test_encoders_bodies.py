"""Bodies: how decoders attend, whatever computes their attention, and their words trimmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForTokenClassification

from bodies_of_types import save
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, trim
from xstilts.encoders.headed import Headed, pooled
from xstilts.encoders.load import check_loadable, load_model, load_tokenizer
from xstilts.engine.machine import attention

IDS = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])
OTHERS = ("llama", "gemma3_text", "gpt2", "xglm")
DECODERS = ("qwen3", "bloom", *(pytest.param(one, marks=pytest.mark.soak) for one in OTHERS))


@torch.no_grad()
def states(encoder: Encoder, ids: torch.Tensor, mask: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
    model = load_model(encoder, AutoModel, seed=0, **options)
    given = torch.ones_like(ids) if mask is None else mask
    found: torch.Tensor = model(input_ids=ids, attention_mask=given).last_hidden_state
    return found


@pytest.mark.parametrize("model_type", DECODERS)
def test_a_decoder_is_read_forwards_or_both_ways_whatever_computes_it(model_type: str, tmp_path: Path) -> None:
    save(tmp_path, model_type)
    other = IDS.clone()
    other[0, -1] = 20
    padded = torch.cat([IDS, torch.full((1, 4), 3)], 1)
    mask = torch.tensor([[1] * 8 + [0] * 4])
    for way, sees in (("causal", False), ("full", True)):
        encoder = Encoder(str(tmp_path), attention=way)  # type: ignore[arg-type]
        check_loadable(encoder)
        found = {name: states(encoder, IDS, attn_implementation=name) for name in ("eager", "sdpa", attention.NAME)}
        for name, own in found.items():
            torch.testing.assert_close(own, found["eager"], rtol=1e-4, atol=1e-5)
            changed = states(encoder, other, attn_implementation=name)
            assert torch.allclose(changed[0, 0], own[0, 0], atol=1e-6) != sees
            behind = states(encoder, padded, mask, attn_implementation=name)[:, :8]
            torch.testing.assert_close(behind, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("model_type", "own"), [
    ("gemma2", {"attn_logit_softcapping": 0.5, "sliding_window": 4}),
    ("gpt_oss", {"num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 4}),
])  # fmt: skip
@torch.no_grad()
def test_capped_scores_and_sinks_are_those_of_transformers(model_type: str, own: dict[str, Any]) -> None:
    config = CONFIG_MAPPING[model_type].from_dict({
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 8, "intermediate_size": 32, "pad_token_id": 1, **own,
    })  # fmt: skip
    models = []
    for name in ("eager", attention.NAME):
        torch.manual_seed(1)
        models.append(AutoModel.from_config(config, attn_implementation=name).eval())
        for parameter in models[-1].parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    for parameter, same in zip(models[1].parameters(), models[0].parameters(), strict=True):
        parameter.copy_(same)
    eager, blocked = (model(input_ids=IDS).last_hidden_state for model in models)
    torch.testing.assert_close(blocked, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", ["gemma3_text", "m2m_100", "mt5", "qwen3", "rembert"])
@torch.no_grad()
def test_a_trimmed_body_computes_what_the_whole_one_does(model_type: str, tmp_path: Path) -> None:
    """Also where words are scaled as they are looked up, or stand in two places."""
    save(tmp_path, model_type)
    encoder = Encoder(str(tmp_path))
    whole, cut = (load_model(encoder, AutoModel, seed=0) for _ in range(2))
    used = trim.used_vocabulary([IDS.numpy()[0]], load_tokenizer(encoder))
    mapping = trim.trim_vocabulary(cut, used)
    assert len(used) < 20
    mask = torch.ones_like(IDS)
    expected = whole(input_ids=IDS, attention_mask=mask).last_hidden_state
    found = cut(input_ids=mapping[IDS], attention_mask=mask).last_hidden_state
    assert torch.equal(found, expected)
    trim.restore_vocabulary(cut, whole.get_input_embeddings().weight.clone(), used)
    assert torch.equal(cut(input_ids=IDS, attention_mask=mask).last_hidden_state, expected)


def test_a_sequence_is_read_at_its_last_token_or_their_mean() -> None:
    given = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pooled(given, mask, "last").tolist() == [[2.0, 3.0], [10.0, 11.0]]
    assert pooled(given, mask, "mean").tolist() == [[1.0, 2.0], [8.0, 9.0]]


def test_a_head_of_ours_is_drawn_from_the_seed_alone(tmp_path: Path) -> None:
    save(tmp_path, "mt5")
    state = torch.get_rng_state()
    one, same, other = (
        load_model(Encoder(str(tmp_path)), AutoModelForTokenClassification, seed=seed, num_labels=5)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(one, Headed) and isinstance(same, Headed) and isinstance(other, Headed)
    assert torch.equal(one.head.weight, same.head.weight) and not torch.equal(one.head.weight, other.head.weight)
    assert one.head.weight.shape == (5, 16)
    words = [model.get_input_embeddings().weight.detach().numpy() for model in (one, other)]
    assert np.array_equal(*words)


@pytest.mark.parametrize(
    ("model_type", "own"),
    [
        (
            "gpt_neo",
            {
                "hidden_size": 16,
                "num_layers": 3,
                "num_heads": 2,
                "intermediate_size": 32,
                "attention_types": [[["global", "local", "global"], 1]],
            },
        ),
        ("funnel", {"d_model": 16, "n_head": 2, "d_head": 8, "block_sizes": [2, 2]}),
    ],
)
def test_what_cannot_be_cut_or_read_is_refused_in_one_line(
    model_type: str, own: dict[str, Any], tmp_path: Path
) -> None:
    save(tmp_path, "qwen3")
    (tmp_path / "config.json").write_text(
        CONFIG_MAPPING[model_type].from_dict({"vocab_size": 400, **own}).to_json_string(use_diff=False)
    )
    with pytest.raises(UserError, match=r"cannot be used|reads no token ids|is missing|lack") as error:
        check_loadable(Encoder(str(tmp_path), layers=1))
    assert "\n" not in str(error.value)
