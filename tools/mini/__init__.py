"""The mini suite: small data sets in eleven languages that the project generates, so that nothing has to be fetched.

Facts are drawn from CLDR and from invented names, and written through templates of our own in every language. The data
sets mirror the formats of XTREME's tasks; they are not XTREME, and their scores say nothing about it. English has
train, dev and test; the other languages have test alone, with the same ids and the same facts. Plain text without
labels, for masked language modelling, there is in each. ``python -m tools.mini`` writes the files that xstilts reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product

from tools.mini import choices, pairs, retrieval, spans, tags, texts
from tools.mini.settings import LANGUAGES, VERSION
from xstilts.tasks.formats import Example

__all__ = ["DATASETS", "LANGUAGES", "VERSION", "generate", "parts"]

#: Data set → its generator, a function of split and language.
DATASETS: dict[str, Callable[[str, str], Sequence[Example]]] = {
    **{name: partial(spans.generate, name) for name in spans.KINDS},
    "nli": pairs.nli,
    "paraphrase": pairs.paraphrase,
    "choice": choices.generate,
    "pos": tags.pos,
    "entities": tags.entities,
    "retrieval": retrieval.generate,
    "text": texts.generate,
}


def parts() -> Iterator[tuple[str, str, str]]:
    """Data set, split and language of every part of the suite."""
    for dataset, split, language in product(DATASETS, ("train", "dev", "test"), LANGUAGES):
        match dataset:
            case "retrieval":  # nothing is trained on it, and it pairs the other languages with English
                there = split == "test" and language != "en"
            case "text":  # no labels to score
                there = split == "train"
            case _:
                there = split == "test" or language == "en"
        if there:
            yield dataset, split, language


@cache
def generate(dataset: str, split: str, language: str) -> tuple[Example, ...]:
    """The examples of a part of the suite, the same ones on every call and machine."""
    return tuple(DATASETS[dataset](split, language))
