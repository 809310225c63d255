"""Artifacts by key, on any fsspec URL: each is published whole or not at all, and checked when it is read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TextIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from xstilts.common import digests
from xstilts.common.errors import StageError, StoreError, UserError
from xstilts.store.processes import Process, this_process

MANIFEST = "manifest.json"

#: How many artifacts of a remote store a process keeps copies of, besides those in use.
KEPT_COPIES = 4

#: Whose errors are a remote store's, besides OSError.
CLIENTS = {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"}


@dataclass(frozen=True)
class Artifact:
    """A published artifact: its files with their SHA-256 and sizes in bytes, and what its stage says of itself."""

    key: str
    files: dict[str, str]
    meta: dict[str, Any]
    sizes: dict[str, int] = field(default_factory=dict)
    attempt: str = ""  # the folder in which the files are

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(self.sizes.values())


class Store:
    """Content-addressed artifacts below ``url``.

    Layout: ``<url>/artifacts/<first two of key>/<key>/`` holds a folder for each attempt to publish the key, and
    ``manifest.json``, which names the one that counts. The manifest is written last and in one step, so an artifact
    without one does not exist, and two that publish the same key never mix their files. What fails its check is moved
    to ``<url>/set-aside``.

    All methods raise StoreError where the file system fails: it is full, read-only, or gone.
    """

    def __init__(self, url: str | Path):
        self.url = str(url)
        try:  # no listings from memory: other machines write too
            self.fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            extra = 'pip install "xstilts[s3]"' if self.url.startswith("s3") else f"install it ({error})"
            raise UserError(f"store {url}: the library for such stores is not installed: {extra}") from None
        except ValueError as error:
            raise UserError(f"store {url}: {error}; choose a folder or an fsspec URL with --store") from None
        self.root = root.rstrip("/")
        self.local = isinstance(self.fs, LocalFileSystem)
        self._checked: dict[str, Artifact] = {}
        self._copies: OrderedDict[tuple[str, str], Path] = OrderedDict()  # of a remote store; the last used is last
        self._in_use: list[tuple[str, str]] = []
        try:
            self._found()
        except Exception as error:
            if not _of_a_store(error):
                raise
            raise UserError(f"store {url}: {_said(error)}; {self._remedy(error)}") from None

    def _found(self) -> None:
        """Make the store unless it is there."""
        if self.local:
            os.makedirs(f"{self.root}/artifacts", exist_ok=True)
            return
        try:
            self.fs.ls(self.root, detail=False)
        except FileNotFoundError:  # of an object store, this fails where the bucket is missing, and makes none
            self.fs.pipe_file(f"{self.root}/README.txt", b"A store of xstilts: see `xstilts store --help`.\n")

    def _remedy(self, error: Exception) -> str:
        if self.local:
            return "choose another with --store"
        if "redential" in f"{type(error).__name__} {error}" or isinstance(error, PermissionError):
            return "check its credentials (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
        if isinstance(error, FileNotFoundError):
            return "make the bucket first, or choose another with --store"
        return "check its address (for S3: AWS_ENDPOINT_URL, AWS_DEFAULT_REGION) and the network"

    @contextmanager
    def failing_plainly(self) -> Iterator[None]:
        """Turn errors of the file system into a StoreError."""
        try:
            yield
        except Exception as error:
            if not _of_a_store(error):
                raise
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StoreError:
        if self.local and not os.path.isdir(self.root):
            return StoreError(f"store {self.url}: its folder is gone; bring it back, then run again to go on")
        code = error.errno if isinstance(error, OSError) else None
        remedy = (
            "free some space (`xstilts store prune`)" if code in (errno.ENOSPC, errno.EDQUOT)
            else "make it writable" if code in (errno.EROFS, errno.EACCES, errno.EPERM) and self.local
            else "mend it" if self.local
            else self._remedy(error)
        )  # fmt: skip
        return StoreError(f"store {self.url}: {_said(error)}; {remedy}, then run again to go on")

    def _folder(self, key: str) -> str:
        return f"{self.root}/artifacts/{key[:2]}/{key}"

    def _path(self, artifact: Artifact, name: str) -> str:
        return "/".join(part for part in (self._folder(artifact.key), artifact.attempt, name) if part)

    def keys(self) -> set[str]:
        """Of all artifacts that are there."""
        with self.failing_plainly():
            if not self.local:
                paths = (path.split("/") for path in self.fs.find(f"{self.root}/artifacts"))
                return {path[-2] for path in paths if path[-1] == MANIFEST and path[-3] == path[-2][:2]}
            return {
                entry.name
                for part in os.scandir(f"{self.root}/artifacts")
                for entry in os.scandir(part)
                if os.path.exists(f"{entry.path}/{MANIFEST}")
            }

    def peek(self, key: str) -> Artifact | None:
        """What the artifact's manifest says, its files unread; None if it is not there."""
        with self.failing_plainly():
            try:
                manifest = json.loads(self.content(f"{self._folder(key)}/{MANIFEST}"))
                return Artifact(
                    key, manifest["files"], manifest["meta"], manifest.get("sizes", {}), manifest.get("attempt", "")
                )
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError, AttributeError):  # not JSON, not UTF-8, or not a manifest
                self._move_aside(key)
                return None

    def get(self, key: str) -> Artifact | None:
        """The artifact, if it is there and every file has the digest that the manifest says; else None.

        What is damaged is set aside, so that its stage can be computed again.
        """
        found = self._whole(key)
        return found[0] if found else None

    def read(self, key: str, name: str) -> BytesIO | None:
        """One file of an artifact, checked; None if the artifact is not there or the file is damaged."""
        artifact = self.peek(key)
        if artifact is None:
            return None
        with self.failing_plainly():
            try:
                content = self.content(self._path(artifact, name))
            except FileNotFoundError:
                content = b""
            if hashlib.sha256(content).hexdigest() != artifact.files.get(name):
                self.set_aside(artifact)
                return None
        return BytesIO(content)

    @contextmanager
    def files(self, key: str) -> Iterator[Path]:
        """A local folder with the artifact's files, to read only. Raises StageError if it is not in the store."""
        found = self._whole(key)
        if found is None:
            raise StageError(f"artifact {key[:12]} is not in the store any more; run again")
        artifact, folder = found
        copy = (artifact.key, artifact.attempt)
        self._in_use.append(copy)
        try:
            yield folder
        finally:
            self._in_use.remove(copy)

    def damage(self, artifact: Artifact) -> list[str]:
        """The names of its files that are missing or not as they were published; reads them all."""
        with self.failing_plainly():
            return [name for name, digest in artifact.files.items() if self._digest(artifact, name) != digest]

    def _digest(self, artifact: Artifact, name: str) -> str | None:
        path = self._path(artifact, name)
        try:
            with open(path, "rb") if self.local else self.fs.open(path, "rb") as stream:
                return digests.of_stream(stream)
        except FileNotFoundError:
            return None

    def _whole(self, key: str) -> tuple[Artifact, Path] | None:
        """The artifact and a local folder with its files, all checked; None if it is not there or was damaged."""
        artifact = self.peek(key)
        if artifact is None:
            return None
        with self.failing_plainly():
            if not self.local:
                folder = self._copy(artifact)
            elif artifact == self._checked.get(key) or not self.damage(artifact):
                self._checked[key] = artifact
                folder = Path(self._folder(key), artifact.attempt)
            else:
                folder = None
            if folder is None:
                self.set_aside(artifact)
                return None
        return artifact, folder

    def _copy(self, artifact: Artifact) -> Path | None:
        """A copy of a remote artifact's files, checked as it came; None if it is damaged."""
        name = (artifact.key, artifact.attempt)
        if name in self._copies:
            self._copies.move_to_end(name)
            return self._copies[name]
        folder = self._scratch()
        for file, digest in artifact.files.items():
            try:
                self.fs.get_file(self._path(artifact, file), f"{folder}/{file}")
                with open(f"{folder}/{file}", "rb") as stream:
                    intact = digests.of_stream(stream) == digest
            except FileNotFoundError:
                intact = False
            if not intact:
                shutil.rmtree(folder, ignore_errors=True)
                return None
        self._copies[name] = folder
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # with the process at the latest
        unused = [one for one in self._copies if one not in self._in_use and one != name]
        for one in unused[: max(0, len(unused) - KEPT_COPIES)]:
            shutil.rmtree(self._copies.pop(one), ignore_errors=True)
        return folder

    @property
    def scratch(self) -> Path:
        """Where the folders are that processes of this machine are filling."""
        return Path(self.root, "tmp") if self.local else user_cache() / "tmp"

    def _scratch(self) -> Path:
        """A new empty folder, by whose name it can be told whether its process is still there."""
        folder = self.scratch / f"{this_process()}~{uuid.uuid4().hex[:12]}"
        if self.local:
            self.make(str(folder))
        else:
            folder.mkdir(parents=True)
        return folder

    def make(self, folder: str) -> None:
        """Make a folder of a local store, whose own folder must be there: gone, it is not made anew in silence."""
        try:
            os.mkdir(folder)
        except FileExistsError:
            return
        except FileNotFoundError:
            if folder == self.root or not os.path.isdir(self.root):
                raise
            self.make(os.path.dirname(folder))
            self.make(folder)

    @contextmanager
    def publish(self, key: str, *, replace: bool = False) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Gives an empty folder and a dictionary to fill; publishes both as the artifact when the block ends well.

        When the block raises, nothing is published. What another process has published meanwhile stays, and this is
        discarded, unless ``replace``: then this takes its place.
        """
        meta: dict[str, Any] = {}
        with self.failing_plainly():
            folder = self._scratch()
        try:
            with self._filling(folder):
                yield folder, meta
            with self.failing_plainly():
                files, sizes = _sealed(folder)
                artifact = Artifact(key, files, meta, sizes, folder.name)
                if self.local:
                    self._publish_local(artifact, folder, replace)
                else:
                    self._publish_remote(artifact, folder, replace)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _filling(self, folder: Path) -> Iterator[None]:
        """Turn a block's errors into a StoreError where they are of the disk that it writes to."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            full = os.strerror(errno.ENOSPC) in str(error) or os.strerror(errno.EDQUOT) in str(error)
            ours = isinstance(error, OSError) and str(error.filename or "").startswith(str(self.scratch))
            if self.local and (full or ours or not folder.is_dir()):
                plain = error if isinstance(error, OSError) else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                raise self._unusable(plain) from error
            if full:
                raise StoreError(
                    f"{self.scratch}: {os.strerror(errno.ENOSPC)}; free some space, then run again"
                ) from error
            raise

    def _publish_local(self, artifact: Artifact, folder: Path, replace: bool) -> None:
        home = self._folder(artifact.key)
        manifest = folder / f"{MANIFEST}.new"
        manifest.write_bytes(_manifest(artifact))
        _sync(manifest)
        while True:
            self.make(home)
            before = self.peek(artifact.key)
            if before and not replace:
                return
            try:
                os.rename(folder, f"{home}/{artifact.attempt}")
                break
            except FileNotFoundError:  # the home, empty, was just swept away
                if not folder.is_dir():
                    raise
        manifest = Path(home, artifact.attempt, manifest.name)
        try:
            if replace:
                os.replace(manifest, f"{home}/{MANIFEST}")
            else:
                _link(manifest, f"{home}/{MANIFEST}")
        except FileExistsError:  # another was faster
            shutil.rmtree(f"{home}/{artifact.attempt}", ignore_errors=True)
            return
        except OSError:
            shutil.rmtree(f"{home}/{artifact.attempt}", ignore_errors=True)
            raise
        _sync(home)
        _sync(os.path.dirname(home))
        self._checked[artifact.key] = artifact
        if before and before.attempt:
            shutil.rmtree(f"{home}/{before.attempt}", ignore_errors=True)

    def _publish_remote(self, artifact: Artifact, folder: Path, replace: bool) -> None:
        home = self._folder(artifact.key)
        before = self.peek(artifact.key)
        if before and not replace:
            return
        for name in artifact.files:
            self.fs.put_file(str(folder / name), f"{home}/{artifact.attempt}/{name}")
        useless = before
        if replace:
            self.fs.pipe_file(f"{home}/{MANIFEST}", _manifest(artifact))  # an object store's put is atomic
        elif not self.create(f"{home}/{MANIFEST}", _manifest(artifact)):  # another was faster
            useless = artifact
        if useless and useless.attempt:
            with suppress(FileNotFoundError):
                self.fs.rm(f"{home}/{useless.attempt}", recursive=True)

    # What leases, logs and upkeep do with single files, by their `path`. These raise what the file system does.

    def path(self, *parts: str) -> str:
        """Of a file or folder of the store, as the other methods take it."""
        return "/".join((self.root, *parts))

    def content(self, path: str) -> bytes:
        if self.local:
            return Path(path).read_bytes()
        return bytes(self.fs.cat_file(path))

    def create(self, path: str, content: bytes) -> bool:
        """Create a file in one step; False if it is there. Of several that try at the same moment, one succeeds.

        That holds for folders, S3, Google Cloud Storage and memory; elsewhere it is as good as fsspec's "create" is.
        """
        try:
            if self.local:
                self._create_local(path, content)
            else:
                self.fs.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:  # S3 alike stores that do not say which condition failed, or that two are at it
            response = getattr(error.__cause__, "response", None) or {}
            if response.get("Error", {}).get("Code") not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            return False
        return True

    def _create_local(self, path: str, content: bytes) -> None:
        while True:
            try:
                with open(path, "xb", buffering=0) as stream:
                    stream.write(content)
                return
            except FileNotFoundError:  # no folder, or no longer: who deletes the last file of one removes it
                self.make(os.path.dirname(path))

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file, in place of the one that may be there."""
        if self.local:
            self.make(os.path.dirname(path))
        self.fs.pipe_file(path, content)

    def touch(self, path: str, content: bytes) -> None:
        """Let a file with this ``content`` be modified now."""
        if self.local:
            os.utime(path)
        else:
            self.fs.pipe_file(path, content)

    def append(self, path: str) -> TextIO | None:
        """A file to append lines to, each written at once; None where the store cannot append."""
        if not self.local:
            return None
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(path, "a", buffering=1, encoding="utf-8")

    def modified(self, path: str) -> float:
        """When a file was written last, in seconds since 1970 by the store's clock."""
        return os.stat(path).st_mtime if self.local else float(self.fs.modified(path).timestamp())

    def names(self, folder: str) -> list[str]:
        """Of what is in a folder; none if it is not there."""
        try:
            return os.listdir(folder) if self.local else [path.split("/")[-1] for path in self.fs.ls(folder, False)]
        except FileNotFoundError:
            return []

    def find(self, folder: str, *, folders: bool = False) -> dict[tuple[str, ...], dict[str, Any]]:
        """All files below a folder, with ``folders`` those too: the parts of the path, and what the file system knows.

        That is its `info`, in which ``size`` is 0 where there is none.
        """
        base = folder.rstrip("/")
        return {
            tuple(path[len(base) :].strip("/").split("/")): {
                **info,
                "size": 0 if info["type"] == "directory" else info["size"] or 0,
            }
            for path, info in self.fs.find(base, withdirs=folders, detail=True).items()
        }

    def delete(self, path: str) -> None:
        """Delete a file."""
        self.fs.rm_file(path)

    def delete_folder(self, folder: str, *, if_empty: bool = False) -> None:
        """Delete a folder with all that is in it; with ``if_empty``, where that is nothing (a bucket has none such)."""
        if not if_empty:
            self.fs.rm(folder, recursive=True)
        elif self.local:
            with suppress(OSError):  # not empty
                os.rmdir(folder)

    def inner(self, name: str) -> Store | None:
        """A store inside the store, if it is there."""
        with self.failing_plainly():
            return Store(f"{self.url.rstrip('/')}/{name}") if self.fs.exists(self.path(name)) else None

    def cache(self, name: str) -> Store:
        """For what may be deleted at any time: inside a local store, else in the user's cache folder."""
        return Store(self.path(name) if self.local else user_cache() / name)

    def remove(self, key: str) -> None:
        """Remove an artifact, if it is there."""
        home = self._folder(key)
        with self.failing_plainly(), suppress(FileNotFoundError):
            if self.local:
                gone = self._scratch()
                try:
                    os.rename(home, gone / key)
                finally:
                    shutil.rmtree(gone)
            else:
                self.fs.rm_file(f"{home}/{MANIFEST}")  # first: without it, the artifact does not exist
                self.fs.rm(home, recursive=True)

    def set_aside(self, artifact: Artifact) -> None:
        """Move a damaged artifact out of the way, unless another process has done so."""
        if artifact == self.peek(artifact.key):
            self._move_aside(artifact.key)

    def _move_aside(self, key: str) -> None:
        aside = f"{self.root}/set-aside/{key}-{time.time_ns()}"
        self._checked.pop(key, None)
        with self.failing_plainly(), suppress(FileNotFoundError):
            if self.local:
                self.make(os.path.dirname(aside))
                os.rename(self._folder(key), aside)
            else:
                self.fs.copy(f"{self._folder(key)}/{MANIFEST}", f"{aside}/{MANIFEST}")
                self.fs.rm_file(f"{self._folder(key)}/{MANIFEST}")
                with suppress(FileNotFoundError):  # it had no files
                    self.fs.mv(self._folder(key), aside, recursive=True)

    def sweep(self) -> None:
        """Remove the scratch folders of this machine's processes that are no more; `upkeep.verify` knows of others."""
        with self.failing_plainly(), suppress(FileNotFoundError):
            for entry in os.scandir(self.scratch):
                process = owner(entry.name)
                if process is not None and process.known_dead:
                    shutil.rmtree(entry.path, ignore_errors=True)


