"""Rows of several sets as one sequence."""

from __future__ import annotations

from xstilts.engine.rows import Chained, Row

SETS = [[Row(0, [[1]]), Row(2, [[2]])], [], [Row(0, [[3, 4]]), Row(1, [[5]])]]


def test_chained_rows_count_their_examples_on() -> None:
    chained = Chained(SETS, [3, 1, 2])
    assert [(row.example, row.sequences[0].tolist()) for row in chained] == [(0, [1]), (2, [2]), (4, [3, 4]), (5, [5])]
    assert len(chained) == 4 and chained[-1].example == 5 and chained[1:3][1].example == 4
    assert [row.example for rows in SETS for row in rows] == [0, 2, 0, 1]  # as they were


def test_chained_rows_keep_their_examples_where_nothing_says_how_many_a_set_has() -> None:
    chained = Chained(SETS)
    assert [row.example for row in chained] == [0, 2, 0, 1]
    assert chained.places() == [range(0, 2), range(2, 2), range(2, 4)]
    assert len(Chained([])) == 0 and Chained([]).places() == []
