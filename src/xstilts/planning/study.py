"""What a user writes: encoders × recipes × targets × seeds, validated before anything runs."""

from __future__ import annotations

import os
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, ValidationError, field_validator, model_validator

from xstilts import encoders
from xstilts.common import fast_yaml
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.validation import first_problem
from xstilts.data import Provider
from xstilts.encoders import Encoder
from xstilts.planning.hyperparameters import SPECIAL_TOKENS, Hyperparameters, Optimisation
from xstilts.planning.part import Part
from xstilts.planning.recipe import AverageEntry, Mean, MlmEntry, RecipeEntry, TranslatedEntry
from xstilts.tasks import Catalog, builtin_catalog, formats
from xstilts.tasks.task import Split, Task

PRESETS = Path(__file__).parent / "presets.yaml"

#: Retrieval reads the output of this share of the blocks: jiant takes block 14 of 24 (taskmodels.py:335).
RETRIEVAL_DEPTH = 14 / 24


class EncoderEntry(Part):
    """An encoder of the study; `recipes` limits which recipes it is run with (for controls)."""

    source: str
    layers: int | None = Field(None, gt=0)
    init: Literal["pretrained", "random"] = "pretrained"
    revision: str | None = None
    recipes: tuple[str, ...] | None = None
    name: str | None = Field(None, pattern=r"^\S(.*\S)?$", description="in tables and charts, in place of the source")

    @property
    def encoder(self) -> Encoder:
        return Encoder(self.source, self.layers, self.init, self.revision, self.name)


class TargetEntry(Part):
    """A target task, and on what it is evaluated."""

    task: str
    languages: tuple[str, ...] | None = Field(None, description="all of the task's whose data is there by default")
    split: Split = "test"
    max_examples: int | None = Field(None, gt=0, description="examples evaluated in each language; all by default")
    hidden_layer: NonNegativeInt | Literal["relative", "last"] = Field(
        "relative", description="retrieval, mining: the block whose output is pooled; `relative` = 14/24 of the depth"
    )
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="retrieval, mining: a sentence's vector is the mean over its tokens, or the first one's"
    )
    training: dict[str, Any] = Field({}, description="hyper-parameters that differ from the preset's")


