"""Looking after a store: what is in it, whether it is whole, and what nobody needs."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from xstilts.common.errors import StoreError
from xstilts.store import files, leases, logs, runs
from xstilts.store.artifact import DISPLAYED, MANIFEST
from xstilts.store.processes import Process
from xstilts.store.runs import KnownRun
from xstilts.store.store import Store, owner

#: What is in a store besides artifacts, by folder.
PARTS = ("checkpoints", "features", "logs", "leases", "runs", "set-aside", "tmp")

#: Seconds after which what a process of another machine was writing counts as left behind, if it does not change and
#: the process holds no lease.
ABANDONED = 24 * 3600.0


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact of the store: its size in bytes, its age in seconds, and the ``studies`` whose runs need it."""

    key: str
    kind: str
    label: str
    size: int
    age: float
    studies: list[str]


@dataclass(frozen=True)
class Contents:
    """Of a store; ``parts``: bytes in each of `PARTS`; ``damaged``: paths of records of runs that cannot be read."""

    entries: list[StoredArtifact]
    parts: dict[str, int]
    runs: list[KnownRun]
    damaged: list[str]


@dataclass(frozen=True)
class Verified:
    """How many artifacts were read, which of them were damaged (their labels) and set aside, and what was removed.

    ``kept`` are damaged files of artifacts that are as good without them.
    """

    artifacts: int
    damaged: list[str]
    removed: list[str]
    kept: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Waste:
    """What can be removed: an artifact, a checkpoint or what was set aside, by its path below the store's URL."""

    path: str
    label: str
    size: int


@dataclass(frozen=True)
class Findings:
    """``waste``; and of what would be, but that a run needs which is alive: whose that is → bytes."""

    waste: list[Waste]
    kept: dict[str, int]


def contents(store: Store) -> Contents:
    """What is in a store, the latest artifact first. Raises StoreError."""
    sizes: dict[str, int] = {}
    changed: dict[str, float] = {}
    parts = dict.fromkeys(PARTS, 0)
    for path, info in _files(store, ""):
        if path[0] in parts:
            parts[path[0]] += info["size"]
        elif path[0] == "artifacts" and len(path) > 3:
            sizes[path[2]] = sizes.get(path[2], 0) + info["size"]
            if path[3] == MANIFEST:
                changed[path[2]] = _changed(info)
    known = runs.all(store)
    studies: dict[str, list[str]] = {}
    for run in known:
        for key in (runs.keys(store, run) or frozenset()) & changed.keys():
            if run.study not in (named := studies.setdefault(key, [])):
                named.append(run.study)
    entries = []
    for key in sorted(changed, key=lambda key: -changed[key]):
        artifact = store.peek(key)
        if artifact is not None:
            kind, age = str(artifact.meta.get("kind", "")), max(0.0, time.time() - changed[key])
            entries.append(StoredArtifact(key, kind, artifact.label, sizes[key], age, studies.get(key, [])))
    return Contents(entries, parts, known, list(runs.damaged(store)))


def verify(store: Store) -> Verified:
    """Read every artifact, set the damaged aside, and remove what killed processes left. Raises StoreError.

    Damaged features are removed: who needs them makes them again. Checkpoints are checked by who goes on from them.
    What a process that is still there is writing is left alone, on this machine and, by its lease or for a day, on
    others.
    """
    keys = store.keys()
    damaged, kept = [], []
    for key in sorted(keys):
        artifact = store.peek(key)
        if artifact is None:
            damaged.append(key[:12])
        elif not DISPLAYED.issuperset(wrong := store.damage(artifact)):
            store.set_aside(artifact)
            damaged.append(artifact.label)
        else:
            kept += [f"{artifact.label}: {name}" for name in wrong]
    holders = leases.holders(store)
    alive = {_plain(holder.process) for holder in holders.values() if holder.alive and holder.process}
    removed = list(_sweep(store, alive))
    for key, holder in holders.items():
        if not holder.alive:
            leases.clear(store, key)
            removed.append(f"leases/{key}")
    removed += _forget_damaged(store)
    for name, *below in store.find(store.path("leases")):
        if not below:  # a lease is in a folder
            store.delete(store.path("leases", name))
            removed.append(f"leases/{name}")
    for name in ("checkpoints", "features"):
        if (inner := store.inner(name)) is None:
            continue
        removed += [f"{name}/{path}" for path in _sweep(inner, alive)]
        if name == "features":
            for key in sorted(inner.keys()):
                if (features := inner.peek(key)) is not None and inner.damage(features):
                    inner.set_aside(features)
        for aside in inner.names(inner.path("set-aside")):  # made again where it is needed
            inner.delete_folder(inner.path("set-aside", aside))
            removed.append(f"{name}/set-aside/{aside}")
        if name == "checkpoints":
            published = store.keys()
            for key in inner.keys() & published - _held(holders):
                inner.remove(key)
                removed.append(f"checkpoints/{key}")
    return Verified(len(keys), damaged, removed, kept)


