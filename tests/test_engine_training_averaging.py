"""Means of weights: over files, over points of a training, and from a study to the scores of its averaged models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from xstilts.analysis.axes import Axes
from xstilts.analysis.gather import gather
from xstilts.common.errors import StageError, UserError
from xstilts.engine.models import IDS, MEAN, ROWS, WEIGHTS
from xstilts.engine.training.averaging import Snapshots, average
from xstilts.handover.export import CellFilter, choose, export
from xstilts.planning.plan import Average, Plan, Train
from xstilts.planning.planner import make_plan
from xstilts.planning.recipe import NONE, Mean
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store


def test_the_mean_of_files_is_that_of_their_tensors(tmp_path: Path) -> None:
    torch.manual_seed(1)
    tensors = [{"a": torch.randn(5, 3), "b": torch.randn(4).half(), "ids": torch.arange(3)} for _ in range(3)]
    files = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for file, each in zip(files, tensors, strict=True):
        save_file(each, file)
    mean = average(files)
    for name in ("a", "b"):
        expected = np.mean([each[name].double().numpy() for each in tensors], axis=0)
        assert np.array_equal(mean[name].numpy(), expected.astype(mean[name].numpy().dtype))
    assert torch.equal(mean["ids"], torch.arange(3))
    assert all(torch.equal(tensor, tensors[0][name]) for name, tensor in average(files[:1]).items())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"a": torch.zeros(2)}, "differ in ids"),
        ({"a": torch.zeros(3), "ids": torch.arange(3)}, "differ in a"),
        ({"a": torch.zeros(2), "ids": torch.arange(1, 4)}, "differ in ids"),
    ],
)
def test_models_that_do_not_fit_are_not_averaged(other: dict[str, torch.Tensor], said: str, tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "ids": torch.arange(3)}, tmp_path / "one")
    save_file(other, tmp_path / "other")
    with pytest.raises(StageError, match=said):
        average([tmp_path / "one", tmp_path / "other"])


@given(st.integers(2, 60), st.integers(0, 500))
def test_snapshots_are_at_equal_distances_up_to_the_end(wanted: int, more: int) -> None:
    steps = wanted + more
    points = sorted(Snapshots(wanted).after(steps))
    assert len(points) == wanted and points[-1] == steps and points[0] >= 1
    gaps = np.diff([0, *points])
    assert gaps.max() - gaps.min() <= 1


def test_snapshots_are_of_what_is_trained_and_at_most_one_a_step() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    snapshots = Snapshots(2)
    weights = []
    for _ in range(2):
        nn.init.normal_(model.weight)
        weights.append(model.weight.detach().clone())
        snapshots.take(model)
    assert snapshots.mean().keys() == {"weight"}
    torch.testing.assert_close(snapshots.mean()["weight"], (weights[0] + weights[1]) / 2)
    with pytest.raises(StageError, match="2 checkpoints of a training of 1 steps; lower `checkpoints`"):
        snapshots.after(1)


def test_labels_say_what_a_mean_is_of_and_what_it_is_compared_with() -> None:
    means = [Mean(5), Mean(None, 3), Mean(5, 3)]
    labels = [mean.label("mnli") for mean in means]
    assert labels == [
        "mnli (mean of 5 checkpoints)", "mnli (mean of 3 seeds)", "mnli (mean of 5 checkpoints of 3 seeds)"
    ]  # fmt: skip
    study = make_study({**STUDY, "recipes": ["none", "mini-nli", {"name": "a (mean of 9 seeds)", "task": "mini-nli"}]})
    recipes = [recipe.name for recipe in study.recipes]
    of_recipe = {recipe: {mean.label(recipe): mean for mean in study.means} for recipe in recipes}
    every = {label: mean for own in of_recipe.values() for label, mean in own.items()}
    of = Axes((), (*recipes, *every), (), {}, {}, {}, {}, (), every)
    assert len(of.baselines) == 4 * 3 and [of.baselines[recipe] for recipe in recipes] == [NONE] * 3
    assert all(of.baselines[label] == mean.label(NONE) for label, mean in every.items())
    assert all(of.averaged(recipe) == own for recipe, own in of_recipe.items())
    assert all(of.averaged(label) == {} for label in every)


# -- a study -----------------------------------------------------------------------------------------------------------

STUDY: dict[str, Any] = {
    "name": "means",
    "encoders": ["bundled/e5-small@1"],
    "recipes": ["none", "mini-nli"],
    "targets": [
        {"task": "mini-paraphrase", "max_examples": 8, "languages": ["en", "sw"]},
        {"task": "mini-retrieval", "max_examples": 4, "languages": ["sw"]},
    ],
    "seeds": [3, 1],
    "average": {"checkpoints": 2, "seeds": True},
    "training": {"max_train_examples": 16, "max_dev_examples": 6, "batch_size": 4, "learning_rate": 1e-2},
}
MEANS = ["mean of 2 checkpoints", "mean of 2 seeds", "mean of 2 checkpoints of 2 seeds"]
SCORED = Mean(2, 2).label("mini-nli")


class Ran:
    def __init__(self, folder: Path) -> None:
        self.plan: Plan = make_plan(make_study(STUDY))
        self.store = Store(folder)
        self.taken: dict[str, list[dict[str, torch.Tensor]]] = {}  # stage → weights at each of its snapshots

    def weights(self, key: str, name: str = WEIGHTS) -> dict[str, torch.Tensor]:
        with self.store.files(key) as folder:
            return load_file(folder / name)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    own = Ran(tmp_path_factory.mktemp("means"))
    take = Snapshots.take
    key = ""

    def recorded(snapshots: Snapshots, model: nn.Module) -> None:
        take(snapshots, model)
        own.taken.setdefault(key, []).append({name: w.detach().clone() for name, w in model.named_parameters()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Snapshots, "take", recorded)
        cells = [cell for cell in own.plan.cells if cell.recipe_label == SCORED]
        scored = {key for cell in cells for key in (cell.predictions, cell.score)}
        for key, stage in own.plan.stages.items():
            if stage.kind in ("train", "average") or key in scored:
                run_stage(stage, own.store, lambda *_: None)
    yield own


def test_every_trained_target_has_a_cell_for_each_mean_and_its_scores_stand_under_its_label(ran: Ran) -> None:
    recipes = ["none", "mini-nli"]
    labels = {*recipes, *(f"{recipe} ({mean})" for recipe in recipes for mean in MEANS)}
    cells = [(cell.recipe_label, cell.target.task, cell.seed) for cell in ran.plan.cells]
    assert len(set(cells)) == len(cells)
    assert set(cells) == {
        *((label, "mini-paraphrase", seed) for label in labels for seed in ([3] if "2 seeds" in label else [1, 3])),
        *((recipe, "mini-retrieval", seed) for recipe in recipes for seed in (1, 3)),
    }
    main = gather(ran.plan, ran.store).scores.filter("main")
    assert main.select("recipe", "seed", "language").rows() == [(SCORED, 3, "en"), (SCORED, 3, "sw")]


def test_the_mean_of_checkpoints_is_that_of_the_weights_at_their_steps(ran: Ran) -> None:
    keys = [key for key, stage in ran.plan.stages.items() if isinstance(stage.spec, Train) and stage.spec.snapshots]
    assert len(keys) == 2 * 3 and set(ran.taken) == set(keys)  # recipes × (two seeds, one of them again under a head)
    for key in keys:
        mean, first, last = ran.weights(key, MEAN), *ran.taken[key]
        assert len(ran.taken[key]) == 2
        for name, tensor in mean.items():
            if name == IDS:
                continue
            own = "bert.embeddings.word_embeddings.weight" if name == ROWS else name
            expected = (first[f"models.mini-paraphrase.{own}"] + last[f"models.mini-paraphrase.{own}"]) / 2
            torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-7)
        same_head = torch.equal(mean["classifier.weight"], ran.weights(key)["classifier.weight"])
        assert same_head == ("under the head" in label(ran, key))


def label(ran: Ran, key: str) -> str:
    return ran.plan.stages[key].label


def test_an_averaging_stage_is_the_mean_of_what_its_runs_published(ran: Ran) -> None:
    stages = {key: stage.spec for key, stage in ran.plan.stages.items() if isinstance(stage.spec, Average)}
    assert len(stages) == 2 * (2 + 1 + 1)
    for key, spec in stages.items():
        inputs = [ran.weights(run, MEAN if spec.snapshots else WEIGHTS) for run in spec.runs]
        for name, tensor in ran.weights(key).items():
            if name != IDS:
                torch.testing.assert_close(tensor, sum(each[name] for each in inputs) / len(inputs), rtol=0, atol=1e-6)
        artifact = ran.store.get(key)
        assert artifact is not None and 0 <= artifact.meta["dev"] <= 100


def test_runs_of_other_seeds_are_under_the_head_that_the_first_one_trained(ran: Ran) -> None:
    under = [(key, stage.spec) for key, stage in ran.plan.stages.items()
             if isinstance(stage.spec, Train) and stage.spec.head]  # fmt: skip
    assert len(under) == 2
    for key, spec in under:
        assert spec.seed == 1 and spec.head is not None and "under the head of seed 3" in label(ran, key)
        own, first = ran.weights(key), ran.weights(spec.head)
        head = {name for name in own if name.startswith("classifier.") or ".pooler." in name}
        assert head and all(torch.equal(own[name], first[name]) for name in head)
        body = own.keys() - head - {IDS}
        assert not any(torch.equal(own[name], first[name]) for name in body if name.endswith("query.weight"))


def test_an_averaged_model_is_chosen_by_its_dev_score_and_exported_as_any_other(ran: Ran, tmp_path: Path) -> None:
    cell = choose(ran.plan, ran.store, CellFilter(recipe=SCORED))
    assert cell.recipe_label == SCORED and cell.seed == 3
    out = export(ran.plan, ran.store, cell, tmp_path / "model")
    card = (out / "README.md").read_text()
    assert "intermediate task `mini-nli`" in card and "its weights are the mean of 2 checkpoints of 2 seeds" in card
    exported, own = load_file(out / "model.safetensors"), ran.weights(cell.training or "")
    assert torch.equal(exported["classifier.weight"], own["classifier.weight"])
    curves = gather(ran.plan, ran.store).curves.filter(recipe=SCORED, phase="target")
    artifact = ran.store.peek(cell.training or "")
    assert artifact is not None and curves["dev"].to_list() == [artifact.meta["dev"]]


def test_costs_of_a_mean_are_those_of_all_that_it_needs(ran: Ran) -> None:
    by_recipe = ran.plan.flops_by_recipe()
    target = {recipe: by_target["mini-paraphrase"] for recipe, by_target in by_recipe.items()}
    assert by_recipe["mini-nli (mean of 2 seeds)"][""] == by_recipe["mini-nli"][""] > 0 == by_recipe["none"][""]
    assert target["mini-nli"] < target["mini-nli (mean of 2 checkpoints)"]
    assert target["mini-nli (mean of 2 seeds)"] == target["none (mean of 2 seeds)"]


def test_an_untrained_control_is_not_averaged_over_seeds() -> None:
    plan = make_plan(make_study({**STUDY, "encoders": ["bundled/e5-small@1 random"]}))
    assert {cell.recipe_label for cell in plan.cells} == {
        "none", "mini-nli", "none (mean of 2 checkpoints)", "mini-nli (mean of 2 checkpoints)"
    }  # fmt: skip
    assert any("begins with other weights for each seed, and is not averaged over seeds" in n for n in plan.notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"average": {"checkpoints": 1}}, "average.checkpoints: "),
        ({"average": {"seeds": False}}, "nothing to average; set `checkpoints` to a number, or `seeds: true`"),
        ({"average": {"chekpoints": 2}}, "did you mean 'checkpoints'?"),
        ({"average": {"seeds": True}, "seeds": [1]}, "the study has one seed; list two or more"),
        ({"targets": ["mini-retrieval"]}, "average: no target of the study is trained on"),
        ({"average": {"checkpoints": 9}}, "checkpoints: 9 of mini-paraphrase, which is trained for 4 steps; lower it"),
        (
            {"recipes": ["none", "mini-nli", {"name": "mini-nli (mean of 2 seeds)", "task": "mini-nli"}]},
            "recipes: mini-nli (mean of 2 seeds): is how the averaged models of another recipe are called; rename it",
        ),
    ],
)
def test_what_cannot_be_averaged_is_said_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        make_plan(make_study({**STUDY, **changes}))
    assert said in str(error.value) and "\n" not in str(error.value)
