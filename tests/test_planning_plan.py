"""The plan: what is shared, what decides a key, and that training sees English alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import xstilts.planning.study
from xstilts.common.errors import UserError
from xstilts.planning.data_ref import examples
from xstilts.planning.estimate import disk
from xstilts.planning.plan import Plan, Predict, Score, Train
from xstilts.planning.planner import make_plan
from xstilts.planning.study import load_study, make_study, presets
from xstilts.store import Store

STUDY: dict[str, Any] = {
    "name": "small",
    "encoders": ["bundled/e5-small@1", "bundled/e5-small@2"],
    "recipes": ["none", "mini-nli"],
    "targets": [{"task": "mini-span", "max_examples": 5}, {"task": "mini-retrieval", "max_examples": 5}],
    "seeds": [1, 2],
    "training": {"max_train_examples": 20, "max_dev_examples": 5},
}


def plan(**changes: Any) -> Plan:
    return make_plan(make_study({**STUDY, **changes}))


def told(planned: Plan) -> list[str]:
    """The notes but the one on data sets that are not whole."""
    return [note for note in planned.notes if not note.startswith("Other than the whole official data")]


def trainings(planned: Plan) -> list[Train]:
    return [stage.spec for stage in planned.stages.values() if isinstance(stage.spec, Train)]


def test_an_intermediate_stage_is_trained_once_per_encoder_recipe_and_seed_and_serves_every_target() -> None:
    planned = plan()
    specs = trainings(planned)
    assert len([spec for spec in specs if spec.start is None and spec.task.name == "mini-nli"]) == 2 * 2
    assert len([spec for spec in specs if spec.task.name == "mini-span"]) == 2 * 2 * 2
    predictions = [stage.spec for stage in planned.stages.values() if isinstance(stage.spec, Predict)]
    retrieval = [spec for spec in predictions if spec.hidden_layer is not None]
    assert len(retrieval) == 2 * (1 + 2)  # `none` trains nothing, so both seeds share one prediction
    assert len(planned.cells) == 2 * 2 * 2 * 2


def test_training_and_selection_are_given_english_data_only() -> None:
    specs = trainings(plan())
    assert specs
    assert {ref.language for spec in specs for part in spec.parts for ref in (part.train, part.dev)} == {"en"}
    assert {part.dev.split for spec in specs for part in spec.parts} == {"dev"}


def test_every_stage_stands_behind_its_inputs() -> None:
    seen: set[str] = set()
    for stage in plan().stages.values():
        assert set(stage.inputs) <= seen
        seen.add(stage.key)


@pytest.mark.parametrize(
    "change",
    [
        {"encoders": ["bundled/e5-small@2", "bundled/e5-small@3"]},
        {"seeds": [1, 3]},
        {"training": {"max_train_examples": 21, "max_dev_examples": 5}},
        {"training": {"max_train_examples": 20, "max_dev_examples": 5, "learning_rate": 2e-4}},
        {"targets": [{"task": "mini-span", "max_examples": 6}]},
        {"targets": [{"task": "mini-span", "max_examples": 5, "languages": ["de"]}]},
        {"targets": [{"task": "mini-retrieval", "max_examples": 5, "hidden_layer": "last"}]},
        {"targets": [{"task": "mini-retrieval", "max_examples": 5, "pooling": "cls"}]},
    ],
)
def test_what_decides_an_output_decides_the_key(change: dict[str, Any]) -> None:
    assert set(plan(**change).stages) - set(plan().stages)


@pytest.mark.parametrize(("layers", "block"), [(1, 1), (3, 2), (6, 4), (9, 5), (12, 7)])
def test_the_relative_layer_goes_with_the_depth_that_the_model_has(layers: int, block: int) -> None:
    """Block 14 of XLM-R Large's 24. XTREME's scripts know 24 blocks alone, and take 13, counted from 0."""
    planned = plan(encoders=[f"bundled/e5-small@{layers}"], recipes=["none"], targets=["mini-retrieval"], seeds=[1])
    specs = [stage.spec for stage in planned.stages.values() if isinstance(stage.spec, Predict)]
    assert [spec.hidden_layer for spec in specs] == [block]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other", "description": "words"},
        {"encoders": STUDY["encoders"][::-1], "recipes": STUDY["recipes"][::-1], "seeds": [2, 1]},
        {"data": "/somewhere/else"},
        {"on_overlap": "drop"},
    ],
)
def test_what_does_not_decide_an_output_leaves_the_keys(change: dict[str, Any]) -> None:
    assert set(plan(**change).stages) == set(plan().stages)


def test_a_sample_per_seed_is_drawn_anew_of_what_is_trained_on_and_of_nothing_else() -> None:
    planned = plan(sample="per_seed", average={"seeds": True}, encoders=["bundled/e5-small@1"])
    drawn: dict[int, set[tuple[str, ...]]] = {1: set(), 2: set()}
    for spec in trainings(planned):
        (part,) = spec.parts
        if part.task.name == "mini-nli":
            drawn[spec.seed].add(tuple(example.id for example in examples(part.train)))
    (first,), (second,) = drawn.values()
    assert len(first) == len(second) == 20 and set(first) != set(second)
    assert len({part.dev for spec in trainings(planned) for part in spec.parts}) == 2  # one a task
    same = plan(encoders=["bundled/e5-small@1"])
    assert {stage.spec.sets for stage in planned.stages.values() if isinstance(stage.spec, Score)} == {
        stage.spec.sets for stage in same.stages.values() if isinstance(stage.spec, Score)
    }
    again = trainings(plan(sample="per_seed", seeds=[2], encoders=["bundled/e5-small@1"]))
    assert {tuple(one.id for one in examples(spec.parts[0].train)) for spec in again} >= {second}


def test_where_no_sample_is_drawn_none_can_be_per_seed() -> None:
    with pytest.raises(UserError, match="sample: per_seed: no training data are more than `max_train_examples`"):
        plan(sample="per_seed", training={})


def test_each_seed_s_sample_is_compared_with_what_is_evaluated_on(tmp_path: Path) -> None:
    """A training set of which one example is evaluated on too: whichever seed draws it, it is left out."""
    (tmp_path / "pawsx").mkdir()
    rows = [f"The {i} dogs sleep under the old tree today\tThe {i} cats sit here\t{i % 2}\n" for i in range(40)]
    (tmp_path / "pawsx" / "train-en.tsv").write_text("".join(rows))
    (tmp_path / "pawsx" / "dev-en.tsv").write_text("a\tb\t0\nc\td\t1\n")
    (tmp_path / "pawsx" / "test-en.tsv").write_text(rows[0])
    planned = plan(
        data=str(tmp_path), targets=["pawsx"], recipes=["none"], encoders=["bundled/e5-small@1"],
        seeds=list(range(1, 9)), sample="per_seed", training={"max_train_examples": 20}, on_overlap="drop",
    )  # fmt: skip
    sets = [spec.parts[0].train for spec in trainings(planned)]
    assert len({ref.draw for ref in sets}) == 8
    assert not [ref for ref in sets if "The 0 dogs" in " ".join(one.texts[0] for one in examples(ref))]


def test_labels_of_the_data_size_the_head_and_decide_the_key(tmp_path: Path) -> None:
    (tmp_path / "ccg").mkdir()
    (tmp_path / "ccg" / "train.tsv").write_text("He\tNP\nsleeps\tS\\NP\n")
    keys = []
    for tag in ("S", "S/NP"):
        (tmp_path / "ccg" / "dev.tsv").write_text(f"Sleep\t{tag}\n")
        planned = plan(recipes=["ccg"], targets=["mini-pos"], seeds=[1], data=str(tmp_path))
        [key] = {cell.intermediate for cell in planned.cells if cell.encoder.layers == 1}
        spec = planned.stages[str(key)].spec
        assert isinstance(spec, Train) and spec.task.labels == tuple(sorted(["NP", "S\\NP", tag]))
        assert spec.parts[0].train.task.labels == spec.parts[0].dev.task.labels == spec.task.labels
        keys.append(key)
    assert keys[0] != keys[1]


def test_a_preset_of_intermediate_tasks_leaves_target_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = {**presets()["quick"], "intermediate": {"mini-nli": {"batch_size": 3}}}
    monkeypatch.setattr(xstilts.planning.study, "presets", lambda: {"quick": preset})
    specs = trainings(plan(recipes=["none", "mini-nli"], targets=[{"task": "mini-nli", "max_examples": 5}], seeds=[1]))
    targets = [spec for spec in specs if spec.parts[0].reading.batch_size == 16]
    # two encoders: each task trained alone, and after the intermediate one
    assert len(targets) == 4 and len(specs) == 6


def test_only_what_is_needed_is_missing(tmp_path: Path) -> None:
    planned = plan(encoders=["bundled/e5-small@1"], seeds=[1])
    store = Store(tmp_path)
    assert planned.missing(store) == list(planned.stages.values())
    scores = [stage for stage in planned.stages.values() if stage.kind == "score"]
    for stage in scores[1:]:
        with store.publish(stage.key) as (folder, _):
            (folder / "outcomes.parquet").write_bytes(b"")
    left = planned.missing(store)
    assert left[-1] == scores[0] and {stage.kind for stage in left[:-1]} <= {"train", "predict"}
    assert set(left[-1].inputs) <= {stage.key for stage in left}


def test_sets_without_gold_are_predicted_and_only_the_others_scored(tmp_path: Path) -> None:
    (tmp_path / "pawsx").mkdir()
    for split in ("train", "dev"):
        (tmp_path / "pawsx" / f"{split}-en.tsv").write_text(f"a {split}\tb\t0\nc {split}\td\t1\n")
    (tmp_path / "pawsx" / "test-de.tsv").write_text("Ein Hund.\tEine Katze.\n")
    changes: dict[str, Any] = {
        "data": str(tmp_path), "targets": ["pawsx"], "recipes": ["none"], "seeds": [1],
        "encoders": ["bundled/e5-small@1"],
    }  # fmt: skip
    blank = plan(**changes)
    (cell,) = blank.cells
    assert cell.score is None and {stage.kind for stage in blank.stages.values()} == {"train", "predict"}
    assert blank.missing(Store(tmp_path / "store")) == list(blank.stages.values())
    assert ["no gold labels in any language" in note for note in told(blank)] == [True]

    (tmp_path / "pawsx" / "test-fr.tsv").write_text("Un chien.\tUn chat.\t0\n")
    mixed = plan(**changes)
    (score,) = [stage.spec for stage in mixed.stages.values() if isinstance(stage.spec, Score)]
    (predict,) = [stage.spec for stage in mixed.stages.values() if isinstance(stage.spec, Predict)]
    assert [ref.language for ref in score.sets] == ["fr"]
    assert [ref.language for ref in predict.sets] == ["de", "fr"]
    assert ["no gold labels in de:" in note for note in told(mixed)] == [True]


def test_an_absent_data_set_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"XSTILTS_DATA"):
        make_plan(make_study({**STUDY, "targets": ["xquad"], "data": None}))
    with pytest.raises(UserError, match=r"xquad"):
        make_plan(make_study({**STUDY, "targets": ["xquad"], "data": str(tmp_path)}))


def squad_dev_study(tmp_path: Path, real_data: Path, on_overlap: str) -> dict[str, Any]:
    """A study that trains on SQuAD's dev set, which holds all of XQuAD's questions."""
    entry = {
        "name": "squad-dev", "format": "span", "description": "SQuAD v1.1 dev", "languages": ["en"], "metric": "f1",
        "files": {"reader": "squad", "train": "squad_v1.1/dev-v1.1*.json"}, "licence": "CC BY-SA 4.0", "citation": "-",
    }  # fmt: skip
    (tmp_path / "squad-dev.yaml").write_text(yaml.safe_dump(entry))
    return {
        **STUDY,
        "data": str(real_data),
        "tasks": [str(tmp_path / "squad-dev.yaml")],
        "recipes": ["none", "squad-dev"],
        "targets": [{"task": "xquad", "languages": ["de", "zh"]}],
        "training": {"max_train_examples": 500, "max_dev_examples": 50},
        "on_overlap": on_overlap,
    }


ENTRY: dict[str, Any] = {"description": "-", "licence": "-", "citation": "-"}


def table(path: Path, rows: list[str]) -> None:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def pairs_study(folder: Path, recipes: list[str], targets: list[Any], **changes: Any) -> dict[str, Any]:
    """A study on `pairs`, whose dev files are parallel, and on `xpairs`, which has the German ones alone."""
    pairs = {**ENTRY, "name": "pairs", "format": "classification", "metric": "accuracy", "labels": ["0", "1"]}
    files = {"reader": "tsv", "columns": ["premise", "hypothesis", "label"], "dev": "dev-{lang}.tsv"}
    (folder / "pairs.yaml").write_text(
        yaml.safe_dump({**pairs, "languages": ["de", "en"], "files": {**files, "train": "train-{lang}.tsv"}})
    )
    (folder / "xpairs.yaml").write_text(
        yaml.safe_dump({**pairs, "name": "xpairs", "languages": ["de"], "train": "pairs", "files": files})
    )
    table(folder / "train-en.tsv", [f"This is {n}.\tIt is {n}.\t{n % 2}" for n in range(40)])
    table(folder / "dev-en.tsv", [f"That was {n}.\tIt was {n}.\t{n % 2}" for n in range(9)])
    table(folder / "dev-de.tsv", [f"Das war {n}.\tEs war {n}.\t{n % 2}" for n in range(9)])
    tasks = [str(folder / "pairs.yaml"), str(folder / "xpairs.yaml")]
    return {**STUDY, "data": str(folder), "tasks": tasks, "recipes": recipes, "targets": targets, "seeds": [1],
            "training": {}, **changes}  # fmt: skip


@pytest.mark.parametrize(
    ("recipes", "target"),
    [
        (["none"], {"task": "pairs", "split": "dev"}),
        (["none"], {"task": "pairs", "split": "dev", "languages": ["de"]}),
        (["none"], {"task": "xpairs", "split": "dev"}),
        (["none", "pairs"], {"task": "pairs", "split": "dev"}),
    ],
)
def test_what_is_evaluated_on_dev_is_selected_on_a_tenth_of_train(
    recipes: list[str], target: dict[str, Any], tmp_path: Path
) -> None:
    """Neither the English dev set nor what translates it chooses a model that is scored on it."""
    planned = make_plan(make_study(pairs_study(tmp_path, recipes, [target])))
    parts = [part for spec in trainings(planned) for part in spec.parts]
    assert parts and all((len(examples(part.train)), len(examples(part.dev))) == (36, 4) for part in parts)
    chosen = {text for part in parts for example in examples(part.dev) for text in example.texts}
    assert all(text.startswith(("This is", "It is")) for text in chosen)
    assert [note for note in planned.notes if "is selected on a tenth of its English train split" in note]


def test_elsewhere_selection_is_on_the_dev_files(tmp_path: Path) -> None:
    planned = make_plan(make_study(pairs_study(tmp_path, ["none", "pairs"], [{"task": "mini-nli", "max_examples": 5}])))
    parts = [part for spec in trainings(planned) for part in spec.parts if part.task.name == "pairs"]
    assert {(len(examples(part.train)), len(examples(part.dev))) for part in parts} == {(40, 9)} and not planned.notes


def test_a_few_sentences_of_a_corpus_are_dropped_with_a_note_whatever_on_overlap_says(tmp_path: Path) -> None:
    sentence = "The\tDET\ndog\tNOUN\n{}\tVERB\nvery\tADV\nfast\tADV\n"
    (tmp_path / "udpos").mkdir()
    for split, numbers in (("train", range(60)), ("dev", range(100, 130)), ("test", range(57, 99))):
        table(tmp_path / "udpos" / f"{split}-en.tsv", [sentence.format(f"runs{n}") for n in numbers])
    study = {**STUDY, "data": str(tmp_path), "recipes": ["none"], "targets": ["udpos"], "training": {}, "seeds": [1]}
    with pytest.raises(UserError, match="contamination: udpos train and udpos"):
        make_plan(make_study(study))
    table(tmp_path / "udpos" / "test-en.tsv", [sentence.format(f"runs{n}") for n in range(58, 110)])
    with pytest.raises(UserError, match="contamination: udpos dev and udpos"):
        make_plan(make_study(study))
    table(tmp_path / "udpos" / "test-en.tsv", [sentence.format(f"runs{n}") for n in range(58, 99)])
    planned = make_plan(make_study(study))
    assert {len(examples(part.train)) for spec in trainings(planned) for part in spec.parts} == {58}
    (note,) = told(planned)
    assert note.startswith(
        "2 of 60 examples of udpos train were dropped: they overlap with data that models are scored"
    )


def test_what_another_task_shares_with_the_dev_data_of_a_target_is_left_out_whatever_on_overlap_says(
    tmp_path: Path,
) -> None:
    """Else the recipe that has seen the dev data would be chosen by them."""
    study = pairs_study(tmp_path, ["none", "others", "pairs"], ["xpairs"])
    entry = yaml.safe_load((tmp_path / "xpairs.yaml").read_text())
    (tmp_path / "xpairs.yaml").write_text(
        yaml.safe_dump({**entry, "files": {**entry["files"], "test": "test-{lang}.tsv"}})
    )
    files = {**entry["files"], "train": "others-{lang}.tsv", "dev": None}
    others = {**entry, "name": "others", "languages": ["en"], "train": None, "files": files}
    (tmp_path / "others.yaml").write_text(yaml.safe_dump(others))
    table(tmp_path / "test-de.tsv", [f"Es ist {n}.\tDas ist {n}.\t{n % 2}" for n in range(9)])
    seen = [f"That was {n}.\tIt was {n}.\t{n % 2}" for n in range(3)]
    table(tmp_path / "others-en.tsv", [*seen, *(f"Here is {n}.\tThere is {n}.\t{n % 2}" for n in range(40))])
    planned = make_plan(make_study({**study, "tasks": [*study["tasks"], str(tmp_path / "others.yaml")]}))
    parts = {part.task.name: part for spec in trainings(planned) for part in spec.parts}
    read = {text for example in examples(parts["others"].train) for text in example.texts}
    assert len(examples(parts["others"].train)) + len(examples(parts["others"].dev)) == 40
    assert not any(text.startswith(("That was", "It was")) for text in read)
    assert len(examples(parts["pairs"].train)) == 40  # what its own splits share is its authors' affair
    (note,) = [note for note in told(planned) if "dropped" in note]
    assert "others train were dropped" in note and "others train and pairs dev (en) share" in note


def squad_file(path: Path, ids: range, language: str) -> None:
    paragraphs = [
        {"context": f"{language} passage {n}", "qas": [
            {"id": str(n), "question": "?", "answers": [{"text": "passage", "answer_start": len(language) + 1}]}
        ]}
        for n in ids
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))


def test_tydiqa_trains_on_english_alone_and_tydiqa_leaky_on_all_and_says_so(tmp_path: Path) -> None:
    """The nine-language leak of jiant's released code, in both modes (recipes C9.1)."""
    folder = tmp_path / "tydiqa"
    for language, ids in (("en", range(20)), ("ko", range(30)), ("fi", range(10))):
        name = f"tydiqa.goldp.{language}"
        squad_file(folder / "tydiqa-goldp-v1.1-train" / f"{name}.train.json", ids, language)
        squad_file(folder / "tydiqa-goldp-v1.1-dev" / f"{name}.dev.json", range(50, 55), language)
    study = {**STUDY, "data": str(tmp_path), "recipes": ["none"], "training": {}, "seeds": [1]}
    keys = []
    for name, languages, count in (("tydiqa", {"en"}, 18), ("tydiqa-leaky", {"en", "fi", "ko"}, 18 + 9 + 27)):
        planned = make_plan(make_study({**study, "targets": [name]}))
        part = trainings(planned)[0].parts[0]
        assert set(part.train.language.split("+")) == languages and part.dev.language == "en"
        assert {example.context.split()[0] for example in examples(part.train)} == languages  # type: ignore[union-attr]
        ids = [example.id for example in examples(part.train)]
        assert len(ids) == len(set(ids)) == count and len(examples(part.dev)) == 2
        assert ["NOT zero-shot" in note for note in told(planned)] == [True] * (len(languages) > 1)
        keys.append(planned.cells[0].training)
    assert keys[0] != keys[1]
    squad_file(folder / "tydiqa-goldp-v1.1-dev" / "tydiqa.goldp.ko.dev.json", range(3), "ko")
    make_plan(make_study({**study, "targets": ["tydiqa"]}))
    with pytest.raises(UserError, match=r"contamination: tydiqa-leaky train and tydiqa-leaky \(ko\)"):
        make_plan(make_study({**study, "targets": ["tydiqa-leaky"]}))


