"""The recipes of a study, ranked for each encoder and target by each method; the cost; and, where known, the truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.stats import rankdata

from xstilts.analysis.gather import gather
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.progress import Event, Sink, silent
from xstilts.planning.plan import Cell, Merge, Plan, Stage, Train
from xstilts.planning.recipe import NONE
from xstilts.running.run import compute_stages
from xstilts.selection import fewshot
from xstilts.selection.agreement import agreement, by_chance, gains
from xstilts.store import Store

if TYPE_CHECKING:
    from xstilts.selection.evidence import Contender, Evidence, Question

#: A method's score of each recipe. A score says nothing by itself: only the order that it gives does.
RANKING_SCHEMA = {
    "encoder": pl.String,
    "target": pl.String,
    "method": pl.String,
    "recipe": pl.String,
    "score": pl.Float64,  # higher is better
    "rank": pl.Int64,  # 1 is the best; the same where scores are; null of `none`, which is no candidate
}

#: What the runs in the store have shown.
TRUTH_SCHEMA = {
    "encoder": pl.String,
    "target": pl.String,
    "recipe": pl.String,
    "gain": pl.Float64,  # points over `none`, mean over languages other than English and over seeds
}

#: How each ranking compares with it; the method `CHANCE` is what a random order is expected to have.
AGREEMENT_SCHEMA = {
    "encoder": pl.String,
    "target": pl.String,
    "method": pl.String,
    "n": pl.Int64,  # recipes compared
    "regret_1": pl.Float64,  # points
    "regret_3": pl.Float64,
    "spearman": pl.Float64,
    "kendall": pl.Float64,
}

#: Over all encoders and targets.
COST_SCHEMA = {
    "method": pl.String,
    "flops": pl.Float64,  # counted, of the method used alone
    "seconds": pl.Float64,  # measured
    "training_flops": pl.Float64,  # estimated, of the recipes' training that it needs before, whoever has done it
}

#: Of each task, that are looked at.
EXAMPLES = 200

#: The order by the mean of the methods' ranks, and a random one.
MEAN_RANK, CHANCE = "mean rank", "chance"


@dataclass(frozen=True)
class Method:
    """``trained``: whether it needs the encoders that the recipes leave, and so can score `none` as well."""

    name: str
    trained: bool
    source: str


METHODS = {
    method.name: method
    for method in (
        Method("textemb", False, "Vu et al. 2020, arXiv 2005.00770"),
        Method("taskemb", False, "Vu et al. 2020, arXiv 2005.00770"),
        Method("logme", True, "You et al. 2021, arXiv 2102.11005"),
        Method("hscore", True, "Bao et al. 2019, ICIP; shrunk: Ibrahim et al. 2022, arXiv 2110.06893"),
        Method("esm", True, "Schulte et al. 2024, arXiv 2410.15148"),
        Method("fewshot", True, "Poth et al. 2021, arXiv 2104.08247"),
    )
}


@dataclass(frozen=True)
class Selection:
    """``notes`` say what could not be ranked, and why."""

    ranking: pl.DataFrame  # RANKING_SCHEMA
    truth: pl.DataFrame  # TRUTH_SCHEMA
    agreement: pl.DataFrame  # AGREEMENT_SCHEMA
    costs: pl.DataFrame  # COST_SCHEMA
    grid_flops: float  # estimated, of the study's runs of these targets: all recipes, encoders and seeds
    notes: tuple[str, ...]


def methods_named(names: str | None) -> tuple[Method, ...]:
    """Those of a list with commas, in the order of `METHODS`; all by default. Raises UserError."""
    wanted = [name.strip() for name in names.split(",")] if names is not None else list(METHODS)
    for name in wanted:
        if name not in METHODS:
            raise UserError(f"--methods {name}: no method of selection: {did_you_mean(name, METHODS)}")
    return tuple(method for name, method in METHODS.items() if name in wanted)


#: Computes stages of a plan into the store; gives key → reason of those that failed.
ComputeStages = Callable[[Plan, Sequence[Stage]], dict[str, str]]


def select(
    plan: Plan,
    store: Store,
    compute: ComputeStages | None = None,
    *,
    methods: Sequence[Method] = tuple(METHODS.values()),
    targets: Sequence[str] | None = None,
    examples: int = EXAMPLES,
    train: bool = False,
    told: Sink = silent,
) -> Selection:
    """Rank the recipes of a study before each of ``targets`` (all by default), for each encoder, by each method.

    No more than ``examples`` of each task's English training data are looked at, and the study's first seed alone.
    Recipes whose encoder is not in the store are ranked by the methods that need none; with ``train`` they are
    trained, as the study does it, and ranked by all. ``compute`` does the trainings, by default on this machine;
    ``told`` hears what is being done. Raises UserError.
    """
    from xstilts.selection.evidence import Evidence, Meter

    compute = compute or partial(_here, store)
    notes: dict[str, None] = {}
    questions = _questions(plan, _trained(plan, targets, notes), notes)
    if train and any(method.trained for method in methods):
        recipes = [one.stage for question in questions for one in question.candidates]
        _compute(plan, recipes, store, compute, notes)
    there = store.keys()
    _note_untrained(questions, there, methods, notes)
    evidence = Evidence(store, examples, plan.study.seeds[0])
    for recipe in plan.study.recipes:
        if recipe.translated:
            where = ", ".join(recipe.translated.languages)
            notes[f"{recipe.name}: trains on translations into {where}, and is not zero-shot there."] = None
    ranking: list[tuple[object, ...]] = []
    costs: list[tuple[object, ...]] = []
    for method in methods:
        evidence.meter = Meter()
        asked = [question.among(there) for question in questions] if method.trained else questions
        asked = [question for question in asked if any(one.recipe != NONE for one in question.candidates)]
        if method.name == "fewshot":
            told(Event(text="fewshot: training"))
            found = _few_shot(plan, store, compute, asked, evidence, notes)
        else:
            found = []
            for question in asked:
                told(Event(text=f"{method.name}: {question.encoder.label}, {question.target}"))
                found.append(_by(method, evidence, question))
        for question, scores in zip(asked, found, strict=True):
            ranking += _ranked(question, method.name, scores)
        used = (one.stage for question in asked for one in question.candidates if method.trained)
        trained = sum(plan.stages[key].flops for key in _with_inputs(plan, used))
        costs.append((method.name, evidence.meter.flops, evidence.meter.seconds, trained))
    table = pl.DataFrame(ranking, schema=RANKING_SCHEMA, orient="row")
    table = pl.concat([table, _mean_ranks(table, questions)])
    scored = _scores_of(plan, store, questions)
    truth = gains(scored, [question.target for question in questions])
    if truth:
        seeds = scored["seed"].n_unique()
        of = "one seed" if seeds == 1 else f"{seeds} seeds"
        notes[f"The gains are of {of} and uncertain themselves: the report has their intervals."] = None
    return Selection(
        table,
        pl.DataFrame(
            [(*pair, recipe, gain) for pair, of in truth.items() for recipe, gain in of.items()],
            schema=TRUTH_SCHEMA, orient="row",
        ),
        _agreements(table, truth),
        pl.DataFrame(costs, schema=COST_SCHEMA, orient="row"),
        sum(plan.stages[key].flops for key in _grid(plan, {question.target for question in questions})),
        tuple(notes),
    )  # fmt: skip


def _here(store: Store, plan: Plan, stages: Sequence[Stage]) -> dict[str, str]:
    return compute_stages(plan, stages, store)


def _scores_of(plan: Plan, store: Store, questions: Sequence[Question]) -> pl.DataFrame:
    """Of the recipes, without what else the study scores, such as averaged models."""
    recipes = {one.recipe for question in questions for one in question.candidates}
    return gather(plan, store).scores.filter(pl.col("recipe").is_in(recipes))


def _trained(plan: Plan, wanted: Sequence[str] | None, notes: dict[str, None]) -> list[str]:
    """The targets to rank recipes for: those that are trained, of ``wanted`` or all."""
    known = [target.task for target in plan.study.targets]
    for name in wanted or ():
        if name not in known:
            raise UserError(f"--target {name}: no target of the study: {did_you_mean(name, known)}")
    trained = {cell.target.task for cell in plan.cells if cell.training}
    chosen = [name for name in known if wanted is None or name in wanted]
    for name in chosen:
        if name not in trained:
            notes[f"{name}: not ranked; it is not trained, so it has no English examples to go by."] = None
    return [name for name in chosen if name in trained]


def _questions(plan: Plan, targets: Collection[str], notes: dict[str, None]) -> list[Question]:
    from xstilts.selection.evidence import Contender, Material, Question

    candidates: dict[tuple[str, str], dict[str, Contender]] = {}
    firsts: dict[tuple[str, str], Cell] = {}
    for cell in plan.cells:
        if cell.encoder in plan.healed:
            notes[
                f"{cell.encoder.label}: not ranked; methods look at encoders as they were pretrained, not healed."
            ] = None
        elif asked := _target_training(plan, cell):
            notes[f"{cell.recipe}: not ranked; it has labelled data in {asked}, and is NOT zero-shot."] = None
        elif cell.seed == plan.study.seeds[0] and cell.target.task in targets and not cell.mean:
            pair = cell.encoder.label, cell.target.task
            firsts.setdefault(pair, cell)
            trained = _trainings(plan, cell.intermediate) if cell.intermediate else ()
            parts = tuple(part for spec in trained for part in Material.of(spec))
            candidates.setdefault(pair, {})[cell.recipe] = Contender(cell.recipe, parts, cell.intermediate)
    questions = []
    for pair, cell in firsts.items():
        spec = plan.stages[str(cell.training)].spec
        assert isinstance(spec, Train)
        if set(candidates[pair]) - {NONE}:
            questions.append(Question(cell.encoder, pair[1], Material.of(spec)[0], tuple(candidates[pair].values())))
    return questions


def _target_training(plan: Plan, cell: Cell) -> str:
    """The languages of labelled data that a recipe adds to the target's training; empty where it adds none."""
    changed = {recipe.name for recipe in plan.study.recipes if recipe.target_training}
    return ", ".join(plan.beyond_english(cell)) if cell.recipe in changed else ""


