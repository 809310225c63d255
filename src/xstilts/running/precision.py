"""What the precision of a study's models means on the machines that compute it, told before anything is computed."""

from __future__ import annotations

from xstilts.common.errors import UserError
from xstilts.planning.plan import Plan
from xstilts.store import Store, runs


def check(plan: Plan, elsewhere: bool) -> None:
    """Raises UserError where this machine would say what `precision: auto` is, and others (``elsewhere``) compute."""
    if elsewhere and plan.auto:
        raise UserError(
            f"training: precision: `auto` would be {plan.auto}, what this machine is fast in, and other machines are "
            f"to compute; say in which precision: `precision: bf16` (GPUs since Ampere) or fp32"
        )


def notes(plan: Plan, store: Store) -> list[str]:
    """What is slow on this machine, and what the store has of the study in another precision."""
    found = []
    if slow := sorted(plan.precisions - {"fp32"}):
        from xstilts.engine.machine.device import is_slow  # here, since it brings torch

        found += [
            f"precision: {one} is not in this machine's arithmetic, and many times slower here than fp32"
            for one in slow
            if is_slow(one)
        ]
    last = runs.latest(store, plan.study.name)
    if plan.auto and last and last.precision not in ("", plan.auto):
        found.append(
            f"precision: `auto` is {plan.auto} on this machine and was {last.precision} on {last.host}, where it was "
            f"run last: computed anew; `precision: {last.precision}` in `training` goes on with that run"
        )
    return found
