"""`xstilts plan`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from xstilts import api
from xstilts.cli.options import JsonOption, StoreOption, StudyFile
from xstilts.common.errors import UserError
from xstilts.common.screen import Listing, say
from xstilts.common.units import bytes_in_one_unit, duration, flops_in_one_unit, in_one_unit, memory
from xstilts.planning import added
from xstilts.planning.plan import Plan
from xstilts.running import precision
from xstilts.running.process import cores

if TYPE_CHECKING:
    from xstilts.planning.estimate import StageCost

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
    if stages or len(planned.stages) <= MANY_STAGES:
        _stage_table(found.stages).print()
        print()
    _cost_table(planned).print()
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


def _stage_table(stages: Sequence[StageCost]) -> Listing:
    flop, flops = flops_in_one_unit([stage.flops or None for stage in stages])
    time, seconds = in_one_unit([stage.seconds if stage.flops else None for stage in stages])
    byte, memories = bytes_in_one_unit([stage.memory if stage.flops else None for stage in stages])
    head = ("kind", "state", flop, f"time ({time})", f"memory ({byte})", "stage")
    table = Listing(head, right=frozenset(head[2:5]))
    for stage, *numbers in zip(stages, flops, seconds, memories, strict=True):
        table.add(stage.kind, stage.state, *numbers, stage.label)
    return table


def _cost_table(planned: Plan) -> Listing:
    """Operations by recipe and target, over all encoders and seeds."""
    by_recipe = planned.flops_by_recipe()
    targets = [target.task for target in planned.study.targets]
    rows = [[by_target.get(column) for column in ("", *targets)] for by_target in by_recipe.values()]
    name, numbers = flops_in_one_unit([cell for row in rows for cell in row])
    columns = ("before", *targets)
    table = Listing(("recipe", *columns), right=frozenset(columns), title=f"{name}, all seeds and encoders")
    for i, recipe in enumerate(by_recipe):
        table.add(recipe, *numbers[i * len(columns) : (i + 1) * len(columns)])
    return table
