"""The command line as a newcomer meets it: what `--help` says, and what is said of a slip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from xstilts.cli.app import app, main


def commands(group: Any, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        yield (*before, name), command
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)


COMMANDS = dict(commands(typer.main.get_command(app)))


def squeezed(text: str) -> str:
    """Without what the help may break, frame or mark."""
    return re.sub(r"[\s│╭╮╰╯─`•]+", "", text)


def test_the_verbs_come_in_the_order_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, ["--help"]).output
    listed = re.findall(r"^│ (\w+)  +\S", shown, re.MULTILINE)
    order = ["demo", "init", "tasks", "encoders", "data", "plan", "run", "status", "report", "claims", "export",
             "predict", "submission", "score", "store"]  # fmt: skip
    assert [name for name in listed if name in order] == order
    assert {(name,) for name in listed} == {words for words in COMMANDS if len(words) == 1}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_loses_no_word_and_names_no_type_of_python(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in <angles>, [brackets] or *stars* is eaten as markup, at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [*words, "--help"]).output
    command = COMMANDS[words]
    assert not re.search(r"<(str|int|float|bool|path)|\b(TEXT|INTEGER|FLOAT|DIRECTORY)\b", shown)
    for text in (command.help, command.epilog):
        for paragraph in (text or "").split("\n\n"):
            assert squeezed(paragraph) in squeezed(shown)
    for line in shown.splitlines():
        assert len(line) <= 80
    # Of options: every word, since those of their columns stand between them.
    bare = squeezed(shown)
    for option in command.params:
        for word in re.split(r"[\s`]+", option.help or ""):
            assert squeezed(word) in bare, f"{option.name}: {word}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run x --workers a", "--workers: must be a whole number; see `xstilts run --help`"),
        ("run x --workers 0", "--workers: must be at least 1; see `xstilts run --help`"),
        ("power x --run-sd q", "--run-sd: must be a number; see `xstilts power --help`"),
        ("run x --executor foo", "--executor: 'foo' is not one of 'local', 'ray', 'slurm'; see `xstilts run --help`"),
        ("rum", "no such command 'rum'. Did you mean 'run'?; see `xstilts --help`"),
        ("run", "missing argument 'STUDY'; see `xstilts run --help`"),
        ("run [red]x[/red] [b]", "got unexpected extra argument(s) ([b]); see `xstilts run --help`"),
        ("tasks --format spann", "--format spann: none has it; did you mean 'span'?"),
        ("tasks --language tlh", "--language tlh: none has it; "),
        ("encoders --at-most many", "--at-most: 'many' is no count of parameters; write it as 100M or 7.1B"),
    ],
)
def test_a_slip_is_told_in_one_line(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["xstilts", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2 and told.out == "" and told.err.startswith(f"error: {said}")
    assert told.err.count("\n") == 1
