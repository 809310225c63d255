"""What a user writes: encoders × recipes × targets × seeds, validated before anything runs."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, field_validator, model_validator

from xstilts import encoders
from xstilts.common import fast_yaml
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.validation import Mistakes, Trial, problems
from xstilts.data import Provider
from xstilts.encoders import Encoder, Every
from xstilts.planning.hyperparameters import SPECIAL_TOKENS, Hyperparameters, Optimisation
from xstilts.planning.part import Languages, Name, Part
from xstilts.planning.recipe import (
    NONE,
    AverageEntry,
    HealingEntry,
    Mean,
    MlmEntry,
    RecipeEntry,
    TargetTraining,
    TranslatedEntry,
)
from xstilts.tasks import Catalog, builtin_catalog, formats, read_entry
from xstilts.tasks.task import Split, Task

PRESETS = Path(__file__).parent / "presets.yaml"
SHIPPED = Path(__file__).parent / "studies"

#: Retrieval reads the output of this share of the blocks: jiant takes block 14 of 24 (taskmodels.py:335).
RETRIEVAL_DEPTH = 14 / 24


#: Wider seeds are none of the 64 bits that random generators and tables take.
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class EveryEntry(Part):
    """Every so-manieth block, from the lowest on."""

    every: int = Field(ge=2, le=1000)


class EncoderEntry(Part):
    """An encoder of the study; `recipes` limits which recipes it is run with (for controls)."""

    source: str = Field(min_length=1, max_length=4096)
    layers: PositiveInt | tuple[NonNegativeInt, ...] | EveryEntry | None = Field(
        None, description="the lowest so many, these blocks (counted from 0), or `{every: 2}`; all by default"
    )
    ffn: float | None = Field(
        None, gt=0, description="feed-forward units kept in each block: a share up to 1, else a number of units"
    )
    heads: int | None = Field(None, gt=0, description="attention heads kept in each block")
    heal: int | None = Field(
        None, gt=0, le=10**13, description="tokens of text on which it is distilled from the whole model at first"
    )
    init: Literal["pretrained", "random"] = "pretrained"
    revision: str | None = None
    recipes: tuple[str, ...] | None = Field(None, min_length=1)
    name: Name | None = Field(None, description="in tables and charts, in place of the source")
    attention: Literal["causal", "full"] | None = Field(
        None, description="of a decoder: `causal`, as it was pretrained, or `full`, to both sides as LLM2Vec has it"
    )

    @model_validator(mode="before")
    @classmethod
    def _by_label(cls, item: Any) -> Any:
        if not isinstance(item, str):
            return item
        try:
            parsed = encoders.parse(item)
        except UserError as error:
            raise ValueError(str(error)) from None
        layers = {"every": parsed.layers.every} if isinstance(parsed.layers, Every) else parsed.layers
        found = {
            "layers": layers,
            "ffn": parsed.ffn,
            "heads": parsed.heads,
            "heal": parsed.heal,
            "attention": parsed.attention,
        }
        given = {name: value for name, value in found.items() if value is not None}
        return {"source": parsed.source, "init": parsed.init, **given}

    @field_validator("source")
    @classmethod
    def _on_one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError(f"{value!r} has characters that cannot be shown; name a folder, or a model of the hub")
        return value

    @field_validator("layers")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            if len(value) < 2:
                raise ValueError("list two blocks or more; the lowest alone is `layers: 1`")
            if any(one >= other for one, other in pairwise(value)):
                raise ValueError("list blocks from the lowest to the highest, each once")
        return value

    @field_validator("ffn")
    @classmethod
    def _whole_units(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and not value.is_integer():
            raise ValueError(f"{value} is neither a share, up to 1, nor a whole number of units")
        return value

    @model_validator(mode="after")
    def _to_heal(self) -> EncoderEntry:
        if self.heal is not None and (self.init == "random" or not self.encoder.is_cut):
            raise ValueError("`heal` is for pretrained encoders with fewer `layers`, `ffn` or `heads`; leave it out")
        return self

    @property
    def encoder(self) -> Encoder:
        layers = Every(self.layers.every) if isinstance(self.layers, EveryEntry) else self.layers
        return Encoder(
            self.source, layers, self.init, self.revision, self.name, self.ffn, self.heads, self.heal, self.attention
        )


class TargetEntry(Part):
    """A target task, and on what it is evaluated."""

    task: str
    languages: Languages | None = Field(None, description="all of the task's whose data is there by default")
    split: Split = "test"
    max_examples: int | None = Field(
        None, gt=0, le=10**12, description="examples evaluated in each language; all by default"
    )
    hidden_layer: NonNegativeInt | Literal["relative", "last"] = Field(
        "relative", description="retrieval, mining: the block whose output is pooled; `relative` = 14/24 of the depth"
    )
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="retrieval, mining: a sentence's vector is the mean over its tokens, or the first one's"
    )
    training: dict[str, Any] = Field({}, description="hyper-parameters that differ from the preset's")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, item: Any) -> Any:
        return {"task": item} if isinstance(item, str) else item


class Study(Part):
    """One study file. See docs/study-file.md for every key with an example."""

    name: Name = Field(description="names the folder of its report")
    description: str = Field("", max_length=10_000)
    encoders: tuple[EncoderEntry, ...] = Field(min_length=1)
    recipes: tuple[RecipeEntry, ...] = Field(min_length=1)
    targets: tuple[TargetEntry, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field((1, 2, 3), min_length=1)
    sample: Literal["same", "per_seed"] = Field(
        "same", description="what max_train_examples leaves of training data: the `same` for all seeds, or drawn anew"
    )
    preset: str = "quick"
    training: dict[str, Any] = Field({}, description="hyper-parameters that differ from the preset's")
    data: Path | None = None
    hub: bool | dict[str, str] = Field(
        False, description="take from the hub what `data` does not have; or repository → revision, to pin some"
    )
    tasks: tuple[Path, ...] = ()
    on_overlap: Literal["error", "drop"] = "error"
    healing: HealingEntry = Field(HealingEntry(), description="how encoders with `heal` are healed")
    average: AverageEntry | None = Field(
        None, description="means of trained weights to score beside the models themselves"
    )

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"\w([\w .+-]*[\w+-])?", name) or len(name.encode()) > 200:
            raise ValueError(f"{name!r} must name a folder: write letters, digits, space . + - _ alone")
        return name

    def recipes_of(self, entry: EncoderEntry) -> list[RecipeEntry]:
        return [recipe for recipe in self.recipes if entry.recipes is None or recipe.name in entry.recipes]

    def targets_of(self, recipe: RecipeEntry) -> list[TargetEntry]:
        """The targets that a recipe has scores on: with `target_training`, those whose training that is."""
        asked = recipe.target_training
        if asked is None:
            return list(self.targets)
        catalog = self.catalog
        named = [target for target in self.targets if asked.of is None or target.task in asked.of]
        return [target for target in named if catalog[target.task].training_task]

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
            found = (f"training of {task.name}: {problem.text}" for problem in problems(error, Hyperparameters))
            raise UserError("\n".join(found)) from None
        beside = hyper.doc_stride + hyper.max_query_length + SPECIAL_TOKENS
        if formats.get(task.format).windowed and beside >= hyper.max_length:
            raise UserError(
                f"training of {task.name}: max_length {hyper.max_length} leaves no room for a passage beside "
                f"doc_stride {hyper.doc_stride} and max_query_length {hyper.max_query_length}; raise it or lower these"
            )
        return hyper


def load_study(path: Path) -> Study:
    """Read and check a study file. Raises UserError: a line for each mistake, with the file, its line, and what to do.

    Relative paths in it (``data``, ``tasks``) start from the file's folder; ``data`` falls back to the
    environment variable ``XSTILTS_DATA``. The name alone of a study that comes with xstilts (``quickstart``) is that
    study, where there is no such file.
    """
    shipped = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
    if str(path) in shipped and not path.is_file():  # a folder of that name may hold its results
        path = SHIPPED / f"{path}.yaml"
    document = fast_yaml.read_document(path, f"no such study file; by their names there are {', '.join(shipped)}")
    if not isinstance(document.content, dict):
        raise UserError(f"{path}: a study is a mapping with the keys name, encoders, recipes, targets, seeds")
    return _checked(document.content, path.parent, Mistakes(str(path), document))


def make_study(content: dict[str, Any], folder: Path = Path(), name: str = "study") -> Study:
    """A checked Study from the content of a study file; ``name`` stands in the error messages."""
    return _checked(content, folder, Mistakes(name))


def _checked(content: dict[str, Any], folder: Path, mistakes: Mistakes) -> Study:
    """The study, if nothing is wrong with it. What is wrong is looked at in all that can be understood."""
    trial = Trial(_located(content, folder, mistakes), mistakes)
    study = trial.validated(Study, {**_STAND_INS, "targets": [next(iter(builtin_catalog())).name]})
    if study is not None:
        _check(study, trial)
    mistakes.check()
    assert study is not None
    return study


#: In place of what a study must have and lacks, to look at the rest of it.
_STAND_INS = {"name": "study", "encoders": ["bundled/e5-small@1"], "recipes": [NONE]}


def _located(content: dict[str, Any], folder: Path, mistakes: Mistakes) -> dict[str, Any]:
    """The content with paths that start from here."""
    content = dict(content)
    if "data" not in content and os.environ.get("XSTILTS_DATA"):
        content["data"] = Path(os.environ["XSTILTS_DATA"])
    elif isinstance(content.get("data"), str | Path):
        try:
            content["data"] = folder / Path(content["data"]).expanduser()
        except RuntimeError:
            mistakes.add(f"data: {content['data']}: there is no such user", "data")
            del content["data"]
    if isinstance(content.get("data"), Path):
        try:
            if not stat.S_ISDIR(content["data"].stat().st_mode):
                mistakes.add(f"data: {content['data']}: not a folder", "data")
        except FileNotFoundError:
            pass  # the bundled data need none; who reads others says what is missing
        except (OSError, ValueError) as error:  # ValueError: a NUL in it
            mistakes.add(f"data: cannot be a folder: {getattr(error, 'strerror', None) or error}", "data")
            del content["data"]
    if isinstance(content.get("tasks"), list):
        content["tasks"] = [folder / one if isinstance(one, str | Path) else one for one in content["tasks"]]
    return content


def _check(study: Study, trial: Trial) -> None:
    """What no field says alone: nothing twice, tasks and languages exist, each task can play the part it is given."""
    mistakes = trial.mistakes
    _check_lists(study, mistakes)
    _check_references(study, trial)
    if study.preset not in presets():
        mistakes.add(f"preset: unknown preset {study.preset!r}: {did_you_mean(study.preset, presets())}", "preset")
        study = study.model_copy(update={"preset": "quick"})
    sound = _check_training(study, study.training, mistakes, "training", at=("training",))
    catalog, complete = _catalog(study, mistakes)

    def known(name: str, where: str, *location: str | int) -> Task | None:
        """The task; what an own file that cannot be read would have called its task, nobody knows."""
        if name in catalog:
            return catalog[name]
        if complete:
            try:
                catalog[name]
            except UserError as error:
                mistakes.add(f"{where}: {error}", *location)
        return None

    _check_healing(study, known, mistakes)
    repositories = {task.hub.repository for task in catalog if task.hub}
    for repository in study.hub if isinstance(study.hub, dict) else ():
        if repository not in repositories and complete:
            hint = did_you_mean(repository, repositories)
            mistakes.add(f"hub: {repository}: no task is read from it: {hint}", "hub", repository)
    for i, recipe in enumerate(study.recipes):
        at = trial.original(("recipes", i))
        of = f"recipes: {recipe.name}"
        tasks = [known(name, of, *at) for name in recipe.tasks]
        text = known(recipe.mlm.task, f"{of}: mlm", *at) if recipe.mlm else None
        for task in filter(None, tasks):
            with mistakes.at(*at):
                _check_intermediate(recipe, task)
            with mistakes.at(*at):
                if recipe.translated is not None:
                    _check_translated(recipe, task, recipe.translated)
        right = _check_training(study, recipe.training, mistakes, f"{of}: training", at=(*at, "training"))
        if right and sound and None not in tasks:
            with mistakes.at(*at):
                _check_agreement(study, catalog, recipe)
        if recipe.mlm is not None and text is not None:
            with mistakes.at(*at):
                _check_mlm(recipe, recipe.mlm, text)
            at, of = (*at, "mlm", "training"), f"{of}: mlm: training"
            if _check_training(study, recipe.mlm.training, mistakes, of, at=at) and sound:
                with mistakes.at(*at):
                    study.hyperparameters(text, recipe.mlm.training, intermediate=True)
    for i, recipe in enumerate(study.recipes):
        if recipe.target_training is not None:
            _check_target_training(study, recipe, recipe.target_training, known, mistakes,
                                   trial.original(("recipes", i)))  # fmt: skip
    targets = []
    for i, target in enumerate(study.targets):
        at = trial.original(("targets", i))
        found = known(target.task, "targets", *at)
        targets.append(found)
        of = f"targets: {target.task}: training"
        right = _check_training(study, target.training, mistakes, of, at=(*at, "training"))
        if found is not None:
            _check_target(target, found, mistakes, at)
            trained = known(found.training_task, f"targets: {target.task}", *at) if found.training_task else found
            if right and sound and trained is not None:
                with mistakes.at(*at):
                    study.hyperparameters(trained, target.training)
    if study.average and not any(task is None or task.training_task for task in targets):
        mistakes.add("average: no target of the study is trained on; leave it out", "average")


def _check_lists(study: Study, mistakes: Mistakes) -> None:
    """Nothing is there twice, or under the name of another."""
    for one, other in combinations((entry.encoder for entry in study.encoders), 2):
        if one == other:
            mistakes.add(f"encoders: {other.label} is listed twice; remove one", "encoders")
        elif one.label == other.label:
            mistakes.add(f"encoders: {one.label}: two have this name; give one another `name`", "encoders")
    for field, names in (
        ("recipes", [recipe.name for recipe in study.recipes]),
        ("targets", [target.task for target in study.targets]),
        ("seeds", [str(seed) for seed in study.seeds]),
    ):
        for name in sorted({name for name in names if names.count(name) > 1}):
            mistakes.add(f"{field}: {name} is listed twice; remove one", field)
    recipes = {recipe.name for recipe in study.recipes}
    for name in sorted(recipes & {mean.label(name) for mean in study.means for name in recipes}):
        mistakes.add(f"recipes: {name}: is how the averaged models of another recipe are called; rename it", "recipes")
    if study.average and study.average.seeds and len(study.seeds) < 2:
        mistakes.add("average: seeds: the study has one seed; list two or more, or leave it out", "average", "seeds")


def _check_references(study: Study, trial: Trial) -> None:
    """Recipes that encoders and merges name are in the study, or in what of it could not be understood."""
    written = trial.mistakes.document.content.get("recipes") if trial.mistakes.document else None
    if len(study.recipes) < len(written if isinstance(written, list) else study.recipes):
        return
    recipes = {recipe.name for recipe in study.recipes}
    for i, encoder in enumerate(study.encoders):
        for name in encoder.recipes or ():
            if name not in recipes:
                label, hint = encoder.encoder.label, did_you_mean(name, recipes)
                at = trial.original(("encoders", i))
                trial.mistakes.add(f"encoders: {label}: unknown recipe {name!r}: {hint}", *at, "recipes")
    trained = {recipe.name for recipe in study.recipes if recipe.tasks}
    for i, recipe in enumerate(study.recipes):
        for name in recipe.merge:
            if name not in trained:
                what = f"{name!r} is no recipe with training: {did_you_mean(name, trained)}"
                trial.mistakes.add(f"recipes: {recipe.name}: merge: {what}", *trial.original(("recipes", i)), "merge")


def _catalog(study: Study, mistakes: Mistakes) -> tuple[Catalog, bool]:
    """The catalog with the study's own tasks, and whether these could all be read."""
    own, before = [], len(mistakes.problems)
    for i, path in enumerate(study.tasks):
        with mistakes.at("tasks", i):
            own.append(read_entry(path))
    catalog = builtin_catalog()
    with mistakes.at("tasks"):
        catalog = catalog.with_entries(own)
    return catalog, len(mistakes.problems) == before


