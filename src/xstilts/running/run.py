"""From a study to its results: plan, compute what is missing, gather the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from xstilts.common.errors import StoreError, UserError
from xstilts.common.extras import need
from xstilts.common.progress import Sink, silent
from xstilts.encoders import bundled
from xstilts.planning.plan import Plan, Stage
from xstilts.running import schedule
from xstilts.running.executor import Executor
from xstilts.running.local import LocalExecutor
from xstilts.running.tracking import Tracking
from xstilts.running.worker import compute
from xstilts.store import Store, runs


def choose(
    kind: str,
    store: Store,
    out: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
    slurm: Sequence[str] = (),
    tracking: Tracking | None = None,
) -> Callable[[], Executor]:
    """What makes the executor of a ``kind``, once there is something to compute. Raises UserError.

    ``address`` is a Ray cluster's, ``slurm`` are job parameters as KEY=VALUE, ``out`` is where the study's files go.
    """
    if address is not None and kind != "ray":
        raise UserError(f"--address {address}: is for --executor ray")
    if slurm and kind != "slurm":
        raise UserError(f"--slurm {slurm[0]}: is for --executor slurm")
    do = partial(compute, tracking=tracking)
    if kind == "ray":
        from xstilts.running.ray import RayExecutor

        return partial(RayExecutor, store, address, do, workers)
    if kind == "slurm":
        from xstilts.running.slurm import SlurmExecutor

        return partial(SlurmExecutor, store, out / "slurm", slurm, do, workers)
    return partial(LocalExecutor, store.url, workers, do)


def execute(
    plan: Plan, store: Store, listener: Sink = silent, make: Callable[[], Executor] | None = None
) -> dict[str, str]:
    """Compute the missing stages of a plan by the executor that ``make`` gives, of this machine by default.

    Gives key → reason of the stages that failed. Raises StoreError where the store fails; what was finished is in it,
    and a next run goes on.
    """
    return compute_stages(plan, plan.missing(store, verify=True), store, listener, make)


def compute_stages(
    plan: Plan,
    stages: Sequence[Stage],
    store: Store,
    listener: Sink = silent,
    make: Callable[[], Executor] | None = None,
) -> dict[str, str]:
    """Compute some stages of a plan, as `execute` does all that are missing; gives key → reason of those that failed.

    They come in the plan's order, and what they need is among them or in the store: it is told what the plan needs, so
    that nobody removes it meanwhile.
    """
    run = runs.Run.here(plan.study.name, plan.auto or "")
    if not stages:
        with suppress(StoreError), runs.register(store, run, plan.stages):
            pass  # so that the store knows of it; not needed by who may only read a finished study
        return {}
    fetch_encoders(plan)
    with runs.register(store, run, plan.stages):
        store.sweep()
        executor = make() if make else LocalExecutor(store.url)
        failures = schedule.run(stages, store, executor, listener)
        store.sweep()  # of its workers
    return failures


def fetch_encoders(plan: Plan) -> None:
    """Bring weights and tokenizers to this machine. Raises UserError where an encoder has none that can be used."""
    need("train", "torch", "transformers")
    for encoder in dict.fromkeys([*plan.facts, *(encoder.whole for encoder in plan.healed)]):
        if encoder.source == bundled.NAME:
            bundled.path()
        else:
            from xstilts.encoders.load import check_loadable

            check_loadable(encoder)