def few_shot(folder: Path, asked: dict[str, Any], **changes: Any) -> Plan:
    recipes = ["none", {"name": "few", "target_training": asked}]
    study = {**STUDY, "data": str(folder), "recipes": recipes, "training": {}, "seeds": [1], "targets": ["tydiqa"]}
    return make_plan(make_study({**study, **changes}))


def tydiqa(folder: Path, evaluated: range = range(50, 55)) -> None:
    for language, ids in (("en", range(20)), ("ko", range(30))):
        name = f"tydiqa.goldp.{language}"
        squad_file(folder / "tydiqa" / "tydiqa-goldp-v1.1-train" / f"{name}.train.json", ids, language)
        squad_file(folder / "tydiqa" / "tydiqa-goldp-v1.1-dev" / f"{name}.dev.json", evaluated, language)


def test_labelled_data_of_a_language_are_trained_and_selected_on_where_a_recipe_says_so_and_nowhere_else(
    tmp_path: Path,
) -> None:
    tydiqa(tmp_path)
    planned = few_shot(tmp_path, {"train_languages": ["en", "ko"], "max_train_examples": {"ko": 7}})
    parts = {cell.recipe: planned.stages[cell.training or ""].spec.parts[0] for cell in planned.cells}  # type: ignore
    assert {recipe: part.train.language for recipe, part in parts.items()} == {"none": "en", "few": "en+ko"}
    read = [example.context.split()[0] for example in examples(parts["few"].train)]  # type: ignore[attr-defined]
    assert (read.count("en"), read.count("ko")) == (18, 7)
    assert parts["few"].dev == parts["none"].dev and parts["none"].dev.language == "en"
    assert [planned.beyond_english(cell) for cell in planned.cells] == [(), ("ko",)] * 2
    (note,) = [note for note in told(planned) if "NOT zero-shot" in note]
    assert note.startswith(
        "few trains tydiqa on labelled data in en, ko, at most 7 in ko, and selects on dev data in en"
    )

    planned = few_shot(tmp_path, {"dev_languages": ["ko"]})
    parts = {cell.recipe: planned.stages[cell.training or ""].spec.parts[0] for cell in planned.cells}  # type: ignore
    assert parts["few"].train == parts["none"].train and parts["few"].dev.language == "ko"
    assert len(examples(parts["few"].dev)) == 3  # a tenth of the Korean train data, for there are no dev files
    assert {planned.selected_on(cell) for cell in planned.cells} == {"en", "ko"}
    assert planned.beyond_english(planned.cells[1]) == ("ko",)


