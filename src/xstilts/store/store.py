"""Artifacts by key, on any fsspec URL: each is published whole or not at all, and checked when it is read."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from xstilts.common import digests
from xstilts.common.cache import user_cache
from xstilts.common.errors import StageError, StoreError, UserError
from xstilts.store import files as local_files
from xstilts.store.artifact import DISPLAYED, MANIFEST, MOST, Artifact
from xstilts.store.files import NotAFileError
from xstilts.store.processes import Process, this_process

#: How many artifacts of a remote store a process keeps copies of, besides those in use.
KEPT_COPIES = 4

#: Whose errors are a remote store's, besides OSError.
CLIENTS = {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"}


class Store:
    """Content-addressed artifacts below ``url``.

    Layout: ``<url>/artifacts/<first two of key>/<key>/`` holds a folder for each attempt to publish the key, and
    ``manifest.json``, which names the one that counts. The manifest is written last and in one step, so an artifact
    without one does not exist, and two that publish the same key never mix their files. What fails its check is moved
    to ``<url>/set-aside``.

    All methods raise StoreError where the file system fails: it is full, read-only, or gone. Unless ``anew``, so does
    opening a store that is not there.
    """

    def __init__(self, url: str | Path, *, anew: bool = True):
        self.url = str(url)
        try:  # no listings from memory: other machines write too
            self.fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            extra = 'pip install "xstilts[s3]"' if self.url.startswith("s3") else f"install it ({error})"
            raise UserError(f"store {url}: the library for such stores is not installed: {extra}") from None
        except Exception as error:  # a client's own, of whatever type: it knows no such place, or lacks what it needs
            raise UserError(
                f"store {url}: {_said(error)}; choose a folder or another fsspec URL with --store"
            ) from None
        self.root = root.rstrip("/")
        self.local = isinstance(self.fs, LocalFileSystem)
        if self.local and (slip := re.match(r"([a-z][a-z0-9+.-]+):(?!//)/*", self.url)):
            raise UserError(f"store {url}: a folder of this name is hardly meant; write {slip[1]}://… or ./{url}")
        self._checked: dict[str, Artifact] = {}
        self._copies: OrderedDict[tuple[str, str], Path] = OrderedDict()  # of a remote store; the last used is last
        self._in_use: list[tuple[str, str]] = []
        if not anew and not self._is_there():
            raise self._gone()
        try:
            self._make()
        except Exception as error:
            if self.local and not _of_a_store(error):
                raise
            raise UserError(f"store {url}: {self._said(error)}; {self._remedy(error)}") from None

    def _is_there(self) -> bool:
        with self.failing_plainly():
            return os.path.isdir(self.root) if self.local else bool(self.fs.exists(self.root))

    def _gone(self) -> StoreError:
        return StoreError(f"store {self.url}: its folder is gone; bring it back, then run again to go on")

    def _make(self) -> None:
        """Make the store unless it is there."""
        if self.local:
            artifacts = f"{self.root}/artifacts"
            if os.path.isdir(f"{self.root}/logs") and not os.path.isdir(artifacts):
                raise NotADirectoryError(
                    errno.ENOTDIR, "no such folder, though logs of what was in it are there", artifacts
                )
            os.makedirs(artifacts, exist_ok=True)
            return
        try:
            self.fs.ls(self.root, detail=False)
        except FileNotFoundError:  # of an object store, this fails where the bucket is missing, and makes none
            self.fs.pipe_file(f"{self.root}/README.txt", b"A store of xstilts: see `xstilts store --help`.\n")

    def _remedy(self, error: Exception) -> str:
        if isinstance(error, NotADirectoryError) and self.local:
            return "bring it back, or choose another store with --store"
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
            return self._gone()
        if self.local and isinstance(error, OSError):
            return StoreError(f"store {self.url}: {self._said(error)}; {self._mended(error)}, then run again to go on")
        return StoreError(f"store {self.url}: {self._said(error)}; {self._remedy(error)}, then run again to go on")

    def _said(self, error: Exception) -> str:
        """In one line, with the file below the store's folder; a local file system's words, or a client's."""
        if not self.local or not isinstance(error, OSError) or not error.filename:
            return _said(error)
        path, what = str(error.filename), _said(error)
        if isinstance(error, NotADirectoryError | FileExistsError):
            path = local_files.in_the_way(path) or path
            what = "a file where a folder belongs" if os.path.isfile(path) else what
        return f"{path.removeprefix(f'{self.root}/')}: {what}"

    def _mended(self, error: OSError) -> str:
        """What to do about an error of the local file system."""
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                return "free some space (`xstilts store prune`)"
            case errno.EROFS:
                return "make it writable"
            case errno.EACCES | errno.EPERM:
                owner, ours = local_files.owner(str(error.filename or self.root))
                return (
                    f"give yourself access (chmod -R u+rwX {self.root})" if ours
                    else f"it is {owner}'s, who can give you access (chmod -R g+rwX {self.root})"
                )  # fmt: skip
            case errno.ENOTDIR | errno.EEXIST | errno.EISDIR | errno.EINVAL | errno.ELOOP if error.filename:
                return "move it away"
        return "mend it"

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
                if os.path.isdir(part.path)  # desktops leave files of their own everywhere
                for entry in os.scandir(part.path)
                if os.path.exists(f"{entry.path}/{MANIFEST}")
            }

    def peek(self, key: str) -> Artifact | None:
        """What the artifact's manifest says, its files unread; None if it is not there, or damaged: it is set aside."""
        with self.failing_plainly():
            try:
                return Artifact.of(key, self.content(f"{self._folder(key)}/{MANIFEST}", most=MOST))
            except FileNotFoundError:
                return None
            except (ValueError, NotAFileError):
                self._move_aside(key)
                return None
            except NotADirectoryError:  # a file in the place of its folder, or of the one above
                if not os.path.isdir(os.path.dirname(self._folder(key))):
                    raise
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
            except (FileNotFoundError, NotADirectoryError, NotAFileError):
                content = b""
            if hashlib.sha256(content).hexdigest() != artifact.files.get(name):
                if name not in DISPLAYED:
                    self.set_aside(artifact)
                return None
        return BytesIO(content)

    @contextmanager
    def files(self, key: str) -> Iterator[Path]:
        """A local folder with the artifact's files, to read only. Raises StageError if it is not in the store."""
        found = self._whole(key)
        if found is None:
            damaged = "was damaged, and is set aside" if key in self.lost() else "is not in the store any more"
            raise StageError(f"artifact {key[:12]} {damaged}; run again to compute it anew")
        artifact, folder = found
        copy = (artifact.key, artifact.attempt)
        self._in_use.append(copy)
        try:
            yield folder
        finally:
            self._in_use.remove(copy)

    def damage(self, artifact: Artifact) -> list[str]:
        """The names of its files that are missing or not as they were published; reads them all.

        Those of files that are `DISPLAYED` alone make no damaged artifact.
        """
        with self.failing_plainly():
            return [name for name, digest in artifact.files.items() if self._digest(artifact, name) != digest]

    def _digest(self, artifact: Artifact, name: str) -> str | None:
        path = self._path(artifact, name)
        try:
            with local_files.opened(path) if self.local else self.fs.open(path, "rb") as stream:
                return digests.of_stream(stream)
        except (FileNotFoundError, NotADirectoryError, NotAFileError):
            return None

    def lost(self) -> set[str]:
        """Keys of what was published once, found damaged and set aside, and is not there again."""
        with self.failing_plainly():
            aside = {name.split("-")[0] for name in self.names(self.path("set-aside"))}
        return aside - self.keys() if aside else aside

    def _whole(self, key: str) -> tuple[Artifact, Path] | None:
        """The artifact and a local folder with its files, all checked; None if it is not there or was damaged."""
        artifact = self.peek(key)
        if artifact is None:
            return None
        with self.failing_plainly():
            if not self.local:
                folder = self._copy(artifact)
            elif artifact == self._checked.get(key) or DISPLAYED.issuperset(self.damage(artifact)):
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
            if not intact and file not in DISPLAYED:
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
        local_files.make(folder, self.root)

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
                files, sizes = local_files.seal(folder)
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
        manifest.write_bytes(artifact.manifest())
        local_files.sync(manifest)
        while True:
            self.make(home)
            before = self.peek(artifact.key)
            if before and not replace:
                return
            try:
                local_files.move(str(folder), f"{home}/{artifact.attempt}")
                break
            except FileNotFoundError:  # the home, empty, was just swept away
                if not folder.is_dir():
                    raise
        manifest = Path(home, artifact.attempt, manifest.name)
        try:
            if replace:
                os.replace(manifest, f"{home}/{MANIFEST}")
            else:
                local_files.link(manifest, f"{home}/{MANIFEST}")
        except FileExistsError:  # another was faster
            shutil.rmtree(f"{home}/{artifact.attempt}", ignore_errors=True)
            return
        except OSError:
            shutil.rmtree(f"{home}/{artifact.attempt}", ignore_errors=True)
            raise
        local_files.sync(home)
        local_files.sync(os.path.dirname(home))
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
            self.fs.pipe_file(f"{home}/{MANIFEST}", artifact.manifest())  # an object store's put is atomic
        elif not self.create(f"{home}/{MANIFEST}", artifact.manifest()):  # another was faster
            useless = artifact
        if useless and useless.attempt:
            with suppress(FileNotFoundError):
                self.fs.rm(f"{home}/{useless.attempt}", recursive=True)

    # What leases, logs and upkeep do with single files, by their `path`. These raise what the file system does.

    def path(self, *parts: str) -> str:
        """Of a file or folder of the store, as the other methods take it."""
        return "/".join((self.root, *parts))

    def content(self, path: str, most: int | None = None) -> bytes:
        """Of a file. Raises NotAFileError where something else is there, or more than ``most`` bytes are."""
        if not self.local:
            try:
                return bytes(self.fs.cat_file(path))
            except IsADirectoryError:
                raise NotAFileError(path) from None
        with local_files.opened(path) as stream:
            if most is not None and os.fstat(stream.fileno()).st_size > most:
                raise NotAFileError(path)
            return stream.read()

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
                    written = False
                    try:
                        written = stream.write(content) == len(content)
                    finally:
                        if not written:  # a disk that is full: who comes next would believe the half
                            os.unlink(path)
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
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

    def append(self, path: str, line: bytes) -> bool:
        """Append a ``line`` to a file, behind a half one that a full disk may have left; False where it cannot."""
        if not self.local:
            return False
        self.make(os.path.dirname(path))
        with open(path, "ab+", buffering=0) as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                line = line if stream.read(1) == b"\n" else b"\n" + line
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return True

    def modified(self, path: str) -> float:
        """When a file was written last, in seconds since 1970 by the store's clock."""
        return os.stat(path).st_mtime if self.local else float(self.fs.modified(path).timestamp())

    def names(self, folder: str) -> list[str]:
        """Of what is in a folder; none if it is not there."""
        try:
            return os.listdir(folder) if self.local else [path.split("/")[-1] for path in self.fs.ls(folder, False)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def find(self, folder: str, *, folders: bool = False) -> dict[tuple[str, ...], dict[str, Any]]:
        """All files below a folder, with ``folders`` those too: the parts of the path, and what the file system knows.

        That is its `info`, in which ``size`` is 0 where there is none.
        """
        base = folder.rstrip("/")
        if self.local:
            return {path: info for path, info in local_files.walk(base) if folders or info["type"] != "directory"}
        return {
            tuple(path[len(base) :].strip("/").split("/")): {
                **info,
                "size": 0 if info["type"] == "directory" else info["size"] or 0,
            }
            for path, info in self.fs.find(base, withdirs=folders, detail=True).items()
        }

    def delete(self, path: str) -> None:
        """Delete a file, or what lies in its place."""
        if self.local:
            local_files.remove(path)
        else:
            self.fs.rm_file(path)

    def delete_folder(self, folder: str, *, if_empty: bool = False) -> None:
        """Delete a folder with all that is in it; with ``if_empty``, where that is nothing (a bucket has none such)."""
        if not if_empty:
            local_files.remove(folder) if self.local else self.fs.rm(folder, recursive=True)
        elif self.local:
            with suppress(OSError):  # not empty
                os.rmdir(folder)

    def inner(self, name: str) -> Store | None:
        """A store inside the store, if it is there."""
        with self.failing_plainly():
            return Store(f"{self.url.rstrip('/')}/{name}") if self.fs.exists(self.path(name)) else None

    def made_inner(self, name: str) -> Store:
        """A store inside the store, which is made where it is not there. Raises StoreError where this one is gone."""
        if not self._is_there():
            raise self._gone()
        return Store(f"{self.url.rstrip('/')}/{name}")

    def cache(self, name: str) -> Store:
        """For what may be deleted at any time: inside a local store, else in the user's cache folder."""
        return self.made_inner(name) if self.local else Store(user_cache() / name)

    def remove(self, key: str) -> None:
        """Remove an artifact, if it is there."""
        home = self._folder(key)
        with self.failing_plainly(), suppress(FileNotFoundError):
            if self.local:
                gone = self._scratch()
                try:
                    local_files.move(home, str(gone / key))
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
                local_files.move(self._folder(key), aside)
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


def _of_a_store(error: Exception) -> bool:
    return isinstance(error, (OSError, TimeoutError)) or type(error).__module__.split(".")[0] in CLIENTS


def _said(error: Exception) -> str:
    """In one line; a local file system's words, or a client's."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(str(text).split()) or type(error).__name__
