"""Stages on this machine: worker processes that live through a run, so that encoders and features stay in memory.

A worker a core and one thread a worker: the threads of one small encoder mostly wait for each other, and with a single
one a stage's result is the same bit for bit however busy the machine is. Where there is no GPU, workers are forked from
a process that has loaded the libraries once: it takes seconds of a core, and their memory is shared.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import FrameType, ModuleType, TracebackType

from xstilts.common.errors import StoreError
from xstilts.common.progress import UNDER_WAY, Event
from xstilts.planning.plan import Stage
from xstilts.running.process import cores, environment, give_back_memory
from xstilts.running.worker import Compute, compute
from xstilts.store import Store

#: What Linux shows a GPU's driver by: NVIDIA's, that of Windows' subsystem, AMD's.
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")

#: Seconds after which a worker without a stage gives back its memory, and how seldom it does so between two stages: the
#: next one asks for as much again, which takes a short one longer than its work.
IDLE, SELDOM = 1.0, 60.0


@dataclass
class Worker:
    """A process and our end of the pipe to it; ``stage`` is what it works on."""

    process: BaseProcess
    pipe: Connection
    devices: Sequence[str]  # the GPUs that it sees
    stage: Stage | None = None


class LocalExecutor:
    """Worker processes on this machine: ``workers``, or one a GPU, or one a core.

    They start as they are needed, do one stage after the other, and end with the executor. A stage of several
    processes gets a worker of its own, which sees as many GPUs.
    """

    def __init__(self, url: str, workers: int | None = None, do: Compute = compute) -> None:
        gpus = _gpus()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        self.slots = workers or gpus or cores()
        # Of the slots, not of the stages left: a resumed run must compute the same bits.
        self._threads = max(1, cores() // self.slots)
        self._devices = [visible[i % gpus] for i in range(self.slots)] if gpus else []
        self._url, self._do = url, do
        self._context = _context(gpus)
        self._workers: list[Worker] = []

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    def submit(self, stage: Stage) -> None:
        processes, free = min(stage.processes, self.slots), self._free_devices()
        idle = (worker for worker in self._workers if worker.stage is None and set(worker.devices) <= set(free))
        worker = next(idle, None) if processes == 1 else None
        if worker is None:
            worker = self._start(free[:processes])
            self._workers.append(worker)
        worker.stage = stage
        with suppress(BrokenPipeError):  # a dead worker: its pipe's end, which we wait on, says so too
            worker.pipe.send(stage)

    def wait(self, timeout: float | None) -> list[Event]:
        busy = [worker for worker in self._workers if worker.stage is not None]
        if not busy:
            time.sleep(timeout or 0.0)
            return []
        ready = wait([worker.pipe for worker in busy], timeout)
        return [self._receive(worker) for worker in busy if worker.pipe in ready]

    def _receive(self, worker: Worker) -> Event:
        assert worker.stage is not None
        try:
            event: Event = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._workers.remove(worker)
            worker.process.join()
            code = worker.process.exitcode or 0
            hint = " (killed: out of memory?)" if code == -signal.SIGKILL else ""
            return Event(worker.stage.key, "lost", f"its process ended with status {code}{hint}")
        if event.state not in UNDER_WAY:
            worker.stage = None
            if len(worker.devices) > 1:
                worker.process.terminate()
                self._workers.remove(worker)
        return event

    def _free_devices(self) -> list[str]:
        """GPUs that no busy worker has."""
        free = list(self._devices)
        for worker in self._workers:
            for device in worker.devices if worker.stage is not None else ():
                free.remove(device)
        return free

    def _start(self, devices: Sequence[str]) -> Worker:
        ours, theirs = self._context.Pipe()
        own = {name: value for name, value in environment(self._threads).items() if name not in os.environ}
        if devices:
            own["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
        arguments = (theirs, self._url, self._threads, own, self._do)
        # A daemon, so that it is ended with this process, should another ^C cut `__exit__` short.
        process = self._context.Process(target=_work, args=arguments, daemon=True)
        # Another thread, such as that of the leases, may take the signal that this one is deaf to.
        with _environment(own), _interrupt_held(), _deaf_to_interrupts(), _without_main():
            process.start()
        theirs.close()  # so that the worker's death ends the pipe
        return Worker(process, ours, devices)


def _context(gpus: int) -> SpawnContext | ForkServerContext:
    """How workers are started. This process is not forked, since it has threads; what has seen a GPU cannot be."""
    if gpus or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xstilts.running.stages"])
    return context


def _gpus() -> int:
    """How many torch sees. It is asked only where a driver is: its import would delay the first worker by seconds."""
    if sys.platform == "linux" and not any(map(os.path.exists, DRIVERS)):
        return 0
    with _interrupt_held():
        import torch

    return torch.cuda.device_count()


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Let a ^C take effect at the end.

    Amid an import it can get lost in C code, or change the exit status; amid a worker's start it leaves half of one.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread is ever interrupted
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held and callable(before):
            before(*held[0])


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes in here that never take a ^C: it reaches them too, but the parent is to end them."""
    resource_tracker.ensure_running()  # if started by multiprocessing, it would lift the block that we set
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _without_main() -> Iterator[None]:
    """Start processes in here that do not run the user's script again, nor look for that of a notebook.

    multiprocessing has its children import what `__main__` is, for functions that are defined there: ours are not, and
    a script that calls `xstilts.run` without ``if __name__ == "__main__"`` would run a study in each of its workers.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _environment(own: Mapping[str, str]) -> Iterator[None]:
    """What a process that is started in here finds in its environment, too."""
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(pipe: Connection, url: str, threads: int, own: Mapping[str, str], do: Compute) -> None:
    """A worker's life: stages in, word of their progress and end out."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(own)  # what this process was forked from may have been started for other workers
    import torch

    torch.set_num_threads(threads)
    store: Store | None = None
    gave_back = time.monotonic()

    def told(event: Event) -> None:
        try:
            pipe.send(event)
        except BrokenPipeError:
            os._exit(1)  # the parent is gone: no failure of the stage

    with suppress(EOFError, BrokenPipeError):  # the parent is gone, and with it who waits for our stages
        while True:
            if not pipe.poll(IDLE) or time.monotonic() - gave_back > SELDOM:
                give_back_memory()
                gave_back = time.monotonic()
            stage: Stage = pipe.recv()
            try:
                store = store or Store(url, anew=False)
                pipe.send(do(stage, store, told))
            except StoreError as error:  # gone since the run began
                pipe.send(Event(stage.key, "unusable", str(error)))


def _end_with_parent() -> None:
    """End this process when its parent is gone, even killed: nobody waits for its stage any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