def waste(store: Store, needed: Collection[str]) -> Findings:
    """What no stage of the keys ``needed`` is, no run that is alive needs, and nobody is at now.

    What was set aside is kept as long as it is lost to somebody who needs it: it says that the next run is to compute
    it. Raises StoreError where the store fails, and where it cannot be known what a run needs.
    """
    kept, living = set(needed) | _held(leases.holders(store)), _living(store)
    lost = store.lost()
    sizes: dict[str, int] = {}
    for path, info in _files(store, ""):
        depth = {("artifacts",): 3, ("checkpoints", "artifacts"): 4, ("set-aside",): 2}
        end = depth.get(path[:1]) or depth.get(path[:2])
        if end and len(path) >= end and (len(path) > end or path[0] == "set-aside"):
            place = "/".join(path[:end])
            sizes[place] = sizes.get(place, 0) + info["size"]
    of_runs: dict[str, int] = {}
    found = []
    for place, size in sizes.items():
        key = _key(place)
        whose = next((run.whose for run, keys in living.items() if key in keys), None)
        if place.startswith("set-aside/") and key not in lost:
            found.append(Waste(place, key[:12], size))
        elif key in kept:
            continue
        elif whose is not None:
            of_runs[whose] = of_runs.get(whose, 0) + size
        else:
            artifact = store.peek(key) if place.startswith("artifacts/") else None
            found.append(Waste(place, artifact.label if artifact else key[:12], size))
    return Findings(found, of_runs)


def remove(store: Store, found: list[Waste]) -> None:
    """Remove waste, but for what somebody is at or needs by now; and the records of runs that then have nothing left.

    Raises StoreError.
    """
    kept = _held(leases.holders(store)).union(*_living(store).values())
    checkpoints = store.inner("checkpoints")
    for one in found:
        key = _key(one.path)
        if key in kept:
            continue
        elif one.path.startswith("set-aside/"):
            with store.failing_plainly(), suppress(FileNotFoundError):
                store.delete_folder(store.path(one.path))
        elif one.path.startswith("artifacts/"):
            store.remove(key)
            with store.failing_plainly(), suppress(FileNotFoundError):
                store.delete(logs.path(store, key))
        elif checkpoints is not None:
            checkpoints.remove(key)
    there = store.keys()
    for run in runs.all(store):
        keys = runs.keys(store, run)
        if not run.alive and keys is not None and not keys & there:
            runs.remove(store, run.id)


def _living(store: Store) -> dict[KnownRun, frozenset[str]]:
    """The runs that are alive, and what they need. Raises StoreError where that cannot be read."""
    living = {run: runs.keys(store, run) for run in runs.all(store) if run.alive}
    unknown = [path for path, alive in runs.damaged(store).items() if alive]
    unknown += [f"runs/{run.id}.keys" for run, keys in living.items() if keys is None]
    if unknown:
        raise StoreError(
            f"store {store.url}: {unknown[0]} is damaged, so that nobody knows what that run needs, and it is alive; "
            "nothing is deleted, try again when it has ended"
        )
    return {run: keys for run, keys in living.items() if keys is not None}


def _key(path: str) -> str:
    return PurePosixPath(path).name.split("-")[0]


def _held(holders: dict[str, leases.Holder]) -> set[str]:
    return {key for key, holder in holders.items() if holder.alive}


def _files(store: Store, below: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """All files and folders there: the parts of their paths, and what the file system knows of them."""
    with store.failing_plainly():
        yield from store.find(store.path(below), folders=True).items()


def _changed(info: dict[str, Any]) -> float:
    """When the file was written, in seconds since 1970; 0 for a folder of an object store, which has no time."""
    time = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or info.get("created") or 0.0
    return time.timestamp() if isinstance(time, datetime) else float(time)


def _forget_damaged(store: Store) -> Iterator[str]:
    """Remove what is damaged of the records of runs that have ended; gives the paths."""
    for path, alive in runs.damaged(store).items():
        if not alive:
            runs.remove(store, PurePosixPath(path).stem)
            yield path
    for run in runs.all(store):
        if not run.alive and runs.keys(store, run) is None:
            runs.remove(store, run.id)
            yield f"runs/{run.id}.keys"


def _plain(process: Process) -> Process:
    return Process(process.host, process.boot, process.pid, process.started)


def _sweep(store: Store, alive: Collection[Process]) -> Iterator[str]:
    """Remove attempts that no manifest names, and scratch folders, of processes that are no more; gives the paths."""

    def left_behind(name: str, changed: float) -> bool:
        process = owner(name)
        if process is not None and (process.here or process in alive):
            return process.known_dead
        return time.time() - changed > ABANDONED

    attempts: dict[tuple[str, str], float] = {}  # key and attempt → last change
    homes: set[str] = set()
    for path, info in _files(store, "artifacts"):
        if len(path) == 2:
            homes.add(path[1])
        elif len(path) > 2 and path[2] != MANIFEST:
            attempts[path[1], path[2]] = max(attempts.get((path[1], path[2]), 0.0), _changed(info))
    for (key, attempt), changed in attempts.items():
        artifact = store.peek(key)
        if (artifact is None or artifact.attempt not in ("", attempt)) and left_behind(attempt, changed):
            with store.failing_plainly(), suppress(FileNotFoundError):
                store.delete_folder(store.path("artifacts", key[:2], key, attempt))
            yield f"artifacts/{key[:2]}/{key}/{attempt}"
    for key in homes:
        store.delete_folder(store.path("artifacts", key[:2], key), if_empty=True)
    with store.failing_plainly(), suppress(FileNotFoundError):
        for entry in os.scandir(store.scratch):
            if left_behind(entry.name, entry.stat(follow_symlinks=False).st_mtime):
                files.remove(entry.path)
                yield f"tmp/{entry.name}"
