"""What a terminal or a pipe does to what is printed: it may lack letters, or be closed before the end."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, as JSON escapes it, so that JSON stays JSON."""
    assert isinstance(error, UnicodeEncodeError)
    raw = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[i]:02x}{raw[i + 1]:02x}" for i in range(0, len(raw), 2)), error.end


codecs.register_error("xstilts.escape", _escaped)


@contextmanager
def forgiving() -> Iterator[None]:
    """No letter that stdout or stderr lacks ends a command, nor does a reader that has seen enough (`| head`)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="xstilts.escape")
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            # What is left goes nowhere, or Python would complain of it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
