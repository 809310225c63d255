"""A training that ends no better than the majority class is marked, and tried again where the study asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.analysis.gather import gather
from xstilts.data import load
from xstilts.engine.inference import score
from xstilts.engine.training import collapse
from xstilts.engine.training.checkpoints import Policy
from xstilts.planning.plan import Plan
from xstilts.planning.planner import make_plan
from xstilts.planning.records import MAJORITY_MARGIN, Attempt
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
from xstilts.tasks import builtin_catalog, formats
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.formats.tagging import TaggingExample


def majority(name: str, examples: list[Any] | None = None) -> float:
    task = builtin_catalog()[name]
    dev = examples or load(task, "dev", "en", None)
    fmt = formats.get(task.format)
    return score(dev, fmt.majority(dev, task), fmt, task, "en")


def test_the_majority_is_the_most_frequent_label_position_or_tag_and_no_answer() -> None:
    catalog = builtin_catalog()
    labels = [example.label for example in load(catalog["mini-nli"], "dev", "en", None)]
    assert majority("mini-nli") == pytest.approx(100 * max(map(labels.count, labels)) / len(labels))
    positions = [example.label for example in load(catalog["mini-choice"], "dev", "en", None)]
    assert majority("mini-choice") == pytest.approx(100 * max(map(positions.count, positions)) / len(positions))
    assert majority("mini-span") == 0.0
    unanswerable = load(catalog["mini-span-unanswerable"], "dev", "en", None)
    share = sum(not example.answers for example in unanswerable) / len(unanswerable)
    assert majority("mini-span-unanswerable") == pytest.approx(100 * share)
    entities = [TaggingExample("1", ("a", "b", "c"), ("O", "O", "B-PER")), TaggingExample("2", ("d",), ("O",))]
    assert majority("mini-entities", entities) == 0.0  # O everywhere: no entity is found
    parts_of_speech = [TaggingExample("1", ("a", "b", "c"), ("NOUN", "VERB", "NOUN"))]
    assert majority("mini-pos", parts_of_speech) > 0
    assert isinstance(unanswerable[0], SpanExample)


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_seeds_of_further_attempts_are_derived_from_the_first(first: int, attempt: int) -> None:
    assert collapse.seed(first, 0) == first
    seeds = [collapse.seed(first, i) for i in range(attempt + 1)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**32 for seed in seeds)


def test_the_first_attempt_that_did_not_collapse_is_kept_else_the_best() -> None:
    def attempt(dev: float, collapsed: bool) -> Attempt:
        return Attempt(1, dev, {"task": dev}, ("task",) if collapsed else (), 1e9)

    failed, better, sound = attempt(33.0, True), attempt(33.5, True), attempt(60.0, False)
    assert collapse.kept([failed, sound]) is sound and collapse.kept([failed, better]) is better
    assert collapse.kept([better, failed, attempt(33.5, True)]) is better


STUDY = {
    "name": "collapse", "encoders": ["bundled/e5-small@1"], "recipes": ["none"], "targets": ["mini-pos"], "seeds": [1],
    "training": {"max_train_examples": 64, "max_dev_examples": 40, "precision": "fp32"},
}  # fmt: skip


def trained(folder: Path, policy: Policy = Policy(), **training: Any) -> tuple[Plan, Store, dict[str, Any]]:  # noqa: B008
    plan = make_plan(make_study({**STUDY, "training": {**STUDY["training"], **training}}))  # type: ignore[dict-item]
    store = Store(folder)
    (stage,) = [stage for stage in plan.stages.values() if stage.kind == "train"]
    run_stage(stage, store, lambda *_: None, policy)
    artifact = store.get(stage.key)
    assert artifact is not None
    return plan, store, {**artifact.meta, "weights": artifact.files["model.safetensors"]}


def test_a_rate_that_is_far_too_high_collapses_and_a_sound_one_does_not(tmp_path: Path) -> None:
    plan, store, meta = trained(tmp_path, learning_rate=0.5)
    majority = meta["dev_majority"]["mini-pos"]
    assert meta["collapsed"] == ["mini-pos"] and meta["dev"] <= majority + MAJORITY_MARGIN
    (attempt,) = meta["attempts"]
    assert attempt["seed"] == 1 and attempt["dev"] == meta["dev"]
    (note,) = [note for note in gather(plan, store).notes if "collapsed" in note]
    assert note == (
        f"bundled/e5-small@1 seed 1: none → train mini-pos: collapsed: dev {meta['dev']:.1f} is no better than the "
        f"majority class ({majority:.1f})."
    )
    plan, store, meta = trained(tmp_path, learning_rate=1e-3, epochs=4)
    assert meta["collapsed"] == [] and meta["dev"] > majority + MAJORITY_MARGIN
    assert not any("collapsed" in note for note in gather(plan, store).notes)


def test_it_is_tried_again_with_other_seeds_and_all_attempts_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = collapse.seed(1, 1)
    real = collapse.collapsed
    calls: list[float] = []

    def first_collapses(dev: dict[str, float], majority: dict[str, float]) -> list[str]:
        calls.append(dev["mini-pos"])
        return ["mini-pos"] if len(calls) == 1 else real(dev, majority)

    monkeypatch.setattr(collapse, "collapsed", first_collapses)
    sound = {"learning_rate": 1e-3, "epochs": 4}
    plan, store, meta = trained(tmp_path / "again", collapse_retries=3, **sound)
    assert [(one["seed"], bool(one["collapsed"])) for one in meta["attempts"]] == [(1, True), (second, False)]
    assert meta["dev"] == meta["attempts"][1]["dev"] and meta["collapsed"] == []
    (note,) = [note for note in gather(plan, store).notes if "collapsed" in note]
    assert note.endswith(f"; tried again with seed {second}: {meta['dev']:.1f}.")


def test_where_all_attempts_collapse_the_best_is_kept_also_across_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "collapsed", lambda dev, majority: ["mini-pos"])
    monkeypatch.setattr(collapse, "kept", lambda attempts: attempts[0])  # as if it were the best
    _, _, whole = trained(tmp_path / "whole", collapse_retries=1)
    assert [one["seed"] for one in whole["attempts"]] == [1, collapse.seed(1, 1)]
    _, _, alone = trained(tmp_path / "alone")
    assert whole["weights"] == alone["weights"]
    _killed_in_the_second_attempt(tmp_path / "killed", monkeypatch)
    _, _, resumed = trained(tmp_path / "killed", collapse_retries=1)
    assert resumed["resumed_at"] == [] and resumed["attempts"] == whole["attempts"]
    assert resumed["weights"] == whole["weights"]


def _killed_in_the_second_attempt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xstilts.engine.training.checkpoints import Checkpoints

    def due(self: Checkpoints, step: int) -> bool:
        if self.attempts and step == 4:
            raise KeyboardInterrupt
        return step % 2 == 0

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "due", due)
        with pytest.raises(KeyboardInterrupt):
            trained(folder, collapse_retries=1)
