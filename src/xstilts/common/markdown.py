"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Iterable[object]], right: Iterable[bool] | None = None) -> str:
    """``rows`` under their ``header``; ``right`` says which columns are set flush right. Entries stay on one line."""
    marks = ["---"] * len(header) if right is None else ["---:" if one else "---" for one in right]
    return "\n".join(f"| {' | '.join(map(cell, cells))} |" for cells in (header, marks, *rows))


def cell(entry: object) -> str:
    """An entry as text that neither a line nor a cell ends in."""
    return str(entry).replace("|", "\\|").replace("\n", " ")
