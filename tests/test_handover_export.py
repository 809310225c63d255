"""What `xstilts export` leaves: a folder that answers as the study's models do, and a card that says so truly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner

import xstilts
from tiny import Inline
from xstilts.cli.app import app
from xstilts.common.errors import UserError
from xstilts.planning.data_ref import examples
from xstilts.planning.plan import Predict
from xstilts.planning.planner import make_plan
from xstilts.planning.study import load_study
from xstilts.running.run import execute
from xstilts.store import Store

#: Trained on another task, whose labels it calls otherwise and lists in another order.
RENAMED = {
    "name": "verdicts", "format": "classification", "description": "mini-nli in other words", "languages": ["en", "sw"],
    "metric": "accuracy", "labels": ["no", "maybe", "yes"], "train": "mini-nli",
    "label_map": {"entailment": "yes", "neutral": "maybe", "contradiction": "no"},
    "files": {"reader": "records", "test": "verdicts-{lang}.jsonl"}, "licence": "Apache-2.0", "citation": "xstilts",
}  # fmt: skip

STUDY: dict[str, Any] = {
    "name": "handed-over", "encoders": ["bundled/e5-small@1"], "recipes": ["none", "mini-paraphrase"], "seeds": [1],
    "targets": [
        {"task": "mini-span-unanswerable", "max_examples": 6, "languages": ["en", "sw"]},
        {"task": "mini-retrieval", "max_examples": 6, "languages": ["sw"]},
        {"task": "verdicts", "languages": ["en", "sw"]},
        {"task": "mini-entities", "max_examples": 4, "languages": ["en", "sw"]},
    ],
    "tasks": ["verdicts.yaml"], "data": "data",
    "training": {"max_train_examples": 16, "max_dev_examples": 12, "batch_size": 8, "precision": "fp32",
                 "max_length": 96, "doc_stride": 24, "max_query_length": 20},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the study, run, and exports of its targets."""
    folder = tmp_path_factory.mktemp("handed-over")
    (folder / "data").mkdir()
    for language in ("en", "sw"):
        said = (("there", "yes"), ("in Rome", "no"), ("alone", "maybe"))
        rows = [{"id": i, "premise": f"Anna {i} lives in Bonn.", "hypothesis": f"She lives {where}.", "label": label}
                for i, (where, label) in enumerate(said)]  # fmt: skip
        (folder / "data" / f"verdicts-{language}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "verdicts.yaml").write_text(yaml.safe_dump(RENAMED))
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    plan, store = make_plan(load_study(folder / "study.yaml")), Store(folder / "store")
    assert execute(plan, store, make=lambda: Inline(store)) == {}
    for target in ("mini-span-unanswerable", "verdicts", "mini-entities"):
        export(folder, target, recipe="none")
    export(folder, "mini-retrieval", recipe="mini-paraphrase", encoder="bundled/e5-small@1")
    return folder


def export(folder: Path, target: str, **options: Any) -> Path:
    return xstilts.export(folder / "study.yaml", folder / target, target=target, store=folder / "store", **options)


def predictions(folder: Path, target: str, recipe: str = "none") -> tuple[Predict, list[str]]:
    """What the study has in its store."""
    plan, store = make_plan(load_study(folder / "study.yaml")), Store(folder / "store")
    (cell,) = [cell for cell in plan.cells if (cell.target.task, cell.recipe) == (target, recipe)]
    spec = plan.stages[cell.predictions].spec
    assert isinstance(spec, Predict)
    with store.files(cell.predictions) as files:
        return spec, pl.read_parquet(files / "predictions.parquet")["prediction"].to_list()


def test_an_exported_model_answers_in_the_targets_label_names(folder: Path) -> None:
    spec, expected = predictions(folder, "verdicts")
    records = [{"premise": e.texts[0], "hypothesis": e.texts[1]} for ref in spec.sets for e in examples(ref)]
    model = xstilts.load(folder / "verdicts")
    assert [model(*record.values()) for record in records] == expected
    assert {*expected} <= {"no", "maybe", "yes"}
    assert set(model.model.config.label2id) == {"no", "maybe", "yes"}  # for pipelines too


def test_it_reads_as_it_was_trained_to(folder: Path) -> None:
    model = xstilts.load(folder / "mini-span-unanswerable")
    used = model.usage
    assert (used.max_length, used.doc_stride, used.max_query_length, used.unanswerable) == (96, 24, 20, True)
    spec, expected = predictions(folder, "mini-span-unanswerable")
    answered = [prediction.partition("\t") for prediction in expected]
    own = [model(e.texts[1], e.texts[0]) for ref in spec.sets for e in examples(ref)]
    assert own == [answer if float(odds) <= 0 else "" for odds, _, answer in answered]


def test_vectors_are_those_of_the_study(folder: Path) -> None:
    spec, expected = predictions(folder, "mini-retrieval", "mini-paraphrase")
    (ref,) = spec.sets
    pairs, model = examples(ref), xstilts.load(folder / "mini-retrieval")
    source, target = (model([e.texts[side] for e in pairs]) for side in (0, 1))
    nearest = (target @ source.T).argmax(1)
    assert [pairs[i].id for i in nearest] == [ids.split(" ")[0] for ids in expected]
    with pytest.raises(UserError, match="have vectors, and no predictions"):
        xstilts.predict(folder / "mini-retrieval", [{"text": "a"}])
    with pytest.raises(UserError, match=r"nothing is trained on it.*name --encoder and --recipe"):
        export(folder, "mini-retrieval")


@pytest.mark.parametrize("target", ["mini-span-unanswerable", "verdicts", "mini-entities", "mini-retrieval"])
def test_the_cards_python_gives_one_answer_with_xstilts_and_without(folder: Path, target: str) -> None:
    text = (folder / target / "README.md").read_text()
    ours, alone = (part.split("```")[0] for part in text.split("```python\n")[1:])
    assert "xstilts" not in alone and len(alone.strip().splitlines()) < 40
    answers = []
    for code in (ours.replace('load(".")', f"load({str(folder / target)!r})"),
                 alone.replace('folder = "."', f"folder = {str(folder / target)!r}")):  # fmt: skip
        found: dict[str, Any] = {}
        exec(code, found)
        answers.append(found["answer"])
    if target == "mini-retrieval":
        np.testing.assert_allclose(*answers, atol=1e-5)
    else:
        assert answers[0] == answers[1]


@pytest.mark.parametrize("target", ["mini-span-unanswerable", "verdicts", "mini-retrieval"])
def test_the_hub_reads_the_scores_of_the_card(folder: Path, target: str) -> None:
    """By its own classes: a score a language and metric, with how many examples of which data."""
    recipe = "mini-paraphrase" if target == "mini-retrieval" else "none"
    scores = xstilts.scores(folder / "study.yaml", folder / "store", target=target, recipe=recipe)
    results = ModelCard.load(folder / target / "README.md").data.eval_results
    main = scores["metric"].filter(scores["main"])[0]
    found = {one.dataset_config: one for one in results if one.metric_type == main}
    assert set(found) == set(scores["language"])
    for row in scores.filter(scores["main"]).iter_rows(named=True):
        one = found[row["language"]]
        assert one.metric_value == round(row["value"], 2) and one.dataset_split == "test"
        assert one.dataset_args["examples"] == row["n"] and len(one.dataset_args["sha256"]) == 64
    if target == "mini-span-unanswerable":
        assert {one.metric_type for one in results} == {main, "exact_match"}


def test_what_a_threshold_costs_is_measured_on_dev_and_printed(folder: Path, tmp_path: Path) -> None:
    words = ["export", str(folder / "study.yaml"), "--store", str(folder / "store"), "--out", str(tmp_path / "m"),
             "--target", "mini-span-unanswerable", "--recipe", "none"]  # fmt: skip
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    used = xstilts.load(tmp_path / "m").usage
    assert used.dev_examples == 12 and [one.threshold for one in used.abstentions][:1] == [0.0]
    first, *_, last = used.abstentions
    assert first.answered == 1.0 and first.f1 == first.f1_answered and first.answered >= last.answered
    assert all((one.f1_answered is None) == (one.answered == 0) for one in used.abstentions)
    model = xstilts.load(folder / "mini-span-unanswerable")
    plan = make_plan(load_study(folder / "study.yaml"))
    dev = next(ref for use, ref, _ in plan.data if use == "selection" and ref.task.name == "mini-span-unanswerable")
    for one in used.abstentions[1:6:2]:
        given = [model(e.texts[1], e.texts[0], threshold=one.threshold) for e in examples(dev)]
        assert one.answered == sum(map(bool, given)) / 12
    card = (tmp_path / "m" / "README.md").read_text()
    assert "| 0.5 |" in card and "On 12 English dev questions" in card
    assert "threshold 0.5: answers" in ended.stdout
