"""Tagging: tags are predicted at the first piece of each token. Long sentences are split and re-joined, never cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from xstilts.common.arrays import Ints
from xstilts.encoders.packing import reads_at_end
from xstilts.engine.heads import Head, InPython, label_options
from xstilts.engine.rows import IGNORED, Row, around
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import Task

MAX_PIECES = 100  # a token of more pieces becomes one unknown piece (jiant udpos.py, panx.py)


def _wants_spaces(tokenizer: Any) -> bool:
    """Whether words one by one become the pieces that they are in running text only with the space before each.

    So it is with decoders' tokenizers of bytes; those of encoders are made for words one by one.
    """
    if not reads_at_end(tokenizer):
        return False
    text, bare, spaced = (
        tokenizer(words, is_split_into_words=split, add_special_tokens=False)["input_ids"]
        for words, split in (("a b", False), (["a", "b"], True), (["a", " b"], True))
    )
    return bool(bare != text == spaced)


class TaggingHead(Head[TaggingExample]):
    AUTO_CLASS = "AutoModelForTokenClassification"
    of_tokens = True

    def model_options(self, task: Task) -> dict[str, Any]:
        return label_options(task)

    def make_rows(
        self, examples: Sequence[TaggingExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        """Rows of at most ``max_length`` pieces; ``window`` is the first token, then positions of first pieces."""
        tag_id = {tag: i for i, tag in enumerate(task.labels)}
        before, behind = around(tokenizer)
        unknown = tokenizer.pad_token_id if tokenizer.unk_token_id is None else tokenizer.unk_token_id
        space = " " if _wants_spaces(tokenizer) else ""
        encoded = tokenizer(
            [[space + token if i else token for i, token in enumerate(example.tokens)] for example in examples],
            is_split_into_words=True,
            add_special_tokens=False,
            return_attention_mask=False,
            verbose=False,
        )
        with_types = "token_type_ids" in tokenizer.model_input_names
        rows = []
        for i, example in enumerate(examples):
            if training and example.tags is None:
                continue
            pieces: list[list[int]] = [[] for _ in example.tokens]
            for piece, word in zip(encoded["input_ids"][i], encoded.word_ids(i), strict=True):
                pieces[word].append(piece)
            pieces = [ids if 0 < len(ids) <= MAX_PIECES else [unknown] for ids in pieces]
            first = 0
            while first < len(pieces):
                ids = [*before]
                positions: list[int] = []
                for word in pieces[first:]:
                    if positions and len(ids) + len(word) + len(behind) > lengths.max_length:
                        break
                    positions.append(len(ids))
                    ids.extend(word[: lengths.max_length - len(before) - len(behind)])
                ids += behind
                target = None
                if example.tags is not None:
                    target = [tag_id[tag] for tag in example.tags[first : first + len(positions)]]
                rows.append(Row(i, [ids], [[0] * len(ids)] if with_types else None, target, [first, *positions]))
                first += len(positions)
        return rows

    def targets(self, rows: Sequence[Row], length: int) -> dict[str, torch.Tensor]:
        labels = torch.full((len(rows), length), IGNORED)
        for i, row in enumerate(rows):
            labels[i, row.window[1:]] = torch.tensor(row.target.tolist())
        return {"labels": labels}

    def reduce(self, rows: Sequence[Row], outputs: Any, task: Task) -> list[Any]:
        best = outputs.logits.argmax(-1).tolist()
        return [[task.labels[best[i][position]] for position in row.window[1:]] for i, row in enumerate(rows)]

    def assemble(
        self, examples: Sequence[TaggingExample], rows: Sequence[Row], reduced: Sequence[Any], task: Task
    ) -> list[str]:
        tags: list[list[str]] = [[] for _ in examples]
        for row, part in sorted(zip(rows, reduced, strict=True), key=lambda pair: (pair[0].example, pair[0].window[0])):
            tags[row.example].extend(part)
        for example, predicted in zip(examples, tags, strict=True):
            if len(predicted) != len(example.tokens):
                raise AssertionError(f"{example.id}: {len(predicted)} tags for {len(example.tokens)} tokens")
        return [" ".join(predicted) for predicted in tags]

    def in_python(self, task: Task, tokenizer: Any, lengths: Lengths, block: int | None, pooling: str) -> InPython:
        words = (
            '[" " + token if i else token for i, token in enumerate(tokens)]' if _wants_spaces(tokenizer) else "tokens"
        )
        return InPython(
            'tokens = ["She", "lives", "in", "Nairobi", "."]',
            "tokens",
            f"""words = {words}
inputs = tokenizer(
    words, is_split_into_words=True, truncation=True, max_length={lengths.max_length}, return_tensors="pt"
)
first = [inputs.word_ids().index(i) for i in range(len(tokens))]  # the first piece of each token
names = {list(task.labels)!r}
said = outputs(inputs)[0].argmax(-1)
answer = [(token, names[int(said[at])]) for token, at in zip(tokens, first)]""",
            f"sentences of up to {lengths.max_length} pieces; xstilts reads longer ones in parts",
        )

    def probe(self, row: Row, some: Callable[[Ints], Ints]) -> tuple[Ints | None, Ints]:
        """The first piece of each word, and its tag; as in Bassignana et al. 2022 (arXiv 2210.11255)."""
        return row.window[1:], row.target


HEAD = TaggingHead()
