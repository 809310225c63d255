"""Use an exported model on many records: files in and out, written as it goes, and taken up again after a kill."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any

from xstilts.common import digests
from xstilts.common.errors import UserError
from xstilts.handover.exported import Exported
from xstilts.handover.tables import Layout, Records, json_line, layout_of, write_records
from xstilts.tasks.formats import EVEN, Example

#: Records that are predicted together, longest first, and written when they are done.
CHUNK = 512


@dataclass(frozen=True)
class Asked:
    """What is asked of a model. ``threshold``: the confidence below which it gives no answer, 0 to 1."""

    n_best: int = 1
    threshold: float | None = None
    batch_size: int | None = None


#: Hears how many records of all are done.
Heard = Callable[[int, int], None]


def _unheard(done: int, of: int) -> None: ...


def predict(model: Exported, records: Records, asked: Asked, heard: Heard = _unheard) -> Iterator[dict[str, Any]]:
    """Each record with its ``prediction``: an answer, a label, the text of a choice, or a list of tags.

    Models that were trained with unanswerable questions may give an empty answer, and say how sure they are of theirs
    (``confidence``). With ``n_best`` above 1, where `Format.n_best`, also with so many answers and their probabilities.
    Raises UserError before the first where a record lacks a field or has one of another type.
    """
    examples = checked(model, records, asked)
    for at, said in _chunks(model, examples, asked, 0):
        for row, tokens, own in zip(records.rows[at:], _derived(model, records, at), said, strict=False):
            yield {**row, **tokens, **own}
        heard(at + len(said), len(examples))


def predict_file(model: Exported, records: Records, asked: Asked, out: Path, heard: Heard = _unheard) -> None:
    """`predict` into the file ``out``: JSON lines, CSV or Parquet, by the ending of its name.

    Predictions go to ``out``.part as they are made. Called again after a kill it goes on behind those, with the same
    result as without one; ``out`` is there when it is whole. Raises UserError where ``out`` exists, where the file
    beside it is of another input, model or options, and as `predict` does.
    """
    layout = layout_of(out)
    if layout is None or out.suffix == ".gz":
        raise UserError(f"--out {out}: its ending says no layout; name it .jsonl, .csv or .parquet")
    part = out.with_name(out.name + ".part")
    if out.exists() and not part.exists():
        raise UserError(f"--out {out}: exists already; remove it, or name another file")
    examples = checked(model, records, asked)
    try:
        with Journal(part, _begun(model, records, asked)) as journal:
            size = _chunk(asked)
            journal.keep(len(journal.said) // size * size if len(journal.said) < len(examples) else len(examples))
            heard(len(journal.said), len(examples))
            for _, said in _chunks(model, examples, asked, len(journal.said)):
                journal.write(said)
                heard(len(journal.said), len(examples))
            _finish(model, records, journal, layout, out)
            part.unlink()
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror or error}; name another file") from None


def _finish(model: Exported, records: Records, journal: Journal, layout: Layout, out: Path) -> None:
    rows = [
        {**row, **tokens, **said}
        for row, tokens, said in zip(records.rows, _derived(model, records, 0), journal.said, strict=True)
    ]
    new = out.with_name(out.name + ".new")
    write_records(rows, layout, records.dialect, new)
    os.replace(new, out)


def checked(model: Exported, records: Records, asked: Asked) -> list[Example]:
    """The examples of all records. Raises UserError where one, or what is asked, does not fit the model."""
    if not model.format.fields:
        raise UserError(
            f"{model.folder}: {model.format.title} models have vectors, and no predictions to give; "
            "xstilts.load(folder)(texts) gives these"
        )
    if asked.n_best > 1 and not model.format.n_best:
        raise UserError(f"--n-best {asked.n_best}: {model.format.title} models have one prediction each; leave it out")
    if asked.threshold is not None:
        if not 0 <= asked.threshold <= 1:
            raise UserError(f"--threshold {asked.threshold:g}: must be from 0, always an answer, to 1, never one")
        if not model.task.unanswerable:
            raise UserError(
                "--threshold: for models that have learnt that there may be no answer (SQuAD v2.0); this one always "
                "gives its best; leave it out"
            )
    examples = []
    for row, where in zip(records.rows, records.places, strict=True):
        try:
            values = records.values(row, model.format.lists)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        examples.append(model.example(values, where))
    return examples


def _chunk(asked: Asked) -> int:
    return max(CHUNK, 16 * (asked.batch_size or 0))


def _chunks(
    model: Exported, examples: list[Example], asked: Asked, begin: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The place of the first of each chunk, and what is said of its examples."""
    size = _chunk(asked)
    threshold = EVEN if asked.threshold is None else asked.threshold
    for at in range(begin, len(examples), size):
        yield at, model.predict(examples[at : at + size], asked.n_best, threshold, asked.batch_size)


def _derived(model: Exported, records: Records, begin: int) -> Iterator[dict[str, Any]]:
    """Of each record the fields that an example has and it has not: the tokens of a text."""
    for row in records.rows[begin:]:
        read = model.format.asked(records.values(row, model.format.lists))
        yield {name: value for name, value in read.items() if name not in row}


def _begun(model: Exported, records: Records, asked: Asked) -> dict[str, Any]:
    """All that decides the predictions, by what people call it."""
    files = sorted(
        file for file in model.folder.iterdir() if file.is_file() and file.suffix in (".json", ".safetensors")
    )
    return {
        "input": records.digest,
        "model": digests.of_files(files),
        "--n-best": asked.n_best,
        "--threshold": asked.threshold,
        "--batch-size": asked.batch_size,
        "--device": model.device.type,
        "precision": model.precision,
    }


class Journal:
    """What was said so far, in a file: a line on what it is of, then one a record. One process at a time has it."""

    def __init__(self, path: Path, begun: Mapping[str, Any]) -> None:
        self._path, self._begun = path, dict(begun)
        self.said: list[dict[str, Any]] = []

    def __enter__(self) -> Journal:
        self._file: BufferedRandom = open(self._path, "a+b")
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self._path}: another process is writing it; wait for it, or name another --out"
            ) from None
        self._file.seek(0)
        head, *lines = self._file.read().split(b"\n")
        if not lines:  # new, or killed before the first line was whole
            self._file.truncate(0)
            self._put([self._begun])
            return
        try:
            before = json.loads(head)
            self.said = [json.loads(line) for line in lines[:-1]]  # behind the last line end is none, or a part of one
        except ValueError:
            raise UserError(f"{self._path}: is no file that was left of a prediction; remove it") from None
        if before != self._begun:
            known = before if isinstance(before, dict) else {}
            other = " and ".join(name for name, value in self._begun.items() if known.get(name) != value)
            raise UserError(
                f"{self._path}: begun with another {other or 'version'}; remove it to begin anew, or name another --out"
            )

    def keep(self, count: int) -> None:
        """Forget what was said behind the first ``count`` records."""
        self.said = self.said[:count]
        self._file.seek(0)
        for _ in range(1 + count):
            self._file.readline()
        self._file.truncate(self._file.tell())

    def write(self, said: list[dict[str, Any]]) -> None:
        self._put(said)
        self.said += said

    def _put(self, lines: list[dict[str, Any]]) -> None:
        self._file.write("".join(map(json_line, lines)).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
