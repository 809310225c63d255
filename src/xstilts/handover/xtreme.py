"""XTREME's tasks, and the files of a submission to it, read as its evaluate.py reads them.

Source: google-research/xtreme at commit 838c13b, README.md (Leaderboard Submission) and evaluate.py: XTREME, not
XTREME-R. A folder holds a folder a task, and in it test-<language>.tsv, or .json for question answering:

- xnli, pawsx: one label a line;
- panx, udpos: one tag a line, an empty line between sentences;
- xquad, mlqa, tydiqa: an object, id of the question to answer;
- bucc2018: id TAB id of the English sentence, a mined pair a line;
- tatoeba: for each English sentence, in alphabetical order, the line number from 0 of its translation.

Ours alone is `CAPPED` in a task's folder: which examples were predicted where a study has `max_examples`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from xstilts.common import fast_yaml, strict_json, textfile
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.strict_json import JsonError
from xstilts.data.problems import count
from xstilts.tasks import builtin_catalog

T = TypeVar("T")


@dataclass(frozen=True)
class Benchmark:
    """One of the nine tasks, under the name of its folder."""

    name: str
    task: str  # in xstilts' catalog
    group: str
    content: Literal["labels", "tags", "answers", "pairs", "lines"]
    languages: tuple[str, ...]  # in evaluate.py's order
    entities: bool = False  # whether tags are scored by entity, else by chunk
    by_language: bool = False  # whether answers are scored by the rules of their language, else by SQuAD's

    def file(self, language: str) -> str:
        """Its place in a folder of predictions or labels."""
        return f"{self.name}/test-{language}.{'json' if self.content == 'answers' else 'tsv'}"

    @property
    def labels(self) -> tuple[str, ...]:
        return builtin_catalog()[self.task].labels


#: In evaluate.py's order.
BENCHMARKS = tuple(
    Benchmark(**{**entry, "languages": tuple(entry["languages"])})
    for entry in fast_yaml.read(Path(__file__).with_suffix(".yaml"))
)

#: The groups whose averages XTREME reports, in its order.
GROUPS = ("classification", "tagging", "qa", "retrieval")


def read_labels(path: Path, benchmark: Benchmark) -> list[str]:
    """One label a line; an empty line counts. Raises UserError, with the line, for what is no label of the task."""
    found = []
    for number, label in _lines(path):
        if label not in benchmark.labels:
            raise UserError(f"{path}:{number}: {_not_a_label(label, benchmark)}")
        found.append(label)
    return _some(found, path)


def read_numbers(path: Path) -> list[str]:
    """Tatoeba: one number from 0 a line. Raises UserError, with the line, for anything else."""
    found = []
    for number, value in _lines(path):
        if not (value.isascii() and value.isdigit()) or value != str(int(value)):
            raise UserError(f"{path}:{number}: {value!r}: not a line number from 0; write one bare integer a line")
        found.append(value)
    return _some(found, path)


@dataclass(frozen=True)
class TaggedSentence:
    """The tags of a sentence, and the line of the first (where they are missing, the line that they should be on)."""

    line: int
    tags: tuple[str, ...]


def read_tags(path: Path, benchmark: Benchmark) -> list[TaggedSentence]:
    """Tags by sentence. Raises UserError, with the line, for what is no tag of the task, as token and tag is."""
    sentences: list[TaggedSentence] = []
    tags: list[str] = []
    number = 0
    for number, tag in _lines(path):
        if tag and tag not in benchmark.labels:
            hint = "; write the tag alone, without its token" if len(tag.split()) > 1 else ""
            raise UserError(f"{path}:{number}: {_not_a_label(tag, benchmark)}{hint}")
        if tag:
            tags.append(tag)
        else:  # two empty lines are a sentence without tokens, for evaluate.py too
            sentences.append(TaggedSentence(number - len(tags), tuple(tags)))
            tags = []
    if tags:
        sentences.append(TaggedSentence(number + 1 - len(tags), tuple(tags)))
    return _some(sentences, path)


def read_pairs(path: Path) -> dict[tuple[str, str], int]:
    """BUCC: pairs of ids, which may be none, and the line of each. Raises UserError for what is not two ids."""
    pairs: dict[tuple[str, str], int] = {}
    for number, line in _lines(path):
        ids = line.split("\t")
        if len(ids) != 2 or not all(ids):
            raise UserError(f"{path}:{number}: {line[:60]!r}: not two ids with a tab between, the English one last")
        pairs.setdefault((ids[0], ids[1]), number)
    return pairs


def read_answers(path: Path) -> dict[str, str]:
    """Answers by the id of their question. Raises UserError, with the line, where that is not what the file holds."""
    document = _json(path)
    if not isinstance(document, dict):
        raise UserError(f"{path}:1: not an object of answers; write {{id: answer, …}}")
    for id, answer in document.items():
        if not isinstance(answer, str):
            raise UserError(f"{path}:{line_of(path, id)}: the answer to {id!r} is no text; write {{id: answer, …}}")
    return document


@dataclass(frozen=True)
class GoldQuestion:
    id: str
    golds: tuple[str, ...]


def read_golds(path: Path) -> list[GoldQuestion]:
    """The gold answers of a file in SQuAD's layout. Raises UserError where it has none, as XTREME's own download."""
    document = _json(path)
    articles = document.get("data") if isinstance(document, dict) else document
    try:
        questions = [
            GoldQuestion(str(row["id"]), tuple(str(answer["text"]) for answer in row["answers"]))
            for article in articles or ()
            for paragraph in article["paragraphs"]
            for row in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not SQuAD's layout of data, paragraphs, qas, answers, text ({error})") from None
    if not questions:
        raise UserError(f"{path}: no questions; is the file whole?")
    blank = next((question.id for question in questions if not question.golds), None)
    if blank is not None:
        raise UserError(f"{path}:{line_of(path, blank)}: question {blank!r} has no answers; labels need gold")
    if all(not gold for question in questions for gold in question.golds):
        raise UserError(f"{path}: all answers are empty: XTREME's download has no gold, take the data set's own files")
    return questions


def check_count(path: Path, found: int, expected: int) -> None:
    """Raise UserError, with the last line or the first that is too much, where a file has not ``expected`` lines."""
    if found != expected:
        line = found if found < expected else expected + 1
        raise UserError(
            f"{path}:{line}: {count(found, 'line')} in the file, not {expected:,}; one an example, in order"
        )


def check_sentences(path: Path, sentences: Sequence[TaggedSentence], lengths: Sequence[int]) -> None:
    """Raise UserError, with the line, where the sentences do not have ``lengths`` tags.

    evaluate.py compares the number of sentences alone: from a missing tag on, it would compare the wrong ones.
    """
    for number, (sentence, length) in enumerate(zip(sentences, lengths, strict=False), 1):
        if len(sentence.tags) != length:
            what = f"sentence {number:,} has {count(len(sentence.tags), 'tag')}, not {length:,}"
            raise UserError(f"{path}:{sentence.line}: {what}; write one tag a token, and an empty line behind them")
    if len(sentences) != len(lengths):
        last = sentences[min(len(sentences), len(lengths) + 1) - 1]
        what = f"{count(len(sentences), 'sentence')} in the file, not {len(lengths):,}"
        raise UserError(f"{path}:{last.line}: {what}; write them all, with an empty line behind each")


#: Beside the predictions of a task, where a study predicted a part of the test set.
CAPPED = "capped.json"


class Capped(BaseModel):
    """Which examples of a test set were predicted: their places, from 0, in the whole file, or ids where it has these.

    ``of`` is how many the whole file has, of BUCC in both corpora.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    of: int
    examples: list[int] | list[str]

    @property
    def said(self) -> str:
        return f"{len(self.examples):,} of {self.of:,} examples"

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(map(str, self.examples))

    def kept(self, gold: Sequence[T], path: Path) -> list[T]:
        """Those of the whole file's ``gold`` that were predicted. Raises UserError where ``path`` is of another."""
        if len(gold) != self.of:
            raise UserError(f"{path}: {len(gold):,} examples, not the {self.of:,} of {CAPPED}; give the labels of all")
        return [gold[int(place)] for place in self.examples]


