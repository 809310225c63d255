"""`xstilts export` and `xstilts predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from xstilts import api
from xstilts.cli.options import StoreOption, StudyFile, quiet
from xstilts.common.errors import UserError


def predict(
    model: Annotated[Path, typer.Argument(metavar="FOLDER", help="an exported model (see `xstilts export`)")],
    task: Annotated[str, typer.Option(help="a format (span, classification, multiple_choice, tagging) or a task")],
    question: Annotated[str | None, typer.Option(help="span: the question")] = None,
    context: Annotated[str | None, typer.Option(help="span: the passage")] = None,
    input: Annotated[
        Path | None,
        typer.Option(help="a JSON lines file of records with the format's fields, - for standard input"),
    ] = None,
    n_best: Annotated[int, typer.Option(min=1, help="span: also the so many best answers, with probabilities")] = 1,
) -> None:
    """Use a trained model: one question on the command line, or a JSON lines file in and out."""
    api.predicted_format(task, n_best)
    if input is not None:
        records: Path | list[dict[str, str]] = input
    elif question and context:
        records = [{"question": question, "context": context}]
    else:
        raise UserError("give --question and --context, or --input FILE.jsonl")
    quiet()
    for record in api.predict(model, records, task, n_best):
        if input is not None:
            print(json.dumps(record, ensure_ascii=False))
        elif n_best > 1:
            for answer in record["n_best"]:
                print(f"{answer['probability']:.3f}  {answer['text']}")
        else:
            print(record["prediction"])


def export(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="a new folder for the model")],
    target: Annotated[str | None, typer.Option(help="the target task; needed if there are several")] = None,
    encoder: Annotated[str | None, typer.Option(help="only this encoder, by its name or label")] = None,
    recipe: Annotated[str | None, typer.Option(help="only this recipe")] = None,
    seed: Annotated[int | None, typer.Option(help="only this seed")] = None,
    healed: Annotated[bool, typer.Option("--healed", help="the healed encoder itself, before any training")] = False,
    store: StoreOption = None,
) -> None:
    """Write the study's best trained model, by English dev score, as a folder that Transformers opens."""
    quiet()
    from xstilts.handover import export as exporting

    opened = api.open_store(store)
    planned = api.plan_as_run(study, opened)
    if healed:
        if target or recipe or seed is not None:
            raise UserError("--healed is for the encoder itself, which has no target, recipe or seed; leave them out")
        chosen = exporting.healed_encoder(planned, encoder)
        print(f"{chosen.label}: {exporting.export_healed(planned, opened, chosen, out)}")
        return
    cell = exporting.choose(planned, opened, exporting.CellFilter(target, encoder, recipe, seed))
    folder = exporting.export(planned, opened, cell, out)
    print(f"{cell.encoder.label}, recipe {cell.recipe_label}, target {cell.target.task}, seed {cell.seed}: {folder}")
