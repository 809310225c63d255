"""Who computes which stage, told in the store: a lease is one process's, is renewed while it lives, and expires.

A lease on ``key`` is a file ``leases/<key>.<number>``. Taking one is creating a file that must not be there yet, in one
step of the file system; taking over an expired one is creating the file of the next number, so that of several takers
one succeeds. Ages are told by the store's clock alone, from the times that it gives to files.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import TracebackType

import psutil

from xstilts.store import Store

#: Seconds between two renewals.
HEARTBEAT = 15.0

#: Seconds after which a lease that was not renewed is dead.
EXPIRY = 60.0


@dataclass(frozen=True)
class Process:
    """Which process holds a lease. ``boot`` and ``started`` tell it from others that had its number."""

    host: str
    boot: str
    pid: int
    started: float  # seconds since 1970
    label: str  # of the stage
    since: float  # seconds since 1970


@dataclass(frozen=True)
class Holder:
    """A process that holds a lease, and ``alive``, whether it still does."""

    process: Process | None  # None while the file is still being written
    age: float  # seconds since the last renewal
    alive: bool

    @property
    def where(self) -> str:
        return f"process {self.process.pid} on {self.process.host}" if self.process else "a process that just began"


def take(store: Store, key: str, label: str = "", expiry: float = EXPIRY) -> Lease | Holder:
    """A lease on ``key`` for this process, or who holds it. Raises StoreError where the store fails."""
    with store.failing_plainly():
        content = json.dumps(asdict(_this_process(label))).encode()
        number = 0
        while not _create(store, _path(store, key, number), content):
            holder = _holder(store, key, number, expiry)
            if holder is None:  # released this moment: once more
                continue
            if holder.alive and not store.fs.exists(_path(store, key, number + 1)):
                return holder
            number += 1
        return Lease(store, key, number, content)


def holders(store: Store, expiry: float = EXPIRY) -> dict[str, Holder]:
    """All that hold leases, or held them when they died: stage key → holder."""
    with store.failing_plainly():
        newest: dict[str, int] = {}
        for path in store.fs.find(f"{store.root}/leases"):
            key, number = path.split("/")[-1].split(".")
            newest[key] = max(int(number), newest.get(key, 0))
        found = {key: _holder(store, key, number, expiry) for key, number in newest.items()}
        return {key: holder for key, holder in found.items() if holder is not None}


class Lease:
    """A lease of this process's: a context, at whose end it is released. A thread renews it meanwhile."""

    def __init__(self, store: Store, key: str, number: int, content: bytes) -> None:
        self._store, self._content = store, content
        self._paths = [_path(store, key, i) for i in range(number + 1)]  # with those it was taken over from

    def __enter__(self) -> Lease:
        _heart().add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _heart().remove(self)
        with suppress(OSError):  # a store that fails now has failed the stage too; the lease expires
            for path in self._paths:
                with suppress(FileNotFoundError):
                    self._store.fs.rm_file(path)

    def renew(self) -> None:
        if self._store.local:
            os.utime(self._paths[-1])
        else:
            self._store.fs.pipe_file(self._paths[-1], self._content)


class _Heart:
    """A thread that renews this process's leases for as long as the process lives."""

    def __init__(self, every: float = HEARTBEAT) -> None:
        self._every = every
        self._leases: list[Lease] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._beat, daemon=True).start()

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases.append(lease)

    def remove(self, lease: Lease) -> None:
        with self._lock:  # so that it is not renewed once it is released
            self._leases.remove(lease)

    def _beat(self) -> None:
        while True:
            time.sleep(self._every)
            with self._lock:
                for lease in self._leases:
                    with suppress(OSError):  # tried again, some times before it expires
                        lease.renew()


@cache
def _heart() -> _Heart:
    return _Heart()


def _path(store: Store, key: str, number: int) -> str:
    return f"{store.root}/leases/{key}.{number}"


def _create(store: Store, path: str, content: bytes) -> bool:
    """Whether the file could be created: False if it was there."""
    try:
        if store.local:
            with open(path, "xb") as stream:
                stream.write(content)
        else:
            store.fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    except FileNotFoundError:
        if not os.path.isdir(store.root):
            raise
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return _create(store, path, content)
    return True


def _holder(store: Store, key: str, number: int, expiry: float) -> Holder | None:
    """Of that lease; None if it is not there (any more)."""
    path = _path(store, key, number)
    try:
        content, renewed = store.fs.cat_file(path), store.fs.modified(path).timestamp()
    except FileNotFoundError:
        return None
    age = max(0.0, _now(store) - renewed)
    try:
        process = Process(**json.loads(content))
    except ValueError:  # still being written, or never finished
        return Holder(None, age, age < expiry)
    return Holder(process, age, age < expiry and not _known_dead(process))


def _now(store: Store) -> float:
    """The store's clock: the time that it gives to a file written now."""
    probe = f"{store.root}/tmp/clock-{uuid.uuid4().hex}"
    store.fs.makedirs(f"{store.root}/tmp", exist_ok=True)
    store.fs.pipe_file(probe, b"now")
    try:
        return float(store.fs.modified(probe).timestamp())
    finally:
        store.fs.rm_file(probe)


def _this_process(label: str) -> Process:
    return Process(*_identity(os.getpid()), label, time.time())


@lru_cache(maxsize=1)
def _identity(pid: int) -> tuple[str, str, int, float]:
    return socket.gethostname(), _boot(), pid, psutil.Process(pid).create_time()


def _boot() -> str:
    """Where process numbers mean the same: until the machine's next start, and within one container."""
    names = Path("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id")
    if all(name.exists() for name in names):
        return f"{names[1].read_text().strip()}/{names[0].stat().st_ino}"
    return str(psutil.boot_time())


def _known_dead(process: Process) -> bool:
    """Whether it was of this machine and is there no more. Of other machines nothing is known but the lease's age."""
    if (process.host, process.boot) != (socket.gethostname(), _boot()):
        return False
    try:
        return abs(psutil.Process(process.pid).create_time() - process.started) > 1.0  # its number is another's now
    except psutil.NoSuchProcess:
        return True
