"""Keys: what decides a stage's output moves its key, and nothing else does."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from towns import towns
from xstilts.encoders import bundled
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.planning.plan import Plan
from xstilts.planning.planner import make_plan
from xstilts.planning.recipe import (
    AverageEntry,
    HealingEntry,
    MlmEntry,
    RecipeEntry,
    Sampling,
    TargetTraining,
    TranslatedEntry,
)
from xstilts.planning.study import EncoderEntry, Study, TargetEntry, make_study

#: Two recipes with training, of which one mixes all that can be mixed, and a target of each way to be evaluated.
BASE: dict[str, Any] = {
    "name": "base",
    "description": "",
    "encoders": [{"source": "bundled/e5-small", "layers": 2, "init": "pretrained"}],
    "recipes": [
        {"name": "none"},
        {"name": "nli", "tasks": ["mini-nli"]},
        {"name": "mixed", "tasks": ["mini-nli", "mini-pos"], "sampling": {"by": "proportional", "temperature": 2.0},
         "mlm": {"share": 0.2, "task": "mini-text", "languages": ["de", "sw"], "training": {}}},
        {"name": "sum", "merge": {"nli": 0.5, "mixed": 0.5}},
    ],
    "targets": [
        {"task": "mini-span", "languages": ["en", "de"], "training": {}},
        {"task": "mini-retrieval", "languages": ["de"], "hidden_layer": 1},
    ],
    "seeds": [1],
    "training": {},
}  # fmt: skip

#: The base with an encoder that is healed.
HEALED: dict[str, Any] = {
    **BASE,
    "encoders": [{**BASE["encoders"][0], "heal": 5000}],
    "healing": {"task": "mini-text", "languages": ["de", "sw"]},
}

OTHER = "bundled/e5-small@1"

#: Labels of the base's stages, without "bundled/e5-small@2 seed 1: ".
ALL = {
    "train nli", "train mixed", "merge sum",
    *(f"{recipe} → {what}" for recipe in ("none", "nli", "mixed", "sum")
      for what in ("train mini-span", "predict mini-span", "score mini-span", "predict mini-retrieval",
                   "score mini-retrieval")),
}  # fmt: skip
NOTHING: set[str] = set()


def behind(*words: str) -> set[str]:
    """The stages whose label begins with one of ``words`` or names it as a step."""
    return {label for label in ALL if any(label.startswith(word) or label.endswith(word) for word in words)}


SPAN, RETRIEVAL = behind("mini-span"), behind("mini-retrieval")
NLI, MIXED, SUM = behind("train nli", "nli →"), behind("train mixed", "mixed →"), behind("merge sum", "sum →")
TRAINED = ALL - {"none → predict mini-retrieval", "none → score mini-retrieval"}


def keys(plan: Plan) -> dict[str, str]:
    split = ((stage.label.split(" seed 1: "), key) for key, stage in plan.stages.items())
    return {label[-1]: key for label, key in split if label[0] != OTHER}


def moved(change: Callable[[dict[str, Any]], Any], base: dict[str, Any] = BASE) -> set[str]:
    """The labels of the stages that have another key after ``change``."""
    changed = copy.deepcopy(base)
    change(changed)
    before, after = keys(make_plan(make_study(copy.deepcopy(base)))), keys(make_plan(make_study(changed)))
    return {label for label in before if after.get(label) != before[label]}


def put(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets what stands at ``place``, such as ``recipes.1.name``."""

    def change(study: dict[str, Any]) -> None:
        *parts, last = place.split(".")
        inner: Any = study
        for part in parts:
            inner = inner[int(part) if part.isdecimal() else part]
        inner[int(last) if last.isdecimal() else last] = value

    return change


