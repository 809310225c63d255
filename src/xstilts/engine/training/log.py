"""What a training tells of itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xstilts.engine.rows import Row


@dataclass(frozen=True)
class Point:
    """A point of the training curve: mean loss since the last one, or the English dev score, after ``step`` steps."""

    step: int
    loss: float | None = None
    dev: float | None = None


@dataclass
class Log:
    """What a training leaves beside the weights."""

    points: list[Point] = field(default_factory=list)
    steps: int = 0
    tokens: int = 0  # real ones, without padding
    sequences: int = 0
    steps_of: dict[str, int] = field(default_factory=dict)  # task → its steps
    losses: list[float] = field(default_factory=list)  # of the steps since the last point
    best_step: int = 0
    best_dev: float = -math.inf  # the mean of `dev_of`
    dev_of: dict[str, float] = field(default_factory=dict)  # task → its dev score at the best step
    halvings: int = 0  # of what goes through the model at once, for want of memory
    resumed_at: list[int] = field(default_factory=list)  # steps after which it was interrupted and went on

    def add_step(self, loss: float, task: str, rows: Sequence[Row]) -> None:
        self.steps += 1
        self.tokens += sum(row.tokens for row in rows)
        self.sequences += sum(len(row.sequences) for row in rows)
        self.steps_of[task] = self.steps_of.get(task, 0) + 1
        self.losses.append(loss)

    def add_loss(self) -> float:
        """A point of the mean loss since the last one, which it gives."""
        loss = sum(self.losses) / len(self.losses)
        self.points.append(Point(self.steps, loss=loss))
        self.losses = []
        return loss
