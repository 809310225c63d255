"""LogME: how well a linear model explains the target's labels from an encoder's features (You et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from xstilts.common.arrays import Floats

if TYPE_CHECKING:
    from xstilts.selection.evidence import Evidence, Question


#: Keeps the precisions finite where features explain the labels perfectly; as in LogME.py of thuml/LogME.
EPSILON = 1e-5

#: At most so many fixed-point steps; two or three are usual.
STEPS = 200


def scores(evidence: Evidence, question: Question) -> dict[str, float]:
    """Recipe → LogME of the target's English training examples, by the encoder that the recipe leaves."""
    return evidence.by_vectors("logme", question, log_evidence)


def log_evidence(features: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """LogME: the log evidence an example (nats), the mean over the classes, each told apart from all the others.

    ``features`` are [n, d], ``labels`` [n] class ids. Higher is better; only values for the same labels compare. The
    evidence p(y | F) of y = F w + noise, with w ~ N(0, 1/α) and noise ~ N(0, 1/β), is maximised over α and β by the
    fixed-point iteration of You et al. 2022 (arXiv 2110.10545), which needs one SVD of F.

    Source: You et al. 2021, arXiv 2102.11005; thuml/LogME at commit 3a08950, LogME.py. There, the term of
    the d - k directions in which F has no singular value, (d - k) / 2 · log α, is added to the evidence and never
    taken away where there are fewer examples than dimensions; here it cancels, as it does in the paper.
    """
    design = np.asarray(features, np.float64)
    classes, ids = np.unique(np.asarray(labels), return_inverse=True)
    left, singular, _ = np.linalg.svd(design, full_matrices=False)
    return float(np.mean([_evidence(left, singular**2, (ids == c).astype(np.float64)) for c in range(len(classes))]))


def _evidence(left: Floats, squares: Floats, y: Floats) -> float:
    """Of one target [n], divided by n; ``squares`` are of the singular values [k], ``left`` the vectors [n, k]."""
    n = len(y)
    projected = (left.T @ y) ** 2
    outside = max(float(y @ y - projected.sum()), 0.0)  # the part of y that F cannot reach
    alpha = beta = 1.0
    for _ in range(STEPS):
        ratio = alpha / beta
        effective = float((squares / (squares + ratio)).sum())  # γ: parameters that the data decide
        weights = float((squares * projected / (squares + ratio) ** 2).sum())  # |m|²
        residual = float((projected * (ratio / (squares + ratio)) ** 2).sum()) + outside  # |y - F m|²
        alpha = effective / (weights + EPSILON)
        beta = (n - effective) / (residual + EPSILON)
        if not alpha > 0 or abs(alpha / beta - ratio) <= 1e-6 * ratio:
            break
    fit = len(squares) * np.log(alpha) + n * np.log(beta) - np.log(alpha + beta * squares).sum()
    return float(fit - beta * residual - alpha * weights - n * np.log(2 * np.pi)) / (2 * n)
