"""The catalog of tasks: one YAML entry a task, in ``catalog/`` or in a file of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from xstilts.common import fast_yaml
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.validation import first_problem
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
        return Catalog([*self, *(read_entry(path) for path in paths)])


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
    return task.model_copy(update={"parts": tuple(named[name] for name in task.of)})


def read_entry(path: Path) -> Task:
    """Read one catalog entry. Raises UserError with file, field and remedy where it is wrong."""
    entry = fast_yaml.read(path, "no such file; `tasks` in a study lists catalog entries beside the study")
    try:
        task = Task.model_validate(entry)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error, Task, 'entry', 'Field required')}") from None
    if task.format not in formats.names():
        raise UserError(f"{path}: format: unknown format {task.format!r}; {did_you_mean(task.format, formats.names())}")
    if faults := list(formats.get(task.format).faults(task)):
        raise UserError(f"{path}: entry: {'; '.join(faults)}")
    return task


@cache
def builtin_catalog() -> Catalog:
    return Catalog(read_entry(path) for path in sorted(CATALOG.glob("*.yaml"), key=lambda path: path.stem))