def _check_training(
    study: Study, values: dict[str, Any], mistakes: Mistakes, where: str, *, at: tuple[str | int, ...]
) -> bool:
    """Whether hyper-parameters are right by themselves, whatever the task."""
    try:
        Hyperparameters.model_validate({**presets()[study.preset]["default"], **values})
    except ValidationError as error:
        for problem in problems(error, Hyperparameters, document=mistakes.document, within=at):
            mistakes.add(f"{where}: {problem.text}", *problem.location)
        return False
    return True


def _check_target(target: TargetEntry, task: Task, mistakes: Mistakes, at: tuple[str | int, ...]) -> None:
    """A task can be a target, and be evaluated as it is asked for."""
    where, fmt = f"targets: {task.name}", formats.get(task.format)
    for language in target.languages or ():
        if language not in task.languages:
            hint = did_you_mean(language, task.languages)
            mistakes.add(f"{where}: unknown language {language!r}: {hint}", *at, "languages")
    if fmt.plain_text:
        mistakes.add(f"{where}: has no labels to score; mix it into a recipe: `mlm: {{share: 0.2}}`", *at)
    elif task.training_task is None and not fmt.comparison:
        mistakes.add(f"{where}: has no training data and names no task that it is trained on", *at)
    idle = sorted(target.model_fields_set & {"hidden_layer", "pooling"})
    if idle and not fmt.compares(task):
        mistakes.add(f"{where}: {idle[0]} is for tasks on which nothing is trained; remove it", *at, idle[0])


