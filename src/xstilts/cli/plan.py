"""`xstilts plan`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from xstilts import api
from xstilts.cli.options import JsonOption, StoreOption, StudyFile, columns
from xstilts.common.errors import UserError
from xstilts.common.units import duration, memory
from xstilts.planning import added
from xstilts.planning.plan import Plan
from xstilts.running import precision
from xstilts.running.process import cores

#: A plan of more stages is shown as a table of recipes and targets alone.
MANY_STAGES = 80


def plan(
    study: StudyFile,
    store: StoreOption = None,
    stages: Annotated[bool, typer.Option("--stages", help="list every stage, however many there are")] = False,
    device: Annotated[
        str | None,
        typer.Option(help="estimate for this device, such as a100-80gb, in place of this machine; see docs/cost.md"),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="how many of the device")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Show what a study will cost, by recipe and target, and its stages: which are done, which are to do.

    Data and listed encoders that are not at hand are counted as the catalog says; `xstilts run` needs them.
    """
    from xstilts.planning import estimate as estimating

    if devices > 1 and device is None:
        raise UserError(f"--devices {devices}: of which? name it with --device")
    on = estimating.device(device) if device else None
    opened = api.open_store(store)
    planned = api.plan(study, estimate=True, added=added.read(opened, api.checked(study).name))
    found = estimating.forecast(planned, opened, devices if on else cores(), on)
    notes = [*precision.notes(planned, opened), *found.notes]
    left, shared = found.left, found.sharing
    todo = sum(stage.state == "to do" for stage in found.stages)
    if as_json:
        print(json.dumps({"study": planned.study.name, "stages": [asdict(stage) for stage in found.stages],
                          "flops": planned.flops_by_recipe(), "device": device, "seconds_left": left.seconds,
                          "rate": found.rate, "rate_measured": found.measured, "bytes_left": left.disk,
                          "memory": left.memory, "critical_path": [stage.key for stage in left.critical],
                          "critical_seconds": left.critical_seconds, "sharing": asdict(shared),
                          "precision": sorted(planned.precisions), "notes": notes}, indent=1))  # fmt: skip
        return
    console = Console(markup=False)
    if stages or len(planned.stages) <= MANY_STAGES:
        table = columns("kind", "state", "GFLOP", "time", "memory", "stage")
        for stage in found.stages:
            numbers = (f"{stage.flops / 1e9:,.0f}", duration(stage.seconds), memory(stage.memory))
            table.add_row(stage.kind, stage.state, *(numbers if stage.flops else ("", "", "")), stage.label)
        console.print(table)
        console.print()
    console.print(_cost_table(planned))

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    basis = (
        f"at {estimating.UTILISATION:.0%} of its peak"
        if on
        else (
            "at the speed of the stages that are done"
            if found.measured
            else "a guess until a first stage has been timed"
        )
    )
    where = f"{devices} {on.name}" if on else f"{cores()} cores"
    say(
        f"{len(planned.stages)} stages, {todo} to do: {left.flops:.2g} FLOP, about {duration(left.seconds)} on "
        f"{where} ({basis}), at most {memory(left.disk)} of disk and {memory(left.memory)} of memory a stage"
    )
    if left.critical:
        say(
            f"critical path: {duration(left.critical_seconds)} for {len(left.critical)} stages, of which each needs "
            f"the one before it, up to {left.critical[-1].label}"
        )
    if shared.flops_alone > shared.flops:
        say(
            f"shared: computed alone, the study's cells would take {shared.stages_alone} stages and "
            f"{shared.flops_alone:.2g} FLOP; {1 - shared.flops / shared.flops_alone:.0%} is saved"
        )
    for note in notes:
        say(f"note: {note}")


def _cost_table(planned: Plan) -> Table:
    """Operations by recipe and target, over all encoders and seeds."""
    by_recipe = planned.flops_by_recipe()
    targets = [target.task for target in planned.study.targets]
    largest = max((flops for by_target in by_recipe.values() for flops in by_target.values()), default=0.0)
    unit, name = (1e15, "PFLOP") if largest >= 1e15 else (1e12, "TFLOP") if largest >= 1e12 else (1e9, "GFLOP")
    table = Table(box=None, header_style="bold", title=f"{name}, all seeds and encoders", title_justify="left")
    table.add_column("recipe", no_wrap=True)
    for column in ("before", *targets):
        table.add_column(column, justify="right")
    for recipe, by_target in by_recipe.items():
        cells = [by_target.get(column) for column in ("", *targets)]
        table.add_row(recipe, *("" if cell is None else f"{cell / unit:,.1f}" if cell else "—" for cell in cells))
    return table
