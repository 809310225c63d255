"""Tables in Markdown."""

from xstilts.common.markdown import table


def test_an_entry_stays_in_its_cell() -> None:
    rows = [("a|b", 1), ("two\nlines", None)]
    assert table(("name", "value"), rows) == "| name | value |\n| --- | --- |\n| a\\|b | 1 |\n| two lines | None |"
    assert table(("x", "y"), [], (False, True)) == "| x | y |\n| --- | ---: |"
