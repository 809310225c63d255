"""Batches: exact epochs, like lengths together, an order that only the seed decides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xstilts.engine.batches import evaluation_batches, training_batches

lengths = st.lists(st.integers(1, 400), min_size=1, max_size=300)


@given(lengths, st.integers(1, 32), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_holds_each_row_once_in_full_batches(rows: list[int], size: int, seed: int, epoch: int) -> None:
    batches = training_batches(rows, size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
    assert len(batches) == -(-len(rows) // size)  # only one batch may be smaller than the others
    assert sum(len(batch) < size for batch in batches) <= 1
    assert batches == training_batches(rows, size, seed, epoch)


@given(lengths, st.integers(1, 2000), st.integers(0, 5))
def test_with_a_token_budget_an_epoch_is_exact_too(rows: list[int], budget: int, seed: int) -> None:
    batches = training_batches(rows, 8, seed, 0, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
    assert all(len(batch) == 1 or max(rows[i] for i in batch) * len(batch) <= budget for batch in batches)


def test_a_token_budget_is_filled_up() -> None:
    assert sorted(map(len, training_batches([10] * 100, 8, 1, 0, 256))) == [25] * 4


def test_the_largest_batch_comes_first_and_each_of_the_others_still_follows() -> None:
    rows = [20 + (37 * i) % 300 for i in range(3000)]
    sizes = [max(rows[i] for i in batch) * len(batch) for batch in training_batches(rows, 16, 0, 0)]
    assert sizes[0] == max(sizes) and sizes[1:] != sorted(sizes[1:], reverse=True)


def test_seed_and_epoch_change_the_order() -> None:
    rows = list(range(100))
    orders = [training_batches(rows, 4, seed, epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_buckets_save_nearly_all_padding() -> None:
    rows = [20 + (37 * i) % 300 for i in range(3000)]
    padded = sum(max(rows[i] for i in batch) * len(batch) for batch in training_batches(rows, 16, 0, 0))
    assert sum(rows) / padded > 0.95


@given(lengths, st.integers(1, 4096))
def test_evaluation_reads_each_row_once_within_its_budget(rows: list[int], budget: int) -> None:
    batches = evaluation_batches(rows, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
    assert all(len(batch) == 1 or max(rows[i] for i in batch) * len(batch) <= budget for batch in batches)


def test_evaluation_in_batches_of_so_many_rows_reads_the_longest_first() -> None:
    assert evaluation_batches([3, 900, 5, 5, 2], 10, batch_size=2) == [[1, 2], [3, 0], [4]]
