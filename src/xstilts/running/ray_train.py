"""Training stages of several processes on a Ray cluster: workers of Ray Train, on as many machines as they need."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import uuid
from typing import Any

from xstilts.common.errors import StageError
from xstilts.common.progress import Event, Sink
from xstilts.planning.plan import Stage
from xstilts.running.launch import member
from xstilts.store import Store


def train_together(stage: Stage, store: Store, told: Sink, *, cores: int, gpus: bool) -> None:
    """Compute a training stage by `Stage.processes` workers with so many ``cores`` each, and a GPU if there are any.

    Raises StageError with what went wrong in the first worker that failed.
    """
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    own: Any = ray
    letters = own.remote(num_cpus=0)(Mailbox).remote()
    # Ray Train wants a folder that all workers see, though nothing that we keep goes there.
    folder = store.scratch / f"ray-{uuid.uuid4().hex}"
    trainer = TorchTrainer(
        _member,
        train_loop_config={"stage": stage, "url": store.url, "folder": os.getcwd(), "letters": letters},
        scaling_config=ScalingConfig(
            num_workers=stage.processes,
            use_gpu=gpus,
            resources_per_worker={"CPU": cores, **({"GPU": 1} if gpus else {})},
        ),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        run_config=RunConfig(name=stage.key[:16], storage_path=os.path.abspath(folder)),
    )
    errors: list[Exception] = []

    def fit() -> None:
        try:
            trainer.fit()
        except Exception as error:  # told to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    try:
        thread.start()
        while thread.is_alive():
            thread.join(0.5)
            for letter in ray.get(letters.take.remote(wait=False)):
                told(letter)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if errors:
        raise StageError(_first(errors[0]))


class Mailbox:
    """An actor that workers put events into, and who waits for them takes them from."""

    def __init__(self) -> None:
        self._letters: asyncio.Queue[Event] = asyncio.Queue()

    async def put(self, letter: Event) -> None:
        await self._letters.put(letter)

    async def take(self, wait: bool = True) -> list[Event]:
        """All that is there; with ``wait`` once there is something."""
        letters = [await self._letters.get()] if wait else []
        while not self._letters.empty():
            letters.append(self._letters.get_nowait())
        return letters


def _member(content: dict[str, Any]) -> None:
    """Run in each worker, where Ray Train has set which of them it is."""
    import torch

    os.chdir(content["folder"])
    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"
    member(content["stage"], Store(content["url"], anew=False), content["letters"].put.remote)


def _first(error: Exception) -> str:
    """What Ray Train's error says of the workers', as one line."""
    workers = getattr(error, "worker_failures", None) or {}
    cause = next(iter(workers.values()), error)
    inner = getattr(cause, "cause", None) or cause.__cause__ or cause
    return " ".join(str(inner).split())[:500]
