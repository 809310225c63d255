"""Numbers as people read them."""

from xstilts.common.units import duration, memory


def test_durations_are_for_people():
    assert [duration(s) for s in (None, 0.2, 59.7, 250, 10920)] == [
        "",
        "0.2 s",
        "1 min 00 s",
        "4 min 10 s",
        "3 h 02 min",
    ]


def test_memory_in_powers_of_a_thousand() -> None:
    assert [memory(size) for size in (None, 999_000_000, 3_559_000_000)] == ["", "999 MB", "3.6 GB"]
