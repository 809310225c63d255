"""Who computes which stage, told in the store: a lease is one process's, is renewed while it lives, and expires.

A lease on ``key`` is a file ``leases/<key>/<number>``, created in one step of the file system that fails where it is
there. Taking over a dead one is creating the file of the next number, so that of several takers one succeeds; the
highest number counts. Who has created one looks once more: should there be a higher number now, or a lower one that is
alive (both of a process that saw other files than we did), it gives way. Ages are told by the store's clock alone, from
the times that it gives to files.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from types import TracebackType

from xstilts.common.errors import StoreError
from xstilts.store.files import NotAFileError
from xstilts.store.processes import Process, this_process
from xstilts.store.store import Store

#: Seconds between two renewals.
HEARTBEAT = 15.0

#: Seconds after which a lease that was not renewed is dead.
EXPIRY = 60.0

#: What a lease's file is called.
NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")

#: Seconds after which a lease that says nothing is: who writes it does so at once, or met a full disk.
UNWRITTEN = 5.0


@dataclass(frozen=True)
class Claimant(Process):
    """The process that holds a lease, on the stage ``label``, since so many seconds after 1970 by its own clock."""

    label: str
    since: float


@dataclass(frozen=True)
class Holder:
    """A process that holds a lease, and ``alive``, whether it still does, or may."""

    process: Claimant | None  # None where the file is still being written, or damaged
    age: float  # seconds since the last renewal
    alive: bool

    @property
    def where(self) -> str:
        return f"process {self.process.pid} on {self.process.host}" if self.process else "a process that just began"


def take(
    store: Store, key: str, label: str = "", *, expiry: float = EXPIRY, heartbeat: float = HEARTBEAT
) -> Lease | Holder:
    """A lease on ``key`` for this process, or who holds it. Raises StoreError where the store fails."""
    claimant = Claimant(**asdict(this_process()), label=label, since=time.time())
    content = json.dumps({**asdict(claimant), "token": uuid.uuid4().hex}).encode()
    with store.failing_plainly():
        while True:
            highest = max(_numbers(store, key), default=None)
            if highest is not None:
                holder = _holder(store, key, highest, expiry)
                if holder is None:  # released this moment
                    continue
                if holder.alive:
                    return holder
            number = 0 if highest is None else highest + 1
            if not store.create(_path(store, key, number), content):
                continue
            others = [other for other in _numbers(store, key) if other != number]
            if any(other > number or _alive(store, key, other, expiry) for other in others):
                _delete(store, key, number)
                time.sleep(random.uniform(0, 0.01))  # two that give way to each other do not meet again
                continue
            for other in others:
                _delete(store, key, other)
            return Lease(store, key, number, content, expiry, heartbeat)


def holders(store: Store, *, expiry: float = EXPIRY) -> dict[str, Holder]:
    """All that hold leases, or held them when they died: stage key → holder. Raises StoreError."""
    with store.failing_plainly():
        numbers: dict[str, int] = {}
        for *folders, number in store.find(store.path("leases")):
            if len(folders) == 1 and NUMBER.fullmatch(number):
                numbers[folders[-1]] = max(int(number), numbers.get(folders[-1], 0))
        now = _now(store) if numbers else 0.0
        found = {key: _holder(store, key, number, expiry, now) for key, number in numbers.items()}
        return {key: holder for key, holder in found.items() if holder is not None}


def clear(store: Store, key: str) -> None:
    """Remove the files of leases on ``key`` that are dead."""
    with store.failing_plainly():
        for number in sorted(_numbers(store, key)):
            if not _alive(store, key, number, EXPIRY):
                _delete(store, key, number)


class Lease:
    """A lease of this process's: a context, at whose end it is released. A thread renews it meanwhile.

    ``lost`` says that it is another's now, or may be since it could not be renewed in time.
    """

    def __init__(self, store: Store, key: str, number: int, content: bytes, expiry: float, heartbeat: float) -> None:
        self.lost = False
        self._store, self._key, self._number, self._content = store, key, number, content
        self._expiry, self._heart = expiry, _heart(os.getpid(), heartbeat)
        self._renewed = time.monotonic()
        self._lock = threading.Lock()  # so that it is not renewed once it is released

    def __enter__(self) -> Lease:
        self._heart.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heart.remove(self)
        # A store that fails now has failed the stage too, or will the next one; the lease expires.
        with self._lock, suppress(StoreError), self._store.failing_plainly():
            if self._is_ours():
                _delete(self._store, self._key, self._number)
            self.lost = True

    def renew(self) -> None:
        """Say that this process is still alive, or find that the lease is lost."""
        with self._lock:
            if self.lost:
                return
            now = time.monotonic()
            try:
                with self._store.failing_plainly():
                    self.lost = not self._renew()
                self._renewed = now
            except StoreError:  # tried again at the next beat
                self.lost = now - self._renewed > self._expiry

    def _renew(self) -> bool:
        """Whether it is still this process's."""
        if max(_numbers(self._store, self._key), default=-1) > self._number:
            # Perhaps of a taker that finds us alive and gives way: it does so within moments.
            time.sleep(min(1.0, self._expiry / 10))
            if max(_numbers(self._store, self._key), default=-1) > self._number:
                return False
        if not self._is_ours():
            return False
        self._store.touch(_path(self._store, self._key, self._number), self._content)
        return True

    def _is_ours(self) -> bool:
        try:
            return _read(self._store, self._key, self._number) == self._content
        except FileNotFoundError:
            return False


