"""Which stage comes when: simulated executors, real stores."""

from __future__ import annotations

import random
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.common.errors import StoreError
from xstilts.planning.plan import Stage
from xstilts.running import schedule
from xstilts.running.progress import Ended, Progress
from xstilts.running.run import Silent
from xstilts.running.schedule import SKIPPED, TRIES
from xstilts.store import Store


def stage(name: str, *inputs: str) -> Stage:
    return Stage(name, "score", name, None, inputs)  # type: ignore[arg-type]  # the schedule looks at no spec


class Simulated:
    """Ends stages in a random order, each as ``fates`` says (done by default), and checks what it is given."""

    def __init__(self, store: Store, slots: int = 2, fates: dict[str, list[str]] | None = None, seed: int = 0) -> None:
        self.store, self.slots = store, slots
        self.fates = {key: list(ways) for key, ways in (fates or {}).items()}
        self.random = random.Random(seed)
        self.running: list[Stage] = []
        self.submitted: list[str] = []
        self.waits = 0

    def __enter__(self) -> Simulated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def submit(self, stage: Stage) -> None:
        assert all(self.store.peek(key) is not None for key in stage.inputs), f"{stage.key} was given too early"
        self.running.append(stage)
        self.submitted.append(stage.key)
        assert len(self.running) <= self.slots

    def wait(self, timeout: float | None) -> list[Progress | Ended]:
        self.waits += 1
        assert self.running or timeout is not None, "it would wait for ever"
        if not self.running:
            return []
        stage = self.running.pop(self.random.randrange(len(self.running)))
        fate = self.fates.get(stage.key, [])
        how: Any = fate.pop(0) if fate else "done"
        if how == "done":
            with self.store.publish(stage.key):
                pass
        elif how == "lied":  # it says that it is done, and nothing is there
            how = "done"
        return [Progress(stage.key, 1, 1, "there"), Ended(stage.key, how, f"{how} it is")]


class Recorded(Silent):
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, stage: Stage) -> None:
        self.events.append(("started", stage.key))

    def finished(self, stage: Stage, text: str) -> None:
        self.events.append(("finished", stage.key))

    def failed(self, stage: Stage, reason: str) -> None:
        self.events.append(("failed", stage.key))

    def put_back(self, stage: Stage, reason: str) -> None:
        self.events.append(("put back", stage.key))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Stage], dict[str, list[str]]]:
    count = draw(st.integers(1, 12))
    stages = []
    for i in range(count):
        inputs = draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set()
        stages.append(stage(f"s{i}", *(f"s{j}" for j in sorted(inputs))))
    ways = st.lists(st.sampled_from(["done", "failed", "lost", "lied"]), max_size=4)
    return stages, {one.key: draw(ways) for one in stages}


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), slots=st.integers(1, 4), seed=st.integers(0, 5))
def test_every_stage_is_done_or_failed_or_skipped_for_its_inputs_sake(
    graph: tuple[list[Stage], dict[str, list[str]]], slots: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stages, fates = graph
    store = Store(tmp_path_factory.mktemp("store"))
    executor, listener = Simulated(store, slots, fates, seed), Recorded()
    failures = schedule.run(stages, store, executor, listener)
    ended = [key for what, key in listener.events if what in ("finished", "failed")]
    assert sorted(ended) == sorted(one.key for one in stages)  # each told once
    for one in stages:
        expected = next((how for how in fates[one.key] if how in ("done", "failed")), "done")
        losses = fates[one.key].index(expected) if expected in fates[one.key] else len(fates[one.key])
        if any(source in failures for source in one.inputs):
            assert failures[one.key] == SKIPPED and one.key not in executor.submitted
        elif losses >= TRIES:
            assert failures[one.key].endswith(f", {TRIES} times") and executor.submitted.count(one.key) == TRIES
        elif expected == "failed":
            assert failures[one.key] == "failed it is" and store.peek(one.key) is None
        else:
            assert one.key not in failures and store.peek(one.key) is not None
            assert executor.submitted.count(one.key) == losses + 1


def test_the_plans_order_is_kept_where_there_is_a_choice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    executor = Simulated(store, slots=1)
    schedule.run([stage("b"), stage("a"), stage("c", "b")], store, executor, Silent())
    assert executor.submitted == ["b", "a", "c"]


def test_a_store_that_fails_ends_the_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="unusable it is"):
        schedule.run([stage("a"), stage("b")], store, Simulated(store, 1, {"a": ["unusable"]}), Silent())


def test_what_another_run_computes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LOOK", 0.0)
    store = Store(tmp_path)
    executor, listener = Simulated(store, 1, {"a": ["elsewhere"]}), Recorded()
    from xstilts.store import leases

    looks = 0

    def holders(store: Store) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        if looks == 3:  # the other run is done
            with store.publish("a"):
                pass
        return {"a": type("Holder", (), {"alive": True})}

    monkeypatch.setattr(leases, "holders", holders)
    assert schedule.run([stage("a"), stage("b", "a")], store, executor, listener) == {}
    assert executor.submitted == ["a", "b"] and ("put back", "a") in listener.events and looks == 3


def test_what_a_dead_run_was_computing_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LOOK", 0.0)
    store = Store(tmp_path)
    executor = Simulated(store, 1, {"a": ["elsewhere"]})
    assert schedule.run([stage("a")], store, executor, Silent()) == {}
    assert executor.submitted == ["a", "a"]  # nobody holds its lease any more
