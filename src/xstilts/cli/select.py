"""`xstilts select`: rank recipes without running them all. Printing, no logic."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.text import Text

from xstilts.api import open_store, plan_as_run
from xstilts.cli.options import JsonOption, StoreOption, StudyFile
from xstilts.common.screen import Listing, console, say
from xstilts.common.units import flops_in_one_unit, in_one_unit
from xstilts.planning.plan import Plan, Stage
from xstilts.planning.recipe import NONE
from xstilts.running.display import display
from xstilts.running.run import choose, compute_stages

#: Beside the rank of a recipe that scores below `none`.
WORSE = "↓"


def select(
    study: StudyFile,
    target: Annotated[
        list[str] | None,
        typer.Option(help="only for this target; may be given several times"),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="of textemb, taskemb, logme, hscore, esm and fewshot, with commas between; all by default"),
    ] = None,
    examples: Annotated[int, typer.Option(min=8, help="English training examples of each task to look at")] = 200,
    train: Annotated[
        bool, typer.Option("--train", help="train the recipes that are not in the store: most methods need them")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="trainings that run at the same time; one a core, or one a GPU, by default"),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank the recipes of a study for each target from cheap evidence, before running them all.

    Only English training data is looked at. Where runs are in the store, how good the rankings are is printed too.
    See docs/select.md for what each method is and when to believe it.
    """
    from xstilts.selection import select as selecting

    chosen = selecting.methods_named(methods)
    place = open_store(store)
    plan = plan_as_run(study, place)
    progress = console(stderr=True)
    make = choose("local", place, Path(), workers=workers)

    status = progress.status("reading")

    def compute(plan: Plan, stages: Sequence[Stage]) -> dict[str, str]:
        status.stop()  # a console shows one thing at a time
        try:
            with display(stages, progress) as shown:
                return compute_stages(plan, stages, place, shown, make)
        finally:
            status.start()

    try:
        with status:
            found = selecting.select(
                plan, place, compute, methods=chosen, targets=target, examples=examples, train=train,
                told=lambda event: status.update(Text(event.text)),
            )  # fmt: skip
    except KeyboardInterrupt:
        say("interrupted; the trainings that were finished are kept, and the same command goes on", stderr=True)
        raise typer.Exit(130) from None
    if as_json:
        tables = {"ranking": found.ranking, "truth": found.truth, "agreement": found.agreement, "costs": found.costs}
        facts = {"study": plan.study.name, "examples": examples, "seed": plan.study.seeds[0]}
        rows = {name: table.to_dicts() for name, table in tables.items()}
        print(json.dumps({**facts, **rows, "grid_flops": found.grid_flops, "notes": found.notes}, indent=1))
        return
    for table in _rankings(found.ranking, found.truth):
        table.print()
        print()
    if not found.ranking.is_empty():
        rest = "; gain: zero-shot, in points, of the runs in the store" if len(found.truth) else ""
        say(f"1 is the best; {WORSE}: below {NONE}{rest}; scores: --json\n")
    if not found.agreement.is_empty():
        _agreement(found.agreement).print()
        print()
    if not found.ranking.is_empty():
        _costs(found.costs, found.grid_flops).print()
    for note in found.notes:
        say(f"note: {note}")


def _rankings(ranking: pl.DataFrame, truth: pl.DataFrame) -> list[Listing]:
    """One an encoder and target: a row a recipe, a column a method."""
    tables = []
    for (encoder, target), part in ranking.group_by("encoder", "target", maintain_order=True):
        gained = truth.filter((pl.col("encoder") == encoder) & (pl.col("target") == target))
        gains = dict(gained.select("recipe", "gain").rows())
        by_method = {
            own["method"][0]: {
                recipe: (score, rank) for recipe, score, rank in own.select("recipe", "score", "rank").rows()
            }
            for own in part.partition_by("method", maintain_order=True)
        }
        last = list(by_method.values())[-1]  # the mean rank, where there is one
        recipes = part.filter(pl.col("recipe") != NONE)["recipe"].unique(maintain_order=True).to_list()
        numbers = [*by_method, *(["gain"] if gains else [])]
        table = Listing(("recipe", *numbers), right=frozenset(numbers), title=f"{target}, {encoder}")
        for recipe in sorted(recipes, key=lambda recipe: last[recipe][1] if recipe in last else len(recipes)):
            cells = [_cell(scores, recipe) for scores in by_method.values()]
            gain = [f"{gains[recipe]:+.1f}" if recipe in gains else ""] if gains else []
            table.add(recipe, *cells, *gain)
        tables.append(table)
    return tables


def _cell(scores: Mapping[str, tuple[float, int]], recipe: str) -> str:
    """The rank, and whether the method thinks worse of the recipe than of none."""
    if recipe not in scores:
        return ""
    score, rank = scores[recipe]
    return f"{rank}{WORSE if NONE in scores and score < scores[NONE][0] else ''}"


def _agreement(agreement: pl.DataFrame) -> Listing:
    """Means over encoders and targets."""
    means = agreement.group_by("method", maintain_order=True).agg(
        pl.len().alias("rankings"), pl.col("n").min(), *(pl.col(name).mean() for name in
        ("regret_1", "regret_3", "spearman", "kendall")),
    )  # fmt: skip
    title = "against the gains of the runs in the store (regret in points; means over encoders and targets)"
    numbers = ("rankings", "recipes", "regret@1", "regret@3", "Spearman", "Kendall")
    table = Listing(("method", *numbers), right=frozenset(numbers), title=title)
    for method, rankings, n, *values in means.iter_rows():
        table.add(method, str(rankings), str(n), *("—" if value is None else f"{value:.2f}" for value in values))
    return table


def _costs(costs: pl.DataFrame, grid: float) -> Listing:
    flop, operations = flops_in_one_unit([grid, *costs["flops"], *costs["training_flops"]])
    time, seconds = in_one_unit(costs["seconds"].to_list())
    title = f"cost; the full grid, of all recipes, encoders and seeds, is estimated at {operations[0]} {flop}"
    numbers = (flop, f"time ({time})", f"recipes trained before ({flop})", "sum of the grid")
    table = Listing(("method", *numbers), right=frozenset(numbers), title=title)
    own, before = operations[1 : 1 + costs.height], operations[1 + costs.height :]
    for row, *cells in zip(costs.iter_rows(named=True), own, seconds, before, strict=True):
        share = f"{(row['flops'] + row['training_flops']) / grid:.1%}" if grid else ""
        table.add(row["method"], *cells, share)
    return table
