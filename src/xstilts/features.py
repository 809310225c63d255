"""Model inputs on disk: rows are written once, and read from files that the system may keep in memory or not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import numpy.typing as npt

from xstilts.tasks.formats import Ids, Row

Int32 = npt.NDArray[np.int32]


class Ragged:
    """Arrays of 32-bit integers of any lengths, one behind the other in a file that vanishes with the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open until `close`
        self._lengths: list[int] = []

    def append(self, array: Ids) -> None:
        self._file.write(np.asarray(array, np.int32).tobytes())
        self._lengths.append(len(array))

    def close(self) -> None:
        """End the writing. From now on the arrays can be read."""
        self._file.flush()
        self._ends = np.cumsum([0, *self._lengths])
        empty = not self._ends[-1]  # which cannot be mapped
        self._flat: Int32 = np.empty(0, np.int32) if empty else np.memmap(self._file, np.int32, mode="r")
        self._file.close()  # the mapping stays

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, i: int) -> Int32:
        return self._flat[self._ends[i] : self._ends[i + 1]]


class Rows(Sequence[Row]):
    """A sequence whose rows are made when they are asked for, by `row`."""

    def row(self, i: int) -> Row:
        """Row ``i``, from 0 to the length less 1."""
        raise NotImplementedError

    @overload
    def __getitem__(self, i: int) -> Row: ...
    @overload
    def __getitem__(self, i: slice) -> list[Row]: ...
    def __getitem__(self, i: int | slice) -> Row | list[Row]:
        chosen = range(len(self))[i]  # a negative one counts from the end
        return self.row(chosen) if isinstance(chosen, int) else [self.row(j) for j in chosen]


class Features(Rows):
    """Rows in files. Each access gives a new row, of whose arrays only those that are looked at are read."""

    def __init__(self, rows: Iterable[Row]) -> None:
        examples, counts = [], [0]
        self._ids, self._types, self._targets, self._windows = columns = tuple(Ragged() for _ in range(4))
        for row in rows:
            examples.append(row.example)
            counts.append(len(row.sequences))
            for ids in row.sequences:
                self._ids.append(ids)
            for types in row.type_ids or ():
                self._types.append(types)
            self._targets.append(() if row.target is None else row.target)
            self._windows.append(() if row.window is None else row.window)
        for column in columns:
            column.close()
        self._examples = np.asarray(examples, np.int32)
        self._first = np.cumsum(counts)  # of each row's sequences

    def __len__(self) -> int:
        return len(self._examples)

    def row(self, i: int) -> Row:
        own = range(self._first[i], self._first[i + 1])
        target, window = self._targets[i], self._windows[i]
        return Row(
            int(self._examples[i]),
            [self._ids[j] for j in own],
            [self._types[j] for j in own] if len(self._types) else None,
            target if len(target) else None,
            window if len(window) else None,
        )


@dataclass(frozen=True)
class Renumbered(Rows):
    """Rows with the token ids ``mapping[id]``, for a model that knows only some of the vocabulary."""

    rows: Sequence[Row]
    mapping: npt.NDArray[np.int64]  # [vocabulary]

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, i: int) -> Row:
        row = self.rows[i]
        return replace(row, sequences=[np.asarray(self.mapping[ids], np.int32) for ids in row.sequences])
