"""Line-parallel sentence pairs: Tatoeba as in LASER."""

from __future__ import annotations

from collections.abc import Iterator

from xstilts.data.examples import RetrievalExample
from xstilts.data.problems import Problems, count
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import lines


def read_tatoeba(source: Source, problems: Problems) -> Iterator[RetrievalExample]:
    """Two files, tatoeba.XXX-eng.XXX and tatoeba.XXX-eng.eng, whose lines translate each other; ids count the lines."""
    english = [path for path in source.paths if path.suffix == ".eng"]
    foreign = [path for path in source.paths if path.suffix != ".eng"]
    if len(english) != 1 or len(foreign) != 1:
        problems.add(source.paths[0], "not a pair of files; the English side ends in .eng and lies beside the other")
        return
    sources, targets = dict(lines(foreign[0], problems)), dict(lines(english[0], problems))
    if len(sources) != len(targets):
        problems.add(
            foreign[0], f"{count(len(sources), 'line')}, but {english[0].name} has {len(targets)}; fetch both again"
        )
    for path, side in ((foreign[0], sources), (english[0], targets)):
        for number, line in side.items():
            if not line.strip():
                problems.add(path, "an empty line; both files have one sentence a line", number)
    for number in sources.keys() & targets.keys():
        yield RetrievalExample(str(number), sources[number], targets[number])
