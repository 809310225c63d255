"""What every process that computes stages sees to: its environment, memory and cores."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

from xstilts.common.errors import StageError


def environment(threads: int) -> dict[str, str]:
    """What the libraries of a process with so many threads read when they load. The user's own settings win."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": str(threads > 1).lower(),
        "RAYON_NUM_THREADS": str(threads),
        # glibc: keep what a step has freed for the next one, instead of asking for fresh pages (buffers above 32 MB
        # always are); after a stage it goes back.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    }


def reason(error: BaseException) -> str:
    """One line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, StageError) else f"{type(error).__name__}: {text}"


def give_back_memory() -> None:
    """Return what a stage has freed to the system: glibc keeps free pages between pages in use, up to gigabytes."""
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def cores() -> int:
    """How many cores this process may use: as many stages run at the same time where there is no GPU."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
