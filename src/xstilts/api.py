"""What Python users call: a study file in, tables out."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from xstilts.analysis.gather import gather
from xstilts.analysis.results import Results
from xstilts.analysis.scores import select
from xstilts.common.errors import UserError
from xstilts.planning.plan import Plan
from xstilts.planning.planner import make_plan
from xstilts.planning.study import Study, load_study
from xstilts.running.run import choose, execute
from xstilts.store import Store

DEFAULT_STORE = ".xstilts/store"


def open_store(url: str | Path | None = None) -> Store:
    """The store at ``url``, else at ``XSTILTS_STORE``, else in ``.xstilts/store`` below the working folder."""
    return Store(url or os.environ.get("XSTILTS_STORE") or DEFAULT_STORE)


def run(study: Study | str | Path, store: str | Path | None = None, workers: int | None = None) -> pl.DataFrame:
    """Run what is missing of a study and give its scores, a row per encoder, recipe, target, language, seed, metric.

    ``study`` is a study file or a :class:`Study`. Raises UserError before any training where the study or its data
    are wrong, and RuntimeError naming the failed stages after all others ran.
    """
    checked = study if isinstance(study, Study) else load_study(Path(study))
    place = open_store(store)
    plan = make_plan(checked)
    outcome = execute(plan, place, make=choose("local", place, Path(), workers=workers))
    if outcome.failures:
        labels = "; ".join(f"{plan.stages[key].label}: {reason}" for key, reason in outcome.failures.items())
        raise RuntimeError(f"{len(outcome.failures)} stages failed: {labels}")
    return gather(plan, place).scores


def plan_of(study: Path, *, estimate: bool = False) -> Plan:
    """The plan of a study file. Raises UserError, which names the file."""
    checked = load_study(study)
    try:
        return make_plan(checked, estimate=estimate)
    except UserError as error:
        raise UserError(f"{study}: {error}") from None


def results_of(study: Path, store: str | Path | None = None) -> Results:
    """The results that the store has of a study file. Raises UserError where it has none."""
    results = gather(plan_of(study), open_store(store))
    if not results.planned:
        raise UserError(
            f"{study}: no target has gold labels, so there are no scores; `xstilts submission {study} --out DIR` "
            "writes the predictions for XTREME's tasks"
        )
    if results.scores.is_empty():
        raise UserError(f"{study}: the store holds no scores of it yet; `xstilts run {study}` computes them")
    return results


def scores(study: str | Path, store: str | Path | None = None, **wanted: object) -> pl.DataFrame:
    """The scores that the store has of a study file (SCORES_SCHEMA); nothing is computed.

    ``wanted`` filters by axis (`AXES`), by a value or several: ``scores("study.yaml", language=["de", "sw"])``. All
    metrics are there, with `main` true for each target's main one. Raises UserError where there are no scores.
    """
    frame = results_of(Path(study), store).scores
    return select(frame, {axis: one if isinstance(one, list | tuple | set) else [one] for axis, one in wanted.items()})
