"""The report of a study: one page that works from disk, charts, and tables for papers and spreadsheets."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from xstilts.analysis.analyse import Analysis, analyse
from xstilts.analysis.answer import QUESTION, counted, signed
from xstilts.analysis.evidence import Assessment
from xstilts.analysis.results import Results
from xstilts.common.errors import UserError
from xstilts.common.units import bytes_in_one_unit, in_one_unit
from xstilts.reporting.charts import CHARTED_TARGETS, all_charts
from xstilts.reporting.drawing import Chart
from xstilts.reporting.evidence import Section, section
from xstilts.reporting.table import Number, Table, latex, markdown, shortened
from xstilts.reporting.tables import INTERVALS, Verdict, all_tables

# The page is cut to what people read, so that it stays under 10 MB however large the study; the files are complete.
#: Cells of the tables of one kind.
CELLS = 4000
_STAGES_LISTED = 200
_DATA_LISTED = 300
_MISSING_LISTED = 30
_CAVEATS_OPEN = 16  # further ones are folded: in a study with much collapse most are single trainings


def write_report(
    results: Results,
    out: Path,
    analysis: Analysis | None = None,
    claims: Sequence[Verdict] = (),
    published: Assessment | None = None,
) -> Path:
    """Write report.html, scores.parquet, scores.csv, tables/ and charts/ to ``out``, and return the page's path.

    ``analysis`` saves the time to analyse the results again; ``published`` is what stands beside them. Raises UserError
    where ``out`` cannot be written.
    """
    analysis = analysis or analyse(results)
    charts, beside = list(all_charts(results, analysis)), section(published) if published else None
    return publish(out, lambda new: _write(results, analysis, claims, charts, beside, new))


def write_evidence(published: Assessment, out: Path, asked: str) -> Path:
    """Write the page ``out``, which is one file, and return its path. Raises UserError where it cannot be written."""
    page = environment().get_template("evidence.html.j2").render(evidence=section(published), asked=asked)
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror or error}; name another file") from None
    return out


def publish(out: Path, write: Callable[[Path], None]) -> Path:
    """Have ``write`` fill a new folder beside the former report in ``out``, then put its parts in place, the page last.

    Returns the path of report.html. Raises UserError where ``out`` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=out) as name:
            new, old = Path(name) / "new", Path(name) / "old"
            new.mkdir()
            old.mkdir()
            write(new)
            for part in sorted(new.iterdir(), key=lambda part: part.suffix == ".html"):
                # A folder cannot replace one that holds files: the former one steps aside first.
                if (out / part.name).is_dir():
                    os.replace(out / part.name, old / part.name)
                os.replace(part, out / part.name)
    except OSError as error:
        raise UserError(f"{out}: cannot write the report: {error.strerror or error}; give another --out") from error
    return out / "report.html"


def page(
    results: Results,
    analysis: Analysis,
    charts: list[Chart],
    tables: Mapping[str, list[Table]],
    beside: Section | None = None,
) -> str:
    """The report as one HTML page; everything in it that comes from the study is escaped."""
    by_name = {chart.name: chart for chart in charts}

    def those(kind: str) -> list[Chart]:
        return [chart for chart in charts if chart.name.startswith(kind)]

    def only(name: str) -> Table | None:
        return _Shown.of(tables[name]).tables[0] if name in tables else None

    return (
        environment()
        .get_template("report.html.j2")
        .render(
            results=results,
            study_yaml=yaml.safe_dump(results.study.content(), sort_keys=False, allow_unicode=True),
            answer=analysis.answer,
            axes=analysis.axes,
            question=QUESTION,
            intervals=INTERVALS.replace("`", ""),
            overview=by_name.get("overview"),
            gains_map=by_name.get("gains"),
            forests=those("forest-"),
            language_maps=those("gains-"),
            size_charts=those("size-"),
            choices_chart=by_name.get("choices"),
            score_charts=those("scores-"),
            curves=those("curves-"),
            charted_targets=CHARTED_TARGETS,
            left_out_targets=len(analysis.axes.targets) > CHARTED_TARGETS,
            comparisons=only("comparisons"),
            sizes_table=only("sizes"),
            choices_table=only("choices"),
            learnt_table=only("learnt"),
            claims_tables=_Shown.of(tables.get("claims", [])).tables,
            evidence=beside,
            gaps_table=only("gaps"),
            averaging_table=only("averaging"),
            paper=_Shown.of(tables.get("paper", [])),
            gains=_Shown.of(tables["gains"]),
            scores=_Shown.of(tables["scores"]),
            blocks=_Shown.of(tables.get("blocks", [])),
            most_missing=_MISSING_LISTED,
            most_caveats=_CAVEATS_OPEN,
            costs=costs(results.stages),
            stages=results.stages.sort("seconds", descending=True, nulls_last=True).head(_STAGES_LISTED).to_dicts(),
            n_stages=results.stages.height,
            data=results.data.head(_DATA_LISTED).to_dicts(),
            n_data=results.data.height,
            counted=counted,
        )
    )


