"""English examples in another language, by a translation engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xstilts.common.errors import UserError
from xstilts.common.progress import Event, Sink, silent
from xstilts.data.sentences import Sentence, join, split
from xstilts.data.translation import spans
from xstilts.data.translation.engines import Engine
from xstilts.tasks import formats
from xstilts.tasks.formats import Example, GoldAnswer

#: Goes up when cutting, joining or finding answers changes what the same translations give.
VERSION = 1

#: Texts that an engine is given at a time.
CHUNK = 1000

#: Why an example is left out.
EMPTY = "the engine gave nothing for a text"
NOT_FOUND = "its answer was not found in the translation"


@dataclass(frozen=True)
class Translations:
    """Translated examples, under the ids of their sources and in their order; and how many were left out, by reason."""

    examples: list[Example]
    dropped: dict[str, int]

    @classmethod
    def of(cls, each: Iterable[Example | str]) -> Translations:
        """From each example in turn, or why it is left out."""
        examples: list[Example] = []
        dropped: Counter[str] = Counter()
        for one in each:
            if isinstance(one, str):
                dropped[one] += 1
            else:
                examples.append(one)
        return cls(examples, dict(dropped))


def translate(examples: Sequence[Example], engine: Engine, language: str, progress: Sink = silent) -> Translations:
    """``examples``, which are English, in ``language``. ``progress`` hears of texts.

    Passages are translated sentence by sentence. A span's answers are found again in the translation of the sentence
    that they stand in (``xstilts.data.translation.spans``): every answer of the result is its context's text at its
    offset. An example of which this cannot be said is left out. Raises UserError for a format whose examples cannot be
    translated, and for a language that the engine does not know.
    """
    return Translations.of(translate_each(examples, engine, language, progress))


def translate_each(
    examples: Sequence[Example], engine: Engine, language: str, progress: Sink = silent
) -> list[Example | str]:
    """As `translate`: for each example its translation, or why there is none."""
    engine.id(language)
    for fmt in {formats.of(example) for example in examples}:
        if fmt.untranslatable:
            able = [name for name in formats.names() if not formats.get(name).untranslatable]
            raise UserError(f"{fmt.title} cannot be translated, only {', '.join(able)}: {fmt.untranslatable}")
    texts = (text for example in examples for text in _texts(example))
    memory = _Memory(texts, engine, language, progress)
    return [_translated(example, memory) for example in examples]


def _texts(example: Example) -> tuple[str, ...]:
    return (*example.texts, *(mark.text for mark in example.marks))


class _Memory:
    """What the engine makes of each sentence of some texts, each translated once. What has no letter stays as it is."""

    def __init__(self, texts: Iterable[str], engine: Engine, language: str, progress: Sink):
        self._language = language
        self._known: dict[str, str] = {}
        self._passages: dict[str, _Passage] = {}
        sentences = dict.fromkeys(sentence.text for text in texts for sentence in split(text))
        wanted = [text for text in sentences if any(map(str.isalpha, text))]
        for start in range(0, len(wanted), CHUNK):
            chunk = wanted[start : start + CHUNK]
            self._known.update(zip(chunk, engine.translate(chunk, language), strict=True))
            progress(Event(done=len(self._known), steps=len(wanted)))

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


def _carried(context: str, answer: GoldAnswer, memory: _Memory) -> GoldAnswer | None:
    """An answer in the translation of the sentence (or sentences) that it stands in; None where it is not found.

    It is looked for as the engine translates it alone, then as it is in English (names and titles often stay), first
    word for word, then in words much alike.
    """
    passage = memory.passage(context)
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
    return GoldAnswer(text[first:last], offset + first)


def _translated(example: Example, memory: _Memory) -> Example | str:
    if not all(memory.passage(text).complete for text in _texts(example)):
        return EMPTY
    found = [_carried(example.texts[0], mark, memory) for mark in example.marks]
    kept = tuple(dict.fromkeys(answer for answer in found if answer is not None))
    if found and not kept:
        return NOT_FOUND
    return example.with_texts([memory.text(text) for text in example.texts], kept)
