"""The device, its precision and its attention: chosen once, from what the machine has."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import torch
from accelerate import Accelerator

from xstilts.common.errors import UserError
from xstilts.planning.hyperparameters import Precision


@cache
def accelerator() -> Accelerator:
    return Accelerator()


def named(name: str | None) -> torch.device:
    """The device of that name, `cpu`, `cuda`, `cuda:1` or `mps`; by default the accelerator's. Raises UserError."""
    if name is None:
        return torch.device(accelerator().device)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # PyTorch has no error of its own for it
        reason = str(error).split("\n")[0].split(". ")[0]
        raise UserError(f"device {name}: cannot be used here: {reason}; take cpu, or leave it out") from None
    if device.type == "meta":
        raise UserError("device meta: computes nothing; take cpu, or leave it out")
    return device


def fast_precision(device: torch.device | None = None) -> Precision:
    """What a device is fast in, and precise enough for training: what `precision: auto` comes to on this one."""
    device = device or accelerator().device
    if device.type == "cuda":  # GPUs without bf16 (before Ampere) are fast in fp16
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16" if fast else "fp32"
    return "fp32"


def is_slow(precision: str) -> bool:
    """Whether this device has no arithmetic of that precision, and computes it by way of fp32.

    On CPUs without bf16 a training takes 27 to 38 times as long as in fp32 (measured, PyTorch 2.13).
    """
    fast = fast_precision()
    return precision != "fp32" and (fast == "fp32" or (precision, fast) == ("bf16", "fp16"))


DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def autocast(precision: str, device: torch.device | None = None) -> AbstractContextManager[object]:
    return torch.autocast((device or accelerator().device).type, dtype=DTYPES[precision], enabled=precision != "fp32")


def on_cpu() -> bool:
    return bool(accelerator().device.type == "cpu")


def attention() -> str:
    """The attention implementation, by its name in Transformers: SDPA on a GPU, our own on the CPU."""
    if not on_cpu():
        return "sdpa"
    from xstilts.engine.machine import attention as blocked  # registers itself

    return blocked.NAME
