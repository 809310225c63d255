"""What a format knows of its examples, one file a format, without torch; `xstilts.engine.heads` holds its other half.

A format is a module of this package with a subclass of `Example` and, as ``FORMAT``, one instance of a subclass of
`Format`; and a module of the same name in `xstilts.engine.heads`. Nothing else lists the formats, and nothing else asks
which one it has before it. What a format must say is abstract in these two classes: one that forgets it cannot be
imported.

Predictions are strings, one an example, so that every format's predictions fit one table: an answer (after its null
odds and a tab, where there may be none), a label, the index of a choice, tags joined by spaces, a pair's id.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import pkgutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from xstilts.common.errors import UserError, did_you_mean
from xstilts.tasks.task import Task

#: metric → one (numerator, denominator) an example; the score is 100 · Σ numerator / Σ denominator.
Outcomes = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """A piece of an example's first text that is gold: its characters, and the offset of the first of them."""

    text: str
    start: int


class Abstention(NamedTuple):
    """What comes of giving no answer where a model is less sure than ``threshold``, on data with gold, in points.

    F1 and exact match are those of the questions that are answered (None where none is), and then those of all, where
    "no answer" is right for a question that has none.
    """

    threshold: float  # 0 to 1
    answered: float  # share of the questions
    exact_match_answered: float | None
    f1_answered: float | None
    exact_match: float
    f1: float


class Trace(NamedTuple):
    """Texts by which an example is known again in other data, so that nothing is evaluated on that was trained on."""

    kind: str  # passage | question | pair | prompt | sentence, as reports of overlap name it
    language: str
    texts: tuple[str, ...]
    any_order: tuple[str, ...] = ()  # more texts, which may stand in another order there
    by_chance: bool = False  # whether texts of few words are alike by chance, and say nothing


@dataclass(frozen=True, slots=True)
class Example(ABC):
    """One example of a data set, as readers give it. Its subclasses are such data classes too."""

    id: str

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Example:
        """From a JSON object that has its fields, those of its gold missing or null where it has none; others too.

        Raises ValueError where a field is missing, misspelt or of another type.
        """
        names = [field.name for field in fields(cls)]
        check_spelling(record, names)
        read = cls.completed({name: record[name] for name in names if name in record})
        if type(read.get("id")) is int:
            read["id"] = str(read["id"])
        try:
            return cast(Example, _adapter(cls).validate_json(json.dumps(read), strict=True))
        except ValidationError as error:
            raise ValueError(_in_words(error)) from None

    @classmethod
    def completed(cls, record: dict[str, Any]) -> dict[str, Any]:
        """``record`` with what it says by the absence of other fields."""
        return record

    @property
    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """The texts that a model reads."""

    @property
    @abstractmethod
    def group(self) -> str:
        """The text that several examples are about: they stay together where a data set is cut in two."""

    @property
    @abstractmethod
    def has_gold(self) -> bool:
        """Whether it can be scored."""

    @property
    def wants_gold(self) -> bool:
        """Whether gold says something of it, where there is any."""
        return True

    @abstractmethod
    def traces(self, language: str) -> Iterator[Trace]:
        """By what it is known again; ``language`` is its data's, or a pair of them such as de-en."""

    @abstractmethod
    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> Example | str:
        """The same in other words, as a translation gives them for `texts` and `marks`; or why that cannot be."""

    @property
    def inputs(self) -> Sequence[tuple[str, ...]]:
        """Which of its texts are read together, for each input that is made of it."""
        return (self.texts,)

    @property
    def fault(self) -> str | None:
        """What is wrong with it in itself, which its types do not tell; None where nothing is."""
        return None

    @property
    def gold_label(self) -> str | int | None:
        """The one label of the whole, which a translation does not change; None where there is none."""
        return None

    @property
    def marks(self) -> tuple[GoldAnswer, ...]:
        """The pieces of the first text that are gold, and are to be found again in its translation."""
        return ()


@cache
def _adapter(example: type[Example]) -> TypeAdapter[Any]:
    return TypeAdapter(example)


#: What pydantic calls another type than that of a field, in words.
_TYPES = {
    "missing": "is missing",
    "string_type": "is no text",
    "int_type": "is no whole number",
    "bool_type": "is neither true nor false",
    "tuple_type": "is no list",
    "json_invalid": "a text is no Unicode: it has half of a surrogate pair (as \\ud83d alone); mend it",
}


def _in_words(error: ValidationError) -> str:
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"]))
    said = _TYPES.get(problem["type"], problem["msg"])
    return f"{field!r} {said}" if field else said


#: How alike a name and a field's must be for it to be that field, misspelt: "labels", "hypotesis", not "task" for tags.
_MISSPELT = 0.8


