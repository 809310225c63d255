"""Which runs there are, and of what: a run tells the store whose it is and which keys its plan has, while it lives.

A run is two files, ``runs/<id>.keys``, the keys of its plan at 32 bytes each, and, written last, ``runs/<id>.json``;
and a lease on ``run-<id>``, by which others see whether it is alive. The files stay when it ends, so that people still
know whose the artifacts are.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath

from xstilts.common import digests
from xstilts.common.errors import printable
from xstilts.store import leases
from xstilts.store.files import NotAFileError
from xstilts.store.store import Store

#: Bytes of a key.
WIDTH = 32


@dataclass(frozen=True)
class Run:
    """A run of a study by the user ``owner``, since so many seconds after 1970 by its machine's clock."""

    study: str
    owner: str
    host: str
    pid: int
    began: float
    precision: str = ""  # what `precision: auto` came to, if the study has it

    @classmethod
    def here(cls, study: str, precision: str = "") -> Run:
        """Of this process, begun now."""
        return cls(study, _user(), socket.gethostname(), os.getpid(), time.time(), precision)

    @property
    def whose(self) -> str:
        return printable(f"study {self.study}, {self.owner}, process {self.pid} on {self.host}")  # as others wrote it


@dataclass(frozen=True)
class KnownRun(Run):
    """A run that the store knows of, under ``id``: whether it is ``alive``, and how many seconds ago it began.

    ``plan`` is a digest of its keys.
    """

    id: str = ""
    plan: str = ""
    alive: bool = False
    age: float = 0.0


@contextmanager
def register(store: Store, run: Run, keys: Collection[str]) -> Iterator[None]:
    """For as long as the block takes, what ``run`` needs, the artifacts of ``keys``, is seen to be needed.

    Its record takes the place of those of its user's earlier runs of the same plan that have ended. Raises StoreError.
    """
    id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(run.began))}-{uuid.uuid4().hex[:8]}"
    plan = digests.of_json(sorted(keys))
    lease = leases.take(store, _lease(id), f"run of {run.study}")
    assert isinstance(lease, leases.Lease), f"{id} is this run's alone"
    with lease:
        with store.failing_plainly():
            store.write(_path(store, id, "keys"), b"".join(sorted(map(bytes.fromhex, keys))))
            store.write(_path(store, id, "json"), json.dumps({**asdict(run), "plan": plan}, indent=1).encode())
        for other in all(store):
            if not other.alive and (other.study, other.owner, other.plan) == (run.study, run.owner, plan):
                remove(store, other.id)
        yield


def all(store: Store) -> list[KnownRun]:
    """The runs that the store knows of, the latest first; a `damaged` record is passed over. Raises StoreError."""
    return _look(store)[0]


def damaged(store: Store) -> dict[str, bool]:
    """Records that cannot be read: path below the store's URL → whether the run is alive. Raises StoreError."""
    return _look(store)[1]


def latest(store: Store, study: str) -> KnownRun | None:
    """The run of a study of this name that began last. Raises StoreError."""
    return next((run for run in all(store) if run.study == study), None)


def keys(store: Store, run: KnownRun) -> frozenset[str] | None:
    """Of all that the run's plan computes; None where that file is damaged. Raises StoreError."""
    with store.failing_plainly():
        try:
            content = store.content(_path(store, run.id, "keys"))
        except (FileNotFoundError, NotAFileError):
            return None
    parts = frozenset(content[i : i + WIDTH].hex() for i in range(0, len(content), WIDTH))
    return parts if digests.of_json(sorted(parts)) == run.plan else None


def remove(store: Store, id: str) -> None:
    """Forget a run that has ended. Raises StoreError."""
    with store.failing_plainly():
        for kind in ("json", "keys"):  # without the first, there is no record
            with suppress(FileNotFoundError):
                store.delete(_path(store, id, kind))


def _look(store: Store) -> tuple[list[KnownRun], dict[str, bool]]:
    found: list[KnownRun] = []
    wrong: dict[str, bool] = {}
    with store.failing_plainly():
        names = [name for name in store.names(store.path("runs")) if name.endswith(".json")]
        holders = leases.holders(store) if names else {}
        for name in names:
            id = PurePosixPath(name).stem
            holder = holders.get(_lease(id))
            alive = holder is not None and holder.alive
            try:
                found.append(_read(store, id, alive))
            except FileNotFoundError:  # removed this moment
                continue
            except (ValueError, TypeError, KeyError, RecursionError, NotAFileError):
                wrong[f"runs/{name}"] = alive
    return sorted(found, key=lambda run: -run.began), wrong


def _read(store: Store, id: str, alive: bool) -> KnownRun:
    """Raises FileNotFoundError, and ValueError, KeyError or TypeError where the record is damaged."""
    told = json.loads(store.content(_path(store, id, "json")))
    values = {field.name: told[field.name] for field in fields(Run)}
    if any(type(value) is not type(getattr(_SAMPLE, name)) for name, value in values.items()):
        raise TypeError(f"{id}: a value of another type")
    return KnownRun(**values, id=id, plan=str(told["plan"]), alive=alive, age=max(0.0, time.time() - told["began"]))


#: What a record's values are.
_SAMPLE = Run("", "", "", 0, 0.0)


def _lease(id: str) -> str:
    return f"run-{id}"


def _path(store: Store, id: str, kind: str) -> str:
    return store.path("runs", f"{id}.{kind}")


def _user() -> str:
    """As the system names them; in a container, a user may have a number alone."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