def _trainings(plan: Plan, key: str) -> Iterator[Train]:
    """A training stage itself, or those of the models that it merges."""
    spec = plan.stages[key].spec
    if isinstance(spec, Train):
        yield spec
    elif isinstance(spec, Merge):
        for source, _ in spec.weights:
            yield from _trainings(plan, source)


def _with_inputs(plan: Plan, keys: Iterable[str | None], there: Collection[str] = ()) -> list[str]:
    """Of stages and of all that they need, in the plan's order, without those ``there`` and what only they need."""
    needed: set[str] = set()
    behind = [key for key in keys if key]
    while behind:
        key = behind.pop()
        if key not in needed and key not in there:
            needed.add(key)
            behind += plan.stages[key].inputs
    return [key for key in plan.stages if key in needed]


def _grid(plan: Plan, targets: Collection[str]) -> list[str]:
    """The stages of the whole study as far as it is about ``targets``."""
    return _with_inputs(plan, (cell.score or cell.predictions for cell in plan.cells if cell.target.task in targets))


def _compute(
    plan: Plan, keys: Iterable[str | None], store: Store, compute: ComputeStages, notes: dict[str, None]
) -> None:
    """Compute of these stages, and of what they need, what is not in the store."""
    missing = [plan.stages[key] for key in _with_inputs(plan, keys, store.keys())]
    failures = compute(plan, missing) if missing else {}
    notes |= dict.fromkeys(f"{plan.stages[key].label}: {reason}" for key, reason in failures.items())


