"""Sentences and their translations: line-parallel (Tatoeba as in LASER), and to be mined (BUCC 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xstilts.data.problems import Problems, count
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import lines, suffix
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.formats.retrieval import RetrievalExample


def read_tatoeba(source: Source, problems: Problems) -> Iterator[RetrievalExample]:
    """Two files, tatoeba.XXX-eng.XXX and tatoeba.XXX-eng.eng, whose lines translate each other; ids count the lines."""
    english = [path for path in source.paths if suffix(path) == ".eng"]
    foreign = [path for path in source.paths if suffix(path) != ".eng"]
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


def read_bucc(source: Source, problems: Problems) -> Iterator[MiningExample]:
    """BUCC 2018: XX-en.SPLIT.XX and XX-en.SPLIT.en hold id TAB sentence, XX-en.SPLIT.gold the pairs of ids.

    The sentences of the other language come first, then the English ones, each in file order and under its own id.
    The same sentence may stand under several ids. Without the file of pairs (the shared task's test set) there is no
    gold.
    """
    by_suffix = {suffix(path): path for path in source.paths}
    foreign = [path for path in source.paths if suffix(path) not in (".en", ".gold")]
    if len(by_suffix) != len(source.paths) or len(foreign) != 1 or ".en" not in by_suffix:
        what = "not two corpora of one name; one side ends in .en, the other in its language, the pairs in .gold"
        problems.add(source.paths[0], what)
        return
    others, english = (_corpus(path, problems) for path in (foreign[0], by_suffix[".en"]))
    pairs: dict[str, list[str]] | None = None
    if ".gold" in by_suffix:
        pairs = {}
        for line, one, other in _columns(by_suffix[".gold"], "two ids", problems):
            unknown = [
                (id, path.name)
                for id, corpus, path in ((one, others, foreign[0]), (other, english, by_suffix[".en"]))
                if id not in corpus
            ]
            if unknown:
                id, name = unknown[0]
                problems.add(by_suffix[".gold"], f"id {id!r} is not in {name}; fetch the three files again", line)
            else:
                pairs.setdefault(one, []).append(other)
    for id, text in others.items():
        yield MiningExample(id, text, False, None if pairs is None else tuple(pairs.get(id, ())))
    for id, text in english.items():
        yield MiningExample(id, text, True, None)


def _corpus(path: Path, problems: Problems) -> dict[str, str]:
    """Sentences by their id."""
    sentences: dict[str, str] = {}
    for line, id, text in _columns(path, "id and sentence", problems):
        if id in sentences:
            problems.add(path, f"id {id!r} is given a second time; keep one each", line)
        elif not text.strip():
            problems.add(path, f"id {id!r} has no sentence; remove the row", line)
        else:
            sentences[id] = text
    return sentences


def _columns(path: Path, what: str, problems: Problems) -> Iterator[tuple[int, str, str]]:
    for number, line in lines(path, problems):
        cells = line.split("\t")
        if len(cells) == 2 and cells[0]:
            yield number, cells[0], cells[1]
        else:
            problems.add(path, f"{count(len(cells), 'column')}; expected {what}, separated by a tab", number)
