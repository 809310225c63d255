"""A study to begin with, from what its author wants to know or from what data lie in a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from xstilts.common import fast_yaml
from xstilts.common.errors import UserError, did_you_mean
from xstilts.data import available
from xstilts.planning.estimate import ASSUMED_FLOPS_PER_SECOND, estimate
from xstilts.planning.planner import make_plan
from xstilts.planning.recipe import NONE
from xstilts.planning.study import SHIPPED, make_study
from xstilts.tasks import Catalog, builtin_catalog
from xstilts.tasks.task import Task

_BEGIN = fast_yaml.read(Path(__file__).parent / "drafts.yaml")
TARGET: str = _BEGIN["target"]
KINDS: dict[str, list[str]] = _BEGIN["kinds"]  # what people want → tasks, the first that has a language is taken
INTERMEDIATE: list[str] = _BEGIN["intermediate"]  # in the order in which they are tried
TRIED = 3  # of them

#: Examples that a task is trained on at most, the most first: 0 is all. And of its development data then.
CAPS = (0, 50_000, 20_000, 10_000, 5_000, 2_500, 1_200, 600, 300)
DEV = 500

SEEDS = (1, 2, 3)  # of fewer than two nothing can be shown
BUNDLED = "bundled/e5-small"


@dataclass(frozen=True)
class Wish:
    """What a study is to tell. ``languages`` are all that there are where it has none; ``data`` None is the hub's."""

    targets: tuple[str, ...]
    languages: tuple[str, ...] = ()
    encoder: str = BUNDLED
    hours: float | None = None
    data: Path | None = None
    tasks: tuple[Path, ...] = ()  # entries of the user's own

    @property
    def catalog(self) -> Catalog:
        return builtin_catalog().with_files(self.tasks)


@dataclass(frozen=True)
class Draft:
    """A study file's text, and what it will take on this machine as far as that can be told."""

    text: str
    hours: float


def targets_in(folder: Path) -> tuple[str, ...]:
    """Tasks with test data and English training data in ``folder``. Raises UserError where there are none."""
    catalog = builtin_catalog()
    found = tuple(
        task.name
        for task in catalog
        if task.files is not None and set(available(task, "test", folder)) - {"en"} and _can_train(task, folder)
        and "-" not in task.name  # another task's variant
    )  # fmt: skip
    if not found:
        raise UserError(f"{folder}: no test data of a task whose training data are there too (docs/data.md says what "
                        "lies where); `xstilts data check` tells what it finds")  # fmt: skip
    return found


def target_for(kind: str, language: str, data: Path | None) -> str:
    """The task of a ``kind`` (`KINDS`) that is scored in a language, in ``data`` where that is given.

    Raises UserError where there is none, or no such kind.
    """
    if kind not in KINDS:
        raise UserError(f"--task {kind}: {did_you_mean(kind, KINDS)}; or a task of `xstilts tasks`, or a file of one")
    catalog = builtin_catalog()
    by_task = {name: catalog[name].languages if data is None else available(catalog[name], "test", data)
               for name in KINDS[kind]}  # fmt: skip
    found = [name for name, languages in by_task.items() if language in languages]
    if not found:
        has = "; ".join(f"{name}: {', '.join(languages) or 'none'}" for name, languages in by_task.items())
        where = "" if data is None else f" in {data}"
        raise UserError(f"--language {language}: no test data of {kind}{where}; there are, by task, {has}")
    return found[0]


def draft(wish: Wish, name: str, processes: int) -> Draft:
    """A study of ``wish`` that takes its hours at most on ``processes`` cores, of which a study needs one a stage.

    Raises UserError where a target or a language is not known, or where the least study takes longer.
    """
    catalog = wish.catalog
    for target in wish.targets:
        if target not in {task.name for task in catalog}:
            raise UserError(f"task {target!r}: {did_you_mean(target, [task.name for task in catalog])}")
    by_target = {target: _languages(catalog[target], wish) for target in wish.targets}
    content: dict[str, Any] = {
        "name": name,
        "description": _question([catalog[target] for target in wish.targets], wish.languages),
        "encoders": [wish.encoder],
        "recipes": [NONE, *_recipes(wish)],
        "targets": [{"task": target, "languages": list(of)} if of else target for target, of in by_target.items()],
        "seeds": list(SEEDS),
        "preset": "quick",
        **({"tasks": [str(file.expanduser().absolute()) for file in wish.tasks]} if wish.tasks else {}),
        **({"data": str(wish.data.expanduser().absolute())} if wish.data else {"hub": True}),
    }  # fmt: skip
    caps = list(CAPS)
    while True:
        training = {"training": {"max_train_examples": caps[0], "max_dev_examples": DEV}} if caps[0] else {}
        hours = _hours(content | training, processes)
        if wish.hours is None or hours <= wish.hours:
            return Draft(_written(content | training), hours)
        if len(caps) == 1:
            raise UserError(
                f"--hours {wish.hours:g}: {caps[0]} training examples a task take about {hours:.1f} hours on "
                f"{processes} cores; give more hours, fewer tasks or languages, or a smaller encoder ({BUNDLED}@6)"
            )
        # What a study takes is about linear in what it is trained on: smaller ones are planned where that is right.
        most = caps[0] * wish.hours / hours if caps[0] else CAPS[1]
        caps = [cap for cap in caps[1:] if cap <= most] or caps[-1:]


