"""`xstilts table` and `xstilts paper` from the command line, on the tiny study."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest

from forked import XStilts
from tiny import command, write
from xstilts.reporting.paper_table import PAPER_SCHEMA


def test_the_table_of_a_paper_in_every_form(finished: Path) -> None:
    shown = {form: command(finished, "table", "tiny.yaml", "--format", form) for form in ("md", "latex", "html", "csv")}
    assert all(ended.returncode == 0 and not ended.stderr for ended in shown.values())
    assert "| encoder | recipe | mini-span (F1 / EM) | mini-retrieval (Acc.) | mean |" in shown["md"].stdout
    assert r"\multicolumn{1}{c}{Question answering}" in shown["latex"].stdout
    assert shown["html"].stdout.count("<table>") == shown["html"].stdout.count("</table>") == 2
    frame = pl.read_csv(io.StringIO(shown["csv"].stdout), schema=pl.Schema(PAPER_SCHEMA))
    assert frame.equals(pl.read_csv(finished / "runs/tiny/tables/paper.csv", schema=pl.Schema(PAPER_SCHEMA)))
    both = command(finished, "table", "tiny.yaml", "--mean", "all").stdout
    assert "over all languages (mini-span 2, mini-retrieval 1)" in both
    assert "over the non-English languages (mini-span 1, mini-retrieval 1)" in shown["md"].stdout


def test_the_draft_is_of_the_study(finished: Path) -> None:
    ended = command(finished, "paper", "tiny.yaml", "--out", "draft", "--mean", "all")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("Draft: draft/paper.md, draft/paper.tex")
    text = (finished / "draft" / "paper.md").read_text("utf-8")
    assert "over all languages (mini-span 2, mini-retrieval 1)" in text
    data = pl.read_csv(finished / "draft" / "data.csv")
    assert data.equals(pl.read_csv(finished / "runs/tiny/tables/data.csv"))
    assert "| mini-span | recipe" not in text and "| mini-nli | recipe mini-nli | 24 |" in text


@pytest.mark.parametrize("words", [["table", "tiny.yaml"], ["paper", "tiny.yaml", "--out", "draft"]])
def test_without_scores_it_says_what_to_do(words: list[str], tmp_path: Path, xstilts: XStilts) -> None:
    write(tmp_path)
    ended = xstilts(tmp_path, *words)
    assert ended.status == 2 and ended.out == ""
    (line,) = ended.err.splitlines()
    assert line.startswith("error: tiny.yaml: the store holds no scores of it yet; `xstilts run")
    assert not (tmp_path / "draft").exists()


def test_a_folder_that_cannot_be_is_said_before_anything_is_read(finished: Path) -> None:
    ended = command(finished, "paper", "tiny.yaml", "--out", "tiny.yaml")
    assert ended.returncode == 2 and ended.stderr == "error: --out tiny.yaml: a file, not a folder; name another\n"
