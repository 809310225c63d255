"""Plain text without labels, a paragraph or sentence a line."""

from __future__ import annotations

from collections.abc import Iterator

from xstilts.data.problems import Problems
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import lines
from xstilts.tasks.formats.mlm import TextExample


def read_lines(source: Source, problems: Problems) -> Iterator[TextExample]:
    """Each line that is not empty; the id is the file's name and the line's number."""
    for path in source.paths:
        for number, line in lines(path, problems):
            if line.strip():
                yield TextExample(f"{path.name}:{number}", line.strip())
