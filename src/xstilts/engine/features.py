"""Model inputs on disk: made once, kept by content, and mapped into memory where they are read.

A set of rows is an artifact of a store of its own (`cache_of`), so that it is published whole or not at all, and its
digests are checked before it is read. Its files are four columns of 32-bit integers, array behind array, and an index
of their lengths.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from xstilts.common import digests
from xstilts.encoders import Encoder, describe
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads
from xstilts.engine.rows import Ids, Row, Rows
from xstilts.planning.data_ref import DataRef, examples
from xstilts.planning.hyperparameters import Lengths
from xstilts.store import Store
from xstilts.tasks.formats import Example

#: Goes up when a change of the code changes what rows a format makes of the same examples.
REVISION = 2

#: Whose versions may decide how a text is cut into tokens.
LIBRARIES = ("tokenizers", "transformers")

COLUMNS = ("ids", "types", "targets", "windows")
INDEX = "index.safetensors"

Int32 = npt.NDArray[np.int32]


def cache_of(store: Store) -> Store:
    """Where features are kept: inside a local store, else in the user's cache folder. It may be deleted at any time."""
    return store.cache("features")


def cached(content: Any, label: str, make: Callable[[], Iterable[Row]], store: Store | None) -> Features:
    """The rows of ``make``, from the cache of ``store`` where they have been made before.

    ``content`` is all that decides them besides the code, as JSON has it; ``label`` says to people what they are.
    Processes that make the same rows at the same time each publish them, and they are the same. Without a store they
    are in files that vanish with the process.
    """
    if store is None:
        with tempfile.TemporaryDirectory(prefix="xstilts-") as folder:
            write(make(), Path(folder))
            return Features(Path(folder))  # the mappings stay
    cache = cache_of(store)
    decides = [REVISION, [version(library) for library in LIBRARIES], content]
    key = digests.of_json(decides)
    if cache.get(key) is None:
        cache.sweep()
        with cache.publish(key) as (folder, meta):
            write(make(), folder)
            meta["label"] = label
    with cache.files(key) as folder:
        return Features(folder)


def write(rows: Iterable[Row], folder: Path) -> None:
    """Write ``rows`` as they come into an empty folder, for `Features` to read."""
    lengths = {name: array("i") for name in COLUMNS}
    examples, sequences = array("i"), array("i")
    with ExitStack() as stack:
        files = {name: stack.enter_context(_column(folder, name).open("wb")) for name in COLUMNS}

        def put(name: str, numbers: Ids) -> None:
            files[name].write(np.asarray(numbers, "<i4").tobytes())
            lengths[name].append(len(numbers))

        for row in rows:
            examples.append(row.example)
            sequences.append(len(row.sequences))
            for ids in row.sequences:
                put("ids", ids)
            for types in row.type_ids or ():
                put("types", types)
            put("targets", () if row.target is None else row.target)
            put("windows", () if row.window is None else row.window)
    index = {"examples": examples, "sequences": sequences, **lengths}
    save_file({name: np.array(numbers, np.int32) for name, numbers in index.items()}, folder / INDEX)


def _column(folder: Path, name: str) -> Path:
    return folder / f"{name}.int32"


class Ragged:
    """Arrays of 32-bit integers of any ``lengths``, one behind the other in a file."""

    def __init__(self, file: Path, lengths: Int32) -> None:
        self._ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        if self._ends[-1]:  # "c": who writes to an array, as torch wants to be able to, has a page of his own
            self._flat: Int32 = np.memmap(file, "<i4", mode="c").view(np.ndarray)
        else:  # nothing, which cannot be mapped
            self._flat = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, i: int) -> Int32:
        return self._flat[self._ends[i] : self._ends[i + 1]]


class Features(Rows):
    """Rows in the files of a folder. Each access gives a new row, of whose arrays only those looked at are read."""

    def __init__(self, folder: Path) -> None:
        index = load_file(folder / INDEX)
        self._ids, self._types, self._targets, self._windows = (
            Ragged(_column(folder, name), index[name]) for name in COLUMNS
        )
        self._examples = index["examples"]
        self._first = np.concatenate([[0], np.cumsum(index["sequences"], dtype=np.int64)])  # of each row's sequences

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


#: Examples whose rows are in memory at once while they are made.
CHUNK = 4096


def rows_of(
    ref: DataRef, encoder: Encoder, lengths: Lengths, *, training: bool, store: Store | None = None
) -> Sequence[Row]:
    """The model inputs of a data set, from the cache of ``store``: a study reads the same set with many models."""
    return _rows(ref, Encoder(encoder.source, revision=encoder.revision), lengths, training, store)


@lru_cache(maxsize=64)
def _rows(ref: DataRef, encoder: Encoder, lengths: Lengths, training: bool, store: Store | None) -> Features:
    return features_of(partial(examples, ref), ref, encoder, lengths, training, store, [])


def features_of(
    read: Callable[[], list[Example]], ref: DataRef, encoder: Encoder, lengths: Lengths, training: bool,
    store: Store | None, decides: list[Any],
) -> Features:  # fmt: skip
    """The rows of what ``read`` gives: the examples of ``ref``, or what ``decides`` says was made of them."""
    fmt = heads.get(ref.task.format)

    def make() -> Iterator[Row]:
        tokenizer, all_examples = load_tokenizer(encoder), read()
        for at in range(0, len(all_examples), CHUNK):
            part = all_examples[at : at + CHUNK]
            for row in fmt.make_rows(part, ref.task, tokenizer, lengths, training=training):
                row.example += at
                yield row

    content = [describe(encoder).digest, ref.task.format, ref.task.labels, ref.key(), asdict(lengths), training]
    label = f"{ref.task.name} {ref.split} {ref.language} for {encoder.label}"
    return cached([*content, *decides], label, make, store)
