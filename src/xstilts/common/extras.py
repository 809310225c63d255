"""Packages that are installed on demand: the extras of pyproject.toml."""

from __future__ import annotations

from importlib.util import find_spec

from xstilts.common.errors import UserError


def need(extra: str, *packages: str) -> None:
    """Raises UserError where a package of an extra is not installed."""
    for package in packages:
        if find_spec(package) is None:
            raise UserError(f'{package} is not installed; pip install "xstilts[{extra}]"')
