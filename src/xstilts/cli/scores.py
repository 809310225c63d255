"""`xstilts scores`: the tidy table on the terminal, or for a script."""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated

import polars as pl
import typer

from xstilts.analysis.scores import AXES, pivot, select
from xstilts.api import scores
from xstilts.cli.options import JsonOption, StoreOption, StudyFile
from xstilts.common.screen import Listing

#: Columns of the printed table; CSV and JSON have all.
_SHOWN = ("encoder", "recipe", "target", "language", "seed", "metric", "value", "n")

Several = list[str] | None


class TableFormat(str, Enum):
    table = "table"
    csv = "csv"
    json = "json"


def print_scores(
    study: StudyFile,
    encoder: Annotated[Several, typer.Option(help="only this encoder, by its name or label")] = None,
    recipe: Annotated[Several, typer.Option(help="only this recipe")] = None,
    target: Annotated[Several, typer.Option(help="only this target")] = None,
    language: Annotated[Several, typer.Option(help="only this language")] = None,
    family: Annotated[Several, typer.Option(help="only languages of this family, such as Turkic")] = None,
    script: Annotated[Several, typer.Option(help="only languages in this script, such as Cyrl")] = None,
    split: Annotated[Several, typer.Option(help="only this split")] = None,
    metric: Annotated[Several, typer.Option(help="only this metric, such as accuracy@3")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="only this seed")] = None,
    by: Annotated[
        str | None,
        typer.Option("--pivot", metavar="AXIS", help=f"a column for each value of: {', '.join(AXES)}"),
    ] = None,
    format: Annotated[TableFormat, typer.Option(help="how to print")] = TableFormat.table,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Print the tidy table: a row per encoder, recipe, target, language and seed; as CSV and JSON of every metric.

    With `--pivot`, a column for each value of an axis, of the main metrics; cells are means over seeds.
    """
    wanted = {"encoder": encoder, "recipe": recipe, "target": target, "language": language, "family": family,
              "script": script, "split": split, "metric": metric, "seed": seed}  # fmt: skip
    frame = scores(study, store)
    frame = select(frame, {axis: values for axis, values in wanted.items() if values})
    if by is not None:
        frame = pivot(frame if metric else frame.filter("main"), by)
    if as_json or format == TableFormat.json:
        print(json.dumps(frame.to_dicts(), indent=1))
    elif format == TableFormat.csv:
        print(frame.write_csv(), end="")
    else:
        _table(frame if by else _main(frame, of_a_metric=bool(metric))).print()


def _main(frame: pl.DataFrame, of_a_metric: bool) -> pl.DataFrame:
    shown = frame if of_a_metric else frame.filter("main")
    columns = list(_SHOWN)
    if shown["hidden_layer"].is_not_null().any():  # retrieval: no score says anything without them
        vectors = pl.format("block {}, {}", "hidden_layer", "pooling").alias("vectors")
        shown, columns = shown.with_columns(vectors), [*columns, "vectors"]
    return shown.select(columns)


def _table(frame: pl.DataFrame) -> Listing:
    numbers = frozenset(name for name, kind in frame.schema.items() if kind.is_numeric())
    table = Listing(frame.columns, right=numbers)
    for row in frame.iter_rows():
        table.add(*(f"{cell:.2f}" if isinstance(cell, float) else cell for cell in row))
    return table
