"""Multiple choice: one logit a choice, each choice read together with the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch

from xstilts.common.arrays import Ints
from xstilts.engine.heads import Head, InPython, class_ids
from xstilts.engine.rows import Row, encode
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.task import Task


class MultipleChoiceHead(Head[MultipleChoiceExample]):
    AUTO_CLASS = "AutoModelForMultipleChoice"
    ONNX_INNER = (2,)
    OUTPUTS = "model(**{name: each[None] for name, each in inputs.items()}).logits"

    def make_rows(
        self, examples: Sequence[MultipleChoiceExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        """An over-long prompt is cut at its start, as jiant does (multiple_choice.py:65): its end decides the rest."""
        tokenizer = copy(tokenizer)  # its vocabulary is shared; the side is the copy's own
        tokenizer.truncation_side = "left"
        encoded = encode(
            tokenizer,
            [example.prompt for example in examples for _ in example.choices],
            [choice for example in examples for choice in example.choices],
            truncation="longest_first",
            max_length=lengths.max_length,
        )
        rows, at = [], 0
        for i, example in enumerate(examples):
            sequences = encoded[at : at + len(example.choices)]
            at += len(example.choices)
            if example.label is not None or not training:
                types = [types for _, types in sequences]
                rows.append(Row(i, [ids for ids, _ in sequences], types if types[0] else None, example.label))
        return rows

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        return class_ids(rows)

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        """The best choice: a batch may hold rows of fewer choices than its widest."""
        logits = outputs.logits.tolist()
        return [str(max(range(len(row.sequences)), key=own.__getitem__)) for row, own in zip(rows, logits, strict=True)]

    def assemble(
        self, examples: Sequence[MultipleChoiceExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
    ) -> list[str]:
        return list(reduced)

    def in_python(self, task: Task, tokenizer: Any, lengths: Lengths, block: int | None, pooling: str) -> InPython:
        return InPython(
            'prompt = "She lives in Nairobi. Which country is it?"\nchoices = ["Kenya", "Norway"]',
            "prompt, choices",
            f"""tokenizer.truncation_side = "left"
inputs = [
    tokenizer(prompt, choice, truncation="longest_first", max_length={lengths.max_length}, return_tensors="pt")
    for choice in choices
]
answer = choices[int(torch.cat([outputs(one).flatten() for one in inputs]).argmax())]""",
        )

    def probe(self, row: Row, some: Callable[[Ints], Ints]) -> tuple[Ints | None, Ints]:
        """The mean over each choice, and whether it is the right one."""
        return None, np.arange(len(row.sequences)) == row.target


HEAD = MultipleChoiceHead()
