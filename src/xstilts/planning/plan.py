"""A plan: which stages there are, what each depends on, and its key. Knows nothing of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from xstilts.common import html
from xstilts.encoders import Encoder, EncoderFacts
from xstilts.planning.data_ref import DataRef
from xstilts.planning.hyperparameters import Lengths, Optimisation, Precision, Reading
from xstilts.planning.recipe import PROPORTIONAL, Mean, Sampling
from xstilts.planning.study import Study, TargetEntry
from xstilts.store import Store
from xstilts.tasks.task import Task

#: Raised when a change of the code changes what a kind of stage puts out; old artifacts are then not used any more.
REVISIONS = {"translate": 1, "train": 3, "merge": 1, "average": 1, "predict": 4, "score": 2, "heal": 1}


@dataclass(frozen=True)
class Translate:
    """Translate a task's English training data by machine."""

    source: DataRef
    language: str
    engine: str


@dataclass(frozen=True)
class Translation:
    """A task's training data in another language: what a stage made, or in files of the user's."""

    language: str
    engine: str
    stage: str | None  # key
    files: str | None = None  # pattern
    fingerprint: str | None = None  # of the files


@dataclass(frozen=True)
class Heal:
    """Distil a pruned encoder from the model that it was cut out of, on about ``tokens`` tokens of plain text."""

    encoder: Encoder
    task: Task
    texts: tuple[DataRef, ...]
    reading: Reading  # without its epochs
    optimisation: Optimisation
    tokens: int


@dataclass(frozen=True)
class TrainingPart:
    """One task of a training stage: what is learnt, in what it is selected, and how its data are read."""

    task: Task
    train: DataRef
    dev: DataRef
    reading: Reading
    digest: str  # of all that decides it
    translations: tuple[Translation, ...] = ()  # of `train`, trained on beside it


@dataclass(frozen=True)
class MlmPart:
    """Plain text of several languages, whose masked language modelling makes up ``share`` of a stage's steps."""

    task: Task
    texts: tuple[DataRef, ...]
    reading: Reading
    share: float
    digest: str  # of all that decides it


@dataclass(frozen=True)
class Train:
    """Fine-tune an encoder (or the model of an earlier stage) on the English data of one task or several."""

    encoder: Encoder
    parts: tuple[TrainingPart, ...]
    optimisation: Optimisation
    seed: int
    start: str | None  # key of the stage, of training or healing, whose encoder this one starts from
    pooler: bool = True  # whether the encoder's pooler comes along
    sampling: Sampling = PROPORTIONAL
    mlm: MlmPart | None = None
    snapshots: int | None = None  # whose mean weights are kept too
    head: str | None = None  # key of the stage whose trained head this one takes over, and leaves as it is

    @property
    def task(self) -> Task:
        """The first task, whose head is kept."""
        return self.parts[0].task

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """In one table, with those of the first task's data."""
        return self.parts[0].reading.model_dump() | self.optimisation.model_dump()

    @property
    def trained_on(self) -> str:
        return "+".join([*(part.task.name for part in self.parts), *([self.mlm.task.name] if self.mlm else [])])


@dataclass(frozen=True)
class Merge:
    """Add weighted task vectors, what training changed in the encoder, to the encoder as it was."""

    encoder: Encoder
    seed: int
    weights: tuple[tuple[str, float], ...]  # key of the training stage, weight
    start: str | None = None  # key of the stage that healed the encoder


@dataclass(frozen=True)
class Average:
    """Average the weights of a target's training stages, or of the snapshots that each of them took."""

    encoder: Encoder
    part: TrainingPart
    precision: Precision
    seed: int  # of the first run
    runs: tuple[str, ...]  # keys of the training stages
    snapshots: bool

    @property
    def task(self) -> Task:
        return self.part.task

    @property
    def trained_on(self) -> str:
        return self.task.name


@dataclass(frozen=True)
class Predict:
    """Predict a target's examples in all languages, with a trained model or the encoder as it is."""

    encoder: Encoder
    task: Task  # its labels are the classes of the model in the order of their ids, under the target's names
    sets: tuple[DataRef, ...]
    lengths: Lengths
    precision: Precision
    seed: int  # of a randomly initialised encoder; 0 where nothing is random
    hidden_layer: int | None
    model: str | None  # key of the training stage, or of the one that healed the encoder
    pooling: Literal["mean", "cls"] = "mean"
    dev: tuple[DataRef, ...] = ()  # what the threshold of each of the sets is chosen on


@dataclass(frozen=True)
class Score:
    """Compare predictions with gold."""

    task: Task
    sets: tuple[DataRef, ...]
    predictions: str


Kind = Literal["translate", "heal", "train", "merge", "average", "predict", "score"]
Spec = Translate | Heal | Train | Merge | Average | Predict | Score


@dataclass(frozen=True)
class Stage:
    """One step of the plan. ``key`` is a hash of all that decides its output."""

    key: str
    kind: Kind
    label: str
    spec: Spec = field(repr=False)
    inputs: tuple[str, ...]
    flops: float = 0.0

    @property
    def processes(self) -> int:
        """That compute it together."""
        return self.spec.optimisation.processes if isinstance(self.spec, Train) else 1


