"""The list of encoders, as its file has it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from xstilts.common import fast_yaml

FAMILIES = Path(__file__).parent / "families.yaml"


@cache
def entries() -> dict[str, dict[str, Any]]:
    """By the encoder's name, in the file's order."""
    return {entry["name"]: entry for entry in fast_yaml.read(FAMILIES)}


def entry(name: str) -> dict[str, Any] | None:
    """Of a listed encoder; None of any other."""
    return entries().get(name)
