"""How far a stage is, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol


class Told(Protocol):
    """Is told how far a stage is: steps done, all steps, a text for people, and the values that it is made of."""

    def __call__(self, done: int, steps: int, text: str, values: Mapping[str, float] = ..., /) -> None: ...


@dataclass(frozen=True)
class Progress:
    """How far the stage ``key`` is; ``text`` says loss and speed."""

    key: str
    done: int
    steps: int
    text: str


@dataclass(frozen=True)
class Ended:
    """The stage ``key`` is not worked on any more.

    ``done``: its artifact is in the store. ``failed``: it raised what ``text`` says, and would again. ``lost``: its
    process or machine is gone. ``elsewhere``: another run holds its lease, as ``text`` says. ``unusable``: the store
    cannot be read or written, so that no other stage could go on either.
    """

    key: str
    how: Literal["done", "failed", "lost", "elsewhere", "unusable"]
    text: str
