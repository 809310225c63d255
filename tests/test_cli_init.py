"""`xstilts init`, `python -m xstilts` and studies by their names, from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xstilts.cli import app as cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["xstilts", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    return tmp_path


def test_a_drafted_study_can_be_planned(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "init", "hindi.yaml", "--task", "xquad", "--language", "hi", "--hours", "5") == 0
    out = capsys.readouterr().out
    assert "hindi.yaml: about " in out and "next: xstilts plan hindi.yaml" in out
    assert "name: hindi" in Path("hindi.yaml").read_text(encoding="utf-8")
    assert run(monkeypatch, "init", "hindi.yaml", "--task", "xquad") == 2
    assert "there is such a file already" in capsys.readouterr().err


def test_what_is_not_said_is_asked_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["xnli, tatoeba", "sw de", "bundled/e5-small@6", 10.0])
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert run(monkeypatch, "init") == 0
    text = Path("study.yaml").read_text(encoding="utf-8")
    assert "encoders: [bundled/e5-small@6]" in text
    assert "targets: [{task: xnli, languages: [sw, de]}, {task: tatoeba, languages: [sw, de]}]" in text


def test_nothing_is_asked_where_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert run(monkeypatch, "init") == 2
    assert "give --task TASK" in capsys.readouterr().err


def test_a_copy_of_a_study_that_comes_with_xstilts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "init", "own.yaml", "--from", "phang2020") == 0
    assert "xlm-roberta-large" in Path("own.yaml").read_text(encoding="utf-8")
    assert run(monkeypatch, "init", "b.yaml", "--from", "phang2021") == 2
    assert "did you mean 'phang2020'?" in capsys.readouterr().err


def test_studies_have_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "plan", "quickstart", "--json") == 0
    assert '"study": "quickstart"' in capsys.readouterr().out
    assert run(monkeypatch, "plan", "quickstar.yaml") == 2
    assert "no such study file; by their names there are phang2020, quickstart" in capsys.readouterr().err


def test_python_m_xstilts_and_h(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "xstilts", "-h"], capture_output=True, text=True, check=True)
    assert "Start with: xstilts demo" in done.stdout and "--install-completion" in done.stdout
