"""What a reader is given."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from xstilts.common.errors import did_you_mean
from xstilts.data.problems import Problems, Where
from xstilts.tasks.task import Files, Split


@dataclass(frozen=True)
class Source:
    """The files of one split in one language, and what the catalog entry says of them."""

    paths: tuple[Path, ...]
    layout: Files
    language: str
    labels: tuple[str, ...] = ()
    gold: Path | None = None
    open_labels: bool = False  # the files themselves say what labels there are
    format: str = ""  # the task's
    split: Split | None = None  # None: not known

    def label(self, written: str) -> str | None:
        """The task's name of a label as the files write it; None where its rows are to be passed over."""
        return self.layout.label_names.get(written, written)

    def labels_hold(self, labels: Iterable[str]) -> bool:
        """Whether all of ``labels`` are in the label set."""
        if self.open_labels:
            return all(label and " " not in label for label in labels)
        return set(labels).issubset(self.labels)

    def check_labels(self, labels: Iterable[str], path: Path, where: Where | None, problems: Problems) -> None:
        """Add a problem for each of ``labels`` that is not in the label set."""
        for label in labels:
            if not self.labels_hold([label]):
                known = f"is not in the label set; {did_you_mean(label, self.labels)}"
                problems.add(
                    path, f"label {label!r} {'is not one word; mend it' if self.open_labels else known}", where
                )

    def tell_absent(self, field: str, fields: Collection[str], path: Path, problems: Problems) -> None:
        """Tell that no row of a file has the ``field`` of its gold, only ``fields``.

        Where a file may well have no gold, that is a note, unless the field may be there with another spelling.
        """
        if field in fields:
            return
        what = f"no row has {field!r}, which holds the gold labels; fields: {', '.join(fields)}"
        if self.split in ("train", "dev") or difflib.get_close_matches(field, fields):
            problems.add(path, f"{what}; mend its name")
        else:
            problems.note(path, what)
