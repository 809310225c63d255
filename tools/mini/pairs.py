"""Pairs of texts: inference (`nli`) and paraphrases with swapped roles (`paraphrase`)."""

from __future__ import annotations

from dataclasses import replace

from tools.mini.facts import RELATIONS, Draw
from tools.mini.settings import PREMISE, SIZES, VERSION
from tools.mini.templates import FORMS, fill, join, load, state, text
from xstilts.tasks.formats.classification import ClassificationExample

NLI_LABELS = ("entailment", "neutral", "contradiction")

#: Event → slot → kind of value, and the two slots whose swap changes the meaning.
EVENTS = {
    "flight": {"p": "person", "a": "city", "b": "city", "d": "date"},
    "purchase": {"a": "organisation", "b": "organisation", "d": "date"},
    "letter": {"a": "person", "b": "person", "c": "city"},
    "age": {"a": "person", "b": "person", "n": "number"},
}
WORDINGS = 3  # of an event


def nli(split: str, language: str) -> list[ClassificationExample]:
    """Premises with two facts about each of two entities. A hypothesis restates one in other words, gives it another
    value (contradiction; half of the time the other entity's), or speaks of a relation that the premise leaves out."""
    draw = Draw(f"{VERSION}/nli/{split}", split)
    rng = draw.random
    examples = []
    for number in range(SIZES[split]):
        facts = draw.passage(rng.choice(("person", "company", "festival", "traveller")), *PREMISE)
        rng.shuffle(facts)
        forms = [rng.randrange(FORMS) for _ in facts]
        place = rng.randrange(len(facts))
        fact, form = facts[place], 1 - forms[place]
        label = NLI_LABELS[number % len(NLI_LABELS)]
        if label == "contradiction":
            rival = next(each for each in facts if each.relation == fact.relation and each != fact)
            fact = replace(fact, value=rival.value if rng.random() < 0.5 else draw.other(fact))
        elif label == "neutral":
            said = {each.relation for each in facts}
            relation = rng.choice(sorted(RELATIONS[fact.kind].keys() - said))
            fact = draw.facts(fact.kind, [relation], [fact.subject])[0]
        premise = join((state(each, said, language) for each, said in zip(facts, forms, strict=True)), language)
        hypothesis = text(state(fact, form, language))
        examples.append(ClassificationExample(f"nli-{split}-{number:04}", text(premise), hypothesis, label))
    return examples


def paraphrase(split: str, language: str) -> list[ClassificationExample]:
    """Two wordings of an event; label 1 when they say the same, 0 when the second swaps two roles (as in PAWS)."""
    draw = Draw(f"{VERSION}/paraphrase/{split}", split)
    rng = draw.random
    examples = []
    for number in range(SIZES[split]):
        event = rng.choice(sorted(EVENTS))
        slots = EVENTS[event]
        women = rng.random() < 0.5
        kinds = list(dict.fromkeys(slots.values()))
        stock = {kind: draw.values(kind, list(slots.values()).count(kind), women) for kind in kinds}
        fills = {slot: stock[kind].pop() for slot, kind in slots.items()}
        first, second = rng.sample(range(WORDINGS), 2)
        same = number % 2 == 0
        swapped = fills if same else {**fills, "a": fills["b"], "b": fills["a"]}
        wordings = load(language)["events"][event]
        examples.append(
            ClassificationExample(
                f"paraphrase-{split}-{number:04}",
                fill(wordings[first], language, **fills),
                fill(wordings[second], language, **swapped),
                "1" if same else "0",
            )
        )
    return examples
