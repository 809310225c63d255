"""LogME against the evidence of the same model written out densely and maximised by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from xstilts.selection.logme import log_evidence


def maximised(features: np.ndarray, y: np.ndarray) -> float:
    """max over α, β of log N(y; 0, I / β + F Fᵀ / α), an example."""

    def negative(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(y)) / beta + features @ features.T / alpha
        return -float(multivariate_normal.logpdf(y, cov=covariance))

    starts = [np.zeros(2), np.array([3.0, 3.0]), np.array([-2.0, 2.0])]
    found = (
        minimize(negative, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}) for start in starts
    )
    return -min(float(result.fun) for result in found) / len(y)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (40, 40), (30, 70)])
def test_it_is_the_maximised_evidence_also_of_fewer_examples_than_dimensions(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    features = rng.normal(size=(n, d)) + 0.5
    labels = (features[:, 0] + 0.3 * rng.normal(size=n) > 0.5).astype(int) + (rng.random(n) < 0.2)
    expected = np.mean([maximised(features, (labels == c).astype(float)) for c in np.unique(labels)])
    assert log_evidence(features, labels) == pytest.approx(expected, abs=2e-4)


def test_features_that_tell_the_classes_apart_have_more_evidence_than_noise() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120)
    noise = rng.normal(size=(120, 16))
    telling = noise + 2.0 * np.eye(3)[labels] @ rng.normal(size=(3, 16))
    assert log_evidence(telling, labels) > log_evidence(noise, labels) + 0.1
    assert log_evidence(telling, labels + 7) == log_evidence(telling, labels)  # ids are names


def test_labels_that_are_explained_without_error_have_finite_evidence() -> None:
    labels = np.arange(20) % 2
    assert np.isfinite(log_evidence(np.eye(2)[labels], labels))
