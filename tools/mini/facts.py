"""Entities, values and facts, drawn by chance and free of any language, and how a value is written in a language."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache, lru_cache

from tools.mini import cldr, invented

#: Kind of subject → relation → kind of value. Each relation has one value at a time, so another value contradicts it.
RELATIONS = {
    "person": {
        "birth_city": "city",
        "home_city": "city",
        "birth_date": "date",
        "language": "language",
        "employer": "organisation",
    },
    "company": {"seat": "city", "plant": "city", "founded": "date", "market": "country", "currency": "currency"},
    "festival": {
        "venue": "city",
        "first_held": "date",
        "guest": "country",
        "language": "language",
        "tickets": "currency",
    },
    "traveller": {
        "departure": "city",
        "destination": "city",
        "day": "date",
        "sponsor": "organisation",
        "language": "language",
    },
}
#: What a subject is called by.
NAMED_AS = {"person": "person", "company": "organisation", "festival": "organisation", "traveller": "person"}

#: Long dates of CLDR, with the year's word in full in Russian, where a sentence may end after it.
DATES = {
    "en": "{month} {day}, {year}",
    "de": "{day}. {month} {year}",
    "es": "{day} de {month} de {year}",
    "ru": "{day} {month} {year} года",
    "zh": "{year}年{number}月{day}日",
    "ja": "{year}年{number}月{day}日",
}
PLAIN_DATE = "{day} {month} {year}"

#: French articles of the countries; those of languages are all masculine.
FRENCH_FEMININE = frozenset({"FR", "CO", "TH", "NO", "FI", "PL", "GR"})


@dataclass(frozen=True, slots=True)
class Value:
    """An entity or literal: ``code`` is a CLDR code, or what an invented name, a date or a number is made of."""

    kind: str
    code: str | int | tuple[int, int, int]
    first_name: tuple[str, ...] = ()

    @property
    def is_woman(self) -> bool:
        return self.first_name in invented.WOMEN


@dataclass(frozen=True, slots=True)
class Fact:
    """``subject`` stands in ``relation`` to ``value``; ``kind`` says which relations the subject has."""

    kind: str
    relation: str
    subject: Value
    value: Value


@lru_cache(maxsize=1 << 16)
def write(value: Value, language: str) -> str:
    """``value`` as it is written in ``language``, in citation form."""
    match value.kind, value.code:
        case "person", str(surname):
            return invented.full_name(value.first_name, surname, language)
        case "organisation", str(name):
            return invented.spell(name, language)
        case "date", (int(year), int(month), int(day)):
            pattern = DATES.get(language, PLAIN_DATE)
            name = cldr.names()["month"][str(month)][language]
            return pattern.format(year=year, month=name, number=month, day=day)
        case "number", number:
            return str(number)
        case kind, code:
            return cldr.names()[kind][str(code)][language]


def french_article(value: Value) -> str:
    """The definite article of a country or language in French, with the space where there is one."""
    if write(value, "fr")[0].lower() in "aeiouéî":
        return "l'"
    return "la " if value.code in FRENCH_FEMININE else "le "


@cache
def _codes(kind: str) -> list[str]:
    return sorted(cldr.names()[kind])


class Draw:
    """Draws entities, values and facts for one data set and split; the names are the split's own."""

    def __init__(self, seed: str, split: str):
        self.random = random.Random(seed)
        self.surnames, self.organisations = invented.pools(split)

    def values(self, kind: str, count: int, women: bool | None = None) -> list[Value]:
        """``count`` different values of one kind; people are women or men as asked, all of them alike."""
        rng = self.random
        if kind == "person":
            first_names = invented.WOMEN if women else invented.MEN
            names = zip(rng.sample(self.surnames, count), rng.sample(first_names, count), strict=True)
            return [Value(kind, surname, first) for surname, first in names]
        if kind == "organisation":
            return [Value(kind, name) for name in rng.sample(self.organisations, count)]
        if kind == "date":
            # From the 2nd on: the first of a month has its own form in French.
            days = rng.sample(range(60 * 12 * 27), count)
            return [Value(kind, (1950 + n // 324, n // 27 % 12 + 1, n % 27 + 2)) for n in days]
        if kind == "number":
            return [Value(kind, number) for number in rng.sample(range(5, 10), count)]
        return [Value(kind, code) for code in rng.sample(_codes(kind), count)]

    def subjects(self, kind: str, count: int) -> list[Value]:
        return self.values(NAMED_AS[kind], count, women=self.random.random() < 0.5)

    def passage(self, kind: str, entities: int, relations: int) -> list[Fact]:
        """Facts about ``entities`` of one kind, all with the same ``relations``, and all values of a kind different."""
        names = self.random.sample(sorted(RELATIONS[kind]), relations)
        subjects = self.subjects(kind, entities)
        return self.facts(kind, names, subjects)

    def facts(self, kind: str, relations: list[str], subjects: list[Value]) -> list[Fact]:
        """A fact for each relation and subject, with different values throughout, none of them a subject."""
        kinds = [RELATIONS[kind][relation] for relation in relations]
        count = len(subjects)
        stock = {
            each: [v for v in self.values(each, kinds.count(each) * count + count) if v not in subjects]
            for each in dict.fromkeys(kinds)
        }
        return [
            Fact(kind, relation, subject, stock[RELATIONS[kind][relation]].pop())
            for subject in subjects
            for relation in relations
        ]

    def other(self, fact: Fact) -> Value:
        """A value of the same kind as the fact's, but another."""
        return next(v for v in self.values(RELATIONS[fact.kind][fact.relation], 2) if v != fact.value)
