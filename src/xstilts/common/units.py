"""Numbers as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Seconds of a day, and of a month on average.
DAY, MONTH = 86_400.0, 30.44 * 86_400.0


def duration(seconds: float | None) -> str:
    """Seconds for people: 0.2 s, 8.0 s, 4 min 10 s, 3 h 02 min, 2 d 05 h, 3 months 4 d."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    if hours < 60 * 24:
        return f"{hours // 24} d {hours % 24:02d} h"
    months, days = divmod(round(seconds / DAY), MONTH / DAY)
    return f"{months:,.0f} months {days:.0f} d"


#: Unit → seconds; a column is told in the first of which its longest has less than the number.
_UNITS = (("s", 1.0, 120.0), ("min", 60.0, 120.0), ("h", 3600.0, 48.0), ("d", DAY, 60.0), ("months", MONTH, 0.0))


def in_one_unit(seconds: Sequence[float | None]) -> tuple[str, list[str]]:
    """The unit of a table's column of times, and each of them in it; what is above 0 does not become 0."""
    longest = max((one for one in seconds if one is not None), default=0.0)
    name, unit, _ = next((one for one in _UNITS if longest < one[1] * one[2]), _UNITS[-1])
    return name, [_in_unit(one, unit) for one in seconds]


def bytes_in_one_unit(sizes: Sequence[int | None]) -> tuple[str, list[str]]:
    """The unit of a table's column of sizes, powers of 1000, and each of them in it."""
    largest = max((one for one in sizes if one is not None), default=0)
    name, unit = ("GB", 1e9) if largest >= 1e9 else ("MB", 1e6) if largest >= 1e6 else ("kB", 1e3)
    return name, [_in_unit(one, unit) for one in sizes]


def flops_in_one_unit(flops: Sequence[float | None]) -> tuple[str, list[str]]:
    """The unit of a table's operations, and each of them in it."""
    largest = max((one for one in flops if one is not None), default=0.0)
    units = (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9))
    name, unit = next((one for one in units if largest >= one[1]), units[-1])
    return name, [_in_unit(one, unit) for one in flops]


def _in_unit(value: float | None, unit: float) -> str:
    if value is None:
        return ""
    return "<0.1" if 0 < value / unit < 0.05 else f"{value / unit:,.1f}"


_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), DAY),
    **dict.fromkeys(("week", "weeks"), 7 * DAY),
    **dict.fromkeys(("month", "months"), MONTH),
}


def parse_duration(text: str) -> float:
    """Seconds of ``3h``, ``90 min``, ``1.5 hours`` or ``2 d 12 h``. Raises ValueError where the text is no such one."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.lower())
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]+)|[\s,]|\band\b", "", text.lower())
    if not parts or rest or any(unit not in _SECONDS for _, unit in parts):
        raise ValueError(f"{text!r} is no length of time; write it as 3h, 90min, 2 days or 1 d 12 h")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


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
