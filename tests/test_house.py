"""The rooms of the house, and what each may import: what CONTRIBUTING.md draws."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "xstilts"

#: Room → the rooms that its modules may import, besides itself.
MAY_IMPORT = {room: set(others.split()) for room, others in {
    "common": "",
    "store": "common",
    "encoders": "common",
    "tasks": "common",
    "data": "common encoders tasks",
    "planning": "common store encoders tasks data",
    "engine": "common store encoders tasks data planning",
    "running": "common store encoders tasks data planning engine",
    "analysis": "common store encoders tasks data planning",
    "selection": "common store encoders tasks data planning engine running analysis",
    "reporting": "common analysis",
    "handover": "common store encoders tasks data planning engine analysis reporting",
    "api": "common store encoders tasks data planning engine running analysis selection reporting handover",
    "cli": "common store encoders tasks data planning engine running analysis selection reporting handover api",
}.items()}  # fmt: skip

#: Rooms that work where neither is installed.
WITHOUT_TORCH = ("tasks", "planning", "analysis")
HEAVY = {"torch", "transformers"}


def modules() -> dict[str, Path]:
    named = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path for path in SOURCE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


MODULES = modules()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of what a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names = [f"{node.module}.{one.name}" for one in node.names]
            yield from ((node.lineno, name if name in MODULES else str(node.module)) for name in names)


def room(module: str) -> str:
    """Empty of the package itself, and of what `python -m xstilts` begins with."""
    return [*module.split("."), ""][1].removeprefix("__main__")


def test_the_top_is_seen_at_a_glance() -> None:
    entries = {path.name for path in SOURCE.iterdir()} - {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    assert entries == {name if (SOURCE / name).is_dir() else f"{name}.py" for name in MAY_IMPORT}
    assert len(entries) <= 14


def test_no_room_imports_one_that_stands_above_it() -> None:
    broken = [
        f"{path}:{line}: {room(name)} may not import {imported}"
        for name, path in MODULES.items()
        for line, imported in imports(path)
        if room(name)
        and room(imported) not in {room(name), *MAY_IMPORT[room(name)]}
        and imported.startswith("xstilts.")
    ]
    assert not broken, "\n".join(broken)


def test_the_map_of_contributing_is_true() -> None:
    """Its arrows are imports that a room may have, and lead to all of those."""
    text = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    arrows = [line.split("-->") for line in text.splitlines() if "-->" in line]
    reaches: dict[str, set[str]] = {name: set() for name in MAY_IMPORT}
    for below, above in arrows:
        for upper in map(str.strip, above.split("&")):
            for lower in map(str.strip, below.split("&")):
                assert lower in MAY_IMPORT[upper], f"{upper} may not import {lower}"
                reaches[upper] |= {lower} | reaches[lower]  # the picture goes from below
    for name, allowed in MAY_IMPORT.items():
        assert allowed <= reaches[name], f"no arrow leads from {sorted(allowed - reaches[name])} to {name}"
        assert f"| `{name}{'/' if (SOURCE / name).is_dir() else '.py'}` |" in text, f"{name} is not in the table"


def test_no_modules_import_each_other() -> None:
    graph = {name: {one for _, one in imports(path) if one in MODULES} - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_what_knows_nothing_of_torch_does_not_load_it() -> None:
    known = [name for name in MODULES if room(name) in WITHOUT_TORCH]
    direct = [
        f"{MODULES[name]}:{line}: imports {imported}"
        for name in known
        for line, imported in imports(MODULES[name])
        if imported.split(".")[0] in HEAVY
    ]
    assert not direct, "\n".join(direct)
    program = f"import sys, {', '.join(known)}; sys.exit(' '.join({HEAVY!r} & sys.modules.keys()) or 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, f"loaded on the way: {done.stderr}"


def test_one_word_stands_for_one_thing() -> None:
    """No two rooms have a type of the same name."""
    defined: dict[str, list[str]] = {}
    for path in MODULES.values():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    assert not (twice := {name: places for name, places in defined.items() if len(places) > 1}), twice
