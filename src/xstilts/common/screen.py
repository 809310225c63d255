"""What is printed for people: tables that lose nothing, and consoles that take no text for markup."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from xstilts.common.errors import printable

#: Between two columns.
_GAP = 2
#: Fewer columns are too few for a sentence beside others.
_SENTENCE = 24


def console(*, stderr: bool = False) -> Console:
    """The one kind of console here: names such as [a], :b: and *c* come out as they are."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(text: str, *, stderr: bool = False) -> None:
    """A sentence, which the terminal may break, and a pipe gets on one line."""
    print(text, file=sys.stderr if stderr else sys.stdout)


@dataclass
class Listing:
    """A table with a head. ``right`` are the names of its columns of numbers."""

    head: Sequence[str]
    right: frozenset[str] = frozenset()
    title: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        self.rows.append(tuple("" if cell is None else printable(str(cell)) for cell in cells))

    def print(self) -> None:
        """On a terminal as people read it; into a pipe tab-separated, with all that is in it."""
        if self.title:
            print(self.title)
        if not sys.stdout.isatty():
            print(self.tsv())
            return
        out = console()
        lines = self.lines(out.width)
        folded = any(line.startswith(" ") for line in lines[1:2])
        for number, line in enumerate(lines):
            heads = not line.startswith(" ") if folded else number == 0
            out.print(Text(line, style="bold" if heads else ""), soft_wrap=True)

    def tsv(self) -> str:
        return "\n".join("\t".join(row) for row in (self.head, *self.rows))

    def lines(self, width: int) -> list[str]:
        """Columns where ``width`` has room, at most the last one broken between words; else each row with its names."""
        columns = [*zip(self.head, *self.rows, strict=True)]
        wide = [max(map(cell_len, column)) for column in columns]
        room = width - sum(wide[:-1]) - _GAP * (len(wide) - 1)
        if wide[-1] > room and (room < _SENTENCE or _longest_word(columns[-1]) > room or self.head[-1] in self.right):
            return [line for row in self.rows for line in self._folded(row, width)]
        found = []
        for row in (self.head, *self.rows):
            *cells, last = row
            # A wide letter takes two columns, which `textwrap` does not know.
            parts = [last] if cell_len(last) <= room else _wrapped(last, room)
            padded = [self._padded(name, cell, size) for name, cell, size in zip(self.head, cells, wide, strict=False)]
            before = "".join(cell + " " * _GAP for cell in padded)
            if self.head[-1] in self.right:
                parts = [" " * (wide[-1] - cell_len(last)) + last]
            found += [(before + parts[0]).rstrip(), *(" " * cell_len(before) + part for part in parts[1:])]
        return found

    def _padded(self, name: str, cell: str, size: int) -> str:
        space = " " * (size - cell_len(cell))
        return space + cell if name in self.right else cell + space

    def _folded(self, row: Sequence[str], width: int) -> list[str]:
        said = [f"{name}\u00a0{cell}".replace(" ", "\u00a0") if len(cell) < _SENTENCE else f"{name}\u00a0{cell}"
                for name, cell in zip(self.head[1:], row[1:], strict=True) if cell]  # fmt: skip
        wrapped = _wrapped(", ".join(said), width, "  ")
        return [row[0], *(line.replace("\u00a0", " ") for line in wrapped)]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Broken between words alone: an id stays whole, and so can be copied."""
    lines = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return lines or [""]


def _longest_word(cells: Sequence[str]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.split(" ")), default=0)
