"""One file a format: examples → rows of token ids → model targets → predictions → scores.

A format is a module with the functions of :class:`Format`. Predictions are strings, one an example, so that every
format's predictions fit one table: an answer (after its null odds and a tab, where there may be none), a label, the
index of a choice, tags joined by spaces, a pair's id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch

from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.task import Task

#: Token ids, or the type ids of tokens, one after the other.
Ids = npt.NDArray[np.int32] | Sequence[int]


@dataclass(slots=True)
class Row:
    """One model input made of an example: one sequence of token ids, or one a choice.

    A long example gives several rows (windows). ``target`` is what the loss compares with: a class id, a pair of
    token positions, or one tag id a token; None where the example has no gold. ``window`` is what the format needs to
    read the outputs back, such as the offsets of the tokens. All are kept as arrays [n] of 32 bits.
    """

    example: int  # index of the example it was made of
    sequences: Sequence[Ids]  # with special tokens
    type_ids: Sequence[Ids] | None = None  # for encoders whose tokenizer gives them
    target: Any = None
    window: Any = None

    def __post_init__(self) -> None:
        self.sequences = [np.asarray(ids, np.int32) for ids in self.sequences]
        if self.type_ids is not None:
            self.type_ids = [np.asarray(ids, np.int32) for ids in self.type_ids]
        if self.target is not None:
            self.target = np.asarray(self.target, np.int32).reshape(-1)
        if self.window is not None:
            self.window = np.asarray(self.window, np.int32).reshape(-1)

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        return max(len(sequence) for sequence in self.sequences)

    @property
    def tokens(self) -> int:
        return sum(len(sequence) for sequence in self.sequences)


#: torch's cross entropy passes such a target over.
IGNORED = -100

#: metric → one (numerator, denominator) an example; the score is 100 · Σ numerator / Σ denominator.
Outcomes = dict[str, list[tuple[float, float]]]


class Decoder(Protocol):
    """How outputs become predictions."""

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        """A batch's outputs, reduced to what :meth:`assemble` needs of each row."""

    def assemble(self, examples: Sequence[Any], rows: Sequence[Row], reduced: Sequence[Any], task: Task) -> list[str]:
        """One prediction an example, from the reduced outputs of all its rows.

        Retrieval takes the vectors of the rows, which are on disk; mining, which looks at two sets, has ``find``.
        """


class Format(Decoder, Protocol):
    """What a module in this package provides."""

    AUTO_CLASS: str  # name of the Transformers class with the head

    def model_options(self, task: Task) -> dict[str, Any]:
        """Configuration of the head: number and names of the labels."""

    def make_rows(
        self, examples: Sequence[Any], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        """Model inputs of ``examples``; with ``training``, rows that cannot be learnt from are left out."""

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        """The label tensors that the loss takes, for sequences padded to ``length``."""

    def loss(self, model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The mean loss over the targets of a batch. ``inputs`` are of `pad` and `targets`."""

    def majority(self, examples: Sequence[Any], task: Task) -> list[str]:
        """Predictions that read nothing: the same for every example, and as often right as such can be."""

    def score(self, examples: Sequence[Any], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
        """The outcomes of each example with gold, by metric; some are normalised by the rules of ``language``."""


def get(name: str) -> Format:
    return cast(Format, import_module(f"{__name__}.{name}"))


#: Lengths are padded to a multiple of this. On the CPU, oneDNN compiles its kernels for each shape and keeps them:
#: few shapes save seconds and gigabytes. GPUs' tensor cores like it too.
MULTIPLE = 8


def padded(length: int) -> int:
    """``length`` rounded up to a multiple of 8."""
    return -(-length // MULTIPLE) * MULTIPLE


def pad(rows: Sequence[Row], pad_id: int) -> dict[str, torch.Tensor]:
    """Token ids and attention mask [rows, length], or [rows, choices, length] where rows hold several sequences.

    ``length`` is that of the longest row, rounded up (see `padded`).
    """
    length = padded(max(row.length for row in rows))
    choices = len(rows[0].sequences)
    ids = np.full((len(rows), choices, length), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), choices, length), dtype=np.int64)
    types = np.zeros((len(rows), choices, length), dtype=np.int64)
    for i, row in enumerate(rows):
        for j, sequence in enumerate(row.sequences):
            ids[i, j, : len(sequence)] = sequence
            mask[i, j, : len(sequence)] = 1
            if row.type_ids is not None:
                types[i, j, : len(sequence)] = row.type_ids[j]
    arrays: Mapping[str, np.ndarray] = {"input_ids": ids, "attention_mask": mask}
    if rows[0].type_ids is not None:
        arrays = {**arrays, "token_type_ids": types}
    return {name: torch.from_numpy(array if choices > 1 else array[:, 0]) for name, array in arrays.items()}


def model_loss(model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the model itself takes for its loss."""
    value: torch.Tensor = model(**inputs).loss
    return value


def most_frequent(gold: Iterable[str]) -> str:
    """The first in the alphabet, if tied."""
    counts = Counter(gold)
    return min(counts, key=lambda each: (-counts[each], each), default="")


def encode(tokenizer: Any, first: list[str], second: list[str] | None, **options: Any) -> list[list[list[int]]]:
    """``[ids, type ids]`` of each text or pair of texts; type ids are an empty list where the encoder has none."""
    encoded = tokenizer(first, second, return_attention_mask=False, **options)
    types = encoded.get("token_type_ids") if "token_type_ids" in tokenizer.model_input_names else None
    return [[ids, types[i] if types else []] for i, ids in enumerate(encoded["input_ids"])]
