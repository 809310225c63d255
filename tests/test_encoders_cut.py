"""Pruned models compute what their parts compute, and open in plain Transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForQuestionAnswering

from test_encoders_load import TYPES, save_model
from xstilts.encoders import Encoder, bundled, cut, load
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


def inputs_of(model: nn.Module, layer: nn.Linear) -> torch.Tensor:
    """What a layer reads when the model reads the pseudo-random pieces [tokens, inputs]."""
    read: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].flatten(0, 1)))
    states(model, torch.from_numpy(cut.pieces(model.config)))
    hook.remove()
    return read[0]


def test_the_most_important_units_and_heads_are_kept() -> None:
    """Without them is as with weights of 0: one by one, those of the smallest activation times outgoing weights."""
    whole = load_model(Encoder(E5, layers=2), AutoModel, seed=0)
    narrow = load_model(Encoder(E5, layers=2, ffn=100, heads=5), AutoModel, seed=0)
    zeros: list[tuple[nn.Linear, slice]] = []
    for block in whole.encoder.layer:
        units, heads = block.output.dense, block.attention.output.dense
        read, attended = inputs_of(whole, units), inputs_of(whole, heads)
        importance = [float(read[:, i].abs().mean() * units.weight[:, i].detach().norm()) for i in range(1536)]
        zeros += [(units, slice(i, i + 1)) for i in sorted(range(1536), key=importance.__getitem__)[: 1536 - 100]]
        spans = [slice(i * 32, i * 32 + 32) for i in range(12)]
        of = [float(attended[:, own].norm(dim=1).mean() * heads.weight[:, own].detach().norm()) for own in spans]
        zeros += [(heads, spans[i]) for i in sorted(range(12), key=of.__getitem__)[: 12 - 5]]
    with torch.no_grad():
        for layer, own in zeros:
            layer.weight[:, own] = 0.0
    assert torch.allclose(states(narrow), states(whole), atol=1e-5)
    first = narrow.encoder.layer[0]
    assert first.attention.self.query.weight.shape == (5 * 32, 384)
    assert first.output.dense.weight.shape == (384, 100)
    assert all(parameter.requires_grad for parameter in narrow.parameters())


def test_what_is_kept_follows_from_the_weights_alone() -> None:
    """Whatever words the data use, and in whatever process."""
    encoder = Encoder(E5, layers=2, ffn=100)
    one = load_model(encoder, AutoModel, seed=0, vocabulary=np.array([0, 1, 2, 10]))
    load._chosen.cache_clear()
    other = load_model(encoder, AutoModelForQuestionAnswering, seed=7)
    for name, weight in one.encoder.state_dict().items():
        assert torch.equal(weight, other.bert.encoder.state_dict()[name])


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