def test_a_language_without_labelled_data_is_told_with_those_that_have_some(tmp_path: Path) -> None:
    tydiqa(tmp_path)
    with pytest.raises(UserError, match=r"tydiqa has no training data in sw; there is some in en, ko: name these"):
        few_shot(tmp_path, {"train_languages": ["en", "sw"]})
    with pytest.raises(UserError, match=r"tydiqa has no dev data in fi; there is some in en, ko"):
        few_shot(tmp_path, {"dev_languages": ["fi"]})
    squad_file(tmp_path / "squad_v1.1" / "train-v1.1.json", range(90, 110), "en")
    squad_file(tmp_path / "xquad" / "xquad.de.json", range(200, 205), "de")
    with pytest.raises(UserError, match=r"squad has no training data in de; there is some in en"):
        few_shot(tmp_path, {"train_languages": ["de"]}, targets=["xquad"])


def test_labelled_data_of_a_language_are_compared_with_what_is_evaluated_on(tmp_path: Path) -> None:
    """The test set of the language holds what its training set does: nothing but the recipe brings that in."""
    tydiqa(tmp_path)
    asked = {"train_languages": ["en", "ko"]}
    squad_file(tmp_path / "tydiqa" / "tydiqa-goldp-v1.1-dev" / "tydiqa.goldp.ko.dev.json", range(3), "ko")
    with pytest.raises(UserError, match=r"contamination: tydiqa train and tydiqa \(ko\) share . of 3"):
        few_shot(tmp_path, asked)
    planned = few_shot(tmp_path, {**asked, "max_train_examples": {"ko": 20}}, on_overlap="drop")
    parts = {cell.recipe: planned.stages[cell.training or ""].spec.parts[0] for cell in planned.cells}  # type: ignore
    korean = {one.context for one in examples(parts["few"].train) if one.context.startswith("ko")}  # type: ignore
    assert len(korean) == 20 and not korean & {f"ko passage {n}" for n in range(3)}
    assert few_shot(tmp_path, asked, recipes=["none"]).cells  # zero-shot, the same files are no matter


