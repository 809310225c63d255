"""What happened to each stage, as JSON lines in the store: who computed it, how far it came, how it ended."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from xstilts.store.store import Store

#: Seconds between two writes to a store that cannot append.
EVERY = 10.0


def path(store: Store, key: str) -> str:
    return store.path("logs", key[:2], f"{key}.jsonl")


def read(store: Store, key: str) -> list[dict[str, Any]]:
    """The records of a stage, the oldest first; none if nobody has begun it."""
    try:
        content = store.content(path(store, key))
    except FileNotFoundError:
        return []
    # The last line may be half written: by a process that was killed, or is writing.
    return [json.loads(line) for line in content.decode().splitlines(keepends=True) if line.endswith("\n")]


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
        self._stream = store.append(self._path)
        self._records = [] if self._stream else read(store, key)

    def write(self, event: str, **values: Any) -> None:
        record = {"time": round(time.time(), 3), "event": event, **values}
        if self._stream:
            self._stream.write(_lines([record]))
            return
        self._records.append(record)
        if time.monotonic() - self._written >= EVERY:
            self._upload()

    def close(self) -> None:
        if self._stream:
            self._stream.close()
        else:
            self._upload()

    def _upload(self) -> None:
        self._store.write(self._path, _lines(self._records).encode())
        self._written = time.monotonic()


def place() -> dict[str, Any]:
    """Where this process runs, for people to find it."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _lines(records: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
