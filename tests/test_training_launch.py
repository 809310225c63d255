"""A stage on several processes trains as one process does, and ends as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from xstilts.plan import Stage
from xstilts.planner import make_plan
from xstilts.stages import run_stage
from xstilts.store import Store
from xstilts.study import make_study
from xstilts.training.launch import launch

STUDY = {
    "name": "together", "encoders": ["bundled/e5-small@2"], "targets": ["mini-paraphrase"], "seeds": [1],
    "recipes": [{"name": "both", "tasks": ["mini-nli", "mini-pos"], "mlm": {
        "task": "mini-text", "share": 0.2, "training": {"max_train_examples": 8}}}],
    "training": {"max_train_examples": 48, "max_dev_examples": 20, "precision": "fp32", "dropout": "none",
                 "learning_rate": 1e-2, "adam_epsilon": 1.0, "max_length": 64},
}  # fmt: skip


def stage_of(**training: Any) -> Stage:
    study = {**STUDY, "training": {**STUDY["training"], **training}}  # type: ignore[dict-item]
    plan = make_plan(make_study(study))
    return next(stage for stage in plan.stages.values() if stage.kind == "train")


def result(stage: Stage, store: Store) -> tuple[dict[str, torch.Tensor], list[float | None], dict[str, Any]]:
    artifact = store.get(stage.key)
    assert artifact is not None
    with store.files(stage.key) as folder:
        curve = pl.read_parquet(folder / "curve.parquet")
        return load_file(folder / "model.safetensors"), curve["loss"].to_list(), artifact.meta


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_train_several_tasks_as_one_process_does(sharding: str, tmp_path: Path) -> None:
    alone, together = stage_of(), stage_of(processes=2, sharding=sharding)
    run_stage(alone, Store(tmp_path / "alone"), lambda *_: None)
    told: list[Any] = []
    launch(together, str(tmp_path / "together"), lambda *progress: told.append(progress))
    expected, losses, meta = result(alone, Store(tmp_path / "alone"))
    weights, own_losses, own_meta = result(together, Store(tmp_path / "together"))
    assert told[-1][0] == told[-1][1] == meta["steps"] and told[-1][2].startswith("loss ")
    assert own_losses[:-1] == pytest.approx(losses[:-1], rel=1e-4)
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-5, msg=name)
    for name in ("tokens", "steps_of", "best_step"):
        assert own_meta[name] == meta[name]
    assert own_meta["dev_of"] == pytest.approx(meta["dev_of"], abs=6)  # of 20 examples
    assert not list((tmp_path / "together").glob("tmp/*"))
