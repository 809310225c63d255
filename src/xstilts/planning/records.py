"""What a stage puts on record of what it did, one type a kind. The store keeps it as JSON in the artifact's manifest.

Fields without a default are those that stores of every version have; what newer versions add is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from pydantic import TypeAdapter, ValidationError

from xstilts.common.errors import StoreError
from xstilts.planning.plan import Kind
from xstilts.store import Store


@dataclass(frozen=True, kw_only=True)
class Record:
    """Of a stage of any kind."""

    kind: ClassVar[Kind]

    label: str = ""
    seconds: float = 0.0  # that it took, over all processes that were at it
    peak_memory: int | None = None  # bytes
    flops: float | None = None  # counted; None where no model was used
    tokens: int | None = None  # that a model read

    def to_json(self) -> dict[str, Any]:
        """As a manifest has it."""
        return {"kind": self.kind, **{name: value for name, value in asdict(self).items() if value is not None}}


@dataclass(frozen=True, kw_only=True)
class HealRecord(Record):
    """Errors are relative squared ones of the last hidden states, on text that was held out."""

    kind = "heal"

    error_before: float  # as pruned
    error: float
    steps: int
    precision: str
    micro_batch_halvings: int = 0  # for want of memory
    resumed_at: tuple[int, ...] = ()  # steps
    checkpoint_error: str | None = None  # why the last checkpoint could not be written


#: Points above the majority class that a dev score needs, so as not to count as collapsed, and to count as learnt.
MAJORITY_MARGIN = 1.0


@dataclass(frozen=True, kw_only=True)
class TranslateRecord(Record):
    kind = "translate"

    examples: int
    dropped: Mapping[str, int]  # reason → examples


@dataclass(frozen=True)
class Attempt:
    """One training of a stage, from one seed."""

    seed: int
    dev: float  # English dev score of its best step, points: the mean over the tasks
    dev_of: Mapping[str, float]  # task → its own
    collapsed: tuple[str, ...]  # tasks on which it is no better than the majority class
    flops: float


@dataclass(frozen=True, kw_only=True)
class ModelRecord(Record):
    """Of what leaves a model under a task's head, that is scored on English dev data."""

    dev: float  # points
    precision: str


@dataclass(frozen=True, kw_only=True)
class TrainRecord(ModelRecord):
    """``attempts`` are all trainings; the rest is of the one that was kept."""

    kind = "train"

    best_step: int
    steps: int
    examples: int
    dev_of: Mapping[str, float] = field(default_factory=dict)  # task → English dev score, points
    dev_majority: Mapping[str, float] = field(default_factory=dict)  # task → that of predicting always the same
    steps_of: Mapping[str, int] = field(default_factory=dict)  # task → steps
    collapsed: tuple[str, ...] | None = None  # tasks; None where it was not looked at
    gate_of: Mapping[str, float] = field(default_factory=dict)  # task → dev score by which it is learnt or not, points
    gate_blind: Mapping[str, float] = field(default_factory=dict)  # task → that of predictions that read no question
    attempts: tuple[Attempt, ...] = ()
    micro_batch_halvings: int = 0  # for want of memory
    resumed_at: tuple[int, ...] = ()  # steps
    checkpoint_error: str | None = None  # why the last checkpoint could not be written

    @property
    def learnt(self) -> bool | None:
        """Whether it is better than reading nothing on each task; None of versions that did not look."""
        if not self.gate_of:
            return None
        return all(score > self.gate_blind[task] + MAJORITY_MARGIN for task, score in self.gate_of.items())


@dataclass(frozen=True, kw_only=True)
class MergeRecord(Record):
    kind = "merge"

    weights: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class AverageRecord(ModelRecord):
    kind = "average"

    runs: int  # trainings whose weights are averaged


@dataclass(frozen=True, kw_only=True)
class PredictRecord(Record):
    kind = "predict"

    precision: str
    hidden_layer: int | None = None  # retrieval, mining: whose output is pooled
    pooling: str | None = None
    mining: Mapping[str, Mined] = field(default_factory=dict)  # by language


@dataclass(frozen=True)
class Mined:
    """What dev data say of a language; a list has an entry for each block, the embeddings first."""

    best_block: int
    thresholds: list[float]
    dev_f1: list[float]


@dataclass(frozen=True, kw_only=True)
class ScoreRecord(Record):
    kind = "score"


_ATTEMPTS = TypeAdapter(list[Attempt])
_KINDS: dict[str, TypeAdapter[Record]] = {
    one.kind: TypeAdapter(one)
    for one in (TranslateRecord, HealRecord, TrainRecord, MergeRecord, AverageRecord, PredictRecord, ScoreRecord)
}


def attempts(content: Any) -> list[Attempt]:
    """From JSON."""
    return _ATTEMPTS.validate_python(content)


def from_json(content: Mapping[str, Any]) -> Record:
    """The record that a manifest has. Raises KeyError or ValueError where it is none."""
    return _KINDS[content["kind"]].validate_python(content)


def peek(store: Store, key: str) -> Record | None:
    """What is on record of a stage; None if its artifact is not there. Raises StoreError."""
    artifact = store.peek(key)
    if artifact is None:
        return None
    try:
        return from_json(artifact.meta)
    except (KeyError, ValidationError) as error:
        raise StoreError(
            f"store {store.url}: the record of {key[:12]} cannot be read ({str(error).splitlines()[0]}); "
            "remove its folder, then run again to compute it anew"
        ) from error
