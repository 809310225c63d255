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
from xstilts.cli.options import JsonOption, StoreOption, StudyFile
from xstilts.common import markdown
from xstilts.common.screen import say
from xstilts.planning.study import load_study


class ClaimsFormat(str, Enum):
    text = "text"
    csv = "csv"
    md = "md"
    json = "json"


def claims(
    study: StudyFile,
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

    Claims are supported, contradicted, undecided, not comparable or not tested; docs/claims.md says by which rules.
    What is said of catalog, data and set-up stands apart. Published results for the same recipes and targets stand
    beside the study's own, and are pooled with them.
    """
    from xstilts.analysis.analyse import analyse
    from xstilts.analysis.beside import beside, own_effects
    from xstilts.analysis.claims import CLAIMS_SCHEMA, EVIDENCE, SETUP, check, table
    from xstilts.analysis.claims_file import BUILTIN, load_claims
    from xstilts.analysis.evidence import RHO, assess
    from xstilts.analysis.matched import Matched
    from xstilts.analysis.published import MEAN, NON_ENGLISH, load_published

    checked = load_study(study)
    said = load_claims(claims or BUILTIN, checked.catalog)
    literature = load_published(*([published] if published else []))
    opened = api.open_store(store)
    results = gather(api.plan_as_run(study, opened), opened)
    unscored = results.scores.is_empty()
    if unscored:
        say(f"{study}: nothing of it is scored yet, so it tests no claim; `xstilts run {study}` first", stderr=True)
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
            for row, one in zip(found.to_dicts(), sorted(verdicts, key=lambda one: one.group), strict=True)
        ]  # fmt: skip
        print(json.dumps({"study": results.name, "claims": rows, "published": compared.to_dicts(),
                          "pooled": together.to_dicts()}, indent=1, ensure_ascii=False))  # fmt: skip
    elif format == ClaimsFormat.csv:
        print(found.write_csv(), end="")
    elif format == ClaimsFormat.md:
        columns = [name for name in CLAIMS_SCHEMA if name not in ("group", "low", "high")]
        parts = [("", found.filter(group=EVIDENCE), columns), (_SETUP, found.filter(group=SETUP), columns)]
        parts += [("Published results", compared, [*_BESIDE]), ("Pooled", together, [*_POOLED])]
        print("\n".join(f"{name}\n\n{_markdown(frame, of)}\n" if name else f"{_markdown(frame, of)}\n"
                        for name, frame, of in parts if frame.height).rstrip())  # fmt: skip
    else:
        for name, group in ((("", EVIDENCE),) if not unscored else ()) + ((f"{_SETUP}:", SETUP),):
            own = found.filter(group=group)
            if name and own.height:
                print(name)
            for row in own.iter_rows(named=True):
                print(f"{row['id']}  {row['verdict']}: {row['statement']}\n    {row['evidence']}")
            if own.height:
                outcomes = own["verdict"].str.replace(r" \(here:.*", "")
                counts = outcomes.value_counts(sort=True, name="n").sort("n", "verdict", descending=[True, False])
                print("; ".join(f"{n} {verdict}" for verdict, n in counts.iter_rows()) + "\n")
        means = compared.filter(pl.col("language").is_in([MEAN, NON_ENGLISH]))
        for row in means.iter_rows(named=True):
            print(_published_line(row))
        if single := compared.height - means.height:
            print(f"published results for single languages: {single} (--format md or json shows them)")
        for row in together.iter_rows(named=True):
            print(_pooled_line(row))


_SETUP = "Setup, no evidence: what is said of the catalog, the data and how studies are made"
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
