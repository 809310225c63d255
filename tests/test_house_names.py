"""No code names a task: what is true of one stands in its catalog entry, or in a data file beside the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from xstilts.data.readers import READERS
from xstilts.tasks import CATALOG
from xstilts.tasks.task import HUB_READERS, Task

SOURCE = Path(__file__).parents[1] / "src" / "xstilts"
TASKS = {path.stem for path in CATALOG.glob("*.yaml")}

#: Where a format is at home, it may say whose rules and whose files it follows.
AT_HOME = ("tasks/formats/", "engine/heads/")

#: The words of catalog entries that are also a task's name: readers and rules are called after whose files and scripts
#: they follow. Here alone they are told apart; other code asks for what an entry says by them.
VOCABULARY = ("tasks/task.py", "data/readers/__init__.py", "data/hub.py")
WORDS = {*READERS, *HUB_READERS, *get_args(Task.model_fields["answer_rules"].annotation)}

#: A format, a key of study files and the name of what comes of it; the task is called after these.
NO_TASK = {"mlm"}


def named(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of the strings in a file that are a task's name, but docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in TASKS and id(node) not in docstrings:
            yield node.lineno, str(node.value)


def test_no_code_names_a_task() -> None:
    found = [
        f"{path}:{line}: {name!r} is a task"
        for path in sorted(SOURCE.rglob("*.py"))
        if not (place := path.relative_to(SOURCE).as_posix()).startswith(AT_HOME)
        for line, name in named(path)
        if name not in NO_TASK and not (place in VOCABULARY and name in WORDS)
    ]
    assert not found, "\n".join(found)