def _hours(content: dict[str, Any], processes: int) -> float:
    """Data that are not at hand are counted as the catalog says."""
    at_hand = {key: value for key, value in content.items() if key != "hub"}
    plan = make_plan(make_study(at_hand), estimate=True)
    return estimate(plan, plan.stages.keys(), ASSUMED_FLOPS_PER_SECOND, processes).seconds / 3600


def copy(name: str, out: Path) -> list[Path]:
    """Write a study that comes with xstilts to ``out``, the tasks that it brings beside it. Gives the files written.

    The begin of a name is enough where it is one study's alone. Raises UserError where there is no such study, or a
    file is there already.
    """
    names = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
    found = [one for one in names if one == name] or [one for one in names if one.startswith(name)]
    if len(found) != 1:
        raise UserError(f"--from {name}: no study that comes with xstilts; {did_you_mean(name, names)}")
    text = (SHIPPED / f"{found[0]}.yaml").read_text(encoding="utf-8")
    files = {out: text}
    for task in re.findall(r"\btasks/[\w.-]+\.yaml", text):
        files[out.parent / task] = (SHIPPED / task).read_text(encoding="utf-8")
    for path, content in files.items():
        if path.exists() and (path == out or path.read_text(encoding="utf-8") != content):
            raise UserError(f"{path}: there is such a file already; name another")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return list(files)


def _can_train(task: Task, folder: Path) -> bool:
    """Whether the English data that a target is trained on are there; it may need none."""
    name = task.training_task
    return name is None or "en" in available(builtin_catalog()[name], "train", folder)


def _recipes(wish: Wish) -> list[str]:
    """Intermediate tasks whose training data are there, but none that a target is trained on anyway."""
    catalog = wish.catalog
    own = {catalog[target].training_task for target in wish.targets} if len(wish.targets) == 1 else set()
    found = [task for task in INTERMEDIATE if task not in own and _trainable(catalog[task], wish.data)]
    if not found:
        raise UserError(f"{wish.data}: no training data of an intermediate task, such as {', '.join(INTERMEDIATE[:3])}")
    return found[:TRIED]


def _trainable(task: Task, folder: Path | None) -> bool:
    return task.hub is not None if folder is None else "en" in available(task, "train", folder)


def _languages(task: Task, wish: Wish) -> tuple[str, ...]:
    """Those of the wish that are there; empty for all. Raises UserError where the task, or the folder, has none."""
    known = task.languages if wish.data is None else available(task, "test", wish.data)
    if not known:
        raise UserError(
            f"{wish.data}: no test data of {task.name}; `xstilts data check {wish.data}` tells what it finds"
        )
    if not wish.languages:
        return ()
    there = [language for language in wish.languages if language in known]
    if not there:
        where = task.name if wish.data is None else f"{wish.data}: {task.name}"
        raise UserError(f"language {wish.languages[0]!r}: {where} has {', '.join(known)}")
    return tuple(there)


def _question(targets: Sequence[Task], languages: Sequence[str]) -> str:
    called = " and ".join([", ".join(task.called for task in targets[:-1]), targets[-1].called] if len(targets) > 1
                          else [targets[0].called])  # fmt: skip
    where = f"in {', '.join(languages)}" if languages else "in other languages"
    return f"Which English intermediate task helps {called} {where}, and by how much?"


_COMMENTS = {
    "encoders": "`xstilts encoders` lists more; bundled/e5-small@6 keeps its lowest 6 layers",
    "recipes": "what is trained on before the target task; all are compared with `none`",
    "targets": "evaluated in every language whose data are there, unless `languages` names some",
    "seeds": "of one seed nothing can be shown; each adds to the time",
    "preset": "a set of hyper-parameters (docs/study-file.md)",
    "training": "at most so many examples a task; without, all",
    "tasks": "entries of tasks of your own (docs/add-a-task.md)",
    "data": "the folder of the data files, as their authors publish them (docs/data.md)",
    "hub": "data come from the hub",
}


def _written(content: dict[str, Any]) -> str:
    """As YAML, a comment above each key that is not plain."""
    lines = ["# `xstilts plan` this file to see what it takes, then `xstilts run` it; every key: docs/study-file.md."]
    for key, value in content.items():
        if key in _COMMENTS:
            lines.append(f"# {_COMMENTS[key]}")
        written = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=True)
        lines.append(f"{key}: {written.strip().removesuffix('...').strip()}")
    return "\n".join(lines) + "\n"
