"""What retrieval and mining have in common: sentences are compared by the encoder's vectors, and nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from xstilts.common.progress import Sink
from xstilts.engine import inference
from xstilts.engine.heads import Head
from xstilts.engine.inference import Reader, Set
from xstilts.engine.rows import Row, encode
from xstilts.engine.vectors import Embedded
from xstilts.planning.hyperparameters import Lengths
from xstilts.planning.records import Mined
from xstilts.tasks.formats import E
from xstilts.tasks.task import Task


def rows_of(texts: Iterable[str], tokenizer: Any, lengths: Lengths, side: int | None = None) -> list[Row]:
    """A row a text; ``window`` holds the ``side`` of a pair that it is."""
    encoded = encode(tokenizer, list(texts), None, truncation=True, max_length=lengths.max_length)
    return [Row(i, [ids], [types] if types else None, window=side) for i, (ids, types) in enumerate(encoded)]


def mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the tokens of each row, in 32 bits: [rows, length, hidden], [rows, length] → [rows, hidden]."""
    weights = mask.unsqueeze(-1).to(torch.float32)
    return (hidden.float() * weights).sum(1) / weights.sum(1)


class Compared(Head[E]):
    AUTO_CLASS = "AutoModel"

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        raise TypeError("nothing is trained on sentences to compare")

    def loss(self, model: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        raise TypeError("nothing is trained on sentences to compare")

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        """Each sentence's vector after every block, L2-normalised: [blocks, hidden] a row, in 16 bits.

        ``outputs`` is (hidden states [rows, length, hidden] of the blocks, attention mask [rows, length], pooling).
        ``mean`` is over all tokens, special ones included (jiant taskmodels.py:335, XTREME's Tatoeba); ``cls`` takes
        the first token (XTREME's scripts/run_bucc2018.sh).
        """
        blocks, mask, pooling = outputs
        if pooling == "cls":
            pooled = [hidden[:, 0].float() for hidden in blocks]
        else:
            pooled = [mean(hidden, mask) for hidden in blocks]
        return list(torch.nn.functional.normalize(torch.stack(pooled, 1), dim=-1).half().cpu().numpy())

    def embed(self, reader: Reader, sets: Sequence[Set], progress: Sink) -> list[Embedded]:
        """The sentence vectors of each of ``sets``."""
        assert reader.hidden_layer is not None, "a plan says which block is compared"
        return inference.embed(
            reader.model, [one.rows for one in sets], self, reader.task, pad_id=reader.pad_id,
            precision=reader.precision, hidden_layer=reader.hidden_layer, pooling=reader.pooling, progress=progress,
        )  # fmt: skip

    def predict(self, reader: Reader, sink: Sink) -> tuple[list[list[str]], dict[str, Mined]]:
        text = f"{len(reader.sets)} languages"
        embedded = self.embed(reader, reader.sets, lambda event: sink(replace(event, text=text)))
        return self.compared(reader, embedded), {}

    def compared(self, reader: Reader, embedded: Sequence[Embedded]) -> list[list[str]]:
        """One prediction an example of each of the sets, by the vectors of each."""
        return [
            self.assemble(one.examples, one.rows, vectors, reader.task)
            for one, vectors in zip(reader.sets, embedded, strict=True)
        ]