def test_dev_data_of_a_language_are_the_targets_own_where_its_training_task_is_english(tmp_path: Path) -> None:
    """XNLI is trained on MultiNLI; its dev sets are those of its languages."""

    def table(path: Path, rows: list[str]) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")

    labels = ("contradiction", "entailment", "neutral")
    for language, count in (("en", 6), ("sw", 6)):
        for split in ("dev", "test"):
            rows = [f"{language} {split} {n}\tand so it is {n}\t{labels[n % 3]}" for n in range(count)]
            table(tmp_path / "xnli" / f"{split}-{language}.tsv", rows)
    mnli = [{"text_a": f"train {n}", "text_b": "yes", "label": labels[n % 3]} for n in range(30)]
    for split in ("train", "dev"):
        (tmp_path / "mnli").mkdir(exist_ok=True)
        content = {str(n): {**row, "text_a": f"{split} {n}"} for n, row in enumerate(mnli)}
        (tmp_path / "mnli" / f"{split}.json").write_text(json.dumps(content))
    planned = few_shot(tmp_path, {"dev_languages": ["sw"]}, targets=["xnli"])
    part = planned.stages[planned.cells[1].training or ""].spec.parts[0]  # type: ignore[union-attr]
    assert (part.task.name, part.train.language) == ("mnli", "en")
    assert (part.dev.task.name, part.dev.split, part.dev.language) == ("xnli", "dev", "sw")


