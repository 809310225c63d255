"""Stages as jobs, by submitit's own executor of this machine in Slurm's place."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from tiny import STUDY, Recorded, scores_in
from xstilts.analysis.gather import gather
from xstilts.common.errors import StageError, UserError
from xstilts.planning.plan import Stage
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running import schedule, slurm
from xstilts.running.progress import Told
from xstilts.running.run import Silent, choose, execute
from xstilts.running.slurm import SlurmExecutor
from xstilts.running.worker import compute
from xstilts.store import Store, logs

pytest.importorskip("submitit")


def work(stage: Stage, store: Store, told: Told) -> None:
    if stage.key == "wrong":
        raise StageError("this one never works")
    if stage.key == "killed" and len(logs.read(store, stage.key)) == 1:  # the first time
        os.kill(os.getpid(), signal.SIGKILL)
    if stage.key == "long" and len(logs.read(store, stage.key)) == 1:
        told(1, 2, "half")
        time.sleep(120)
    with store.publish(stage.key):
        told(1, 1, "there")


def test_jobs_are_done_fail_and_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "LOOK", 0.1)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)
    store, listener = Store(tmp_path / "store"), Recorded()

    def stage(key: str, *inputs: str) -> Stage:
        return Stage(key, "score", key, None, inputs)  # type: ignore[arg-type]  # the work looks at no spec

    stages = [stage("a"), stage("killed"), stage("wrong"), stage("b", "a", "killed"), stage("after", "wrong")]
    executor = SlurmExecutor(store, tmp_path / "jobs", do=partial(compute, work=work), cluster="local")
    failures = schedule.run(stages, store, executor, listener)
    assert failures == {"wrong": "this one never works", "after": schedule.SKIPPED}
    assert len(listener.again) == 1 and "ended without a result" in listener.again[0]
    assert store.keys() == {"a", "b", "killed"} and "there" in listener.told


def test_a_job_whose_time_is_up_is_queued_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "LOOK", 0.1)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    store = Store(tmp_path / "store")
    executor = SlurmExecutor(
        store, tmp_path / "jobs", ["timeout_min=1"], partial(compute, work=work), cluster="local"
    )  # fmt: skip

    class Clock(Recorded):
        def progress(self, stage: Stage, done: int, steps: int, text: str) -> None:
            super().progress(stage, done, steps, text)
            if text == "half":
                os.kill(logs.read(store, stage.key)[0]["pid"], signal.SIGUSR2)  # as Slurm does

    listener = Clock()
    stage = Stage("long", "score", "long", None, ())  # type: ignore[arg-type]
    assert schedule.run([stage], store, executor, listener) == {}
    assert [record["event"] for record in logs.read(store, "long")].count("started") == 2
    assert listener.told[0] == "half" and listener.again == [] and store.peek("long") is not None


def test_what_sbatch_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbatch", "sacct", "scancel", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'sbatch: error: no such partition' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    store = Store(tmp_path / "store")
    executor = SlurmExecutor(store, tmp_path / "jobs", ["partition=gpu"])
    stage = Stage("a", "score", "a", None, ())  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"sbatch refuses the job: .*no such partition"):
        schedule.run([stage], store, executor, Silent())


@pytest.mark.soak
def test_scores_are_those_of_the_local_executor(finished: Path, tmp_path: Path) -> None:
    plan, store = make_plan(make_study(STUDY)), Store(tmp_path / "store")
    make = partial(SlurmExecutor, store, tmp_path / "jobs", ["timeout_min=30"], jobs=2, cluster="local")
    assert execute(plan, store, make=make) == {}
    scores = gather(plan, store).scores.drop("seconds")
    assert scores.equals(scores_in(finished).cast(pl.Schema(scores.schema)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["partition"], "--slurm partition: is not KEY=VALUE"),
        (["partitoin=gpu"], "--slurm partitoin=gpu: Unknown argument 'partitoin'"),
        (["mem_gb=much"], '--slurm mem_gb=much: Parameter "mem_gb" expected type'),
    ],
)
def test_wrong_parameters_are_told_before_anything_runs(tmp_path: Path, parameters: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SlurmExecutor(Store(tmp_path / "store"), tmp_path / "jobs", parameters, cluster="local")


def test_without_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="this machine has no sbatch"):
        choose("slurm", Store(tmp_path / "store"), tmp_path)()
    with pytest.raises(UserError, match="--slurm partition=gpu: is for --executor slurm"):
        choose("local", Store(tmp_path / "store"), tmp_path, slurm=["partition=gpu"])
