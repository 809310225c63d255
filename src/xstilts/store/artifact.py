"""What a store holds under a key, and the manifest that says so."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from xstilts.common import digests

MANIFEST = "manifest.json"

#: Bytes that a manifest may have.
MOST = 1 << 26

#: Files that serve display alone. Damage to one does not take the artifact with it.
DISPLAYED = frozenset({"curve.parquet"})


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

    @property
    def label(self) -> str:
        """What its stage is called; else the first of its key."""
        label = str(self.meta.get("label", ""))
        return label if label and label.isprintable() else self.key[:12]

    def manifest(self) -> bytes:
        """As JSON, with a ``digest`` of its other values: a bit that flips in it is noticed."""
        content = {"attempt": self.attempt, "files": self.files, "sizes": self.sizes, "meta": self.meta}
        content = json.loads(json.dumps(content))  # as it will be read
        return json.dumps({**content, "digest": digests.of_json(content)}, indent=1, sort_keys=True).encode()

    @classmethod
    def of(cls, key: str, manifest: bytes) -> Artifact:
        """What a manifest says. Raises ValueError where it is none, or is not as it was written.

        Those of earlier versions have no digest; the first had neither ``sizes`` nor ``attempt``.
        """
        try:
            content = json.loads(manifest)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(content, dict):
            raise ValueError("not a mapping")
        digest = content.pop("digest", None)
        if digest is None and not content.keys() <= {"attempt", "files", "sizes", "meta"}:
            raise ValueError("an unknown key, and no digest")
        if digest is not None and digest != digests.of_json(content):
            raise ValueError("not as its digest says")
        files: Any = content.get("files")
        meta: Any = content.get("meta")
        sizes, attempt = content.get("sizes", {}), content.get("attempt", "")
        if not (_maps(files, str) and isinstance(meta, dict) and _maps(sizes, int) and isinstance(attempt, str)):
            raise ValueError("a value of another type")
        if not all(map(_is_plain, files)) or (attempt and not _is_plain(attempt)):
            raise ValueError("a file name that leads elsewhere")
        return cls(key, files, meta, sizes, attempt)


def _maps(content: Any, kind: type) -> bool:
    return isinstance(content, dict) and all(isinstance(value, kind) for value in content.values())


def _is_plain(name: str) -> bool:
    """Whether it is the name of a file in a folder, and no way out of it."""
    return name not in ("", ".", "..", MANIFEST) and not any(one in name for one in "/\\\0")
