"""What Python users call: a study in, tables, pages and models out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from xstilts.analysis.gather import gather
from xstilts.analysis.results import Results
from xstilts.analysis.scores import select
from xstilts.common import html
from xstilts.common.errors import UserError, did_you_mean, within
from xstilts.common.extras import need
from xstilts.common.progress import silent
from xstilts.common.screen import console
from xstilts.planning.added import AddedSeed
from xstilts.planning.added import read as read_added
from xstilts.planning.hyperparameters import Precision
from xstilts.planning.plan import Plan
from xstilts.planning.planner import make_plan
from xstilts.planning.study import Study, load_study, make_study
from xstilts.running.display import display
from xstilts.running.run import choose, compute_stages
from xstilts.store import Store, runs
from xstilts.tasks import builtin_catalog, formats

if TYPE_CHECKING:
    from xstilts.analysis.analyse import Analysis
    from xstilts.analysis.claims import Verdict
    from xstilts.analysis.evidence import Assessment
    from xstilts.handover.exported import Exported

DEFAULT_STORE = ".xstilts/store"

#: A study as a user has it: the path of a study file, its content, or what `load_study` made of it.
AnyStudy = Study | Mapping[str, Any] | str | Path


@dataclass(frozen=True)
class Report(os.PathLike[str]):
    """A report that was written: the path of its ``page``, and its ``answer`` in words. Goes wherever a path does."""

    page: Path
    answer: str

    def __fspath__(self) -> str:
        return str(self.page)

    def __str__(self) -> str:
        return str(self.page)

    def _repr_html_(self) -> str:
        """For a notebook."""
        link = html.escape(str(self.page))
        return f'{html.paragraphs(self.answer)}<p>Report: <a href="{link}">{link}</a></p>'


def open_store(url: str | Path | None = None) -> Store:
    """The store at ``url``, else at ``XSTILTS_STORE``, else in ``.xstilts/store`` below the working folder."""
    return Store(url or os.environ.get("XSTILTS_STORE") or DEFAULT_STORE)


def checked(study: AnyStudy) -> Study:
    """Raises UserError where a file or a mapping is no study: relative paths of a mapping start from where we are."""
    if isinstance(study, Study):
        return study
    return make_study(dict(study)) if isinstance(study, Mapping) else load_study(Path(study))


def _called(study: AnyStudy) -> str:
    """In errors."""
    return str(study) if isinstance(study, str | Path) else "study"


def plan(study: AnyStudy, *, estimate: bool = False, added: Sequence[AddedSeed] = ()) -> Plan:
    """The stages that a study takes, by key; nothing is computed. Raises UserError where it or its data are wrong.

    With ``estimate``, data and encoders that are not at hand are counted as the catalog says. `precision: auto` is
    what this machine is fast in. Seeds that `xstilts run --until` ``added`` are planned too: `planning.added.read`.
    """
    return _plan(study, _fast_precision, added, estimate=estimate)


def plan_as_run(study: AnyStudy, store: Store, *, estimate: bool = False) -> Plan:
    """The plan by which the store's last run of a study computed: `precision: auto` is what it was on that machine.

    It has the seeds that were added to the study in that store.
    """
    sound = checked(study)
    last = runs.latest(store, sound.name)
    as_then = cast(Precision, last.precision) if last and last.precision else None
    return _plan(study, lambda: as_then or _fast_precision(), read_added(store, sound.name), estimate=estimate)


def _plan(
    study: AnyStudy, fast: Callable[[], Precision], added: Sequence[AddedSeed], *, estimate: bool = False
) -> Plan:
    sound = checked(study)
    try:
        return make_plan(sound, estimate=estimate, fast=fast, added=added)
    except UserError as error:
        raise within(_called(study), error) from None


def _fast_precision() -> Precision:
    if find_spec("torch") is None:
        return "fp32"  # for a plan to look at: nothing can be trained here
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, in a notebook without widgets
        from xstilts.engine.machine.device import fast_precision  # here, since it brings torch

    return fast_precision()


def run(
    study: AnyStudy, store: str | Path | None = None, workers: int | None = None, *, progress: bool = True
) -> pl.DataFrame:
    """Run what is missing of a study and give its scores, a row per encoder, recipe, target, language, seed, metric.

    ``study`` is a study file, a mapping with its content or a :class:`Study`. How far it is is shown below a notebook's
    cell, as a table on a terminal, and else as lines on standard error, unless ``progress`` is false. Interrupt it
    whenever you like: what was finished is kept, and the same call goes on. Raises UserError before any training where
    the study or its data are wrong, and RuntimeError naming the failed stages after all others ran.
    """
    opened = open_store(store)
    planned = plan(study, added=read_added(opened, checked(study).name))
    missing = planned.missing(opened, verify=True)
    shown = display(missing, console(stderr=True), planned.cells) if progress and missing else nullcontext(silent)
    with shown as listener:
        failures = compute_stages(planned, missing, opened, listener, choose("local", opened, Path(), workers=workers))
    if failures:
        labels = "; ".join(f"{planned.stages[key].label}: {reason}" for key, reason in failures.items())
        raise RuntimeError(f"{len(failures)} stages failed: {labels}")
    return gather(planned, opened).scores


def results(study: AnyStudy, store: str | Path | None = None) -> Results:
    """The results that the store has of a study. Raises UserError where it has none."""
    opened = open_store(store)
    found = gather(plan_as_run(study, opened), opened)
    name = _called(study)
    if not found.planned:
        raise UserError(
            f"{name}: no target has gold labels, so there are no scores; `xstilts submission {name} --out DIR` "
            "writes the predictions for XTREME's tasks"
        )
    if found.scores.is_empty():
        raise UserError(f"{name}: the store holds no scores of it yet; `xstilts run {name}` computes them")
    return found


def scores(study: AnyStudy, store: str | Path | None = None, **wanted: object) -> pl.DataFrame:
    """The scores that the store has of a study (SCORES_SCHEMA); nothing is computed.

    ``wanted`` filters by axis (`AXES`), by a value or several: ``scores("study.yaml", language=["de", "sw"])``. All
    metrics are there, with `main` true for each target's main one. Raises UserError where there are no scores.
    """
    frame = results(study, store).scores
    return select(frame, {axis: one if isinstance(one, list | tuple | set) else [one] for axis, one in wanted.items()})


def report(study: AnyStudy, out: str | Path | None = None, store: str | Path | None = None) -> Report:
    """Write the report of the scores that the store has of a study; gives its page, report.html, and answer in words.

    ``out`` is the folder, ``runs/<study name>`` by default. Raises UserError where there are no scores, or ``out``
    cannot be written.
    """
    sound = checked(study)
    return write(sound, results(study, store), Path(out or Path("runs") / sound.name))


def write(study: Study, found: Results, out: Path) -> Report:
    """Write the report of what was ``found`` of a study to the folder ``out``."""
    from xstilts.reporting.write import write_report

    analysis, claims, published = _analysed(study, found)
    return Report(write_report(found, out, analysis, claims, published), analysis.answer.text())


def _analysed(study: Study, results: Results) -> tuple[Analysis, Sequence[Verdict], Assessment | None]:
    """The analysis of results, the claims that their scores test, and what is published beside them."""
    from xstilts.analysis.analyse import analyse
    from xstilts.analysis.beside import evidence_beside
    from xstilts.analysis.claims import check
    from xstilts.analysis.claims_file import BUILTIN, load_claims
    from xstilts.analysis.matched import Matched
    from xstilts.analysis.published import load_published

    analysis = analyse(results)
    claims = check(load_claims(BUILTIN, study.catalog), results, analysis, catalog=study.catalog, data=study.data)
    tested = any(one.rows.height for one in claims)  # by scores: facts of the catalog alone are for `xstilts claims`
    published = evidence_beside(load_published(), Matched(results, analysis, study.catalog, study.data))
    return analysis, claims if tested else (), published


def paper(study: AnyStudy, out: str | Path, store: str | Path | None = None, *, mean: str = "non-english") -> Path:
    """Write the draft of a paper on the scores that the store has of a study; gives the path of paper.md.

    Beside it in the folder ``out`` are paper.tex, references.bib and data.csv. Scores are means over the languages that
    ``mean`` says: non-english, or all. Raises UserError where there are no scores, or ``out`` cannot be written.
    """
    from xstilts.reporting.paper import write_paper
    from xstilts.reporting.paper_table import MEANS

    if mean not in MEANS:
        raise UserError(f"mean: {mean!r}: {did_you_mean(mean, MEANS)}")
    sound = checked(study)
    found = results(study, store)
    analysis, claims, published = _analysed(sound, found)
    return write_paper(found, analysis, Path(out), claims, published, languages=MEANS[mean])


def export(
    study: AnyStudy,
    out: str | Path,
    *,
    target: str | None = None,
    encoder: str | None = None,
    recipe: str | None = None,
    seed: int | None = None,
    store: str | Path | None = None,
    onnx: bool = False,
) -> Path:
    """Write the study's best trained model, by English dev score, to the new folder ``out``, and give its path.

    Transformers opens it. ``target``, ``encoder`` (a label), ``recipe`` and ``seed`` leave fewer to choose from; a
    study of several trained targets needs ``target``. With ``onnx`` also as ONNX, checked against the model. Raises
    UserError where there is no such model yet.
    """
    need("train", "torch", "transformers")
    from xstilts.encoders.bodies import quiet
    from xstilts.handover import export as exporting

    opened = open_store(store)
    planned = plan_as_run(study, opened)
    cell = exporting.choose(planned, opened, exporting.CellFilter(target, encoder, recipe, seed))
    with quiet():
        return exporting.export(planned, opened, cell, Path(out), with_onnx=onnx)


def predict(
    model: str | Path,
    records: Iterable[Mapping[str, Any]] | str | Path,
    task: str | None = None,
    n_best: int = 1,
    *,
    threshold: float | None = None,
    batch_size: int | None = None,
    device: str | None = None,
) -> list[dict[str, Any]]:
    """Each record with its ``prediction`` by a model that `export` wrote: an answer, a label, a choice, or tags.

    ``records`` may be the path of a file: JSON lines, CSV or Parquet. A model that `export` wrote says what it is for;
    of another, ``task`` is a format (span, classification, multiple_choice, tagging) or a task of the catalog. Models
    that were trained with unanswerable questions give no answer where they are less sure than ``threshold``, 0 to 1,
    0.5 by default. With ``n_best`` (span) above 1 also with so many answers and their probabilities among all spans of
    the passage: the same for each ``n_best``, and 1 in sum at most. ``batch_size`` inputs are read at once, by default
    as many as have 4,096 tokens, on ``device``: cpu, cuda, cuda:1, mps. Raises UserError where the model or a record is
    of another kind.
    """
    need("train", "torch", "transformers")
    from xstilts.encoders.bodies import quiet
    from xstilts.handover import exported, tables
    from xstilts.handover import predict as predicting

    with quiet():
        opened = exported.load(Path(model), predicted_format(task, n_best) if task else None, device)
    if isinstance(records, str | Path):
        found = tables.read_records(Path(records), opened.format.names)
    else:
        found = tables.given(list(records))
    return list(predicting.predict(opened, found, predicting.Asked(n_best, threshold, batch_size)))


def load(folder: str | Path, *, device: str | None = None, precision: Precision = "fp32") -> Exported:
    """A model that `export` wrote, to be called: ``load(folder)(question, context)`` gives the answer.

    What it is called with goes by its format, as it prints itself in words (`Exported`). It computes in ``precision``:
    bf16 is faster on machines that have it, and is what `predict` takes there. Raises UserError where the folder is no
    such model, or not whole, or there is no such ``device``.
    """
    need("train", "torch", "transformers")
    from xstilts.encoders.bodies import quiet
    from xstilts.handover.exported import load as opened

    with quiet():
        return opened(Path(folder), None, device, precision)


def predicted_format(task: str, n_best: int = 1) -> str:
    """The format of what `predict` is asked for. Raises UserError where its models give no such predictions."""
    of_tasks = {entry.name: entry.format for entry in builtin_catalog()}
    format_name = task if task in formats.names() else of_tasks.get(task, "")
    if not format_name:
        known = {*formats.names(), *of_tasks}
        raise UserError(f"--task {task}: neither a format nor a task: {did_you_mean(task, known)}")
    if not formats.get(format_name).fields:
        raise UserError(
            f"--task {task}: {format_name} models have vectors, and no predictions to give; xstilts.load gives these"
        )
    if n_best > 1 and not formats.get(format_name).n_best:
        able = " and ".join(name for name in formats.names() if formats.get(name).n_best)
        raise UserError(f"--n-best {n_best}: for {able} models only, not for {format_name}")
    return format_name
