"""Which stage comes when: as soon as its inputs are there, where there is room, and once among all runs of a store."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from xstilts.common.errors import StoreError
from xstilts.planning.plan import Stage
from xstilts.running.executor import Executor
from xstilts.running.progress import Ended, Progress
from xstilts.store import Store, leases

#: Why a stage was not even tried.
SKIPPED = "skipped: a stage that it needs failed"

#: How often a stage is tried whose process or machine was lost.
TRIES = 3

#: Seconds between two looks at what other runs are computing.
LOOK = 5.0


class Listener(Protocol):
    """Is told how a run goes; the command line shows it, a test records it."""

    def started(self, stage: Stage) -> None: ...

    def progress(self, stage: Stage, done: int, steps: int, text: str) -> None: ...

    def finished(self, stage: Stage, text: str) -> None: ...

    def failed(self, stage: Stage, reason: str) -> None: ...

    def put_back(self, stage: Stage, reason: str) -> None:
        """It will be tried again: its process was lost, or another run is computing it."""


@dataclass
class _Queue:
    """Stages that wait for their inputs, or for room."""

    stages: Sequence[Stage]
    failures: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_key = {stage.key: stage for stage in self.stages}
        self.place = {stage.key: place for place, stage in enumerate(self.stages)}
        self.needed_by: dict[str, list[str]] = {}
        self.lacks = {stage.key: 0 for stage in self.stages}
        for stage in self.stages:
            for source in set(stage.inputs) & self.by_key.keys():
                self.needed_by.setdefault(source, []).append(stage.key)
                self.lacks[stage.key] += 1
        self.ready = [self.place[key] for key, lacking in self.lacks.items() if not lacking]  # a heap: the plan's order
        self.left = set(self.by_key)

    def next(self, room: int, slots: int) -> Stage | None:
        """The first stage that is ready, if there is room for its processes."""
        if self.ready and min(slots, self.stages[self.ready[0]].processes) <= room:
            return self.stages[heapq.heappop(self.ready)]
        return None

    def put_back(self, stage: Stage) -> None:
        heapq.heappush(self.ready, self.place[stage.key])

    def done(self, key: str) -> None:
        self.left.discard(key)
        for other in self.needed_by.get(key, ()):
            self.lacks[other] -= 1
            if not self.lacks[other] and other not in self.failures:
                heapq.heappush(self.ready, self.place[other])

    def failed(self, key: str, reason: str) -> list[Stage]:
        """Gives the stages that now cannot be computed either."""
        self.left.discard(key)
        self.failures[key] = reason
        skipped, behind = [], list(self.needed_by.get(key, ()))
        while behind:
            other = behind.pop()
            if other not in self.failures:
                self.failures[other] = SKIPPED
                self.left.discard(other)
                skipped.append(self.by_key[other])
                behind += self.needed_by.get(other, ())
        return skipped


def run(stages: Sequence[Stage], store: Store, executor: Executor, listener: Listener) -> dict[str, str]:
    """Compute ``stages``, each once its inputs are there; gives key → reason of those that failed or were skipped.

    A failed stage stops only those that need it. A stage whose process or machine is lost is tried again, where its
    last checkpoint was. What another run of the same store is computing is waited for, and taken over if that run
    dies. Raises StoreError where the store cannot be used any more; what was finished is in it.
    """
    queue = _Queue(stages)
    running: dict[str, int] = {}  # key → slots that it takes
    elsewhere: dict[str, Stage] = {}
    tries: dict[str, int] = {}
    looked = time.monotonic()

    def finish(stage: Stage, text: str) -> None:
        queue.done(stage.key)
        listener.finished(stage, text)

    def fail(stage: Stage, reason: str) -> None:
        listener.failed(stage, reason)
        for skipped in queue.failed(stage.key, reason):
            listener.failed(skipped, SKIPPED)

    with executor:
        while queue.left:
            slots = executor.slots
            while stage := queue.next(slots - sum(running.values()), slots):
                running[stage.key] = min(slots, stage.processes)
                listener.started(stage)
                executor.submit(stage)
            for event in executor.wait(LOOK if elsewhere else None):
                stage = queue.by_key[event.key]
                if isinstance(event, Progress):
                    listener.progress(stage, event.done, event.steps, event.text)
                    continue
                del running[event.key]
                event = _in_truth(event, store)
                if event.how == "done":
                    finish(stage, event.text)
                elif event.how == "failed":
                    fail(stage, event.text)
                elif event.how == "unusable":
                    raise StoreError(event.text)
                elif event.how == "elsewhere":
                    elsewhere[stage.key] = stage
                    listener.put_back(stage, f"computed by another run: {event.text}")
                else:
                    tries[stage.key] = tries.get(stage.key, 1) + 1
                    if tries[stage.key] > TRIES:
                        fail(stage, f"{event.text}, {TRIES} times")
                    else:
                        listener.put_back(stage, f"{event.text}; it is tried again")
                        queue.put_back(stage)
            if elsewhere and time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                held = {key for key, holder in leases.holders(store).items() if holder.alive}
                for key in list(elsewhere):
                    if store.peek(key) is not None:
                        finish(elsewhere.pop(key), "by another run")
                    elif key not in held:
                        queue.put_back(elsewhere.pop(key))
    return queue.failures


def _in_truth(event: Ended, store: Store) -> Ended:
    """How a stage ended: done if its artifact is in the store, whatever became of its process, and only then."""
    if event.how not in ("done", "lost"):
        return event
    if store.peek(event.key) is not None:
        return Ended(event.key, "done", event.text)
    if event.how == "done":
        return Ended(event.key, "lost", "said to be done, but not in the store: does its machine see the same one?")
    return event
