"""English examples in another language, by a translation engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from xstilts.common.errors import UserError
from xstilts.data.examples import Example
from xstilts.data.sentences import Sentence, join, split
from xstilts.data.translation import spans
from xstilts.data.translation.engines import Engine
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.span import Answer, SpanExample

#: Goes up when cutting, joining or finding answers changes what the same translations give.
VERSION = 1

#: The formats whose examples can be translated: tags do not survive it, and on retrieval nothing is trained.
TRANSLATABLE = ("classification", "multiple_choice", "span")

#: Texts that an engine is given at a time.
CHUNK = 1000

#: Why an example is left out.
EMPTY = "the engine gave nothing for a text"
NOT_FOUND = "its answer was not found in the translation"
SAME_CHOICES = "its right choice reads as another one"

#: Called with the number of texts that are translated, and of all of them.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Translated:
    """Translated examples, under the ids of their sources and in their order; and how many were left out, by reason."""

    examples: list[Example]
    dropped: dict[str, int]

    @classmethod
    def of(cls, each: Iterable[Example | str]) -> Translated:
        """From each example in turn, or why it is left out."""
        examples: list[Example] = []
        dropped: Counter[str] = Counter()
        for one in each:
            if isinstance(one, str):
                dropped[one] += 1
            else:
                examples.append(one)
        return cls(examples, dict(dropped))


def translate(
    examples: Sequence[Example], engine: Engine, language: str, progress: Progress | None = None
) -> Translated:
    """``examples``, which are English, in ``language``.

    Passages are translated sentence by sentence. A span's answers are found again in the translation of the sentence
    that they stand in (``xstilts.data.translation.spans``): every answer of the result is its context's text at its
    offset. An example of which this cannot be said is left out. Raises UserError for tagging, whose tags do not survive
    translation, and for a language that the engine does not know.
    """
    return Translated.of(translate_each(examples, engine, language, progress))


def translate_each(
    examples: Sequence[Example], engine: Engine, language: str, progress: Progress | None = None
) -> list[Example | str]:
    """As `translate`: for each example its translation, or why there is none."""
    engine.id(language)
    texts = (text for example in examples for text in _texts(example))
    memory = _Memory(texts, engine, language, progress)
    return [_translated(example, memory) for example in examples]


def _texts(example: Example) -> tuple[str, ...]:
    match example:
        case ClassificationExample(premise=premise, hypothesis=hypothesis):
            return (premise,) if hypothesis is None else (premise, hypothesis)
        case MultipleChoiceExample(prompt=prompt, choices=choices):
            return (prompt, *choices)
        case SpanExample(context=context, question=question, answers=answers):
            return (context, question, *(answer.text for answer in answers))
    kind = type(example).__name__.removesuffix("Example").lower()
    raise UserError(f"{kind} cannot be translated, only {', '.join(TRANSLATABLE)}: tags do not survive it")


class _Memory:
    """What the engine makes of each sentence of some texts, each translated once. What has no letter stays as it is."""

    def __init__(self, texts: Iterable[str], engine: Engine, language: str, progress: Progress | None):
        self._language = language
        self._known: dict[str, str] = {}
        self._passages: dict[str, _Passage] = {}
        sentences = dict.fromkeys(sentence.text for text in texts for sentence in split(text))
        wanted = [text for text in sentences if any(map(str.isalpha, text))]
        for start in range(0, len(wanted), CHUNK):
            chunk = wanted[start : start + CHUNK]
            self._known.update(zip(chunk, engine.translate(chunk, language), strict=True))
            if progress is not None:
                progress(len(self._known), len(wanted))

    def passage(self, text: str) -> _Passage:
        if text not in self._passages:
            sentences = split(text)
            translations = [self._known.get(sentence.text, sentence.text) for sentence in sentences]
            whole, starts = join(sentences, translations, self._language)
            complete = all(given for one, given in zip(sentences, translations, strict=True) if one.text)
            self._passages[text] = _Passage(whole, sentences, translations, starts, complete)
        return self._passages[text]

    def text(self, text: str) -> str:
        return self.passage(text).whole


@dataclass(frozen=True, slots=True)
class _Passage:
    """A translated text, and its sentences: the original's, their translations, and where these start in the whole."""

    whole: str
    sentences: list[Sentence]
    translations: list[str]
    starts: list[int]
    complete: bool  # no sentence's translation is empty


def _carried(example: SpanExample, answer: Answer, memory: _Memory) -> Answer | None:
    """An answer in the translation of the sentence (or sentences) that it stands in; None where it is not found.

    It is looked for as the engine translates it alone, then as it is in English (names and titles often stay), first
    word for word, then in words much alike.
    """
    passage = memory.passage(example.context)
    end = answer.start + len(answer.text)
    inside = [n for n, one in enumerate(passage.sentences) if one.start < end and answer.start < one.end]
    if not inside:
        return None
    start, stop = passage.sentences[inside[0]].start, passage.sentences[inside[-1]].end
    offset = passage.starts[inside[0]]
    text = passage.whole[offset : passage.starts[inside[-1]] + len(passage.translations[inside[-1]])]
    position = (answer.start - start) / (stop - start)
    candidates = [memory.text(answer.text), answer.text]
    found = spans.find_exact(candidates, text, position) or spans.find_alike(candidates, text, position)
    if found is None:
        return None
    first, last = spans.with_edges(found, text, answer.text)
    return Answer(text[first:last], offset + first)


def _translated(example: Example, memory: _Memory) -> Example | str:
    if not all(memory.passage(text).complete for text in _texts(example)):
        return EMPTY
    match example:
        case ClassificationExample(premise=premise, hypothesis=hypothesis):
            second = None if hypothesis is None else memory.text(hypothesis)
            return replace(example, premise=memory.text(premise), hypothesis=second)
        case MultipleChoiceExample(prompt=prompt, choices=choices, label=label):
            translated = tuple(map(memory.text, choices))
            if label is not None and translated.count(translated[label]) > choices.count(choices[label]):
                return SAME_CHOICES
            return replace(example, prompt=memory.text(prompt), choices=translated)
        case SpanExample(context=context, question=question, answers=answers):
            found = [_carried(example, answer, memory) for answer in answers]
            kept = tuple(dict.fromkeys(answer for answer in found if answer is not None))
            if answers and not kept:
                return NOT_FOUND
            return replace(example, context=memory.text(context), question=memory.text(question), answers=kept)
    raise AssertionError("_texts has refused it")
