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
    """Catalog code → three-letter code, of the languages of Tatoeba (pt → por)."""
    return dict(builtin_catalog()["tatoeba"].layouts[0].codes)
