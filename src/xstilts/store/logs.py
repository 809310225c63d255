"""What happened to each stage, as JSON lines in the store: who computed it, how far it came, how it ended."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from xstilts.common.progress import Event
from xstilts.store.files import NotAFileError
from xstilts.store.store import Store

#: Seconds between two writes to a store that cannot append.
EVERY = 10.0


def path(store: Store, key: str) -> str:
    return store.path("logs", key[:2], f"{key}.jsonl")


#: What a record's values are, where it has them.
TYPES: dict[str, type | tuple[type, ...]] = {
    "time": (int, float), "event": str, "text": str, "reason": str, "done": int, "steps": int
}  # fmt: skip


def read(store: Store, key: str) -> list[dict[str, Any]]:
    """The records of a stage, the oldest first; none if nobody has begun it.

    Lines that are none are passed over: half of one is left by a process that was killed or is writing, and by a disk
    that was full.
    """
    with store.failing_plainly():
        try:
            content = store.content(path(store, key))
        except (FileNotFoundError, NotAFileError):
            return []
    return [record for line in content.split(b"\n") if (record := _record(line)) is not None]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    sound = isinstance(record, dict) and "event" in record and "time" in record
    return record if sound and all(isinstance(record[name], TYPES[name]) for name in TYPES.keys() & record) else None


def keys(store: Store) -> set[str]:
    """Of the stages that somebody has begun."""
    return {PurePosixPath(found[-1]).stem for found in store.find(store.path("logs"))}


class StageLog:
    """Appends records to the log of the stage ``key``: ``time`` in seconds since 1970, ``event``, and values.

    Where the store cannot append, the whole log is written again every `EVERY` seconds, and at `close`.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._path = store, path(store, key)
        self._written = -EVERY
        self._records: list[dict[str, Any]] | None = None  # of a store that cannot append

    def write(self, event: str, **values: Any) -> None:
        """Raises StoreError."""
        record = {"time": round(time.time(), 3), "event": event, **values}
        with self._store.failing_plainly():
            if self._records is None and self._store.append(self._path, _lines([record])):
                return
        if self._records is None:
            self._records = read(self._store, PurePosixPath(self._path).stem)
        self._records.append(record)
        if time.monotonic() - self._written >= EVERY:
            self.close()

    def hear(self, event: Event) -> None:
        self.write(**event.record())

    def close(self) -> None:
        """Bring all records to the store. Raises StoreError."""
        if self._records is not None:
            with self._store.failing_plainly():
                self._store.write(self._path, _lines(self._records))
            self._written = time.monotonic()


def place() -> dict[str, Any]:
    """Where this process runs, for people to find it."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _lines(records: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode(errors="replace")
