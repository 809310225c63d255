"""Stages as tasks of a Ray cluster: of one that runs already, or of a Ray started for this machine alone."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Any

from xstilts.common.errors import UserError
from xstilts.common.progress import Event, Sink
from xstilts.planning.plan import Stage
from xstilts.running.process import cores, environment
from xstilts.running.ray_train import Mailbox, train_together
from xstilts.running.worker import Compute, compute, compute_at
from xstilts.store import Store, sees

#: Seconds between two reports of a stage's progress.
EVERY = 0.5

#: Kinds of stages that load no model: they only read and write tables.
LIGHT = ("score",)


class RayExecutor:
    """A stage is a task with a GPU, where the cluster has any, and its share of the cores; else with one core.

    ``address`` is ``auto``, ``host:port`` or ``ray://host:port``; None starts a Ray of this machine alone. Raises
    UserError where there is no cluster, or one of its machines has another xstilts or does not see the store.
    ``workers`` is the most stages to run at a time; None as many as there is room for.
    """

    def __init__(
        self, store: Store, address: str | None = None, do: Compute = compute, workers: int | None = None
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # these are read when Ray is loaded
        if not address and "RAY_AUTH_MODE" not in os.environ:  # else Ray leaves a token in the home folder
            os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
        try:
            import ray
        except ModuleNotFoundError:
            raise UserError('--executor ray: Ray is not installed; pip install "xstilts[ray]"') from None
        self._ray: Any = ray
        self._url, self._folder, self._workers = store.url, os.getcwd(), workers
        if address and address != "auto":
            _knock(address)
        logging.getLogger("ray").setLevel(logging.ERROR)  # its notices would break the live table
        try:
            ray.init(
                address or "local", num_cpus=None if address else cores(), include_dashboard=None if address else False,
                log_to_driver=False, logging_level=logging.ERROR, configure_logging=False,
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = f"--address {address}: no Ray cluster answers there: " if address else "--executor ray: "
            hint = "; does it ask for a token (RAY_AUTH_MODE=token)?" if address else ""
            raise UserError(f"{where}{_line(error)}{hint}") from None
        has = self._ray.cluster_resources()
        self._gpus = int(has.get("GPU", 0))
        self._cores = max(1, int(has.get("CPU", 1)) // self._gpus) if self._gpus else 1
        self._slots, self._counted = 1, -1.0
        own = {name: value for name, value in environment(self._cores).items() if name not in os.environ}
        options = {"num_cpus": self._cores, "max_retries": 0, "runtime_env": {"env_vars": own}}
        # A process of its own for each stage, so that what one has kept in memory is gone with it; the light ones keep
        # theirs: to start a process takes far longer than what they do.
        self._heavy = self._ray.remote(**options, num_gpus=1 if self._gpus else 0, max_calls=1)(_compute)
        self._light = self._ray.remote(**options)(_compute)
        self._do = self._ray.put(do)
        mailbox = self._ray.remote(num_cpus=0)(Mailbox)
        # With this process, so that no other machine takes it along when it goes.
        self._mailbox = mailbox.options(scheduling_strategy=_on(ray.get_runtime_context().get_node_id())).remote()
        self._mail = self._mailbox.take.remote()
        self._tasks: dict[Any, str] = {}  # reference → key of the stage
        if address:
            try:
                self._check_machines(store)
            except UserError:
                self._ray.shutdown()
                raise

    @property
    def slots(self) -> int:
        if time.monotonic() - self._counted > 1.0:  # machines come and go
            resources = self._ray.cluster_resources()
            room = max(1, int(resources.get("GPU", 0) if self._gpus else resources.get("CPU", 0)))
            self._slots = min(room, self._workers or room)
            self._counted = time.monotonic()
        return self._slots

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._ray.shutdown()

    def submit(self, stage: Stage) -> None:
        function = (self._light if stage.kind in LIGHT else self._heavy).options(name=stage.label)
        together = None
        if stage.processes > 1:  # the task only waits for its workers, which have what it would take
            function = self._heavy.options(name=stage.label, num_cpus=0, num_gpus=0)
            together = {"cores": self._cores, "gpus": self._gpus > 0}
        task = function.remote(stage, self._url, self._folder, self._do, self._mailbox, together)
        self._tasks[task] = stage.key

    def wait(self, timeout: float | None) -> list[Event]:
        ready, _ = self._ray.wait([self._mail, *self._tasks], timeout=timeout)
        events: list[Event] = []
        for reference in ready:
            if reference is self._mail:
                running = set(self._tasks.values())
                events += [told for told in self._ray.get(self._mail) if told.key in running]
                self._mail = self._mailbox.take.remote()
            else:
                events.append(self._ended(reference, self._tasks.pop(reference)))
        return events

    def _ended(self, reference: Any, key: str) -> Event:
        try:
            ended: Event = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # raised by our code: it would again
            return Event(key, "failed", _line(error.cause if isinstance(error.cause, BaseException) else error))
        except self._ray.exceptions.OutOfMemoryError:
            return Event(key, "lost", "its process was killed: its machine ran out of memory")
        except self._ray.exceptions.RayError as error:
            return Event(key, "lost", f"its process or machine was lost ({type(error).__name__})")
        return ended

    def _check_machines(self, store: Store) -> None:
        """That each machine has this xstilts and sees this store. Raises UserError."""
        marker = store.path("tmp", f"seen-by-all-{uuid.uuid4().hex}")
        store.write(marker, b"")
        look = self._ray.remote(num_cpus=0)(_look)
        try:
            looks = [
                (
                    node["NodeManagerHostname"],
                    look.options(scheduling_strategy=_on(node["NodeID"])).remote(store.url, marker),
                )
                for node in self._ray.nodes()
                if node["Alive"]
            ]
            for machine, reference in looks:
                try:
                    found, sees = self._ray.get(reference, timeout=120)
                except self._ray.exceptions.RayError as error:
                    raise UserError(f"Ray's machine {machine}: {_line(error)}") from None
                _compare(machine, found, sees, store.url)
        finally:
            store.delete(marker)


def _on(node: str) -> Any:
    """Where Ray is to run something: there alone."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _knock(address: str) -> None:
    """Raises UserError where nobody listens, which Ray takes minutes to find out."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(f"--address {address}: no Ray cluster answers there: {_line(error)}") from None


def _compare(machine: str, found: str, sees: bool, url: str) -> None:
    if found != version("xstilts"):
        raise UserError(
            f"Ray's machine {machine} has xstilts {found}, this one {version('xstilts')}; install the same everywhere"
        )
    if not sees:
        raise UserError(
            f"Ray's machine {machine} does not see the store {url}; put it where all do, such as a shared folder or a "
            "bucket, with --store"
        )


def _look(url: str, marker: str) -> tuple[str, bool]:
    """Run on a machine of the cluster: its version of xstilts, and whether it sees a file of the store."""
    return version("xstilts"), sees(url, marker)


def _compute(stage: Stage, url: str, folder: str, do: Compute, mailbox: Any, together: dict[str, Any] | None) -> Event:
    """Run on a machine of the cluster, in the ``folder`` that relative paths of the study and the store start from.

    ``together`` is what each worker has of a stage that several compute.
    """
    with suppress(FileNotFoundError):  # not needed where the data come with the install and the store is remote
        os.chdir(folder)
    if together is not None:
        do = partial(do, work=partial(train_together, **together))  # type: ignore[call-arg]  # `compute` takes it
    return compute_at(url, stage, _rarely(mailbox.put.remote), do)


def _rarely(tell: Callable[[Event], Any]) -> Sink:
    """Tells of the progress of a stage at most once in `EVERY` seconds."""
    last = -EVERY

    def told(event: Event) -> None:
        nonlocal last
        if event.state != "progress":
            tell(event)
        elif time.monotonic() - last >= EVERY:
            last = time.monotonic()
            tell(event)

    return told


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
