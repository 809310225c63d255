"""Contamination: what a chain of stages trains or is selected on must not be what it is scored on."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from xstilts.data.problems import count
from xstilts.tasks import formats
from xstilts.tasks.formats import Example, Trace

#: Questions and sentences of fewer words are alike by chance ("Who was he?").
MIN_WORDS = 5

#: Of the single sentences of an evaluation set, so many may stand in a training set: corpora repeat themselves. PAN-X's
#: own English train and dev sets share 2 %. More is no accident: the wrong file, or a corpus that holds the other.
SENTENCE_SHARE = 0.05

#: Scripts written without spaces; two of their letters count as a word.
_WORD = re.compile(r"\S+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


class TrainingSet(NamedTuple):
    """Examples that a chain trains or is selected on."""

    task: str
    split: str
    examples: Sequence[Example]
    language: str = "en"  # several are joined by "+"


class EvaluationSet(NamedTuple):
    """Examples that a chain is scored on."""

    target: str
    language: str
    examples: Sequence[Example]


class Key(NamedTuple):
    """A text to compare: what it is, its language, and the text as ``normalise`` leaves it."""

    kind: str  # passage | question | pair | prompt | sentence
    language: str
    text: str


@dataclass(frozen=True)
class Overlap:
    """What one training set and one evaluation set share."""

    task: str
    split: str
    target: str
    language: str
    evaluated: int  # examples in the evaluation set
    examples: int  # of these, that share an id or a text
    by_id: int  # of these, by id
    by_text: int  # of these, by text
    texts: dict[str, int]  # distinct texts shared, by kind
    first: str  # id of the first of these examples
    shared: str  # what it shares: its id, or the beginning of a text
    minor: bool  # a few single sentences, see SENTENCE_SHARE

    def __str__(self) -> str:
        texts = ", ".join(count(n, kind) for kind, n in self.texts.items())
        return (
            f"{self.task} {self.split} and {self.target} ({self.language})"
            f" share {self.examples:,} of {self.evaluated:,} examples"
            f" ({self.by_id:,} by id, {self.by_text:,} by text{': ' + texts if texts else ''}),"
            f" the first {self.first} ({self.shared})"
        )


@dataclass(frozen=True)
class Shared:
    """What a training set shares with all evaluation sets."""

    overlaps: tuple[Overlap, ...]  # in the order of the evaluation sets
    ids: frozenset[str]  # of the training examples to leave out, so that nothing is shared


@dataclass
class _Hit:
    """What an evaluated example has in common with a training set."""

    by_id: bool = False
    keys: dict[Key, None] = field(default_factory=dict)


#: An example of an evaluation set: the place of the set, and its own in it.
Place = tuple[int, int]


class Index:
    """The evaluation sets of a study, read once, to compare any number of training sets with.

    Ids are compared across languages, since parallel corpora share them; ids of digits alone are row numbers, which
    say nothing outside their file, and are not. Texts are compared within a language, after NFKC and case folding
    and without punctuation and white space, so that neither tokenisation nor quotation marks hide a match: whole
    passages; questions, sentences, and single texts to classify, of at least five words; pairs of texts to
    classify, in either order; a prompt together with its choices. The English side of a retrieval pair is English.
    Of a pair of languages such as de-en, the passage is in the first and the question in the second.

    An overlap is ``minor`` where the evaluation set is one of single sentences (tagging, retrieval, mining), nothing
    is shared by id, and at most ``SENTENCE_SHARE`` of the set, or one sentence, is shared.
    """

    def __init__(self, evaluation: Iterable[EvaluationSet]) -> None:
        self._sets = tuple(evaluation)
        self._normalise = _Normaliser()
        self._by_id: dict[str, list[Place]] = {}
        self._by_key: dict[Key, list[Place]] = {}
        for n, (_, language, examples) in enumerate(self._sets):
            for m, example in enumerate(examples):
                if not example.id.isdecimal():
                    self._by_id.setdefault(example.id, []).append((n, m))
                for _, key in self._traces(example, language):
                    self._by_key.setdefault(key, []).append((n, m))

    def compare(self, training: TrainingSet) -> Shared:
        """What ``training`` shares, and without which of its examples it would share nothing.

        Of a passage on which one question is shared, all the questions are to go.
        """
        hits: dict[Place, _Hit] = {}
        ids: set[str] = set()
        passages: set[str] = set()
        for example in training.examples:
            same_id = self._by_id.get(example.id, [])
            same_text = [key for key in self._keys_of(example, training.language) if key in self._by_key]
            if not same_id and not same_text:
                continue
            ids.add(example.id)
            passages |= _passages(example)
            for place in same_id:
                hits.setdefault(place, _Hit()).by_id = True
            for key in same_text:
                for place in self._by_key[key]:
                    hits.setdefault(place, _Hit()).keys[key] = None
        if passages:
            ids |= {example.id for example in training.examples if _passages(example) & passages}
        by_set: dict[int, dict[int, _Hit]] = {}
        for n, m in sorted(hits):
            by_set.setdefault(n, {})[m] = hits[n, m]
        return Shared(tuple(self._overlap(training, n, found) for n, found in by_set.items()), frozenset(ids))

    def _keys_of(self, example: Example, languages: str) -> Iterator[Key]:
        first, *others = languages.split("+")
        for _, key in self._traces(example, first):
            yield key
            yield from (key._replace(language=other) for other in others)

    def _traces(self, example: Example, language: str) -> Iterator[tuple[Trace, Key]]:
        """What an example is known by, but for what few words say."""
        for trace in example.traces(language):
            if not trace.by_chance or all(map(_long, trace.texts)):
                text = [*map(self._normalise, trace.texts), *sorted(map(self._normalise, trace.any_order))]
                yield trace, Key(trace.kind, trace.language, "\t".join(text))

    def _shown(self, example: Example, language: str, key: Key) -> str:
        """The beginning of the text that is shared by ``key``."""
        trace = next(trace for trace, own in self._traces(example, language) if own == key)
        text, *_ = trace.texts + trace.any_order
        return f"{trace.kind} {text if len(text) <= 60 else text[:59] + '…'!r}"

    def _overlap(self, training: TrainingSet, n: int, found: dict[int, _Hit]) -> Overlap:
        target, language, examples = self._sets[n]
        place, hit = next(iter(found.items()))
        first = examples[place]
        by_id = sum(each.by_id for each in found.values())
        texts = Counter(kind for kind, *_ in {key for each in found.values() for key in each.keys})
        few = len(found) <= max(1, SENTENCE_SHARE * len(examples))
        return Overlap(
            training.task, training.split, target, language, len(examples), len(found), by_id,
            sum(bool(each.keys) for each in found.values()), dict(sorted(texts.items())), first.id,
            "id" if hit.by_id else self._shown(first, language, next(iter(hit.keys))),
            minor=few and not by_id and formats.of(first).single_sentences,
        )  # fmt: skip


def _passages(example: Example) -> set[str]:
    """Those that it is about, one or none."""
    return {text for trace in example.traces("en") if trace.kind == "passage" for text in trace.texts}


def _long(text: str) -> bool:
    found = (any(map(str.isalnum, word[0])) for word in _WORD.finditer(text))
    words = sum(1 for _ in islice(filter(None, found), MIN_WORDS))  # of a book, few are looked at
    return words >= MIN_WORDS or words + len(_UNSPACED.findall(text)) // 2 >= MIN_WORDS


class _Normaliser:
    """``normalise`` of the comparison, remembering its last text: the questions of a passage follow one another."""

    def __init__(self) -> None:
        self._table = _Dropped()
        self._last = ("", "")

    def __call__(self, text: str) -> str:
        if text != self._last[0]:
            self._last = (text, unicodedata.normalize("NFKC", text).casefold().translate(self._table))
        return self._last[1]


class _Dropped(dict[int, int | None]):
    """A translation table that drops punctuation and white space, and learns each character when it meets it."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        self[code] = None if category[0] in "PZ" or category in ("Cc", "Cf") else code
        return self[code]
