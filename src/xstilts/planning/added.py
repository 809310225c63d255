"""Seeds beyond a study's own, that `xstilts run --until` added: which ones, the store keeps by the study's name.

The study file stays as its author wrote it. Whatever plans the study with that store, a later run, the report, export,
has them too, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from xstilts.common import digests
from xstilts.common.errors import StoreError
from xstilts.store import Store


class AddedSeed(NamedTuple):
    """Of an encoder's label, a recipe and a target."""

    encoder: str
    recipe: str
    target: str
    seed: int


def read(store: Store, study: str) -> tuple[AddedSeed, ...]:
    """In the order in which they were added. Raises StoreError, also where the record is damaged."""
    with store.failing_plainly():
        try:
            content = store.content(_path(store, study))
        except FileNotFoundError:
            return ()
    try:
        found = tuple(AddedSeed(str(encoder), str(recipe), str(target), int(seed))
                      for encoder, recipe, target, seed in json.loads(content)["seeds"])  # fmt: skip
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"store {store.url}: {_path(store, study)}: the seeds that were added to {study} cannot be read ({error}); "
            f"remove the file: what they trained stays, and `xstilts run --until` adds them again"
        ) from None
    return found


def add(store: Store, study: str, seeds: Iterable[AddedSeed]) -> tuple[AddedSeed, ...]:
    """Keep these too; gives all that there are now. Raises StoreError."""
    found = tuple(dict.fromkeys((*read(store, study), *seeds)))
    with store.failing_plainly():
        store.write(_path(store, study), json.dumps({"study": study, "seeds": found}, indent=1).encode())
    return found


def told(seeds: Iterable[AddedSeed]) -> str:
    """In a sentence, by encoder and recipe; "" without any."""
    by_model: dict[tuple[str, str], dict[int, None]] = {}
    for one in seeds:
        by_model.setdefault((one.encoder, one.recipe), {})[one.seed] = None
    models = "; ".join(
        f"{encoder}, {recipe}: {', '.join(map(str, sorted(own)))}" for (encoder, recipe), own in by_model.items()
    )
    return f"Seeds beyond the study's own, added by `xstilts run --until`: {models}." if models else ""


def _path(store: Store, study: str) -> str:
    return store.path("added", f"{digests.of_json(study)}.json")
