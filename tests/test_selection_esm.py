"""Maps between the vectors of two encoders: known ones are found, and nothing is made up."""

from __future__ import annotations

import numpy as np
import pytest

from xstilts.selection.esm import linear_map


def test_a_known_map_is_recovered() -> None:
    rng = np.random.default_rng(0)
    before, matrix, shift = rng.normal(size=(80, 12)) + 3.0, rng.normal(size=(12, 12)), rng.normal(size=12)
    found, new = linear_map(before, before @ matrix + shift), rng.normal(size=(5, 12))
    np.testing.assert_allclose(found(new), new @ matrix + shift, atol=1e-5)


def test_of_noise_nothing_is_learnt() -> None:
    rng = np.random.default_rng(0)
    before, new = rng.normal(size=(60, 20)), rng.normal(size=(200, 20))
    moved = linear_map(before, before + 0.5 * rng.normal(size=before.shape))(new)
    assert float(((moved - new) ** 2).mean()) < 0.25 / 4  # least squares would move them by 0.25 · 20 / 40


def test_directions_that_the_examples_do_not_span_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    before = np.concatenate([rng.normal(size=(6, 4)), np.zeros((6, 10))], axis=1)
    found = linear_map(before, before + before @ rng.normal(size=(14, 14)))
    unseen = np.concatenate([np.zeros(4), rng.normal(size=10)])
    here, there = found(np.stack([before[0], before[0] + unseen]))
    np.testing.assert_allclose(there - here, unseen, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_examples_give_a_map_too(n: int) -> None:
    before = np.arange(4.0 * n).reshape(n, 4)
    assert np.isfinite(linear_map(before, before + 1.0)(np.ones((3, 4)))).all()