def _check_intermediate(recipe: RecipeEntry, task: Task) -> None:
    if formats.get(task.format).plain_text:
        raise UserError(f"recipes: {recipe.name}: {task.name} has no labels; mix it into a task: `mlm: {{share: 0.2}}`")
    if task.training_task != task.name:
        raise UserError(f"recipes: {recipe.name}: {task.name} has no training data of its own; choose another")


def _check_translated(recipe: RecipeEntry, task: Task, translated: TranslatedEntry) -> None:
    if why := formats.get(task.format).untranslatable:
        raise UserError(f"recipes: {recipe.name}: {task.name}: {why}; leave it out")
    if "en" in translated.languages:
        raise UserError(f"recipes: {recipe.name}: translated: {task.name} is English already; remove en")


def _check_target_training(
    study: Study, recipe: RecipeEntry, asked: TargetTraining, known: Callable[..., Task | None], mistakes: Mistakes,
    at: tuple[str | int, ...],
) -> None:  # fmt: skip
    """The targets are of the study and trained, and their tasks have the languages."""
    of, names = f"recipes: {recipe.name}: target_training", [target.task for target in study.targets]
    at = (*at, "target_training")
    for name in asked.of or ():
        if name not in names:
            mistakes.add(f"{of}: of: {name!r} is no target of the study: {did_you_mean(name, names)}", *at, "of")
    found = [known(name, "targets") for name in names if asked.of is None or name in asked.of]
    trained = [known(task.training_task, "targets") for task in found if task and task.training_task]
    if found and not trained and None not in found:
        mistakes.add(f"{of}: nothing is trained on its targets; leave it out", *at)
    for task in filter(None, trained):
        if task.train_languages != "en":
            mistakes.add(f"{of}: {task.name} trains on all its languages already; name another target in `of`", *at)
        with mistakes.at(*at):
            if asked.translated is not None:
                _check_translated(recipe, task, asked.translated)


