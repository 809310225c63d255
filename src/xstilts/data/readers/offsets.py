"""Answers that the passage does not have where their offset says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from xstilts.data.problems import Problems
from xstilts.tasks.formats import GoldAnswer
from xstilts.tasks.task import OnBadOffset

#: How many of the ids are told.
FEW = 3


def in_place(context: str, answer: GoldAnswer) -> bool:
    return answer.start >= 0 and context.startswith(answer.text, answer.start)


def nearest(context: str, answer: GoldAnswer, reach: int | None = None) -> GoldAnswer | None:
    """``answer`` where the context has it nearest to its offset, at most ``reach`` characters away; None if nowhere."""
    before = context.rfind(answer.text, 0, max(0, answer.start) + len(answer.text))
    after = context.find(answer.text, max(0, answer.start))
    places = [place for place in (before, after) if place >= 0]
    best = min(places, key=lambda place: abs(place - answer.start), default=None)
    if best is None or (reach is not None and abs(best - answer.start) > reach):
        return None
    return GoldAnswer(answer.text, best)


@dataclass
class Offsets:
    """Takes the answers of one file or split, and says afterwards what was wrong with how many of them.

    By ``rule``, answers that are not at their offset stay as they are ("keep": who reads only their texts, as scores
    do, needs no offset), or make an error, are dropped or mended. What cannot be mended is dropped.
    """

    rule: OnBadOffset | Literal["keep"]
    answers: int = 0
    wrong: list[str] = field(default_factory=list)  # ids of questions
    first: str = ""  # what is wrong with the first
    mended: int = 0

    def settle(self, id: str, context: str, answers: Iterable[GoldAnswer]) -> tuple[GoldAnswer, ...]:
        """Those of ``answers`` that are to be used; none are where those of a train set are dropped."""
        kept = []
        for answer in answers:
            self.answers += 1
            if in_place(context, answer):
                kept.append(answer)
                continue
            self.wrong.append(id)
            if not self.first:
                start, end = answer.start, answer.start + len(answer.text)
                found = context[start:end] if start >= 0 else ""
                self.first = f"id {id}: answer_start {start} of {answer.text!r} gives {found!r} in the context"
            if self.rule == "mend" and (place := nearest(context, answer)) is not None:
                self.mended += 1
                kept.append(place)
            elif self.rule not in ("drop", "mend"):
                kept.append(answer)
        return tuple(kept)

    def tell(self, path: Path, problems: Problems) -> None:
        """Add what was wrong to ``problems``, as a fault or a note."""
        if self.fault:
            problems.add(path, self.fault)
        if self.note:
            problems.note(path, self.note)

    @property
    def fault(self) -> str | None:
        """Why the file cannot be used; None where it can."""
        if not self.wrong or self.rule != "error":
            return None
        return (
            f"{self._told}, the first {self.first}; offsets count characters (not bytes) from 0: mend the file, or say "
            "`on_bad_offset: mend`, or `drop`, in the entry"
        )

    @property
    def note(self) -> str | None:
        """What was done with them."""
        if not self.wrong or self.rule == "error":
            return None
        dropped = len(self.wrong) - self.mended
        done = {
            "keep": "scored by text",
            "drop": f"{dropped:,} dropped",
            "mend": f"{self.mended:,} mended" + (f", {dropped:,} dropped: not in the context" if dropped else ""),
        }
        return f"{self._told} ({self._ids}): {done[self.rule]}"

    @property
    def _told(self) -> str:
        return f"{len(self.wrong):,} of {self.answers:,} answers are not at their offset"

    @property
    def _ids(self) -> str:
        ids = list(dict.fromkeys(self.wrong))
        return f"{'id' if len(ids) == 1 else 'ids'} {', '.join(ids[:FEW])}{' …' if len(ids) > FEW else ''}"
