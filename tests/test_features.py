"""Rows written to files are read back as they were."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.features import Features, Renumbered
from xstilts.tasks.formats import Row

numbers = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    typed = draw(st.booleans())
    made = []
    for _ in range(draw(st.integers(0, 6))):
        sequences = draw(st.lists(numbers, min_size=1, max_size=3))
        types = [[i % 2 for i in range(len(ids))] for ids in sequences] if typed else None
        target, window = (draw(st.none() | st.lists(st.integers(0, 99), min_size=1, max_size=4)) for _ in range(2))
        made.append(Row(draw(st.integers(0, 10**6)), sequences, types, target, window))
    return made


def plain(row: Row) -> list[object]:
    def lists(arrays: object) -> object:
        return None if arrays is None else [np.asarray(array).tolist() for array in arrays]  # type: ignore[attr-defined]

    return [row.example, *map(lists, (row.sequences, row.type_ids, row.target, row.window))]


@settings(deadline=None)
@given(rows())
def test_rows_are_read_back(made: list[Row]) -> None:
    features = Features(iter(made))
    assert len(features) == len(made)
    assert [plain(row) for row in features] == [plain(row) for row in made]
    assert [plain(row) for row in features[1:]] == [plain(row) for row in made[1:]]
    if made:
        assert plain(features[-1]) == plain(made[-1])


def test_token_ids_are_looked_up_in_the_mapping() -> None:
    rows = Renumbered([Row(3, [[0, 2], [4]], target=[1])], np.array([0, -1, 1, -1, 2]))
    assert [ids.tolist() for ids in rows[0].sequences] == [[0, 1], [2]]
    assert (len(rows), rows[0].example, rows[0].target.tolist()) == (1, 3, [1])
