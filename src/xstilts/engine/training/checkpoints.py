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

from xstilts.common.errors import StageError, StoreError
from xstilts.engine.machine.device import accelerator
from xstilts.engine.machine.memory import Division
from xstilts.engine.models import Joint
from xstilts.engine.training import parallel
from xstilts.engine.training.averaging import Snapshots
from xstilts.engine.training.log import Log, Point
from xstilts.planning.records import Attempt, attempts
from xstilts.store import Store

STATE, RANDOM, WEIGHTS, BEST = "state.json", "random.safetensors", "weights.safetensors", "best.safetensors"
SUMS = "sums.safetensors"

#: The packages whose code decides the bits of a training: a change of any other lets it go on.
ROOMS = ("common", "data", "encoders", "engine", "planning", "tasks")

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
class TrainingState:
    """All that changes while a model is trained."""

    model: Joint
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    divisions: dict[str, Division]  # task → how its batches go through the model
    log: Log = field(default_factory=Log)
    best: dict[str, torch.Tensor] | None = None  # trained weights by name, where those of an earlier step are the best
    snapshots: Snapshots | None = None


def parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Each once, under one of its names, without its gradient."""
    return ((name, parameter.detach()) for name, parameter in model.named_parameters())


class Checkpoints:
    """The checkpoint of the stage ``key`` in ``store``: there is one at a time, or none.

    ``agree`` is what must be the same for a training to go on as it began, beside versions, code and machine;
    ``attempts`` are those of the stage that are over and collapsed. What is damaged or does not agree is as if it were
    not there, and ``passed_over`` says why. ``began`` is when the stage did, by ``clock``, in seconds.
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
        self.attempts: list[Attempt] = []
        self.error: str | None = None  # why the last one could not be written
        self.passed_over: str | None = None  # why there was one, and it is not gone on from
        self._ended, self._took, self._step = self.began, 0.0, 0
        self._found = self._read()
        if parallel.sums(self._found is not None)[0] < accelerator().num_processes:  # all have it, or none
            if self._found:
                self.passed_over = "its checkpoint is passed over: not all of its processes can go on from it"
            self._found = None
        if self._found:
            self.attempts, self.earlier = attempts(self._found["attempts"]), self._found["seconds"]

    def _read(self) -> dict[str, Any] | None:
        if self.store.peek(self.key) is None:
            return None
        try:
            with self.store.files(self.key) as folder:
                state: dict[str, Any] = json.loads((folder / STATE).read_text())
        except StageError:
            self.passed_over = "its checkpoint is passed over: it is damaged, and set aside"
            return None
        if changes := list(_changes(state["agree"], self.agree)):
            self.passed_over = f"its checkpoint at step {state['log']['steps']} is passed over: {', '.join(changes)}"
            return None
        return state

    def due(self, step: int) -> bool:
        """Whether it is time for one, after ``step`` steps."""
        if self.policy.every_steps is not None:
            return step - self._step >= self.policy.every_steps
        return self.clock() - self._ended >= max(self.policy.seconds, self._took / self.policy.share)

    def write(self, training: TrainingState) -> None:
        """Put the checkpoint in the place of the last. Without room on the disk the training goes on without one."""
        began = self.clock()
        self._step = training.log.steps
        files = self._files(training)
        try:
            if accelerator().is_main_process:
                with self.store.publish(self.key, replace=True) as (folder, _):
                    for name, tensors in files:
                        save_file(tensors, folder / name)
                    (folder / STATE).write_text(json.dumps(self._state(training)))
        except (OSError, SafetensorError, StoreError) as error:
            self.error = f"{type(error).__name__}: {error}"
        for _ in files:  # all processes take part, to the end
            pass
        self._ended = self.clock()
        self._took = self._ended - began

    def _files(self, training: TrainingState) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        """One after the other, so that no second copy of all is in memory."""
        yield RANDOM, _random_state()
        yield WEIGHTS, _whole(dict(parameters(training.model)))
        moments = training.optimizer.state_dict()["state"]
        for kind in MOMENTS:
            yield f"{kind}.safetensors", _whole({str(i): state[kind] for i, state in moments.items()})
        if training.best is not None:
            yield BEST, _whole(training.best)
        if training.snapshots is not None:
            yield SUMS, _whole(training.snapshots.sums)

    def _state(self, training: TrainingState) -> dict[str, Any]:
        return {
            "agree": self.agree,
            "attempts": [asdict(attempt) for attempt in self.attempts],
            "seconds": self.earlier + self.clock() - self.began,
            "scaler": training.scaler.state_dict(),
            "divisions": {task: asdict(division) for task, division in training.divisions.items()},
            "log": asdict(training.log),
            "snapshots": training.snapshots.taken if training.snapshots else 0,
        }

    def restore(self, training: TrainingState) -> None:
        """Bring ``training`` to where the checkpoint was, if there is one."""
        if self._found is None:
            return
        found, self._found = self._found, None
        with self.store.files(self.key) as folder, torch.no_grad():
            weights = dict(parameters(training.model))
            for name, tensor in _tensors(folder / WEIGHTS):
                weights[name].copy_(parallel.like(weights[name], tensor))
            moments: dict[int, dict[str, torch.Tensor]] = {}
            trained = [parameter for group in training.optimizer.param_groups for parameter in group["params"]]
            for kind in MOMENTS:
                for i, tensor in _tensors(folder / f"{kind}.safetensors"):
                    own = trained[int(i)].detach()
                    moments.setdefault(int(i), {})[kind] = tensor if kind == "step" else parallel.like(own, tensor)
            groups = training.optimizer.state_dict()["param_groups"]
            training.optimizer.load_state_dict({"state": moments, "param_groups": groups})
            if (folder / BEST).exists() and accelerator().is_main_process:
                training.best = {name: tensor.to(weights[name].device) for name, tensor in _tensors(folder / BEST)}
            if training.snapshots is not None and accelerator().is_main_process:
                training.snapshots.sums = dict(_tensors(folder / SUMS))
                training.snapshots.taken = found["snapshots"]
            _set_random_state(dict(_tensors(folder / RANDOM)))
        training.scaler.load_state_dict(found["scaler"])
        training.divisions |= {task: Division(**division) for task, division in found["divisions"].items()}
        log = found["log"]
        training.log = Log(**{**log, "points": [Point(**point) for point in log["points"]]})
        training.log.resumed_at.append(training.log.steps)
        self._step = training.log.steps

    def over(self, attempt: Attempt) -> None:
        """The stage begins anew, after an ``attempt`` that collapsed."""
        self.attempts.append(attempt)
        self._step = 0

    def remove(self) -> None:
        """Once the stage's artifact is published."""
        self.store.remove(self.key)


