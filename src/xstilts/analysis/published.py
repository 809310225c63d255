"""What is published: results as rows of a CSV file, with the publications that they are of.

A result is a score or a gain that somebody states. Several publications may state one result; then it has one name, in
the column `result`, and counts once (`check_counted_once`). What comes with xstilts is evidence.csv, with evidence.yaml
for its publications; a file of a user's own has the same form, and mine.yaml beside mine.csv may say what it cites.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from xstilts.common import fast_yaml, textfile
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.validation import Mistakes, problems
from xstilts.planning.part import Closed
from xstilts.planning.recipe import NONE

#: What is established, with where it was read.
BUILTIN = Path(__file__).parent / "evidence.csv"

#: The recipe of the best intermediate task for a target, whichever that is.
BEST = "best"
#: The language of a mean over all of a target's languages, and of one over those that are not English.
MEAN, NON_ENGLISH = "mean", "non-English"

POOL, SHOW, BASELINE, LEFT_OUT = "pool", "show", "baseline", "left out"
FINE_TUNED, BY_VECTORS = "fine-tuned", "sentence vectors"
#: How a target is tested: after training on its English data; after the intermediate task alone; by examples or a
#: question in the prompt; or by the vectors of sentences.
Setting = Literal["fine-tuned", "no target training", "few-shot", "zero-shot prompt", "sentence vectors"]


class Publication(Closed):
    """What is cited."""

    authors: tuple[str, ...] = Field(min_length=1, description="as BibTeX has them; a group of people in {}")
    title: str = Field(min_length=1)
    year: int | None = None
    venue: str = ""
    arxiv: str = ""
    url: str = ""
    chosen: Literal["nothing", "dev", "test", "not stated"] = Field(
        "not stated", description="what the task, checkpoint or prompt of a result was chosen on"
    )
    note: str = Field("", description="what limits its results")

    @property
    def short(self) -> str:
        """As in running text: `Phang et al. 2020`."""
        names = [one[1:-1] if one.startswith("{") else one.split()[-1] for one in self.authors]
        name = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        return f"{name} {self.year}" if self.year else name

    @property
    def citation(self) -> str:
        """In full, on one line."""
        authors = ", ".join(self.authors).replace("{", "").replace("}", "")
        where = self.venue, f"arXiv {self.arxiv}" if self.arxiv else self.url
        return ", ".join(filter(None, (f"{authors}{f' {self.year}' if self.year else ''}. {self.title}", *where)))

    def bibtex(self, key: str) -> str:
        """An entry of a .bib file; @misc where there is no venue."""
        fields = {
            "title": f"{{{self.title}}}",
            "author": " and ".join(self.authors),
            "year": self.year,
            "booktitle": self.venue,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
            "url": self.url or f"https://arxiv.org/abs/{self.arxiv}",
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{'inproceedings' if self.venue else 'misc'}{{{key},", *lines, "}"])


class Result(Closed):
    """A row of a file of published results. Scores, gains and errors are in points."""

    publication: str = Field(min_length=1, description="whose result it is: a key of the publications")
    source: str = Field(min_length=1, description="where in it; or where it was read, if second-hand")
    hand: Literal["first", "second"] = Field("first", description="second: read where others cite it")
    encoder: str = Field(min_length=1)
    family: str | None = Field(None, description="encoders of one series, which differ in size")
    parameters: int | None = Field(None, gt=0, description="of the encoder, embeddings included")
    setting: Setting = "fine-tuned"
    protocol: str | None = Field(None, description="what else sets it apart from other results of the publication")
    recipe: str = Field(min_length=1, description="`none`, tasks joined by +, or the name of a mixture of tasks")
    english: Literal["yes", "no", "not established"] | None = Field(
        None, description="whether the intermediate tasks are in English only"
    )
    target: str = Field(min_length=1)
    language: str = Field(min_length=1, description="a code; `mean` over all, or over the `non-English` ones")
    metric: str = Field(min_length=1)
    split: str = Field(min_length=1)
    quantity: Literal["score", "gain"]
    value: float
    n: int | None = Field(None, gt=0, description="examples of the language; of a mean, those of its mean error")
    error: float | None = Field(None, gt=0, description="standard error, where it is stated")
    seeds: int | None = Field(None, gt=0)
    result: str | None = Field(None, description="its name, where several rows state the same result")
    use: Literal["pool", "show", "baseline", "left out"] = "pool"
    reason: str | None = Field(None, description="why it is not pooled, or of several copies is the one that is")

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @model_validator(mode="before")
    @classmethod
    def _empty_is_the_default(cls, row: Any) -> Any:
        return {name: value for name, value in row.items() if value not in ("", None)} if isinstance(row, dict) else row

    @model_validator(mode="after")
    def _what_is_not_pooled_has_a_reason(self) -> Result:
        if self.use in (SHOW, LEFT_OUT) and not self.reason:
            raise ValueError(f"`use` is {self.use!r}: say why in `reason`")
        return self

    @property
    def tasks(self) -> tuple[str, ...]:
        """The intermediate tasks, or the mixture; none of `none`."""
        return () if self.recipe == NONE else tuple(self.recipe.split("+"))

    @property
    def is_mean(self) -> bool:
        return self.language in (MEAN, NON_ENGLISH)

    @property
    def counted(self) -> bool:
        """Whether it stands for its result, where several rows state it."""
        return self.use in (POOL, BASELINE)

    @property
    def measured(self) -> tuple[object, ...]:
        """What a pair of scores, with and without intermediate training, has in common."""
        return (self.publication, self.source, self.setting, self.protocol, self.encoder, self.target, self.language,
                self.metric, self.split, self.quantity)  # fmt: skip


@dataclass(frozen=True)
class Literature:
    """Published results, what their publications and mixtures of tasks are, and which targets are mainly asked of."""

    results: tuple[Result, ...]
    publications: Mapping[str, Publication]
    mixtures: Mapping[str, str]
    targets: tuple[str, ...]

    def publication(self, key: str) -> Publication:
        """What is cited; of a key that no file describes, the key is all that is known."""
        return self.publications.get(key) or Publication(authors=(f"{{{key}}}",), title=key)


class _Described(Closed):
    """The YAML file beside a CSV file of results."""

    publications: dict[str, Publication] = Field(default_factory=dict)
    mixtures: dict[str, str] = Field(default_factory=dict)
    targets: tuple[str, ...] = Field((), description="what is asked of where no target is named")


def load_published(*own: Path) -> Literature:
    """What comes with xstilts, and the user's ``own`` files. Raises UserError: a line a mistake, with file and line."""
    rows, described = list(_builtin().items()), [_described(path) for path in (BUILTIN, *own)]
    for path in own:
        rows += _rows(path)
    if own:  # else as tests/test_analysis_published.py has checked it
        mistakes = Mistakes()
        for where, text in (*_encoders_of_two_sizes(rows), *_said_twice(rows), *check_counted_once(rows)):
            mistakes.add(f"{where}: {text}")
        mistakes.check()
    return Literature(
        results=tuple(row for _, row in rows),
        publications={key: one for each in described for key, one in each.publications.items()},
        mixtures={name: what for each in described for name, what in each.mixtures.items()},
        targets=tuple(dict.fromkeys(target for each in described for target in each.targets)),
    )


