"""How the command line speaks of its options: in people's words, in the help and where one is wrong."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup


class _InWords:
    """Options say what to give (`N`, `PATH`, `LANGUAGE`) in place of a type of Python's."""

    def get_params(self, ctx: Any) -> list[Any]:
        options: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for option in options:
            if not hasattr(option, "display_type_rich"):  # as Typer has it from 0.29 on
                continue
            if option.param_type_name == "argument":
                option.display_type_rich = lambda ctx: ""  # its name says it
            elif option.metavar is None:
                option.metavar = _wanted(option.name, option.display_type(ctx))
        return options


class Verb(_InWords, TyperCommand):
    """A command."""


class Verbs(_InWords, TyperGroup):
    """A group of commands."""


def _wanted(name: str, kind: str | None) -> str:
    """For an option of this name and kind, such as ``<int>`` or ``<text|csv>``; nothing for a flag."""
    kind = re.sub(r"^list|[\[\]<>]", "", kind or "")
    if kind in ("", "bool"):
        return ""
    words = {"int": "N", "float": "NUMBER", "path": "PATH", "directory": "PATH", "file": "PATH"}
    return words.get(kind, name.upper().replace("_", "-") if kind == "str" else kind)


_SAID = (
    (r"^Invalid value for '(.*?)': ", r"\1: "),
    (r"Input should be a valid integer, .*", "must be a whole number"),
    (r"Input should be a valid number, .*", "must be a number"),
    (r"Input should be greater than or equal to (\S+)", r"must be at least \1"),
    (r"Input should be less than or equal to (\S+)", r"must be at most \1"),
    (r"Value error, ", ""),
    (r"\.$", ""),
)


def in_words(wrong: Any) -> str:
    """What Typer says is wrong with the words on the command line, in one line; empty where it has printed the help."""
    said = " ".join(wrong.format_message().split())
    if not said:  # a group that was given no command
        return ""
    for pattern, words in _SAID:
        said = re.sub(pattern, words, said)
    said = said[:1].lower() + said[1:]
    return f"{said}; see `{wrong.ctx.command_path if wrong.ctx else 'xstilts'} --help`"
