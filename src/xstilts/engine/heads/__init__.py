"""A format's torch half, one file a format: examples → rows of token ids → targets, loss → predictions.

A module of this package has, as ``HEAD``, one instance of a subclass of `Head`; what is missing of its abstract members
keeps it from being imported. `xstilts.tasks.formats` holds the other half, under the same name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Generic, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from xstilts.common.arrays import Ints
from xstilts.common.progress import Sink
from xstilts.engine import inference
from xstilts.engine.inference import Decoder, Reader
from xstilts.engine.rows import Row
from xstilts.planning.hyperparameters import Lengths
from xstilts.planning.records import Mined
from xstilts.tasks import formats
from xstilts.tasks.formats import E
from xstilts.tasks.task import Task


@dataclass(frozen=True)
class InPython:
    """Python that has an exported model answer one example without xstilts, in the order in which it runs.

    `outputs(inputs)` is defined before it: logits [rows, length, 2] of the ends of spans, [rows, length, labels] of
    tags, [rows, labels] of sequences, [1, choices]; and all hidden states where there is no head.
    """

    given: str  # the example
    call: str  # arguments of `xstilts.load(folder)(…)` for it
    answer: str  # `answer`, by `outputs`
    limit: str = ""  # of what it is not the same


class Head(ABC, Generic[E]):
    """How models read and answer a format."""

    #: Name of the Transformers class with the head.
    AUTO_CLASS: ClassVar[str]
    #: Whether it reads single tokens; else one vector a sequence.
    of_tokens: ClassVar[bool] = False
    #: In a card's Python: what `model` says of `inputs`, where the head is one of Transformers'.
    OUTPUTS: ClassVar[str] = "model(**inputs).logits"
    #: In ONNX: the outputs' names, and the sizes between rows and tokens of inputs that it is tried on.
    ONNX: ClassVar[tuple[str, ...]] = ("logits",)
    ONNX_INNER: ClassVar[tuple[int, ...]] = ()

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "AUTO_CLASS"):
            raise TypeError(f"{cls.__name__}: a head must say its AUTO_CLASS")

    def model_options(self, task: Task) -> dict[str, Any]:
        """Configuration of the head: number and names of the labels."""
        return {}

    @abstractmethod
    def make_rows(
        self, examples: Sequence[E], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        """Model inputs of ``examples``; with ``training``, rows that cannot be learnt from are left out."""

    @abstractmethod
    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        """The label tensors that the loss takes, for sequences padded to ``length``."""

    def loss(self, model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The mean loss over the targets of a batch: the model's own. ``inputs`` are of `pad` and `targets`."""
        value: torch.Tensor = model(**inputs).loss
        return value

    @abstractmethod
    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        """A batch's outputs, reduced to what `assemble` needs of each row."""

    @abstractmethod
    def assemble(self, examples: Sequence[E], rows: Sequence[Row], reduced: Any, task: Task) -> list[str]:
        """One prediction an example, from the reduced outputs of all its rows."""

    def predict(self, reader: Reader, sink: Sink) -> tuple[list[list[str]], dict[str, Mined]]:
        """One prediction an example of each of the sets, and what dev data said by language, where they have a say."""
        text = f"{len(reader.sets)} languages"
        sets = [(one.examples, one.rows) for one in reader.sets]
        return inference.predict(
            reader.model, sets, self, reader.task,
            pad_id=reader.pad_id, precision=reader.precision, progress=lambda event: sink(replace(event, text=text)),
        ), {}  # fmt: skip

    def best(self, n: int) -> Decoder:
        """Decodes to JSON lists of the ``n`` best predictions, text and probability, where `Format.n_best`."""
        raise TypeError(f"{type(self).__name__} has one prediction an example")

    def in_python(self, task: Task, tokenizer: Any, lengths: Lengths, block: int | None, pooling: str) -> InPython:
        """How an exported model is used with Transformers alone; of vectors, after which ``block``, and how pooled."""
        raise TypeError(f"{type(self).__name__} has nothing to say")

    def vectors(
        self, model: PreTrainedModel, texts: Sequence[str], tokenizer: Any, lengths: Lengths, block: int, pooling: str,
        *, precision: str, device: torch.device | None = None, batch_size: int | None = None,
    ) -> np.ndarray:  # fmt: skip
        """The vectors of ``texts`` by which they are compared, where `Format.comparison`."""
        raise TypeError(f"{type(self).__name__} compares nothing")

    def probe(self, row: Row, some: Callable[[Ints], Ints]) -> tuple[Ints | None, Ints]:
        """What the head is given of a training row, and what it is to say of each: for scores without training.

        The positions of tokens, or None for the mean of each sequence; and their labels [n]. ``some`` draws a few of
        many positions.
        """
        raise TypeError(f"{type(self).__name__} has no labels to learn")


@cache
def get(name: str) -> Head:
    """The head of a format. Raises UserError where there is no such format."""
    return cast(Head, import_module(f"{__name__}.{formats.get(name).name}").HEAD)


def label_options(task: Task) -> dict[str, Any]:
    """Configuration of a head with a logit a label."""
    return {"num_labels": len(task.labels), "id2label": dict(enumerate(task.labels)),
            "label2id": {label: i for i, label in enumerate(task.labels)}}  # fmt: skip


def class_ids(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    """Targets of one class a row."""
    return {"labels": torch.tensor([int(row.target[0]) for row in rows])}
