"""Which examples share a text, such as the questions on one passage: together they say less than as many apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from xstilts.tasks.formats import Example


def clusters(sets: Mapping[str, Sequence[Example]]) -> dict[str, str]:
    """Of the examples of a test by language, those that share their `group`: id → the lowest id among them.

    Examples that stand alone are left out. In parallel tests an example has the same id in all languages, and its
    cluster is the same too: two ids are of one cluster where they share a text in at least half of the languages that
    have both, or by a chain of such. So a language may lack some of a passage's questions, as in MLQA, and texts that
    are alike by chance in one language, under row numbers that mean something else in the others, join nothing.
    """
    of_language = {language: {one.id: one.group for one in examples} for language, examples in sets.items()}
    links: set[tuple[str, str]] = set()
    for texts in of_language.values():
        sharing: dict[str, list[str]] = defaultdict(list)
        for id, text in texts.items():
            sharing[text].append(id)
        for ids in sharing.values():
            links.update(pairwise(sorted(ids)))
    lowest = {id: id for link in links for id in link}  # towards the lowest id of each cluster

    def found(id: str) -> str:
        while lowest[id] != id:
            lowest[id] = id = lowest[lowest[id]]
        return id

    for one, other in sorted(links):
        both = [texts for texts in of_language.values() if one in texts and other in texts]
        if 2 * sum(texts[one] == texts[other] for texts in both) >= len(both):
            first, last = sorted((found(one), found(other)))
            lowest[last] = first
    cluster = {id: found(id) for id in lowest}
    several = {first for id, first in cluster.items() if id != first}
    return {id: first for id, first in cluster.items() if first in several}
