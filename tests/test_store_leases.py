"""A stage is one process's at a time, whichever of them die, and whoever looks when."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xstilts.common.errors import StoreError
from xstilts.store import Store, leases
from xstilts.store.leases import Claimant, Holder, Lease
from xstilts.store.processes import Process, this_process

CONTEXT = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return Store(f"{request.getfixturevalue('s3')}/store")
    return Store(tmp_path / "store" if request.param == "folder" else f"memory://{tmp_path.name}")


def taken(store: Store, **arguments: Any) -> Lease:
    lease = leases.take(store, "key", "train", **arguments)
    assert isinstance(lease, Lease)
    return lease


def by(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, leases are taken by another process."""
    monkeypatch.setattr(leases, "this_process", lambda: process)


def test_a_lease_is_one_processs_until_it_is_released(store: Store) -> None:
    with taken(store) as lease:
        holder = leases.take(store, "key")
        assert isinstance(holder, Holder) and holder.alive and holder.process is not None and not lease.lost
        assert (holder.process.pid, holder.process.label) == (os.getpid(), "train")
        assert holder.where.startswith(f"process {os.getpid()} on ") and holder.age < 30
        assert leases.holders(store).keys() == {"key"} and isinstance(leases.take(store, "other"), Lease)
    assert "key" not in leases.holders(store)
    with taken(store):
        pass


def test_a_dead_process_of_this_machine_holds_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ({"pid": 999999999}, {"started": 1.0}):  # above every process id; its number is another's now
        by(replace(this_process(), **other), monkeypatch)
        taken(store)
        assert not leases.holders(store)["key"].alive
        monkeypatch.undo()
        if not store.local and "memory" not in store.url:
            break  # `undo` took the server's address away
        with taken(store) as lease:
            assert leases.holders(store)["key"].alive and not lease.lost
        assert leases.holders(store) == {}


def test_another_machines_lease_expires_unless_it_is_renewed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_process()
    expiry = 2.0 if "s3" in store.url else 0.6  # S3 tells times in seconds
    by(replace(here, host="far"), monkeypatch)
    with taken(store, heartbeat=expiry / 6) as lease:
        by(here, monkeypatch)
        time.sleep(1.5 * expiry)
        holder = leases.take(store, "key", expiry=expiry)
        assert isinstance(holder, Holder) and holder.process is not None and holder.process.host == "far"
        assert not lease.lost
    by(replace(here, host="far"), monkeypatch)
    taken(store)  # not entered: nobody renews it
    by(here, monkeypatch)
    assert isinstance(leases.take(store, "key", expiry=expiry), Holder)
    time.sleep(1.5 * expiry)
    assert isinstance(leases.take(store, "key", expiry=expiry), Lease)


def test_who_was_taken_over_knows_and_leaves_the_takers_lease_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = this_process()
    by(replace(here, pid=999999999), monkeypatch)  # believed dead
    with taken(store, expiry=1.0) as paused:
        by(here, monkeypatch)
        with taken(store) as taker:
            paused.renew()
            taker.renew()
            assert paused.lost and not taker.lost
            paused.__exit__(None, None, None)
            paused._heart.add(paused)  # for the end of its block
            assert isinstance(leases.take(store, "key"), Holder)
    assert leases.holders(store) == {}


def test_a_store_that_is_gone_loses_leases_and_ends_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with taken(store, heartbeat=0.02, expiry=0.1) as lease:
        shutil.rmtree(tmp_path / "store")
        deadline = time.monotonic() + 5
        while not lease.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lease.lost
    with pytest.raises(StoreError, match="gone"):
        leases.take(store, "key")


def test_a_write_that_fails_once_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    with taken(store, expiry=0.2) as lease:
        with monkeypatch.context() as patch:
            patch.setattr(leases.os, "utime", lambda path: os.stat("/nowhere/at/all" if path else ""))
            lease.renew()
            assert not lease.lost
        lease.renew()
        assert not lease.lost
        monkeypatch.setattr(leases.os, "utime", lambda path: os.stat("/nowhere/at/all" if path else ""))
        time.sleep(0.25)
        lease.renew()
        assert lease.lost


