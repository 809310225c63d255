"""`xstilts report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xstilts import api
from xstilts.analysis.results import Results
from xstilts.cli.options import StoreOption
from xstilts.common.errors import UserError
from xstilts.planning.study import Study, load_study


def report(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY...", help="a study file; several with --compare")],
    compare: Annotated[
        bool, typer.Option("--compare", help="put studies side by side: the gains of what they share, on one page")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="folder to write to; `runs/<study name>`, or `runs/<name>-and-<name>`, by default"),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write report.html, charts and tables (CSV, Markdown, LaTeX) from the scores that are in the store."""
    if len(studies) > 1 and not compare:
        raise UserError(f"{len(studies)} studies: one at a time, or side by side with --compare")
    found = [api.results(study, store) for study in studies]
    if not compare:
        show(load_study(studies[0]), found[0], out or Path("runs") / found[0].name)
        return
    from xstilts.reporting.compare import compare as side_by_side
    from xstilts.reporting.compare import write_comparison

    compared = side_by_side(found)
    path = write_comparison(compared, out or Path("runs") / "-and-".join(compared.names))
    for line in compared.left_out:
        print(line)
    print(f"Report: {path}")


def show(study: Study, results: Results, out: Path) -> None:
    report = api.write(study, results, out)
    print(report.answer)
    print(f"Report: {report}")