#: Field → a change of it, and the stages whose keys must move; all others must stay.
CHANGES: dict[type, dict[str, tuple[Callable[[dict[str, Any]], Any], set[str]]]] = {
    Study: {
        "name": (put("name", "other"), NOTHING),
        "description": (put("description", "other"), NOTHING),
        "encoders": (lambda study: study["encoders"].insert(0, OTHER), NOTHING),
        "recipes": (lambda study: study["recipes"].reverse(), NOTHING),
        "targets": (lambda study: study["targets"].reverse(), NOTHING),
        "seeds": (put("seeds", [1, 2]), NOTHING),
        # Retrieval reads with the preset's maximum length, which is another there.
        "preset": (put("preset", "jiant"), ALL),
        "training": (put("training", {"learning_rate": 0.1}), TRAINED),
        "data": (put("data", "/nowhere"), NOTHING),  # the mini suite comes with the install
        "hub": (put("hub", {"google/xtreme": "main"}), NOTHING),
        "tasks": (put("tasks", []), NOTHING),
        "on_overlap": (put("on_overlap", "drop"), NOTHING),
        "average": (put("average", {"checkpoints": 2}), SPAN),  # their training takes snapshots then
    },
    EncoderEntry: {
        "layers": (put("encoders.0.layers", 1), ALL),
        "ffn": (put("encoders.0.ffn", 0.5), ALL),
        "heads": (put("encoders.0.heads", 6), ALL),
        "heal": (lambda study: study.update(encoders=HEALED["encoders"], healing=HEALED["healing"]), ALL),
        "init": (put("encoders.0.init", "random"), ALL),
        "recipes": (put("encoders.0.recipes", ["none", "nli", "mixed", "sum"]), NOTHING),
        "name": (put("encoders.0.name", "small"), NOTHING),
    },
    RecipeEntry: {
        "name": (put("recipes.2", {**BASE["recipes"][2], "name": "mixed"}), NOTHING),
        "tasks": (put("recipes.1.tasks", ["mini-pos"]), NLI | SUM),
        "sampling": (put("recipes.2.sampling", "uniform"), MIXED | SUM),
        "mlm": (lambda study: study["recipes"][2].pop("mlm"), MIXED | SUM),
        "merge": (put("recipes.3.merge", {"nli": 0.4, "mixed": 0.6}), SUM),
        "transfer_pooler": (put("recipes.1.transfer_pooler", False), {each for each in NLI & SPAN}),
        "training": (put("recipes.1.training", {"epochs": 5}), NLI | SUM),
    },
    Sampling: {
        "by": (put("recipes.2.sampling", {"by": "uniform"}), MIXED | SUM),
        "temperature": (put("recipes.2.sampling.temperature", 3.0), MIXED | SUM),
        "cap": (put("recipes.2.sampling.cap", 5), MIXED | SUM),
    },
    MlmEntry: {
        "share": (put("recipes.2.mlm.share", 0.3), MIXED | SUM),
        "languages": (put("recipes.2.mlm.languages", ["de"]), MIXED | SUM),
        "training": (put("recipes.2.mlm.training", {"batch_size": 2}), MIXED | SUM),
    },
    AverageEntry: {"checkpoints": (put("average", {"checkpoints": 3}), SPAN)},
    TargetEntry: {
        "languages": (put("targets.0.languages", ["en"]), behind("predict mini-span", "score mini-span")),
        "max_examples": (put("targets.0.max_examples", 3), behind("predict mini-span", "score mini-span")),
        "split": (put("targets.1.split", "test"), NOTHING),  # as it is by default
        "hidden_layer": (put("targets.1.hidden_layer", 2), RETRIEVAL),
        "pooling": (put("targets.1.pooling", "cls"), RETRIEVAL),
        "training": (put("targets.0.training", {"epochs": 5}), SPAN),
    },
}

#: Fields whose values cannot be changed alone.
ELSEWHERE = {
    (Study, "sample"): "needs training data to be capped: test_a_sample_per_seed_is_of_its_own",
    (Study, "healing"): "test_how_an_encoder_is_healed_moves_all_of_it",
    **{(HealingEntry, field): "test_how_an_encoder_is_healed_moves_all_of_it" for field in HealingEntry.model_fields},
    (EncoderEntry, "source"): "test_the_same_encoder_in_another_folder_is_the_same",
    (EncoderEntry, "attention"): "decoders alone have a choice; tests/test_matrix_types.py",
    (EncoderEntry, "revision"): "only models of the hub have any; tests/test_encoders_hub.py",
    (TargetEntry, "task"): "another task is another stage",
    (MlmEntry, "task"): "another task is another stage",
    (RecipeEntry, "translated"): "test_translations_move_what_trains_on_them",
    (TranslatedEntry, "languages"): "test_translations_move_what_trains_on_them",
    (TranslatedEntry, "engine"): "test_translations_move_what_trains_on_them",
    (TranslatedEntry, "files"): "test_translations_move_what_trains_on_them",
    (RecipeEntry, "target_training"): "test_labelled_data_of_other_languages_move_the_training_of_the_target_alone",
    **{
        (TargetTraining, field): "test_labelled_data_of_other_languages_move_the_training_of_the_target_alone"
        for field in TargetTraining.model_fields
    },
    (AverageEntry, "seeds"): "test_averages_over_seeds_move_nothing",
}


@pytest.mark.parametrize(("part", "field"), [(part, field) for part in CHANGES for field in CHANGES[part]])
def test_a_field_moves_the_keys_of_what_it_decides_and_no_others(part: type, field: str) -> None:
    change, expected = CHANGES[part][field]
    assert moved(change) == expected


