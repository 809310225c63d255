"""The catalog of tasks: one YAML entry a task, in ``catalog/`` or in a file of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from xstilts.common import fast_yaml
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.validation import Mistakes, Trial
from xstilts.tasks import formats
from xstilts.tasks.task import Task

CATALOG = Path(__file__).parent / "catalog"


class Catalog:
    """The tasks known to a study: the built-in ones and the user's own."""

    def __init__(self, tasks: Iterable[Task]):
        named = {task.name: task for task in tasks}
        self._tasks = {name: _united(task, named) if task.of else task for name, task in named.items()}

    def __getitem__(self, name: str) -> Task:
        if name not in self._tasks:
            raise UserError(f"unknown task {name!r}: {did_you_mean(name, self._tasks)} (`xstilts tasks` lists all)")
        return self._tasks[name]

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def with_files(self, paths: Iterable[Path]) -> Catalog:
        """This catalog and the entries in ``paths``; an entry replaces a built-in one of the same name."""
        return self.with_entries(map(read_entry, paths))

    def with_entries(self, tasks: Iterable[Task]) -> Catalog:
        return Catalog([*self, *tasks])


def _united(task: Task, named: dict[str, Task]) -> Task:
    """``task`` with its parts, which must be tasks of the same format, and of no other labels."""
    for name in task.of:
        where = f"{task.name}: of: {name}"
        if name not in named:
            raise UserError(f"{where}: unknown task: {did_you_mean(name, named)}")
        part = named[name]
        if part.of:
            raise UserError(f"{where}: is made of other tasks itself; name those ({', '.join(part.of)})")
        if part.format != task.format or not set(part.labels) <= set(task.labels):
            raise UserError(f"{where}: has another format or other labels; unite tasks that can share a head")
        if part.unanswerable and not task.unanswerable:
            raise UserError(f"{where}: has questions without an answer; say `unanswerable: true` of {task.name} too")
    return task.model_copy(update={"parts": tuple(named[name] for name in task.of)})


#: What a format asks nothing about; stand-ins for those that an entry must have, to look at the rest of it.
_ASIDE = {"name": "task", "description": "-", "languages": ["en"], "licence": "-", "citation": "-"}


def read_entry(path: Path) -> Task:
    """Read one catalog entry. Raises UserError: a line for each mistake, with file, line, field and remedy."""
    absent = "no such file; `tasks` in a study lists catalog entries beside the study"
    mistakes = Mistakes(str(path), document := fast_yaml.read_document(path, absent))
    task = Trial(document.content, mistakes).validated(Task, _ASIDE, "entry", "Field required")
    wrong = {problem.location[0] if problem.location else "" for problem in mistakes.problems}
    if task is not None and wrong <= _ASIDE.keys():
        if task.format not in formats.names():
            hint = did_you_mean(task.format, formats.names())
            mistakes.add(f"format: unknown format {task.format!r}; {hint}", "format")
        else:
            for fault in formats.get(task.format).faults(task):
                mistakes.add(f"entry: {fault}")
    mistakes.check()
    assert task is not None
    return task


@cache
def builtin_catalog() -> Catalog:
    return Catalog(read_entry(path) for path in sorted(CATALOG.glob("*.yaml"), key=lambda path: path.stem))
