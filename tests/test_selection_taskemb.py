"""Fisher embeddings against finite differences, and how their ranks are fused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from xstilts.engine import heads
from xstilts.engine.rows import Row, pad, padded
from xstilts.selection.taskemb import Embedding, fisher_diagonal, fused, train_head, weights_of
from xstilts.selection.textemb import cosine

ROWS = [Row(0, [[1, 5, 6, 2]], None, 0), Row(1, [[1, 7, 2]], None, 2), Row(2, [[1, 8, 9, 5, 7, 2]], None, 1)]
CLASSIFICATION = heads.get("classification")


@pytest.fixture
def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=16, num_labels=3, attn_implementation="eager", initializer_range=0.5,
    )  # fmt: skip
    return BertForSequenceClassification(config).double().eval()


def loss_of(model: BertForSequenceClassification, row: Row) -> Callable[[], float]:
    inputs = pad([row], 0) | CLASSIFICATION.targets([row], padded(row.length))
    return lambda: float(CLASSIFICATION.loss(model, inputs).detach())


def test_the_fisher_diagonal_is_the_mean_square_of_each_rows_gradient(model: BertForSequenceClassification) -> None:
    weights = weights_of(model)
    found = fisher_diagonal(model, ROWS, CLASSIFICATION, 0, weights)
    rng, step = np.random.default_rng(0), 1e-5
    for name, weight in weights.items():
        flat = weight.detach().view(-1)
        for place in rng.choice(len(flat), min(3, len(flat)), replace=False):
            slopes, before = [], float(flat[place])
            for row in ROWS:
                loss = loss_of(model, row)
                flat[place] = before + step
                above = loss()
                flat[place] = before - step
                slopes.append((above - loss()) / (2 * step))
                flat[place] = before
            assert float(found[name].view(-1)[place]) == pytest.approx(np.mean(np.square(slopes)), rel=1e-4, abs=1e-12)


def test_words_and_pooler_are_no_part_of_the_embedding(model: BertForSequenceClassification) -> None:
    names = set(weights_of(model))
    assert "embeddings.word_embeddings.weight" not in names and not any(name.startswith("pooler") for name in names)
    assert "embeddings.position_embeddings.weight" in names and len(names) == 4 + 16


def test_training_the_head_leaves_the_encoder_as_it_is(model: BertForSequenceClassification) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = [sum(loss_of(model, row)() for row in ROWS)]
    train_head(model, ROWS * 20, CLASSIFICATION, 0, seed=1)
    losses.append(sum(loss_of(model, row)() for row in ROWS))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert losses[1] < losses[0] and changed
    assert all(name.startswith(("classifier.", "bert.pooler.")) for name in changed)


def test_ranks_are_fused_over_components() -> None:
    nearness = [[0.9, 0.5, 0.7], [0.2, 0.2, 0.1]]  # ranks 1 3 2 and 1½ 1½ 3
    expected = [(1 / 61 + 1 / 61.5) / 2, (1 / 63 + 1 / 61.5) / 2, (1 / 62 + 1 / 63) / 2]
    np.testing.assert_allclose(fused(nearness), expected)


def test_an_embedding_is_read_back_by_component() -> None:
    kept = Embedding({"a": torch.arange(4.0), "b": torch.ones(2, 2)})
    assert kept.names == ("a", "b") and kept.component("b").shape == (2, 2)
    np.testing.assert_array_equal(kept.component("a"), [0, 1, 2, 3])


def test_the_cosine_of_nothing_is_nothing() -> None:
    assert cosine([[3.0, 4.0]], [6.0, 8.0]) == pytest.approx(1.0) and cosine([1.0, 0.0], [0.0, 0.0]) == 0.0
    assert cosine([1.0, 0.0], [0.0, 2.0]) == 0.0