@dataclass(frozen=True)
class Cell:
    """One cell of the study and the keys of its stages."""

    encoder: Encoder
    recipe: str
    target: TargetEntry
    seed: int  # of a mean over seeds, the first one, whose head they share
    intermediate: str | None
    training: str | None  # or averaging
    predictions: str
    score: str | None  # None where no language has gold
    mean: Mean | None = None  # of the recipe's models, whose scores these are; None: a model itself

    @property
    def recipe_label(self) -> str:
        """The recipe, and which mean of its models, as tables name it."""
        return self.mean.label(self.recipe) if self.mean else self.recipe


@dataclass(frozen=True, repr=False)
class Plan:
    """The stages in an order in which each stands behind its inputs, and the cells that they serve."""

    study: Study
    stages: dict[str, Stage]
    cells: tuple[Cell, ...]
    facts: dict[Encoder, EncoderFacts]
    data: tuple[tuple[str, DataRef, int], ...]  # (use, data, examples)
    notes: tuple[str, ...]
    auto: Precision | None = None  # what `precision: auto` came to, where the study has it
    healed: Mapping[Encoder, str] = field(default_factory=dict)  # encoder → key of the stage that heals it

    @property
    def precisions(self) -> set[Precision]:
        """That its models compute in."""
        specs = [stage.spec for stage in self.stages.values()]
        trained = {spec.optimisation.precision for spec in specs if isinstance(spec, Train | Heal)}
        return trained | {spec.precision for spec in specs if isinstance(spec, Average | Predict)}

    def missing(self, store: Store, *, verify: bool = False, models: bool = False) -> list[Stage]:
        """The stages to compute: those whose artifact is needed and not there.

        Needed are scores, what was there once and is damaged, and, of cells without a score, predictions: a store that
        has the scores alone has all that a report needs. With ``models`` so are all predictions and the models that
        they are of, which export and submission want. With ``verify`` the scores' files are read, and what is damaged
        is set aside.
        """
        there = store.keys()
        needed: set[str] = set()
        behind = [cell.score or cell.predictions for cell in self.cells]
        if verify:
            there -= {key for key in there.intersection(behind) if store.get(key) is None}
        behind += store.lost() & self.stages.keys()
        if models:
            behind += [key for cell in self.cells for key in (cell.predictions, cell.training) if key]
        while behind:
            key = behind.pop()
            if key not in needed and key not in there:
                needed.add(key)
                behind += self.stages[key].inputs
        return [stage for key, stage in self.stages.items() if key in needed]

    def beyond_english(self, cell: Cell) -> tuple[str, ...]:
        """The languages but English whose labelled data, translations too, the models of a cell were given.

        None where it is zero-shot in all languages. Text without labels (MLM, healing) does not count.
        """
        specs = (self.stages[key].spec for key in self.behind(cell.predictions))
        parts = [part for spec in specs if isinstance(spec, Train) for part in spec.parts]
        trained = {language for part in parts for ref in (part.train, part.dev) for language in ref.language.split("+")}
        translated = {one.language for part in parts for one in part.translations}
        return tuple(sorted((trained | translated) - {"en"}))

    def selected_on(self, cell: Cell) -> str | None:
        """The languages of the dev data by which a cell's model was selected, joined by +; None of no training."""
        spec = self.stages[cell.training].spec if cell.training else None
        parts = spec.parts if isinstance(spec, Train) else (spec.part,) if isinstance(spec, Average) else ()
        return parts[0].dev.language if parts else None

    def flops_by_recipe(self) -> dict[str, dict[str, float]]:
        """Recipe → target → operations of its training, prediction and scoring, over all encoders and seeds.

        What a recipe does before the targets, once for all of them, stands under the target "" .
        """
        stages: dict[str, dict[str, set[str]]] = {}
        intermediate = {key for cell in self.cells for key in self.behind(cell.intermediate)} | {*self.healed.values()}
        for cell in self.cells:
            of_recipe = stages.setdefault(cell.recipe_label, {})
            of_cell = self.behind(cell.predictions)
            of_recipe.setdefault("", set()).update(of_cell & intermediate)
            of_recipe.setdefault(cell.target.task, set()).update(of_cell - intermediate)
        return {
            recipe: {target: sum(self.stages[key].flops for key in keys) for target, keys in by_target.items()}
            for recipe, by_target in stages.items()
        }

    def __repr__(self) -> str:
        """How many stages of which kind there are."""
        kinds = Counter(stage.kind for stage in self.stages.values())
        said = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        work = sum(stage.flops for stage in self.stages.values())
        return f"Plan of {self.study.name}: {len(self.stages)} stages ({said}), {work:.2g} FLOP"

    def _repr_html_(self) -> str:
        """For a notebook: beside that, what they cost by recipe and target."""
        targets = [target.task for target in self.study.targets]
        rows = [
            (recipe, *(f"{by_target.get(target, 0.0) / 1e12:,.1f}" for target in ("", *targets)))
            for recipe, by_target in self.flops_by_recipe().items()
        ]
        return (
            html.paragraphs(repr(self))
            + html.table(("TFLOP, all seeds and encoders", "before", *targets), rows)
            + html.paragraphs("\n".join(f"note: {note}" for note in self.notes))
        )

    def behind(self, key: str | None) -> set[str]:
        """A stage and all that it needs."""
        return set() if key is None else {key}.union(*map(self.behind, self.stages[key].inputs))
