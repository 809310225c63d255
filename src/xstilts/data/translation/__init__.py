"""Translated training data: made by an engine, or read from files; the answers of spans are carried through."""

from __future__ import annotations

from xstilts.data.translation.by_engine import VERSION, Translations, translate
from xstilts.data.translation.engines import Engine, engine
from xstilts.data.translation.from_files import files_fingerprint, read_translated, write_translated

__all__ = [
    "VERSION",
    "Engine",
    "Translations",
    "engine",
    "files_fingerprint",
    "read_translated",
    "translate",
    "write_translated",
]
