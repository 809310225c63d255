"""How a piece of work goes: one type of event, and sinks that hear of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: Of work under way: ``started``; ``progress``; ``note``: something that its user should know.
#: Of work that has ended: ``done``: its artifact is in the store. ``failed``: it raised what the text says, and would
#: again. ``lost``: its process or machine is gone. ``elsewhere``: another run holds its lease, as the text says.
#: ``unusable``: the store cannot be read or written, so that no other stage could go on either.
#: Of work that waits again, ``put back``: its process was lost, or another run is computing it.
State = Literal["started", "progress", "note", "done", "failed", "lost", "elsewhere", "unusable", "put back"]

#: What is said while the work goes on.
UNDER_WAY = ("progress", "note")


@dataclass(frozen=True)
class Event:
    """What is said of a piece of work. ``text`` tells people what the ``values`` are, or why it is in its state."""

    key: str = ""  # of the stage; the work itself need not know it
    state: State = "progress"
    text: str = ""
    done: int = 0  # of `steps`: optimiser steps, batches, texts …
    steps: int = 0
    values: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """For JSON: a line of a stage's log, or one between processes. It does not say of which stage it is."""
        far = {"done": self.done, "steps": self.steps} if self.steps else {}
        return {"event": self.state, **far, "text": self.text, **self.values}

    @classmethod
    def of(cls, record: Mapping[str, Any], key: str = "") -> Event:
        """What gave the `record`."""
        values = dict(record)
        values.pop("time", None)  # of a log
        own = {name: values.pop(name) for name in ("text", "done", "steps") if name in values}
        return cls(key, values.pop("event"), **own, values=values)


#: Hears of events: shows them, keeps them, or passes them on.
Sink = Callable[[Event], None]


def silent(event: Event) -> None:
    """A sink that nobody reads."""


def in_words(values: Mapping[str, float]) -> str:
    """What a training has measured, for people."""
    if "loss" in values:
        return f"loss {values['loss']:.3f}, {values['tokens_per_second']:,.0f} tokens/s"
    return f"dev {values['dev']:.1f}"
