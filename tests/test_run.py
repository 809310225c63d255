"""A study from its file to its scores: whole, interrupted, with a failing stage, and from the command line."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import xstilts
from xstilts.cli import app
from xstilts.errors import UserError
from xstilts.executors.schedule import SKIPPED, TRIES
from xstilts.planner import make_plan
from xstilts.run import choose, execute, gather
from xstilts.store import Store
from xstilts.study import make_study

STUDY: dict[str, Any] = {
    "name": "tiny",
    "encoders": ["bundled/e5-small@1"],
    "recipes": ["none", "mini-nli"],
    "targets": [
        {"task": "mini-span", "max_examples": 6, "languages": ["en", "sw"]},
        {"task": "mini-retrieval", "max_examples": 12, "languages": ["sw"]},
    ],
    "seeds": [1],
    "training": {"max_train_examples": 24, "max_dev_examples": 6, "batch_size": 8},
}
XSTILTS = [sys.executable, "-m", "xstilts.cli"]


def write(folder: Path, **changes: Any) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({**STUDY, **changes}))
    return file


def command(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if key != "XSTILTS_DATA"}
    return subprocess.run(
        [*XSTILTS, *words], cwd=folder, capture_output=True, text=True, timeout=240, env={**variables, **environment}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny study ran from the command line, uninterrupted."""
    folder = tmp_path_factory.mktemp("finished")
    ended = command(folder, "run", str(write(folder)))
    assert ended.returncode == 0, ended.stderr
    assert "Report: runs/tiny/report.html" in ended.stdout.splitlines()[-1]
    return folder


def scores_in(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "runs" / "tiny" / "scores.parquet")


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


def test_a_second_run_computes_nothing_and_gives_the_same_scores(finished: Path) -> None:
    before = scores_in(finished)
    artifacts = {path: path.stat().st_mtime_ns for path in (finished / ".xstilts").rglob("manifest.json")}
    ended = command(finished, "run", "tiny.yaml")
    assert ended.returncode == 0 and "0 to compute" in ended.stderr
    assert scores_in(finished).equals(before)
    assert artifacts == {path: path.stat().st_mtime_ns for path in (finished / ".xstilts").rglob("manifest.json")}


