"""Files and folders of a local store, where anything may lie in the place of anything."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from xstilts.common import digests


class NotAFileError(OSError):
    """Where a file belongs there is a folder, a pipe, a device, or a link that leads nowhere."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EINVAL, "not a file", path)


def opened(path: str) -> IO[bytes]:
    """A file to read: a pipe is not waited for, and a device, which may have no end, not read.

    Raises FileNotFoundError, NotAFileError and what else the file system says.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
            raise NotAFileError(path) from None
        if isinstance(error, FileNotFoundError) and os.path.islink(path):
            raise NotAFileError(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(path)
    return os.fdopen(descriptor, "rb")


def make(folder: str, root: str) -> None:
    """Make a folder below ``root``, which must be there: gone, it is not made anew in silence."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise
    except FileNotFoundError:
        if folder == root or not os.path.isdir(root):
            raise
        make(os.path.dirname(folder), root)
        make(folder, root)


def share(folder: Path) -> None:
    """Give a folder's files the mode that the umask gave it.

    Libraries that write by way of a temporary file, as that of safetensors, leave them to their owner alone.
    """
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for file in folder.iterdir():
        file.chmod(mode)


def seal(folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Digests and sizes of a folder's files, which then are on the disk, whatever happens to the machine."""
    share(folder)
    found, sizes = {}, {}
    for file in sorted(folder.iterdir()):
        with file.open("rb") as stream:
            found[file.name] = digests.of_stream(stream)
            sizes[file.name] = stream.tell()
            os.fsync(stream.fileno())
    sync(folder)
    return found, sizes


def sync(path: str | Path) -> None:
    """Bring a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(source: Path, target: str) -> None:
    """Give a whole file another name, which must be free. Raises FileExistsError."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links: of two that publish at the same moment, the second may win, whole as well.
        if os.path.exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target)
    else:
        os.unlink(source)


def move(source: str, target: str) -> None:
    """Rename in one step; or, where a part of the store is a link to another disk, copy first and delete then."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if os.path.isdir(source):
            shutil.copytree(source, target, symlinks=True)
            for path, _ in walk(target):
                if os.path.isfile(copied := os.path.join(target, *path)):
                    sync(copied)
        else:
            shutil.copy2(source, target)
        remove(source)


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it. Raises FileNotFoundError."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def walk(folder: str, depth: int = 0) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """All that is below a folder: the parts of the path, and ``type``, ``size`` and ``mtime``.

    What goes meanwhile is left out. Links to folders are followed at the top alone, where a part of a store may lie on
    another disk.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        with suppress(FileNotFoundError):
            is_folder = os.path.isdir(entry.path) if depth == 0 else entry.is_dir(follow_symlinks=False)
            found = entry.stat(follow_symlinks=False)
            kind = "directory" if is_folder else "file" if entry.is_file(follow_symlinks=False) else "other"
            yield (entry.name,), {"type": kind, "size": 0 if is_folder else found.st_size, "mtime": found.st_mtime}
            if is_folder:
                yield from (((entry.name, *path), info) for path, info in walk(entry.path, depth + 1))


def in_the_way(path: str) -> str | None:
    """The first part of a path that is there and no folder, though others are to lie in it."""
    part = path
    while (part := os.path.dirname(part)) not in ("", "/"):
        if os.path.lexists(part):
            return None if os.path.isdir(part) else part
    return None


def owner(path: str) -> tuple[str, bool]:
    """Whose a path is, or the first folder above it that can be seen, and whether that is who asks."""
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    number = os.lstat(path).st_uid
    try:
        return pwd.getpwuid(number).pw_name, number == os.getuid()
    except KeyError:
        return f"user {number}", number == os.getuid()
