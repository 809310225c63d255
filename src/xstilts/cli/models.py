"""`xstilts export` and `xstilts predict`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from xstilts import api
from xstilts.cli.options import StoreOption, StudyFile, quiet
from xstilts.common.errors import UserError

#: Seconds between two lines of progress.
SAID_EVERY = 20.0


def predict(
    model: Annotated[Path, typer.Argument(metavar="FOLDER", help="an exported model (see `xstilts export`)")],
    task: Annotated[
        str | None,
        typer.Option(help="of a model that xstilts did not export: a format (span, classification, …) or a task"),
    ] = None,
    question: Annotated[str | None, typer.Option(help="span: the question")] = None,
    context: Annotated[str | None, typer.Option(help="span: the passage")] = None,
    input: Annotated[
        Path | None,
        typer.Option(help="records with the format's fields: .jsonl, .csv or .parquet; - for JSON lines from a pipe"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="a .jsonl, .csv or .parquet file to write; run again after a kill, it goes on"),
    ] = None,
    n_best: Annotated[int, typer.Option(min=1, help="span: also the so many best answers, with probabilities")] = 1,
    threshold: Annotated[
        float | None, typer.Option(help="no answer where less sure than this, 0 to 1 (0.5); SQuAD-v2-like models")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="inputs read at once; by default as many as hold 4,096 tokens")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest")] = None,
) -> None:
    """Use a trained model: one question on the command line, or files of records in and out."""
    format_name = api.predicted_format(task, n_best) if task else None
    if input is None and out is not None:
        raise UserError("--out: goes with --input FILE")
    if input is None and not (question and context):
        raise UserError("give --question and --context, or --input FILE")
    quiet()
    from xstilts.handover import exported, tables
    from xstilts.handover import predict as predicting

    opened = exported.load(model, format_name, device)
    asked = predicting.Asked(n_best, threshold, batch_size)
    if input is None:
        records = tables.given([{"question": question, "context": context}])
        (record,) = predicting.predict(opened, records, asked)
        if n_best == 1:
            print(record["prediction"])
        for answer in record.get("n_best", ()):
            print(f"{answer['probability']:.3f}  {answer['text'] or '(no answer)'}")
        return
    records = tables.read_records(input, opened.format.names)
    if out is None:
        for record in predicting.predict(opened, records, asked):
            sys.stdout.write(tables.json_line(record))
        return
    try:
        predicting.predict_file(opened, records, asked, out, _Said())
    except KeyboardInterrupt:
        print(f"{out}.part is kept: the same command goes on from there", file=sys.stderr)
        raise
    print(f"{out}: {len(records.rows):,} records")


class _Said:
    """Says on standard error how far it is, and when it will be done, now and then."""

    def __init__(self) -> None:
        self._begun, self._first, self._last = time.monotonic(), -1, time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if self._first < 0:
            self._first = done
            if done:
                print(f"{done:,} of {of:,} records are there from before", file=sys.stderr)
        if now - self._last >= SAID_EVERY:
            self._last = now
            left = (of - done) * (now - self._begun) / max(done - self._first, 1)
            print(f"{done:,} of {of:,} records, {left / 60:.0f} min left", file=sys.stderr)


def export(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="a new folder for the model")],
    target: Annotated[str | None, typer.Option(help="the target task; needed if there are several")] = None,
    encoder: Annotated[str | None, typer.Option(help="only this encoder, by its name or label")] = None,
    recipe: Annotated[str | None, typer.Option(help="only this recipe")] = None,
    seed: Annotated[int | None, typer.Option(help="only this seed")] = None,
    healed: Annotated[bool, typer.Option("--healed", help="the healed encoder itself, before any training")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="also as onnx/model.onnx, checked against the model")] = False,
    store: StoreOption = None,
) -> None:
    """Write the study's best trained model, by English dev score, as a folder that Transformers opens."""
    quiet()
    from xstilts.handover import export as exporting
    from xstilts.handover import usage

    opened = api.open_store(store)
    planned = api.plan_as_run(study, opened)
    if healed:
        if target or recipe or seed is not None or onnx:
            raise UserError("--healed is for the encoder itself: leave out --target, --recipe, --seed and --onnx")
        chosen = exporting.healed_encoder(planned, encoder)
        print(f"{chosen.label}: {exporting.export_healed(planned, opened, chosen, out)}")
        return
    cell = exporting.choose(planned, opened, exporting.CellFilter(target, encoder, recipe, seed))
    folder = exporting.export(planned, opened, cell, out, with_onnx=onnx)
    print(f"{cell.encoder.label}, recipe {cell.recipe_label}, target {cell.target.task}, seed {cell.seed}: {folder}")
    used = usage.read(folder)
    if used and used.abstentions:
        print(f"It may give no answer. On {used.dev_examples:,} English dev questions of its training:")
        for one in used.abstentions:
            these = "" if one.f1_answered is None else f"F1 {one.f1_answered:.1f} of these, "
            print(f"  threshold {one.threshold:g}: answers {100 * one.answered:.0f} %, {these}F1 {one.f1:.1f} of all")
