"""The Python that the documents show runs as it stands: as a script, as a notebook, and the tutorial to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import xstilts
from test_documents import DOCUMENTS, ROOT, blocks
from tiny import STUDY, write

#: What the documents' studies are called, and what runs in seconds in their place.
NAMES = ("nli-or-commonsense.yaml", "study.yaml")
SAID = {**STUDY, "targets": [{"task": "mini-span", "max_examples": 4, "languages": ["en", "de", "sw"]}]}
SHOWN = [(str(page.relative_to(ROOT)), text) for page in DOCUMENTS for text in blocks(page, "python")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The studies that the documents name; what one block has run, the next finds."""
    folder = tmp_path_factory.mktemp("documents")
    for name in NAMES:
        write(folder, name=Path(name).stem, targets=SAID["targets"]).rename(folder / name)
    (folder / "questions.csv").write_text("question,context\nWhere?,In Bonn.\n", "utf-8")
    xstilts.run(folder / "study.yaml", folder / ".xstilts" / "store", progress=False)
    xstilts.export(folder / "study.yaml", folder / "model", store=folder / ".xstilts" / "store", target="mini-span")
    return folder


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in ("XSTILTS_DATA", "XSTILTS_STORE")}
    return {**own, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), own.get("PYTHONPATH", "")])}


@pytest.mark.parametrize(("page", "text"), SHOWN, ids=[f"{page}-{n}" for n, (page, _) in enumerate(SHOWN)])
def test_a_block_runs_as_a_script(page: str, text: str, folder: Path) -> None:
    script = folder / "script.py"
    script.write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, script.name], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def executed(notebook: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    for name in ("XSTILTS_DATA", "XSTILTS_STORE"):
        monkeypatch.delenv(name, raising=False)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def test_the_blocks_run_as_a_notebook(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [nbformat.v4.new_code_cell(text) for _, text in SHOWN]
    executed(nbformat.v4.new_notebook(cells=cells), folder, monkeypatch)


def test_the_tutorial_runs_and_shows_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    found = executed(nbformat.from_dict(kept), tmp_path, monkeypatch)  # type: ignore[no-untyped-call]
    outputs = [output for cell in found.cells for output in cell.get("outputs", ())]
    shown = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    assert "Plan of tutorial: 20 stages" in shown and "20 of 20 stages done" in shown
    assert "Results of tutorial: " in shown and '<a href="report/report.html">' in shown
    assert not [output for output in outputs if output.output_type == "stream"]  # nothing chatters
    answered = outputs[-1].data["text/plain"]
    assert "'prediction': " in answered and (tmp_path / "model" / "README.md").is_file()


def test_the_tutorial_is_kept_as_it_was_run() -> None:
    """Each cell has its output; none is an error."""
    for cell in nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs and not [one for one in cell.outputs if one.output_type == "error"]
