"""A stage's training amid its steps, on disk: a stage that is killed goes on where its last checkpoint was.

What goes on computes the same bits as what was never interrupted, on the CPU. The order of the examples and the
learning rate follow from the seed and the number of steps, and are not kept.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from xstilts.errors import StageError, StoreError
from xstilts.store import Store
from xstilts.training.device import accelerator
from xstilts.training.log import Log, Point
from xstilts.training.memory import Division

STATE, RANDOM, WEIGHTS, BEST = "state.json", "random.safetensors", "weights.safetensors", "best.safetensors"

#: AdamW's state: a tensor of each kind for every parameter that was trained yet.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Policy:
    """When checkpoints are written: ``seconds`` apart or more, so that writing takes at most ``share`` of the time.

    A stage shorter than ``seconds`` writes none. With ``every_steps`` they come after so many steps instead.
    """

    seconds: float = 30.0
    share: float = 0.02
    every_steps: int | None = None


@dataclass
class Training:
    """All that changes while a model is trained."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    divisions: dict[str, Division]  # task → how its batches go through the model
    log: Log = field(default_factory=Log)
    best: dict[str, torch.Tensor] | None = None  # parameters by name, where those of an earlier step are the best


def parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Each once, under one of its names, without its gradient."""
    return ((name, parameter.detach()) for name, parameter in model.named_parameters())


class Checkpoints:
    """The checkpoint of the stage ``key`` in ``store``: there is one at a time, or none.

    ``agree`` is what must be the same for a training to go on as it began, beside versions, code and machine;
    ``attempts`` are those of the stage that are over and collapsed. What is damaged or does not agree is as if it were
    not there. ``began`` is when the stage did, by ``clock``, in seconds.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        agree: dict[str, Any],
        policy: Policy = Policy(),
        began: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.store, self.key, self.policy, self.clock = store, key, policy, clock
        self.agree = {**_surroundings(), **agree}
        self.began = clock() if began is None else began
        self.earlier = 0.0  # seconds that the attempt before this process had taken, up to its checkpoint
        self.attempts: list[dict[str, Any]] = []
        self.error: str | None = None  # why the last one could not be written
        self._ended, self._took, self._step = self.began, 0.0, 0
        self._found = self._read()
        if self._found:
            self.attempts, self.earlier = self._found["attempts"], self._found["seconds"]

    def _read(self) -> dict[str, Any] | None:
        if self.store.peek(self.key) is None:
            return None
        try:
            with self.store.files(self.key) as folder:
                state: dict[str, Any] = json.loads((folder / STATE).read_text())
        except StageError:  # it was damaged, and is set aside
            return None
        return state if state["agree"] == self.agree else None

    def due(self, step: int) -> bool:
        """Whether it is time for one, after ``step`` steps."""
        if self.policy.every_steps is not None:
            return step - self._step >= self.policy.every_steps
        return self.clock() - self._ended >= max(self.policy.seconds, self._took / self.policy.share)

    def write(self, training: Training) -> None:
        """Put the checkpoint in the place of the last. Without room on the disk the training goes on without one."""
        began = self.clock()
        self._step = training.log.steps
        try:
            with self.store.publish(self.key, replace=True) as (folder, _):
                self._fill(folder, training)
        except (OSError, SafetensorError, StoreError) as error:
            self.error = f"{type(error).__name__}: {error}"
        self._ended = self.clock()
        self._took = self._ended - began

    def _fill(self, folder: Path, training: Training) -> None:
        moments = training.optimizer.state_dict()["state"]
        for kind in MOMENTS:  # file by file, so that no second copy of all is in memory
            save_file(_on_cpu({str(i): state[kind] for i, state in moments.items()}), folder / f"{kind}.safetensors")
        save_file(_on_cpu(dict(parameters(training.model))), folder / WEIGHTS)
        if training.best is not None:
            save_file(_on_cpu(training.best), folder / BEST)
        save_file(_random_state(), folder / RANDOM)
        state = {
            "agree": self.agree,
            "attempts": self.attempts,
            "seconds": self.earlier + self.clock() - self.began,
            "scaler": training.scaler.state_dict(),
            "divisions": {task: asdict(division) for task, division in training.divisions.items()},
            "log": asdict(training.log),
        }
        (folder / STATE).write_text(json.dumps(state))

    def restore(self, training: Training) -> None:
        """Bring ``training`` to where the checkpoint was, if there is one."""
        if self._found is None:
            return
        found, self._found = self._found, None
        with self.store.files(self.key) as folder, torch.no_grad():
            weights = dict(parameters(training.model))
            for name, tensor in _tensors(folder / WEIGHTS):
                weights[name].copy_(tensor)
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for kind in MOMENTS:
                for i, tensor in _tensors(folder / f"{kind}.safetensors"):
                    moments.setdefault(int(i), {})[kind] = tensor
            groups = training.optimizer.state_dict()["param_groups"]
            training.optimizer.load_state_dict({"state": moments, "param_groups": groups})
            if (folder / BEST).exists():
                training.best = {name: tensor.to(weights[name].device) for name, tensor in _tensors(folder / BEST)}
            _set_random_state(dict(_tensors(folder / RANDOM)))
        training.scaler.load_state_dict(found["scaler"])
        training.divisions |= {task: Division(**division) for task, division in found["divisions"].items()}
        log = found["log"]
        training.log = Log(**{**log, "points": [Point(**point) for point in log["points"]]})
        training.log.resumed_at.append(training.log.steps)
        self._step = training.log.steps

    def over(self, attempt: dict[str, Any]) -> None:
        """The stage begins anew, after an ``attempt`` that collapsed."""
        self.attempts.append(attempt)
        self._step = 0

    def remove(self) -> None:
        self.store.remove(self.key)


def _on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _tensors(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """One at a time, on the CPU."""
    with safe_open(file, "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - it is no dictionary
            yield name, tensors.get_tensor(name)


def _random_state() -> dict[str, torch.Tensor]:
    """Of torch's generators; nothing else draws from a generator of the process."""
    states = {"cpu": torch.get_rng_state()}
    if accelerator().device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_state(states: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


@cache
def _surroundings() -> dict[str, Any]:
    """What may change a bit of a training that goes on elsewhere or later, beside the stage."""
    source = hashlib.sha256()
    root = Path(__file__).parents[1]
    for file in sorted(root.rglob("*.py")):
        source.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    engine = accelerator()
    return {
        "code": source.hexdigest(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "device": engine.device.type,
        "processes": engine.num_processes,
    }
