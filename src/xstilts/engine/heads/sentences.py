"""What retrieval and mining have in common: sentences are compared by the encoder's vectors, and nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from xstilts.common.progress import Sink
from xstilts.engine import inference
from xstilts.engine.heads import Head, InPython
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


def _normalised(outputs: tuple[Sequence[torch.Tensor], torch.Tensor, str], block: int) -> list[Any]:
    blocks, mask, pooling = outputs
    hidden = blocks[block]
    pooled = hidden[:, 0].float() if pooling == "cls" else mean(hidden, mask)
    return list(torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy())


class Compared(Head[E]):
    AUTO_CLASS = "AutoModel"
    ONNX = ("hidden_states",)
    OUTPUTS = "model(**inputs, output_hidden_states=True).hidden_states"

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

    def vectors(
        self, model: PreTrainedModel, texts: Sequence[str], tokenizer: Any, lengths: Lengths, block: int, pooling: str,
        *, precision: str, device: torch.device | None = None, batch_size: int | None = None,
    ) -> np.ndarray:  # fmt: skip
        """L2-normalised [texts, hidden], in 32 bits, after ``block`` (0 = embeddings)."""
        rows = rows_of(texts, tokenizer, lengths)
        found = np.empty((len(rows), model.config.hidden_size), np.float32)
        for places, reduced in inference.reduced_outputs(
            model, rows, range(len(rows)), lambda _, outputs: _normalised(outputs, block),
            pad_id=tokenizer.pad_token_id, precision=precision, pooling=pooling, device=device, batch_size=batch_size,
        ):  # fmt: skip
            found[places] = reduced
        return found

    def in_python(self, task: Task, tokenizer: Any, lengths: Lengths, block: int | None, pooling: str) -> InPython:
        pooled = "states[:, 0]" if pooling == "cls" else "(states * mask).sum(1) / mask.sum(1)"
        return InPython(
            'texts = ["She lives in Nairobi.", "Sie wohnt in Nairobi."]',
            "texts",
            f"""longest = {lengths.max_length}
inputs = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
states, mask = outputs(inputs)[{block}], inputs["attention_mask"][:, :, None]  # after block {block}
answer = torch.nn.functional.normalize({pooled}, dim=-1)  # their products are cosines""",
        )

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
