"""What a process does with a stage, on whichever machine an executor has started it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace

from xstilts.common.errors import StoreError
from xstilts.common.progress import Event, Sink
from xstilts.planning.plan import Stage
from xstilts.running.process import reason
from xstilts.running.tracking import Tracking, tracked
from xstilts.store import Store, leases
from xstilts.store.logs import StageLog, place

#: Computes a stage and publishes its artifact, telling how far it is.
Work = Callable[[Stage, Store, Sink], None]

#: What executors are given to do with a stage: `compute`, perhaps with some of its arguments.
Compute = Callable[[Stage, Store, Sink], Event]


def compute(
    stage: Stage,
    store: Store,
    told: Sink,
    *,
    tracking: Tracking | None = None,
    work: Work | None = None,
) -> Event:
    """Compute a stage unless another process is at it or has done it; gives how it ended, whatever the stage raised.

    The stage's log in the store says who computed it, and how it went. ``work`` is `stages.run_stage` by default.
    """
    try:
        return _compute(stage, store, told, tracking, work)
    except StoreError as error:
        return Event(stage.key, "unusable", str(error))


def compute_at(url: str, stage: Stage, told: Sink, do: Compute) -> Event:
    """``do`` a stage with the store at ``url``, which this machine sees, or cannot be used."""
    try:
        return do(stage, Store(url, anew=False), told)
    except StoreError as error:
        return Event(stage.key, "unusable", str(error))


def _compute(stage: Stage, store: Store, told: Sink, tracking: Tracking | None, work: Work | None) -> Event:
    lease = leases.take(store, stage.key, stage.label)
    if isinstance(lease, leases.Holder):
        return Event(stage.key, "elsewhere", lease.where)
    with lease:
        if store.peek(stage.key) is not None:
            return Event(stage.key, "done", "by another run")
        log = StageLog(store, stage.key)
        log.write("started", label=stage.label, kind=stage.kind, **place())
        last = "done"
        try:
            with tracked(tracking, stage) as track:

                def tell(event: Event) -> None:
                    nonlocal last
                    if lease.lost:
                        raise _Superseded
                    if event.state == "progress":
                        last = event.text
                    for sink in (log.hear, track, told):
                        sink(replace(event, key=stage.key))

                (work or _run_stage)(stage, store, tell)
        except StoreError:
            raise
        except _Superseded:
            log.write("superseded")
            return Event(stage.key, "elsewhere", "a process that took it over, since this one could not be heard of")
        except Exception as error:  # whatever goes wrong in one stage, the others go on; it is reported, exit 1
            text = reason(error)
            log.write("failed", reason=text, traceback=traceback.format_exc())
            return Event(stage.key, "failed", text)
        else:
            log.write("done")
            return Event(stage.key, "done", last)
        finally:
            log.close()


class _Superseded(Exception):
    """Another process has this one's stage now, since its lease could not be renewed."""


def _run_stage(stage: Stage, store: Store, told: Sink) -> None:
    if stage.processes > 1:
        from xstilts.running.launch import launch

        launch(stage, store.url, told)
        return
    from xstilts.running.stages import run_stage  # here, since it brings torch

    run_stage(stage, store, told)
