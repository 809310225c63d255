"""What a run survives: ^C, killed processes, a failing stage, another run beside it, damage to its store."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tiny import STUDY, XSTILTS, command, scores_in, write
from xstilts.analysis.gather import gather
from xstilts.common.progress import Event
from xstilts.planning.plan import Plan
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.run import choose, execute
from xstilts.running.schedule import SKIPPED, TRIES
from xstilts.store import Store, leases, logs


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


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*XSTILTS, *words], cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip


def test_interrupted_it_says_how_to_go_on(tmp_path: Path) -> None:
    process = started(tmp_path, "run", str(write(tmp_path)))
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # as ^C does: to the workers too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    said = errors.splitlines()[-1]
    assert re.fullmatch(
        r"interrupted: \d+ of 11 stages were finished and are kept in \.xstilts/store; \d+ are left(, \d+ of them "
        r"begun: a training goes on from its last checkpoint)?; run the same command again to go on", said
    ), errors  # fmt: skip
    assert "Traceback" not in errors


def test_interrupted_again_and_again_it_ends_without_a_traceback(tmp_path: Path) -> None:
    process = started(tmp_path, "run", str(write(tmp_path)))
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(1)
    for _ in range(4):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.03)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors


INTERRUPTED_AT = """
import os, signal, sys
_, module, *words = sys.argv
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            exec("os.kill(os.getpid(), signal.SIGINT); sum(range(9))")  # as an import that makes a data class
sys.meta_path.insert(0, Finder())
sys.argv = ["xstilts", *words]
from xstilts.cli.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module",
    ["xstilts.cli.app", "typer", "numpy", "polars", "xstilts.planning.plan", "multiprocessing.popen_forkserver"],
)
def test_interrupted_while_it_loads_it_ends_without_a_traceback(module: str, tmp_path: Path) -> None:
    """Nothing is begun then; what a library makes of a ^C amid its import is not for people to read."""
    words = [sys.executable, "-c", INTERRUPTED_AT, module, "run", str(write(tmp_path))]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130 and "Traceback" not in ended.stderr, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("interrupted")


class Recorder:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.done: list[str] = []
        self.reasons: dict[str, str] = {}
        self.again: list[tuple[str, str]] = []

    def __call__(self, event: Event) -> None:
        label = self.plan.stages[event.key].label
        if event.state == "progress":
            assert 0 < event.done <= event.steps
        elif event.state == "done":
            self.done.append(label)
        elif event.state == "failed":
            self.reasons[label] = event.text
        elif event.state == "put back":
            self.again.append((label, event.text))


def test_a_failed_stage_stops_only_what_needs_it(tmp_path: Path) -> None:
    # Each step multiplies the weights by some −8: they overflow within the hundred steps.
    training = {"learning_rate": 0.9, "weight_decay": 10, "epochs": 60, "warmup": 0, "batch_size": 4}
    study = make_study({**STUDY, "recipes": ["none", {"task": "mini-nli", "training": training}]})
    plan, store = make_plan(study), Store(tmp_path)
    recorder = Recorder(plan)
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
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            if event.state == "started" and plan.stages[event.key].kind == "train":
                threading.Timer(0.1, kill).start()  # as soon as there is a process that has it

    def kill() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)

    killer = Killer(plan)
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


@pytest.mark.soak
def test_a_run_frozen_for_longer_than_its_lease_and_continued_computes_nothing_twice(
    finished: Path, tmp_path: Path
) -> None:
    """Another takes its stages over; continued, it finds that it is superseded."""
    write(tmp_path)
    frozen = started(tmp_path, "run", "tiny.yaml")
    store = Store(tmp_path / ".xstilts" / "store")
    _until(lambda: any(not key.startswith("run-") for key in leases.holders(store)))
    time.sleep(1)
    os.killpg(frozen.pid, signal.SIGSTOP)
    held = [key for key in leases.holders(store) if not key.startswith("run-")]
    other = started(tmp_path, "run", "tiny.yaml", "--out", "other")
    try:
        _until(lambda: all(_begun(store, key) > 1 or store.peek(key) for key in held), seconds=leases.EXPIRY + 120)
    finally:
        os.killpg(frozen.pid, signal.SIGCONT)
    errors = [process.communicate(timeout=240)[1] for process in (frozen, other)]
    assert [frozen.returncode, other.returncode] == [0, 0], errors
    assert all("Traceback" not in text for text in errors)
    assert scores_in(tmp_path).equals(scores_in(finished))
    for key in make_plan(make_study(STUDY)).stages:
        (_attempt,) = (path for path in Path(store._folder(key)).iterdir() if path.is_dir())
        ends = Counter(record["event"] for record in logs.read(store, key))
        assert ends["done"] == 1 and ends["started"] == 1 + ends["superseded"], ends
    assert leases.holders(store) == {} and not list(store.scratch.iterdir())