def check_spelling(names: Iterable[str], known: Sequence[str]) -> None:
    """Raises ValueError where one of ``names`` is a misspelt one of ``known`` that is missing: none is passed over."""
    missing = set(known).difference(names)
    for name in set(names).difference(known):
        if close := difflib.get_close_matches(name.strip().lower(), sorted(missing), n=1, cutoff=_MISSPELT):
            raise ValueError(f"unknown field {name!r}; did you mean {close[0]!r}?")


E = TypeVar("E", bound=Example)

#: The confidence above which an answer is likelier than none.
EVEN = 0.5


class Format(ABC, Generic[E]):
    """What is the same of all tasks in a format. Facts without a value are for each format to say."""

    example: ClassVar[type[Example]]
    #: What the hub calls such models.
    pipeline_tag: ClassVar[str]
    #: Under which heading tables of results have such targets, as XTREME's leaderboard groups them.
    heading: ClassVar[str]
    #: Tokens of an example where it cannot be read: means over the English data sets of the format that are published
    #: in parts small enough to look at. Good to a factor of two.
    typical_tokens: ClassVar[float]
    #: Fields of a record to predict, * behind one that may be missing; () where models alone give no predictions.
    fields: ClassVar[tuple[str, ...]]
    #: Those of the fields that are lists of texts.
    lists: ClassVar[tuple[str, ...]] = ()
    #: Why its examples cannot be translated; None where they can.
    untranslatable: ClassVar[str | None]

    #: Whether entries have labels, whose order decides the class ids; and whether these may be left to the data.
    labelled: ClassVar[bool] = False
    open_labels: ClassVar[bool] = False
    #: Whether an example has many labels, so that those its model cannot know leave others to be scored.
    many_labels: ClassVar[bool] = False
    #: Plain text: nothing to score or to select by, mixed into other training.
    plain_text: ClassVar[bool] = False
    #: Reading comprehension, of which reports speak first.
    comprehension: ClassVar[bool] = False
    #: How sentences are compared by the vectors of some block where nothing is trained; None where a head must answer.
    comparison: ClassVar[str | None] = None
    #: A threshold is chosen on the dev data of each language that is evaluated.
    thresholds: ClassVar[bool] = False
    #: Most examples add nothing to a score, (0, 0), and are left out of its table.
    sparse: ClassVar[bool] = False
    #: An evaluation set is of single sentences, a few of which corpora repeat.
    single_sentences: ClassVar[bool] = False
    #: Long inputs are read in several windows, beside a question; else they are cut.
    windowed: ClassVar[bool] = False
    #: Inputs made of an example, where it cannot be read.
    inputs: ClassVar[int] = 1
    #: A metric that papers print beside the main one, and take the mean of both (XTREME: F1 and exact match).
    beside: ClassVar[str | None] = None
    #: Whether the n best predictions of an example can be told, each with its probability.
    n_best: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        forgotten = [name for name in Format.__annotations__ if not hasattr(cls, name)]
        if forgotten or inspect.isabstract(cls.example):
            missing = forgotten or sorted(cls.example.__abstractmethods__)
            raise TypeError(f"{cls.__name__}: a format must say its {', '.join(missing)}")

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the fields of a record."""
        return tuple(field.rstrip("*") for field in self.fields)

    @property
    def title(self) -> str:
        """For people."""
        return self.name.replace("_", " ")

    @abstractmethod
    def majority(self, examples: Sequence[E], task: Task) -> list[str]:
        """Predictions that read nothing: the same for every example, and as often right as such can be."""

    def teaches(self, examples: Sequence[E], task: Task) -> tuple[list[int], Task]:
        """Which of the English dev examples tell whether a training taught ``task``, and by what entry they are scored.

        All of them, as they are: see `xstilts.analysis.learnt`.
        """
        return list(range(len(examples))), task

    def blind(self, examples: Sequence[E], task: Task) -> list[str]:
        """Predictions that a training must beat to count as learnt: those of the majority class."""
        return self.majority(examples, task)

    @abstractmethod
    def score(self, examples: Sequence[E], predictions: Sequence[str], task: Task, language: str) -> Outcomes:
        """The outcomes of each example with gold, by metric; some are normalised by the rules of ``language``."""

    @abstractmethod
    def metrics(self, task: Task) -> tuple[str, ...]:
        """Of those that `score` gives, the ones that an entry may name as its main metric."""

    def faults(self, task: Task) -> Iterator[str]:
        """What is wrong with a catalog entry, for this format."""
        if task.labels_from_data and (not self.open_labels or task.labels or task.of):
            among = " and ".join(name for name in names() if get(name).open_labels)
            yield f"`labels_from_data` is for {among}, in place of `labels`, with `files`"
        elif self.labelled != (bool(task.labels) or task.labels_from_data):
            among = " and ".join(name for name in names() if get(name).labelled)
            yield f"`labels` must be given for {among}, and only there ({task.format})"
        elif task.labels:
            yield from _label_faults(task.labels)
        if task.label_map and not self.labelled:
            yield f"`label_map` is for formats with labels, not for {task.format}"
        elif task.labels and (strange := sorted(set(task.label_map.values()) - set(task.labels))):
            known = did_you_mean(strange[0], task.labels)
            yield f"`label_map` leads to {strange[0]!r}, which is none of `labels`; {known}"
        if task.metric not in self.metrics(task):
            known = ", ".join(self.metrics(task))
            yield f"`metric`: {self.title} tasks are scored by {known}, not by {task.metric!r}"

    def misfit(self, examples: Iterable[E], task: Task) -> str | None:
        """What is wrong with examples, each sound in itself, as those of ``task``; None where nothing is."""
        return None

    def compares(self, task: Task) -> bool:
        """Whether it is by the vectors of some block that ``task`` is answered: where nothing is trained."""
        return self.comparison is not None and task.training_task is None

    def labels_of(self, examples: Iterable[E]) -> set[str]:
        """All labels that their gold has."""
        return {str(example.gold_label) for example in examples if example.gold_label is not None}

    def cap(self, examples: Sequence[E], n: int, draw: int | None = None) -> list[E]:
        """At most ``n`` examples, in file order: those with the lowest sha256 of their id (and of ``draw``)."""
        if len(examples) <= n:
            return list(examples)
        kept = lowest([example.id for example in examples], n, draw)
        return [example for index, example in enumerate(examples) if index in kept]

    def shows_threshold(self, examples: Iterable[E]) -> bool:
        """Whether a threshold can be chosen on them."""
        return False

    def readable(self, example: E, prediction: str, task: Task, least: float = EVEN) -> str | list[str]:
        """A prediction as JSON has it for people; no answer where its `confidence` is below ``least``."""
        return prediction

    def confidence(self, prediction: str, task: Task) -> float | None:
        """How sure it is of its answer against there being none, 0 to 1; None where ``task`` always has one."""
        return None

    def abstentions(self, examples: Sequence[E], predictions: Sequence[str], task: Task) -> list[Abstention]:
        """What each of several thresholds of `confidence` comes to; nothing where ``task`` always has an answer."""
        return []

    def said(self, best: Sequence[Mapping[str, Any]], task: Task, least: float = EVEN) -> str:
        """What is predicted by a list of the n best, as `Head.best` decodes to it, where `n_best`."""
        raise TypeError(f"{self.name} has one prediction an example")

    def asked(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an example in a record to predict: those of `fields` that it has."""
        check_spelling(record, self.names)
        return {name: record[name] for name in self.names if name in record}

    def answered(self, example: E, readable: Any) -> Any:
        """What a call with one example gives, of its prediction as `readable` has it."""
        return readable

    def called(self, *given: Any) -> dict[str, Any]:
        """The record that a call with the values of `fields`, in their order, asks for. Raises TypeError."""
        if len(given) > len(self.fields):
            raise TypeError(f"at most {len(self.fields)} arguments: {', '.join(self.fields)} (* may be missing)")
        return dict(zip(self.names, given, strict=False))


