"""`python -m benchmarks.overhead`: what the engine adds to the work of the stages, on the quickstart (half an hour).

All stages of studies/quickstart.yaml, computed by a run with one worker (schedule, leases, logs, checkpoints,
processes), and by calling the stage functions one after the other in one process. Both with as many threads, in fresh
processes and with empty stores. The goal is less than 3 %.

One encoder and seed after the other, by hand and by the engine in turns, the first of the two alternating: machines
grow slower and faster within half an hour by more than what is measured. So each starts six times, not once, which
counts against the engine. Beside the time stands what lies outside of the stage functions, which such a machine sways
less: starts, plan and engine. `--parts N` takes the first N encoders and seeds only.
"""

from __future__ import annotations

import argparse
import itertools
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

from xstilts.engine.machine import device
from xstilts.planning.plan import Plan, Stage
from xstilts.planning.planner import make_plan
from xstilts.planning.records import from_json
from xstilts.planning.study import make_study
from xstilts.running.process import environment
from xstilts.store import Store

QUICKSTART = Path(__file__).parent.parent / "studies" / "quickstart.yaml"


@dataclass(frozen=True)
class Took:
    """Seconds that all stages took, and those of them inside the stage functions."""

    whole: float
    inside: float

    @property
    def outside(self) -> float:
        return self.whole - self.inside

    def __str__(self) -> str:
        return f"{self.whole:.1f} s ({self.outside:.1f} s outside of the stage functions)"


Part = tuple[int, int]  # the places of an encoder and a seed in the study


def study() -> dict[str, Any]:
    return dict(yaml.safe_load(QUICKSTART.read_text(encoding="utf-8")))


def plan(part: Part) -> Plan:
    content = study()
    encoder, seed = part
    alone = {"encoders": [content["encoders"][encoder]], "seeds": [content["seeds"][seed]]}
    return make_plan(make_study({**content, **alone}), fast=device.fast_precision)


def by_hand(folder: str, part: Part) -> None:
    from xstilts.running.stages import run_stage

    for stage in plan(part).stages.values():
        run_stage(stage, Store(folder), lambda *_: None)


def by_the_engine(folder: str, part: Part) -> None:
    from xstilts.running.run import choose, execute

    store = Store(folder)
    failures = execute(plan(part), store, make=choose("local", store, Path(folder), workers=1))
    if failures:
        raise RuntimeError(f"stages failed: {failures}")


def measure(function: str, stages: list[Stage], part: Part) -> Took:
    """All stages of the part, in a process of its own."""
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
        return Took(took, sum(from_json(artifact.meta).seconds for artifact in artifacts if artifact))


def main() -> None:
    content = study()
    parts = list(itertools.product(range(len(content["encoders"])), range(len(content["seeds"]))))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=len(parts), help="only so many encoders and seeds")
    hand: list[Took] = []
    engine: list[Took] = []
    for i, part in enumerate(parts[: parser.parse_args().parts]):
        stages = list(plan(part).stages.values())
        turns = [("by_hand", hand), ("by_the_engine", engine)]
        for function, took in turns if i % 2 == 0 else reversed(turns):
            took.append(measure(function, stages, part))
        name = f"{content['encoders'][part[0]]}, seed {content['seeds'][part[1]]}"
        print(f"{name}: {len(stages)} stages by hand {hand[-1]}, by the engine {engine[-1]}", flush=True)
    whole = sum(took.whole for took in hand)
    more = sum(took.whole for took in engine) - whole
    outside = sum(took.outside for took in engine) - sum(took.outside for took in hand)
    ratios = [one.whole / other.whole - 1 for one, other in zip(engine, hand, strict=True)]
    print(f"overhead: {more / whole:+.1%} of {whole:.0f} s, {outside / whole:+.1%} by the time outside of the stage "
          f"functions; by part {statistics.median(ratios):+.1%} ({min(ratios):+.1%} to {max(ratios):+.1%}); "
          "goal: under 3 %")  # fmt: skip


if __name__ == "__main__":
    main()
