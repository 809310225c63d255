"""Where an encoder's files are: the bundled package, a folder, or the hub and its cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xstilts.common import digests
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.hub import client, hub_errors
from xstilts.encoders import bundled, folder, listed
from xstilts.encoders.folder import ADAPTER, CONFIG, WEIGHTS, WEIGHTS_INDEX

#: What a folder must hold for Transformers to load it; everything else stays on the hub.
TOKENIZER_FILES = ["tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model"]
VOCABULARIES = ["tokenizer.json", "vocab.txt", "vocab.json", "*.model"]


@dataclass(frozen=True)
class EncoderSource:
    """A resolved source: its configuration, and what decides its weights."""

    name: str
    config: dict[str, Any]
    digest: str
    folder: Path | None  # where config.json lies; None for the bundled encoder
    hub_commit: str | None = None


def resolve(name: str, revision: str | None = None) -> EncoderSource:
    """Find a source by its name. Raises UserError when there is no such encoder or it cannot be had."""
    if name.startswith("bundled/"):
        _no_revision(name, revision)
        if name != bundled.NAME:
            raise UserError(f"encoder {name}: no such bundled encoder; {did_you_mean(name, [bundled.NAME])}")
        return EncoderSource(name, bundled.config(), f"sha256:{bundled.digest()}", None)
    if (path := _folder(name)) is not None:
        _no_revision(name, revision)
        if (path / ADAPTER).exists() and not (path / CONFIG).exists():
            raise UserError(
                f"encoder {name}: {path} holds an adapter alone ({ADAPTER}); merge it into its model "
                f"(merge_and_unload), and save that with save_pretrained"
            )
        return EncoderSource(name, folder.read_json(path / CONFIG, name), _folder_digest(path), path)
    _check_name(name)
    config = _hub_file(name, revision, CONFIG)
    commit = config.parent.name  # the cache keeps a file under snapshots/COMMIT
    return EncoderSource(name, folder.read_json(config, name), f"hub:{commit}", config.parent, commit)


def _folder(name: str) -> Path | None:
    """The folder of this name, if there is one."""
    try:
        path = Path(name).expanduser()
        return path if path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, no such user, a NUL
        return None


#: ORGANISATION/NAME, as the hub has them (huggingface_hub.utils.validate_repo_id).
_HUB_NAME = re.compile(r"(?!.*(--|\.\.))[\w][\w.-]*/[\w][\w.-]*", re.ASCII)


def _check_name(name: str) -> None:
    """Raises UserError where a name is no folder and could be no model of the hub, without asking the hub."""
    if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 or "\\" in name:
        raise UserError(f"encoder {name[:200]}: no such folder")
    if "/" not in name and not _in_cache(name, CONFIG):
        named = [known for known in listed.entries() if known.rpartition("/")[2] == name]
        hint = f"did you mean {named[0]}?" if named else "a model of the hub is named ORGANISATION/NAME"
        raise UserError(f"encoder {name[:200]}: neither a folder nor a name that the hub could have; {hint}")
    if "/" in name and (not _HUB_NAME.fullmatch(name) or len(name) > 96 or name.endswith(".git")):
        raise UserError(f"encoder {name[:200]}: neither a folder nor a name that the hub could have")


def _no_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise UserError(f"encoder {name}: revision {revision!r}: only models of the hub have revisions; leave it out")


def at_hand(name: str) -> bool:
    """Whether a source can be described without a network."""
    if name.startswith("bundled/"):
        return bundled.installed()
    return _folder(name) is not None or _in_cache(name, CONFIG)


def _in_cache(name: str, file: str) -> bool:
    if find_spec("huggingface_hub") is None:
        return False
    hub = client()
    try:
        return isinstance(hub.try_to_load_from_cache(name, file), str)
    except (hub.errors.HFValidationError, OSError, ValueError):  # no name that the hub could have
        return False


def cached(name: str) -> bool:
    """Whether the weights of a hub model are in the local cache, so that no network is needed."""
    return any(_in_cache(name, file) for file in (WEIGHTS, WEIGHTS_INDEX))


def with_tokenizer(source: EncoderSource) -> Path:
    """The folder of a source, with its tokenizer's files in it. Raises UserError when there are none."""
    assert source.folder is not None
    if source.hub_commit is not None and not (source.folder / "tokenizer.json").is_file():
        fetch(source, TOKENIZER_FILES)
    # Transformers would take a folder without them for a tokenizer that knows no word.
    if not any(next(source.folder.glob(pattern), None) for pattern in VOCABULARIES):
        raise _lacks(source, "tokenizer", "save it there with save_pretrained")
    return source.folder


def with_weights(source: EncoderSource) -> Path:
    """The folder of a source, with its weights in it. Raises UserError when they are not safetensors."""
    assert source.folder is not None
    if source.hub_commit is not None and folder.shards(source.folder, source.name) is None:
        fetch(source, [WEIGHTS, WEIGHTS_INDEX, "model-*-of-*.safetensors"])
    if folder.shards(source.folder, source.name) is None:
        raise _lacks(
            source, f"complete {WEIGHTS}", "xstilts unpickles nothing: convert the weights with save_pretrained"
        )
    return source.folder


def _lacks(source: EncoderSource, what: str, remedy: str) -> UserError:
    if source.hub_commit is None:
        return UserError(f"encoder {source.name}: no {what} in {source.folder}; {remedy}")
    # The hub's client gives what is in the cache when it cannot reach the hub, and does not say so.
    return UserError(
        f"encoder {source.name}: no {what} at commit {source.hub_commit[:10]}: either the hub has none (name a "
        f"`revision` that has), or it cannot be reached and the cache lacks it (`hf download {source.name}` first)"
    )


def _folder_digest(folder: Path) -> str:
    """SHA-256 over the files that decide what the encoder gives: configuration, tokenizer and weights."""
    files = sorted([folder / CONFIG, *folder.glob("tokenizer*.json"), *folder.glob("*.safetensors")])
    return f"sha256:{digests.of_files(file for file in files if file.is_file())}"


@cache
def _hub_file(name: str, revision: str | None, file: str) -> Path:
    """A file of a hub model. The local cache goes first: it is quick, and the same study meets the same weights."""
    hub = client()
    with hub_errors("encoder", name, revision, f"has no {CONFIG} on the hub, so it is no Transformers model"):
        try:
            return Path(hub.hf_hub_download(name, file, revision=revision, local_files_only=True))
        except hub.errors.LocalEntryNotFoundError:
            return Path(hub.hf_hub_download(name, file, revision=revision))


def fetch(source: EncoderSource, patterns: list[str]) -> None:
    """Bring more files of a hub model beside its config.json, at the same commit."""
    with hub_errors("encoder", source.name, source.hub_commit):
        client().snapshot_download(source.name, revision=source.hub_commit, allow_patterns=patterns)