def owner(name: str) -> Process | None:
    """The process that filled a scratch folder or an attempt of this name; None if it is no such name."""
    return Process.named(name.rpartition("~")[0])


def sees(url: str, path: str) -> bool:
    """Whether a file of the store at ``url`` is there, as this machine sees it; makes no store."""
    file_system, _ = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return bool(file_system.exists(path))


def user_cache() -> Path:
    """xstilts' part of the user's cache folder, which may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xstilts"


def _of_a_store(error: Exception) -> bool:
    return isinstance(error, (OSError, TimeoutError)) or type(error).__module__.split(".")[0] in CLIENTS


def _said(error: Exception) -> str:
    """In one line; a local file system's words, or a client's."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(str(text).split()) or type(error).__name__


def _manifest(artifact: Artifact) -> bytes:
    content = {"attempt": artifact.attempt, "files": artifact.files, "sizes": artifact.sizes, "meta": artifact.meta}
    return json.dumps(content, indent=1, sort_keys=True).encode()


def _sealed(folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Digests and sizes of a folder's files, which then are on the disk, whatever happens to the machine."""
    files, sizes = {}, {}
    for file in sorted(folder.iterdir()):
        with file.open("rb") as stream:
            files[file.name] = digests.of_stream(stream)
            sizes[file.name] = stream.tell()
            os.fsync(stream.fileno())
    _sync(folder)
    return files, sizes


def _sync(path: str | Path) -> None:
    """Bring a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(source: Path, target: str) -> None:
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