@pytest.mark.parametrize("part", [*CHANGES, TranslatedEntry, HealingEntry, TargetTraining])
def test_no_field_is_forgotten(part: Any) -> None:
    known = set(CHANGES.get(part, {})) | {field for owner, field in ELSEWHERE if owner is part}
    assert set(part.model_fields) == known


#: Hyper-parameter → another value. All but those of reading text decide training alone.
HYPER: dict[str, Any] = {
    "epochs": 5, "batch_size": 2, "batch_tokens": 99, "learning_rate": 0.1, "warmup": 0.5, "weight_decay": 0.5,
    "max_length": 200, "doc_stride": 17, "max_query_length": 21, "max_grad_norm": 3.0, "adam_epsilon": 1e-3,
    "dropout": "none", "freeze_embeddings": True, "precision": "bf16", "memory": "8GB", "max_train_examples": 3,
    "max_dev_examples": 3, "dev_selection": "first500", "processes": 2, "sharding": "full", "collapse_retries": 1,
    "lora": {"rank": 4},
}  # fmt: skip


@pytest.mark.parametrize("field", Hyperparameters.model_fields)
def test_every_hyperparameter_moves_what_it_trains_and_what_comes_behind(field: str) -> None:
    base = {**BASE, "recipes": BASE["recipes"][:2]}  # batch_tokens is for stages of one task
    found = moved(put("training", {field: HYPER[field]}), base)
    shown = {label for label in ALL if label.startswith(("none", "nli", "train nli"))}
    reads = field in ("max_length", "doc_stride", "max_query_length", "precision")
    assert found == (shown if reads else shown & TRAINED)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("encoders.0.heal", 6000),
        ("healing.languages", ["de"]),
        ("healing.learning_rate", 1e-3),
        ("healing.batch_size", 4),
        ("healing.max_length", 64),
    ],
)
def test_how_an_encoder_is_healed_moves_all_of_it(place: str, value: Any) -> None:
    assert moved(put(place, value), HEALED) == ALL | {"bundled/e5-small@2 healed 5k: heal"}
    assert moved(put("training", {"learning_rate": 0.1}), HEALED) == TRAINED  # of tasks, not of healing


def test_a_sample_per_seed_is_of_its_own() -> None:
    """Of training data and of text for MLM; what is evaluated on is the same, and so is what selects."""
    capped = {**BASE, "training": {"max_train_examples": 3}}
    assert moved(put("sample", "per_seed"), capped) == TRAINED
    assert moved(put("sample", "same"), capped) == NOTHING


@pytest.mark.parametrize("place", ["recipes.2.tasks", "recipes.2.mlm.languages", "targets.0.languages"])
def test_the_order_in_the_file_changes_nothing(place: str) -> None:
    def reverse(study: dict[str, Any]) -> None:
        inner: Any = study
        for part in place.split("."):
            inner = inner[int(part) if part.isdecimal() else part]
        inner.reverse()

    assert moved(reverse) == NOTHING
    assert moved(put("recipes.3.merge", {"mixed": 0.5, "nli": 0.5})) == NOTHING


def test_translations_move_what_trains_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    base = copy.deepcopy(BASE)
    base["recipes"] = [{"name": "none"}, {"name": "nli", "tasks": ["mini-nli"], "translated": {
        "languages": ["es", "pt"], "engine": "named"}}]  # fmt: skip

    class Engine:
        def __init__(self, name: str) -> None:
            self.name = name

        def id(self, language: str) -> str:
            return f"{self.name} {language}"

    monkeypatch.setattr("xstilts.data.translation.engine", Engine)
    shown = {"translate mini-nli into es", "translate mini-nli into pt"}
    trained = {label for label in NLI if "nli" in label}

    def labels(change: Callable[[dict[str, Any]], Any]) -> set[str]:
        changed = copy.deepcopy(base)
        change(changed)

        def named(study: dict[str, Any]) -> dict[str, str]:
            plan = make_plan(make_study(copy.deepcopy(study)))
            return {stage.label.split(": ", 1)[-1]: key for key, stage in plan.stages.items()}

        before, after = named(base), named(changed)
        return {label for label in before if after.get(label) != before[label]}

    assert labels(put("recipes.1.translated.languages", ["pt", "es"])) == NOTHING
    assert labels(put("recipes.1.translated.languages", ["es"])) == trained | {"translate mini-nli into pt"}
    assert labels(put("recipes.1.translated.engine", "other")) == trained | shown


