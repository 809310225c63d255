"""A measurement is a process of its own: its peak memory, its allocator, its threads, its cold caches."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.common.errors import StageError, UserError
from xstilts.running.process import cores, environment

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

#: What a smoke test does instead: its figures mean nothing, but every line has run.
QUICK = {"layers": 3, "batch_size": 4, "steps": 2, "count": 2, "repeats": 1, "questions": 8, "epochs": 1}


@dataclass(frozen=True)
class Job:
    """A function of `benchmarks.ours`, `.evaluation`, `.predicting` or `.baseline`; its arguments but the seed."""

    side: str
    name: str
    options: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {value}" for name, value in self.options if name not in ("steps", "repeats"))
        return f"{self.side} {self.name}" + (f" ({shown})" if shown else "")

    def quick(self) -> Job:
        return Job(self.side, self.name, tuple((name, QUICK.get(name, value)) for name, value in self.options))


def job(side: str, name: str, **options: Any) -> Job:
    return Job(side, name, tuple(options.items()))


def threads() -> int:
    """As many as there are cores, on both sides, unless the user says otherwise."""
    return int(os.environ.get("OMP_NUM_THREADS", cores()))


def settings(config: Any, precision: str) -> str:
    """Of a model, as its configuration has them."""
    return (
        f"{precision}, attention {config._attn_implementation}, dropout {config.hidden_dropout_prob} and "
        f"{config.attention_probs_dropout_prob} of attention, {threads()} threads"
    )


def run(job: Job, seed: int) -> dict[str, Any]:
    """What the job's function returns, and ``memory``: the most bytes its process held. Raises UserError."""
    own = {"OMP_NUM_THREADS": str(threads())} if job.side == "baseline" else environment(threads())
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{job.side}", job.name, json.dumps({**dict(job.options), "seed": seed})],
        cwd=ROOT, env={**own, **os.environ}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}"]
        raise UserError(f"{job}: {lines[-1]}")
    return {"job": str(job), **json.loads(done.stdout.splitlines()[-1])}


def answer(functions: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """The other end of `run`: one JSON line, the last, on the standard output."""
    name, options = sys.argv[1:]
    try:
        result = functions[name](**json.loads(options))
    except (UserError, StageError) as error:
        sys.exit(str(error))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("\n" + json.dumps({**result, "memory": peak if sys.platform == "darwin" else peak * 1024}))


def command(main: Callable[[], None]) -> None:
    """Run a command: what is wrong with its input or its set-up is one line."""
    try:
        main()
    except UserError as error:
        sys.exit(f"benchmarks: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
