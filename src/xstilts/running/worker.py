"""What a process does with a stage, on whichever machine an executor has started it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping

from xstilts.common.errors import StoreError
from xstilts.planning.plan import Stage
from xstilts.running.process import reason
from xstilts.running.progress import Ended, Told
from xstilts.running.tracking import Tracking, tracked
from xstilts.store import Store, leases
from xstilts.store.logs import StageLog, place

#: Computes a stage and publishes its artifact, telling how far it is.
Work = Callable[[Stage, Store, Told], None]

#: What executors are given to do with a stage: `compute`, perhaps with some of its arguments.
Compute = Callable[[Stage, Store, Callable[[int, int, str], None]], Ended]


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
    from xstilts.running.stages import run_stage  # here, since it brings torch

    run_stage(stage, store, told)
