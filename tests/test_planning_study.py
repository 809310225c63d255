"""A study file is checked before anything runs: each mistake is one line that names the field and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from xstilts.common.errors import UserError
from xstilts.handover.export import CellFilter, check_names
from xstilts.planning.planner import make_plan
from xstilts.planning.study import Study, load_study, make_study, presets

GOOD: dict[str, Any] = {
    "name": "small",
    "encoders": ["bundled/e5-small@3"],
    "recipes": ["none", "mini-nli"],
    "targets": ["mini-span", {"task": "mini-retrieval", "languages": ["de", "sw"]}],
    "seeds": [1],
}


def problem(tmp_path: Path, **changes: Any) -> str:
    """The error of the good study with some keys changed (None removes one)."""
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_study(file)
    message = str(error.value)
    assert message.startswith(str(file)) and "\n" not in message
    return message.removeprefix(f"{file}: ")


def test_a_good_study_is_read_as_written() -> None:
    study = make_study(GOOD)
    assert isinstance(study, Study)
    assert [entry.encoder.label for entry in study.encoders] == ["bundled/e5-small@3"]
    assert [(recipe.name, recipe.tasks) for recipe in study.recipes] == [("none", ()), ("mini-nli", ("mini-nli",))]
    assert study.targets[1].languages == ("de", "sw")
    assert study.preset == "quick"


def test_an_encoder_stands_under_its_name() -> None:
    plain = make_plan(make_study(GOOD))
    named = make_plan(make_study({**GOOD, "encoders": [{"source": "bundled/e5-small", "layers": 3, "name": "small"}]}))
    assert {cell.encoder.label for cell in named.cells} == {"small"} and named.stages.keys() == plain.stages.keys()
    assert all(CellFilter(encoder="small").allows(cell) for cell in named.cells)
    with pytest.raises(UserError, match="--encoder bundled/e5-small@3: the study trains no such model"):
        check_names(named.cells, CellFilter(encoder="bundled/e5-small@3"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"recipies": ["none"], "recipes": None}, "did you mean 'recipes'?"),
        ({"targets": ["mini-spam"]}, "unknown task 'mini-spam': did you mean 'mini-span'?"),
        ({"recipes": ["none", "mini-nil"]}, "did you mean 'mini-nli'?"),
        (
            {"recipes": ["none", {"name": "few", "target_training": {"train_languages": ["en"]}}]},
            "name other languages",
        ),
        (
            {"recipes": ["none", {"name": "few", "target_training": {"train_languages": ["de"], "of": ["mini-spam"]}}]},
            "of: 'mini-spam' is no target of the study: did you mean 'mini-span'?",
        ),
        (
            {
                "recipes": [
                    "none",
                    {"name": "few", "target_training": {"train_languages": ["de"], "of": ["mini-retrieval"]}},
                ]
            },
            "target_training: nothing is trained on its targets",
        ),
        (
            {
                "recipes": [
                    "none",
                    {"name": "few", "target_training": {"train_languages": ["de"], "max_train_examples": {"es": 3}}},
                ]
            },
            "max_train_examples: es is not among `train_languages`",
        ),
        ({"targets": [{"task": "mini-span", "languages": ["sww"]}]}, "unknown language 'sww': did you mean 'sw'?"),
        ({"targets": [{"task": "mini-span", "langages": ["sw"]}]}, "did you mean 'languages'?"),
        ({"training": {"learning_rat": 1e-4}}, "did you mean 'learning_rate'?"),
        ({"training": {"learning_rate": "fast"}}, "learning_rate"),
        ({"training": {"epochs": 0}}, "epochs"),
        ({"training": {"max_length": 128}}, "max_length 128 leaves no room for a passage"),
        ({"preset": "xtrem"}, "did you mean 'xtreme'?"),
        ({"encoders": []}, "encoders"),
        ({"encoders": ["bundled/e5-small@0"]}, "bundled/e5-small@6"),
        ({"encoders": ["bundled/e5-small@3", "bundled/e5-small@3"]}, "listed twice"),
        (
            {"encoders": [{"source": "bundled/e5-small", "layers": n, "name": "small"} for n in (1, 2)]},
            "encoders: small: two have this name; give one another `name`",
        ),
        (
            {
                "encoders": [
                    "bundled/e5-small@1",
                    {"source": "bundled/e5-small", "layers": 2, "name": "bundled/e5-small@1"},
                ]
            },
            "encoders: bundled/e5-small@1: two have this name",
        ),
        (
            {"encoders": ["bundled/e5-small@1", {"source": "bundled/e5-small", "layers": 1, "name": "small"}]},
            "encoders: small is listed twice; remove one",
        ),
        ({"encoders": [{"source": "bundled/e5-small", "name": " "}]}, "encoders.0.name"),
        ({"seeds": ["one"]}, "seeds"),
        ({"recipes": [{"task": "mini-nli", "mlm": {"shar": 0.2}}]}, "did you mean 'share'?"),
        ({"recipes": [{"task": "mini-nli", "mlm": {"share": 1.0}}]}, "less than or equal to 0.99"),
        ({"recipes": [{"task": "mini-nli", "mlm": {"share": 0.2, "task": "mini-pos"}}]}, "is of format tagging"),
        (
            {"recipes": [{"task": "mini-nli", "mlm": {"share": 0.2, "task": "mini-text", "languages": ["xx"]}}]},
            "mini-nli+mlm: mlm: unknown language 'xx'",
        ),
        ({"recipes": ["mini-text"]}, "has no labels; mix it into a task"),
        ({"targets": ["mini-text"]}, "has no labels to score"),
        ({"recipes": [{"tasks": ["mini-nli", "mini-nil"]}]}, "did you mean 'mini-nli'?"),
        ({"recipes": [{"tasks": ["mini-nli", "mini-nli"]}]}, "a task is listed twice"),
        ({"recipes": [{"task": "mini-nli", "tasks": ["mini-pos"]}]}, "`task` or `tasks`, not both"),
        ({"recipes": [{"task": "mini-nli", "sampling": "uniform"}]}, "`sampling` is for several `tasks`"),
        ({"recipes": [{"tasks": ["mini-nli", "mini-pos"], "sampling": "unifrom"}]}, "'proportional' or 'uniform'"),
        (
            {"recipes": [{"tasks": ["mini-nli", "mini-pos"]}], "training": {"batch_tokens": 512}},
            "mini-nli+mini-pos: batch_tokens is for stages of one task alone",
        ),
        ({"recipes": [{"name": "nothing"}]}, "the recipe without `tasks`, `merge` or `target_training` is called none"),
        ({"recipes": [{"name": "none", "task": "mini-nli"}]}, "is called none, and no other"),
        ({"recipes": [{"name": "sum", "merge": ["mini-nli"]}]}, "'mini-nli' is no recipe with training"),
        (
            {"recipes": ["mini-nli", {"name": "sum", "merge": ["mini-nli"], "training": {"epochs": 2}}]},
            "it has no training of its own",
        ),
        (
            {"recipes": [{"name": "two", "tasks": ["mnli", "squad"]}], "preset": "xtreme"},
            "two: learning_rate is 2e-05 for mnli and 3e-05 for squad; one stage has one: set it in the recipe",
        ),
        ({"seeds": [1, 1]}, "listed twice"),
        ({"recipes": ["mini-retrieval"]}, "has no training data of its own"),
        ({"recipes": ["none", "xquad"]}, "has no training data of its own"),
        ({"targets": [{"task": "mini-span", "pooling": "cls"}]}, "pooling is for tasks on which nothing is trained"),
        ({"targets": [{"task": "mini-retrieval", "pooling": "max"}]}, "pooling"),
        ({"targets": [{"task": "mini-retrieval", "hidden_layer": -1}]}, "hidden_layer"),
        ({"name": "../escape"}, "name"),
        ({"targets": None}, "targets: missing"),
        ({"on_overlap": "ignore"}, "on_overlap"),
        ({"tasks": ["mine.yaml"]}, "mine.yaml: no such file"),
        ({"encoders": [{"source": "bundled/e5-small", "recipes": ["nothing"]}]}, "unknown recipe 'nothing'"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    assert expected in problem(tmp_path, **changes)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such study file"):
        load_study(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="a folder"):
        load_study(tmp_path)
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\nencoders: [a\nrecipes: b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"broken\.yaml:3: not valid YAML"):
        load_study(broken)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: x\ndescription: Größe\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml:2: not UTF-8"):
        load_study(latin)
    listing = tmp_path / "list.yaml"
    listing.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(UserError, match="a study is a mapping"):
        load_study(listing)


def test_data_folder_comes_from_the_study_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XSTILTS_DATA", str(tmp_path / "everywhere"))
    assert make_study(GOOD).data == tmp_path / "everywhere"
    assert make_study({**GOOD, "data": "here"}, folder=tmp_path).data == tmp_path / "here"


def test_presets_are_overridden_by_the_study_and_then_by_the_entry() -> None:
    study = make_study({**GOOD, "preset": "xtreme", "training": {"epochs": 4, "batch_size": 2}})
    task = study.catalog["mini-span"]
    hyper = study.hyperparameters(task, {"batch_size": 1})
    assert (hyper.epochs, hyper.batch_size) == (4, 1)
    assert (hyper.learning_rate, hyper.max_length) == (3e-5, 384)  # XTREME's scripts/train_qa.sh


@pytest.mark.parametrize("preset", sorted(presets()))
def test_every_task_has_hyperparameters_in_every_preset(preset: str) -> None:
    study = make_study({**GOOD, "preset": preset})
    for task in study.catalog:
        for intermediate in (False, True):
            hyper = study.hyperparameters(task, {}, intermediate=intermediate)
            assert hyper.max_length == 384 if task.format == "span" else hyper.max_length <= 256
    names = {"default", "intermediate"} | {name for task in study.catalog for name in (task.name, task.format)}
    assert set(presets()[preset]) <= names and set(presets()[preset].get("intermediate", {})) <= names


def test_a_preset_may_treat_a_task_otherwise_between_pretraining_and_the_target() -> None:
    """Epochs and batch sizes of the intermediate tasks; the target tasks are jiant's."""
    study, jiant = make_study({**GOOD, "preset": "phang2020"}), make_study({**GOOD, "preset": "jiant"})
    for name, expected in {
        "anli_plus": (2, 24), "mnli": (2, 24), "qqp": (3, 24), "squad": (3, 8), "squad_v2": (3, 8), "ccg": (15, 24),
        "hellaswag": (7, 24), "cosmosqa": (15, 4), "commonsenseqa": (10, 4),
    }.items():  # fmt: skip
        hyper = study.hyperparameters(study.catalog[name], {}, intermediate=True)
        assert (hyper.epochs, hyper.batch_size, hyper.learning_rate) == (*expected, 1e-5)
    for task in study.catalog:
        assert study.hyperparameters(task, {}) == jiant.hyperparameters(task, {})
    squad = study.catalog["squad"]
    assert study.hyperparameters(squad, {"batch_size": 2}, intermediate=True).batch_size == 2