def _whole(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU; in the first process alone, though all take part."""
    gathered = ((name, parallel.full(tensor)) for name, tensor in tensors.items())
    main = accelerator().is_main_process
    return {name: tensor.cpu().contiguous() for name, tensor in gathered if main}


def _tensors(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """One at a time, on the CPU."""
    with safe_open(file, "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - it is no dictionary
            yield name, tensors.get_tensor(name)


def _random_state() -> dict[str, torch.Tensor]:
    """Of torch's generators, a row a process; nothing else draws from a generator of the process."""
    engine = accelerator()
    states = {"cpu": torch.get_rng_state()}
    if engine.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    return {name: engine.gather(state.to(engine.device)[None]).cpu() for name, state in states.items()}


def _set_random_state(states: dict[str, torch.Tensor]) -> None:
    own = accelerator().process_index  # torch reads a state from where its storage begins: a row is to be a copy
    torch.set_rng_state(states["cpu"][own].clone())
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"][own].clone())


def _changes(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What a checkpoint was written with, and is otherwise now."""
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if name == "code" and old != new:
            rooms = [room for room in ROOMS if isinstance(old, dict) and old.get(room) != now[name][room]]
            yield f"other code ({', '.join(rooms)})" if rooms else "other code"
        elif old != new:
            yield f"{name} {old} → {new}"


@cache
def _surroundings() -> dict[str, Any]:
    """What may change a bit of a training that goes on elsewhere or later, beside the stage."""
    engine = accelerator()
    return {
        "code": _code(Path(__file__).parents[2]),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "device": engine.device.type,
        "processes": engine.num_processes,
    }


def _code(source: Path) -> dict[str, str]:
    """A hash of each of the `ROOMS` in the package's folder."""
    digests = {room: hashlib.sha256() for room in ROOMS}
    for room, digest in digests.items():
        for file in sorted((source / room).rglob("*.py")):
            digest.update(file.relative_to(source).as_posix().encode() + file.read_bytes())
    return {room: digest.hexdigest() for room, digest in digests.items()}
