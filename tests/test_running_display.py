"""How a run looks: on a terminal of 80 columns, in a log, and after a ^C."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tiny import STUDY
from xstilts.common.progress import Event
from xstilts.planning.plan import Plan, Stage
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.display import Headway, Lines, LiveTable, display


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(make_study({**STUDY, "name": "shown"}))


def a_run(plan: Plan) -> list[Event]:
    """The stages one after the other; a score is 40 without, 43.5 with the intermediate task."""
    events = []
    for stage in plan.stages.values():
        events.append(Event(stage.key, "started"))
        if stage.kind == "train":
            events.append(Event(stage.key, text="dev 50.0", done=10, steps=10, values={"dev": 50.0}))
        if stage.kind == "score":
            score = 43.5 if "mini-nli →" in stage.label else 40.0
            events.append(Event(stage.key, text=f"f1 {score}", done=1, steps=1, values={"score": score}))
        events.append(Event(stage.key, "done"))
    return events


def test_gains_are_told_of_what_differs_in_the_recipe_alone(plan: Plan) -> None:
    headway = Headway([*plan.stages.values()], plan.cells)
    scored = []
    for event in a_run(plan):
        headway.hear(event)
        scored.append(headway.scored())
    assert scored[0] == "" and any(said.startswith("highest score so far: 40.0, bundled/e5-small@1") for said in scored)
    assert set(headway.gains()) == {"mini-nli on mini-span +3.5 (of 1)", "mini-nli on mini-retrieval +3.5 (of 1)"}
    assert headway.time_left() == 0 and headway.share == 1 and headway.counts().startswith("11 of 11 stages done")


def test_what_failed_counts_no_more_and_says_why(plan: Plan) -> None:
    stages = [*plan.stages.values()]
    headway = Headway(stages, plan.cells)
    assert headway.hear(Event(stages[0].key, "started")) is None
    said = headway.hear(Event(stages[0].key, "failed", "loss is nan [at step 3]"))
    assert said == f"failed: {stages[0].label}: loss is nan [at step 3]"
    assert headway.counts() == "0 of 11 stages done, 0 running, 10 waiting, 1 failed"


def test_a_log_says_something_every_minute(plan: Plan) -> None:
    """Here every tenth of a second; and no line is broken or cut, however narrow the console."""
    stage = next(iter(plan.stages.values()))
    out = io.StringIO()
    with Lines([*plan.stages.values()], Console(file=out, width=40), plan.cells, silence=0.1) as shown:
        shown(Event(stage.key, "started"))
        shown(Event(stage.key, text="loss 1.234, 5,678 tokens/s", done=3, steps=10))
        time.sleep(0.35)
        shown(Event(stage.key, "done"))
    time.sleep(0.15)  # nothing more after the end
    lines = out.getvalue().splitlines()
    assert 2 <= len(lines) <= 5
    assert all(re.fullmatch(r"0 of 11 stages done, 1 running, 10 waiting; time left: .*, ends about .*; .* 30% loss "
                            r"1\.234, 5,678 tokens/s", line) for line in lines[:-1])  # fmt: skip
    assert lines[-1].startswith(f"[1/11] {stage.label} (") and "loss 1.234" in lines[-1]


def test_a_log_in_which_stages_end_has_no_lines_between(plan: Plan) -> None:
    out = io.StringIO()
    with display([*plan.stages.values()], Console(file=out), plan.cells) as shown:
        for event in a_run(plan):
            shown(event)
    lines = out.getvalue().splitlines()
    assert isinstance(shown, Lines) and len(lines) == 11
    assert [int(line[1 : line.index("/")]) for line in lines] == [*range(1, 12)]


def drawn(stages: Sequence[Stage], events: Sequence[Event], width: int, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    table = LiveTable(stages, console)
    for event in events:
        table.headway.hear(event)
    with console.capture() as captured:
        console.print(table.table())
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 160])
def test_a_long_label_is_on_one_line_beside_a_bar(plan: Plan, width: int) -> None:
    stages = [*plan.stages.values()]
    events = [Event(stages[0].key, "started"), Event(stages[0].key, text="loss 1.234", done=1, steps=2)]
    lines = drawn(stages, events, width)
    (labelled,) = [line for line in lines if stages[0].label in line]
    bar = labelled if width == 160 else lines[lines.index(labelled) + 1]
    assert "━" in bar and "50%" in bar and "loss 1.234" in bar
    assert all(len(line) <= width for line in lines)
    assert "time left: " in lines[1] and "ends about" in lines[1]


def test_more_stages_than_the_terminal_has_lines_are_counted(plan: Plan) -> None:
    stages = [*plan.stages.values()]
    lines = drawn(stages, [Event(stage.key, "started") for stage in stages], 80, 12)
    assert len(lines) <= 12 and lines[-1].strip() == "and 8 more under way"


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from rich.console import Console
from test_running_display import STUDY, a_run, display, make_plan, make_study
plan = make_plan(make_study({{**STUDY, "name": "shown"}}))
with display([*plan.stages.values()], Console(stderr=True, markup=False), plan.cells) as shown:
    for event in a_run(plan):
        shown(event)
"""


def test_what_has_ended_stays_in_the_scrollback_of_a_terminal(plan: Plan) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = PROGRAM.format(tests=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=theirs, env={**os.environ, "TERM": "xterm-256color"}
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    for number, stage in enumerate(plan.stages.values(), 1):
        assert re.search(re.escape(f"[{number}/11] {stage.label} (") + r"0\.0 s; [^)]*\)\r\n", text), stage.label
    assert "mini-nli on mini-span +3.5 (of 1)" in text
