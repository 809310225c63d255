"""Mining: find the pairs of sentences in two corpora that translate each other (BUCC 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from xstilts.tasks.formats import Example, Format, GoldAnswer, Outcomes, Trace, lowest
from xstilts.tasks.task import Task

#: The prediction for a sentence whose translation is not there.
NONE = "-"
#: Between the ids of a prediction: they come from a table whose columns it parts, so that none holds it.
SEPARATOR = "\t"


@dataclass(frozen=True, slots=True)
class MiningExample(Example):
    """A sentence of one of two corpora in which translations are to be found.

    ``translations`` are the ids of the English sentences that translate a sentence of the other language; None
    without gold, and for English ones.
    """

    text: str
    english: bool
    translations: tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def group(self) -> str:
        return self.text

    @property
    def has_gold(self) -> bool:
        return self.english or self.translations is not None

    @property
    def wants_gold(self) -> bool:
        """Gold is of the other language's sentences."""
        return not self.english

    @property
    def fault(self) -> str | None:
        return "translations of an English sentence" if self.english and self.translations is not None else None

    def traces(self, language: str) -> Iterator[Trace]:
        yield Trace("sentence", "en" if self.english else language, (self.text,), by_chance=True)

    def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> MiningExample:
        return replace(self, text=texts[0])


def pairs(examples: Sequence[MiningExample], predictions: Sequence[str]) -> list[tuple[str, str]]:
    """The mined pairs of ids, foreign and English, by the chosen block: what BUCC's submission files hold."""
    partners = (prediction.split(SEPARATOR, 1)[0] for prediction in predictions)
    return [(example.id, id) for example, id in zip(examples, partners, strict=True) if id != NONE]


class Mining(Format[MiningExample]):
    example = MiningExample
    pipeline_tag = "feature-extraction"
    heading = "Retrieval"
    typical_tokens = 40.0
    fields = ()
    untranslatable = "nothing is trained on it"
    comparison = "ratio margin"
    thresholds = True
    sparse = True
    single_sentences = True

    def metrics(self, task: Task) -> tuple[str, ...]:
        return ("f1", "f1@dev")

    def majority(self, examples: Sequence[MiningExample], task: Task) -> list[str]:
        raise TypeError("nothing is trained on sentences to compare")

    def score(
        self, examples: Sequence[MiningExample], predictions: Sequence[str], task: Task, language: str
    ) -> Outcomes:
        """F1 of the mined pairs: ``f1`` by the chosen block, ``f1@n`` by block n, ``f1@dev`` by the block best on dev.

        An English sentence, and one that neither has a translation nor was given one, adds nothing: (0, 0).
        """
        width = max((prediction.count(SEPARATOR) + 1 for prediction in predictions), default=0)
        columns: list[list[tuple[float, float]]] = [[] for _ in range(width)]
        for example, prediction in zip(examples, predictions, strict=True):
            gold = set(example.translations or ())
            ids = [NONE] * width if example.english else prediction.split(SEPARATOR)
            for outcomes, id in zip(columns, ids, strict=True):
                outcomes.append((2.0 * (id in gold), float(len(gold) + (id != NONE))))
        names = ["f1", "f1@dev", *(f"f1@{block}" for block in range(width - 2))]
        return dict(zip(names, columns, strict=True))

    def cap(self, examples: Sequence[MiningExample], n: int, draw: int | None = None) -> list[MiningExample]:
        """Two corpora of which pairs and single sentences are left in the same proportion: ``n`` of the foreign ones.

        With each of these come its translations, and of the English sentences that translate none as large a share.
        The first ``n`` sentences of each side would have hardly a pair between them.
        """
        foreign = [example for example in examples if not example.english]
        if len(foreign) <= n:
            return list(examples)
        places = lowest([example.id for example in foreign], n, draw)
        kept = [example for index, example in enumerate(foreign) if index in places]
        partners, all_partners = ({id for one in some for id in one.translations or ()} for some in (kept, foreign))
        singles = [example for example in examples if example.english and example.id not in all_partners]
        places = lowest([example.id for example in singles], round(len(singles) * n / len(foreign)), draw)
        ids = partners | {example.id for index, example in enumerate(singles) if index in places}
        return [*kept, *(example for example in examples if example.english and example.id in ids)]

    def shows_threshold(self, examples: Iterable[MiningExample]) -> bool:
        """By gold pairs."""
        return any(example.translations for example in examples)


FORMAT = Mining()
