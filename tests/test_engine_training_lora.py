"""LoRA: adapters that are trained in place of weights, and merged into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel

from test_encoders_load import SMALL, TYPES, save_model
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, describe
from xstilts.engine.models import IDS, MEAN, WEIGHTS, Joint, load_architecture
from xstilts.engine.training import lora
from xstilts.engine.training.averaging import Snapshots
from xstilts.planning import cost, estimate
from xstilts.planning.hyperparameters import Lora
from xstilts.planning.plan import Plan, Train
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
from xstilts.tasks import builtin_catalog

ENCODER = Encoder("bundled/e5-small", layers=1)


@pytest.mark.parametrize("model_type", TYPES)
def test_the_layers_that_are_adapted_and_their_sizes_are_those_of_the_model(model_type: str, tmp_path: Path) -> None:
    save_model(tmp_path, model_type)
    facts = describe(Encoder(str(tmp_path)))
    model = AutoModel.from_pretrained(tmp_path, local_files_only=True)
    found = sorted(
        (name.rsplit(".", 1)[-1], module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "pooler" not in name
    )
    assert found == sorted(list(map(tuple, facts.linear)) * SMALL["num_hidden_layers"])
    for targets in ((), ("all-linear",), (facts.attention[0],)):
        joint = Joint({"one": AutoModel.from_pretrained(tmp_path, local_files_only=True)})
        own = Lora(rank=3, targets=targets)
        lora.attach(joint, own, facts, seed=1)
        adapters = sum(p.numel() for name, p in joint.named_parameters() if "lora_" in name)
        assert adapters == cost.lora_parameters(facts, own) > 0


def model_of(seed: int = 1) -> Joint:
    task = builtin_catalog()["mini-nli"]
    return Joint({task.name: load_architecture(ENCODER, task, seed)})


def test_the_merged_model_computes_what_the_adapted_one_does() -> None:
    model = model_of()
    inputs = {"input_ids": torch.tensor([[0, 10, 876, 501, 104, 2]]), "attention_mask": torch.ones(1, 6).long()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain = model("mini-nli", **inputs).logits
    lora.attach(model, Lora(rank=2), describe(ENCODER), seed=1)
    assert torch.equal(model("mini-nli", **inputs).logits, plain)  # B is 0
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    adapted = model("mini-nli", **inputs).logits
    trained = dict(lora.trained(model))
    lora.merge(model)
    merged = model("mini-nli", **inputs).logits
    torch.testing.assert_close(merged, adapted, rtol=0, atol=1e-5)
    assert (merged - plain).abs().max() > 1e-3
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        f"models.mini-nli.bert.encoder.layer.0.attention.self.{layer}.weight" for layer in ("query", "value")
    }
    assert all(torch.equal(after[name], weight) for name, weight in trained.items())


def test_adapters_are_drawn_from_the_seed_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        model = model_of()
        torch.rand(seed)  # whatever else was drawn
        state = torch.get_rng_state()
        lora.attach(model, Lora(), describe(ENCODER), seed)
        assert torch.equal(torch.get_rng_state(), state)
        return next(p.detach() for name, p in model.named_parameters() if "lora_A" in name)

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


# -- a study -----------------------------------------------------------------------------------------------------------

STUDY: dict[str, Any] = {
    "name": "lora",
    "encoders": ["bundled/e5-small@1"],
    "recipes": [
        {"name": "both", "tasks": ["mini-nli", "mini-pos"], "mlm": {
            "share": 0.2, "task": "mini-text", "languages": ["sw"], "training": {"max_train_examples": 8}}},
    ],
    "targets": [
        {"task": "mini-paraphrase", "max_examples": 6, "languages": ["sw"]},
        {"task": "mini-retrieval", "max_examples": 4, "languages": ["sw"]},
    ],
    "seeds": [1],
    "average": {"checkpoints": 2},
    "training": {"max_train_examples": 16, "max_dev_examples": 6, "batch_size": 4, "lora": {"rank": 2, "alpha": 64},
                 "learning_rate": 1e-2, "precision": "fp32"},
}  # fmt: skip


class Ran:
    def __init__(self, folder: Path) -> None:
        self.plan: Plan = make_plan(make_study(STUDY))
        self.store = Store(folder)
        self.unmerged: dict[str, list[dict[str, torch.Tensor]]] = {}

    def weights(self, key: str, name: str = WEIGHTS) -> dict[str, torch.Tensor]:
        with self.store.files(key) as folder:
            return load_file(folder / name)

    def trained(self) -> list[tuple[str, Train]]:
        return [(key, stage.spec) for key, stage in self.plan.stages.items() if isinstance(stage.spec, Train)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    own = Ran(tmp_path_factory.mktemp("lora"))
    take, key = Snapshots.take, ""

    def recorded(snapshots: Snapshots, model: nn.Module) -> None:
        take(snapshots, model)
        own.unmerged.setdefault(key, []).append({name: w.detach().clone() for name, w in model.named_parameters()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Snapshots, "take", recorded)
        for key, stage in own.plan.stages.items():  # noqa: B007 - read by `recorded`
            run_stage(stage, own.store, lambda *_: None)
    yield own


def test_only_adapted_layers_pooler_and_heads_change(ran: Ran) -> None:
    (intermediate, _), (target, spec) = ran.trained()
    assert spec.start == intermediate
    task = builtin_catalog()["mini-nli"]
    pretrained = load_architecture(ENCODER, task, 1).state_dict()
    first, second = ran.weights(intermediate), ran.weights(target)
    for before, after in ((pretrained, first), (first, second)):
        shared = [name for name in after if name.startswith("bert.") and name in before]
        changed = {name for name in shared if not torch.equal(before[name], after[name])}
        assert {name.split(".", 1)[1] for name in changed if ".pooler." not in name} == {
            f"encoder.layer.0.attention.self.{layer}.weight" for layer in ("query", "value")
        }
    words = pretrained["bert.embeddings.word_embeddings.weight"]
    for artifact in (first, second):
        assert torch.equal(artifact["embedding.rows"], words[artifact[IDS]])
        assert not any("lora" in name or "base_layer" in name for name in artifact)


def test_the_mean_of_checkpoints_is_of_merged_weights_and_not_of_adapters(ran: Ran) -> None:
    key, _ = ran.trained()[1]
    layer = "bert.encoder.layer.0.attention.self.query"
    mean, states = ran.weights(key, MEAN), ran.unmerged[key]
    assert len(states) == 2

    def part(state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
        return state[f"models.mini-paraphrase.{layer}.{name}.weight"]

    deltas = [32 * part(state, "lora_B.default") @ part(state, "lora_A.default") for state in states]
    base = part(states[0], "base_layer")
    torch.testing.assert_close(mean[f"{layer}.weight"], base + (deltas[0] + deltas[1]) / 2, rtol=0, atol=1e-6)
    of_adapters = 32 * (part(states[0], "lora_B.default") + part(states[1], "lora_B.default")) / 2 @ (
        part(states[0], "lora_A.default") + part(states[1], "lora_A.default")) / 2  # fmt: skip
    assert (of_adapters - (deltas[0] + deltas[1]) / 2).abs().max() > 1e-5


def test_a_plan_tells_what_is_trained_and_what_it_saves(ran: Ran) -> None:
    full = make_plan(make_study({**STUDY, "training": {**STUDY["training"], "lora": None}}))
    (said,) = [note for note in ran.plan.notes if "LoRA" in note]
    assert said.startswith("LoRA of rank 2 on query, value trains 3,072 parameters beside the 97,986,816 of bundled/")
    for own, whole in zip(ran.plan.stages.values(), full.stages.values(), strict=True):
        assert own.label == whole.label
        if own.kind == "train":
            assert 0.6 < own.flops / whole.flops < 0.9
            assert estimate.training_memory(ran.plan, own) < 0.35 * estimate.training_memory(full, whole)
        else:
            assert own.flops == whole.flops


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"rnk": 8}, "did you mean 'rank'?"),
        ({"rank": 0}, "lora.rank: "),
        ({"targets": ["querry"]}, "bundled/e5-small@1: lora: targets: 'querry' is no linear layer of a bert: did you"),
        ({"targets": "everything"}, "known: all-linear, dense, key, query, value"),
    ],
)
def test_what_cannot_be_adapted_is_said_in_one_line(own: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        make_plan(make_study({**STUDY, "training": {**STUDY["training"], "lora": own}}))
    assert said in str(error.value) and "\n" not in str(error.value)
