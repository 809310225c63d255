"""Examples of every format in another language; the engine here is a dictionary, so that what it gives is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.common.errors import UserError
from xstilts.common.progress import Event
from xstilts.data.translation import Translations, translate
from xstilts.data.translation.by_engine import EMPTY, NOT_FOUND
from xstilts.tasks.formats import Example
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.multiple_choice import SAME_CHOICES, MultipleChoiceExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample
from xstilts.tasks.formats.tagging import TaggingExample


class Dictionary:
    """An engine that knows the texts it is given, and says so in capitals of the others."""

    name = "dictionary"
    languages = ("pt",)

    def __init__(self, known: dict[str, str] | None = None):
        self.known = known or {}
        self.asked: list[str] = []

    def id(self, language: str) -> str:
        if language not in self.languages:
            raise UserError(f"no {language}")
        return "dictionary 1"

    def translate(self, texts: Sequence[str], language: str) -> list[str]:
        self.asked += texts
        return [self.known.get(text, text.upper()) for text in texts]


PASSAGE = SpanExample("q1", "The cat sat. It was 3 years old.", "How old?", (GoldAnswer("3 years old", 20),))


def test_texts_are_translated_and_the_rest_stays() -> None:
    examples: list[Example] = [
        ClassificationExample("a", "It rains. It pours.", "It is wet.", "entailment"),
        ClassificationExample("b", "It rains.", None, None),
        MultipleChoiceExample("c", "What falls?", ("rain", "12"), 0),
    ]
    engine = Dictionary({"It rains.": "Chove.", "rain": "chuva"})
    assert translate(examples, engine, "pt") == Translations(
        [
            ClassificationExample("a", "Chove. IT POURS.", "IT IS WET.", "entailment"),
            ClassificationExample("b", "Chove.", None, None),
            MultipleChoiceExample("c", "WHAT FALLS?", ("chuva", "12"), 0),
        ],
        {},
    )
    assert len(engine.asked) == len(set(engine.asked)) == 5, "each sentence once, numbers not at all"


def test_answers_are_found_in_the_translation_of_their_sentence() -> None:
    engine = Dictionary(
        {
            "The cat sat.": "O gato de 3 anos estava sentado.",
            "It was 3 years old.": "Tinha 3 anos de idade.",
            "3 years old": "3 anos",
            "How old?": "Que idade?",
        }
    )
    (example,) = translate([PASSAGE], engine, "pt").examples
    context = "O gato de 3 anos estava sentado. Tinha 3 anos de idade."
    assert example == SpanExample("q1", context, "Que idade?", (GoldAnswer("3 anos", 39),))


def test_a_name_that_stays_english_is_found() -> None:
    source = SpanExample("q", "They saw Blue Ivy there.", "Whom?", (GoldAnswer("Blue Ivy", 9),))
    engine = Dictionary({"They saw Blue Ivy there.": "Viram Blue Ivy lá.", "Blue Ivy": "hera azul"})
    (example,) = translate([source], engine, "pt").examples
    assert isinstance(example, SpanExample) and example.answers == (GoldAnswer("Blue Ivy", 6),)


def test_what_cannot_be_carried_over_is_left_out_and_counted() -> None:
    lost = SpanExample("lost", "The cat sat.", "Who?", (GoldAnswer("cat", 4),))
    silent = ClassificationExample("silent", "It rains.", "Nothing comes of this.", "neutral")
    alike = MultipleChoiceExample("alike", "Where?", ("house", "home", "road"), 1)
    unlike = MultipleChoiceExample("unlike", "Where?", ("house", "home", "road"), 2)
    engine = Dictionary(
        {"The cat sat.": "Um felino.", "cat": "gato", "Nothing comes of this.": "", "house": "casa", "home": "casa"}
    )
    translated = translate([lost, silent, alike, unlike], engine, "pt")
    assert [example.id for example in translated.examples] == ["unlike"]
    assert translated.dropped == {NOT_FOUND: 1, EMPTY: 1, SAME_CHOICES: 1}


def test_questions_without_an_answer_keep_having_none() -> None:
    source = SpanExample("q", "The cat sat.", "Why?", ())
    (example,) = translate([source], Dictionary(), "pt").examples
    assert example == SpanExample("q", "THE CAT SAT.", "WHY?", ())


def test_tags_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"^tagging cannot be translated, only answer_retrieval, classification, multiple_choice, span"
    ):
        translate([TaggingExample("1", ("The", "cat"), ("DET", "NOUN"))], Dictionary(), "pt")


def test_an_unknown_language_is_refused_before_anything_is_translated() -> None:
    engine = Dictionary()
    with pytest.raises(UserError, match="no de"):
        translate([PASSAGE], engine, "de")
    assert engine.asked == []


def test_progress_counts_texts() -> None:
    told: list[Event] = []
    translate([PASSAGE], Dictionary(), "pt", told.append)
    assert told == [Event(done=4, steps=4)]


class Scrambler(Dictionary):
    """An engine that drops, repeats, reorders and replaces words, as its seed has it."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def translate(self, texts: Sequence[str], language: str) -> list[str]:
        return [" ".join(self._words(text)) for text in texts]

    def _words(self, text: str) -> list[str]:
        return [
            piece
            for n, word in enumerate(text.split())
            for piece in ([word], [word, "de"], [], [word.title()], [f"{word}s,"])[
                (self.seed + len(text)) * (n + 3) % 5
            ]
        ]


SENTENCES = st.lists(
    st.sampled_from(["The cat", "in 1984", "sat.", "New York", "(a)", "“Go!”", "$5", "\n"]), min_size=1, max_size=12
)


@given(st.lists(st.tuples(SENTENCES, st.integers(0, 40), st.integers(1, 12)), max_size=4), st.integers(0, 1000))
def test_answers_are_always_text_of_their_context(drawn: list[tuple[list[str], int, int]], seed: int) -> None:
    sources = []
    for number, (pieces, start, length) in enumerate(drawn):
        context = " ".join(pieces)
        start = start % len(context)
        text = context[start : start + length]
        sources.append(SpanExample(str(number), context, "Who was it?", (GoldAnswer(text, start),)))
    engine = Scrambler(seed)
    translated = translate(sources, engine, "pt")
    assert len(translated.examples) + sum(translated.dropped.values()) == len(sources)
    ids = [example.id for example in translated.examples]
    assert ids == sorted(ids, key=int)
    for example in translated.examples:
        assert isinstance(example, SpanExample) and example.answers
        for answer in example.answers:
            assert answer.text
            assert example.context[answer.start : answer.start + len(answer.text)] == answer.text
