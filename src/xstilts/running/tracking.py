"""Losses, dev scores and throughput of training, sent to an experiment tracker as they come: one run a stage.

The trackers are Accelerate's; each reads its own settings (addresses, tokens) from its own environment variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xstilts.common.errors import UserError
from xstilts.common.progress import Event, Sink, silent
from xstilts.planning.plan import Heal, Stage, Train


class Tracker(str, Enum):
    tensorboard = "tensorboard"
    wandb = "wandb"
    mlflow = "mlflow"
    trackio = "trackio"


@dataclass(frozen=True)
class Tracking:
    """Where to: the runs are grouped under the ``study``'s name; ``folder`` is for trackers that keep files."""

    tracker: Tracker
    study: str
    folder: Path

    def __post_init__(self) -> None:
        if find_spec(self.tracker.value) is None:
            raise UserError(f"--track {self.tracker.value}: not installed; pip install {self.tracker.value}")

    def start(self, stage: Stage) -> Any:
        """Accelerate's tracker with a run begun for ``stage``; one that was interrupted goes on where that can be."""
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        name = f"{stage.label} ({stage.key[:8]})"
        arguments: dict[Tracker, dict[str, Any]] = {
            Tracker.tensorboard: {
                "run_name": re.sub(r"[^\w@.+-]+", "-", name).strip("-"),
                "logging_dir": self.folder / "tensorboard",
            },
            Tracker.wandb: {
                "run_name": "xstilts", "group": self.study, "name": name, "id": stage.key[:32], "resume": "allow",
            },
            Tracker.mlflow: {"experiment_name": self.study, "run_name": name, "tags": {"xstilts.key": stage.key}},
            Tracker.trackio: {"run_name": self.study, "name": name, "resume": "allow"},
        }  # fmt: skip
        tracker = LOGGER_TYPE_TO_CLASS[self.tracker.value](**arguments[self.tracker])
        tracker.start()
        tracker.store_init_configuration(_configuration(stage))
        return tracker


@contextmanager
def tracked(tracking: Tracking | None, stage: Stage) -> Iterator[Sink]:
    """Gives what hears of a stage. Only trainings are tracked; a run begins with the first values."""
    if tracking is None or not isinstance(stage.spec, Train | Heal):
        yield silent
        return
    runs: list[Any] = []

    def track(event: Event) -> None:
        if event.values and not runs:
            runs.append(tracking.start(stage))
        if event.values:
            runs[0].log(dict(event.values), step=event.done)

    try:
        yield track
    finally:
        for run in runs:
            run.finish()


def _configuration(stage: Stage) -> dict[str, str | int | float | bool]:
    """What decides the stage, flat, for the tracker's tables."""
    spec = stage.spec
    if isinstance(spec, Heal):
        learning_rate = spec.optimisation.learning_rate
        return {"key": stage.key, "encoder": spec.encoder.label, "tokens": spec.tokens, "learning_rate": learning_rate}
    assert isinstance(spec, Train), "only training has values to track"
    hyper = {name: "none" if value is None else value for name, value in spec.hyperparameters.items()}
    return {"key": stage.key, "encoder": spec.encoder.label, "tasks": spec.trained_on, "seed": spec.seed, **hyper}
