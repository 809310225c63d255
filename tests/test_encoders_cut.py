"""Pruned models compute what their parts compute, and open in plain Transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForQuestionAnswering

from test_encoders_load import TYPES, save_model
from xstilts.encoders import Encoder, bundled, cut
from xstilts.encoders.load import load_model
from xstilts.encoders.pruning import PARTS

E5 = bundled.NAME
IDS = torch.tensor([[0, 10, 76, 51, 14, 2], [0, 33, 94, 2, 1, 1]])


def states(model: nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids, attention_mask=(ids != 1).long()).last_hidden_state
    return found


def test_blocks_run_one_after_the_other() -> None:
    whole, some = load_model(Encoder(E5), AutoModel, seed=0), load_model(Encoder(E5, layers=(0, 5)), AutoModel, seed=0)
    whole.encoder.layer = nn.ModuleList([whole.encoder.layer[0], whole.encoder.layer[5]])
    assert torch.equal(states(some), states(whole))
    assert not torch.equal(states(some), states(load_model(Encoder(E5, layers=2), AutoModel, seed=0)))


@torch.no_grad()
def zeroed(model: nn.Module, ffn: int, heads: int) -> None:
    """Take the least important units and heads away by weights of 0, one by one."""
    for block in model.encoder.layer:
        reading = block.attention.self.value
        units = sorted(range(block.intermediate.dense.out_features), key=lambda i: -float(
            torch.cat([block.intermediate.dense.weight[i], block.intermediate.dense.bias[i : i + 1]]).double().norm()
            * block.output.dense.weight[:, i].double().norm()))  # fmt: skip
        size = model.config.hidden_size // model.config.num_attention_heads
        spans = [slice(i * size, (i + 1) * size) for i in range(model.config.num_attention_heads)]
        of = [float(torch.cat([reading.weight[own].flatten(), reading.bias[own]]).double().norm()
                    * block.attention.output.dense.weight[:, own].double().norm()) for own in spans]  # fmt: skip
        block.output.dense.weight[:, units[ffn:]] = 0.0
        for i in sorted(range(len(of)), key=lambda i: -of[i])[heads:]:
            block.attention.output.dense.weight[:, spans[i]] = 0.0


def test_the_most_important_units_and_heads_are_kept() -> None:
    whole = load_model(Encoder(E5, layers=2), AutoModel, seed=0)
    zeroed(whole, 100, 5)
    narrow = load_model(Encoder(E5, layers=2, ffn=100, heads=5), AutoModel, seed=0)
    assert torch.allclose(states(narrow), states(whole), atol=1e-5)
    first = narrow.encoder.layer[0]
    assert first.attention.self.query.weight.shape == (5 * 32, 384)
    assert first.output.dense.weight.shape == (384, 100)
    assert all(parameter.requires_grad for parameter in narrow.parameters())


def test_importance_follows_from_the_weights_alone() -> None:
    block = load_model(Encoder(E5, layers=1), AutoModel, seed=0).encoder.layer[0]
    before = cut.importance(block, PARTS["bert"])
    with torch.no_grad():
        block.intermediate.dense.weight[7] *= 3.0
        block.intermediate.dense.bias[7] *= 3.0
        block.output.dense.weight[:, 9] = 0.0
    after = cut.importance(block, PARTS["bert"])
    assert after[7].item() == pytest.approx(3.0 * before[7].item()) and after[9] == 0.0
    assert torch.equal(after[10:], before[10:])


@pytest.mark.parametrize("model_type", TYPES)
def test_pruned_folders_open_in_transformers(model_type: str, tmp_path: Path) -> None:
    """Each type, by its configuration alone; heads of 0 are given back where it cannot say that there are fewer."""
    save_model(tmp_path / "whole", model_type)
    heads = 1 if PARTS[model_type].heads else None
    encoder = Encoder(str(tmp_path / "whole"), layers=(0, 2), ffn=12, heads=heads)
    ids = torch.tensor([[0, 5, 9, 12, 2, 1], [0, 7, 2, 1, 1, 1]])
    for auto_class in (AutoModel, AutoModelForMaskedLM):
        model = load_model(encoder, auto_class, seed=0)
        before = states(model.base_model, ids)
        cut.fill_heads(model)
        model.save_pretrained(tmp_path / auto_class.__name__)
        again, info = auto_class.from_pretrained(tmp_path / auto_class.__name__, output_loading_info=True)
        assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])
        after = states(again.eval().base_model, ids)
        assert torch.allclose(after, before, atol=1e-5), (after - before).abs().max()


def test_a_random_control_of_a_pruned_encoder() -> None:
    one, other, wide = (load_model(Encoder(E5, 2, "random", ffn=96, heads=heads), AutoModelForQuestionAnswering, seed=3)
                        for heads in (3, 3, None))  # fmt: skip
    assert one.bert.encoder.layer[1].attention.self.query.out_features == 96 == one.config.intermediate_size
    assert torch.equal(states(one.bert), states(other.bert))
    assert torch.equal(one.bert.encoder.layer[0].intermediate.dense.weight,
                       wide.bert.encoder.layer[0].intermediate.dense.weight)  # fmt: skip