def test_killed_at_several_points_a_run_ends_with_the_same_scores_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    file = write(tmp_path)
    computed: list[str] = []

    def label(line: str) -> str:
        return line.split("] ", 1)[1].rsplit(" (", 1)[0]

    for stages in (1, 2, 2):  # kill when so many more stages are done
        process = subprocess.Popen(
            [*XSTILTS, "run", str(file)], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("["):
                computed.append(label(line))
                stages -= 1
            if stages == 0:
                break
        time.sleep(0.3)  # somewhere inside the next stage
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    ended = command(tmp_path, "run", str(file))
    assert ended.returncode == 0, ended.stderr
    computed += [label(line) for line in ended.stderr.splitlines() if line.startswith("[")]
    assert len(computed) == len(set(computed))  # nothing that was reported done is computed twice
    assert scores_in(tmp_path).equals(scores_in(finished))


def test_with_a_single_stage_left_it_is_computed_as_it_would_have_been(finished: Path, tmp_path: Path) -> None:
    """As many threads as with all stages to do: sums of floating-point numbers depend on that."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    plan, store = make_plan(make_study(STUDY)), Store(tmp_path / ".xstilts" / "store")
    last = [stage for stage in plan.stages.values() if stage.kind == "train"][-1]
    scores = [stage for stage in plan.stages.values() if stage.kind == "score"]
    for stage in (last, *(stage for stage in plan.stages.values() if last.key in stage.inputs), *scores):
        shutil.rmtree(store._folder(stage.key))
    ended = command(tmp_path, "run", "tiny.yaml")
    assert ended.returncode == 0 and f"{last.label} (" in ended.stderr
    assert sum(": train " in line or "→ train " in line for line in ended.stderr.splitlines()) == 1
    assert scores_in(tmp_path).equals(scores_in(finished))


def test_interrupted_it_says_how_to_go_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*XSTILTS, "run", str(write(tmp_path))], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # as ^C does: to the workers too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in errors and "Traceback" not in errors


def test_from_python_a_run_gives_the_scores_as_a_frame(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    frame = xstilts.run(finished / "tiny.yaml", store=finished / ".xstilts" / "store")
    assert frame.equals(scores_in(finished))


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


class Recorder:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.reasons: dict[str, str] = {}
        self.again: list[tuple[str, str]] = []

    def started(self, stage: Any) -> None:
        pass

    def progress(self, stage: Any, done: int, steps: int, text: str) -> None:
        assert 0 < done <= steps

    def finished(self, stage: Any, text: str) -> None:
        self.done.append(stage.label)

    def failed(self, stage: Any, reason: str) -> None:
        self.reasons[stage.label] = reason

    def put_back(self, stage: Any, reason: str) -> None:
        self.again.append((stage.label, reason))


def test_a_failed_stage_stops_only_what_needs_it(tmp_path: Path) -> None:
    # With an epsilon that rounds to 0, AdamW divides 0 by 0 for the embeddings that a batch does not use.
    study = make_study({**STUDY, "recipes": ["none", {"task": "mini-nli", "training": {"adam_epsilon": 1e-60}}]})
    plan, store, recorder = make_plan(study), Store(tmp_path), Recorder()
    outcome = execute(plan, store, recorder, choose("local", store, tmp_path, workers=1))
    failed = [label for label, reason in recorder.reasons.items() if reason != SKIPPED]
    assert failed == ["bundled/e5-small@1 seed 1: train mini-nli"]
    assert "loss is" in recorder.reasons[failed[0]] and "nli-train-" in recorder.reasons[failed[0]]
    assert {label for label, reason in recorder.reasons.items() if reason == SKIPPED} == {
        stage.label for stage in plan.stages.values() if "mini-nli →" in stage.label
    }
    results = gather(plan, store, outcome.failures)
    assert set(results.scores["recipe"]) == {"none"} and len(results.failures) == len(recorder.reasons)


def test_a_worker_that_dies_fails_its_stage_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, store = make_plan(make_study({**STUDY, "recipes": ["none"]})), Store(tmp_path)

    class Killer(Recorder):
        def started(self, stage: Any) -> None:
            if stage.kind == "train":
                threading.Timer(0.1, kill).start()  # as soon as there is a process that has it

    def kill() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)

    killer = Killer()
    execute(plan, store, killer, choose("local", store, tmp_path, workers=1))
    reasons = [reason for reason in killer.reasons.values() if reason != SKIPPED]
    assert reasons == [f"its process ended with status -9 (killed: out of memory?), {TRIES} times"]
    assert [reason for _, reason in killer.again] == [
        "its process ended with status -9 (killed: out of memory?); it is tried again"
    ] * (TRIES - 1)
    assert any("retrieval" in label for label in killer.done)


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
    assert refused.returncode == 2 and "record 2: no 'context'" in refused.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "absent.yaml"), "absent.yaml: no such study file"),
        (("scores", "tiny.yaml", "--store", "empty"), "holds no scores of it yet"),
        (("export", "tiny.yaml", "--out", "m", "--target", "mini-spam"), "did you mean 'mini-span'?"),
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


def test_a_damaged_artifact_is_computed_again(finished: Path) -> None:
    before = scores_in(finished)
    victim = next((finished / ".xstilts" / "store" / "artifacts").rglob("outcomes.parquet"))
    victim.write_bytes(victim.read_bytes()[:-8])
    ended = command(finished, "run", "tiny.yaml")
    assert ended.returncode == 0 and "1 to compute" in ended.stderr
    assert scores_in(finished).equals(before)


@pytest.mark.parametrize(
    "name", ["run", "plan", "report", "scores", "tasks", "encoders", "predict", "export", "submission", "score", "data"]
)
def test_help_is_written_for_a_person_and_has_an_example(name: str) -> None:
    words = [name, "check", "--help"] if name == "data" else [name, "--help"]
    shown = CliRunner().invoke(app, words).output
    assert "Example" in shown and "xstilts" in shown