def check_counted_once(rows: Sequence[tuple[str, Result]]) -> Iterator[tuple[str, str]]:
    """Where a result would count twice, and what to do; ``rows`` are results with where they stand.

    A row counts if it is pooled or a baseline. Of those that name one `result`, one may. Two that agree in all but the
    publication and the place in it, value included, are taken for copies unless the later one has a name of its own.
    """
    named: dict[str, str] = {}
    alike: dict[tuple[object, ...], list[tuple[str, Result]]] = defaultdict(list)
    for where, row in rows:
        if not row.counted:
            continue
        if row.result is not None:
            first = named.setdefault(row.result, where)
            if first != where:
                yield where, f"use: {first} counts the result {row.result!r} already; write `show` and a reason"
        bare = row.encoder.rsplit("/", 1)[-1].lower()
        same = alike[bare, row.recipe, row.target, row.language, row.metric, row.split, row.quantity, row.value]
        for before, other in same:
            protocols = row.publication == other.publication and row.protocol != other.protocol
            if row.result is None and not protocols:
                yield where, f"use: the same number as in {before}, which counts: write `show` and a reason if it is " \
                             "the same result, or a name of its own in `result`"  # fmt: skip
                break
        same.append((where, row))


def _encoders_of_two_sizes(rows: Sequence[tuple[str, Result]]) -> Iterator[tuple[str, str]]:
    known: dict[str, tuple[int, str]] = {}
    for where, row in rows:
        if row.parameters:
            size, first = known.setdefault(row.encoder, (row.parameters, where))
            if size != row.parameters:
                yield where, f"parameters: {row.encoder} has {size:,} in {first}; write the same"


def _said_twice(rows: Sequence[tuple[str, Result]]) -> Iterator[tuple[str, str]]:
    known: dict[tuple[object, ...], str] = {}
    for where, row in rows:
        first = known.setdefault((*row.measured, row.recipe), where)
        if first != where:
            yield where, f"protocol: {first} has another value of the same; say in what they differ"


@cache
def _builtin() -> dict[str, Result]:
    return dict(_rows(BUILTIN))


def _described(path: Path) -> _Described:
    """What the YAML file beside ``path`` says, where there is one."""
    beside = path.with_suffix(".yaml")
    if not beside.exists():
        return _Described()
    document = fast_yaml.read_document(beside)
    try:
        return _Described.model_validate(document.content)
    except ValidationError as error:
        mistakes = Mistakes(str(beside), document)
        for one in problems(error, _Described, "publications", document=document):
            mistakes.add(one.text, *one.location)
        mistakes.check()
        raise


def _rows(path: Path) -> list[tuple[str, Result]]:
    """Each result with where it stands, as `mine.csv:2`."""
    text = textfile.read_text(path, "no such file of published results (docs/evidence.md shows one)")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    mistakes, found = Mistakes(), []
    try:
        columns = reader.fieldnames or []
        for column in columns:
            if column not in Result.model_fields:
                raise UserError(f"{path}:1: unknown column {column!r}: {did_you_mean(column, Result.model_fields)}")
        lacking = [name for name, of in Result.model_fields.items() if of.is_required() and name not in columns]
        if lacking:
            raise UserError(f"{path}:1: no column {lacking[0]}; the first line names the columns")
        for row in reader:
            where = f"{path}:{reader.line_num}"
            try:
                if None in row:
                    raise UserError(f"more values than columns: {len(columns)}; put text with commas in quotes")
                found.append((where, Result.model_validate(row)))
            except ValidationError as error:
                for one in problems(error, Result, "row"):
                    mistakes.add(f"{where}: {one.text}")
            except UserError as error:
                mistakes.add(f"{where}: {error}")
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num + 1}: not valid CSV: {error}") from None
    mistakes.check()
    return found
