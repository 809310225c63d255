"""Artifacts by key, on any fsspec URL: each is published whole or not at all, and checked when it is read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from xstilts.errors import StageError, StoreError, UserError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A published artifact: its files with their SHA-256, and what its stage says of itself."""

    key: str
    files: dict[str, str]
    meta: dict[str, Any]


class Store:
    """Content-addressed artifacts below ``url``.

    Layout: ``<url>/artifacts/<first two of key>/<key>/<files>, manifest.json``. The manifest is written last and
    in one step, so an artifact without one does not exist. What fails its check is moved to ``<url>/set-aside``.
    """

    def __init__(self, url: str | Path):
        self.url = str(url)
        self.fs, root = fsspec.core.url_to_fs(self.url)
        self.root = root.rstrip("/")
        self.local = isinstance(self.fs, LocalFileSystem)
        self._intact: dict[str, Artifact] = {}
        try:
            self.fs.makedirs(f"{self.root}/artifacts", exist_ok=True)
        except OSError as error:
            raise UserError(f"store {url}: {error.strerror or error}; choose another with --store") from None

    @contextmanager
    def failing_plainly(self) -> Iterator[None]:
        """Turn errors of the file system into a StoreError."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"store {self.url}: {error.strerror or error}; mend it, then run again to go on") from None

    def keys(self) -> set[str]:
        """Of all artifacts that are there."""
        found = self.fs.glob(f"{self.root}/artifacts/*/*/{MANIFEST}")
        return {path.split("/")[-2] for path in found}

    def _folder(self, key: str) -> str:
        return f"{self.root}/artifacts/{key[:2]}/{key}"

    def peek(self, key: str) -> Artifact | None:
        """What the artifact's manifest says, its files unread; None if it is not there."""
        try:
            manifest = json.loads(self.fs.cat_file(f"{self._folder(key)}/{MANIFEST}"))
            return Artifact(key, manifest["files"], manifest["meta"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # not JSON, not UTF-8, or not a manifest
            self._set_aside(key)
            return None

    def get(self, key: str) -> Artifact | None:
        """The artifact, if it is there and every file has the digest that the manifest says; else None.

        What is damaged is set aside, so that its stage can be computed again.
        """
        if key in self._intact:
            return self._intact[key]
        artifact = self.peek(key)
        if artifact is None:
            return None
        for name, digest in artifact.files.items():
            try:
                with self.fs.open(f"{self._folder(key)}/{name}", "rb") as stream:
                    intact = _sha256(stream) == digest
            except FileNotFoundError:
                intact = False
            if not intact:
                self._set_aside(key)
                return None
        self._intact[key] = artifact
        return artifact

    def read(self, key: str, name: str) -> BytesIO | None:
        """One file of an artifact, checked; None if the artifact is not there or the file is damaged."""
        artifact = self.peek(key)
        if artifact is None:
            return None
        try:
            content = self.fs.cat_file(f"{self._folder(key)}/{name}")
        except FileNotFoundError:
            content = b""
        if hashlib.sha256(content).hexdigest() != artifact.files[name]:
            self._set_aside(key)
            return None
        return BytesIO(content)

    @contextmanager
    def files(self, key: str) -> Iterator[Path]:
        """A local folder with the artifact's files, to read only. Raises StageError if it is not in the store."""
        artifact = self.get(key)
        if artifact is None:
            raise StageError(f"artifact {key[:12]} is not in the store any more; run again")
        if self.local:
            yield Path(self._folder(key))
            return
        with tempfile.TemporaryDirectory(prefix="xstilts-") as folder:
            for name in artifact.files:
                self.fs.get_file(f"{self._folder(key)}/{name}", f"{folder}/{name}")
            yield Path(folder)

    @contextmanager
    def publish(self, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Gives an empty folder and a dictionary to fill; publishes both as the artifact when the block ends well.

        When the block raises, nothing is published.
        """
        meta: dict[str, Any] = {}
        parent = f"{self.root}/tmp" if self.local else None
        if parent:
            os.makedirs(parent, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=parent) as name:
            folder = Path(name)
            yield folder, meta
            digests = {}
            for file in sorted(folder.iterdir()):
                with file.open("rb") as stream:
                    digests[file.name] = _sha256(stream)
            manifest = json.dumps({"files": digests, "meta": meta}, indent=1, sort_keys=True).encode()
            self.fs.makedirs(self._folder(key), exist_ok=True)
            for file in sorted(folder.iterdir()):
                target = f"{self._folder(key)}/{file.name}"
                if self.local:
                    os.replace(file, target)
                else:
                    self.fs.put_file(str(file), target)
            self._write_whole(f"{self._folder(key)}/{MANIFEST}", manifest)
        self._intact[key] = Artifact(key, digests, meta)

    def _write_whole(self, path: str, content: bytes) -> None:
        if not self.local:  # an object store's put is atomic
            self.fs.pipe_file(path, content)
            return
        scratch = f"{self.root}/tmp/{uuid.uuid4().hex}"
        with open(scratch, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(scratch, path)

    def _set_aside(self, key: str) -> None:
        self.fs.makedirs(f"{self.root}/set-aside", exist_ok=True)
        self.fs.mv(self._folder(key), f"{self.root}/set-aside/{key}-{time.time_ns()}", recursive=True)

    def sweep(self) -> None:
        """Remove the scratch folders of processes that were killed (local stores)."""
        if not self.local or not os.path.isdir(f"{self.root}/tmp"):
            return
        for entry in os.scandir(f"{self.root}/tmp"):
            pid = entry.name.split("-")[0]
            if pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(entry.path, ignore_errors=True)


def _sha256(stream: Any) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no hashlib.file_digest
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
