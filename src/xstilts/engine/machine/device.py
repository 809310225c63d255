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
    """``bf16``, ``fp16`` or ``fp32``: what ``auto`` comes to on this device, else ``wanted`` itself."""
    if wanted != "auto":
        return wanted
    device = accelerator().device
    if device.type == "cuda":  # GPUs without bf16 (before Ampere) are fast in fp16
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16" if fast else "fp32"
    return "fp32"


DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def autocast(precision: str) -> AbstractContextManager[object]:
    return torch.autocast(accelerator().device.type, dtype=DTYPES[precision], enabled=precision != "fp32")


def on_cpu() -> bool:
    return bool(accelerator().device.type == "cpu")


def attention() -> str:
    """The attention implementation, by its name in Transformers: SDPA on a GPU, our own on the CPU."""
    if not on_cpu():
        return "sdpa"
    from xstilts.engine.machine import attention as blocked  # registers itself

    return blocked.NAME