def _check_agreement(study: Study, catalog: Catalog, recipe: RecipeEntry) -> None:
    """A stage is optimised in one way: what its tasks' presets say of it must be the same."""
    first: dict[str, Any] = {}
    for name in recipe.tasks:
        hyper = study.hyperparameters(catalog[name], recipe.training, intermediate=True)
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


def _check_healing(study: Study, known: Callable[..., Task | None], mistakes: Mistakes) -> None:
    """Something is healed if the study says how, and on plain text."""
    healing = study.healing
    if not any(entry.heal for entry in study.encoders):
        if "healing" in study.model_fields_set and not mistakes.problems:  # of which one may be of the encoder to heal
            mistakes.add("healing: no encoder of the study has `heal`, a number of tokens; leave it out", "healing")
        return
    text = known(healing.task, "healing", "healing")
    if text is None:
        return
    if not formats.get(text.format).plain_text:
        mistakes.add(f"healing: {text.name} is of format {text.format}; choose a task of format mlm", "healing", "task")
    for language in healing.languages or ():
        if language not in text.languages:
            hint = did_you_mean(language, text.languages)
            mistakes.add(f"healing: unknown language {language!r}: {hint}", "healing", "languages")


def _check_mlm(recipe: RecipeEntry, mlm: MlmEntry, text: Task) -> None:
    where = f"recipes: {recipe.name}: mlm"
    if not formats.get(text.format).plain_text:
        raise UserError(f"{where}: {text.name} is of format {text.format}; choose a task of format mlm")
    for language in mlm.languages or ():
        if language not in text.languages:
            raise UserError(f"{where}: unknown language {language!r}: {did_you_mean(language, text.languages)}")


@cache
def presets() -> dict[str, dict[str, dict[str, Any]]]:
    """All named presets: preset → `default`, format or task → values; under `intermediate`, task → values."""
    content: dict[str, dict[str, dict[str, Any]]] = fast_yaml.read(PRESETS)
    return content
