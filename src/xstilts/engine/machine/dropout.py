"""Dropout at the price of a few integer operations: on the CPU, PyTorch's own costs more than the layer behind it.

The same distribution from other random numbers: an element is dropped where 15 random bits, of PyTorch's generator,
fall below a threshold. Rates are multiples of 2⁻¹⁵ (0.1 becomes 0.100006), and what is kept is scaled by that rate.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

STEPS = 1 << 15


def actual_rate(p: float) -> float:
    """The rate that is used for ``p``: the nearest multiple of 2⁻¹⁵."""
    return round(p * STEPS) / STEPS


class _Own(threading.local):
    generator: torch.Generator = torch.default_generator


_own = _Own()


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Dropout in this thread draws from ``generator``, so that threads do not take each other's numbers."""
    before, _own.generator = _own.generator, generator
    try:
        yield
    finally:
        _own.generator = before


def redrawing() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For `torch.utils.checkpoint`: what a layer runs in, and then its recomputation, which is to drop the same."""
    replay = torch.Generator()
    replay.set_state(_own.generator.get_state())
    return nullcontext(), drawing_from(replay)


def draw(shape: torch.Size, p: float) -> torch.Tensor:
    """Independent int16 numbers of ``shape``, negative with probability ``actual_rate(p)``."""
    count = math.prod(shape)
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(generator=_own.generator).view(torch.int16)[:count]
    words &= STEPS - 1  # the top bit of 63 random ones is not
    words -= round(p * STEPS)
    return words.view(shape)


class Dropout(nn.Module):
    """What `nn.Dropout` computes, on the CPU."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0.0:
            return states
        scale = 1.0 / (1.0 - actual_rate(self.p))
        if states.dtype.itemsize != 2:
            return states * (draw(states.shape, self.p) >= 0).to(states.dtype).mul_(scale)
        kept = draw(states.shape, self.p).bitwise_right_shift_(15).bitwise_not_()  # all bits set, or none
        bits = torch.tensor(scale, dtype=states.dtype).view(torch.int16).item()
        return states * kept.bitwise_and_(bits).view(states.dtype)


def replace_dropout(model: nn.Module) -> None:
    """Put `Dropout` in the place of every `nn.Dropout` of ``model``. Parameters and their names stay."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))


def signed(values: torch.Tensor, p: float, out: torch.Tensor) -> torch.Tensor:
    """``values`` ≥ 0 in ``out``, with a minus sign where they are to be dropped: one tensor says both."""
    signs = draw(values.shape, p)
    return torch.copysign(values, signs.view(values.dtype) if values.dtype.itemsize == 2 else signs, out=out)
