"""Numbers as people read them."""

from __future__ import annotations

import re


def duration(seconds: float | None) -> str:
    """Seconds for people: 0.2 s, 8 s, 4 min 10 s, 3 h 02 min."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def parse_duration(text: str) -> float:
    """Seconds of ``3h``, ``90 min``, ``45s`` or ``1.5 h``. Raises ValueError where the text is none of that kind."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(h|m|min|s)\s*", text)
    if not found:
        raise ValueError(f"{text!r} is no length of time; write it as 3h, 90min or 45s")
    return float(found[1]) * {"h": 3600, "m": 60, "min": 60, "s": 1}[found[2]]


def memory(size: int | None) -> str:
    """Bytes for people, in powers of 1000."""
    if size is None:
        return ""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def parse_memory(text: str) -> int:
    """Bytes of ``8GB``, ``512 MB`` or ``1.5 GiB``. Raises ValueError where the text is none of that kind."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([MGT])(i?)B\s*", text, re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is no size of memory; write it as 8GB or 512MB")
    number, prefix, binary = found.groups()
    return round(float(number) * (1024 if binary else 1000) ** (2 + "MGT".index(prefix.upper())))


def parse_parameters(text: str) -> float:
    """Parameters of ``100M``, ``7.1B`` or ``500k``. Raises ValueError where the text is none of that kind."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMB]?)\s*", text)
    if not found:
        raise ValueError(f"{text!r} is no count of parameters; write it as 100M or 7.1B")
    return float(found[1]) * {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9}[found[2]]
