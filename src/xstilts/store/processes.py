"""Processes as others know them, on this machine or another: so that what the dead leave behind can be told."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

#: Where Linux tells of processes.
PROC = Path("/proc/self/stat").exists()


@dataclass(frozen=True)
class Process:
    """``boot`` and ``started`` tell it from others that had its number before, or have it in another container."""

    host: str
    boot: str
    pid: int
    started: float  # on a clock of the machine's own: to be compared with others of the same boot alone

    def __str__(self) -> str:
        """As part of a file's name."""
        return f"{self.host}~{self.boot}~{self.pid}~{self.started}"

    @classmethod
    def named(cls, name: str) -> Process | None:
        """The process that `str` told so; None if ``name`` is no such text."""
        try:
            host, boot, pid, started = name.split("~")
            return cls(host, boot, int(pid), float(started))
        except ValueError:
            return None

    @property
    def here(self) -> bool:
        """Whether it is, or was, of this machine since it started. Of others' processes nothing is known."""
        return (self.host, self.boot) == (this_process().host, this_process().boot)

    @property
    def known_dead(self) -> bool:
        """Whether it was of this machine and is there no more."""
        return self.here and _started(self.pid) != self.started


def this_process() -> Process:
    return _this_process(os.getpid())  # another one after a fork


@lru_cache(maxsize=1)
def _this_process(pid: int) -> Process:
    started = _started(pid)
    assert started is not None
    return Process(re.sub(r"[^\w.-]", "_", socket.gethostname()), _boot(), pid, started)


def _boot() -> str:
    """Where process numbers mean the same: until the machine's next start, and within one container."""
    if PROC:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot.replace('-', '')[:16]}.{os.stat('/proc/self/ns/pid').st_ino}"
    return f"{psutil.boot_time():.0f}"


def _started(pid: int) -> float | None:
    """When the process started; None if it is there no more, or is but waited for by its parent."""
    if PROC:  # psutil's time moves when the machine's clock is set; this one, in ticks, does not
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else float(fields[19])
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time(), 2)
    except psutil.NoSuchProcess:
        return None
