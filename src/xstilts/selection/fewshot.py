"""The few-shot proxy: the target itself, trained on few examples after each recipe and scored on English dev data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from xstilts.planning import records
from xstilts.planning.plan import Plan
from xstilts.planning.planner import make_plan
from xstilts.planning.records import ModelRecord
from xstilts.planning.study import Study, TargetEntry
from xstilts.store import Store

#: Dev examples that a model is scored on at most; half of them right, the standard error is 2.2 points.
DEV_EXAMPLES = 500

#: (encoder, recipe, target) → key of the training stage.
Stages = dict[tuple[str, str, str], str]


def make(plan: Plan, chosen: Collection[str], examples: int) -> tuple[Plan, Stages]:
    """A plan like ``plan`` whose targets are trained on ``examples``, and its training stages of the first seed.

    The stages before them are the study's own. Poth et al. 2021 (arXiv 2104.08247) train 5 to 50 steps of 20 examples
    (run_few_shot.py); here it is as many epochs as the study has, with its schedule.
    """
    study = plan.study
    targets = tuple(_shortened(study, target, examples) for target in study.targets)
    less = study.model_copy(update={"targets": targets, "seeds": study.seeds[:1], "average": None})
    short = make_plan(less, fast=lambda: plan.auto or "fp32")
    cells = (cell for cell in short.cells if cell.target.task in chosen and cell.training)
    return short, {(cell.encoder.label, cell.recipe, cell.target.task): str(cell.training) for cell in cells}


def _shortened(study: Study, target: TargetEntry, examples: int) -> TargetEntry:
    """All targets are, chosen or not: what they are evaluated on decides which examples recipes may train on."""
    trained_on = study.catalog[target.task].training_task
    if trained_on is None:
        return target
    hyper = study.hyperparameters(study.catalog[trained_on], target.training)
    caps = {
        "max_train_examples": min(examples, hyper.max_train_examples or examples),
        "max_dev_examples": min(DEV_EXAMPLES, hyper.max_dev_examples or DEV_EXAMPLES),
    }
    return target.model_copy(update={"training": {**target.training, **caps}})


@dataclass(frozen=True)
class FewShotScore:
    """Of one few-shot training: the dev score in points, and what it took."""

    dev: float
    flops: float
    seconds: float


def score(store: Store, stage: str) -> FewShotScore | None:
    """None where the stage is not in the store: it failed."""
    record = records.peek(store, stage)
    return FewShotScore(record.dev, record.flops or 0.0, record.seconds) if isinstance(record, ModelRecord) else None
