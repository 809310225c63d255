"""YAML as `yaml.safe_load` reads it, by the C parser where PyYAML was built with it: start-up reads dozens of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from xstilts.common.errors import UserError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """Raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)


def read(path: Path, absent: str = "no such file") -> Any:
    """The content of a file. Raises UserError: one line with file and line; ``absent`` is said where there is none."""
    try:
        return load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: {absent}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: cannot be read: a folder, not a file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
