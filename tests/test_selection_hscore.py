"""The H-score against its formula in dense linear algebra, and its shrinkage against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from xstilts.selection.hscore import h_score, ledoit_wolf


def drawn(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(d)
    labels = rng.integers(0, 4, n)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=(4, d))[labels], labels


def dense(features: np.ndarray, labels: np.ndarray, alpha: float) -> float:
    given = np.stack([features[labels == label].mean(axis=0) for label in labels])
    covariance = np.cov(features, rowvar=False, bias=True)
    shrunk = (1 - alpha) * covariance + alpha * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return float(np.trace(np.linalg.inv(shrunk) @ ((1 - alpha) * np.cov(given, rowvar=False, bias=True))))


def test_it_is_its_formula_with_and_without_shrinkage() -> None:
    features, labels = drawn(90, 12)
    for alpha in (0.0, 0.3):
        assert h_score(features, labels, alpha) == pytest.approx(dense(features, labels, alpha), rel=1e-9)
    alpha = ledoit_wolf(features - features.mean(axis=0))
    assert 0 < alpha < 1 and h_score(features, labels) == pytest.approx(dense(features, labels, alpha), rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(90, 12), (30, 80)])
def test_the_shrinkage_is_that_of_ledoit_and_wolf(n: int, d: int) -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    features, _ = drawn(n, d)
    centred = features - features.mean(axis=0)
    assert ledoit_wolf(centred) == pytest.approx(covariance.ledoit_wolf_shrinkage(features), rel=1e-9)


def test_perfect_features_score_the_number_of_classes_less_one_and_constant_ones_nothing() -> None:
    labels = np.arange(60) % 3
    assert h_score(np.eye(3)[labels], labels, 0.0) == pytest.approx(2.0)
    assert h_score(np.ones((60, 4)), labels) == 0.0


def test_without_shrinkage_as_many_dimensions_as_examples_say_nothing() -> None:
    """Why it is shrunk: any labels then look perfectly told apart."""
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(40, 80)), rng.integers(0, 2, 40)
    assert h_score(features, labels, 0.0) == pytest.approx(1.0)
    assert h_score(features, labels) < 0.2
