"""Languages and lines, as translation engines write them."""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.common.errors import UserError
from xstilts.tasks import builtin_catalog


def one_line(text: str) -> str:
    """``text`` with single spaces for all white space, and without null characters."""
    return " ".join(text.replace("\0", " ").split())


def unsupported(what: str, languages: Sequence[str], language: str) -> UserError:
    """The error for a language that an engine does not know."""
    return UserError(f"{what} translates English into {' '.join(languages)}, not {language!r}; name one of these")


def iso_639_3() -> dict[str, str]:
    """Catalog code → three-letter code (pt → por), of the languages of which the catalog has one: Tatoeba's."""
    codes = (layout.codes.items() for task in builtin_catalog() for layout in task.layouts)
    return {language: code for own in codes for language, code in own if len(code) == 3}