def test_a_half_written_lease_is_somebodys_until_it_expires(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = tmp_path / "leases" / "key" / "0"
    file.parent.mkdir(parents=True)
    file.write_text('{"host": ')
    holder = leases.take(store, "key")
    assert isinstance(holder, Holder) and holder.alive and holder.where == "a process that just began"
    os.utime(file, (time.time() - 100, time.time() - 100))
    assert isinstance(leases.take(store, "key"), Lease)


def compute(url: str, seed: int, keys: list[str], mortal: bool) -> None:
    """What workers do: take, look, compute, publish; now and then they die of it."""
    store, rng = Store(url), random.Random(seed)
    while todo := [key for key in keys if store.peek(key) is None]:
        key = rng.choice(todo)
        lease = leases.take(store, key)
        if isinstance(lease, Holder):
            continue
        with lease:
            if store.peek(key) is not None:
                continue
            with open(f"{url}/computed", "a") as log:
                log.write(f"{key} begun\n")
            if mortal and rng.random() < 0.1:
                os.kill(os.getpid(), signal.SIGKILL)
            with store.publish(key) as (folder, _):
                (folder / "file").write_text(key)
            with open(f"{url}/computed", "a") as log:
                log.write(f"{key} done\n")


def test_processes_that_die_and_race_compute_each_stage_once(tmp_path: Path) -> None:
    keys = [f"{i:02}" * 32 for i in range(40)]
    workers = [CONTEXT.Process(target=compute, args=(str(tmp_path), seed, keys, seed < 15)) for seed in range(20)]
    for i, worker in enumerate(workers):
        worker.start()
        if i >= 2:  # three at a time
            workers[i - 2].join()
    for worker in workers:
        worker.join()
    killed = sum(worker.exitcode == -signal.SIGKILL for worker in workers)
    lines = (tmp_path / "computed").read_text().splitlines()
    store = Store(tmp_path)
    assert store.keys() == set(keys) and leases.holders(store) == {}
    assert sorted(line.split()[0] for line in lines if line.endswith("done")) == keys
    assert len([line for line in lines if line.endswith("begun")]) == len(keys) + killed


class Turns:
    """Runs functions in threads, one at a time; at each `step` the one of the highest priority goes on.

    Priorities are drawn anew now and then, so that one may stand still while the others go a long way.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._priority: dict[int, float] = {}
        self._go: dict[int, threading.Semaphore] = {}
        self._stopped = threading.Semaphore(0)
        self._waiting: list[int] = []
        self.errors: list[BaseException] = []

    def step(self) -> None:
        me = threading.get_ident()
        if me in self._go:
            self._waiting.append(me)
            self._stopped.release()
            self._go[me].acquire()

    def run(self, functions: list[Callable[[], None]]) -> None:
        def thread(function: Callable[[], None]) -> None:
            self._go[threading.get_ident()] = threading.Semaphore(0)
            try:
                self.step()
                function()
            except BaseException as error:  # told by the test's thread
                self.errors.append(error)
            finally:
                self._stopped.release()

        for function in functions:
            threading.Thread(target=thread, args=(function,), daemon=True).start()
            self._stopped.acquire()
        while self._waiting:
            for one in self._waiting:
                if one not in self._priority or self._rng.random() < 0.05:
                    self._priority[one] = self._rng.random()
            next_one = max(self._waiting, key=self._priority.__getitem__)
            self._waiting.remove(next_one)
            self._go[next_one].release()
            self._stopped.acquire()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), actors=st.integers(2, 4))
def test_however_their_steps_interleave_two_never_hold_a_lease(
    data: st.DataObject, actors: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    rng = random.Random(data.draw(st.integers(0, 10**6)))
    turns = Turns(rng)
    dead: set[int] = set()
    names: dict[int, int] = {}  # thread → the process that it plays
    inside: list[int] = []

    def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **options: Any) -> Any:
            turns.step()
            return function(*words, **options)

        return wrapped

    def actor(number: int) -> None:
        for turn in range(3):
            me = names[threading.get_ident()] = 10 * number + turn + 1
            for _ in range(6):
                lease = leases.take(store, "key")
                if isinstance(lease, Holder):
                    continue
                with lease:
                    inside.append(me)
                    turns.step()
                    assert inside == [me]
                    inside.remove(me)
                    if rng.random() < 0.5:  # dies, and leaves its lease
                        dead.add(me)
                        lease._content = b"nobody's, so that its end does not release it"
                        break
                    lease.renew()
                    assert not lease.lost

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_numbers", "_delete", "_read"):
            patch.setattr(leases, name, stepping(getattr(leases, name)))
        patch.setattr(Store, "create", stepping(Store.create))
        sleep = time.sleep  # the hearts' own
        patch.setattr(time, "sleep", lambda seconds: turns.step() if threading.get_ident() in names else sleep(seconds))
        patch.setattr(leases, "this_process", lambda: Process("h", "b", names[threading.get_ident()], 0.0))
        patch.setattr(Claimant, "known_dead", property(lambda self: self.pid in dead))
        turns.run([lambda number=number: actor(number) for number in range(actors)])
    assert turns.errors == []


@pytest.mark.parametrize("content", [b"", b'{"pid": "x"}', b"[]", b"\xff", b"[" * 100_000])
def test_a_lease_that_says_nothing_is_dead_within_moments(
    store: Store, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk has left it, not a process at work."""
    store.write(store.path("leases", "key", "0"), content)
    holder = leases.holders(store)["key"]
    assert holder.process is None and holder.alive
    monkeypatch.setattr(leases, "UNWRITTEN", 0.0)
    assert not leases.holders(store)["key"].alive
    with taken(store):
        pass
    assert leases.holders(store) == {}


@pytest.mark.parametrize("name", ["007", "²", "٣", "-1", "9" * 30, "x"])
def test_other_files_beside_a_lease_are_no_leases(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    store.write(store.path("leases", "key", name), b"x")
    with taken(store):
        assert leases.holders(store)["key"].process is not None


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_no_lease(tmp_path: Path, make: Callable[[Path], None]) -> None:
    store = Store(tmp_path)
    (tmp_path / "leases" / "key").mkdir(parents=True)
    make(tmp_path / "leases" / "key" / "0")
    with taken(store):
        pass
    assert leases.holders(store) == {}
