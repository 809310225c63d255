"""The device, its precision and its attention: chosen once, from what the machine has."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import torch
from accelerate import Accelerator


@cache
def accelerator() -> Accelerator:
    return Accelerator()


def precision(wanted: str) -> str:
    """``bf16`` or ``fp32``: what ``auto`` comes to on this device, else ``wanted`` itself."""
    if wanted != "auto":
        return wanted
    device = accelerator().device
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return "bf16" if fast else "fp32"


def autocast(precision: str) -> AbstractContextManager[object]:
    return torch.autocast(accelerator().device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def attention() -> str:
    """SDPA on a GPU; on the CPU its slow path with dropout costs three times two plain matrix products."""
    return "sdpa" if accelerator().device.type == "cuda" else "eager"
