"""Stages as jobs of Slurm, through submitit, which writes each job to a folder of its own as a pickled call."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from xstilts.common.errors import UserError
from xstilts.common.progress import UNDER_WAY, Event, silent
from xstilts.planning.plan import Stage
from xstilts.running.process import environment
from xstilts.running.worker import Compute, compute, compute_at
from xstilts.store import Store, logs

#: Jobs that wait or run at the same time, if the user says nothing.
JOBS = 100

#: Minutes that a job may take, if the user says nothing; submitit's own 5 would end most training amid it.
MINUTES = 24 * 60

#: Seconds between two looks at the jobs.
LOOK = 2.0


class SlurmExecutor:
    """A job a stage, at most ``jobs`` at a time; those that become ready together are one job array.

    ``parameters`` are job parameters as KEY=VALUE, in the names of submitit's: ``partition``, ``timeout_min``,
    ``gpus_per_node``, ``cpus_per_task``, ``mem_gb``, ``account`` … Raises UserError where one is unknown, or where this
    machine cannot submit jobs. ``cluster`` is ``slurm``, or submitit's ``local``: jobs as processes of this machine.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        parameters: Sequence[str] = (),
        do: Compute = compute,
        jobs: int | None = None,
        cluster: str = "slurm",
    ) -> None:
        try:
            import submitit
        except ModuleNotFoundError:
            raise UserError('--executor slurm: submitit is not installed; pip install "xstilts[slurm]"') from None
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise UserError("--executor slurm: this machine has no sbatch; run xstilts where jobs can be submitted")
        self.slots = jobs or JOBS
        self._submitit: Any = submitit
        self._store, self._do = store, do
        self._executor: Any = submitit.AutoExecutor(folder, cluster=cluster)
        self._threads = 1
        for parameter in (
            "name=xstilts", f"timeout_min={MINUTES}", f"cpus_per_task={self._threads}", *parameters
        ):  # fmt: skip
            self._set(parameter)
        self._waiting: list[Stage] = []
        self._jobs: dict[str, Any] = {}  # key → job
        self._told: dict[str, int] = {}  # key → records of its log that were passed on

    def _set(self, parameter: str) -> None:
        key, equals, text = parameter.partition("=")
        if not equals:
            raise UserError(f"--slurm {parameter}: is not KEY=VALUE, such as partition=gpu")
        value = int(text) if text.isdecimal() else text
        generic = self._executor._typed_parameters()
        try:
            self._executor.update_parameters(**{key if key in generic else f"slurm_{key}": value})
        except (NameError, AssertionError) as error:
            raise UserError(f"--slurm {parameter}: {' '.join(str(error).split())}") from None
        if key == "cpus_per_task":
            self._threads = int(text)

    def __enter__(self) -> SlurmExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in self._jobs.values():
            job.cancel(check=False)

    def submit(self, stage: Stage) -> None:
        self._waiting.append(stage)

    def wait(self, timeout: float | None) -> list[Event]:
        self._send()
        until = None if timeout is None else time.monotonic() + timeout
        while not (events := [event for key in list(self._jobs) for event in self._look(key)]):
            if until is not None and time.monotonic() >= until:
                break
            time.sleep(LOOK)
        return events

    def _send(self) -> None:
        if not self._waiting:
            return
        sent: dict[str, Any] = {}
        try:
            with self._executor.batch():
                for stage in self._waiting:
                    self._told[stage.key] = len(logs.read(self._store, stage.key))
                    call = _Call(stage, self._store.url, self._do, environment(self._threads))
                    sent[stage.key] = self._executor.submit(call)
        except self._submitit.core.utils.FailedJobError as error:
            raise UserError(f"--executor slurm: sbatch refuses the job: {_last_line(str(error))}") from None
        self._jobs.update(sent)
        self._waiting = []

    def _look(self, key: str) -> list[Event]:
        records = logs.read(self._store, key)[self._told[key] :]
        self._told[key] += len(records)
        events = [Event.of(record, key) for record in records if record["event"] in UNDER_WAY]
        if self._jobs[key].done():
            events.append(self._ended(key, self._jobs.pop(key)))
        return events

    def _ended(self, key: str, job: Any) -> Event:
        try:
            ended: Event = job.result()
        except self._submitit.core.utils.FailedJobError as error:  # raised by our code: it would again
            return Event(key, "failed", f"job {job.job_id}: {_last_line(str(error.args[0]).split('-----')[0])}")
        except self._submitit.core.utils.UncompletedJobError:
            return Event(key, "lost", f"job {job.job_id} ended without a result ({_last_line(job.stderr() or '')})")
        return ended


@dataclass(frozen=True)
class _Call:
    """What a job runs; torch is not loaded yet."""

    stage: Stage
    url: str
    do: Compute
    variables: dict[str, str]

    def __call__(self) -> Event:
        for name, value in self.variables.items():
            os.environ.setdefault(name, value)
        return compute_at(self.url, self.stage, silent, self.do)  # its log tells of its progress

    def checkpoint(self) -> Any:
        """Submitit calls it in a job that is preempted or whose time is up, and queues what it gives.

        Without it, submitit would raise an error in the stage, which then had failed. The stage's own checkpoint is in
        the store already.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")
