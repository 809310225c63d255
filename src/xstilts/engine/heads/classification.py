"""Classification: one logit a label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from xstilts.common.arrays import Ints
from xstilts.engine.heads import Head, InPython, class_ids, label_options
from xstilts.engine.rows import Row, encode
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.task import Task


class ClassificationHead(Head[ClassificationExample]):
    AUTO_CLASS = "AutoModelForSequenceClassification"

    def model_options(self, task: Task) -> dict[str, Any]:
        return label_options(task)

    def make_rows(
        self, examples: Sequence[ClassificationExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        class_id = {label: i for i, label in enumerate(task.labels)}
        pairs = any(example.hypothesis is not None for example in examples)
        encoded = encode(
            tokenizer,
            [example.premise for example in examples],
            [example.hypothesis or "" for example in examples] if pairs else None,
            truncation="longest_first",
            max_length=lengths.max_length,
        )
        return [
            Row(i, [ids], [types] if types else None, None if example.label is None else class_id[example.label])
            for i, (example, (ids, types)) in enumerate(zip(examples, encoded, strict=True))
            if example.label is not None or not training
        ]

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        return class_ids(rows)

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        return [task.labels[i] for i in outputs.logits.argmax(-1).tolist()]

    def assemble(
        self, examples: Sequence[ClassificationExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
    ) -> list[str]:
        return list(reduced)

    def in_python(self, task: Task, tokenizer: Any, lengths: Lengths, block: int | None, pooling: str) -> InPython:
        return InPython(
            'premise = "She lives in Nairobi."\nhypothesis = "She lives in Kenya."',
            "premise, hypothesis",
            f"""longest = {lengths.max_length}
inputs = tokenizer(premise, hypothesis, truncation="longest_first", max_length=longest, return_tensors="pt")
answer = {list(task.labels)!r}[int(outputs(inputs)[0].argmax())]""",
        )

    def probe(self, row: Row, some: Callable[[Ints], Ints]) -> tuple[Ints | None, Ints]:
        """The mean over the sequence, and its class."""
        return None, row.target


HEAD = ClassificationHead()
