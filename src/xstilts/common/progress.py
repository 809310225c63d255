"""How a piece of work goes: one type of event, and sinks that hear of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    """How far it is: ``done`` of ``steps`` (or batches, or examples). ``text`` says to people what ``values`` are."""

    text: str = ""
    done: int = 0
    steps: int = 0
    values: Mapping[str, float] = field(default_factory=dict)


#: Hears of events: shows them, keeps them, or passes them on.
Sink = Callable[[Event], None]


def in_words(values: Mapping[str, float]) -> str:
    """What a training has measured, for people."""
    if "loss" in values:
        return f"loss {values['loss']:.3f}, {values['tokens_per_second']:,.0f} tokens/s"
    return f"dev {values['dev']:.1f}"


def silent(event: Event) -> None:
    """A sink that nobody reads."""
