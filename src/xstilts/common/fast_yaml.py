"""YAML as `yaml.safe_load` reads it, by the C parser where PyYAML was built with it: start-up reads dozens of files."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """Raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)