def _note_untrained(
    questions: Sequence[Question], there: Collection[str], methods: Sequence[Method], notes: dict[str, None]
) -> None:
    by = ", ".join(method.name for method in methods if method.trained)
    lacking: dict[str, dict[str, None]] = {}  # recipe → encoders
    for question in questions:
        for one in question.candidates:
            if by and one.stage and one.stage not in there:
                lacking.setdefault(one.recipe, {})[question.encoder.label] = None
    for recipe, encoders in lacking.items():
        notes[f"{recipe} has not been trained ({', '.join(encoders)}): not ranked by {by}; --train trains it."] = None


def _by(method: Method, evidence: Evidence, question: Question) -> dict[str, float]:
    from xstilts.selection import esm, hscore, logme, taskemb, textemb

    modules = {"textemb": textemb, "taskemb": taskemb, "logme": logme, "hscore": hscore, "esm": esm}
    return modules[method.name].scores(evidence, question)


def _few_shot(
    plan: Plan, store: Store, compute: ComputeStages, questions: Sequence[Question], evidence: Evidence,
    notes: dict[str, None],
) -> list[dict[str, float]]:  # fmt: skip
    short, stages = fewshot.make(plan, {question.target for question in questions}, evidence.examples)
    own = [
        {one.recipe: stages[question.encoder.label, one.recipe, question.target] for one in question.candidates}
        for question in questions
    ]
    _compute(short, [key for keys in own for key in keys.values()], store, compute, notes)
    found = []
    for keys in own:
        scores = {recipe: fewshot.score(store, key) for recipe, key in keys.items()}
        for recipe, score in scores.items():
            if score:
                evidence.meter.add(keys[recipe], score.flops, score.seconds)
        found.append({recipe: score.dev for recipe, score in scores.items() if score})
    return found