def test_the_same_encoder_in_another_folder_is_the_same(tmp_path: Path) -> None:
    def keys_of(name: str) -> set[str]:
        return set(make_plan(make_study({**BASE, "encoders": [str(tmp_path / name)]})).stages)

    def write_weights(name: str, value: float) -> None:
        save_file({"encoder.layer.11.output.dense.bias": torch.tensor([value])}, tmp_path / name / "model.safetensors")

    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.json").write_text(json.dumps(bundled.config()))
    write_weights("one", 1.0)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert keys_of("one") == keys_of("two")
    shutil.copytree(tmp_path / "one", tmp_path / "three")
    write_weights("three", 2.0)
    assert not keys_of("one") & keys_of("three")


def test_averages_over_seeds_move_nothing() -> None:
    base = {**BASE, "seeds": [1, 2]}
    assert moved(put("average", {"seeds": True}), base) == NOTHING


def test_what_decides_an_average_is_in_its_key() -> None:
    def of(**changes: Any) -> dict[str, str]:
        plan = make_plan(make_study({**BASE, "seeds": [1, 2, 3], "average": {"seeds": True}, **changes}))
        return {stage.key: stage.label for stage in plan.stages.values() if stage.kind == "average"}

    assert of(seeds=[1, 3, 2]) == of() and not of(seeds=[2, 1, 3]).keys() & of().keys()  # another head
    assert not of(seeds=[1, 2]).keys() & of().keys()
    assert not of(training={"learning_rate": 0.1}).keys() & of().keys()
    both = of(average={"seeds": True, "checkpoints": 2})
    assert len(both) == (3 + 1 + 1) * len(BASE["recipes"]) and not both.keys() & of().keys()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"rank": 8, "alpha": 16}, True),
        ({}, {"rank": 4}, False),
        ({}, {"alpha": 8}, False),
        ({"targets": ["query", "key"]}, {"targets": ["key", "query"]}, True),
        ({"targets": ["query"]}, {"targets": "all-linear"}, False),
    ],
)
def test_adapters_decide_what_is_trained(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    keys = [set(make_plan(make_study({**BASE, "recipes": [{"name": "none"}], "training": {"lora": lora}})).stages)
            for lora in (one, other)]  # fmt: skip
    assert (keys[0] == keys[1]) is same


def test_two_studies_share_what_they_share() -> None:
    first = make_plan(make_study({**BASE, "recipes": ["none", "mini-nli"], "seeds": [1, 2]}))
    second = make_plan(make_study({**BASE, "name": "second", "recipes": ["none", "mini-pos"], "seeds": [2, 3]}))
    shared = {first.stages[key].label for key in first.stages.keys() & second.stages.keys()}
    assert shared == {label for label in (stage.label for stage in first.stages.values())
                      if label.startswith("bundled/e5-small@2 seed 2: none")} | {
        stage.label for stage in first.stages.values()
        if stage.label.endswith(("none → predict mini-retrieval", "none → score mini-retrieval"))
    }  # fmt: skip


def test_labelled_data_of_other_languages_move_the_training_of_the_target_alone(tmp_path: Path) -> None:
    """`none` and intermediate stages keep their keys."""
    base = {**BASE, **towns(tmp_path), "targets": ["towns", "mini-span"],
            "recipes": BASE["recipes"][:2], "average": None, "training": {"max_train_examples": 8}}  # fmt: skip

    def keys_of(**asked: Any) -> dict[str, str]:
        several = {"name": "several", **asked}
        plan = make_plan(make_study({**base, "recipes": [*base["recipes"], *([several] if asked else [])]}))
        return {cell.recipe + " " + cell.target.task: str(cell.training) for cell in plan.cells}

    alone = keys_of()
    given = {"of": ["towns"], "train_languages": ["en", "de"], "max_train_examples": {"de": 3}}
    found = keys_of(target_training=given)
    assert {name: key for name, key in found.items() if name in alone} == alone
    assert set(found) - set(alone) == {"several towns"}
    own = found["several towns"]
    assert keys_of(target_training={**given, "train_languages": ["de", "en"]})["several towns"] == own
    changes: list[dict[str, Any]] = [
        {"train_languages": ["en", "es"], "max_train_examples": {}},
        {"train_languages": ["de"]},
        {"dev_languages": ["de"]},
        {"max_train_examples": {"de": 4}},
        {"max_train_examples": {}},
    ]
    others = [keys_of(target_training={**given, **change})["several towns"] for change in changes]
    assert len({own, *alone.values(), *others}) == 2 + len(alone) - 1 + len(changes)
    assert keys_of(target_training={**given, "of": ["towns"]}, task="mini-nli")["several towns"] not in {own, *others}
