"""A study from its file to its scores: whole, interrupted, with a failing stage, and from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import xstilts
from tiny import STUDY, command, scores_in, write
from xstilts.cli.app import app
from xstilts.common.errors import UserError
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.store import Store, logs


def test_a_run_leaves_scores_report_and_tables(finished: Path) -> None:
    scores = scores_in(finished)
    main = scores.filter(pl.col("main"))
    assert len(main) == 2 * 2 + 2 * 1  # recipes × languages, for both targets
    assert set(main["metric"]) == {"f1", "accuracy"} and main["value"].is_between(0, 100).all()
    assert set(main.filter(pl.col("target") == "mini-span")["n"]) == {6}
    assert main.filter(pl.col("target") == "mini-retrieval")["hidden_layer"].to_list() == [1, 1]
    assert main["preset"].unique().to_list() == ["quick"] and main["precision"].is_not_null().all()
    out = finished / "runs" / "tiny"
    assert {path.name for path in out.iterdir()} >= {"report.html", "scores.csv", "scores.parquet", "tables", "charts"}


def test_the_log_of_each_training_has_its_losses_and_dev_scores(finished: Path) -> None:
    store = Store(finished / ".xstilts" / "store")
    for stage in make_plan(make_study(STUDY)).stages.values():
        records = logs.read(store, stage.key)
        assert [record["event"] for record in records if record["event"] != "progress"] == ["started", "done"]
        if stage.kind == "train":
            losses = [record["loss"] for record in records if "loss" in record]
            assert len(losses) == 3 and all(loss > 0 for loss in losses)  # 24 examples, 8 a step
            (dev,) = [record for record in records if "dev" in record]
            assert 0 <= dev["dev"] <= 100 and dev["done"] == 3 and dev["text"].startswith("dev ")


def test_a_second_run_computes_nothing_and_gives_the_same_scores(finished: Path) -> None:
    before = scores_in(finished)
    artifacts = {path: path.stat().st_mtime_ns for path in (finished / ".xstilts").rglob("manifest.json")}
    ended = command(finished, "run", "tiny.yaml")
    assert ended.returncode == 0 and "0 to compute" in ended.stderr
    assert scores_in(finished).equals(before)
    assert artifacts == {path: path.stat().st_mtime_ns for path in (finished / ".xstilts").rglob("manifest.json")}


def test_from_python_a_run_gives_the_scores_as_a_frame(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    frame = xstilts.run(finished / "tiny.yaml", store=finished / ".xstilts" / "store")
    assert frame.drop("seconds").equals(scores_in(finished))


ENTRY = {
    "name": "xquad", "format": "span", "description": "XQuAD, as XTREME has it", "languages": ["en", "de"],
    "metric": "f1", "train": "mini-span", "files": {"reader": "squad", "test": "xquad.{lang}.json"}, "licence": "-",
    "citation": "-",
}  # fmt: skip


def test_languages_without_gold_are_predicted_noted_and_submitted_but_not_scored(tmp_path: Path) -> None:
    for language, answers in (("en", [{"text": "Rome", "answer_start": 3}]), ("de", [{"text": "", "answer_start": 0}])):
        question = {"id": f"q-{language}", "question": f"Where ({language})?", "answers": answers}
        document = {"data": [{"paragraphs": [{"context": f"In Rome ({language}).", "qas": [question]}]}]}
        (tmp_path / f"xquad.{language}.json").write_text(json.dumps(document))
    (tmp_path / "entry.yaml").write_text(yaml.safe_dump(ENTRY))
    changes = {"tasks": ["entry.yaml"], "data": ".", "recipes": ["none"], "targets": ["xquad"]}

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(app, [*words, "--store", str(tmp_path / ".xstilts" / "store")])

    mixed = str(write(tmp_path, **changes))
    ended = command(tmp_path, "run", mixed)
    assert ended.returncode == 0, ended.stderr
    assert set(scores_in(tmp_path)["language"]) == {"en"}
    assert "no gold labels in de: predictions are made there" in invoke("plan", mixed).stdout
    assert "no gold labels in de" in (tmp_path / "runs/tiny/report.html").read_text()
    assert invoke("submission", mixed, "--out", str(tmp_path / "out")).exit_code == 0
    for language in ("en", "de"):
        answers = json.loads((tmp_path / f"out/xquad/test-{language}.json").read_text())
        assert set(answers) == {f"q-{language}"} and answers[f"q-{language}"] in f"In Rome ({language})."

    blank = str(write(tmp_path, **{**changes, "name": "blank", "targets": [{"task": "xquad", "languages": ["de"]}]}))
    ended = command(tmp_path, "run", blank)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1 and "no target has gold labels, so nothing is scored" in ended.stdout
    assert not (tmp_path / "runs" / "blank").exists()
    for name in ("report", "scores"):
        refused = invoke(name, blank).exception
        assert isinstance(refused, UserError) and "no target has gold labels" in str(refused)


def test_the_plan_says_what_is_done(finished: Path) -> None:
    told = json.loads(command(finished, "plan", "tiny.yaml", "--json").stdout)
    assert {stage["state"] for stage in told["stages"]} == {"done"} and told["seconds_left"] == 0
    assert told["rate_measured"] is True
    words = command(finished, "plan", "tiny.yaml").stdout
    assert "14 stages, 0 to do" in words or "0 to do" in words


def test_scores_filter_and_print_as_csv_and_json(finished: Path) -> None:
    table = command(finished, "scores", "tiny.yaml", "--language", "sw", "--format", "csv").stdout
    frame = pl.read_csv(table.encode())
    assert set(frame["language"]) == {"sw"} and set(frame["target"]) == {"mini-span", "mini-retrieval"}
    rows = json.loads(command(finished, "scores", "tiny.yaml", "--json").stdout)
    assert len(rows) == len(scores_in(finished))
    assert "accuracy@" not in command(finished, "scores", "tiny.yaml").stdout  # the printed table has the main metrics
    assert "accuracy@0" in command(finished, "scores", "tiny.yaml", "--metric", "accuracy@0").stdout
    wrong = command(finished, "scores", "tiny.yaml", "--language", "tlh")
    assert wrong.returncode == 2 and "there are en, sw" in wrong.stderr


def test_an_exported_model_opens_in_transformers_and_answers(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    ended = command(finished, "export", "tiny.yaml", "--out", str(out))
    assert ended.returncode == 0, ended.stderr
    assert "bundled/e5-small@1" in ended.stdout
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    model, loading = AutoModelForQuestionAnswering.from_pretrained(out, output_loading_info=True)
    assert not loading["missing_keys"] and model.config.num_hidden_layers == 1
    tokenizer = AutoTokenizer.from_pretrained(out)
    inputs = tokenizer("Wo wohnt sie?", "Sie wohnt in Bonn.", return_tensors="pt")
    assert inputs["input_ids"][0].tolist()[0] == 0
    assert torch.isfinite(model(**inputs).start_logits).all()
    card = (out / "README.md").read_text()
    assert "AutoModelForQuestionAnswering" in card and "| mini-span | train | en | train | 24 |" in card
    assert len({file.stat().st_mode for file in out.iterdir()}) == 1  # weights too are for who may read the card
    again = command(finished, "export", "tiny.yaml", "--out", str(out))
    assert again.returncode == 2 and "choose a new folder" in again.stderr

    question = ("--question", "Wo wohnt sie?", "--context", "Sie wohnt in Bonn.")
    asked = command(finished, "predict", str(out), "--task", "span", *question)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip() and asked.stdout.strip() in "Sie wohnt in Bonn."
    several = command(finished, "predict", str(out), "--task", "span", *question, "--n-best", "3")
    assert len(several.stdout.splitlines()) == 3 and several.stdout.splitlines()[0].endswith(asked.stdout.strip())
    records = tmp_path / "records.jsonl"
    records.write_text('{"question": "Where?", "context": "In Rome."}\n{"question": "Where?"}\n')
    refused = command(finished, "predict", str(out), "--task", "span", "--input", str(records))
    assert refused.returncode == 2 and "records.jsonl:2: no 'context'" in refused.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "absent.yaml"), "absent.yaml: no such study file"),
        (("scores", "tiny.yaml", "--store", "empty"), "holds no scores of it yet"),
        (("export", "tiny.yaml", "--out", "m", "--target", "mini-spam"), "did you mean 'mini-span'?"),
        (("export", "tiny.yaml", "--out", "/proc/x"), "--out /proc/x: cannot be written"),
        (("export", "tiny.yaml", "--out", "o" * 300), "cannot be written: File name too long; name another folder"),
        (("export", "tiny.yaml", "--out", "tiny.yaml"), "--out tiny.yaml: exists already; choose a new folder"),
        (("report", "tiny.yaml", "--out", "/proc/x"), "/proc/x: cannot write the report"),
        (("predict", "nowhere", "--task", "span", "--question", "a", "--context", "b"), "no exported model"),
        (("predict", "nowhere", "--task", "spam"), "did you mean"),
        (("data", "check", "nowhere"), "nowhere"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(finished: Path, words: tuple[str, ...], expected: str) -> None:
    ended = command(finished, *words)
    assert ended.returncode == 2, ended.stderr
    assert expected in ended.stderr and "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_model_that_is_gone_though_its_score_is_there_is_computed_on_request(finished: Path, tmp_path: Path) -> None:
    """`run` wants scores alone; `export` says what brings the model back."""
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    artifacts = folder / ".xstilts" / "store" / "artifacts"
    weights = {path.read_bytes() for path in artifacts.rglob("model.safetensors")}
    for path in [*artifacts.rglob("model.safetensors")]:
        shutil.rmtree(path.parents[1])
    export = ("export", "tiny.yaml", "--target", "mini-span", "--recipe", "none", "--out", "model")
    assert "0 to compute" in command(folder, "run", "tiny.yaml").stderr
    refused = command(folder, *export)
    assert refused.returncode == 2 and "--models" in refused.stderr, refused.stderr
    ended = command(folder, "run", "tiny.yaml", "--models")
    assert f"{len(weights)} to compute" in ended.stderr, ended.stderr
    assert {path.read_bytes() for path in artifacts.rglob("model.safetensors")} == weights
    assert command(folder, *export).returncode == 0


def test_a_damaged_artifact_is_computed_again(finished: Path) -> None:
    before = scores_in(finished)
    victim = next((finished / ".xstilts" / "store" / "artifacts").rglob("outcomes.parquet"))
    victim.write_bytes(victim.read_bytes()[:-8])
    ended = command(finished, "run", "tiny.yaml")
    assert ended.returncode == 0 and "1 to compute" in ended.stderr
    assert scores_in(finished).equals(before)


@pytest.mark.parametrize(
    "name",
    [
        "status",
        "run",
        "plan",
        "report",
        "scores",
        "tasks",
        "encoders",
        "predict",
        "export",
        "submission",
        "score",
        "data",
    ],
)
def test_help_is_written_for_a_person_and_has_an_example(name: str) -> None:
    words = [name, "check", "--help"] if name == "data" else [name, "--help"]
    shown = CliRunner().invoke(app, words).output
    assert "Example" in shown and "xstilts" in shown


@pytest.mark.soak
def test_with_a_store_on_s3_the_scores_are_the_same(
    finished: Path, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = write(tmp_path)
    ended = command(tmp_path, "run", str(file), "--store", f"{s3}/x")
    assert ended.returncode == 0, ended.stderr
    assert scores_in(tmp_path).equals(scores_in(finished))
    again = command(tmp_path, "run", str(file), "--store", f"{s3}/x")
    assert again.returncode == 0 and "0 to compute" in again.stderr
    verified = command(tmp_path, "store", "verify", "--store", f"{s3}/x")
    assert verified.returncode == 0 and " 0 damaged, 0 leftovers removed" in verified.stdout, verified.stdout
    assert not list((tmp_path / "cache" / "xstilts" / "tmp").iterdir())  # copies go with the run
