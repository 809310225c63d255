"""Sentence vectors on disk, and how a model's outputs get there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xstilts.encoders import Encoder
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads, inference
from xstilts.engine.heads import sentences
from xstilts.engine.rows import Row, pad
from xstilts.engine.vectors import Embedded, Vectors
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.running.stages import Trimmed, build_model
from xstilts.tasks import builtin_catalog

TASK = builtin_catalog()["tatoeba"]
HYPER = Hyperparameters(epochs=1, batch_size=8, learning_rate=1e-3, warmup=0.1, weight_decay=0.0, max_length=32)
TEXTS = ["Guten Morgen", "Wie spät ist es?", "Guten Morgen", "Das Buch liegt auf dem Tisch, wo es immer lag."]


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(1, 4), st.integers(1, 3))
def test_what_is_written_batch_by_batch_is_read_block_by_block(batches: list[int], blocks: int, hidden: int) -> None:
    vectors = Vectors()
    shape = (sum(batches), blocks, hidden)
    written = np.random.default_rng(len(batches)).normal(size=shape).astype(np.float16)
    for part in np.split(written, np.cumsum(batches)[:-1]) if batches else []:
        if len(part):
            vectors.append(part)
    vectors.close()
    assert len(vectors) == sum(batches) and vectors.blocks == (blocks if sum(batches) else 0)
    for block in range(vectors.blocks):
        assert np.array_equal(vectors.block(block), written[:, block])
        places = np.arange(len(written))[::-1]
        assert np.array_equal(Embedded(vectors, places, 0).block(block, np.array([0])), written[-1:, block])


def rows_and_model(layers: int) -> tuple[list[Row], Trimmed]:
    encoder = Encoder("bundled/e5-small", layers=layers)
    rows = sentences.rows_of(TEXTS, load_tokenizer(encoder), HYPER.lengths)
    return rows, build_model(encoder, TASK, 1, None, rows, head=True)


def embedded(layers: int, pooling: Any = "mean") -> Embedded:
    rows, trimmed = rows_and_model(layers)
    (found,) = inference.embed(
        trimmed.model, [trimmed.rows(rows)], heads.get("retrieval"), TASK,
        pad_id=1, precision="fp32", hidden_layer=1, pooling=pooling,
    )  # fmt: skip
    return found


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_block_n_is_the_output_after_block_n_and_0_are_the_embeddings(pooling: str) -> None:
    """XTREME's scripts count block 14 as 13, and keep the last 12 blocks of 24 without saying so."""
    rows, trimmed = rows_and_model(2)
    vectors = embedded(2, pooling)
    assert vectors.blocks == 3
    everything = np.arange(len(TEXTS))
    for i, row in enumerate(trimmed.rows(rows)):
        with torch.no_grad():
            states = [trimmed.model.embeddings(torch.tensor(row.sequences[0])[None].long())]
            whole = trimmed.model(**pad([row], 1), output_hidden_states=True).hidden_states
            states += [state[:, : row.length] for state in whole[1:]]
        for block, state in enumerate(states):
            pooled = state[0, 0] if pooling == "cls" else state[0].mean(0)  # without padding, with special tokens
            expected = torch.nn.functional.normalize(pooled, dim=0).numpy()
            np.testing.assert_allclose(vectors.block(block, everything)[i], expected, atol=2e-3)


def test_a_blocks_vectors_do_not_depend_on_the_blocks_above_it() -> None:
    everything = np.arange(len(TEXTS))
    shallow, deep = embedded(1), embedded(2)
    np.testing.assert_allclose(shallow.block(1, everything), deep.block(1, everything), atol=2e-3)


def test_a_sentence_that_stands_in_several_sets_is_read_once() -> None:
    rows, trimmed = rows_and_model(1)
    seen: list[int] = []
    real = heads.get("retrieval")

    class Counting:
        def reduce(self, batch: list[Row], outputs: Any, task: Any) -> list[Any]:
            seen.append(len(batch))
            return real.reduce(batch, outputs, task)

    first, second = inference.embed(
        trimmed.model, [trimmed.rows(rows), trimmed.rows(rows[:2])], Counting(), TASK,  # type: ignore[arg-type]
        pad_id=1, precision="fp32", hidden_layer=1, pooling="mean",
    )  # fmt: skip
    assert sum(seen) == 3 == len(first.vectors)  # of six rows, four of which say "Guten Morgen" or ask for the time
    assert first.places[0] == first.places[2] == second.places[0] and first.places[1] == second.places[1]
