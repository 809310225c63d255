"""The mean of weights: over points of a training (Schmidt et al. 2023, arXiv 2305.16834), and over models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from xstilts.common.errors import StageError

Weights = Iterable[tuple[str, torch.Tensor]]


def trained(model: nn.Module) -> Weights:
    """The weights that training changes, by name."""
    return ((name, weight.detach()) for name, weight in model.named_parameters() if weight.requires_grad)


@dataclass
class Snapshots:
    """The sum of a model's weights over the ends of ``wanted`` equal parts of its training.

    It takes the memory of one model, on the CPU, however many are ``wanted``. ``read`` gives the weights of a model.
    """

    wanted: int
    read: Callable[[nn.Module], Weights] = trained
    taken: int = 0
    sums: dict[str, torch.Tensor] = field(default_factory=dict)

    def after(self, steps: int) -> frozenset[int]:
        """After which of ``steps`` steps they are taken. Raises StageError where there are fewer."""
        if steps < self.wanted:
            raise StageError(f"{self.wanted} checkpoints of a training of {steps} steps; lower `checkpoints`")
        return frozenset(round(steps * (i + 1) / self.wanted) for i in range(self.wanted))

    def take(self, model: nn.Module) -> None:
        self.taken += 1
        for name, weight in self.read(model):
            if name in self.sums:
                self.sums[name] += weight.cpu()
            else:
                self.sums[name] = weight.to("cpu", copy=True)

    def mean(self) -> dict[str, torch.Tensor]:
        return {name: total / self.taken for name, total in self.sums.items()}


def average(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The arithmetic mean of each tensor over safetensors ``files``: those of floats; others must be the same in all.

    One tensor is read at a time, so that it takes the memory of one model. Raises StageError where the files hold
    other tensors.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(safe_open(file, "pt")) for file in files]
        names = [set(each.keys()) for each in opened]
        if differing := set().union(*names) - set.intersection(*names):
            raise StageError(f"the models to average differ in {', '.join(sorted(differing)[:3])}")
        return {name: _mean(name, (each.get_tensor(name) for each in opened)) for name in sorted(names[0])}


def _mean(name: str, tensors: Iterator[torch.Tensor]) -> torch.Tensor:
    first = next(tensors)
    total, count = first.double() if first.is_floating_point() else first, 1
    for count, other in enumerate(tensors, 2):  # noqa: B007 - counts them
        if other.shape != first.shape or not (first.is_floating_point() or torch.equal(first, other)):
            raise StageError(f"the models to average differ in {name}")
        if first.is_floating_point():
            total += other
    return (total / count).to(first.dtype) if first.is_floating_point() else first


def put(weights: Mapping[str, torch.Tensor], model: nn.Module) -> None:
    """Give ``model`` these ``weights``, by name."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            own[name].copy_(weight)
