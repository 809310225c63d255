"""A format's torch half, one file a format: examples → rows of token ids → targets, loss → predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

import torch

from xstilts.engine.rows import Row
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats import Outcomes
from xstilts.tasks.task import Task


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


def model_loss(model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the model itself takes for its loss."""
    value: torch.Tensor = model(**inputs).loss
    return value
