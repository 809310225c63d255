"""Where stages are computed: on this machine (`local`), on a Ray cluster (`ray`), or by Slurm (`slurm`).

An executor only computes what it is given. Which stage comes when, what is tried again, and what another run is
already computing is `schedule`'s to say; what is done is what the store holds, never what an executor says.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from xstilts.planning.plan import Stage
from xstilts.running.progress import Ended, Progress


class Executor(Protocol):
    """A place with room for some processes; a context, at whose end nothing of it runs any more."""

    @property
    def slots(self) -> int:
        """Processes that it runs at the same time; a stage takes `Stage.processes` of them."""

    def submit(self, stage: Stage) -> None:
        """Begin with a stage whose inputs are in the store. Never more at a time than there are slots for."""

    def wait(self, timeout: float | None) -> list[Progress | Ended]:
        """What has happened since the last call; waits for something to happen, at most ``timeout`` seconds."""

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
