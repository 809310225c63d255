"""Sentences as tokens with tags: the two columns of XTREME (PAN-X, UD-POS), CoNLL-U, and C&C's stagged form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xstilts.data.problems import Problems, count
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import lines
from xstilts.tasks.formats.tagging import TaggingExample

Lines = list[tuple[int, str]]  # line number and line


def read_tokens(source: Source, problems: Problems) -> Iterator[TaggingExample]:
    """Token TAB tag, an empty line between sentences; a file of tokens alone has no gold. Ids count the sentences.

    PAN-X as published writes the language before every token ("de:Berlin"); where all of a file's have it, it goes.
    A file whose tags are to be the label set must have them.
    """
    number = 0
    prefix = f"{source.language}:"
    for path in source.paths:
        sentences = list(_sentences(path, problems))
        width = sentences[0][0][1].count("\t") + 1 if sentences else 0
        if width > 2:
            problems.add(path, f"{width} columns; expected token and tag, separated by a tab", sentences[0][0][0])
            continue
        if width == 1 and source.open_labels:
            problems.add(path, "no tags; expected token and tag, separated by a tab", sentences[0][0][0])
            continue
        prefixed = all(line.startswith(prefix) for sentence in sentences for _, line in sentence)
        for sentence in sentences:
            number += 1
            rows = [line.split("\t") for _, line in sentence]
            tokens = [row[0] for row in rows]
            tags = [row[-1] for row in rows] if width == 2 else None
            if any(len(row) != width or not row[0] for row in rows) or not source.labels_hold(tags or ()):
                _tell(source, path, sentence, width, problems)
            if prefixed:
                tokens = [token.removeprefix(prefix) for token in tokens]
            yield TaggingExample(str(number), tuple(tokens), None if tags is None else tuple(tags))


def _tell(source: Source, path: Path, sentence: Lines, width: int, problems: Problems) -> None:
    """Say what is wrong with each row of a faulty sentence."""
    for line, text in sentence:
        cells = text.split("\t")
        if len(cells) != width:
            problems.add(path, f"{count(len(cells), 'column')}, not {width} as before; separate by one tab", line)
        elif cells[0] == "":
            problems.add(path, "an empty token; remove the row", line)
        elif width == 2:
            source.check_labels([cells[1]], path, line, problems)


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
        for sentence in _sentences(path, problems):
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


def _sentences(path: Path, problems: Problems) -> Iterator[Lines]:
    sentence: Lines = []
    for number, line in lines(path, problems):
        if line:
            sentence.append((number, line))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence
