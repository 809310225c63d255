"""Stages on a real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tiny import STUDY, Recorded, command, scores_in, write
from xstilts.analysis.gather import gather
from xstilts.common.errors import StageError, UserError
from xstilts.planning.plan import Stage
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running import schedule
from xstilts.running.progress import Told
from xstilts.running.run import choose, execute
from xstilts.running.worker import compute
from xstilts.store import Store, logs

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")  # read when Ray is loaded
ray = pytest.importorskip("ray")

from xstilts.running.ray import RayExecutor  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that computes nothing, and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=1)
    yield found
    found.shutdown()


def named(key: str, *inputs: str, kind: str = "score") -> Stage:
    return Stage(key, kind, f"stage {key}", None, inputs)  # type: ignore[arg-type]  # the work below looks at no spec


def work(stage: Stage, store: Store, told: Told) -> None:
    if stage.key == "wrong":
        raise StageError("this one never works")
    if stage.key == "fatal" and len(logs.read(store, stage.key)) == 1:  # the first time
        os._exit(7)
    with store.publish(stage.key) as (_, meta):
        told(1, 1, "there")
        meta["process"] = os.getpid()


def test_stages_run_fail_and_are_tried_again_each_in_its_own_process(cluster: Any, tmp_path: Path) -> None:
    store, listener = Store(tmp_path), Recorded()
    stages = [named("fatal", kind="train"), named("a", kind="train"), named("b", "a", "fatal", kind="predict"),
              named("wrong"), named("after", "wrong"), *(named(f"s{i}", "a") for i in range(8))]  # fmt: skip
    executor = RayExecutor(store, cluster.address, partial(compute, work=work))
    assert executor.slots == 2
    failures = schedule.run(stages, store, executor, listener)
    assert failures == {"wrong": "this one never works", "after": schedule.SKIPPED}
    assert len(listener.again) == 1 and "its process or machine was lost (WorkerCrashedError)" in listener.again[0]
    processes = {stage.key: artifact.meta["process"] for stage in stages if (artifact := store.peek(stage.key))}
    assert len({processes[key] for key in ("fatal", "a", "b")}) == 3  # a process a stage
    assert len({processes[f"s{i}"] for i in range(8)}) <= 4  # ... but for those that load no model
    assert "there" in listener.told


@pytest.mark.soak
def test_a_node_lost_in_the_middle_changes_no_score(cluster: Any, finished: Path, tmp_path: Path) -> None:
    plan, store = make_plan(make_study({**STUDY, "recipes": ["none"]})), Store(tmp_path / "store")
    victim = cluster.add_node(num_cpus=1)

    class Saboteur(Recorded):
        def progress(self, stage: Stage, done: int, steps: int, text: str) -> None:
            if stage.kind == "train" and cluster.worker_nodes.issuperset({victim}):
                cluster.remove_node(victim, allow_graceful=False)

    failures = execute(plan, store, Saboteur(), choose("ray", store, tmp_path, address=cluster.address))
    assert failures == {} and victim not in cluster.worker_nodes
    assert gather(plan, store).scores.drop("seconds").equals(scores_in(finished).filter(pl.col("recipe") == "none"))


@pytest.mark.soak
def test_a_stage_of_two_processes_is_computed_on_two_nodes(cluster: Any, finished: Path, tmp_path: Path) -> None:
    training = {**STUDY["training"], "dropout": "none", "precision": "fp32"}
    scores = []
    for processes in (1, 2):
        content = {**STUDY, "recipes": ["none"], "training": {**training, "processes": processes}}
        plan, store, listener = make_plan(make_study(content)), Store(tmp_path / str(processes)), Recorded()
        failures = execute(plan, store, listener, choose("ray", store, tmp_path, address=cluster.address))
        assert failures == {}
        scores.append(gather(plan, store).scores)
        losses = [[record["loss"] for record in logs.read(store, stage.key) if "loss" in record]
                  for stage in plan.stages.values() if stage.kind == "train"]  # fmt: skip
        if processes == 1:
            expected = losses
    assert losses == [pytest.approx(each, rel=1e-4) for each in expected]
    assert scores[0]["value"].to_list() == pytest.approx(scores[1]["value"].to_list(), abs=0.01)


@pytest.mark.soak
def test_without_an_address_this_machine_is_the_cluster(finished: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    ended = command(tmp_path, "run", str(write(tmp_path)), "--executor", "ray")
    assert ended.returncode == 0, ended.stderr
    assert scores_in(tmp_path).equals(scores_in(finished))
    print(f"{time.monotonic() - began:.0f} s")


def test_what_is_wrong_with_a_cluster_is_one_line(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"--address 127\.0\.0\.1:1: no Ray cluster answers there"):
        RayExecutor(Store(tmp_path), "127.0.0.1:1")
    monkeypatch.setattr("xstilts.running.ray.version", lambda name: "9.9")
    with pytest.raises(UserError, match=r"has xstilts 0\.\S+, this one 9\.9; install the same everywhere"):
        RayExecutor(Store(tmp_path), cluster.address)
    with pytest.raises(UserError, match="--address here: is for --executor ray"):
        choose("local", Store(tmp_path), tmp_path, address="here")
