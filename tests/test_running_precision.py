"""Precision: what `auto` came to decides the keys, is told, and is never another than the scores beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import xstilts
from tiny import STUDY, Inline
from xstilts.analysis.gather import gather
from xstilts.cli import app
from xstilts.common.errors import UserError
from xstilts.common.progress import silent
from xstilts.engine.machine import device
from xstilts.planning.hyperparameters import Precision
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running import precision
from xstilts.running.run import execute
from xstilts.running.stages import run_stage
from xstilts.store import Store

#: Nothing is trained.
AUTO: dict[str, Any] = {**STUDY, "recipes": ["none"], "targets": STUDY["targets"][1:], "training": {}}


def in_precision(wanted: str) -> dict[str, Any]:
    return {**AUTO, "training": {"precision": wanted}}


def run(store: Store) -> pl.DataFrame:
    plan = xstilts.plan(AUTO)
    assert execute(plan, store, make=lambda: Inline(store)) == {}
    return gather(plan, store).scores


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let this machine be one that is fast in some precision."""

    def is_fast_in(wanted: Precision) -> None:
        monkeypatch.setattr(device, "fast_precision", lambda: wanted)

    return is_fast_in


def test_what_auto_came_to_is_in_the_keys() -> None:
    plans = {one: make_plan(make_study({**STUDY, "training": {"precision": one}})) for one in ("fp32", "bf16", "fp16")}
    keys = {one: set(plan.stages) for one, plan in plans.items()}
    assert not any(keys[one] & keys[other] for one, other in (("fp32", "bf16"), ("fp32", "fp16"), ("bf16", "fp16")))
    for one in plans:
        auto = make_plan(make_study({**STUDY, "training": {}}), fast=lambda one=one: one)  # type: ignore[misc]
        same = make_plan(make_study({**STUDY, "training": {"precision": one}}))
        assert set(auto.stages) == set(same.stages) and auto.precisions == {one}
        assert (auto.auto, same.auto) == (one, None)


def test_a_study_that_says_its_precision_does_not_ask_the_machine() -> None:
    def ask() -> Precision:
        raise AssertionError("was asked")

    make_plan(make_study(STUDY), fast=ask)
    with pytest.raises(AssertionError, match="was asked"):
        make_plan(make_study(AUTO), fast=ask)


def test_scores_are_read_in_the_precision_of_the_last_run(machine: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    machine("bf16")
    scores = run(store)
    assert set(scores["precision"]) == {"bf16"}
    machine("fp32")  # and of another kind, now
    assert xstilts.scores(AUTO, tmp_path).equals(scores)
    assert xstilts.plan(AUTO).missing(store), "this machine would compute in fp32"
    (note,) = precision.notes(xstilts.plan(AUTO), store)
    assert note.startswith("precision: `auto` is fp32 on this machine and was bf16 on ") and "computed anew" in note
    assert not make_plan(make_study(in_precision("bf16"))).missing(store), "what the note says"
    others = run(store)
    assert set(others["precision"]) == {"fp32"} and xstilts.scores(AUTO, tmp_path).equals(others)
    assert precision.notes(xstilts.plan(AUTO), store) == []


def test_a_precision_that_the_machine_has_not_is_told(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {
        fast: precision.notes(xstilts.plan(in_precision("bf16")), Store(tmp_path))
        for fast in ("fp32", "fp16", "bf16")
        if machine(fast) is None
    }
    slow = ["precision: bf16 is not in this machine's arithmetic, and many times slower here than fp32"]
    assert told == {"fp32": slow, "fp16": slow, "bf16": []}
    machine("fp32")
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(in_precision("bf16")))
    monkeypatch.chdir(tmp_path)
    app.app(["plan", str(file)], standalone_mode=False)
    assert f"note: {slow[0]}" in capsys.readouterr().out


def test_other_machines_compute_in_the_precision_that_the_study_says() -> None:
    plan = make_plan(make_study(AUTO), fast=lambda: "fp32")
    precision.check(plan, elsewhere=False)
    precision.check(make_plan(make_study(in_precision("bf16"))), elsewhere=True)
    with pytest.raises(UserError, match=r"training: precision: `auto` would be fp32.*`precision: bf16`"):
        precision.check(plan, elsewhere=True)


def test_a_stage_computes_in_the_precision_of_its_key(machine: Any, tmp_path: Path) -> None:
    """Whatever the machine that computes it is fast in."""
    machine("bf16")
    plan, store = make_plan(make_study(in_precision("fp32"))), Store(tmp_path)
    for stage in plan.stages.values():
        run_stage(stage, store, silent)
    assert set(gather(plan, store).scores["precision"]) == {"fp32"}
