"""Embedding-space maps: what intermediate training does to a vector, as a linear map (Schulte et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from xstilts.common.arrays import Floats
from xstilts.engine import heads
from xstilts.selection.logme import log_evidence

if TYPE_CHECKING:
    from xstilts.selection.evidence import Contender, Evidence, Question


#: Ridge penalties to choose from, relative to the largest squared singular value of the vectors.
PENALTIES = tuple(10.0**power for power in range(-9, 1))


def scores(evidence: Evidence, question: Question) -> dict[str, float]:
    """Recipe → LogME of the plain encoder's vectors of the target, mapped as the recipe's training would move them."""
    vectors, labels = evidence.labelled(question.encoder, question.part, None)
    return {
        candidate.recipe: evidence.once(
            ("esm", question.encoder, question.part.digest, candidate.stage),
            lambda moved=moved: (log_evidence(moved(vectors), labels), 0.0),  # type: ignore[misc]
        )
        for candidate in question.candidates
        for moved in [_map(evidence, question, candidate)]
    }


def _map(evidence: Evidence, question: Question, candidate: Contender) -> Callable[[npt.ArrayLike], Floats]:
    """Of the kind of vectors that the target's head reads, made of the texts of the recipe's own tasks."""
    if candidate.stage is None:
        return np.asarray
    tokens = heads.get(question.part.task.format).of_tokens
    before, after = (
        np.concatenate([evidence.unlabelled(question.encoder, part, stage, tokens=tokens) for part in candidate.parts])
        for stage in (None, candidate.stage)
    )
    return evidence.once(("map", question.encoder, candidate.stage, tokens), lambda: (linear_map(before, after), 0.0))


@dataclass(frozen=True)
class LinearMap:
    """x ↦ x + (x - ``centre``) · ``weights`` + ``shift``."""

    centre: Floats  # [d]
    weights: Floats  # [d, d]
    shift: Floats  # [d]

    def __call__(self, vectors: npt.ArrayLike) -> Floats:
        """The vectors [n, d] as the trained encoder would give them."""
        x = np.asarray(vectors, np.float64)
        return np.asarray(x + (x - self.centre) @ self.weights + self.shift, np.float64)


def linear_map(before: npt.ArrayLike, after: npt.ArrayLike) -> LinearMap:
    """The map from the vectors [n, d] of an encoder to those [n, d] that it gives the same texts after training.

    Schulte et al. 2024, arXiv 2410.15148, learn a linear layer by the mean squared error (AdamW from a random start,
    weight decay 0.01: davidschulte/hf-dataset-selector, trainers.py). The same error has a minimum in closed form:
    ridge regression, here of what training changes, with the penalty that has the least error on examples left out
    one at a time. Where the examples say nothing, the map therefore changes nothing.
    """
    x, y = np.asarray(before, np.float64), np.asarray(after, np.float64)
    change = y - x
    centre, shift = x.mean(axis=0), change.mean(axis=0)
    left, singular, right = np.linalg.svd(x - centre, full_matrices=False)
    squares, projected = singular**2, left.T @ (change - shift)
    largest = float(squares[0]) or 1.0

    def left_out(penalty: float) -> float:
        shrink = squares / (squares + penalty)
        leverage = (left**2 * shrink).sum(axis=1) + 1.0 / len(x)
        residual = change - shift - left @ (shrink[:, None] * projected)
        return float(((residual / np.maximum(1.0 - leverage, 1e-12)[:, None]) ** 2).mean())

    penalty = min((share * largest for share in PENALTIES), key=left_out)
    return LinearMap(centre, right.T @ ((singular / (squares + penalty))[:, None] * projected), shift)
