"""`xstilts store`: what is listed, what is mended, what is deleted and what never is."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tiny import STUDY, write
from xstilts.cli.app import app
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.store import Store, leases, logs, upkeep
from xstilts.store.leases import Lease
from xstilts.store.processes import this_process

KEYS = ["ab" * 32, "cd" * 32, "ef" * 32]


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three artifacts, checkpoints of the first and of one that is not done yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path.name}"
    store = Store(f"{request.getfixturevalue('s3')}/store" if request.param == "s3" else url)
    for key in KEYS:
        put(store, key)
    for key in (KEYS[0], "99" * 32):
        put(Store(f"{store.url}/checkpoints"), key)
    return store


def put(store: Store, key: str) -> None:
    with store.publish(key) as (folder, meta):
        (folder / "weights").write_bytes(bytes(1000))
        meta |= {"kind": "train", "label": f"train {key[:2]}"}


def told(*words: str) -> str:
    result = CliRunner().invoke(app, ["store", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def tree(store: Store) -> set[str]:
    return set(store.fs.find(store.root))


def test_ls_tells_what_is_there(store: Store) -> None:
    found = json.loads(told("ls", "--store", store.url, "--json"))
    assert {one["key"] for one in found["entries"]} == set(KEYS)
    assert all(one["kind"] == "train" and 1000 < one["size"] < 2000 and one["age"] < 60 for one in found["entries"])
    assert found["parts"]["checkpoints"] > 2000 and found["parts"]["set-aside"] == 0
    lines = told("ls", "--store", store.url).splitlines()
    assert lines[-1].startswith("3 artifacts: 4 kB; besides, checkpoints") and any("train ab" in line for line in lines)


def test_verify_of_a_whole_store_changes_nothing_but_checkpoints_that_are_done_with(store: Store) -> None:
    before = tree(store)
    assert upkeep.verify(store) == upkeep.Verified(3, [], [f"checkpoints/{KEYS[0]}"])
    after = tree(store)
    assert after < before and all(f"/checkpoints/artifacts/ab/{KEYS[0]}" in path for path in before - after)
    assert upkeep.verify(store) == upkeep.Verified(3, [], [])
    assert told("verify", "--store", store.url) == "3 artifacts read, 0 damaged, 0 leftovers removed\n"


def test_verify_sets_damaged_artifacts_aside_and_says_which(store: Store) -> None:
    (file,) = (path for path in tree(store) if f"artifacts/cd/{KEYS[1]}" in path and path.endswith("weights"))
    store.fs.pipe_file(file, b"changed")
    (manifest,) = (path for path in tree(store) if path.endswith(f"artifacts/ef/{KEYS[2]}/manifest.json"))
    store.fs.pipe_file(manifest, b"")
    lines = told("verify", "--store", store.url).splitlines()
    assert lines[:2] == ["damaged, set aside: train cd", f"damaged, set aside: {KEYS[2][:12]}"]
    assert lines[-1] == "the next run computes the damaged ones again"
    assert store.keys() == {KEYS[0]} and len(store.fs.ls(f"{store.root}/set-aside")) == 2


def test_verify_removes_what_the_dead_left_and_nothing_of_the_living(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = this_process()
    dead, far = replace(here, pid=999999999), replace(here, host="far")
    home = f"{store.root}/artifacts/12/{'12' * 32}"
    for process in (here, dead, far):
        store.fs.makedirs(f"{home}/{process}~x", exist_ok=True)
        store.fs.pipe_file(f"{home}/{process}~x/weights", b"half")
    monkeypatch.setattr(leases, "this_process", lambda: dead)
    assert isinstance(leases.take(store, "12" * 32), Lease)
    removed = upkeep.verify(store).removed
    assert f"artifacts/12/{'12' * 32}/{dead}~x" in removed and f"leases/{'12' * 32}" in removed
    assert {path.split("/")[-2] for path in tree(store) if path.startswith(home)} == {f"{here}~x", f"{far}~x"}
    # After a day, another machine's too, unless it holds a lease.
    monkeypatch.setattr(upkeep, "ABANDONED", -1.0)
    monkeypatch.setattr(leases, "this_process", lambda: far)
    with leases.take(store, KEYS[0]):  # type: ignore[union-attr]  # it is a lease
        assert upkeep.verify(store).removed == []
    assert upkeep.verify(store).removed == [f"artifacts/12/{'12' * 32}/{far}~x"]


def test_scratch_of_another_machine_is_kept_for_a_day(tmp_path: Path) -> None:
    store = Store(tmp_path)
    far = replace(this_process(), host="far")
    for name, age in (("new", 0.0), ("old", 90_000.0)):
        folder = tmp_path / "tmp" / f"{far}~{name}"
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age, time.time() - age))
    assert upkeep.verify(store).removed == [f"tmp/{far}~old"]


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, set[str]]:
    return write(tmp_path), set(make_plan(make_study(dict[str, Any](STUDY))).stages)


def test_prune_deletes_only_what_no_study_needs_nobody_holds_and_only_when_told(
    store: Store, study: tuple[Path, set[str]]
) -> None:
    file, needed = study
    kept = sorted(needed)[0]
    put(store, kept)
    logs.StageLog(store, KEYS[1]).write("done")
    before = tree(store)
    words = ["prune", "--keep", str(file), "--store", store.url]
    lease = leases.take(store, KEYS[0])
    assert isinstance(lease, Lease)
    with lease:
        listed = told(*words).splitlines()
        assert [line.split("  ")[-1] for line in listed[:3]] == [
            "artifacts: train cd", "artifacts: train ef", f"checkpoints: {'99' * 6}",
        ]  # fmt: skip
        assert listed[3].startswith("3 to delete: ") and tree(store) >= before
        told(*words, "--yes")
        assert store.keys() == {KEYS[0], kept} and Store(f"{store.url}/checkpoints").keys() == {KEYS[0]}
    assert json.loads(told(*words, "--yes", "--json"))["deleted"]
    assert store.keys() == {kept} and logs.keys(store) == set()
    assert told(*words) == "0 to delete: 0 kB\n"


def test_prune_tells_a_wrong_study_and_deletes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    put(store, KEYS[0])
    result = CliRunner().invoke(app, ["store", "prune", "--keep", str(tmp_path / "no.yaml"), "--yes"])
    assert result.exit_code != 0 and "no.yaml" in str(result.exception) and store.keys() == {KEYS[0]}
