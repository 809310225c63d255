"""Numbers as people read them."""

import pytest

from xstilts.common.units import DAY, MONTH, bytes_in_one_unit, duration, in_one_unit, memory, parse_duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.2, "0.2 s"),
        (9.97, "10 s"),
        (59.7, "1 min 00 s"),
        (250, "4 min 10 s"),
        (10920, "3 h 02 min"),
        (DAY - 1, "1 d 00 h"),
        (53 * 3600, "2 d 05 h"),
        (59 * DAY, "59 d 00 h"),
        (100 * DAY, "3 months 9 d"),
        (400 * DAY, "13 months 4 d"),
    ],
)
def test_durations_are_for_people(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3h", 10800), ("90 min", 5400), ("1.5 hours", 5400), ("2 days", 2 * DAY), ("1 d 12 h", 1.5 * DAY),
     ("3 months", 3 * MONTH), ("2 h and 5 min", 7500), ("45s", 45)],
)  # fmt: skip
def test_a_length_of_time_is_read_in_peoples_words(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "3", "h", "3 fortnights", "3h x", "-3h"])
def test_what_is_no_length_of_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no length of time; write it as"):
        parse_duration(text)


def test_a_column_has_one_unit_and_nothing_becomes_0() -> None:
    assert in_one_unit([0.2, 30.0, None]) == ("s", ["0.2", "30.0", ""])
    assert in_one_unit([0.2, 3 * 3600.0]) == ("h", ["<0.1", "3.0"])
    assert in_one_unit([10 * DAY, 0.0])[0] == "d" and in_one_unit([400 * DAY])[0] == "months"
    assert bytes_in_one_unit([999_000_000, 3_559_000_000]) == ("GB", ["1.0", "3.6"])


def test_memory_in_powers_of_a_thousand() -> None:
    assert [memory(size) for size in (None, 999_000_000, 3_559_000_000)] == ["", "999 MB", "3.6 GB"]
