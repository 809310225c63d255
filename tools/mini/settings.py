"""The knobs of the mini suite, in one place. A change here needs a new ``VERSION``."""

from __future__ import annotations

VERSION = "2"

LANGUAGES = ("en", "de", "es", "fr", "ru", "tr", "ar", "hi", "zh", "sw", "ja")

#: Languages written without spaces: sentences are joined by nothing, and entities are tagged by character.
SPACELESS = frozenset({"zh", "ja"})

#: Examples in a split; the test counts are per language.
SIZES = {"train": 2000, "dev": 200, "test": 120}

#: Shapes of a passage, as (entities, facts about each). With more than one entity, all have the same relations, so that
#: an answer's type leaves as many candidates as there are entities: an encoder then needs some 2,000 examples before it
#: does better than to guess, if passages are as long as (3, 2). These teach something in the quickstart's 440.
PASSAGES = ((1, 2), (1, 3), (1, 3), (2, 1))

#: One question in this many asks what its passage does not say, in `span_unanswerable`.
UNANSWERABLE_EVERY = 3

#: Entities and facts of each in a premise of `nli`.
PREMISE = (2, 2)

CHOICES = 4

#: Retrieval: groups of sentences about one entity, which differ in a fact or two.
RETRIEVAL_GROUPS = 50
RETRIEVAL_GROUP = 6

#: Share of the invented names that only dev, and only test, may use; train has the rest.
DEV_NAMES = 0.1
TEST_NAMES = 0.2
