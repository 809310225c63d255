"""What a process does with a stage, on whichever machine an executor has started it."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Protocol

from xstilts.common.errors import StageError, StoreError
from xstilts.executors import Ended
from xstilts.planning.plan import Stage
from xstilts.store import leases
from xstilts.store.logs import StageLog, place
from xstilts.store.store import Store
from xstilts.tracking import Tracking, tracked


class Told(Protocol):
    """Is told how far a stage is: steps done, all steps, a text for people, and the values that it is made of."""

    def __call__(self, done: int, steps: int, text: str, values: Mapping[str, float] = ..., /) -> None: ...


#: Computes a stage and publishes its artifact, telling how far it is.
Work = Callable[[Stage, Store, Told], None]

#: What executors are given to do with a stage: `compute`, perhaps with some of its arguments.
Compute = Callable[[Stage, Store, Callable[[int, int, str], None]], Ended]


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


def compute(
    stage: Stage,
    store: Store,
    told: Callable[[int, int, str], None],
    *,
    tracking: Tracking | None = None,
    work: Work | None = None,
) -> Ended:
    """Compute a stage unless another process is at it or has done it; gives how it ended, whatever the stage raised.

    The stage's log in the store says who computed it, and how it went. ``work`` is `stages.run_stage` by default.
    """
    try:
        return _compute(stage, store, told, tracking, work)
    except StoreError as error:
        return Ended(stage.key, "unusable", str(error))


def _compute(
    stage: Stage, store: Store, told: Callable[[int, int, str], None], tracking: Tracking | None, work: Work | None
) -> Ended:
    lease = leases.take(store, stage.key, stage.label)
    if isinstance(lease, leases.Holder):
        return Ended(stage.key, "elsewhere", lease.where)
    with lease:
        if store.peek(stage.key) is not None:
            return Ended(stage.key, "done", "by another run")
        log = StageLog(store, stage.key)
        log.write("started", label=stage.label, kind=stage.kind, **place())
        last = "done"
        try:
            with tracked(tracking, stage) as track:

                def tell(done: int, steps: int, text: str, values: Mapping[str, float] = {}, /) -> None:
                    nonlocal last
                    if lease.lost:
                        raise _Superseded
                    last = text
                    log.write("progress", done=done, steps=steps, text=text, **values)
                    track(done, values)
                    told(done, steps, text)

                (work or _run_stage)(stage, store, tell)
        except StoreError:
            raise
        except _Superseded:
            log.write("superseded")
            return Ended(stage.key, "elsewhere", "a process that took it over, since this one could not be heard of")
        except Exception as error:  # whatever goes wrong in one stage, the others go on; it is reported, exit 1
            text = reason(error)
            log.write("failed", reason=text, traceback=traceback.format_exc())
            return Ended(stage.key, "failed", text)
        else:
            log.write("done")
            return Ended(stage.key, "done", last)
        finally:
            log.close()


class _Superseded(Exception):
    """Another process has this one's stage now, since its lease could not be renewed."""


def _run_stage(stage: Stage, store: Store, told: Told) -> None:
    if stage.processes > 1:
        from xstilts.running.launch import launch

        launch(stage, store.url, told)
        return
    from xstilts.stages import run_stage  # here, since it brings torch

    run_stage(stage, store, told)


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
