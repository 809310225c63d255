"""Retrieval: sentences and their English translations, among near-duplicates that differ by a fact or two."""

from __future__ import annotations

from dataclasses import replace

from tools.mini.facts import RELATIONS, Draw
from tools.mini.settings import RETRIEVAL_GROUP, RETRIEVAL_GROUPS, VERSION
from tools.mini.templates import FORMS, join, state, text
from xstilts.tasks.formats.retrieval import RetrievalExample


def generate(split: str, language: str) -> list[RetrievalExample]:
    """Groups of texts about one entity: a first one, and others in which one of its two facts has another value."""
    draw = Draw(f"{VERSION}/retrieval/{split}", split)
    rng = draw.random
    examples: list[RetrievalExample] = []
    for group in range(RETRIEVAL_GROUPS):
        kind = sorted(RELATIONS)[group % len(RELATIONS)]
        first = draw.passage(kind, 1, 2)
        forms = [rng.randrange(FORMS) for _ in first]
        versions = [first]
        while len(versions) < RETRIEVAL_GROUP:
            changed = list(first)
            place = rng.randrange(len(first))
            changed[place] = replace(first[place], value=draw.other(first[place]))
            if changed not in versions:
                versions.append(changed)
        for facts in versions:
            source, target = (
                text(join((state(fact, form, lang) for fact, form in zip(facts, forms, strict=True)), lang))
                for lang in (language, "en")
            )
            examples.append(RetrievalExample(f"retrieval-{split}-{len(examples):04}", source, target))
    return examples
