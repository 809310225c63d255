"""`xstilts init` and `xstilts schema`: a study file to begin with, and what an editor knows of such files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from xstilts.common.errors import UserError
from xstilts.common.units import duration
from xstilts.planning import drafts
from xstilts.planning.drafts import Wish
from xstilts.running.process import cores


def init(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="a new file")] = Path("study.yaml"),
    task: Annotated[
        list[str] | None, typer.Option(help="a target task, such as xquad; may be given several times")
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="evaluate in this language, such as sw; may be given several times; all by default"),
    ] = None,
    encoder: Annotated[str, typer.Option(help="`xstilts encoders` lists some")] = drafts.BUNDLED,
    hours: Annotated[
        float | None, typer.Option(min=0.01, help="take so many training examples that this machine needs no longer")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="XSTILTS_DATA",
            help="the folder of data files: without --task, all tasks whose files lie there; the hub by default",
        ),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="a copy of a study that comes with xstilts, such as phang2020"),
    ] = None,
) -> None:
    """Write a study file with comments, to change as you like. Asks for what it is not told, in a terminal."""
    if out.exists():
        raise UserError(f"{out}: there is such a file already; name another: `xstilts init other.yaml`")
    if of is not None:
        if task or language:
            raise UserError("--from: a copy has its own tasks and languages; leave --task and --language out")
        for path in drafts.copy(of, out):
            print(path)
        return
    if data is not None and not data.is_dir():
        raise UserError(f"--data {data}: no such folder")
    if not task and data is None:
        if not sys.stdin.isatty():
            raise UserError("give --task TASK (`xstilts tasks` lists them), --data DIR, or --from NAME")
        task, language, encoder, hours = _asked()
    targets = tuple(task) if task else drafts.targets_in(data or Path())
    found = drafts.draft(Wish(targets, tuple(language or ()), encoder, hours, data), out.stem, cores())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(found.text, encoding="utf-8")
    print(f"{out}: about {duration(3600 * found.hours)} on {cores()} cores, a guess until a first stage has been timed")
    print(f"next: xstilts plan {out}")


def schema() -> None:
    """Print the JSON schema of study files, by which an editor completes and checks them (docs/study-file.md)."""
    from xstilts.planning.schema import study_schema

    print(json.dumps(study_schema(), indent=1, ensure_ascii=False))


def _asked() -> tuple[list[str], list[str], str, float]:
    tasks = typer.prompt("Target tasks (xstilts tasks lists them)", drafts.TARGET).replace(",", " ").split()
    languages = typer.prompt("Languages (codes, or all)", "all").replace(",", " ").split()
    encoder = typer.prompt("Encoder (xstilts encoders lists some)", drafts.BUNDLED)
    hours = typer.prompt("Hours that it may take on this machine", "3", type=float)
    return tasks, [] if languages == ["all"] else languages, encoder, hours
