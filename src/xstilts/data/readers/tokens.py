"""Sentences as tokens with tags: a token a line (PAN-X, CoNLL-2003 and their like), CoNLL-U, and C&C's stagged form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from xstilts.common.errors import did_you_mean
from xstilts.data.problems import Problems, count
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import lines
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import Files

Lines = list[tuple[int, str]]  # line number and line


def read_tokens(source: Source, problems: Problems) -> Iterator[TaggingExample]:
    """A token and its tag a line, an empty line between sentences; a file of tokens alone has no gold.

    ``columns`` of the layout says which columns hold `token` and `tag`: by position, `_` for others, where more may
    follow; or by the names in the first row. Without it there are two columns, or tokens alone. ``separator`` is seen
    from the file where it leaves no doubt. Lines that begin with ``comment`` or -DOCSTART- are passed over.

    PAN-X as published writes the language before every token ("de:Berlin"); where all of a file's have it, it goes.
    A file whose tags are to be the label set must have them. Ids count the sentences.
    """
    number = 0
    prefix = f"{source.language}:"
    for path in source.paths:
        rows = list(_rows(path, source.layout, problems))
        table = _table(rows, source, path, problems)
        if table is None:
            continue
        sentences = list(_sentences(rows[table.begin :]))
        cells = [[line.split(table.separator) for _, line in sentence] for sentence in sentences]
        prefixed = all(row[table.token].startswith(prefix) for one in cells for row in one if len(row) > table.token)
        for sentence, split in zip(sentences, cells, strict=True):
            number += 1
            whole = all(len(row) == table.width for row in split)
            tokens = [row[table.token] for row in split] if whole else []
            tags = None if table.tag is None else [row[table.tag] for row in split] if whole else []
            if not tokens or not all(tokens) or not source.labels_hold(tags or ()):
                _tell(source, path, sentence, table, problems)
            if prefixed:
                tokens = [token.removeprefix(prefix) for token in tokens]
            yield TaggingExample(str(number), tuple(tokens), None if tags is None else tuple(tags))


class _Table(NamedTuple):
    """How the rows of a file are read: what parts columns (None: any white space), which of them hold what."""

    separator: str | None
    width: int
    token: int
    tag: int | None
    begin: int  # the first row that is no header


SEPARATORS = {"tab": "\t", "space": " ", "whitespace": None}


def separator_of(path: Path, layout: Files) -> str | None:
    """What stands between the columns of a file: what the entry says, or is plain to see; None is any white space."""
    return _separator(list(_rows(path, layout, Problems(collect=True))), layout)


def _separator(rows: Lines, layout: Files) -> str | None:
    """Tabs where the first row has one; else spaces, where the entry names several columns, or all rows are pairs."""
    if layout.separator:
        return SEPARATORS[layout.separator]
    filled = [line for _, line in rows if line]
    if not filled or "\t" in filled[0]:
        return "\t"
    if len(layout.columns) > 1:
        return None
    pairs = all(len(cells := line.split(" ")) == 2 and all(cells) for line in filled)
    return " " if pairs and not any("\t" in line for line in filled) else "\t"


def _table(rows: Lines, source: Source, path: Path, problems: Problems) -> _Table | None:
    """How the rows of a file are to be read; None where they cannot be, which is told."""
    begin = next((n for n, (_, line) in enumerate(rows) if line), None)
    if begin is None:
        return None
    first, line = rows[begin]
    columns = source.layout.columns
    separator = _separator(rows, source.layout)
    cells = line.split(separator)
    width = len(cells)
    place = {name: n for n, name in enumerate(columns)}
    if isinstance(columns, dict):
        missing = [name for name in columns.values() if name not in cells]
        if missing:
            problems.add(path, f"no column {missing[0]!r} in the first row; {did_you_mean(missing[0], cells)}", first)
            return None
        place = {held: cells.index(name) for held, name in columns.items()}
    elif columns and width < len(columns):
        problems.add(path, f"{count(width, 'column')}; the entry's `columns` has {len(columns)}", first)
        return None
    elif not columns:
        if (doubt := _doubt(rows, source, width)) is not None:
            problems.add(path, doubt, first)
            return None
        place = {"token": 0, "tag": 1} if width == 2 else {"token": 0}
    if "tag" not in place and source.open_labels:
        problems.add(path, "no tags; expected token and tag, separated by a tab", first)
        return None
    begin += isinstance(columns, dict) or source.layout.header
    return _Table(separator, width, place["token"], place.get("tag"), begin)


def _doubt(rows: Lines, source: Source, width: int) -> str | None:
    """Why rows whose columns the entry does not name cannot be read; None where they can."""
    if width > 2:
        return f"{width} columns; say which hold what in the entry's `files`, as in `columns: [{_guess(width)}]`"
    if width == 2:
        return None
    filled = [line for _, line in rows if line]
    if any("\t" in line for line in filled) and (mark := filled[0][: len(filled[0]) - len(filled[0].lstrip("#"))]):
        return f"no tab behind {mark!r}; if these are remarks, say `comment: {mark!r}` in the entry's `files`"
    # A token may hold a space; few do, and none ends in what is a label here.
    spaced = [words for line in filled if len(words := line.strip(" ").split(" ")) > 1]
    if 2 * len(spaced) > len(filled) or any(words[-1] in source.labels for words in spaced):
        wide = len(spaced[0])
        layout = f"separator: space, columns: [{_guess(wide)}]"
        return f"{wide} words and no tab; if spaces part columns, say in the entry's `files`, as in `{layout}`"
    return None


def _guess(width: int) -> str:
    """Where token and tag may be: behind an index, or first and last, as in CoNLL-2003."""
    return ", ".join(["_", "token", "tag"] if width == 3 else ["token", *["_"] * (width - 2), "tag"])


def _tell(source: Source, path: Path, sentence: Lines, table: _Table, problems: Problems) -> None:
    """Say what is wrong with each row of a faulty sentence."""
    by = {"\t": "one tab", " ": "one space", None: "white space"}[table.separator]
    for line, text in sentence:
        cells = text.split(table.separator)
        if len(cells) != table.width:
            problems.add(path, f"{count(len(cells), 'column')}, not {table.width} as before; separate by {by}", line)
        elif cells[table.token] == "":
            problems.add(path, "an empty token; remove the row", line)
        elif table.tag is not None:
            source.check_labels([cells[table.tag]], path, line, problems)


def read_stagged(source: Source, problems: Problems) -> Iterator[TaggingExample]:
    """A sentence a line, its tokens as word|POS|supertag with spaces between (CCGbank as C&C has it).

    Lines that begin with "# " are remarks. Ids count the sentences.
    """
    number = 0
    for path in source.paths:
        for line, text in lines(path, problems):
            if not text or text.startswith("# "):
                continue
            rows = [token.rsplit("|", 2) for token in text.split(" ") if token]
            faulty = next((row for row in rows if len(row) != 3 or not row[0] or not row[2]), None)
            if faulty is not None:
                problems.add(path, f"{'|'.join(faulty)!r}: not word|POS|supertag; all three, and spaces between", line)
                continue
            number += 1
            tags = tuple(row[2] for row in rows)
            source.check_labels(tags, path, line, problems)
            yield TaggingExample(str(number), tuple(row[0] for row in rows), tags)


def read_conllu(source: Source, problems: Problems) -> Iterator[TaggingExample]:
    """CoNLL-U: the syntactic words with their UPOS. Ids count the sentences.

    Ranges ("1-2", the surface form of several words) and empty nodes ("1.1") are passed over, as UD's own evaluation
    does; XTREME's files hold fused surface forms instead, so the tokens differ in languages with contractions. As in
    XTREME (utils_preprocess.py:190-225), spaces and U+200C inside a word go, and so do sentences of which the
    treebank withholds the text: all words but one at most are "_". They count in the ids, so that parallel treebanks
    stay parallel.
    """
    number = 0
    for path in source.paths:
        for sentence in _sentences(lines(path, problems)):
            words: list[str] = []
            tags: list[str] = []
            for line, text in sentence:
                if text.startswith("#"):
                    continue
                cells = text.split("\t")
                if len(cells) != 10:
                    problems.add(path, f"{count(len(cells), 'column')}; CoNLL-U has 10, separated by tabs", line)
                elif cells[0].isdecimal():
                    source.check_labels([cells[3]], path, line, problems)
                    words.append(cells[1].replace("\u200c", "").replace(" ", "") or cells[1])
                    tags.append(cells[3])
                elif not cells[0].replace("-", "", 1).replace(".", "", 1).isdecimal():
                    problems.add(path, f"word id {cells[0]!r}; expected 1, 1-2 or 1.1", line)
            if words:
                number += 1
                if not (withheld := words.count("_")) or withheld < len(words) - 1:
                    yield TaggingExample(str(number), tuple(words), tuple(tags))
            else:
                problems.add(path, "a sentence without words; remove it", sentence[0][0])


def _rows(path: Path, layout: Files, problems: Problems) -> Iterator[tuple[int, str]]:
    """Lines that are no remarks; those of nothing but spaces are empty ones."""
    for number, line in lines(path, problems):
        if layout.comment and line.startswith(layout.comment):
            continue
        if not line.startswith("-DOCSTART-"):
            yield number, "" if line.isspace() and "\t" not in line else line


def _sentences(rows: Iterable[tuple[int, str]]) -> Iterator[Lines]:
    sentence: Lines = []
    for number, line in rows:
        if line:
            sentence.append((number, line))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence
