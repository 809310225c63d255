"""Seconds and memory of planning 10,000 and 100,000 stages: `python -m benchmarks.planning`.

The goal is 100,000 stages under 10 seconds and 1 GB, with the store's look-up and the estimate, each in a process of
its own that reads the mini suite's data anew.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

SIZES = (10_000, 100_000)


def study(stages: int) -> dict[str, Any]:
    """Encoders of 1 to 12 layers, 6 recipes, 4 targets, and as many seeds as give so many stages: 804 a seed, or so."""
    return {
        "name": "large",
        "encoders": [f"bundled/e5-small@{layers}" for layers in range(1, 13)],
        "recipes": ["none", "mini-nli", "mini-pos", "mini-choice", {"tasks": ["mini-nli", "mini-pos"]},
                    {"tasks": ["mini-nli", "mini-choice"]}],
        "targets": ["mini-span", "mini-retrieval", "mini-nli", "mini-pos"],
        "seeds": list(range(-(-stages // 804))),
    }  # fmt: skip


def measure(stages: int) -> None:
    """In a fresh process: print stages, seconds and megabytes."""
    began = time.perf_counter()
    from xstilts.planning.estimate import estimate, sharing
    from xstilts.planning.planner import make_plan
    from xstilts.planning.study import make_study
    from xstilts.store import Store

    plan = make_plan(make_study(study(stages)))
    with tempfile.TemporaryDirectory() as folder:
        todo = {stage.key for stage in plan.missing(Store(folder))}
    estimate(plan, todo, 1e11, 64)
    sharing(plan)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(len(plan.stages), time.perf_counter() - began, peak)


def main() -> None:
    for size in SIZES:
        ran = subprocess.run(
            [sys.executable, "-c", f"from benchmarks import planning; planning.measure({size})"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        stages, seconds, megabytes = map(float, ran.stdout.split())
        print(f"{stages:9,.0f} stages: {seconds:5.1f} s, {megabytes:5.0f} MB")


if __name__ == "__main__":
    main()
