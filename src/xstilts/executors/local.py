"""Stages one after the other in this process, which keeps encoders and features in memory between them."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Protocol

from xstilts.plan import Stage
from xstilts.stages import run_stage
from xstilts.store import Store

#: Why a stage was not even tried.
SKIPPED = "skipped: a stage that it needs failed"


class Listener(Protocol):
    """Is told how a run goes; the command line shows it, a test records it."""

    def started(self, stage: Stage) -> None: ...

    def progress(self, stage: Stage, done: int, steps: int, text: str) -> None: ...

    def finished(self, stage: Stage) -> None: ...

    def failed(self, stage: Stage, reason: str) -> None: ...


def execute(stages: Sequence[Stage], store: Store, listener: Listener) -> dict[str, str]:
    """Compute ``stages`` in their order; gives key → reason of those that failed or were skipped.

    A failed stage stops only those that need it.
    """
    failures: dict[str, str] = {}
    for stage in stages:
        if any(key in failures for key in stage.inputs):
            failures[stage.key] = SKIPPED
            continue
        listener.started(stage)
        try:
            run_stage(stage, store, lambda done, steps, text, stage=stage: listener.progress(stage, done, steps, text))
        except Exception as error:  # whatever goes wrong in one stage, the others go on; it is reported, exit 1
            failures[stage.key] = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            listener.failed(stage, failures[stage.key])
        else:
            listener.finished(stage)
        gc.collect()
    return failures
