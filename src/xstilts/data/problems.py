"""What is wrong with data files: raised at the first fault, or collected so that all can be told at once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from xstilts.common.errors import UserError, printable

#: Faults told of one file; the rest are counted. A file in the wrong layout is wrong in every row.
CAP = 10


def count(n: int, noun: str) -> str:
    """ "1 row", "1,200 rows"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _short(message: str, most: int = 500) -> str:
    """On one line, the middle of a long one left out: a text of a file may be anything."""
    return printable(message if len(message) <= most else f"{message[: most // 2]} … {message[-most // 2 :]}")


#: Where in a file: the number of a line, or words such as "record 3" where lines say nothing.
Where = int | str


class Problems:
    """Takes the faults that readers find.

    A run cannot use a faulty file, so by default the first fault raises UserError. With ``collect`` reading goes
    on and ``lines()`` tells all of them, at most ``CAP`` a file. ``notes`` are of what can be used, but is to be known.
    """

    def __init__(self, collect: bool = False):
        self._collect = collect
        self._lines: dict[Path, list[str]] = {}
        self._counts: Counter[Path] = Counter()
        self.notes: list[str] = []

    def note(self, path: Path, what: str) -> None:
        self.notes.append(_short(f"{path}: {what}"))

    def add(self, path: Path, what: str, where: Where | None = None) -> None:
        """Tell that ``what`` is wrong in ``path``; ``what`` ends with what to do."""
        place = f"{path}:{where}" if isinstance(where, int) else str(path) if where is None else f"{path}: {where}"
        message = _short(f"{place}: {what}")
        if not self._collect:
            raise UserError(message)
        self._counts[path] += 1
        if self._counts[path] <= CAP:
            self._lines.setdefault(path, []).append(message)

    def __len__(self) -> int:
        return self._counts.total()

    def lines(self) -> list[str]:
        """One line a fault, file by file, and one line for those of a file that went over the cap."""
        told: list[str] = []
        for path, lines in self._lines.items():
            told += lines
            if self._counts[path] > CAP:
                told.append(f"{path}: {self._counts[path] - CAP} more problems; mend those above and check again")
        return told
