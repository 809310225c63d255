"""A stage on several processes trains as one process does, and ends as one."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from xstilts.common.errors import StageError
from xstilts.common.progress import Event
from xstilts.engine.training.checkpoints import Policy
from xstilts.planning.plan import Stage
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running import launch as module
from xstilts.running.launch import launch
from xstilts.running.stages import run_stage
from xstilts.store import Store

STUDY = {
    "name": "together", "encoders": ["bundled/e5-small@2"], "targets": ["mini-paraphrase"], "seeds": [1],
    "recipes": [{"name": "both", "tasks": ["mini-nli", "mini-pos"], "mlm": {
        "task": "mini-text", "share": 0.2, "training": {"max_train_examples": 8}}}],
    "training": {"max_train_examples": 48, "max_dev_examples": 20, "precision": "fp32", "dropout": "none",
                 "learning_rate": 1e-2, "adam_epsilon": 1.0, "max_length": 64},
}  # fmt: skip


def stage_of(**training: Any) -> Stage:
    study = {**STUDY, "training": {**STUDY["training"], **training}}  # type: ignore[dict-item]
    plan = make_plan(make_study(study))
    return next(stage for stage in plan.stages.values() if stage.kind == "train")


def result(stage: Stage, store: Store) -> tuple[dict[str, torch.Tensor], list[float | None], dict[str, Any]]:
    artifact = store.get(stage.key)
    assert artifact is not None
    with store.files(stage.key) as folder:
        curve = pl.read_parquet(folder / "curve.parquet")
        return load_file(folder / "model.safetensors"), curve["loss"].to_list(), artifact.meta


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    ("sharding", "training"),
    [
        ("none", {}),
        pytest.param("full", {}, marks=pytest.mark.soak),
        pytest.param("none", {"lora": {"rank": 4}}, marks=pytest.mark.soak),
        pytest.param("full", {"lora": {"rank": 4}}, marks=pytest.mark.soak),
    ],
)
def test_two_processes_train_several_tasks_as_one_process_does(
    sharding: str, training: dict[str, Any], tmp_path: Path
) -> None:
    alone, together = stage_of(**training), stage_of(processes=2, sharding=sharding, **training)
    run_stage(alone, Store(tmp_path / "alone"), lambda *_: None)
    store = Store(tmp_path / "together")  # which no process of a stage makes
    told: list[Event] = []
    interrupted_at = 7

    def tell(event: Event) -> None:
        told.append(event)
        if event.done == interrupted_at:
            raise Interrupted

    with pytest.raises(Interrupted):
        launch(together, store.url, tell, Policy(every_steps=2))
    interrupted_at = 0
    launch(together, store.url, tell)
    expected, losses, meta = result(alone, Store(tmp_path / "alone"))
    weights, own_losses, own_meta = result(together, store)
    assert told[-1].done == told[-1].steps == meta["steps"] and told[-1].text.startswith("dev ")
    assert own_losses[:-1] == pytest.approx(losses[:-1], rel=1e-4)
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-5, msg=name)
    for name in ("tokens", "steps_of", "best_step"):
        assert own_meta[name] == meta[name]
    assert own_meta["dev_of"] == pytest.approx(meta["dev_of"], abs=6)  # of 20 examples
    assert own_meta["resumed_at"] and own_meta["resumed_at"][0] in (4, 6, 8)


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started."""
    started = []
    start = module._Member.start

    def recorded(self: module._Member, address: dict[str, str]) -> None:
        start(self, address)
        assert self.process is not None
        started.append(self.process)

    monkeypatch.setattr(module._Member, "start", recorded)
    return started


@pytest.mark.soak
def test_the_death_of_one_process_ends_all_with_one_line(
    members: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    def tell(event: Event) -> None:
        if event.done == 3:
            members[1].kill()

    with pytest.raises(StageError, match=r"^process 1 of 2 ended with status -9 \(killed: out of memory\?\)$"):
        launch(stage_of(processes=2), str(tmp_path), tell)
    assert all(member.poll() is not None for member in members)


@pytest.mark.soak
def test_an_error_ends_all_processes_with_its_line(members: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^memory .* is too little: about .* are needed for one row"):
        launch(stage_of(processes=2, memory="1MB"), str(tmp_path), lambda *_: None)
    assert all(member.poll() is not None for member in members)


#: Trains on two processes, and tells of theirs and of the steps.
RUN = """
import pickle, sys
from xstilts.running import launch
start = launch._Member.start
def told(self, address):
    start(self, address)
    print("process", self.process.pid, flush=True)
launch._Member.start = told
launch.launch(pickle.load(sys.stdin.buffer), sys.argv[1], lambda event: print("step", event.done, flush=True))
"""


@pytest.mark.soak
def test_no_process_outlives_the_one_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(pickle.dumps(stage_of(processes=2)))
        process.stdin.close()
        pids = []
        for line in process.stdout:
            kind, number = line.split()
            if kind == b"process":
                pids.append(int(number))
            elif int(number) == 3:
                process.kill()
    assert len(pids) == 2
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


#: A process of a stage that is wrong in a step of its own: memory runs out, or its loss is not a number.
FAULTY = """
import dataclasses, os, sys
from xstilts.engine.training import gradients
from xstilts.running import launch

own = int(os.environ["RANK"]) == 1
if own and sys.argv[1] == "memory":
    autocast, calls = gradients.autocast, []

    def out_of_memory(precision):
        calls.append(precision)
        if len(calls) == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
        return autocast(precision)

    gradients.autocast = out_of_memory
if own and sys.argv[1] == "loss":
    parts = gradients._parts

    def without_number(divided, fmt, pad_id, seed):
        for part in parts(divided, fmt, pad_id, seed):
            yield dataclasses.replace(part, share=float("nan")) if seed.endswith("/2") else part

    gradients._parts = without_number
launch._main()
"""


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes the second process of what is launched go wrong in its third step."""

    def make(kind: str) -> None:
        start = subprocess.Popen

        def faulty(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
            return start([sys.executable, "-c", FAULTY, kind], **how)

        monkeypatch.setattr(module.subprocess, "Popen", faulty)

    yield make


@pytest.mark.soak
def test_where_memory_runs_out_in_one_process_all_divide_the_batch(
    fault: Callable[[str], None], tmp_path: Path
) -> None:
    stage = stage_of(processes=2)
    launch(stage, str(tmp_path / "whole"), lambda *_: None)
    fault("memory")
    launch(stage, str(tmp_path / "halved"), lambda *_: None)
    expected, losses, meta = result(stage, Store(tmp_path / "whole"))
    weights, own_losses, own_meta = result(stage, Store(tmp_path / "halved"))
    assert (meta["micro_batch_halvings"], own_meta["micro_batch_halvings"]) == (0, 1)
    assert own_meta["tokens"] == meta["tokens"]
    assert own_losses[:-1] == pytest.approx(losses[:-1], rel=1e-4)
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-5, msg=name)


@pytest.mark.soak
def test_a_loss_that_is_no_number_in_one_process_stops_all_with_the_step_and_the_ids(
    fault: Callable[[str], None], members: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    fault("loss")
    with pytest.raises(StageError, match=r"^loss is nan at step 3 on .*-.*; lower learning_rate$"):
        launch(stage_of(processes=2), str(tmp_path), lambda *_: None)
    assert len(members) == 2 and all(member.poll() is not None for member in members)