class Study(Part):
    """One study file. See docs/study-file.md for every key with an example."""

    name: str = Field(pattern=r"^[\w][\w .+-]*$")
    description: str = ""
    encoders: tuple[EncoderEntry, ...] = Field(min_length=1)
    recipes: tuple[RecipeEntry, ...] = Field(min_length=1)
    targets: tuple[TargetEntry, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    preset: str = "quick"
    training: dict[str, Any] = Field({}, description="hyper-parameters that differ from the preset's")
    data: Path | None = None
    hub: bool | dict[str, str] = Field(
        False, description="take from the hub what `data` does not have; or repository → revision, to pin some"
    )
    tasks: tuple[Path, ...] = ()
    on_overlap: Literal["error", "drop"] = "error"
    average: AverageEntry | None = Field(
        None, description="means of trained weights to score beside the models themselves"
    )

    @field_validator("encoders", mode="before")
    @classmethod
    def _encoder_names(cls, entries: Any) -> Any:
        def entry(item: Any) -> Any:
            if not isinstance(item, str):
                return item
            parsed = encoders.parse(item)
            return {"source": parsed.source, "layers": parsed.layers, "init": parsed.init}

        return [entry(item) for item in entries] if isinstance(entries, list) else entries

    @field_validator("recipes", mode="before")
    @classmethod
    def _recipe_names(cls, entries: Any) -> Any:
        return [RecipeEntry.named(item) for item in entries] if isinstance(entries, list) else entries

    @field_validator("targets", mode="before")
    @classmethod
    def _target_names(cls, entries: Any) -> Any:
        if not isinstance(entries, list):
            return entries
        return [{"task": item} if isinstance(item, str) else item for item in entries]

    @model_validator(mode="after")
    def _sound(self) -> Study:
        for one, other in combinations((entry.encoder for entry in self.encoders), 2):
            if one == other:
                raise ValueError(f"encoders: {other.label} is listed twice; remove one")
            if one.label == other.label:
                raise ValueError(f"encoders: {one.label}: two have this name; give one another `name`")
        for field, names in (
            ("recipes", [recipe.name for recipe in self.recipes]),
            ("targets", [target.task for target in self.targets]),
            ("seeds", [str(seed) for seed in self.seeds]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{field}: {twice[0]} is listed twice; remove one")
        recipes = {recipe.name for recipe in self.recipes}
        for encoder in self.encoders:
            for name in encoder.recipes or ():
                if name not in recipes:
                    raise ValueError(
                        f"encoders: {encoder.encoder.label}: unknown recipe {name!r}: {did_you_mean(name, recipes)}"
                    )
        trained = {recipe.name for recipe in self.recipes if recipe.tasks}
        for recipe in self.recipes:
            for name in recipe.merge:
                if name not in trained:
                    raise ValueError(f"recipes: {recipe.name}: merge: {name!r} is no recipe with training: "
                                     f"{did_you_mean(name, trained)}")  # fmt: skip
        means = {mean.label(name) for mean in self.means for name in recipes}
        for name in recipes & means:
            raise ValueError(f"recipes: {name}: is how the averaged models of another recipe are called; rename it")
        if self.average and self.average.seeds and len(self.seeds) < 2:
            raise ValueError("average: seeds: the study has one seed; list two or more, or leave it out")
        if self.preset not in presets():
            raise ValueError(f"preset: unknown preset {self.preset!r}: {did_you_mean(self.preset, presets())}")
        return self

    def recipes_of(self, entry: EncoderEntry) -> list[RecipeEntry]:
        return [recipe for recipe in self.recipes if entry.recipes is None or recipe.name in entry.recipes]

    def content(self) -> dict[str, Any]:
        """What its file says, without where this machine has data and tasks."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"data", "tasks"})

    @property
    def means(self) -> tuple[Mean, ...]:
        """Of trained weights, that are scored beside the models themselves."""
        if self.average is None:
            return ()
        seeds = [1, len(self.seeds)] if self.average.seeds else [1]
        counts = [None, self.average.checkpoints] if self.average.checkpoints else [None]
        return tuple(Mean(count, n) for n in seeds for count in counts if count or n > 1)

    @property
    def provider(self) -> Provider:
        """Where the study's data come from."""
        revisions = self.hub if isinstance(self.hub, dict) else {}
        return Provider(self.data, self.hub is not False, tuple(sorted(revisions.items())))

    @property
    def catalog(self) -> Catalog:
        return builtin_catalog().with_files(self.tasks)

    def hyperparameters(self, task: Task, overrides: dict[str, Any], *, intermediate: bool = False) -> Hyperparameters:
        """The preset's values for ``task``, then the study's, then the entry's own. Raises UserError.

        ``intermediate`` says that the task is trained on before the target task, which some presets do otherwise.
        """
        preset = presets()[self.preset]
        values: dict[str, Any] = {**preset["default"], **preset.get(task.format, {}), **preset.get(task.name, {})}
        if intermediate:
            values |= preset.get("intermediate", {}).get(task.name, {})
        values |= {**self.training, **overrides}
        try:
            hyper = Hyperparameters.model_validate(values)
        except ValidationError as error:
            raise UserError(f"training of {task.name}: {first_problem(error, Hyperparameters)}") from None
        beside = hyper.doc_stride + hyper.max_query_length + SPECIAL_TOKENS
        if formats.get(task.format).windowed and beside >= hyper.max_length:
            raise UserError(
                f"training of {task.name}: max_length {hyper.max_length} leaves no room for a passage beside "
                f"doc_stride {hyper.doc_stride} and max_query_length {hyper.max_query_length}; raise it or lower these"
            )
        return hyper


def load_study(path: Path) -> Study:
    """Read and check a study file. Raises UserError: one line with the file, the field and what to do.

    Relative paths in it (``data``, ``tasks``) start from the file's folder; ``data`` falls back to the
    environment variable ``XSTILTS_DATA``.
    """
    content = fast_yaml.read(path, "no such study file (try studies/quickstart.yaml)")
    if not isinstance(content, dict):
        raise UserError(f"{path}: a study is a mapping with the keys name, encoders, recipes, targets, seeds")
    return make_study(content, folder=path.parent, name=str(path))


def make_study(content: dict[str, Any], folder: Path = Path(), name: str = "study") -> Study:
    """A checked Study from the content of a study file; ``name`` stands in the error messages."""
    content = dict(content)
    if isinstance(content.get("data"), str | Path):
        content["data"] = folder / Path(content["data"]).expanduser()
    elif "data" not in content and os.environ.get("XSTILTS_DATA"):
        content["data"] = Path(os.environ["XSTILTS_DATA"])
    if isinstance(content.get("tasks"), list):
        content["tasks"] = [folder / str(entry) for entry in content["tasks"]]
    try:
        study = Study.model_validate(content)
        _check_names(study)
    except ValidationError as error:
        raise UserError(f"{name}: {first_problem(error, Study)}") from None
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return study


def _check_names(study: Study) -> None:
    """Tasks and languages exist, and each task can play the part it is given."""
    catalog = study.catalog
    repositories = {task.hub.repository for task in catalog if task.hub}
    for repository in study.hub if isinstance(study.hub, dict) else ():
        if repository not in repositories:
            known = did_you_mean(repository, repositories)
            raise UserError(f"hub: {repository}: no task is read from it: {known}")
    for recipe in study.recipes:
        for name in recipe.tasks:
            _check_intermediate(study, recipe, catalog[name])
            if recipe.translated is not None:
                _check_translated(recipe, catalog[name], recipe.translated)
        _check_agreement(study, recipe)
        if recipe.mlm is not None:
            _check_mlm(study, recipe, recipe.mlm)
    for target in study.targets:
        task = catalog[target.task]
        for language in target.languages or ():
            if language not in task.languages:
                raise UserError(
                    f"targets: {task.name}: unknown language {language!r}: {did_you_mean(language, task.languages)}"
                )
        fmt = formats.get(task.format)
        if fmt.plain_text:
            raise UserError(
                f"targets: {task.name}: has no labels to score; mix it into a recipe: `mlm: {{share: 0.2}}`"
            )
        if task.training_task is None and not fmt.comparison:
            raise UserError(f"targets: {task.name}: has no training data and names no task that it is trained on")
        idle = sorted(target.model_fields_set & {"hidden_layer", "pooling"})
        if idle and not fmt.compares(task):
            raise UserError(f"targets: {task.name}: {idle[0]} is for tasks on which nothing is trained; remove it")
        study.hyperparameters(catalog[task.training_task] if task.training_task else task, target.training)
    if study.average and not any(catalog[target.task].training_task for target in study.targets):
        raise UserError("average: no target of the study is trained on; leave it out")


def _check_intermediate(study: Study, recipe: RecipeEntry, task: Task) -> None:
    if formats.get(task.format).plain_text:
        raise UserError(f"recipes: {recipe.name}: {task.name} has no labels; mix it into a task: `mlm: {{share: 0.2}}`")
    if task.training_task != task.name:
        raise UserError(f"recipes: {recipe.name}: {task.name} has no training data of its own; choose another")


def _check_translated(recipe: RecipeEntry, task: Task, translated: TranslatedEntry) -> None:
    if why := formats.get(task.format).untranslatable:
        raise UserError(f"recipes: {recipe.name}: {task.name}: {why}; leave it out")
    if "en" in translated.languages:
        raise UserError(f"recipes: {recipe.name}: translated: {task.name} is English already; remove en")


def _check_agreement(study: Study, recipe: RecipeEntry) -> None:
    """A stage is optimised in one way: what its tasks' presets say of it must be the same."""
    first: dict[str, Any] = {}
    for name in recipe.tasks:
        hyper = study.hyperparameters(study.catalog[name], recipe.training, intermediate=True)
        if hyper.batch_tokens is not None and (len(recipe.tasks) > 1 or recipe.mlm):
            raise UserError(
                f"recipes: {recipe.name}: batch_tokens is for stages of one task alone, since the steps of several are "
                f"shared out by examples; set batch_size in its `training`, with `batch_tokens: null`"
            )
        values = {field: getattr(hyper, field) for field in Optimisation.model_fields}
        first = first or values
        for field, value in values.items():
            if value != first[field]:
                raise UserError(
                    f"recipes: {recipe.name}: {field} is {first[field]} for {recipe.tasks[0]} and {value} for {name}; "
                    f"one stage has one: set it in the recipe's `training`"
                )


def _check_mlm(study: Study, recipe: RecipeEntry, mlm: MlmEntry) -> None:
    where = f"recipes: {recipe.name}: mlm"
    text = study.catalog[mlm.task]
    if not formats.get(text.format).plain_text:
        raise UserError(f"{where}: {text.name} is of format {text.format}; choose a task of format mlm")
    for language in mlm.languages or ():
        if language not in text.languages:
            raise UserError(f"{where}: unknown language {language!r}: {did_you_mean(language, text.languages)}")
    study.hyperparameters(text, mlm.training, intermediate=True)


@cache
def presets() -> dict[str, dict[str, dict[str, Any]]]:
    """All named presets: preset → `default`, format or task → values; under `intermediate`, task → values."""
    content: dict[str, dict[str, dict[str, Any]]] = fast_yaml.read(PRESETS)
    return content
