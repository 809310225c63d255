"""`xstilts run` and `xstilts status`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from xstilts import api
from xstilts.analysis.gather import gather
from xstilts.cli.options import JsonOption, StoreOption, StudyFile, check_writable
from xstilts.cli.report import show
from xstilts.cli.until import add_seeds
from xstilts.cli.until import wanted as until_wanted
from xstilts.common.screen import console, say
from xstilts.planning import added
from xstilts.planning.plan import Plan
from xstilts.running import precision
from xstilts.running.display import Headway, display
from xstilts.running.run import choose, compute_stages, fetch_encoders
from xstilts.running.tracking import Tracker, Tracking


class Executors(str, Enum):
    local = "local"
    ray = "ray"
    slurm = "slurm"


WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="stages that run at the same time; one a core, or one a GPU, by default")
]


def run(
    study: StudyFile,
    store: StoreOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="folder for report and tables; `runs/<study name>` by default"),
    ] = None,
    workers: WorkersOption = None,
    executor: Annotated[
        Executors, typer.Option(help="where stages are computed: this machine, a Ray cluster, or Slurm")
    ] = Executors.local,
    address: Annotated[
        str | None,
        typer.Option(help="ray: the cluster, as `auto` or host:port; by default a Ray of this machine alone"),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="slurm: a job parameter, as partition=gpu; may be given several times"),
    ] = None,
    models: Annotated[
        bool,
        typer.Option("--models", help="also what is gone though its scores are there: models and predictions"),
    ] = False,
    track: Annotated[
        Tracker | None,
        typer.Option(help="send losses, dev scores and throughput to an experiment tracker, a run a stage"),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="PRECISION",
            help='add seeds where they help most until the main comparisons are as precise as "±2.0" points, or one '
            'recipe\'s: "RECIPE ±2.0" (docs/study-file.md)',
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="--until: add no seed that would take longer in all: 3h, 90min")
    ] = None,
) -> None:
    """Run a study: plan it, compute what is missing, write the report.

    Stop it with ^C whenever you like; the same command goes on where it stopped. Nothing is computed twice, also not
    by several runs at the same time, on any machines that share the store.
    """
    opened = api.open_store(store)
    name = api.checked(study).name
    plan = api.plan(study, added=added.read(opened, name))
    wanted = until_wanted(plan.study, until, budget)
    out = out or Path("runs") / plan.study.name
    tracking = Tracking(track, plan.study.name, out.absolute()) if track else None
    make = choose(executor.value, opened, out, workers=workers, address=address, slurm=slurm or (), tracking=tracking)
    precision.check(plan, elsewhere=executor is Executors.slurm or address is not None)
    for note in precision.notes(plan, opened):
        say(f"note: {note}", stderr=True)
    check_writable(out)

    def compute(plan: Plan) -> Mapping[str, str]:
        missing = plan.missing(opened, verify=True, models=models)
        if missing:
            fetch_encoders(plan)
        said = f"{len(plan.stages) - len(missing)} done or not needed, {len(missing)} to compute"
        say(f"{name}: {len(plan.stages)} stages, {said}", stderr=True)
        shown = display(missing, console(stderr=True), plan.cells)
        try:
            with shown:
                return compute_stages(plan, missing, opened, shown, make)
        except KeyboardInterrupt:
            say(_kept(shown.headway, opened.url), stderr=True)
            raise typer.Exit(130) from None

    try:
        failures = compute(plan)
        if wanted and not failures:
            plan, failures = add_seeds(study, plan, opened, wanted, compute, partial(say, stderr=True))
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept, run the same command again to go on", stderr=True)
        raise typer.Exit(130) from None
    results = gather(plan, opened, failures)
    if not results.scores.is_empty():
        show(plan.study, results, out)
    elif not results.planned and not failures:
        print(
            f"no target has gold labels, so nothing is scored; `xstilts submission {study} --out DIR` writes the "
            "predictions for XTREME's tasks"
        )
    if failures:
        say(f"{len(failures)} stages failed or were skipped; what was finished is kept in the store", stderr=True)
        raise typer.Exit(1)


def _kept(headway: Headway, store: str) -> str:
    """What a ^C leaves."""
    left = headway.total - headway.done
    said = (
        f"interrupted: {headway.done} of {headway.total} stages were finished and are kept in {store}; {left} are left"
    )
    if headway.running:
        said += f", {len(headway.running)} of them begun: a training goes on from its last checkpoint"
    return f"{said}; run the same command again to go on"


def demo(store: StoreOption = None, workers: WorkersOption = None) -> None:
    """Run the study `quickstart`: small encoders on data that come with xstilts, in minutes and without a network."""
    run(Path("quickstart"), store=store, workers=workers)
    print(
        "Next: open the report; `xstilts init` writes a study of your own, and `xstilts make --help` says how to get a "
        "model for a language"
    )


def status(study: StudyFile, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show how far a study is, whoever runs it: what runs where, what failed and why, what is left."""
    from xstilts.running.status import status as look

    opened = api.open_store(store)
    found = look(api.plan_as_run(study, opened, estimate=True), opened)
    if as_json:
        rows = [{"key": one.stage.key, "kind": one.stage.kind, "label": one.stage.label, "state": one.state,
                 "share": one.share, "text": one.text} for one in found]  # fmt: skip
        print(json.dumps(rows, indent=1))
        return
    states = list(dict.fromkeys(one.state for one in found))
    print(", ".join(f"{sum(one.state == state for one in found)} {state}" for state in states))
    for one in found:
        if one.text or one.state in ("running", "failed", "interrupted"):
            share = f" {one.share:.0%}" if one.share else ""
            print(f"{one.state}{share}: {one.stage.label}{': ' if one.text else ''}{one.text}")
