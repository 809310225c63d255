"""Rows in, predictions out: no gradients, longest batches first, outputs reduced batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from xstilts.common.progress import Event, Sink, silent
from xstilts.engine.batches import evaluation_batches
from xstilts.engine.machine.device import accelerator, autocast
from xstilts.engine.machine.threads import side_by_side
from xstilts.engine.rows import Chained, Row, pad, padded
from xstilts.engine.vectors import Embedded, Vectors
from xstilts.tasks.formats import Format
from xstilts.tasks.task import Task

MAX_TOKENS = 4096  # of a batch, with padding


class Decoder(Protocol):
    """How outputs become predictions."""

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        """A batch's outputs, reduced to what `assemble` needs of each row."""

    def assemble(self, examples: Sequence[Any], rows: Sequence[Row], reduced: Any, task: Task) -> list[str]:
        """One prediction an example, from the reduced outputs of all its rows."""


@dataclass(frozen=True)
class Set:
    """Examples in one language, and their rows."""

    language: str
    examples: Sequence[Any]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Reader:
    """A model and what it is to predict: ``sets``, with ``dev`` beside each where thresholds are chosen on them.

    ``hidden_layer`` is the block whose vectors are compared, 0 = embeddings; None where a trained head answers.
    """

    model: PreTrainedModel
    task: Task
    sets: Sequence[Set]
    dev: Sequence[Set]
    pad_id: int
    precision: str
    hidden_layer: int | None
    pooling: Literal["mean", "cls"]


def predict(
    model: PreTrainedModel,
    sets: Sequence[tuple[Sequence[Any], Sequence[Row]]],
    fmt: Decoder,
    task: Task,
    *,
    pad_id: int,
    precision: str,
    progress: Sink = silent,
    device: torch.device | None = None,
    batch_size: int | None = None,
) -> list[list[str]]:
    """One prediction an example of each of ``sets`` (examples and their rows), all in one pass sorted by length.

    On ``device``, by default the accelerator's; in batches of ``batch_size`` rows, by default of `MAX_TOKENS`.
    """
    rows = Chained([own for _, own in sets])
    reduced: dict[int, Any] = {}
    for indices, results in reduced_outputs(
        model, rows, range(len(rows)), lambda batch, outputs: fmt.reduce(batch, outputs, task),
        pad_id=pad_id, precision=precision, progress=progress, device=device, batch_size=batch_size,
    ):  # fmt: skip
        reduced.update(zip(indices, results, strict=True))
    return [
        fmt.assemble(examples, own, [reduced[i] for i in places], task)
        for (examples, own), places in zip(sets, rows.places(), strict=True)
    ]


def embed(
    model: PreTrainedModel,
    sets: Sequence[Sequence[Row]],
    fmt: Decoder,
    task: Task,
    *,
    pad_id: int,
    precision: str,
    hidden_layer: int,
    pooling: Literal["mean", "cls"],
    progress: Sink = silent,
) -> list[Embedded]:
    """The sentence vectors of each of ``sets``, after every block, from one pass over all rows.

    ``hidden_layer`` is the block that is scored first, 0 = embeddings. A sentence that stands in several sets, as the
    English side of a parallel corpus does, is read once.
    """
    rows = Chained(sets)
    first = _first_of_its_like(rows)
    vectors = Vectors()
    places = np.zeros(len(rows), np.int64)
    for indices, results in reduced_outputs(
        model, rows, np.unique(first).tolist(), lambda batch, outputs: fmt.reduce(batch, outputs, task),
        pad_id=pad_id, precision=precision, pooling=pooling, progress=progress,
    ):  # fmt: skip
        places[indices] = range(len(vectors), len(vectors) + len(indices))
        vectors.append(np.stack(results))
    vectors.close()
    return [Embedded(vectors, places[first[own.start : own.stop]], hidden_layer) for own in rows.places()]


def reduced_outputs(
    model: PreTrainedModel,
    rows: Sequence[Row],
    indices: Sequence[int],
    reduce: Callable[[Sequence[Row], Any], list[Any]],
    *,
    pad_id: int,
    precision: str,
    pooling: str | None = None,
    progress: Sink = silent,
    device: torch.device | None = None,
    batch_size: int | None = None,
) -> Iterator[tuple[list[int], list[Any]]]:
    """The reduced outputs of the rows ``indices``, batch by batch; with ``pooling``, of the outputs of all blocks.

    ``reduce`` is given a batch's rows and the model's outputs, and gives what is kept of each row.
    """
    device = device or accelerator().device
    cast(nn.Module, model).to(device).eval()  # Transformers' own annotation of `to` is of no use
    sizes = [padded(row.length) * len(row.sequences) for row in map(rows.__getitem__, indices)]
    batches = evaluation_batches(sizes, MAX_TOKENS, batch_size)

    def of(batch: Sequence[int]) -> tuple[list[int], list[Any]]:
        places = [indices[i] for i in batch]
        chosen = [rows[i] for i in places]
        inputs = {name: tensor.to(device) for name, tensor in pad(chosen, pad_id).items()}
        with torch.inference_mode(), autocast(precision, device):
            outputs = model(**inputs, output_hidden_states=pooling is not None)
        if pooling is not None:
            outputs = outputs.hidden_states, inputs["attention_mask"], pooling
        return places, reduce(chosen, outputs)

    with side_by_side(len(batches) if device.type == "cpu" else 1) as at_once:
        for done, results in enumerate(at_once(of, batches), 1):
            yield results
            progress(Event(done=done, steps=len(batches)))


def _first_of_its_like(rows: Iterable[Row]) -> np.ndarray:
    """For each row the index of the first one with the same token ids."""
    seen: dict[bytes, int] = {}
    digests = (blake2b(np.asarray(row.sequences[0]).tobytes(), digest_size=16).digest() for row in rows)
    return np.array([seen.setdefault(digest, i) for i, digest in enumerate(digests)], np.int64)


def score(examples: Sequence[Any], predictions: Sequence[str], fmt: Format, task: Task, language: str) -> float:
    """The task's main metric over ``examples``, in points."""
    outcomes = fmt.score(examples, predictions, task, language)[task.metric]
    return 100.0 * sum(n for n, _ in outcomes) / max(sum(d for _, d in outcomes), 1.0)
