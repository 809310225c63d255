"""`xstilts submission` and `xstilts score`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from xstilts import api
from xstilts.cli.options import JsonOption, StoreOption, StudyFile
from xstilts.common.screen import Listing


def submission(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="the folder of predictions: new, or one to add tasks to")],
    target: Annotated[str | None, typer.Option(help="only this target")] = None,
    encoder: Annotated[str | None, typer.Option(help="only this encoder, by its name or label")] = None,
    recipe: Annotated[str | None, typer.Option(help="only this recipe")] = None,
    seed: Annotated[int | None, typer.Option(help="only this seed")] = None,
    store: StoreOption = None,
) -> None:
    """Write XTREME's prediction folder: for each target the predictions of the best model, by English dev score.

    The files are read again and checked as XTREME's evaluate.py reads them. What a whole submission has and the
    study has not is said; the rest is written.
    """
    from xstilts.handover import submission as submitting

    opened = api.open_store(store)
    done = submitting.write(
        api.plan_as_run(study, opened), opened, out, submitting.CellFilter(target, encoder, recipe, seed)
    )
    for line in done.written:
        print(line)
    for line in done.gaps:
        print(f"note: {line}", file=sys.stderr)
    whole = "a whole XTREME submission" if not done.gaps else "no whole XTREME submission, the notes say what it lacks"
    print(f"{out}: {whole}")


def score(
    predictions: Annotated[Path, typer.Argument(help="a folder in XTREME's layout (see `xstilts submission`)")],
    labels: Annotated[Path, typer.Argument(help="a folder of gold in the same layout; SQuAD's for questions")],
    partial: Annotated[
        bool, typer.Option("--partial", help="mean over the languages that both folders have, not over XTREME's")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a prediction folder: the same numbers and averages as XTREME's evaluate.py."""
    from xstilts.handover.evaluate import evaluate

    found = evaluate(predictions, labels, partial=partial)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(found.scores | ({"capped": found.capped} if found.capped else {}), indent=2))
        return
    table = Listing(("task", "metric", "mean", "by language"), right=frozenset({"mean"}))
    for name, scored in found.scores.items():
        if not isinstance(scored, dict):
            table.add(name, "", f"{scored:.2f}", "")
            continue
        table.add(f"{name} (capped)" if name in found.capped else name, "", f"{scored['avg_metric']:.2f}", "")
        for metric, values in scored.items():
            if isinstance(values, dict):
                by_language = "  ".join(f"{language} {value:.2f}" for language, value in values.items())
                table.add("", metric, f"{scored[f'avg_{metric}']:.2f}", by_language)
    table.print()
