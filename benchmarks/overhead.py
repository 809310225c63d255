"""`python -m benchmarks.overhead`: what the engine adds to the work of the stages, on the quickstart (half an hour).

All stages of studies/quickstart.yaml, computed by a run with one worker (schedule, leases, logs, checkpoints,
processes), and by calling the stage functions one after the other in one process. Both with as many threads, in fresh
processes and with empty stores. The goal is less than 3 %. Beside the time of each stands what lies outside of the
stage functions, which a noisy machine sways less: starts, plan and engine. `--part` takes one encoder and seed, three
times in turns: a few minutes, of which the start of the worker, once a run, is a larger share.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from xstilts.plan import Plan, Stage
from xstilts.planner import make_plan
from xstilts.store import Store
from xstilts.study import make_study
from xstilts.worker import environment

QUICKSTART = Path(__file__).parent.parent / "studies" / "quickstart.yaml"


@dataclass(frozen=True)
class Took:
    """Seconds that all stages took, and those of them inside the stage functions."""

    whole: float
    inside: float

    def __str__(self) -> str:
        return f"{self.whole:.1f} s ({self.whole - self.inside:.1f} s outside of the stage functions)"


def plan(part: bool) -> Plan:
    content: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    some = {name: content[name][:1] for name in ("encoders", "seeds")} if part else {}
    return make_plan(make_study({**content, **some}))


def by_hand(folder: str, part: bool) -> None:
    from xstilts.stages import run_stage

    for stage in plan(part).stages.values():
        run_stage(stage, Store(folder), lambda *_: None)


def by_the_engine(folder: str, part: bool) -> None:
    from xstilts.run import choose, execute

    store = Store(folder)
    outcome = execute(plan(part), store, make=choose("local", store, Path(folder), workers=1))
    if outcome.failures:
        raise RuntimeError(f"stages failed: {outcome.failures}")


def measure(function: str, stages: list[Stage], part: bool) -> Took:
    """All stages, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", f"from benchmarks import overhead; overhead.{function}({folder!r}, {part})"],
            env={**environment(len(os.sched_getaffinity(0))), **os.environ}, check=True,
        )  # fmt: skip
        took = time.perf_counter() - began
        artifacts = [Store(folder).get(stage.key) for stage in stages]
        missing = [stage.label for stage, artifact in zip(stages, artifacts, strict=True) if artifact is None]
        if missing:
            raise RuntimeError(f"{function}: not in the store: {missing}")
        return Took(took, sum(artifact.meta["seconds"] for artifact in artifacts if artifact))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="store_true", help="one encoder and seed, three rounds")
    part = parser.parse_args().part
    stages = list(plan(part).stages.values())
    ratios, outside = [], []
    for i in range(3 if part else 1):
        hand, engine = (measure(function, stages, part) for function in ("by_hand", "by_the_engine"))
        ratios.append(engine.whole / hand.whole)
        outside.append((engine.whole - engine.inside - (hand.whole - hand.inside)) / hand.whole)
        print(f"round {i + 1}: {len(stages)} stages by hand {hand}, by the engine {engine}", flush=True)
    print(f"overhead: {statistics.median(ratios) - 1:+.1%} of the whole time, {statistics.median(outside):+.1%} by the "
          f"time outside of the stage functions (median of {len(ratios)}; goal: under 3 %)")  # fmt: skip


if __name__ == "__main__":
    main()
