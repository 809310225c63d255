"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder of real data files; the test is skipped where XSTILTS_DATA does not name it."""
    folder = os.environ.get("XSTILTS_DATA")
    if not folder:
        pytest.skip("needs real data: set XSTILTS_DATA to its folder (docs/data.md)")
    return Path(folder)