def _ranked(question: Question, method: str, scores: Mapping[str, float]) -> list[tuple[object, ...]]:
    """Rows of RANKING_SCHEMA, from the best down; `none` last."""
    recipes = [recipe for recipe in scores if recipe != NONE]
    ranks = rankdata([-scores[recipe] for recipe in recipes], method="min").astype(int).tolist()
    where = question.encoder.label, question.target, method
    rows: list[tuple[object, ...]] = [
        (*where, recipe, scores[recipe], rank)
        for rank, recipe in sorted(zip(ranks, recipes, strict=True), key=lambda pair: pair[0])
    ]
    return [*rows, (*where, NONE, scores[NONE], None)] if NONE in scores else rows


def _mean_ranks(table: pl.DataFrame, questions: Sequence[Question]) -> pl.DataFrame:
    """Rows of the method `MEAN_RANK`: minus the mean rank, over the methods that ranked all of the recipes."""
    rows: list[tuple[object, ...]] = []
    for question in questions:
        own = table.filter(
            (pl.col("encoder") == question.encoder.label)
            & (pl.col("target") == question.target)
            & pl.col("rank").is_not_null()
        )
        recipes = [one.recipe for one in question.candidates if one.recipe != NONE]
        ranks = [
            rankdata([-scores[recipe] for recipe in recipes])
            for scores in (dict(part.select("recipe", "score").rows()) for part in own.partition_by("method"))
            if len(scores) == len(recipes)
        ]
        if len(ranks) > 1:
            means = -np.mean(ranks, axis=0)
            rows += _ranked(question, MEAN_RANK, dict(zip(recipes, means.tolist(), strict=True)))
    return pl.DataFrame(rows, schema=RANKING_SCHEMA, orient="row")


def _agreements(table: pl.DataFrame, truth: Mapping[tuple[str, str], Mapping[str, float]]) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    for pair, gained in truth.items():
        own = table.filter((pl.col("encoder") == pair[0]) & (pl.col("target") == pair[1]))
        for part in own.filter(pl.col("rank").is_not_null()).partition_by("method", maintain_order=True):
            scores = {recipe: score for recipe, score in part.select("recipe", "score").rows() if recipe in gained}
            if len(scores) > 1:
                found = agreement(scores, gained)
                rows.append((*pair, part["method"][0], found.n, found.regret_1, found.regret_3, found.spearman,
                             found.kendall))  # fmt: skip
        known = {recipe: gained[recipe] for recipe in gained if recipe in own["recipe"]}
        if len(known) > 1:
            beyond = by_chance(known, 3) if len(known) > 3 else None
            rows.append((*pair, CHANCE, len(known), by_chance(known, 1), beyond, None, None))
    return pl.DataFrame(rows, schema=AGREEMENT_SCHEMA, orient="row")
