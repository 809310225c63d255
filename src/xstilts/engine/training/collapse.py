"""Training that collapsed: the model predicts the same whatever it reads, as large encoders do with some seeds.

Phang et al. 2018 (arXiv 1811.01088, section 4) and Mosbach et al. 2021 (arXiv 2006.04884) describe such runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from xstilts.planning.records import MAJORITY_MARGIN, Attempt


def collapsed(dev: Mapping[str, float], majority: Mapping[str, float]) -> list[str]:
    """The tasks whose ``dev`` score is no better than that of always predicting the same, by up to a margin."""
    return [task for task, score in dev.items() if score <= majority[task] + MAJORITY_MARGIN]


def seed(first: int, attempt: int) -> int:
    """Of the ``attempt`` to train a stage whose own is ``first``: derived from it, the same on every machine."""
    if attempt == 0:
        return first
    return int.from_bytes(hashlib.sha256(f"{first}/{attempt}".encode()).digest()[:4], "big")


def kept(attempts: Sequence[Attempt]) -> Attempt:
    """The first attempt that did not collapse, else the one with the best dev score, the first if tied."""
    return next((one for one in attempts if not one.collapsed), max(attempts, key=lambda one: one.dev))
