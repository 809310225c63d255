"""How a run looks while it goes: one live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from xstilts.plan import Stage


def duration(seconds: float) -> str:
    """``4 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


class Display:
    """Listens to a run and shows stages done, running and left, loss, speed and the time left."""

    def __init__(self, stages: Sequence[Stage], console: Console):
        self.console = console
        self.total = len(stages)
        self.work_left = sum(stage.flops for stage in stages)
        self.work_done = 0.0
        self.done = self.failures = 0
        self.began = self.stage_began = time.monotonic()
        self.label = self.text = ""
        self.share = 0.0
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
        self.label, self.text, self.share = stage.label, "", 0.0
        self.stage_began = time.monotonic()

    def progress(self, stage: Stage, done: int, steps: int, text: str) -> None:
        self.text, self.share = text, done / steps

    def finished(self, stage: Stage) -> None:
        self.done += 1
        self.work_done += stage.flops
        self.work_left -= stage.flops
        self.share = 0.0
        if not self.console.is_terminal and stage.kind != "score":
            took = time.monotonic() - self.stage_began
            self._line(f"[{self.done}/{self.total}] {stage.label} ({took:.1f} s; {self.text or 'done'})")

    def failed(self, stage: Stage, reason: str) -> None:
        self.failures += 1
        self.work_left -= stage.flops
        self._line(f"failed: {stage.label}: {reason}")

    def time_left(self) -> float | None:
        """Seconds, at the speed so far; None before the first stage is done."""
        if not self.work_done:
            return None
        return (time.monotonic() - self.began) * self.work_left / self.work_done

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        left = self.time_left()
        table = Table("stages", "running", "", "time left", box=None, header_style="dim")
        failed = f", {self.failures} failed" if self.failures else ""
        table.add_row(
            f"{self.done} of {self.total} done{failed}",
            self.label,
            f"{self.share:4.0%}  {self.text}",
            "…" if left is None else duration(left),
        )
        return table
