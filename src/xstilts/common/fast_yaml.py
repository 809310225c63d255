"""YAML as study files, task files and our own lists are written in: `yaml.safe_load`'s, read strictly.

Made of the parser's events (the C parser's, where PyYAML was built with it: start-up reads dozens of files), so that
nothing grows before it is looked at: not the depth, not what aliases repeat. Refused is what YAML takes in silence and
means otherwise than it looks: a key written twice, ``010`` for 8, ``1:30`` for 90, tags, and a second document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from xstilts.common import textfile
from xstilts.common.errors import UserError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER, _CONSTRUCTOR = Resolver(), SafeConstructor()

#: What a file may hold: a study has some hundred values, and at most six levels.
MOST_BYTES = 1 << 24
MOST_VALUES = 100_000
MOST_LEVELS = 50

#: Where a value is: the keys and indices that lead to it.
Location = tuple[str | int, ...]

_MERGE = "<<"
_QUOTE = "write it otherwise, or in quotes if text is meant"


@dataclass(frozen=True)
class Document:
    """A file's content, with what it says of each value beside it."""

    content: Any
    lines: dict[Location, int] = field(default_factory=dict)  # of keys and items
    plain: dict[Location, str] = field(default_factory=dict)  # values without quotes that are no text, as written

    def line(self, location: Location) -> int | None:
        """The line of what is at ``location``, else of the nearest thing that it is in; None of nothing at all."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location)

    def quoted(self, location: Location) -> str | None:
        """How to write a value as the text that it looks like; None where it is text, or no single value."""
        if location not in self.plain:
            return None
        value, written = self._at(location), self.plain[location]
        match value:
            case None:
                read = "nothing"
            case bool():
                read = str(value).lower()
            case date():
                read = "a date"
            case _:
                read = "a number"
        return (
            f'YAML reads {written} as {read}; put it in quotes: "{written}"' if written else "nothing is written here"
        )

    def truth(self, location: Location) -> str | None:
        """How true or false is written, and that it is that, where it looks otherwise; None of any other value."""
        if location not in self.plain or not isinstance(value := self._at(location), bool):
            return None
        written, read = self.plain[location], str(value).lower()
        return written if written.lower() == read else f"{written}, which YAML reads as {read}"

    def _at(self, location: Location) -> Any:
        value = self.content
        for part in location:
            value = value[part]
        return value


def load(text: str) -> Any:
    """Raises yaml.YAMLError."""
    return parse(text).content


def read(path: Path, absent: str = "no such file") -> Any:
    """The content of a file. Raises UserError: one line with file and line; ``absent`` is said where there is none."""
    return read_document(path, absent).content


def read_document(path: Path, absent: str = "no such file") -> Document:
    """A file as `read` reads it, with its lines."""
    size = textfile.check_regular(path, absent)
    if size > MOST_BYTES:
        raise UserError(f"{path}: {size:,} bytes, of at most {MOST_BYTES:,}; is it a study or a task?")
    text = textfile.read_text(path, absent)
    try:
        return parse(text)
    except _Refused as error:
        raise UserError(f"{path}:{error.line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


class _Refused(yaml.YAMLError):
    def __init__(self, what: str, event: yaml.Event):
        super().__init__(what)
        self.line = _line(event)


@dataclass
class _Open:
    """A mapping or list that is being read."""

    value: dict[str, Any] | list[Any]
    location: Location
    anchor: str | None
    before: int  # values of the document that came before it
    height: int = 0  # levels below it
    key: str | None = None
    merged: list[tuple[Any, yaml.Event]] = field(default_factory=list)


def parse(text: str) -> Document:
    """One document. Keys are text, as they are written. Raises yaml.YAMLError."""
    parser = _Parser()
    for event in yaml.parse(text, _LOADER):
        parser.hear(event)
    return parser.document()


class _Parser:
    def __init__(self) -> None:
        self._root: list[Any] = []  # of one value, or none
        self._open = [_Open(self._root, (), None, 0)]
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # what each names, how many values that is, and its height
        self._values = 0
        self._lines: dict[Location, int] = {}
        self._plain: dict[Location, str] = {}

    def document(self) -> Document:
        return Document(self._root[0] if self._root else None, self._lines, self._plain)

    def hear(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.DocumentStartEvent) and self._root:
            raise _Refused("a second document (---); a file holds one", event)
        elif isinstance(event, yaml.NodeEvent):
            tag = getattr(event, "tag", None)
            if tag is not None:
                raise _Refused(
                    f"a tag ({tag.replace('tag:yaml.org,2002:', '!!')}), which is not read; remove it", event
                )
            top = self._open[-1]
            if isinstance(top.value, dict) and top.key is None:
                top.key = self._key(event, top)
            else:
                self._value(event, top)

    def _key(self, event: yaml.Event, top: _Open) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise _Refused("a key that is no word", event)
        key: str = event.value
        location = (*top.location, key)
        if location in self._lines:
            raise _Refused(f"{key!r} is written twice, first in line {self._lines[location]}; remove one", event)
        self._lines[location] = _line(event)
        return key

    def _value(self, event: yaml.NodeEvent, top: _Open) -> None:
        location = self._location(top)
        self._lines.setdefault(location, _line(event))
        value, values, height, opened = self._read(event, location)
        self._values += values
        top.height = max(top.height, height + 1)
        if self._values > MOST_VALUES:
            raise _Refused(f"more than {MOST_VALUES:,} values, with those that aliases (*) repeat", event)
        if len(self._open) + height > MOST_LEVELS:
            raise _Refused(f"more than {MOST_LEVELS} levels, one in another", event)
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key == _MERGE:
            top.merged.append((value, event))
        else:
            top.value[top.key or ""] = value
        top.key = None
        if opened:
            self._open.append(opened)

    def _location(self, top: _Open) -> Location:
        if top.value is self._root:
            return ()
        return (*top.location, len(top.value) if isinstance(top.value, list) else top.key or "")

    def _read(self, event: yaml.NodeEvent, location: Location) -> tuple[Any, int, int, _Open | None]:
        """The value, how many values it is, how many levels, and what is open from now on."""
        match event:
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise _Refused(f"*{event.anchor} names nothing that is whole before it", event)
                return *self._anchors[event.anchor], None
            case yaml.ScalarEvent():
                value = _scalar(event)
                if not isinstance(value, str):
                    self._plain[location] = event.value
                if event.anchor:
                    self._anchors[event.anchor] = value, 1, 0
                return value, 1, 0, None
        value = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        return value, 1, 0, _Open(value, location, event.anchor, self._values)

    def _close(self) -> None:
        done = self._open.pop()
        for value, event in done.merged:
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, dict) or not isinstance(done.value, dict):
                    raise _Refused("<< merges mappings, and this is none", event)
                for key in each:
                    done.value.setdefault(key, each[key])
        self._open[-1].height = max(self._open[-1].height, done.height + 1)
        if done.anchor:
            self._anchors[done.anchor] = done.value, self._values - done.before, done.height


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _scalar(event: yaml.ScalarEvent) -> Any:
    """A value without quotes may be a number, a date, true, false or nothing, by the rules of YAML 1.1."""
    written: str = event.value
    try:
        written.encode()
    except UnicodeEncodeError:
        raise _Refused("half of a character (a lone surrogate)", event) from None
    if not event.implicit[0]:
        return written
    tag = _RESOLVER.resolve(yaml.ScalarNode, written, (True, False))
    kind = tag.rpartition(":")[2]
    node = yaml.ScalarNode(tag, written)
    try:
        match kind:
            case "null":
                return None
            case "bool":
                return _CONSTRUCTOR.construct_yaml_bool(node)
            case "timestamp":
                return _CONSTRUCTOR.construct_yaml_timestamp(node)
            case "int" | "float":
                if ":" in written or re.fullmatch(r"[-+]?0[0-9_]+", written):
                    raise _Refused(f"{written} is another number to YAML (of base 60, or 8); {_QUOTE}", event)
                number = _CONSTRUCTOR.construct_yaml_int if kind == "int" else _CONSTRUCTOR.construct_yaml_float
                return number(node)
    except ValueError:
        what = "is no date" if kind == "timestamp" else f"is a number of {len(written):,} digits"
        raise _Refused(f"{written[:20]}{'…' * (len(written) > 20)} {what}; {_QUOTE}", event) from None
    return written
