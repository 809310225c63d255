"""`xstilts make`: a model for a language, by a study that is written, run, judged and handed over in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from xstilts import api
from xstilts.analysis.analyse import analyse
from xstilts.analysis.answer import counted, ranged, signed
from xstilts.cli.options import StoreOption, check_writable, quiet
from xstilts.cli.run import WorkersOption, run
from xstilts.common.errors import UserError
from xstilts.common.units import duration
from xstilts.planning import drafts
from xstilts.planning.drafts import Wish
from xstilts.planning.plan import Cell
from xstilts.running.process import cores
from xstilts.tasks import read_entry


def make(
    task: Annotated[
        str,
        typer.Option(
            help=f"what it is to do: {', '.join(drafts.KINDS)}; or a task of `xstilts tasks`, or a file of one"
        ),
    ],
    language: Annotated[str, typer.Option(help="the language it is for, such as sw")],
    out: Annotated[Path, typer.Option(help="a new folder for the model")],
    data: Annotated[
        Path | None, typer.Option(envvar="XSTILTS_DATA", help="the folder of data files; the hub by default")
    ] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="what this machine may take for it, about")] = 3.0,
    encoder: Annotated[str, typer.Option(help="`xstilts encoders` lists some")] = drafts.BUNDLED,
    store: StoreOption = None,
    workers: WorkersOption = None,
) -> None:
    """Make a model for a language: try what has helped others before, keep the best by its English dev score.

    Writes a study of no and of three intermediate tasks, with as many examples as the hours allow, and runs it; its
    file and report stay in runs/make-TASK-LANGUAGE. The same command goes on where it was stopped.
    """
    if out.exists():
        raise UserError(f"--out {out}: is there already; name a new folder")
    if data is not None and not data.is_dir():
        raise UserError(f"--data {data}: no such folder")
    check_writable(out)
    target, files = _wanted(task, language, data)
    if Wish((target,), tasks=files).catalog[target].training_task is None:
        raise UserError(f"--task {task}: no model is trained for it, so that none can be chosen by its dev score")
    name = f"make-{target}-{language}"
    found = drafts.draft(Wish((target,), (language,), encoder, hours, data, files), name, cores())
    study = Path("runs") / name / "study.yaml"
    if study.exists() and study.read_text(encoding="utf-8") != found.text:
        raise UserError(f"{study}: is there, with changes or of other options; move it away, or `xstilts run` it")
    study.parent.mkdir(parents=True, exist_ok=True)
    study.write_text(found.text, encoding="utf-8")
    print(
        f"{study}: about {duration(3600 * found.hours)} on {cores()} cores, a guess until a first stage has been timed"
    )
    run(study, store=store, workers=workers)
    quiet()
    from xstilts.handover import export as exporting

    opened = api.open_store(store)
    planned = api.plan_as_run(study, opened)
    cell = exporting.choose(planned, opened, exporting.CellFilter(target))
    exporting.export(planned, opened, cell, out)
    print(f"\nModel: {out} (seed {cell.seed}, recipe {cell.recipe_label}: the best of all by its English dev score)")
    print(_expected(study, cell, language, store))
    print(f'In Python: import xstilts; model = xstilts.load("{out}"); print(model)')


def _wanted(task: str, language: str, data: Path | None) -> tuple[str, tuple[Path, ...]]:
    """The task, and the file of its entry where it is the user's own."""
    if task.endswith((".yaml", ".yml")):
        return read_entry(Path(task)).name, (Path(task),)
    if task in {entry.name for entry in Wish(()).catalog}:
        return task, ()
    return drafts.target_for(task, language, data), ()


def _expected(study: Path, cell: Cell, language: str, store: str | None) -> str:
    """What models made as the chosen one score in the language, and how much of that its recipe gave."""
    results = api.results(study, store)
    analysis = analyse(results)
    is_here = (
        (pl.col("encoder") == cell.encoder.label)
        & (pl.col("recipe") == cell.recipe_label)
        & (pl.col("target") == cell.target.task)
        & (pl.col("language") == language)
    )
    (score,) = analysis.scores.filter(is_here).iter_rows(named=True)
    said = (
        f"Expect in {language}: {score['metric']} {score['value']:.1f} ({_bounds(score)}, "
        f"{counted(score['n'], 'example')}, {counted(score['n_seeds'], 'seed')})"
    )
    for gain in analysis.gains.filter(is_here).iter_rows(named=True):
        over = ranged(gain["low"], gain["high"], gain["covers"])
        said += f"; over no intermediate task {signed(gain['gain'])} ({over})"
    said += ". It was trained on English alone."
    if results.stages.filter(pl.col("key") == cell.training, pl.col("collapsed")).height:
        said += "\nDo not use it: on English dev it is no better than guessing. Give it more --hours, or more data."
    return said


def _bounds(score: dict[str, float | None]) -> str:
    low, high = score["low"], score["high"]
    return "no interval" if low is None or high is None else f"95 % interval {low:.1f} to {high:.1f}"