def test_the_studies_in_the_repository_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    files = sorted((Path(__file__).parent.parent / "studies").glob("*.yaml"))
    assert files
    for file in files:
        assert load_study(file).name == file.stem


MANY = """\
nmae: many
encoders: [bundled/e5-small@0, {source: bundled/e5-small, layers: true}, {source: x, recipes: [nope]}]
recipes:
  - none
  - mini-nil
  - {task: mini-nli, training: {epochz: 3, epochs: 0}}
  - {name: "a[b", task: mini-pos}
targets:
  - mini-spam
  - {task: mini-span, languages: [sww, no], hidden_layer: max}
seeds: [1, 1, true, -3, no]
preset: quik
training: {learning_rat: 1}
tasks: [own.yaml]
"""
OWN = """\
name: own
format: classification
description: x
languages: [en, no]
metric: accuracy
labels: [no, "yes", 0]
files: {reader: tsv, trian: x, columns: [premise, label]}
licence: x
"""


def test_all_mistakes_of_a_study_and_of_its_tasks_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(MANY)
    (tmp_path / "own.yaml").write_text(OWN)
    with pytest.raises(UserError) as error:
        load_study(file)
    own = f"14: {tmp_path}/own.yaml"
    told = [line.removeprefix(f"{file}:") for line in str(error.value).split("\n")]
    expected = [
        "1: nmae: unknown key: did you mean 'name'?",
        "2: encoders.0: encoder 'bundled/e5-small@0': not of the form",
        "2: encoders.1.layers: must be a number (given: true)",
        "6: recipes: mini-nli: training: epochz: unknown key: did you mean 'epochs'?",
        "6: recipes: mini-nli: training: epochs: Input should be greater than 0",
        "7: recipes.3.name: a name cannot have [ in it",
        "10: targets.1.languages.1: YAML reads no as false",
        "10: targets.1.hidden_layer: Input should be a valid integer",
        "10: targets: mini-span: unknown language 'sww': did you mean 'sw'?",
        "11: seeds.2: Input should be a valid integer (given: true)",
        "11: seeds.3: Input should be greater than or equal to 0",
        "11: seeds.4: Input should be a valid integer (given: no, which YAML reads as false)",
        "12: preset: unknown preset 'quik': did you mean 'quick'?",
        "13: training: learning_rat: unknown key: did you mean 'learning_rate'?",
        f"{own}:1: citation: Field required",
        f'{own}:4: languages.1: YAML reads no as false; put it in quotes: "no"',
        f"{own}:6: labels.0: YAML reads no as false",
        f"{own}:6: labels.2: YAML reads 0 as a number",
        f"{own}:7: files.trian: unknown key: did you mean 'train'?",
    ]
    for start in expected:
        assert [line for line in told if line.startswith(start)], (start, told)
    assert not [line for line in told if "missing" in line or "at least 1 item" in line], told


def test_mistakes_that_follow_from_others_are_not_told(tmp_path: Path) -> None:
    """A recipe that is not understood may be named by others; so may a task whose file is not read."""
    content = {**GOOD, "recipes": ["none", {"nmae": "x"}], "encoders": [{"source": "a", "recipes": ["x"]}]}
    assert "recipes.1.nmae: " in problem(tmp_path, **{key: content[key] for key in ("recipes", "encoders")})
    assert "mine.yaml: no such file" in problem(tmp_path, tasks=["mine.yaml"], recipes=["none", "mine"])


@pytest.mark.parametrize(("recipes", "targets"), [("recipez", "targets"), ("recipes", "targetz")])
def test_a_misspelt_key_that_a_study_must_have_hides_no_other_mistake(
    recipes: str, targets: str, tmp_path: Path
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        f"name: s\nencoders: [bundled/e5-small@1]\n{recipes}: [none, mini-nlj]\n{targets}: [mini-spam]\nseeds: [1]\n"
        "training: {batch_sise: 8}\n"
    )
    with pytest.raises(UserError) as told:
        load_study(file)
    lines = str(told.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == [recipes, targets, "training"], lines
