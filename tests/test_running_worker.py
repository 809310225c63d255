"""What a process does with a stage: once among all, with a log, whatever happens."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from xstilts.common.errors import StageError, StoreError
from xstilts.common.progress import Event, Sink, silent
from xstilts.planning.plan import Stage
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.tracking import Tracker, Tracking
from xstilts.running.worker import compute, compute_at
from xstilts.store import Store, leases, logs


def stage(key: str = "a" * 64) -> Stage:
    return Stage(key, "score", "score the stage", None, ())  # type: ignore[arg-type]  # nothing here looks at the spec


def publish(stage: Stage, store: Store, told: Sink) -> None:
    with store.publish(stage.key):
        told(Event(text="half way", done=1, steps=2, values={"loss": 0.5}))
        told(Event(text="there", done=2, steps=2))


def test_a_stage_is_computed_once_and_its_log_says_how(tmp_path: Path) -> None:
    store = Store(tmp_path)
    heard: list[Event] = []
    ended = compute(stage(), store, heard.append, work=publish)
    assert ended == Event(stage().key, "done", "there")
    assert heard == [
        Event(stage().key, "progress", "half way", 1, 2, {"loss": 0.5}), Event(stage().key, "progress", "there", 2, 2)
    ]  # fmt: skip
    assert compute(stage(), store, silent, work=publish) == Event(stage().key, "done", "by another run")
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
    assert ended.state == "elsewhere" and ended.text.startswith("process ") and store.peek(stage().key) is None
    assert compute(stage(), store, silent, work=publish).state == "done"


def test_what_goes_wrong_is_one_line_and_the_log_has_all(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(stage: Stage, store: Store, told: Sink) -> None:
        raise StageError("loss is nan\nat step 3")

    def stumble(stage: Stage, store: Store, told: Sink) -> None:
        raise KeyError("gone")

    assert compute(stage(), store, silent, work=fail) == Event(stage().key, "failed", "loss is nan at step 3")
    assert compute(stage(), store, silent, work=stumble).text == "KeyError: 'gone'"
    last = logs.read(store, stage().key)[-1]
    assert last["event"] == "failed" and "in stumble" in last["traceback"]
    assert leases.holders(store) == {}


def test_a_store_that_fails_is_told_apart(tmp_path: Path) -> None:
    def full(stage: Stage, store: Store, told: Sink) -> None:
        raise StoreError("store /s: No space left on device")

    ended = compute(stage(), Store(tmp_path), silent, work=full)
    assert ended == Event(stage().key, "unusable", "store /s: No space left on device")


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


def test_a_log_that_cannot_be_written_is_the_stores_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, not a stage that would fail again."""
    store = Store(tmp_path)

    def full(path: str, line: bytes) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(store, "append", full)
    ended = compute(stage(), store, silent, work=publish)
    assert ended.state == "unusable" and ended.text.startswith(f"store {tmp_path}: logs/aa/{'a' * 64}.jsonl: No space")
    assert "\n" not in ended.text and leases.holders(store) == {}


@pytest.mark.parametrize(
    "line",
    [b'{"time": 1, "ev', b"\0" * 64, b"\xff\xfe", b"[]", b"5", b"null", b'{"event": 5, "time": 1}', b"[" * 100_000,
     b'{"time": 1}', b'{"event": "progress", "time": 1, "done": "x"}', b'{"time": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_a_line_of_a_log_that_is_no_record_is_passed_over_wherever_it_is(tmp_path: Path, line: bytes) -> None:
    store = Store(tmp_path)
    compute(stage(), store, silent, work=publish)
    path = Path(logs.path(store, stage().key))
    before, content = logs.read(store, stage().key), path.read_bytes()
    for damaged in (line + b"\n" + content, content + line, content.replace(b"\n", b"\n" + line + b"\n", 1)):
        path.write_bytes(damaged)
        assert logs.read(store, stage().key) == before
    path.write_bytes(content + line)
    compute(stage("b" * 64), store, silent, work=publish)
    log = logs.StageLog(store, stage().key)
    log.write("started")
    assert logs.read(store, stage().key)[-1]["event"] == "started"


def test_a_store_that_is_gone_is_not_made_anew_by_who_computes(tmp_path: Path) -> None:
    ended = compute_at(str(tmp_path / "gone"), stage(), silent, compute)
    assert ended.state == "unusable" and "its folder is gone" in ended.text and not (tmp_path / "gone").exists()
