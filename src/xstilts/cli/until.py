"""`xstilts run --until`: a seed more, where it helps most, and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xstilts import api
from xstilts.analysis import until
from xstilts.analysis.gather import gather
from xstilts.analysis.until import Goal, MainGain
from xstilts.common.errors import UserError
from xstilts.common.units import duration, parse_duration
from xstilts.planning import added
from xstilts.planning.estimate import forecast
from xstilts.planning.plan import Plan
from xstilts.planning.study import Study
from xstilts.running.process import cores
from xstilts.store import Store


@dataclass(frozen=True)
class Wanted:
    """How precise comparisons are to be, and by when at the latest: a moment of `time.monotonic`, or None."""

    goal: Goal
    end: float | None


def wanted(study: Study, precision: str | None, budget: str | None) -> Wanted | None:
    """What `--until` and `--budget` say. Raises UserError."""
    if precision is None:
        if budget is not None:
            raise UserError(f"--budget {budget}: is for --until")
        return None
    try:
        seconds = None if budget is None else parse_duration(budget)
    except ValueError as error:
        raise UserError(f"--budget: {error}") from None
    return Wanted(until.goal(precision, study), None if seconds is None else time.monotonic() + seconds)


def add_seeds(
    file: Path, plan: Plan, store: Store, of: Wanted, compute: Callable[[Plan], Mapping[str, str]],
    say: Callable[[str], None],
) -> tuple[Plan, Mapping[str, str]]:  # fmt: skip
    """Add seeds to a plan that is computed, and compute them, until what is wanted is reached or cannot be.

    Gives the plan with them, and key → reason of what failed.
    """
    width = f"± {of.goal.half_width:g}"
    while True:
        found = until.comparisons(gather(plan, store), of.goal)
        if not found:
            raise UserError(
                "--until: no recipe has a gain over `none` in a language other than English; see its scores"
            )
        short = [one for one in found if not one.reached(of.goal)]
        able = [one for one in short if one.needs is not None]
        if not able:
            say(_ended(short, found, width))
            return plan, {}
        known = added.read(store, plan.study.name)
        seeds = until.next_seeds(plan.study, known, able[0])
        more = api.plan(file, added=(*known, *seeds))
        takes = forecast(more, store, cores()).left.seconds
        if of.end is not None and time.monotonic() + takes > of.end:
            say(f"--budget: one more seed takes about {duration(takes)}, which is more than is left; {_told(able)}")
            return plan, {}
        say(f"--until {width}: seed {seeds[0].seed} of {able[0].told}, one of {len(able)} that are not there yet")
        added.add(store, plan.study.name, seeds)
        plan = more
        if failures := compute(plan):
            return plan, failures


def _ended(short: list[MainGain], found: list[MainGain], width: str) -> str:
    if not short:
        return f"--until {width}: reached by {_told(found)}"
    return (
        f"--until {width}: not reached by {_told(short)}: {until.MOST} seeds would not do; take more questions "
        "(`max_examples`) or a wider goal"
    )


def _told(some: list[MainGain]) -> str:
    return f"{some[0].told}{f', and {len(some) - 1} that are no wider' if len(some) > 1 else ''}"
