"""Rows: the model inputs made of examples, and the tensors that a batch of them becomes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch

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


class Chained(Rows):
    """The rows of several sets one after the other.

    Where ``examples`` says how many are in each set, the rows' ``example`` counts on from one set to the next.
    """

    def __init__(self, sets: Sequence[Sequence[Row]], examples: Sequence[int] | None = None) -> None:
        self._sets = sets
        self._ends = [0, *accumulate(map(len, sets))]
        self._before = [0, *accumulate(examples or [0] * len(sets))]

    def __len__(self) -> int:
        return self._ends[-1]

    def row(self, i: int) -> Row:
        number = bisect_right(self._ends, i) - 1
        row, before = self._sets[number][i - self._ends[number]], self._before[number]
        return replace(row, example=before + row.example) if before else row

    def places(self) -> list[range]:
        """Of each set's rows."""
        return [range(*ends) for ends in pairwise(self._ends)]


#: torch's cross entropy passes such a target over.
IGNORED = -100


#: Lengths are padded to a multiple of this. On the CPU, oneDNN compiles its kernels for each shape and keeps them:
#: few shapes save seconds and gigabytes. GPUs' tensor cores like it too.
MULTIPLE = 8


def padded(length: int) -> int:
    """``length`` rounded up to a multiple of 8."""
    return -(-length // MULTIPLE) * MULTIPLE


def pad(rows: Sequence[Row], pad_id: int) -> dict[str, torch.Tensor]:
    """Token ids and attention mask [rows, length], or [rows, choices, length] where rows hold several sequences.

    ``length`` is that of the longest row, rounded up (see `padded`). A row of fewer choices than another is filled up
    by ones of a single token, whose answers mean nothing.
    """
    length = padded(max(row.length for row in rows))
    choices = max(len(row.sequences) for row in rows)
    ids = np.full((len(rows), choices, length), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), choices, length), dtype=np.int64)
    types = np.zeros((len(rows), choices, length), dtype=np.int64)
    for i, row in enumerate(rows):
        for j, sequence in enumerate(row.sequences):
            ids[i, j, : len(sequence)] = sequence
            mask[i, j, : len(sequence)] = 1
            if row.type_ids is not None:
                types[i, j, : len(sequence)] = row.type_ids[j]
        mask[i, len(row.sequences) :, 0] = 1
    arrays: Mapping[str, np.ndarray] = {"input_ids": ids, "attention_mask": mask}
    if rows[0].type_ids is not None:
        arrays = {**arrays, "token_type_ids": types}
    return {name: torch.from_numpy(array if choices > 1 else array[:, 0]) for name, array in arrays.items()}


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and behind a single text."""
    encoded = tokenizer("a")
    ids, parts = encoded["input_ids"], encoded.sequence_ids()
    return ids[: parts.index(0)], ids[len(parts) - parts[::-1].index(0) :]


def encode(tokenizer: Any, first: list[str], second: list[str] | None, **options: Any) -> list[list[list[int]]]:
    """``[ids, type ids]`` of each text or pair of texts; type ids are an empty list where the encoder has none."""
    encoded = tokenizer(first, second, return_attention_mask=False, **options)
    types = encoded.get("token_type_ids") if "token_type_ids" in tokenizer.model_input_names else None
    return [[ids, types[i] if types else []] for i, ids in enumerate(encoded["input_ids"])]
