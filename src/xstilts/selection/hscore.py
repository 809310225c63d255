"""H-score: how far apart an encoder's features hold the classes, beside how far they spread (Bao et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from xstilts.common.arrays import Floats

if TYPE_CHECKING:
    from xstilts.selection.evidence import Evidence, Question


def scores(evidence: Evidence, question: Question) -> dict[str, float]:
    """Recipe → H-score of the target's English training examples, by the encoder that the recipe leaves."""
    return evidence.by_vectors("hscore", question, h_score)


def h_score(features: npt.ArrayLike, labels: npt.ArrayLike, shrinkage: float | None = None) -> float:
    """tr(cov_α(f)⁻¹ · (1 - α) · cov(E[f | y])), between 0 and the number of classes less 1. Higher is better.

    ``features`` are [n, d], ``labels`` [n] class ids. ``shrinkage`` is α, by default that of Ledoit and Wolf: of a few
    hundred examples the covariance of a few hundred dimensions cannot be inverted otherwise (Ibrahim et al. 2022,
    arXiv 2110.06893); 0 gives the H-score of Bao et al. 2019 (ICIP), with the pseudo-inverse.

    The shrunk formula was read in public implementations that name the paper, not in the paper itself.
    """
    centred = np.asarray(features, np.float64)
    centred = centred - centred.mean(axis=0)
    n, d = centred.shape
    covariance = centred.T @ centred / n
    alpha = ledoit_wolf(centred) if shrinkage is None else shrinkage
    shrunk = (1.0 - alpha) * covariance + alpha * np.trace(covariance) / d * np.eye(d)
    inverse = np.linalg.pinv(shrunk, hermitian=True)
    _, ids, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), d))
    np.add.at(means, ids, centred)
    means /= counts[:, None]
    return float((1.0 - alpha) * np.einsum("cd,de,ce,c->", means, inverse, means, counts / n, optimize=True))


def ledoit_wolf(centred: Floats) -> float:
    """The share of the scaled identity in the covariance of ``centred`` [n, d] that has the least expected error.

    Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices.
    """
    n, d = centred.shape
    covariance = centred.T @ centred / n
    squares = float((covariance**2).sum())
    distance = squares - float(np.trace(covariance)) ** 2 / d  # from the scaled identity
    error = (float(((centred**2).sum(axis=1) ** 2).sum()) / n - squares) / n
    return min(error, distance) / distance if distance > 0 else 0.0