def test_how_dev_is_selected_on_decides_the_key() -> None:
    training = {**STUDY["training"], "dev_selection": "first500"}
    assert not {cell.training for cell in plan(training=training).cells} & {cell.training for cell in plan().cells} - {
        None
    }
    with pytest.raises(UserError, match="dev_selection"):
        plan(training={"dev_selection": "first5000"})


@pytest.mark.realdata
@pytest.mark.parametrize(
    "target", ["udpos", "pud", {"task": "panx", "split": "dev"}, {"task": "mlqa", "split": "dev"}],
    ids=["udpos", "pud", "panx", "mlqa"],
)  # fmt: skip
def test_real_targets_need_no_exclusions_by_hand(target: Any, real_data: Path) -> None:
    named = target if isinstance(target, dict) else {"task": target}
    study = {**STUDY, "data": str(real_data), "recipes": ["none"], "seeds": [1]}
    make_plan(make_study({**study, "targets": [{**named, "languages": ["en", "de"][: 1 + (target != "udpos")]}]}))


@pytest.mark.realdata
def test_training_on_squad_dev_is_refused_since_it_holds_xquad(tmp_path: Path, real_data: Path) -> None:
    with pytest.raises(UserError, match=r"contamination: squad-dev train and xquad \(de\).*on_overlap: drop"):
        make_plan(make_study(squad_dev_study(tmp_path, real_data, "error")))


