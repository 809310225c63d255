"""Files that users name, read whole: regular ones, of a size that memory holds, in UTF-8."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from pathlib import Path

from xstilts.common.errors import UserError

#: How large a file may be, unpacked. A text takes up to five times as much memory.
MOST_BYTES = 1 << 31

#: How many times its size a packed file may unpack to, beyond what any may: texts stay below 100, zeros reach 1,000.
MOST_UNPACKED = 100
ANY_UNPACKED = 1 << 26

CHUNK = 1 << 20


class UnreadableError(UserError):
    """``what`` is wrong in ``path`` as a whole, or in its ``line``; ``what`` says what to do."""

    def __init__(self, path: Path, what: str, line: int | None = None):
        super().__init__(f"{path}: {what}" if line is None else f"{path}:{line}: {what}")
        self.path, self.what, self.line = path, what, line


def check_regular(path: Path, absent: str = "no such file") -> int:
    """The size of the file in bytes. A named pipe would be waited for, and a device has no end: neither is opened.

    Raises UnreadableError, which says ``absent`` where there is nothing, and of what is larger than `MOST_BYTES`.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        dangling = path.is_symlink()
        raise UnreadableError(path, f"links to {path.readlink()}, which is not there" if dangling else absent) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UnreadableError(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a named pipe or a device"
        raise UnreadableError(path, f"cannot be read: {kind}, not a file")
    if found.st_size > MOST_BYTES:
        raise UnreadableError(path, f"{found.st_size:,} bytes, of at most {MOST_BYTES:,}; split the file")
    return found.st_size


def read_bytes(path: Path, absent: str = "no such file") -> bytes:
    """The content of a file, unpacked where its name ends in .gz. Raises UnreadableError, as `check_regular` does."""
    size = check_regular(path, absent)
    try:
        if path.suffix == ".gz":
            return _unpacked(path, min(MOST_BYTES, max(ANY_UNPACKED, MOST_UNPACKED * size)))
        with open(path, "rb", opener=_at_once) as file:
            content = file.read()
        if content is None:
            raise UnreadableError(path, "cannot be read: it gives nothing; name a file")
        return content
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise UnreadableError(path, f"cannot be unpacked: {error}; fetch it again") from None
        raise UnreadableError(path, f"cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise UnreadableError(path, f"cannot be unpacked: {error}; fetch it again") from None
    except MemoryError:
        raise UnreadableError(path, f"{size:,} bytes, more than memory holds; split the file") from None


def read_text(path: Path, absent: str = "no such file") -> str:
    """The content of a file in UTF-8, without byte order mark. Raises UnreadableError, with the line of bad bytes."""
    raw = read_bytes(path, absent)
    check_encoding(path, raw)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableError(path, "not UTF-8; save the file as UTF-8", line) from None


def _at_once(path: str, flags: int) -> int:
    """Some files of /proc look regular and are waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_encoding(path: Path, raw: bytes) -> None:
    """Raises UnreadableError where ``raw`` is UTF-16 or -32, or has NUL bytes, as these and no text have."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableError(path, "UTF-16, not UTF-8; save the file as UTF-8")
    if (nul := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise UnreadableError(path, "a NUL byte, so not UTF-8 text; save the file as UTF-8, or fetch it again", line)


def _unpacked(path: Path, most: int) -> bytes:
    chunks: list[bytes] = []
    with gzip.open(path) as file:
        while chunk := file.read(CHUNK):
            most -= len(chunk)
            if most < 0:
                raise UnreadableError(
                    path, "unpacks to far more than a text would; unpack it yourself, if it is meant to"
                )
            chunks.append(chunk)
    return b"".join(chunks)
