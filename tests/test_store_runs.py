"""A run tells the store what it needs: it is seen while it lives, known afterwards, and its artifacts are nobody's to
delete."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from xstilts.common.errors import StoreError
from xstilts.store import Store, leases, runs, upkeep
from xstilts.store.processes import this_process

KEYS = ["ab" * 32, "cd" * 32, "ef" * 32]


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "s3":
        return Store(f"{request.getfixturevalue('s3')}/store")
    return Store(tmp_path / "store" if request.param == "folder" else f"memory://{tmp_path.name}")


def put(store: Store, *keys: str) -> None:
    for key in keys:
        with store.publish(key) as (folder, _):
            (folder / "weights").write_bytes(bytes(1000))


def test_a_run_is_alive_while_it_lasts_and_known_afterwards(store: Store) -> None:
    with runs.register(store, runs.Run.here("first", "bf16"), KEYS[:2]):
        (run,) = runs.all(store)
        assert run.alive and (run.study, run.precision, run.pid) == ("first", "bf16", os.getpid()) and run.age < 60
        assert runs.keys(store, run) == set(KEYS[:2]) and run.owner in run.whose
    with runs.register(store, runs.Run.here("second"), KEYS):
        assert [(run.study, run.alive) for run in runs.all(store)] == [("second", True), ("first", False)]
    latest = runs.latest(store, "first")
    assert latest is not None and not latest.alive and latest.precision == "bf16"
    assert runs.latest(store, "third") is None and leases.holders(store) == {}


def test_a_run_of_the_same_plan_takes_the_place_of_the_one_that_has_ended(store: Store) -> None:
    for _ in range(3):
        with runs.register(store, runs.Run.here("s"), KEYS), runs.register(store, runs.Run.here("s"), KEYS[:1]):
            assert sum(run.alive for run in runs.all(store)) == 2
    assert len(runs.all(store)) == 2


def test_a_run_that_raised_or_was_killed_is_not_alive(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt), runs.register(store, runs.Run.here("stopped"), KEYS):
        raise KeyboardInterrupt
    assert not runs.all(store)[0].alive
    dead = replace(this_process(), pid=999999999)
    with monkeypatch.context() as patched:
        patched.setattr(leases, "this_process", lambda: dead)
        running = runs.register(store, runs.Run.here("killed"), KEYS)
        running.__enter__()
    assert not any(run.alive for run in runs.all(store))


def test_nothing_that_a_live_run_needs_is_deleted(store: Store) -> None:
    """Neither what was seen as waste before it began."""
    put(store, *KEYS)
    put(Store(f"{store.url}/checkpoints"), KEYS[0])
    early = upkeep.waste(store, [])
    assert len(early.waste) == 4 and early.kept == {}
    with runs.register(store, runs.Run.here("live"), KEYS[:2]):
        found = upkeep.waste(store, [])
        assert [one.path for one in found.waste] == [f"artifacts/ef/{KEYS[2]}"]
        ((whose, size),) = found.kept.items()
        assert whose.startswith("study live, ") and size > 3000
        upkeep.remove(store, early.waste)
        assert store.keys() == set(KEYS[:2]) and Store(f"{store.url}/checkpoints").keys() == {KEYS[0]}
    upkeep.remove(store, upkeep.waste(store, KEYS[1:2]).waste)
    assert store.keys() == {KEYS[1]} and [run.study for run in runs.all(store)] == ["live"]
    upkeep.remove(store, upkeep.waste(store, []).waste)
    assert runs.all(store) == []  # nothing of it is left


@pytest.mark.parametrize("content", [b"", b"[]", b'{"study": ', b'{"study": 5}', b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("kind", ["json", "keys"])
def test_a_damaged_record_is_passed_over_and_no_licence_to_delete(store: Store, kind: str, content: bytes) -> None:
    put(store, *KEYS)
    with runs.register(store, runs.Run.here("live"), KEYS):
        (run,) = runs.all(store)
        store.write(store.path("runs", f"{run.id}.{kind}"), content)
        assert len(upkeep.contents(store).entries) == 3
        with pytest.raises(StoreError, match=rf"runs/{run.id}.{kind} is damaged.*nothing is deleted"):
            upkeep.waste(store, [])
        assert upkeep.verify(store).removed == []
    assert len(upkeep.waste(store, []).waste) == 3
    assert upkeep.verify(store).removed == [f"runs/{run.id}.{kind}"]
    assert runs.all(store) == [] and runs.damaged(store) == {}


def test_a_plan_of_many_stages_takes_little_room(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with runs.register(store, runs.Run.here("large"), [f"{i:064x}" for i in range(100_000)]):
        assert upkeep.contents(store).parts["runs"] < 3_300_000
