"""`xstilts power`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from xstilts import api
from xstilts.cli.options import JsonOption, StoreOption, StudyFile
from xstilts.common.errors import UserError
from xstilts.common.screen import Listing, say


def power(
    study: StudyFile,
    pilot: Annotated[
        Path | None,
        typer.Option("--from", metavar="PILOT", help="a study with scores in the store, whose gains vary so"),
    ] = None,
    run_sd: Annotated[
        float | None, typer.Option("--run-sd", min=0.0, help="points: how much a gain varies from seed to seed")
    ] = None,
    example_sd: Annotated[
        float | None, typer.Option("--example-sd", min=0.0, help="points: how much it varies over tests of this length")
    ] = None,
    encoder_sd: Annotated[
        float | None,
        typer.Option("--encoder-sd", min=0.0, help="points: how far encoders lie from a line over their size"),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a study will be able to show: half-widths of intervals and power, and which change buys most.

    How gains vary is a pilot's to tell (--from), or stated in points; what is stated goes before. Nothing is computed.
    """
    from xstilts.analysis import power as planning

    stated = {name: value for name, value in (("run", run_sd), ("example", example_sd), ("encoder", encoder_sd))
              if value is not None}  # fmt: skip
    if pilot is not None:
        of_pilot = planning.of_pilot(api.results(pilot, store))
        deviations = {outcome: replace(each, **stated) for outcome, each in of_pilot.items()}
    elif missing := [f"--{name}-sd" for name in ("run", "example") if name not in stated]:
        raise UserError(
            f"{' and '.join(missing)}: say how gains vary, in points, or name a study with scores by --from"
        )
    else:
        deviations = {planning.EVERY_TARGET: planning.Deviations(**stated)}
    found = planning.outlook(api.checked(study), deviations)
    if as_json:
        print(json.dumps({"deviations": {outcome: vars(each) for outcome, each in found.deviations.items()},
                          "comparisons": found.design.comparisons, "power": found.power.to_dicts(),
                          "changes": found.changes.to_dicts()}, indent=1))  # fmt: skip
        return
    for outcome, each in found.deviations.items():
        encoder = "not known" if each.encoder is None else f"{each.encoder:.2f}"
        noise = f", of both at once {each.noise:.2f}" if each.noise else ""
        say(f"{outcome}: SD of a gain in points: of runs {each.run:.2f}, of questions {each.example:.2f}{noise}, "
            f"between encoders {encoder}")  # fmt: skip
    design = found.design
    gains, slopes = found.power.filter(pl.col("of") == "gain"), found.power.filter(pl.col("of") == "slope")
    say(f"\nGain of a recipe on one encoder, one of {design.comparisons} comparisons (points; power after Holm's "
        "correction, at its first step):")  # fmt: skip
    _power_table(gains, of_sizes=False).print()
    if slopes.height:
        say("\nSlope of the gain over size (points per tenfold size; k − 2 degrees of freedom, not corrected):")
        _power_table(slopes, of_sizes=True).print()
    elif design.sizes < planning.ENOUGH_SIZES:
        say(f"\nSlope over size: {design.sizes} sizes tell nothing of one; {planning.ENOUGH_SIZES} do, hardly; take 5.")
    else:
        say("\nSlope over size: say --encoder-sd; the pilot has too few sizes to tell it.")
    say("\nWhat a change buys (mean half-width, ±):")
    table = Listing(("compute", "gain", "slope", "change"), right=frozenset({"compute", "gain", "slope"}))
    for row in found.changes.iter_rows(named=True):
        share = "" if row["share"] is None else f"{row['share']:+.0%}"
        table.add(share, _half(row["gain"]), _half(row["slope"]), row["change"])
    table.print()
    for what in ("gain", "slope"):
        if best := planning.best_of(found.changes, what):
            say(f"Of a {what}, {best} buys most for its compute.")


def _power_table(rows: pl.DataFrame, *, of_sizes: bool) -> Listing:
    from xstilts.analysis.power import EFFECTS

    names = [*(["sizes"] if of_sizes else []), "seeds", "questions", "half-width"]
    numbers = [*names, *(f"power at {effect:g}" for effect in EFFECTS)]
    table = Listing(("of", *numbers), right=frozenset(numbers))
    for row in rows.iter_rows(named=True):
        powers = ["" if (value := row[f"power_{effect:g}"]) is None else f"{value:.0%}" for effect in EFFECTS]
        sizes = [str(row["sizes"])] if of_sizes else []
        design = [*sizes, str(row["seeds"]), f"× {row['questions']:g}"]
        table.add(row["outcome"], *design, _half(row["half_width"]), *powers)
    return table


def _half(points: float | None) -> str:
    return "—" if points is None else f"± {points:.1f}"
