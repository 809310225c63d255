"""`python -m benchmarks.overhead`: what the engine adds to the work of the stages, on a part of the quickstart.

All stages of one encoder and seed of studies/quickstart.yaml, computed by a run with one worker (schedule, leases,
logs, checkpoints, processes), and by calling the stage functions one after the other in one process, in turns. Both
with as many threads, in fresh processes and with empty stores. The goal is less than 3 %.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from xstilts.plan import Plan, Stage
from xstilts.planner import make_plan
from xstilts.store import Store
from xstilts.study import make_study
from xstilts.worker import environment

QUICKSTART = Path(__file__).parent.parent / "studies" / "quickstart.yaml"
ROUNDS = 3


def plan() -> Plan:
    content: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    return make_plan(make_study({**content, "encoders": content["encoders"][:1], "seeds": content["seeds"][:1]}))


def by_hand(folder: str) -> None:
    from xstilts.stages import run_stage

    for stage in plan().stages.values():
        run_stage(stage, Store(folder), lambda *_: None)


def by_the_engine(folder: str) -> None:
    from xstilts.run import choose, execute

    store = Store(folder)
    outcome = execute(plan(), store, make=choose("local", store, Path(folder), workers=1))
    if outcome.failures:
        raise RuntimeError(f"stages failed: {outcome.failures}")


def seconds(function: str, stages: list[Stage]) -> float:
    """Of all stages, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", f"from benchmarks import overhead; overhead.{function}({folder!r})"],
            env={**environment(len(os.sched_getaffinity(0))), **os.environ}, check=True,
        )  # fmt: skip
        took = time.perf_counter() - began
        if Store(folder).keys() != {stage.key for stage in stages}:
            raise RuntimeError(f"{function}: not all stages are in the store")
    return took


def main() -> None:
    stages = list(plan().stages.values())
    ratios = []
    for i in range(ROUNDS):
        hand, engine = seconds("by_hand", stages), seconds("by_the_engine", stages)
        ratios.append(engine / hand)
        print(f"round {i + 1}: {len(stages)} stages by hand {hand:.1f} s, by the engine {engine:.1f} s")
    print(f"overhead: {statistics.median(ratios) - 1:+.1%} (median of {ROUNDS} rounds; goal: under 3 %)")


if __name__ == "__main__":
    main()
