"""Stages on this machine: worker processes that live through a run, so that encoders and features stay in memory.

A worker a core and one thread a worker: the threads of one small encoder mostly wait for each other, and with a single
one a stage's result is the same bit for bit however busy the machine is.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count as count_from
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Protocol

from xstilts.plan import Stage
from xstilts.store import Store

#: Why a stage was not even tried.
SKIPPED = "skipped: a stage that it needs failed"


def environment(threads: int) -> dict[str, str]:
    """What the libraries of a process with so many threads read when they load. The user's own settings win."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": str(threads > 1).lower(),
        "RAYON_NUM_THREADS": str(threads),
        # glibc: keep what a step has freed for the next one, instead of asking for fresh pages (buffers above 32 MB
        # always are); after a stage it goes back.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    }


class Listener(Protocol):
    """Is told how a run goes; the command line shows it, a test records it."""

    def started(self, stage: Stage) -> None: ...

    def progress(self, stage: Stage, done: int, steps: int, text: str) -> None: ...

    def finished(self, stage: Stage, text: str) -> None: ...

    def failed(self, stage: Stage, reason: str) -> None: ...


@dataclass
class Worker:
    """A process and our end of the pipe to it; ``stage`` is what it works on."""

    process: BaseProcess
    pipe: Connection
    stage: Stage | None = None


def execute(stages: Sequence[Stage], store: Store, listener: Listener, workers: int | None = None) -> dict[str, str]:
    """Compute ``stages``, each once its inputs are there; gives key → reason of those that failed or were skipped.

    A failed stage stops only those that need it; a worker that dies fails its stage and is replaced. ``workers``
    is one a GPU, or one a core, by default.
    """
    waiting = {stage.key: stage for stage in stages}
    failures: dict[str, str] = {}
    unfinished = set(waiting)
    with _pool(len(stages), workers, store.url) as (pool, replace):
        while unfinished:
            for worker in pool:
                if worker.stage is None:
                    _assign(worker, waiting, unfinished, failures, listener)
            unfinished -= failures.keys()
            busy = [worker for worker in pool if worker.stage is not None]
            if not busy:
                continue
            for pipe in wait([worker.pipe for worker in busy]):
                worker = next(worker for worker in busy if worker.pipe is pipe)
                stage = worker.stage
                assert stage is not None
                try:
                    kind, *content = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    worker.process.join()
                    code = worker.process.exitcode
                    hint = " (killed: out of memory?)" if code == -signal.SIGKILL else ""
                    kind, content = "failed", [f"its process ended with status {code}{hint}"]
                    pool[pool.index(worker)] = replace()
                if kind == "progress":
                    listener.progress(stage, *content)
                    continue
                worker.stage = None
                unfinished.discard(stage.key)
                if kind == "failed":
                    failures[stage.key] = content[0]
                    listener.failed(stage, content[0])
                else:
                    listener.finished(stage, content[0])
    return failures


def _assign(
    worker: Worker, waiting: dict[str, Stage], unfinished: set[str], failures: dict[str, str], listener: Listener
) -> None:
    """Give an idle worker the first stage whose inputs are all there, and skip those whose inputs failed."""
    for key, stage in list(waiting.items()):
        if any(source in failures for source in stage.inputs):
            del waiting[key]
            failures[key] = SKIPPED
            listener.failed(stage, SKIPPED)
        elif not any(source in unfinished for source in stage.inputs):
            del waiting[key]
            worker.stage = stage
            listener.started(stage)
            with suppress(BrokenPipeError):  # a dead worker: its pipe's end, which we wait on, says so too
                worker.pipe.send(stage)
            return


def cores() -> int:
    """How many cores this process may use: as many stages run at the same time where there is no GPU."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _pool(stages: int, workers: int | None, url: str) -> Iterator[tuple[list[Worker], Callable[[], Worker]]]:
    with _interrupt_held():
        import torch  # here, so that a plan with nothing to do starts without it

    gpus = torch.cuda.device_count()
    slots = workers or gpus or cores()
    threads = max(1, cores() // slots)  # of the slots, not of the stages left: a resumed run must compute the same bits
    count = min(slots, stages)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
    numbers = count_from(0)
    context = multiprocessing.get_context("spawn")  # forking a process with threads is not safe

    def start() -> Worker:
        ours, theirs = context.Pipe()
        device = visible[next(numbers) % gpus] if gpus else None
        process = context.Process(target=_work, args=(theirs, url, threads), daemon=True)
        with _environment(threads, device), _deaf_to_interrupts():
            process.start()
        theirs.close()  # so that the worker's death ends the pipe
        return Worker(process, ours)

    pool = [start() for _ in range(count)]
    try:
        yield pool, start
    finally:
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            worker.process.join()


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Let a ^C take effect at the end: amid an import it can get lost in C code, or change the exit status."""
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
def _environment(threads: int, device: str | None) -> Iterator[None]:
    """The environment that a worker starts with."""
    own = {name: value for name, value in environment(threads).items() if name not in os.environ}
    if device is not None:
        own["CUDA_VISIBLE_DEVICES"] = device
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


def _work(pipe: Connection, url: str, threads: int) -> None:
    """A worker's life: stages in, word of their progress and end out."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    store = Store(url)
    with suppress(EOFError, BrokenPipeError):  # the parent is gone, and with it who waits for our stages
        while True:
            _work_on(pipe.recv(), store, pipe)
            _give_back_memory()


def _work_on(stage: Stage, store: Store, pipe: Connection) -> None:
    last = "done"

    def progress(done: int, steps: int, text: str) -> None:
        nonlocal last
        last = text
        pipe.send(("progress", done, steps, text))

    from xstilts.stages import run_stage  # here, so that a plan with nothing to do starts without torch

    try:
        run_stage(stage, store, progress)
    except Exception as error:  # whatever goes wrong in one stage, the others go on; it is reported, exit 1
        pipe.send(("failed", _reason(error)))
    else:
        pipe.send(("finished", last))


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, even killed: nobody waits for its stage any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _give_back_memory() -> None:
    """Return what a stage has freed to the system: glibc keeps free pages between pages in use, up to gigabytes."""
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if type(error).__name__ == "StageError" else f"{type(error).__name__}: {text}"
