"""What a process does with a stage: once among all, with a log, whatever happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xstilts.common.errors import StageError, StoreError
from xstilts.planning.plan import Stage
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.progress import Ended, Told
from xstilts.running.tracking import Tracker, Tracking
from xstilts.running.worker import compute
from xstilts.store import Store, leases, logs


def stage(key: str = "a" * 64) -> Stage:
    return Stage(key, "score", "score the stage", None, ())  # type: ignore[arg-type]  # nothing here looks at the spec


def publish(stage: Stage, store: Store, told: Told) -> None:
    with store.publish(stage.key):
        told(1, 2, "half way", {"loss": 0.5})
        told(2, 2, "there")


def silent(done: int, steps: int, text: str) -> None:
    pass


def test_a_stage_is_computed_once_and_its_log_says_how(tmp_path: Path) -> None:
    store = Store(tmp_path)
    heard: list[tuple[int, int, str]] = []
    ended = compute(stage(), store, lambda *words: heard.append(words), work=publish)
    assert ended == Ended(stage().key, "done", "there") and heard == [(1, 2, "half way"), (2, 2, "there")]
    assert compute(stage(), store, silent, work=publish) == Ended(stage().key, "done", "by another run")
    records = logs.read(store, stage().key)
    assert [record["event"] for record in records] == ["started", "progress", "progress", "done"]
    assert records[0]["label"] == "score the stage" and records[0]["pid"] and records[1]["loss"] == 0.5
    assert leases.holders(store) == {} and logs.keys(store) == {stage().key}


def test_what_another_process_is_at_is_left_to_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lease = leases.take(store, stage().key, "the other's")
    assert isinstance(lease, leases.Lease)
    with lease:
        ended = compute(stage(), store, silent, work=publish)
    assert ended.how == "elsewhere" and ended.text.startswith("process ") and store.peek(stage().key) is None
    assert compute(stage(), store, silent, work=publish).how == "done"


def test_what_goes_wrong_is_one_line_and_the_log_has_all(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(stage: Stage, store: Store, told: Told) -> None:
        raise StageError("loss is nan\nat step 3")

    def stumble(stage: Stage, store: Store, told: Told) -> None:
        raise KeyError("gone")

    assert compute(stage(), store, silent, work=fail) == Ended(stage().key, "failed", "loss is nan at step 3")
    assert compute(stage(), store, silent, work=stumble).text == "KeyError: 'gone'"
    last = logs.read(store, stage().key)[-1]
    assert last["event"] == "failed" and "in stumble" in last["traceback"]
    assert leases.holders(store) == {}


def test_a_store_that_fails_is_told_apart(tmp_path: Path) -> None:
    def full(stage: Stage, store: Store, told: Told) -> None:
        raise StoreError("store /s: No space left on device")

    ended = compute(stage(), Store(tmp_path), silent, work=full)
    assert ended == Ended(stage().key, "unusable", "store /s: No space left on device")


def test_a_log_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    store = Store(tmp_path)
    compute(stage(), store, silent, work=publish)
    with open(logs.path(store, stage().key), "a", encoding="utf-8") as stream:
        stream.write('{"time": 1, "eve')
    assert logs.read(store, stage().key)[-1]["event"] == "done"


def test_a_log_in_a_store_that_cannot_append_is_whole_too() -> None:
    store = Store("memory://log-test")
    for _ in range(2):
        log = logs.StageLog(store, "k")
        log.write("started", label="é")
        log.write("done")
        log.close()
    assert [record["event"] for record in logs.read(store, "k")] == ["started", "done"] * 2


def test_training_is_tracked_with_its_settings(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    study = make_study({"name": "s", "encoders": ["bundled/e5-small@1"], "recipes": ["none"], "targets": ["mini-span"],
                        "seeds": [7]})  # fmt: skip
    train, predict, *_ = make_plan(study).stages.values()
    tracking = Tracking(Tracker.tensorboard, "s", tmp_path / "out")
    store = Store(tmp_path / "store")
    for one in (train, predict):
        compute(one, store, silent, tracking=tracking, work=publish if one is train else lambda *_: None)
    (folder,) = (tmp_path / "out" / "tensorboard").iterdir()  # prediction has no values to track
    assert folder.name == f"bundled-e5-small@1-seed-7-none-train-mini-span-{train.key[:8]}"
    events = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5)]
    (settings,) = folder.glob("*/hparams.yml")
    assert "seed: 7" in settings.read_text() and "encoder: bundled/e5-small@1" in settings.read_text()
    assert json.dumps(logs.read(store, train.key)[1]["loss"]) == "0.5"


def test_a_tracker_that_is_not_installed_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xstilts.running.tracking.find_spec", lambda name: None)
    with pytest.raises(Exception, match=r"--track wandb: not installed; pip install wandb"):
        Tracking(Tracker.wandb, "s", Path("out"))
