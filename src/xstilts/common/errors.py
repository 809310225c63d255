"""Errors that the user can mend, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The user's input is wrong: the message names file, line or field, what is wrong and what to do.

    The command line prints the message alone and ends with status 2.
    """


class StageError(Exception):
    """A stage could not be completed for a reason that training or the machine gave, not the input."""


class StoreError(Exception):
    """The store cannot be read or written any more: full, read-only, or gone. One line, with what to do."""


def within(name: str, error: UserError) -> UserError:
    """``error`` as one of the file ``name``, which each of its lines then begins with."""
    return UserError("\n".join(f"{name}: {line}" for line in str(error).split("\n")))


def printable(text: str) -> str:
    """``text`` on one line: what moves a terminal's cursor or changes its colours is escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped ``word``: the closest of the ``known`` words, or all of them when few."""
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if len(options) <= 12:
        return "known: " + ", ".join(options)
    return f"{len(options)} are known"