@pytest.mark.realdata
def test_dropping_the_overlap_leaves_none_of_xquads_questions(tmp_path: Path, real_data: Path) -> None:
    planned = make_plan(make_study(squad_dev_study(tmp_path, real_data, "drop")))
    evaluated = {example.id for stage in planned.stages.values() if isinstance(stage.spec, Predict)
                 for ref in stage.spec.sets for example in examples(ref)}  # fmt: skip
    trained = {
        example.id
        for spec in trainings(planned)
        for part in spec.parts
        for ref in (part.train, part.dev)
        for example in examples(ref)
    }
    assert len(evaluated) == 1190 and len(trained) > 500
    assert not evaluated & trained
    assert any("were dropped" in note for note in planned.notes)


def test_the_full_experiment_is_planned_without_data_network_or_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    study = load_study(Path(__file__).parent.parent / "studies" / "phang2020.yaml")
    planned = make_plan(study, estimate=True)
    flops = planned.flops_by_recipe()
    assert flops.keys() == {recipe.name for recipe in study.recipes}
    assert all(by_target.keys() == {"", *(t.task for t in study.targets)} for by_target in flops.values())
    assert all(by_target[""] > 0 for recipe, by_target in flops.items() if recipe != "none")
    assert all(cost > 0 for by_target in flops.values() for target, cost in by_target.items() if target)
    # 1,104,934 examples of ANLI+ against 392,702 of MNLI, for as many epochs
    assert flops["anli_plus"][""] / flops["mnli"][""] == pytest.approx(1104934 / 392702, rel=0.01)
    assert flops["squad+mlm"][""] > flops["squad"][""] > 0
    training = planned.stages[planned.cells[0].training or ""]
    assert disk(planned, training) == 4 * planned.facts[study.encoders[0].encoder].parameters
    assert "FacebookAI/xlm-roberta-large; " in planned.notes[-1] and "mnli train" in planned.notes[-1]
    with pytest.raises(UserError, match="no data folder"):
        make_plan(study.model_copy(update={"encoders": make_study(STUDY).encoders}))


def test_partial_data_is_told_with_the_official_counts(tmp_path: Path) -> None:
    """C16, C17: what was loaded is compared with the catalog's counts."""
    pairs = {str(i): {"text_a": f"Sentence {i}.", "text_b": f"Another {i}.", "label": "neutral"} for i in range(7)}
    pairs["7"] = {"text_a": "One.", "text_b": "Two.", "label": "entailment"}
    (tmp_path / "mnli").mkdir()
    for name in ("train", "dev"):
        own = {key: {**pair, "text_a": f"{name} {pair['text_a']}"} for key, pair in pairs.items()}
        (tmp_path / "mnli" / f"{name}.json").write_text(json.dumps(own))
    planned = plan(recipes=["mnli"], data=str(tmp_path))
    assert "Other than the whole official data: mnli train 8 of 392,702; mnli dev 8 of 9,815." in planned.notes
