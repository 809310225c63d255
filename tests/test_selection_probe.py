"""What of each format's rows is read, and with which label."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from xstilts.encoders import Encoder, bundled
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads
from xstilts.engine.heads.span import FIRST, LAST, NEITHER
from xstilts.engine.rows import Row
from xstilts.planning.hyperparameters import Lengths
from xstilts.selection.probe import TOKENS, labelled, taken, unlabelled
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import Task

ENCODER = Encoder(bundled.NAME)


def rows_of(task: Task, examples: list[Any], max_length: int = 64) -> list[Row]:
    lengths = Lengths(max_length=max_length, doc_stride=8, max_query_length=16)
    return heads.get(task.format).make_rows(examples, task, load_tokenizer(ENCODER), lengths, training=False)


def piece(row: Row, position: int) -> str:
    return load_tokenizer(ENCODER).convert_ids_to_tokens(int(row.sequences[0][position])).strip("▁")


def test_of_a_span_the_ends_of_the_answer_are_told_from_other_tokens() -> None:
    task = builtin_catalog()["mini-span"]
    context = "The big town lies by London and " + "on and on past many other towns " * 12 + "to the sea."
    examples = [
        SpanExample("a", context, "What?", (GoldAnswer("big town", 4),)),
        SpanExample("b", context, "Where?", (GoldAnswer("London", context.index("London")),)),
    ]
    rows = rows_of(task, examples)
    probe = labelled(rows, task)
    assert len(rows) == 4 and probe.labels is not None
    at = np.split(probe.labels, np.cumsum([len(row.window) for row in probe.rows])[:-1])

    def marked(i: int) -> dict[int, str]:
        places = zip(probe.rows[i].window, at[i], strict=True)
        return {int(label): piece(rows[i], place) for place, label in places if label != NEITHER}

    for row, labels in zip(probe.rows, at, strict=True):
        assert row.window[0] == 0 and len(set(row.window.tolist())) == len(labels) <= TOKENS + 3
    first, second = (next(i for i, row in enumerate(rows) if row.example == n) for n in (0, 1))
    assert marked(first) == {FIRST: "big", LAST: "town"} and marked(second) == {FIRST + LAST: "London"}
    last = at[first + 1]  # a window without the answer: its CLS token stands for it
    assert last[0] == FIRST + LAST and set(last[1:].tolist()) == {NEITHER}
    again = labelled(rows_of(task, examples), task)
    assert [row.window.tolist() for row in again.rows] == [row.window.tolist() for row in probe.rows]


def test_of_choices_each_is_right_or_wrong() -> None:
    task = builtin_catalog()["mini-choice"]
    rows = rows_of(task, [MultipleChoiceExample("a", "It rains, so", ("he swims", "he is wet", "it is red"), 1)])
    probe = labelled(rows, task)
    assert probe.labels is not None and probe.labels.tolist() == [0, 1, 0]
    assert [row.window for row in probe.rows] == [None] * 3 and len(unlabelled(rows, tokens=False).rows) == 3


def test_of_words_the_first_piece_is_read_and_of_texts_their_class() -> None:
    tagging = next(task for task in builtin_catalog() if task.format == "tagging" and len(task.labels) > 1)
    tags = tuple(tagging.labels[:2])
    rows = rows_of(tagging, [TaggingExample("a", ("Ljubljana", "gleams"), tags)])
    probe = labelled(rows, tagging)
    assert probe.labels is not None and probe.labels.tolist() == [0, 1]
    assert [piece(rows[0], place) for place in probe.rows[0].window] == ["Ljubljana", "gle"]
    nli = builtin_catalog()["mini-nli"]
    texts = [ClassificationExample(str(i), "A dog runs.", "It moves.", label) for i, label in enumerate(nli.labels)]
    labels = labelled(rows_of(nli, texts), nli).labels
    assert labels is not None and labels.tolist() == list(range(len(nli.labels)))


def test_vectors_are_means_without_padding_or_those_of_the_tokens_named() -> None:
    hidden = torch.arange(2 * 8 * 3, dtype=torch.float32).reshape(2, 8, 3)
    rows = [Row(0, [[5, 6]]), Row(1, [[5, 6, 7]], None, None, [0, 2])]
    mean, tokens = taken(rows, SimpleNamespace(last_hidden_state=hidden))
    np.testing.assert_array_equal(mean, hidden[0, :2].mean(0, keepdim=True))
    np.testing.assert_array_equal(tokens, hidden[1, [0, 2]])


def test_some_tokens_of_each_text_are_read_where_tokens_are_wanted() -> None:
    probe = unlabelled([Row(0, [list(range(100)), [1, 2]])], tokens=True)
    long, short = probe.rows
    assert len(long.window) == TOKENS == len(set(long.window.tolist())) and short.window.tolist() == [0, 1]
    assert probe.labels is None


def test_formats_without_labels_have_none_to_learn() -> None:
    with pytest.raises(TypeError, match="RetrievalHead has no labels"):
        labelled([Row(0, [[1, 2]])], builtin_catalog()["mini-retrieval"])