def _label_faults(labels: Sequence[str]) -> Iterator[str]:
    if repeated := [label for label, count in Counter(labels).items() if count > 1]:
        yield f"`labels` has {repeated[0]!r} more than once; name each once"
    if len(set(labels)) < 2:
        yield "`labels` has one label only, which is always right; name two or more"
    if blank := [label for label in labels if not label.strip() or not label.isprintable()]:
        yield f"`labels` has {blank[0]!r}, which is blank or has characters that cannot be printed; write it in words"


@cache
def names() -> tuple[str, ...]:
    """Of all formats, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def get(name: str) -> Format:
    """The format of that name. Raises UserError where there is none."""
    if name not in names():
        raise UserError(f"unknown format {name!r}: {did_you_mean(name, names())}")
    return cast(Format, import_module(f"{__name__}.{name}").FORMAT)


def of(example: Example) -> Format:
    """The format that an example is in: the one beside its class."""
    return get(type(example).__module__.rpartition(".")[2])


def most_frequent(gold: Iterable[str]) -> str:
    """The first in the alphabet, if tied."""
    counts = Counter(gold)
    return min(counts, key=lambda each: (-counts[each], each), default="")


def lowest(ids: Sequence[str], n: int, draw: int | None = None) -> set[int]:
    """The places of the ``n`` ids with the lowest sha256: a sample that is the same in every run.

    Each number ``draw`` gives a sample of its own, by the hash of the number and the id.
    """
    salt = "" if draw is None else f"{draw} "
    return set(sorted(range(len(ids)), key=lambda index: sha256(salt + ids[index]))[:n])


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