def _begun(store: Store, key: str) -> int:
    return sum(record["event"] == "started" for record in logs.read(store, key))


def _until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB, too small for the study."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.soak
def test_a_run_on_a_disk_that_fills_ends_in_one_line_and_goes_on_once_there_is_space(
    finished: Path, tmp_path: Path, disk: Path
) -> None:
    write(tmp_path)
    ended = command(tmp_path, "run", "tiny.yaml", "--store", str(disk / "store"))
    (error,) = (line for line in ended.stderr.splitlines() if line.startswith("error:"))
    assert ended.returncode == 1 and "No space left on device; free some space" in error, ended.stderr
    assert "Traceback" not in ended.stderr
    told = command(tmp_path, "status", "tiny.yaml", "--store", str(disk / "store"))
    assert told.returncode == 0, told.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
    ended = command(tmp_path, "run", "tiny.yaml", "--store", str(disk / "store"))
    assert ended.returncode == 0, ended.stderr
    assert scores_in(tmp_path).equals(scores_in(finished))


def removed(store: Path) -> None:
    store.rename(store.parent / "removed")


def read_only(store: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(store.parent)], check=True)


def brought_back(store: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw,size=200m", str(store.parent)], check=True)
    if (store.parent / "removed").exists():
        (store.parent / "removed").rename(store)


@pytest.mark.soak
@pytest.mark.parametrize(("do", "told"), [(removed, "its folder is gone"), (read_only, "Read-only file system")])
def test_a_store_that_is_taken_away_amid_a_run_ends_it_in_one_line_and_nothing_is_lost(
    finished: Path, tmp_path: Path, disk: Path, do: Callable[[Path], None], told: str
) -> None:
    write(tmp_path)
    brought_back(disk / "store")
    process = started(tmp_path, "run", "tiny.yaml", "--store", str(disk / "store"))
    assert process.stderr is not None
    next(line for line in process.stderr if line.startswith("["))  # a first stage is done
    do(disk / "store")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in errors, errors
    (error,) = (line for line in errors.splitlines() if line.startswith("error:"))
    assert told in error and "run again to go on" in error
    assert do is read_only or not (disk / "store").exists()
    brought_back(disk / "store")
    ended = command(tmp_path, "run", "tiny.yaml", "--store", str(disk / "store"))
    assert ended.returncode == 0 and scores_in(tmp_path).equals(scores_in(finished)), ended.stderr


@pytest.mark.soak
def test_a_damaged_model_is_computed_again_with_the_same_bits_and_exported(finished: Path, tmp_path: Path) -> None:
    """Though its score is there."""
    shutil.copytree(finished, tmp_path / "study")
    folder = tmp_path / "study"
    export = ("export", "tiny.yaml", "--target", "mini-span", "--recipe", "none", "--out")
    models = {path: path.read_bytes() for path in (folder / ".xstilts").rglob("model.safetensors")}
    for path, content in models.items():
        path.write_bytes(content[:5000])
    refused = command(folder, *export, "model")
    assert refused.returncode == 1 and "was damaged, and is set aside; run again" in refused.stderr, refused.stderr
    assert command(folder, "store", "verify").stdout.count("damaged, set aside: ") == len(models) - 1
    assert f"{len(models)} waiting" in command(folder, "status", "tiny.yaml").stdout
    ended = command(folder, "run", "tiny.yaml")
    assert ended.returncode == 0 and f"{len(models)} to compute" in ended.stderr, ended.stderr
    again = [path.read_bytes() for path in (folder / ".xstilts" / "store" / "artifacts").rglob("model.safetensors")]
    assert sorted(again) == sorted(models.values())
    ended = command(folder, *export, "model")
    assert ended.returncode == 0, ended.stderr


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
