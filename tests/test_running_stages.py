"""Training stages: what is learnt, selected, saved, handed on to the next stage and exported."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from xstilts.common.errors import StageError
from xstilts.common.progress import silent
from xstilts.data import mini
from xstilts.encoders import Encoder
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads
from xstilts.engine.models import IDS, ROWS, WEIGHTS, Trimmed, build_model, load_trained, save_trained
from xstilts.engine.rows import Row, pad
from xstilts.engine.training import loop
from xstilts.engine.training.course import Course
from xstilts.engine.training.log import Log
from xstilts.engine.training.mixture import Stream
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.running.stages import _begin
from xstilts.tasks import builtin_catalog
from xstilts.tasks.task import Task

ENCODER = Encoder("bundled/e5-small", layers=1)
HYPER = Hyperparameters(
    epochs=2, batch_size=8, learning_rate=1e-3, warmup=0.1, weight_decay=0.01, max_length=64, doc_stride=16,
    max_query_length=32, precision="fp32",
)  # fmt: skip


def rows_of(task: Task, count: int = 16) -> list[Row]:
    examples = mini.generate(task.files.train or "", "train", "en")[:count]
    tokenizer = load_tokenizer(ENCODER)
    return heads.get(task.format).make_rows(examples, task, tokenizer, HYPER.lengths, training=True)


def train(trimmed: Trimmed, rows: list[Row], task: Task, dev: list[float], **changes: Any) -> Log:
    scores = iter(dev)
    hyper = HYPER.model_copy(update=changes)
    fmt = heads.get(task.format)
    stream = Stream(task.name, fmt, trimmed.rows(rows), hyper, lambda row: f"example {row.example}")
    course = Course([stream], hyper, seed=1, precision="fp32", pad_id=1)
    return loop.train(trimmed.joint, course, lambda: {task.name: next(scores)}, silent)


def weights(trimmed: Trimmed) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trimmed.model.state_dict().items()}


@pytest.fixture(scope="module")
def span() -> Task:
    return builtin_catalog()["mini-span"]


def test_training_lowers_the_loss_and_is_the_same_bit_for_bit(span: Task) -> None:
    rows = rows_of(span)
    runs = []
    for _ in range(2):
        trimmed = build_model(ENCODER, span, 1, None, rows, head=False)
        log = train(trimmed, rows, span, [1.0, 2.0, 3.0, 4.0], epochs=4)
        runs.append((weights(trimmed), [point.loss for point in log.points if point.loss is not None]))
    assert runs[0][1] == runs[1][1] and all(torch.equal(runs[0][0][name], runs[1][0][name]) for name in runs[0][0])
    assert runs[0][1][-1] < runs[0][1][0]


def test_the_epoch_with_the_best_dev_score_is_kept_the_earlier_if_tied(span: Task) -> None:
    rows = rows_of(span)
    kept = {}
    for dev in ([9.0, 1.0], [9.0, 9.0], [1.0, 9.0], [9.0]):
        trimmed = build_model(ENCODER, span, 1, None, rows, head=False)
        log = train(trimmed, rows, span, dev, epochs=len(dev), warmup=0.0, learning_rate=1e-3)
        kept[tuple(dev)] = (log.best_step, weights(trimmed)["qa_outputs.weight"])
    epoch = math.ceil(len(rows) / HYPER.batch_size)  # in steps
    assert kept[9.0, 1.0][0] == kept[9.0, 9.0][0] == epoch and kept[1.0, 9.0][0] == 2 * epoch
    assert torch.equal(kept[9.0, 1.0][1], kept[9.0, 9.0][1])
    assert not torch.equal(kept[9.0, 1.0][1], kept[1.0, 9.0][1])


def test_a_loss_that_is_no_number_stops_the_stage_and_names_the_examples(span: Task) -> None:
    rows = rows_of(span)
    trimmed = build_model(ENCODER, span, 1, None, rows, head=False)
    with torch.no_grad():
        trimmed.model.qa_outputs.weight.fill_(math.nan)
    with pytest.raises(StageError, match=r"loss is nan at step 1 on example \d+.*lower learning_rate"):
        train(trimmed, rows, span, [1.0, 1.0])


def test_frozen_embeddings_stay_and_the_rest_learns(span: Task) -> None:
    rows = rows_of(span)
    trimmed = build_model(ENCODER, span, 1, None, rows, head=False)
    before = weights(trimmed)
    trimmed.model.get_input_embeddings().weight.requires_grad_(False)
    train(trimmed, rows, span, [1.0, 1.0])
    after = weights(trimmed)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "bert.embeddings.word_embeddings.weight" not in changed and "qa_outputs.weight" in changed


def test_an_intermediate_stage_hands_on_its_encoder_and_not_its_head(span: Task, tmp_path: Path) -> None:
    nli = builtin_catalog()["mini-nli"]
    rows = rows_of(nli)
    first = build_model(ENCODER, nli, 1, None, rows, head=False)
    train(first, rows, nli, [1.0, 1.0])
    save_trained(first, tmp_path)
    span_rows = rows_of(span)
    second = build_model(ENCODER, span, 1, tmp_path, span_rows, head=False)
    fresh = build_model(ENCODER, span, 1, None, span_rows, head=False)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(weights(second)[name], weights(first)[name])
    assert not torch.equal(weights(second)[name], weights(fresh)[name])
    assert torch.equal(weights(second)["qa_outputs.weight"], weights(fresh)["qa_outputs.weight"])
    # Embeddings trained by the first stage come along, also those that the second stage's data do not use.
    assert set(first.ids.tolist()) <= set(second.ids.tolist())
    trained = first.model.get_input_embeddings().weight[first.mapping[first.ids[50:60]]]
    assert torch.equal(second.model.get_input_embeddings().weight[second.mapping[first.ids[50:60]]], trained)


def test_the_exported_model_computes_what_the_trained_one_does(span: Task, tmp_path: Path) -> None:
    rows = rows_of(span)
    trimmed = build_model(ENCODER, span, 1, None, rows, head=False)
    train(trimmed, rows, span, [1.0, 1.0])
    save_trained(trimmed, tmp_path)
    whole = load_trained(ENCODER, span, 1, tmp_path)
    assert whole.get_input_embeddings().weight.shape[0] == whole.config.vocab_size
    trimmed.model.eval()
    with torch.no_grad():
        ours = trimmed.model(**pad(trimmed.rows(rows)[:4], 1)).start_logits
        theirs = whole(**pad(rows[:4], 1)).start_logits
    assert torch.equal(ours, theirs)
    from safetensors.torch import load_file

    saved = load_file(tmp_path / WEIGHTS)
    assert saved[ROWS].shape == (len(trimmed.ids), 384) and torch.equal(saved[IDS], trimmed.ids)
    assert sum(tensor.numel() for tensor in saved.values()) < 3e6  # not the 96M of the whole vocabulary


def test_weights_that_do_not_fit_are_refused(span: Task, tmp_path: Path) -> None:
    rows = rows_of(span, 4)
    save_trained(build_model(ENCODER, span, 1, None, rows, head=False), tmp_path)
    with pytest.raises(StageError, match="do not fit"):
        build_model(replace(ENCODER, layers=2), span, 1, tmp_path, rows, head=False)


@pytest.mark.parametrize(
    ("rows", "count", "examples", "kept"),
    [([0, 0, 1, 2], 2, 1, 2), ([0, 1, 1, 1, 2], 2, 2, 4), ([0, 1, 2], 3, 3, 3), ([0, 1], 500, 2, 2)],
)
def test_first500_keeps_the_examples_that_begin_within_the_first_rows(
    rows: list[int], count: int, examples: int, kept: int
) -> None:
    """For jiant's rows: windows (features) of questions, not questions. An example's windows stay together."""
    everything = mini.generate("span", "train", "en")[: max(rows) + 1]
    first, left = _begin(everything, [Row(i, [[0]]) for i in rows], count)
    assert first == everything[:examples] and [row.example for row in left] == rows[:kept]