_CAPPED = TypeAdapter(dict[str, Capped])


def read_capped(folder: Path) -> dict[str, Capped]:
    """By language; nothing where all was predicted. Raises UserError where the file says no such thing."""
    path = folder / CAPPED
    if not path.exists():
        return {}
    try:
        found = _CAPPED.validate_python(_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        raise UserError(
            f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg'].lower()}; write the submission again"
        ) from None
    for language, capped in found.items():
        places = [one for one in capped.examples if isinstance(one, int)]
        if places != sorted({*places}) or (places and not 0 <= places[0] <= places[-1] < capped.of):
            raise UserError(f"{path}: {language}: places that are not in order from 0 to {capped.of - 1:,}")
    return found


def write_capped(folder: Path, found: Mapping[str, Capped]) -> None:
    text = json.dumps({language: capped.model_dump() for language, capped in found.items()})
    (folder / CAPPED).write_text(text + "\n", encoding="utf-8")


def line_of(path: Path, id: str) -> int:
    """The line of a JSON file on which ``id`` stands first."""
    text = textfile.read_text(path)
    at = max(text.find(json.dumps(id)), text.find(json.dumps(id, ensure_ascii=False)), 0)
    return text.count("\n", 0, at) + 1


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and stripped line, of LF, CR LF or CR, as Python opens a text file."""
    for number, line in enumerate(io.StringIO(textfile.read_text(path), newline=None), 1):
        yield number, line.strip()


def _json(path: Path) -> Any:
    try:
        return strict_json.parse(textfile.read_text(path), "is the file whole?")
    except JsonError as error:
        raise UserError(f"{path}:{error.line or 1}: {error.what}") from None


def _some(found: list[Any], path: Path) -> list[Any]:
    if not found:
        raise UserError(f"{path}: the file is empty")
    return found


def _not_a_label(label: str, benchmark: Benchmark) -> str:
    if not label:
        return "an empty line; write one label a line"
    return f"{label[:60]!r} is no label of {benchmark.name}; {did_you_mean(label, benchmark.labels)}"
