"""How far a study is, as its store says: from any terminal or machine, whoever runs it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from xstilts.common.progress import Event
from xstilts.common.units import duration
from xstilts.planning.plan import Plan, Stage
from xstilts.store import Store, leases, logs

Condition = Literal["done", "not needed", "running", "failed", "interrupted", "waiting"]


@dataclass(frozen=True)
class StageStatus:
    """``interrupted``: begun, but nobody is at it now. ``text`` says where and how far, or what went wrong."""

    stage: Stage
    state: Condition
    text: str = ""
    share: float = 0.0  # of the work done


def status(plan: Plan, store: Store) -> list[StageStatus]:
    """The state of each stage, in the plan's order."""
    missing = {stage.key for stage in plan.missing(store)}
    there, lost = store.keys(), store.lost()
    holders = leases.holders(store)
    begun = logs.keys(store)

    def of(stage: Stage) -> StageStatus:
        if stage.key not in missing:
            return StageStatus(stage, "done" if stage.key in there else "not needed")
        records = logs.read(store, stage.key) if stage.key in begun else []
        holder = holders.get(stage.key)
        if holder is not None and holder.alive and holder.process:
            steps = [record for record in _last_try(records) if record["event"] == "progress"]
            where = f"{holder.where} for {duration(time.time() - holder.process.since)}"
            if not steps:
                return StageStatus(stage, "running", where)
            last = Event.of(steps[-1])
            return StageStatus(stage, "running", f"{last.text}; {where}", last.done / max(1, last.steps))
        if stage.key in lost:
            return StageStatus(stage, "waiting", "damaged, and set aside")
        if not records:
            return StageStatus(stage, "waiting")
        if records[-1]["event"] == "failed":
            return StageStatus(stage, "failed", records[-1].get("reason", ""))
        return StageStatus(stage, "interrupted")

    return [of(stage) for stage in plan.stages.values()]


def _last_try(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts = [i for i, record in enumerate(records) if record["event"] == "started"]
    return records[starts[-1] :] if starts else []
