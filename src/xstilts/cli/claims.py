"""`xstilts claims`: what a study says of claims, with published results beside it. Printing, no logic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from xstilts import api
from xstilts.analysis.gather import gather
from xstilts.cli.options import JsonOption, StoreOption
from xstilts.common import markdown
from xstilts.planning.study import load_study


class ClaimsFormat(str, Enum):
    text = "text"
    csv = "csv"
    md = "md"
    json = "json"


def claims(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="a study file, such as studies/quickstart.yaml")],
    claims: Annotated[
        Path | None,
        typer.Option(help="a file of claims of your own; those of Phang et al. 2020 by default"),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(help="a CSV of published results of your own, beside those that come with xstilts"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="test effects on this encoder, by its name or label; by default the claim's, or the largest"),
    ] = None,
    format: Annotated[
        ClaimsFormat, typer.Option(help="csv: the claims alone; md and json: published results too")
    ] = ClaimsFormat.text,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Say of each claim whether the study's scores support it, with the evidence.

    Claims are supported, contradicted, undecided or not tested; docs/claims.md says by which rules. Published results
    for the same recipes and targets stand beside the study's own, and are pooled with them.
    """
    from xstilts.analysis.analyse import analyse
    from xstilts.analysis.beside import beside, own_effects
    from xstilts.analysis.claims import CLAIMS_SCHEMA, check, table
    from xstilts.analysis.claims_file import BUILTIN, load_claims
    from xstilts.analysis.evidence import RHO, assess
    from xstilts.analysis.matched import Matched
    from xstilts.analysis.published import MEAN, NON_ENGLISH, load_published

    checked = load_study(study)
    said = load_claims(claims or BUILTIN, checked.catalog)
    literature = load_published(*([published] if published else []))
    opened = api.open_store(store)
    results = gather(api.plan_as_run(study, opened), opened)
    analysis = analyse(results)
    verdicts = check(said, results, analysis, catalog=checked.catalog, data=checked.data, encoder=encoder)
    found = table(verdicts)
    matched = Matched(results, analysis, checked.catalog, checked.data)
    compared = beside(literature, matched, encoder)
    pooled = assess(literature, checked.catalog, own=own_effects(literature, matched)).pooled
    together = pooled.filter(pl.col("own") > 0, pl.col("rho") == RHO)
    if as_json or format == ClaimsFormat.json:
        rows = [
            {**row, "outcome": one.outcome, "setting": one.setting, "estimate": one.estimate,
             "rows": one.rows.to_dicts(), "stages": one.stages}
            for row, one in zip(found.to_dicts(), verdicts, strict=True)
        ]  # fmt: skip
        print(json.dumps({"study": results.name, "claims": rows, "published": compared.to_dicts(),
                          "pooled": together.to_dicts()}, indent=1, ensure_ascii=False))  # fmt: skip
    elif format == ClaimsFormat.csv:
        print(found.write_csv(), end="")
    elif format == ClaimsFormat.md:
        print(_markdown(found, list(CLAIMS_SCHEMA)[:5]))
        for name, frame, columns in (("Published results", compared, _BESIDE), ("Pooled", together, _POOLED)):
            if frame.height:
                print(f"\n{name}\n\n{_markdown(frame, columns)}")
    else:
        for row in found.iter_rows(named=True):
            print(f"{row['id']}  {row['verdict']}: {row['statement']}\n    {row['evidence']}")
        counts = found["verdict"].value_counts(sort=True, name="n").sort("n", "verdict", descending=[True, False])
        print("\n" + "; ".join(f"{n} {verdict}" for verdict, n in counts.iter_rows()))
        means = compared.filter(pl.col("language").is_in([MEAN, NON_ENGLISH]))
        for row in means.iter_rows(named=True):
            print(_published_line(row))
        if single := compared.height - means.height:
            print(f"published results for single languages: {single} (--format md or json shows them)")
        for row in together.iter_rows(named=True):
            print(_pooled_line(row))


_BESIDE = ("publication", "source", "quantity", "recipe", "target", "language", "published_encoder", "published",
           "encoder", "own_recipe", "own", "low", "high")  # fmt: skip
_POOLED = ("recipe", "target", "metric", "setting", "k", "own", "gain", "low", "high", "predicted_low",
           "predicted_high", "tau2", "i2", "q", "q_p")  # fmt: skip


def _published_line(row: dict[str, Any]) -> str:
    sign = "+" if row["quantity"] == "gain" else ""
    number = "{:" + sign + ".1f}"
    return (
        f"published {row['quantity']}: {row['recipe']} on {row['target']} ({row['language']}), "
        f"{number.format(row['published'])} on {row['published_encoder']} ({row['publication']}); "
        f"here {number.format(row['own'])} ({number.format(row['low'])} to {number.format(row['high'])}) "
        f"on {row['encoder']}, {row['own_recipe']}"
    )


def _pooled_line(row: dict[str, Any]) -> str:
    what = "pooled: {recipe} on {target} ({metric}), {k} gains, {own} of them here: "
    mean = "{gain:+.1f} ({low:+.1f} to {high:+.1f})"
    rest = "" if row["tau2"] is None else ", τ² {tau2:.2f}, I² {i2:.0f} %, Q {q:.2f} (p {q_p:.2g})"
    return (what + mean + rest).format(**row)


def _markdown(frame: pl.DataFrame, columns: Sequence[str]) -> str:
    def cell(value: object) -> str:
        return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)

    return markdown.table(columns, (map(cell, row) for row in frame.select(columns).iter_rows()))