def html(tables: Sequence[Table]) -> str:
    """The tables alone, for a page of somebody's own; what they hold is escaped."""
    macros: Any = environment().get_template("macros.html.j2").module
    return "\n".join(macros.numbers(table).strip() for table in tables) + "\n"


@cache
def environment() -> Environment:
    """Where the pages' templates are filled: what they are given is escaped."""
    filled = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_resource),
    )
    filled.filters |= {
        "in_one_unit": in_one_unit,
        "bytes_in_one_unit": bytes_in_one_unit,
        "count": count,
        "signed": signed,
        "inline": _inline,
    }
    filled.tests["number"] = lambda entry: isinstance(entry, Number)
    script = _resource("page.js")
    filled.globals["style"], filled.globals["script"] = Markup(_resource("style.css")), Markup(script)
    filled.globals["script_digest"] = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return filled


@dataclass(frozen=True)
class _Shown:
    """The tables that the page has room for, and how many more there are."""

    tables: list[Table]
    left_out: int

    @classmethod
    def of(cls, tables: Sequence[Table]) -> _Shown:
        return cls(*shortened(tables, CELLS))


def _inline(chart: Chart) -> Markup:
    return Markup(chart.inline())


def count(number: float | None) -> str:
    """A count for people: 1,234, or 1.2 · 10¹⁵ where nobody reads the digits."""
    if number is None:
        return ""
    if number < 1e9:
        return f"{number:,.0f}"
    mantissa, exponent = f"{number:.1e}".split("e+")
    return f"{mantissa} · 10{str(int(exponent)).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _write(
    results: Results,
    analysis: Analysis,
    claims: Sequence[Verdict],
    charts: list[Chart],
    beside: Section | None,
    new: Path,
) -> None:
    results.scores.write_parquet(new / "scores.parquet")
    results.scores.write_csv(new / "scores.csv")
    write_charts([*charts, *(beside.charts if beside else ())], new)
    tables = all_tables(results, analysis, claims)
    if beside:
        tables |= {name: (frame, [table]) for name, (frame, table) in beside.tables.items()}
    write_tables(tables, new)
    analysis.size_points.write_csv(new / "tables" / "size-points.csv")
    analysis.size_lines.write_csv(new / "tables" / "size-lines.csv")
    results.stages.write_csv(new / "tables" / "stages.csv")
    results.data.write_csv(new / "tables" / "data.csv")
    (new / "report.html").write_text(
        page(results, analysis, charts, {name: those for name, (_, those) in tables.items()}, beside), encoding="utf-8"
    )


def write_charts(charts: Sequence[Chart], out: Path) -> None:
    (out / "charts").mkdir()
    for chart in charts:
        (out / "charts" / f"{chart.name}.svg").write_text(chart.standalone(), encoding="utf-8")
        (out / "charts" / f"{chart.name}.png").write_bytes(chart.png())


def write_tables(tables: Mapping[str, tuple[pl.DataFrame, list[Table]]], out: Path) -> None:
    """Each frame as CSV, its tables as Markdown and LaTeX."""
    (out / "tables").mkdir()
    for name, (frame, those) in tables.items():
        frame.write_csv(out / "tables" / f"{name}.csv")
        (out / "tables" / f"{name}.md").write_text(markdown(those), encoding="utf-8")
        (out / "tables" / f"{name}.tex").write_text(latex(those), encoding="utf-8")


def costs(stages: pl.DataFrame) -> list[dict[str, Any]]:
    """Totals by kind of stage, and over all; tokens a second over the stages that count both."""
    if not stages.height:
        return []
    timed = (pl.col("seconds") > 0) & pl.col("tokens").is_not_null()

    def total(name: str) -> pl.Expr:  # null, not 0, where nothing was counted
        return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)

    totals = [
        pl.len().alias("stages"),
        (pl.col("state") == "done").sum().alias("done"),
        total("seconds"),
        total("tokens"),
        (pl.col("tokens").filter(timed).sum() / pl.col("seconds").filter(timed).sum()).alias("rate"),
        total("flops"),
        pl.col("peak_memory").max(),
    ]
    by_kind = stages.group_by("kind", maintain_order=True).agg(totals)
    over_all = stages.select(pl.lit("all").alias("kind"), *totals).head(1)
    return pl.concat([by_kind, over_all]).fill_nan(None).to_dicts()


@cache
def _resource(name: str) -> str:
    return (files("xstilts.reporting") / name).read_text(encoding="utf-8")
