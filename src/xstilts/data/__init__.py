"""The examples of a task: loaded from the user's files, bundled ones or the hub, fingerprinted, cut and capped."""

from __future__ import annotations

from xstilts.data.load import (
    Data,
    Provider,
    available,
    cap,
    check_names,
    cut,
    fingerprint,
    hub_counts,
    labelled,
    load,
    notes,
    on_hub,
    own_languages,
    training_size,
)

__all__ = [
    "Data",
    "Provider",
    "available",
    "cap",
    "check_names",
    "cut",
    "fingerprint",
    "hub_counts",
    "labelled",
    "load",
    "notes",
    "on_hub",
    "own_languages",
    "training_size",
]
