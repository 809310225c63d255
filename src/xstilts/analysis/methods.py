"""What a study did, as the methods of a paper tell it: encoders, recipes, targets, trainings, and whom to cite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from xstilts.analysis.axes import ENGLISH, NONE
from xstilts.analysis.results import Results
from xstilts.encoders.families import known_encoders
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.planning.recipe import RecipeEntry
from xstilts.planning.study import Study, TargetEntry
from xstilts.tasks import Catalog, formats
from xstilts.tasks.task import Task

#: How many examples there are, the fewest and the most: over languages, or over stages that read a task differently.
Span = tuple[int, int]


@dataclass(frozen=True)
class UsedEncoder:
    """An encoder of the study; what only its scores tell is None where it has none."""

    label: str
    source: str
    random: bool
    kept: str  # what of its source it is, in words; empty for all of it
    layers: int | None
    parameters: int | None
    parameters_without_embeddings: int | None
    cite: tuple[str, ...]


@dataclass(frozen=True)
class UsedRecipe:
    """A recipe: what is trained on before the target, `tasks` as people write them."""

    entry: RecipeEntry
    called: str
    tasks: tuple[str, ...]
    cite: tuple[str, ...]


@dataclass(frozen=True)
class UsedTarget:
    """A target with the metrics of its column: the main one, and what papers print beside it."""

    name: str
    called: str
    group: str
    metrics: tuple[str, ...]
    split: str
    languages: tuple[str, ...]  # evaluated, English first
    examples: Span | None  # evaluated in a language
    whole: Span | None  # that the official split has in these
    trained_on: str | None  # as people write it; None where nothing is trained
    cite: tuple[str, ...]


@dataclass(frozen=True)
class UsedTraining:
    """How a task is trained on, before the target or as it."""

    called: str
    before: tuple[str, ...]  # the recipes that train on it before the target
    targets: tuple[str, ...]  # the targets that it fine-tunes, as people write them
    hyperparameters: Hyperparameters
    examples: Span | None
    whole: int | None  # English examples that its official train split has


@dataclass(frozen=True)
class Methods:
    """What a study did. ``uncited`` are the data sets and encoders of which no reference is known."""

    encoders: tuple[UsedEncoder, ...]
    recipes: tuple[UsedRecipe, ...]
    targets: tuple[UsedTarget, ...]
    trainings: tuple[UsedTraining, ...]
    uncited: tuple[str, ...]

    def target(self, name: str) -> UsedTarget:
        return next(target for target in self.targets if target.name == name)

    def recipe(self, label: str) -> str:
        """A recipe's label as people write it; that of averaged weights begins with the recipe's."""
        for recipe in sorted(self.recipes, key=lambda recipe: -len(recipe.entry.name)):
            if label == recipe.entry.name or label.startswith(f"{recipe.entry.name} (mean of"):
                return recipe.called + label.removeprefix(recipe.entry.name)
        return label

    @property
    def cited(self) -> tuple[str, ...]:
        """Keys of references, each once."""
        used: Iterable[UsedEncoder | UsedRecipe | UsedTarget] = (*self.encoders, *self.recipes, *self.targets)
        return tuple(dict.fromkeys(key for one in used for key in one.cite))


def methods(results: Results) -> Methods:
    """What a study did, by its file and by what it read."""
    study, catalog = results.study, results.study.catalog
    encoders = tuple(_encoders(results))
    recipes = tuple(
        UsedRecipe(
            recipe,
            _recipe_called(recipe, catalog),
            tuple(_called(name, catalog) for name in recipe.tasks),
            _cites([*recipe.tasks, *([recipe.mlm.task] if recipe.mlm else [])], catalog),
        )
        for recipe in study.recipes
    )
    asked = {entry.task: entry for entry in study.targets}
    scored = _scored(results)
    entries = asked | {name: TargetEntry(task=name) for name in scored if name not in asked}  # from elsewhere
    targets = tuple(_target(entry, scored.get(entry.task), results, catalog) for entry in entries.values())
    named = {name: _cites([name], catalog) for entry in study.recipes for name in entry.tasks}
    named |= {entry.task: _cites([entry.task], catalog) for entry in study.targets}
    lacking = [name for name, cite in named.items() if not cite]
    lacking += [encoder.source for encoder in encoders if not encoder.cite]
    return Methods(encoders, recipes, targets, tuple(_trainings(results, catalog)), tuple(dict.fromkeys(lacking)))


def _encoders(results: Results) -> Iterable[UsedEncoder]:
    cites = {known.source: known.cite for known in known_encoders()}
    facts = {
        row["encoder"]: row
        for row in results.scores.unique("encoder", keep="first", maintain_order=True).iter_rows(named=True)
    }
    for entry in results.study.encoders:
        encoder, row = entry.encoder, facts.get(entry.encoder.label, {})
        yield UsedEncoder(
            label=encoder.label,
            source=entry.source,
            random=entry.init == "random",
            kept=encoder.kept,
            layers=row.get("layers"),
            parameters=row.get("parameters"),
            parameters_without_embeddings=row.get("parameters_without_embeddings"),
            cite=cites.get(entry.source, ()),
        )


def _scored(results: Results) -> dict[str, dict[str, Any]]:
    """What the scores tell of each target, in their order."""
    main = pl.col("main")
    found = results.scores.group_by("target", maintain_order=True).agg(
        pl.col("format").first(),
        pl.col("metric").unique().alias("metrics"),
        pl.col("metric").filter(main).first(),
        pl.col("language").filter(main).unique().alias("languages"),
        pl.col("n").filter(main).min().alias("fewest"),
        pl.col("n").filter(main).max().alias("most"),
        pl.col("model").filter(main).is_not_null().any().alias("trained"),
    )
    return {row["target"]: row for row in found.iter_rows(named=True)}


def _target(entry: TargetEntry, scored: dict[str, Any] | None, results: Results, catalog: Catalog) -> UsedTarget:
    evaluated = results.data.filter(pl.col("task") == entry.task, pl.col("use") == "evaluation")
    task = _known(entry.task, catalog)
    format_ = formats.get(scored["format"]) if scored else formats.get(task.format) if task else None
    metric = scored["metric"] if scored else task.metric if task else ""
    beside = format_.beside if format_ else None
    if beside == metric or (scored and beside not in scored["metrics"]):
        beside = None
    languages = {*(scored["languages"] if scored else ()), *evaluated["language"]}
    trained = task.training_task if task else entry.task
    if scored and not scored["trained"]:
        trained = None
    return UsedTarget(
        name=entry.task,
        called=_called(entry.task, catalog),
        group=format_.heading if format_ else "",
        metrics=(metric, *([beside] if beside else [])),
        split=entry.split,
        languages=tuple(sorted(languages, key=lambda code: (code != ENGLISH, code))),
        examples=(scored["fewest"], scored["most"]) if scored else _span(evaluated["examples"]),
        whole=_span(pl.Series([task.count(entry.split, code) for code in languages] if task else [], dtype=pl.Int64)),
        trained_on=_called(trained, catalog) if trained else None,
        cite=_cites(filter(None, [entry.task, trained]), catalog),
    )


def _trainings(results: Results, catalog: Catalog) -> Iterable[UsedTraining]:
    """Each way in which a task is trained on, once: where it differs from recipe to recipe, as a further one."""
    study = results.study
    used: dict[tuple[str, str], tuple[Task, Hyperparameters, list[str], list[str]]] = {}

    def use(task: Task | None, hyperparameters: Hyperparameters, recipe: str = "", target: str = "") -> None:
        if task is not None:
            found = used.setdefault((task.name, str(hyperparameters)), (task, hyperparameters, [], []))
            found[2].extend(filter(None, [recipe]))
            found[3].extend(filter(None, [target]))

    for recipe in study.recipes:
        for name in recipe.tasks:
            if (task := _known(name, catalog)) is not None:
                use(task, study.hyperparameters(task, recipe.training, intermediate=True), recipe=recipe.name)
        if recipe.mlm is not None and (task := _known(recipe.mlm.task, catalog)) is not None:
            use(task, study.hyperparameters(task, recipe.mlm.training, intermediate=True), recipe=recipe.name)
    for target in study.targets:
        task = _known(target.task, catalog)
        trained = _known(task.training_task, catalog) if task and task.training_task else None
        if trained is not None:
            use(trained, study.hyperparameters(trained, target.training), target=_called(target.task, catalog))
    for task, hyperparameters, before, targets in used.values():
        read = results.data.filter(pl.col("task") == task.name, pl.col("use").is_in(["train", "mlm"]))
        whole = task.count("train", ENGLISH)
        yield UsedTraining(task.called, tuple(before), tuple(targets), hyperparameters, _span(read["examples"]), whole)


def _recipe_called(recipe: RecipeEntry, catalog: Catalog) -> str:
    """A recipe that has the name of a task is called as that task is."""
    return recipe.name if recipe.name == NONE else _called(recipe.name, catalog)


def _known(name: str | None, catalog: Catalog) -> Task | None:
    return catalog[name] if name is not None and name in catalog else None


def _called(name: str, catalog: Catalog) -> str:
    task = _known(name, catalog)
    return task.called if task else name


def _cites(names: Iterable[str], catalog: Catalog) -> tuple[str, ...]:
    """Of tasks, of what they unite, and of the task whose cut they are."""
    found: list[str] = []
    for name in names:
        task = _known(name, catalog)
        if task is not None:
            whole = _known(task.stands_for, catalog)
            found += task.cite or (whole.cite if whole else ())
            found += [key for part in task.parts for key in part.cite]
    return tuple(dict.fromkeys(found))


def _span(numbers: pl.Series) -> Span | None:
    known: Sequence[int] = numbers.drop_nulls().to_list()
    return (min(known), max(known)) if known else None


def planned(results: Results) -> Mapping[tuple[str, str, str], int]:
    """(encoder, recipe, target) → the seeds that the study asks for; averaged weights are recipes too."""
    if results.planned is not None:
        return results.planned
    return dict(_asked(results.study))


def _asked(study: Study) -> Iterable[tuple[tuple[str, str, str], int]]:
    for entry in study.encoders:
        for recipe in study.recipes_of(entry):
            means = [(mean.label(recipe.name), 1 if mean.seeds > 1 else len(study.seeds)) for mean in study.means]
            for label, seeds in [(recipe.name, len(study.seeds)), *means]:
                for target in study.targets_of(recipe):
                    yield (entry.encoder.label, label, target.task), seeds
