"""Plain text, for masked language modelling."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text without any label: a line of a corpus, for masked language modelling."""

    id: str
    text: str
