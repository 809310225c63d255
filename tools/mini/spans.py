"""Span questions: passages on two or three entities with the same relations, of which one is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tools.mini.facts import RELATIONS, Draw, Fact
from tools.mini.settings import PASSAGES, SIZES, UNANSWERABLE_EVERY, VERSION
from tools.mini.templates import FORMS, ask, join, span_of, state, text
from xstilts.tasks.formats.span import GoldAnswer, SpanExample

#: The kinds of entity that a data set speaks of.
KINDS = {
    "span": ("person", "company"),
    "span_paraphrased": ("traveller", "festival"),
    "span_unanswerable": ("person", "company"),
}

#: Of which only the passages are used; see `texts`.
PASSAGES_ONLY = {"text": ("traveller", "festival")}


@dataclass(frozen=True)
class _Drawn:
    """A question of no language: what the passage says, in which wordings, and what is asked in which."""

    facts: list[Fact]
    forms: list[int]
    asked: Fact
    form: int
    answerable: bool


def generate(dataset: str, split: str, language: str) -> list[SpanExample]:
    examples = []
    for number, drawn in enumerate(_drawn(dataset, split)):
        stated = (state(fact, form, language) for fact, form in zip(drawn.facts, drawn.forms, strict=True))
        context = join(stated, language)
        answers = (GoldAnswer(*span_of(drawn.asked.value, context)),) if drawn.answerable else ()
        question = ask(drawn.asked, drawn.form, language)
        examples.append(SpanExample(f"{dataset}-{split}-{number:04}", text(context), question, answers))
    return examples


@cache
def _drawn(dataset: str, split: str) -> list[_Drawn]:
    draw = Draw(f"{VERSION}/{dataset}/{split}", split)
    rng = draw.random
    questions = []
    for number in range(SIZES[split]):
        kind = (KINDS | PASSAGES_ONLY)[dataset][number % 2]
        entities, relations = rng.choice(PASSAGES)
        facts = draw.passage(kind, entities, relations)
        rng.shuffle(facts)
        forms = [rng.randrange(FORMS) for _ in facts]
        asked, form = rng.choice(facts), rng.randrange(FORMS)
        answerable = True
        if dataset == "span_unanswerable":
            answerable = rng.randrange(UNANSWERABLE_EVERY) > 0
            asked = asked if answerable else _unsaid(draw, kind, facts)
        questions.append(_Drawn(facts, forms, asked, form, answerable))
    return questions


def _unsaid(draw: Draw, kind: str, facts: list[Fact]) -> Fact:
    """A fact that the passage leaves out: another relation of its entities, or of an entity it does not name."""
    rng = draw.random
    said = {fact.relation for fact in facts}
    if rng.random() < 0.5:
        relation = rng.choice(sorted(RELATIONS[kind].keys() - said))
        subject = rng.choice(facts).subject
    else:
        relation = rng.choice(sorted(said))
        named = {fact.subject for fact in facts}
        subject = next(each for each in draw.subjects(kind, len(named) + 1) if each not in named)
    return draw.facts(kind, [relation], [subject])[0]
