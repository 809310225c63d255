"""How a run looks while it goes. One protocol, `Display`, and a sink a place: a terminal, a log or pipe, a notebook.

How far a run is, `Headway`, is counted in one place; a display only says how it looks.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from xstilts.common import html
from xstilts.common.progress import Event
from xstilts.common.units import duration
from xstilts.planning.plan import Cell, Stage
from xstilts.planning.recipe import NONE

#: Seconds after which a display without a table says how far the run is, if it has said nothing since.
SILENCE = 60.0


@dataclass
class Running:
    """A stage under way: since when (monotonic seconds), what was last heard of it, and its last dev score."""

    stage: Stage
    since: float
    event: Event = field(default_factory=Event)
    dev: float | None = None

    def hear(self, event: Event) -> None:
        self.event = event
        self.dev = event.values.get("dev", self.dev)

    @property
    def share(self) -> float:
        return self.event.done / max(1, self.event.steps)

    @property
    def text(self) -> str:
        dev = "" if self.dev is None or "dev" in self.event.values else f", dev {self.dev:.1f} so far"
        return self.event.text + dev


class Headway:
    """What has become of the ``stages`` that a run computes; hears every event of it.

    ``cells`` say which scores belong together, so that gains can be told while they come.
    """

    def __init__(self, stages: Sequence[Stage], cells: Sequence[Cell] = ()):
        self.stages = {stage.key: stage for stage in stages}
        self.total = len(stages)
        self.done = self.failures = 0
        self.running: dict[str, Running] = {}
        self._cells = [cell for cell in cells if cell.score in self.stages]
        self._scores: dict[str, float] = {}  # key of the stage → points
        self._work = sum(stage.flops for stage in stages)
        self._work_done = 0.0
        self._began = time.monotonic()

    def hear(self, event: Event) -> str | None:
        """Gives the line that is to be kept of an event, where there is one."""
        stage = self.stages[event.key]
        if event.state == "started":
            self.running[stage.key] = Running(stage, time.monotonic())
            return None
        if event.state == "progress":
            self.running[stage.key].hear(event)
            return None
        if event.state == "note":
            return f"note: {stage.label}: {event.text}"
        running = self.running.pop(stage.key, None)  # none for what another run has computed
        if event.state == "done":
            self.done += 1
            self._work_done += stage.flops
            if running and "score" in running.event.values:
                self._scores[stage.key] = running.event.values["score"]
            took = time.monotonic() - running.since if running else 0.0
            said = running.text if running and running.text else event.text
            return f"[{self.done}/{self.total}] {stage.label} ({duration(took)}; {said})"
        if event.state == "failed":
            self.failures += 1
            self._work -= stage.flops
        return f"{event.state}: {stage.label}: {event.text}"

    def time_left(self) -> float | None:
        """Seconds, at the speed so far; None before anything is done."""
        done = self._work_done + sum(running.stage.flops * running.share for running in [*self.running.values()])
        return (time.monotonic() - self._began) * (self._work - done) / done if done else None

    @property
    def share(self) -> float:
        """Of the stages, where those under way count by how far they are."""
        return (self.done + sum(running.share for running in [*self.running.values()])) / max(1, self.total)

    def counts(self) -> str:
        failed = f", {self.failures} failed" if self.failures else ""
        waiting = self.total - self.done - self.failures - len(self.running)
        return f"{self.done} of {self.total} stages done, {len(self.running)} running, {waiting} waiting{failed}"

    def end(self) -> str:
        """The time that is left, and when the end will be."""
        left = self.time_left()
        return "time left: …" if left is None else f"time left: {duration(left)}, ends about {_clock(left)}"

    def gains(self) -> list[str]:
        """The mean gain of each recipe and target over none, of those scored in this run: ``mini-span: mini-nli +1.2``.

        Gains are of the same encoder, target and seed; the largest come first. They have no interval yet.
        """
        alone = {(cell.encoder, cell.target.task, cell.seed): self._scores.get(cell.score or "")
                 for cell in self._cells if cell.recipe_label == NONE}  # fmt: skip
        found: dict[tuple[str, str], list[float]] = {}
        for cell in self._cells:
            score = self._scores.get(cell.score or "")
            base = alone.get((cell.encoder, cell.target.task, cell.seed))
            if cell.recipe_label != NONE and score is not None and base is not None:
                found.setdefault((cell.target.task, cell.recipe_label), []).append(score - base)
        means = sorted(((sum(own) / len(own), len(own), names) for names, own in found.items()), reverse=True)
        return [f"{recipe} on {target} {mean:+.1f} (of {n})" for mean, n, (target, recipe) in means]

    def scored(self) -> str:
        """The scores so far, in a line; empty where there are none."""
        if gains := self.gains():
            return f"gain over none so far, no interval yet: {'; '.join(gains)}"
        if self._scores:
            key, best = max(self._scores.items(), key=lambda item: item[1])
            return f"highest score so far: {best:.1f}, {self.stages[key].label}"
        return ""


def _clock(seconds: float) -> str:
    """When it will be so many seconds from now: 14:32, Thu 14:32, or 3 Dec 14:32."""
    now = datetime.now()
    then = now + timedelta(seconds=seconds)
    if then.date() == now.date():
        return f"{then:%H:%M}"
    return f"{then:%a %H:%M}" if then - now < timedelta(days=6) else f"{then.day} {then:%b %Y}"


class Display(ABC):
    """Hears of a run, and shows how far it is; a context, at whose end it shows nothing more."""

    def __init__(self, stages: Sequence[Stage], cells: Sequence[Cell] = ()):
        self.headway = Headway(stages, cells)

    def __enter__(self) -> Display:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def __call__(self, event: Event) -> None: ...


class LiveTable(Display):
    """A terminal: what has ended scrolls by and stays; what is under way stands below it."""

    def __init__(self, stages: Sequence[Stage], console: Console, cells: Sequence[Cell] = ()):
        super().__init__(stages, cells)
        self._console = console
        self._live = Live(get_renderable=self.table, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        if line := self.headway.hear(event):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def table(self) -> RenderableType:
        headway, width = self.headway, self._console.width
        running = [*headway.running.values()]
        longest = max((len(one.stage.label) for one in running), default=0)
        beside = longest + _BESIDE <= width  # else what a stage says stands below its label
        room = max(1, (self._console.height - 5) // (1 if beside else 2))
        table = Table.grid(padding=(0, 1))
        if beside:
            table.add_column(no_wrap=True)
        table.add_column(width=_BAR)
        table.add_column(justify="right", width=4)
        table.add_column(no_wrap=True, overflow="ellipsis")
        rows: list[RenderableType] = [_line(headway.counts()), _line(headway.end())]
        for one in running[:room]:
            shown = (ProgressBar(total=1.0, completed=one.share, width=_BAR), f"{one.share:.0%}", Text(one.text))
            if beside:
                table.add_row(Text(one.stage.label), *shown)
                continue
            own = Table.grid(padding=(0, 1))
            own.add_column(width=1)
            own.add_column(width=_BAR)
            own.add_column(justify="right", width=4)
            own.add_column(no_wrap=True, overflow="ellipsis")
            own.add_row("", *shown)
            rows += [_line(one.stage.label), own]
        if beside and running:
            rows.append(table)
        if len(running) > room:
            rows.append(_line(f"and {len(running) - room} more under way"))
        if scored := headway.scored():
            rows.append(_line(scored))
        return Group(*rows)


#: Columns of a bar, and of all that stands beside a label: bar, share, and what a training says.
_BAR, _BESIDE = 16, 62


def _line(text: str) -> Text:
    """On one line; what the terminal has no room for is cut in the display alone: the line that is kept has all."""
    return Text(text, no_wrap=True, overflow="ellipsis")


class Lines(Display):
    """A log or a pipe: a line for each stage that has ended, and one in a minute in which none did."""

    def __init__(self, stages: Sequence[Stage], console: Console, cells: Sequence[Cell] = (), silence: float = SILENCE):
        super().__init__(stages, cells)
        self._console = console
        self._silence = silence
        self._lock = threading.Lock()
        self._spoke = time.monotonic()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._keep_talking, daemon=True)

    def __enter__(self) -> Lines:
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._clock.join()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if line := self.headway.hear(event):
                self._say(line)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._spoke = time.monotonic()

    def _keep_talking(self) -> None:
        while not self._over.wait(max(0.01, self._spoke + self._silence - time.monotonic())):
            with self._lock:
                if time.monotonic() - self._spoke >= self._silence:
                    self._say("; ".join(filter(None, [self.headway.counts(), self.headway.end(), self._under_way()])))

    def _under_way(self) -> str:
        """The stage that is the furthest."""
        running = max(self.headway.running.values(), key=lambda one: one.share, default=None)
        return f"{running.stage.label} {running.share:.0%} {running.text}".strip() if running else ""


class Notebook(Display):
    """A notebook: one output of a cell, which is written anew as the run goes on and stays as it was at its end."""

    def __init__(self, stages: Sequence[Stage], cells: Sequence[Cell] = ()):
        super().__init__(stages, cells)
        self._kept: list[str] = []
        self._shown = 0.0

    def __enter__(self) -> Notebook:
        from IPython.display import HTML
        from IPython.display import display as show

        self._handle = show(HTML(self.page()), display_id=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._update()

    def __call__(self, event: Event) -> None:
        if line := self.headway.hear(event):
            self._kept.append(line)
        if time.monotonic() - self._shown >= _BETWEEN:
            self._update()

    def _update(self) -> None:
        from IPython.display import HTML

        self._handle.update(HTML(self.page()))
        self._shown = time.monotonic()

    def page(self) -> str:
        headway = self.headway
        rows = [(one.stage.label, f"{one.share:.0%}", one.text) for one in [*headway.running.values()][:_MOST_ROWS]]
        ended = "".join(f"<li>{html.escape(line)}</li>" for line in self._kept)
        said = "; ".join(filter(None, [headway.counts(), headway.end() if headway.done < headway.total else ""]))
        return (
            f'<progress max="1" value="{headway.share:.3f}" aria-label="share of the stages"></progress>'
            + html.paragraphs("\n".join(filter(None, [said, headway.scored()])))
            + (html.table(("under way", "share", ""), rows) if rows else "")
            + (
                f"<details><summary>{len(self._kept)} lines on what has ended</summary><ul>{ended}</ul></details>"
                if ended
                else ""
            )
        )


#: Seconds between two looks of a notebook's output, and how many stages under way it lists.
_BETWEEN, _MOST_ROWS = 0.5, 16


def display(stages: Sequence[Stage], console: Console, cells: Sequence[Cell] = ()) -> Display:
    """The display for where ``console`` prints."""
    if console.is_jupyter:
        return Notebook(stages, cells)
    return LiveTable(stages, console, cells) if console.is_terminal else Lines(stages, console, cells)
