"""Tables on a narrow terminal, a wide one, and in a pipe: nothing of them is lost anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.common.screen import Listing, console

SOURCE = Path(__file__).parents[1] / "src" / "xstilts"
IDS = ("bundled/e5-small@12 seed 0: mini-squad → train mini-span", "[bold]x[/bold]", ":smile:", "日本語のモデル" * 5)


def listing(last: str = "stage") -> Listing:
    table = Listing(("kind", "time (s)", last), right=frozenset({"time (s)"}))
    for number, name in enumerate(IDS):
        table.add("train", f"{number * 100.0:.1f}", name)
    return table


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_id_is_cut_or_broken_within_a_word(width: int) -> None:
    lines = listing().lines(width)
    whole = re.sub(r"\s+", " ", "\n".join(lines))
    assert all(word in whole for name in IDS for word in name.split())
    if width >= 80:
        assert all(name in whole for name in IDS if " " in name)


def test_columns_of_numbers_end_below_each_other_and_wide_letters_count_twice() -> None:
    table = Listing(("name", "n"), right=frozenset({"n"}))
    table.add("日本", "5")
    table.add("abcd", "1,000")
    assert table.lines(80) == ["name      n", "日本      5", "abcd  1,000"]


def test_a_long_last_column_is_broken_between_words_where_there_is_room() -> None:
    table = Listing(("task", "licence"))
    table.add("anli_plus", "that of each part, of which there are so many that a line does not hold them")
    lines = table.lines(60)
    assert len(lines) == 3 and lines[2].startswith(" " * 11) and all(len(line) <= 60 for line in lines)


def test_a_table_that_is_too_wide_is_folded_with_the_names_of_its_columns() -> None:
    table = Listing(("encoder", "layers", "licence"), right=frozenset({"layers"}))
    table.add("some-organisation/some-encoder-large", "24", "MIT")
    assert table.lines(30) == ["some-organisation/some-encoder-large", "  layers 24, licence MIT"]


@given(st.lists(st.lists(st.text(max_size=12), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_pipe_gets_a_line_a_row_and_a_cell_a_column(rows: list[list[str]]) -> None:
    """Whatever is in the cells: tabs, line breaks and what moves a terminal's cursor are escaped."""
    table = Listing(("a", "b", "c"))
    for row in rows:
        table.add(*row)
    lines = table.tsv().split("\n")
    assert [len(line.split("\t")) for line in lines] == [3] * (len(rows) + 1)


def test_a_console_takes_no_name_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("[red]a[/red] :smile: *b*")
    assert capsys.readouterr().out == "[red]a[/red] :smile: *b*\n"


def test_there_is_no_other_way_to_print_by_markup() -> None:
    """Every console is `common.screen`'s, and a status or a bar is given text that is no markup."""
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "screen.py":
            assert not re.search(r"\bConsole\(|rich\.print|from rich import print", text), f"{path}: use screen.console"
        assert "from_markup" not in text and not re.search(r"status\.update\((?!Text\()", text), path
        assert len(re.findall(r"\bTextColumn\(", text)) == len(re.findall(r"\bTextColumn\(.*markup=False\)", text)), (
            path
        )
