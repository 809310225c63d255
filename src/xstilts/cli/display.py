"""How a run looks while it goes: one live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from xstilts.common.units import duration
from xstilts.planning.plan import Stage


@dataclass
class Running:
    """A stage under way: since when (monotonic seconds), how much of it is done, loss and speed."""

    stage: Stage
    since: float
    share: float = 0.0
    text: str = ""


class Display:
    """Listens to a run and shows stages done, running and left, loss, speed and the time left."""

    def __init__(self, stages: Sequence[Stage], console: Console):
        self.console = console
        self.total = len(stages)
        self.work = sum(stage.flops for stage in stages)
        self.work_done = 0.0
        self.done = self.failures = 0
        self.began = time.monotonic()
        self.running: dict[str, Running] = {}
        self.live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def started(self, stage: Stage) -> None:
        self.running[stage.key] = Running(stage, time.monotonic())

    def progress(self, stage: Stage, done: int, steps: int, text: str) -> None:
        running = self.running[stage.key]
        running.share, running.text = done / steps, text

    def put_back(self, stage: Stage, reason: str) -> None:
        self.running.pop(stage.key)
        self._line(f"put back: {stage.label}: {reason}")

    def finished(self, stage: Stage, text: str) -> None:
        running = self.running.pop(stage.key, None)  # none for what another run has computed
        took = time.monotonic() - running.since if running else 0.0
        self.done += 1
        self.work_done += stage.flops
        if not self.console.is_terminal and stage.kind != "score":
            self._line(f"[{self.done}/{self.total}] {stage.label} ({took:.1f} s; {text})")

    def failed(self, stage: Stage, reason: str) -> None:
        self.running.pop(stage.key, None)
        self.failures += 1
        self.work -= stage.flops
        self._line(f"failed: {stage.label}: {reason}")

    def time_left(self) -> float | None:
        """Seconds, at the speed so far; None before anything is done."""
        done = self.work_done + sum(running.stage.flops * running.share for running in self.running.values())
        return (time.monotonic() - self.began) * (self.work - done) / done if done else None

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        left = self.time_left()
        failed = f", {self.failures} failed" if self.failures else ""
        waiting = self.total - self.done - self.failures - len(self.running)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_row(
            f"{self.done} of {self.total} stages done, {len(self.running)} running, {waiting} waiting{failed}",
            "time left: " + ("…" if left is None else duration(left)),
        )
        for running in self.running.values():
            table.add_row(f"  {running.stage.label}", f"{running.share:4.0%}  {running.text}")
        return table
