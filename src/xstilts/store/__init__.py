"""Where stages publish artifacts by key, whole or not at all; who is at work on which, and the upkeep."""

from xstilts.store.store import Artifact, Store, sees

__all__ = ["Artifact", "Store", "sees"]
