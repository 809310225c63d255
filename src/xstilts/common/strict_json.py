"""JSON as files of data hold it: what Python's parser lets through, or dies of, is told in one line."""

from __future__ import annotations

import json
import re
from typing import Any

#: An escape: a pair of surrogates, which is one character; half of one, which is none (captured); any other.
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)


class JsonError(ValueError):
    """``what`` is wrong with a JSON text, with what to do; in its ``line``, from 1, where that is known."""

    def __init__(self, what: str, line: int | None = None):
        super().__init__(what)
        self.what, self.line = what, line


def parse(text: str, remedy: str) -> Any:
    """The value of a JSON text. Raises JsonError, with the ``remedy`` where it is no JSON.

    Beyond `json.loads` it refuses what would be lost or fail later: a key given twice in an object, of which Python
    keeps the last, and half of a surrogate pair, which no file or tokenizer takes.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise JsonError(f"column {error.colno}: invalid JSON ({error.msg}); {remedy}", error.lineno) from None
    except RecursionError:
        raise JsonError("lists or objects nested too deeply; flatten them") from None
    except MemoryError:
        raise JsonError("more than memory holds; split the file") from None
    except JsonError:
        raise
    except ValueError:  # `sys.get_int_max_str_digits`
        raise JsonError("a number of thousands of digits; write it as a text") from None
    if "\\u" in text and (half := next((found for found in _ESCAPE.finditer(text) if found[1]), None)):
        line = text.count("\n", 0, half.start()) + 1
        column = half.start() - text.rfind("\n", 0, half.start())
        raise JsonError(f"column {column}: {half[1]} is half of a surrogate pair, no character; mend the text", line)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"{twice!r} is given twice in one object; keep one")
    return made
