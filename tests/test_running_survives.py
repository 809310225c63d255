"""What a run survives: ^C, killed processes, a failing stage, another run beside it, damage to its store."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tiny import STUDY, XSTILTS, command, scores_in, write
from xstilts.analysis.gather import gather
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.run import choose, execute
from xstilts.running.schedule import SKIPPED, TRIES
from xstilts.store import Store, logs


def test_killed_at_several_points_a_run_ends_with_the_same_scores_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    file = write(tmp_path)
    computed: list[str] = []

    def label(line: str) -> str:
        return line.split("] ", 1)[1].rsplit(" (", 1)[0]

    for stages in (1, 3):  # kill when so many more stages are done
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


@pytest.mark.soak
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
    failures = execute(plan, store, recorder, choose("local", store, tmp_path, workers=1))
    failed = [label for label, reason in recorder.reasons.items() if reason != SKIPPED]
    assert failed == ["bundled/e5-small@1 seed 1: train mini-nli"]
    assert "loss is" in recorder.reasons[failed[0]] and "nli-train-" in recorder.reasons[failed[0]]
    assert {label for label, reason in recorder.reasons.items() if reason == SKIPPED} == {
        stage.label for stage in plan.stages.values() if "mini-nli →" in stage.label
    }
    results = gather(plan, store, failures)
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


def test_two_runs_at_once_compute_each_stage_once(finished: Path, tmp_path: Path) -> None:
    file = write(tmp_path)
    runs = [
        subprocess.Popen([*XSTILTS, "run", str(file), "--out", out], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for out in ("runs/tiny", "runs/other")
    ]
    ends = [process.communicate(timeout=240)[1] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], ends
    assert any("by another run" in errors for errors in ends)
    store = Store(tmp_path / ".xstilts" / "store")
    begun = {key: sum(record["event"] == "started" for record in logs.read(store, key)) for key in logs.keys(store)}
    assert begun == dict.fromkeys(make_plan(make_study(STUDY)).stages, 1)
    other = (tmp_path / "runs" / "other" / "scores.parquet").read_bytes()
    assert other == (tmp_path / "runs" / "tiny" / "scores.parquet").read_bytes()
    assert scores_in(tmp_path).equals(scores_in(finished))
    told = command(tmp_path, "status", "tiny.yaml")
    assert told.stdout.splitlines() == [f"{len(begun)} done"]


KILLS = 200


@pytest.mark.soak
def test_killed_at_random_moments_a_study_ends_with_the_same_bits(finished: Path, tmp_path: Path) -> None:
    """Of the run or of one of its processes, until the study is done; then another begins, until there were `KILLS`."""
    chance = random.Random(20261123)
    (tmp_path / "whole").mkdir()
    began = time.monotonic()
    command(tmp_path / "whole", "run", str(write(tmp_path / "whole")))
    window = usual = 0.7 * (time.monotonic() - began)
    kills = studies = done = 0
    while kills < KILLS:
        folder = tmp_path / str(studies)
        folder.mkdir()
        studies += 1
        while True:
            process = subprocess.Popen(
                [*XSTILTS, "run", str(write(folder))], cwd=folder, stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            try:
                process.wait(timeout=chance.uniform(0.0, window))
            except subprocess.TimeoutExpired:
                _kill(process.pid, chance)
                process.wait()
                kills, before, done = kills + 1, done, len(list(folder.rglob("manifest.json")))
                # Longer where a run was killed before it had done anything: the machine may have got busier.
                window = usual if done != before else 1.2 * window
                continue
            break
        assert process.returncode == 0
        assert scores_in(folder).equals(scores_in(finished))
        verified = command(folder, "store", "verify")
        assert verified.returncode == 0, verified.stdout
        artifacts = folder / ".xstilts" / "store"
        left = Counter(path.relative_to(artifacts).parts[0] for path in artifacts.rglob("*") if path.is_file())
        assert set(left) <= {"artifacts", "features", "logs"}, left
    print(f"{kills} kills over {studies} studies")


def _kill(run: int, chance: random.Random) -> None:
    """The whole run, or one of its workers first and the run a little later."""
    children = psutil.Process(run).children()
    if children and chance.random() < 0.5:
        with suppress(psutil.NoSuchProcess):
            chance.choice(children).kill()
        time.sleep(chance.uniform(0.0, 2.0))
    with suppress(ProcessLookupError):
        os.kill(run, signal.SIGKILL)