class _Heart:
    """A thread that renews this process's leases for as long as the process lives."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._leases: list[Lease] = []
        threading.Thread(target=self._beat, name="leases", daemon=True).start()

    def add(self, lease: Lease) -> None:
        self._leases.append(lease)

    def remove(self, lease: Lease) -> None:
        self._leases.remove(lease)

    def _beat(self) -> None:
        while True:
            time.sleep(self._every)
            for lease in list(self._leases):
                lease.renew()


@cache
def _heart(pid: int, every: float) -> _Heart:
    """Of this process: after a fork, its parent's thread is not there."""
    return _Heart(every)


def _path(store: Store, key: str, number: int) -> str:
    return store.path("leases", key, str(number))


def _numbers(store: Store, key: str) -> list[int]:
    return [int(name) for name in store.names(store.path("leases", key)) if NUMBER.fullmatch(name)]


def _delete(store: Store, key: str, number: int) -> None:
    with suppress(FileNotFoundError):
        store.delete(_path(store, key, number))
        store.delete_folder(store.path("leases", key), if_empty=True)  # others' leases may be in it


def _read(store: Store, key: str, number: int) -> bytes:
    return store.content(_path(store, key, number))


def _holder(store: Store, key: str, number: int, expiry: float, now: float | None = None) -> Holder | None:
    """Of that lease; None if it is not there (any more). ``now`` is the store's, to save asking it again."""
    try:
        content, renewed = _read(store, key, number), store.modified(_path(store, key, number))
    except FileNotFoundError:
        return None
    except NotAFileError:
        return Holder(None, expiry, False)
    process = _claimant(content)
    age = max(0.0, (_now(store) if now is None else now) - renewed)
    if process is None:
        return Holder(None, age, age < min(expiry, UNWRITTEN))
    return Holder(process, age, age < expiry and not process.known_dead)


def _claimant(content: bytes) -> Claimant | None:
    """None where the lease is still being written, or never was to its end."""
    try:
        told = json.loads(content)
        values = {name: told[name] for name in Claimant.__dataclass_fields__}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    numbers = {"pid": int, "started": int | float, "since": int | float}
    return Claimant(**values) if all(isinstance(values[name], numbers.get(name, str)) for name in values) else None


def _alive(store: Store, key: str, number: int, expiry: float) -> bool:
    holder = _holder(store, key, number, expiry)
    return holder is not None and holder.alive


def _now(store: Store) -> float:
    """The store's clock: the time that it gives to a file written now; this machine's, for who may only read."""
    probe = store.path("leases", "clock", f"at-{uuid.uuid4().hex}")
    try:
        store.write(probe, b"now")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            raise
        return time.time()
    try:
        return store.modified(probe)
    finally:
        store.delete(probe)
