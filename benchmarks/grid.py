"""`python -m benchmarks.grid`: what a stage costs besides its own work, on this machine and on a Ray started for it.

1,000 stages that publish an empty artifact, each with its lease and its log; the first ends when the first worker has
started, so that the start is told apart from the rest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial

from xstilts.planning.plan import Stage
from xstilts.running import schedule
from xstilts.running.executor import Executor
from xstilts.running.local import LocalExecutor
from xstilts.running.progress import Told
from xstilts.running.ray import RayExecutor
from xstilts.running.run import Silent
from xstilts.running.worker import compute
from xstilts.store import Store


def publish(stage: Stage, store: Store, told: Told) -> None:
    """A stage's work in its least form."""
    with store.publish(stage.key):
        told(1, 1, "done")


class FirstEnd(Silent):
    """Remembers when the first stage had ended."""

    at: float | None = None

    def finished(self, stage: Stage, text: str) -> None:
        self.at = self.at or time.perf_counter()


def measure(make: Callable[[Store], Executor], stages: int) -> tuple[float, float]:
    """Seconds until the first of so many stages has ended, and from then until the last has."""
    work = [Stage(f"{i:064x}", "score", f"stage {i}", None, ()) for i in range(stages)]  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        store, listener, began = Store(folder), FirstEnd(), time.perf_counter()
        failures = schedule.run(work, store, make(store), listener)
        ended = time.perf_counter()
        if failures or len(store.keys()) != stages or listener.at is None:
            raise RuntimeError(f"{len(failures)} stages failed, {len(store.keys())} are in the store")
    return listener.at - began, ended - listener.at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=1000)
    parser.add_argument("--only", choices=("local", "ray"), help="one of the two")
    arguments = parser.parse_args()
    do = partial(compute, work=publish)
    makes: dict[str, Callable[[Store], Executor]] = {
        "local": lambda store: LocalExecutor(store.url, do=do),
        "ray": lambda store: RayExecutor(store, do=do),
    }
    for name, make in makes.items():
        if arguments.only in (None, name):
            start, rest = measure(make, arguments.stages)
            print(f"{name}: {start:.1f} s until the first stage, {rest:.1f} s for the other {arguments.stages - 1:,}")


if __name__ == "__main__":
    main()
