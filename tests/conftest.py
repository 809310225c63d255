"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiny import command, write


@pytest.fixture
def real_data() -> Path:
    """The folder of real data files; the test is skipped where XSTILTS_DATA does not name it."""
    folder = os.environ.get("XSTILTS_DATA")
    if not folder:
        pytest.skip("needs real data: set XSTILTS_DATA to its folder (docs/data.md)")
    return Path(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny study ran from the command line, uninterrupted."""
    folder = tmp_path_factory.mktemp("finished")
    ended = command(folder, "run", str(write(folder)))
    assert ended.returncode == 0, ended.stderr
    assert "Report: runs/tiny/report.html" in ended.stdout.splitlines()[-1]
    return folder
