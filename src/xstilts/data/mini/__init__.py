"""The mini suite: small data sets in eleven languages that the project generates, so that nothing has to be fetched.

Facts are drawn from CLDR and from invented names, and written through templates of our own in every language. The data
sets mirror the formats of XTREME's tasks; they are not XTREME, and their scores say nothing about it. English has
train, dev and test; the other languages have test alone, with the same ids and the same facts. Plain text without
labels, for masked language modelling, there is in each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

from xstilts.common.errors import UserError, did_you_mean
from xstilts.data.mini import choices, pairs, retrieval, spans, tags, texts
from xstilts.data.mini.settings import LANGUAGES, VERSION
from xstilts.tasks.formats import Example

__all__ = ["DATASETS", "LANGUAGES", "VERSION", "generate"]

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
SPLITS = ("train", "dev", "test")


def generate(dataset: str, split: str, language: str) -> list[Example]:
    """The examples of a split in a language, the same ones on every call and machine.

    Raises UserError for a data set, split or language that the suite does not have.
    """
    for what, word, known in (
        ("data set", dataset, DATASETS),
        ("split", split, SPLITS),
        ("language", language, LANGUAGES),
    ):
        if word not in known:
            raise UserError(f"mini suite: unknown {what} {word!r}: {did_you_mean(word, known)}")
    if dataset == "retrieval":
        if split != "test":
            raise UserError(f"mini suite: retrieval has no {split} split, only test: nothing is trained on it")
        if language == "en":
            raise UserError("mini suite: retrieval pairs other languages with English: leave en out")
    elif dataset == "text":
        if split != "train":
            raise UserError(f"mini suite: text has no {split} split, only train: it has no labels to score")
    elif split != "test" and language != "en":
        raise UserError(f"mini suite: {dataset} has {split} data in English only, not in {language!r}: use test")
    return list(_generate(dataset, split, language))


@cache
def _generate(dataset: str, split: str, language: str) -> tuple[Example, ...]:
    return tuple(DATASETS[dataset](split, language))
