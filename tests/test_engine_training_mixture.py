"""Several tasks in one stage: shares of steps, their order, one encoder under several heads, MLM and merged models."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from xstilts.common.progress import silent
from xstilts.data import load
from xstilts.encoders import Encoder
from xstilts.encoders.load import load_model, load_tokenizer
from xstilts.engine import heads
from xstilts.engine.heads.mlm import Masked
from xstilts.engine.models import IDS, ROWS, WEIGHTS, Trimmed, build_model, build_models, merge, save_trained
from xstilts.engine.rows import IGNORED, Row
from xstilts.engine.training import loop
from xstilts.engine.training.course import Course
from xstilts.engine.training.log import Log
from xstilts.engine.training.mixture import Stream, order, steps
from xstilts.planning.hyperparameters import Hyperparameters, Lengths
from xstilts.planning.recipe import PROPORTIONAL, Sampling
from xstilts.planning.steps import step_counts
from xstilts.tasks import builtin_catalog

ENCODER = Encoder("bundled/e5-small", layers=1)
HYPER = Hyperparameters(
    epochs=2, batch_size=4, learning_rate=1e-3, warmup=0.1, weight_decay=0.01, max_length=64, doc_stride=16,
    max_query_length=32, precision="fp32",
)  # fmt: skip
SHARES = [
    PROPORTIONAL,
    Sampling(by="uniform"),
    Sampling(temperature=5),
    Sampling(cap=30),
    Sampling(temperature=2, cap=7),
]


def hypers(*sizes: int, epochs: int = 2) -> list[Hyperparameters]:
    return [HYPER.model_copy(update={"batch_size": size, "epochs": epochs}) for size in sizes]


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=9), st.sampled_from(SHARES), st.floats(0, 0.9))
def test_no_step_is_lost_and_shares_are_within_a_step_of_what_they_should_be(
    sizes: list[int], sampling: Sampling, share: float
) -> None:
    counts, mlm = step_counts(sizes, hypers(*[8] * len(sizes)), sampling, share)
    capped = [min(size, sampling.cap or size) for size in sizes]
    total = sum(2 * math.ceil(size / 8) for size in capped)
    assert sum(counts) == total
    weights = [1.0 if sampling.by == "uniform" else size ** (1 / sampling.temperature) for size in capped]
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - total * weight / sum(weights)) < 1
    assert abs(mlm - share * (total + mlm)) <= 0.5
    assert Counter(order([*counts, mlm], 1)) == {i: n for i, n in enumerate([*counts, mlm]) if n}


def test_proportional_capped_temperature_and_uniform_sampling() -> None:
    sizes = [9000, 1000]
    alike = hypers(10, 10, epochs=1)
    assert step_counts(sizes, alike, PROPORTIONAL)[0] == [900, 100]
    assert step_counts(sizes, alike, Sampling(cap=3000))[0] == [300, 100]
    assert step_counts(sizes, alike, Sampling(temperature=2))[0] == [750, 250]  # 3 : 1
    assert step_counts(sizes, alike, Sampling(by="uniform"))[0] == [500, 500]


def test_a_single_task_keeps_its_epochs_and_batches() -> None:
    assert step_counts([100], hypers(8), PROPORTIONAL) == ([2 * 13], 0)
    assert step_counts([100], hypers(8), PROPORTIONAL, 0.5) == ([26], 26)


def stream(rows: int, size: int = 3) -> Stream:
    fmt = heads.get("classification")
    return Stream(f"task{rows}", fmt, [Row(i, [[0] * (5 + i % 3)]) for i in range(rows)], hypers(size)[0], str)


def test_each_task_goes_on_where_it_was_epoch_after_epoch() -> None:
    two = [stream(7), stream(4)]
    taken: dict[str, list[int]] = {"task7": [], "task4": []}
    for step in steps(two, [0, 1, 0, 1, 0, 0, 1, 1], seed=1):
        taken[step.stream.task] += [row.example for row in step.rows]
    assert sorted(taken["task7"][:7]) == list(range(7))  # an epoch is three steps
    assert sorted(taken["task4"][:4]) == sorted(taken["task4"][4:8]) == list(range(4))


def rows_of(name: str, count: int = 16) -> list[Row]:
    task = builtin_catalog()[name]
    examples = load(task, "train", "en", None)[:count]
    fmt = heads.get(task.format)
    return fmt.make_rows(examples, task, load_tokenizer(ENCODER), HYPER.lengths, training=True)


def train(trimmed: Trimmed, rows: dict[str, list[Row]], **options: Any) -> Log:
    tokenizer = load_tokenizer(ENCODER)
    special = frozenset(trimmed.mapping[tokenizer.all_special_ids].tolist())
    mask = int(trimmed.mapping[tokenizer.mask_token_id])
    streams = [
        Stream(
            name, heads.get(builtin_catalog()[name].format), trimmed.rows(own), HYPER, str,
            **({} if name != "mini-text" else {"supervised": False, "view": lambda rows, seed: Masked(
                rows, special, mask, len(trimmed.ids), seed)}),
        )
        for name, own in rows.items()
    ]  # fmt: skip
    course = Course(streams, HYPER, seed=1, precision="fp32", pad_id=1, **options)
    return loop.train(trimmed.joint, course, lambda: {"mean": 1.0}, silent)


def build(rows: dict[str, list[Row]]) -> Trimmed:
    tasks = [builtin_catalog()[name] for name in rows]
    return build_models(ENCODER, tasks, 1, None, [row for own in rows.values() for row in own], head=False)


@pytest.mark.parametrize("names", [("mini-span", "mini-nli", "mini-choice"), ("mini-nli", "mini-pos", "mini-text")])
def test_all_tasks_learn_over_one_encoder_and_the_same_bits_each_time(names: tuple[str, ...], tmp_path: Path) -> None:
    rows = {name: rows_of(name) for name in names}
    share = {"mlm_share": 0.25} if "mini-text" in names else {}
    results = []
    for _ in range(2):
        trimmed = build(rows)
        before = {name: tensor.clone() for name, tensor in trimmed.joint.state_dict().items()}
        log = train(trimmed, rows, **share)
        results.append({name: tensor.clone() for name, tensor in trimmed.joint.state_dict().items()})
    assert all(torch.equal(results[0][name], tensor) for name, tensor in results[1].items())
    assert len({id(model.base_model) for model in trimmed.joint.models.values()}) == 1
    heads = {name for name in results[0] if name.endswith("weight") and ".bert." not in name and "decoder" not in name}
    assert heads and all(not torch.equal(before[name], results[0][name]) for name in heads)
    assert set(log.steps_of) == set(names) and sum(log.steps_of.values()) == log.steps
    if share:
        assert log.steps_of["mini-text"] == pytest.approx(0.25 * log.steps, abs=1)
    save_trained(trimmed, tmp_path)
    task = builtin_catalog()["mini-paraphrase"]
    following = build_model(ENCODER, task, 1, tmp_path, rows_of(task.name), head=False)
    name = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(following.model.state_dict()[name], trimmed.model.state_dict()[name])


def test_evaluation_comes_as_often_as_the_most_epochs_and_last_at_the_end() -> None:
    rows = {name: rows_of(name) for name in ("mini-nli", "mini-choice")}
    log = train(build(rows), rows)
    assert [point.step for point in log.points if point.dev is not None] == [log.steps // 2, log.steps]


def test_without_the_pooler_the_following_stage_draws_its_own(tmp_path: Path) -> None:
    nli = builtin_catalog()["mini-nli"]
    rows = rows_of(nli.name)
    first = build_model(ENCODER, nli, 1, None, rows, head=False)
    train(first, {nli.name: rows})
    save_trained(first, tmp_path)
    name = "bert.pooler.dense.weight"
    trained = first.model.state_dict()[name]
    fresh = build_model(ENCODER, nli, 1, None, rows, head=False).model.state_dict()[name]
    for pooler, expected in ((True, trained), (False, fresh)):
        after = build_models(ENCODER, [nli], 1, tmp_path, rows, head=False, pooler=pooler).model.state_dict()
        assert torch.equal(after[name], expected)
        assert torch.equal(after["bert.encoder.layer.0.output.dense.weight"],
                           first.model.state_dict()["bert.encoder.layer.0.output.dense.weight"])  # fmt: skip


# -- masked language modelling --------------------------------------------------------------------------------------

SPECIAL, MASK, VOCABULARY = frozenset({0, 1, 2, 9}), 9, 1000


def masked(rows: list[Row], seed: str) -> Masked:
    return Masked(rows, SPECIAL, MASK, VOCABULARY, seed)


@given(st.lists(st.lists(st.integers(3, 999), max_size=40), min_size=1, max_size=5), st.text(max_size=3))
def test_special_pieces_are_never_chosen_and_targets_are_what_was_there(texts: list[list[int]], seed: str) -> None:
    rows = [Row(i, [[0, *ids, 2]]) for i, ids in enumerate(texts)]
    for before, after in zip(rows, masked(rows, seed), strict=True):
        ids, now, target = before.sequences[0], after.sequences[0], after.target
        chosen = target != IGNORED
        assert (target[chosen] == ids[chosen]).all() and (now[~chosen] == ids[~chosen]).all()
        assert not np.isin(ids[chosen], list(SPECIAL)).any()
        assert chosen.any() == (~np.isin(ids, list(SPECIAL))).any()


def test_15_percent_are_chosen_of_which_80_masked_10_random_10_kept_anew_in_each_epoch() -> None:
    rows = [Row(i, [np.arange(10, 510)]) for i in range(200)]
    first, again, other = (list(masked(rows, seed)) for seed in ("1/0", "1/0", "1/1"))
    chosen = np.concatenate([row.target != IGNORED for row in first])
    before = np.concatenate([row.sequences[0] for row in rows])[chosen]
    after = np.concatenate([row.sequences[0] for row in first])[chosen]
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    assert (after == MASK).mean() == pytest.approx(0.8, abs=0.01)
    assert (after == before).mean() == pytest.approx(0.1, abs=0.01)
    assert all((a.sequences[0] == b.sequences[0]).all() for a, b in zip(first, again, strict=True))
    assert any((a.sequences[0] != b.sequences[0]).any() for a, b in zip(first, other, strict=True))


def test_the_loss_is_over_the_chosen_pieces_alone() -> None:
    rows = masked([Row(i, [[0, *range(10, 30), 2]]) for i in range(4)], "1/0")
    fmt = heads.get("mlm")
    targets = fmt.targets(list(rows), 24)
    logits = torch.randn(4, 24, VOCABULARY, dtype=torch.float64)
    value = fmt.loss(lambda **_: type("Outputs", (), {"logits": logits}), {"input_ids": torch.zeros(4, 24), **targets})
    chosen = targets["labels"] != IGNORED
    expected = -torch.log_softmax(logits, -1)[chosen, targets["labels"][chosen]].mean()
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)


def test_lines_are_cut_not_packed() -> None:
    task = builtin_catalog()["mini-text"]
    examples = load(task, "train", "sw", None)[:5]
    lengths = Lengths(16, 8, 8)
    rows = heads.get("mlm").make_rows(examples, task, load_tokenizer(ENCODER), lengths, training=True)
    assert [row.example for row in rows] == list(range(5)) and max(row.length for row in rows) == 16


# -- merged models --------------------------------------------------------------------------------------------------


def test_a_merged_encoder_is_the_pretrained_one_plus_weighted_task_vectors(tmp_path: Path) -> None:
    base = load_model(ENCODER, AutoModel, seed=1).state_dict()
    trained = []
    for at, name in enumerate(("mini-nli", "mini-span")):
        rows = rows_of(name)
        trimmed = build_model(ENCODER, builtin_catalog()[name], 1, None, rows, head=False)
        train(trimmed, {name: rows})
        folder = tmp_path / name
        folder.mkdir()
        save_trained(trimmed, folder)
        trained.append((folder, (0.7, -0.2)[at]))
    merged = merge(ENCODER, 1, None, trained)
    saved = [(load_file(folder / WEIGHTS), weight) for folder, weight in trained]
    name = "encoder.layer.0.attention.self.query.weight"
    expected = base[name] + sum(weight * (tensors["bert." + name] - base[name]) for tensors, weight in saved)
    torch.testing.assert_close(merged["bert." + name], expected)
    words = base["embeddings.word_embeddings.weight"]
    expected_rows = words.clone()
    for tensors, weight in saved:
        expected_rows[tensors[IDS]] += weight * (tensors[ROWS] - words[tensors[IDS]])
    torch.testing.assert_close(merged[ROWS], expected_rows[merged[IDS]])
    assert not any("pooler" in name for name in merged)
    save_file(merged, tmp_path / WEIGHTS)
    task = builtin_catalog()["mini-paraphrase"]
    following = build_model(ENCODER, task, 1, tmp_path, rows_of(task.name), head=False)
    assert torch.equal(following.model.state_dict()["bert." + name], merged["bert." + name])


def test_merging_a_model_alone_with_weight_one_gives_it_back(tmp_path: Path) -> None:
    rows = rows_of("mini-nli")
    trimmed = build_model(ENCODER, builtin_catalog()["mini-nli"], 1, None, rows, head=False)
    train(trimmed, {"mini-nli": rows})
    save_trained(trimmed, tmp_path)
    saved, merged = load_file(tmp_path / WEIGHTS), merge(ENCODER, 1, None, [(tmp_path, 1.0)])
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, saved[name], msg=name)
