"""Claims as data: what is said, where, and the predicate that scores, the catalog or the data must satisfy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from xstilts.analysis.intervals import EQUIVALENCE_MARGIN
from xstilts.common import fast_yaml
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.fast_yaml import Document
from xstilts.common.validation import Mistakes, problems
from xstilts.planning.part import Closed
from xstilts.tasks import Catalog

#: What Phang et al. 2020 claim, with the setting they claim it for.
BUILTIN = Path(__file__).parent / "claims.yaml"

Tasks = tuple[str, ...]


class Predicate(Closed):
    """What must hold for a claim to be supported."""

    @property
    def named(self) -> Tasks:
        """The tasks that it names."""
        return ()


class Effect(Predicate):
    """An effect in points, and where the claim says that it lies: `about` a value, or `at_least`, `at_most` or both."""

    about: float | None = None
    margin: float = Field(EQUIVALENCE_MARGIN, gt=0, description="how far from `about` is still about it, points")
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_range(self) -> Effect:
        bounded = self.at_least is not None or self.at_most is not None
        if (self.about is not None) == bounded:
            raise ValueError("give `about`, or one of `at_least` and `at_most` or both: the points that are claimed")
        if bounded and "margin" in self.model_fields_set:
            raise ValueError("`margin` belongs to `about`; remove it")
        low, high = self.range
        if low >= high:
            raise ValueError(f"`at_least` {low:g} must be below `at_most` {high:g}")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """Points, lowest and highest, of which one may be infinite."""
        if self.about is not None:
            return self.about - self.margin, self.about + self.margin
        return (
            -math.inf if self.at_least is None else self.at_least,
            math.inf if self.at_most is None else self.at_most,
        )


class OverTargets(Effect):
    """An effect that is a mean over targets, of which a study may have some."""

    targets: Tasks = Field(min_length=1)
    languages: Literal["all", "non-English"] = Field("all", description="over which the gain on a target is the mean")

    @property
    def named(self) -> Tasks:
        return self.targets


class Gain(OverTargets):
    """The gain over `none`, mean over targets, of recipes that train on these tasks and nothing else."""

    kind: Literal["gain"]
    recipes: tuple[Tasks, ...] = Field(min_length=1, description="tasks of a recipe; several: whichever a study has")

    @field_validator("recipes", mode="before")
    @classmethod
    def _tasks(cls, value: Any) -> Any:
        return [[item] if isinstance(item, str) else item for item in value] if isinstance(value, list) else value

    @property
    def named(self) -> Tasks:
        return (*self.targets, *(task for tasks in self.recipes for task in tasks))


class Share(OverTargets):
    """At least ``share`` of all pairs of a recipe and one of the targets have a gain in the range."""

    kind: Literal["share"]
    share: float = Field(gt=0, le=1)
    min_recipes: int = Field(3, gt=0, description="recipes without which nothing can be said of a share")


class Difference(OverTargets):
    """What a recipe gains beyond the same recipe with MLM mixed in, or with translated data added."""

    kind: Literal["difference"]
    beyond: Literal["mlm", "translated"]


class Best(OverTargets):
    """The gain, mean over targets, of the recipe that English dev data choose for each."""

    kind: Literal["best"]
    languages: Literal["non-English"] = "non-English"


class OverTasks(Predicate):
    """What the catalog says of some tasks."""

    tasks: Tasks = Field(min_length=1)

    @property
    def named(self) -> Tasks:
        return self.tasks


class EncoderIs(Predicate):
    """Everything starts from this encoder."""

    kind: Literal["encoder"]
    source: str


class Roles(OverTasks):
    """These tasks are in the catalog and can play this part: trained on and evaluated, intermediate, or untrained."""

    kind: Literal["tasks"]
    role: Literal["target", "intermediate", "untrained"]
    count: int | None = Field(None, gt=0, description="how many there are said to be")
    formats: Tasks = Field((), description="formats that must be among theirs")


class Languages(OverTasks):
    """So many languages are there among these tasks."""

    kind: Literal["languages"]
    count: int = Field(gt=0)


class Provenance(OverTasks):
    """The catalog says of these tasks that their texts come from there."""

    kind: Literal["provenance"]
    mentions: tuple[str, ...] = Field(min_length=1, description="words of the catalog's `provenance`, in any case")


class Examples(Predicate):
    """A task has so many English training examples."""

    kind: Literal["examples"]
    task: str
    count: int = Field(gt=0)

    @property
    def named(self) -> Tasks:
        return (self.task,)


class Phases(Predicate):
    """A recipe with tasks trains in these phases, one after the other, from the pretrained encoder on."""

    kind: Literal["stages"]
    phases: tuple[Literal["intermediate", "target"], ...] = Field(min_length=1)


AnyPredicate = Annotated[
    Gain | Share | Difference | Best | EncoderIs | Roles | Languages | Provenance | Examples | Phases,
    Field(discriminator="kind"),
]


class Claim(Closed):
    """One claim. ``encoder`` and ``split`` are what an effect is claimed for: others are not comparable."""

    id: str = Field(min_length=1)
    statement: str = Field(min_length=1)
    source: str = Field(min_length=1, description="who says so and where")
    kind: Literal["setup", "effect", "comparison", "data"]
    encoder: str | None = None
    split: Literal["dev", "test"] | None = None
    predicate: AnyPredicate

    @field_validator("id", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def load_claims(path: Path, catalog: Catalog) -> list[Claim]:
    """Read and check a claims file. Raises UserError: a line a mistake: file, line, claim, field, what to do."""
    document = fast_yaml.read_document(path, "no such claims file (docs/claims.md shows one)")
    return make_claims(document.content, catalog, str(path), document)


def make_claims(content: Any, catalog: Catalog, name: str = "claims", document: Document | None = None) -> list[Claim]:
    """Checked claims from the content of a claims file; ``name`` stands in the error messages. Raises UserError."""
    mistakes = Mistakes(name, document)
    if not isinstance(content, list) or not content:
        raise UserError(f"{name}: a claims file is a list of claims, each with id, statement, source, kind, predicate")
    found: dict[str, Claim] = {}
    for number, entry in enumerate(content, start=1):
        where, at = _called(entry, number), number - 1
        try:
            claim = Claim.model_validate(entry)
        except ValidationError as error:
            for one in problems(error, Claim, "claim", document=document, within=(at,)):
                mistakes.add(f"{where}: {one.text}", *one.location)
            continue
        if claim.id in found:
            mistakes.add(f"{where}: id: another claim has it already; give this one its own", at)
        for task in claim.predicate.named:
            if task not in catalog:
                known = did_you_mean(task, [each.name for each in catalog])
                mistakes.add(
                    f"{where}: predicate: unknown task {task!r}: {known} (`xstilts tasks` lists all)", at, "predicate"
                )
        found[claim.id] = claim
    mistakes.check()
    return list(found.values())


def _called(entry: Any, number: int) -> str:
    name = entry.get("id") if isinstance(entry, dict) else None
    return str(name) if isinstance(name, str | int) and name != "" and str(name).isprintable() else f"claim {number}"
