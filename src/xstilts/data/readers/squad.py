"""SQuAD-style JSON: SQuAD v1.1 and v2.0, XQuAD, MLQA, TyDiQA-GoldP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from xstilts.data.problems import Problems
from xstilts.data.readers.offsets import Offsets
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import json_content
from xstilts.data.sentences import split
from xstilts.tasks.formats.answer_retrieval import AnswerRetrievalExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample


def read_squad(source: Source, problems: Problems) -> Iterator[SpanExample]:
    """Questions in file order, under their own ids: in SQuAD's JSON, or flat, a row a question, as the hub's are.

    Rows {id, context, question, answers: {text: […], answer_start: […]}} are JSON lines, an array, or the list `data`
    of an object.

    Unanswerable (SQuAD v2) is what ``is_impossible`` says. A question without answers, or with empty ones only (so
    XTREME blanks its test files), has no gold. Ids that are bare numbers and repeat (XTREME's copy of TyDiQA numbers
    the questions anew in every part) identify nothing: the number of the question in the file stands in.
    """
    for path in source.paths:
        examples = [example for _, example in _questions(path, source, problems)]
        ids = Counter(example.id for example in examples)
        if len(ids) < len(examples) and all(id.isdecimal() for id in ids):
            examples = [replace(example, id=str(number)) for number, example in enumerate(examples, start=1)]
        yield from examples


def read_squad_sentences(source: Source, problems: Problems) -> Iterator[AnswerRetrievalExample]:
    """Questions in file order, each with the sentences of its passage and the place of that in which it is answered.

    Sentences are those of the paragraph's ``sentence_breaks`` (XQuAD-R), else English ones as `sentences.split` cuts
    them. As in LAReQA the first answer counts, and a question whose answer begins in no sentence is passed over
    (google-research/xtreme, commit 4e6401c6, third_party/utils_lareqa.py, `generate_examples`).
    """
    for path in source.paths:
        for _, rows in groupby(_questions(path, source, problems, by_text=False), key=lambda row: id(row[0])):
            paragraph, question = next(rows)
            breaks = _breaks(paragraph, question, path, problems)
            sentences = tuple(question.context[start:end] for start, end in breaks)
            for each in (question, *(other for _, other in rows)):
                answers = [
                    n for n, (start, end) in enumerate(breaks) if each.answers and start <= each.answers[0].start < end
                ]
                if answers or not each.answers:
                    yield AnswerRetrievalExample(each.id, each.question, sentences, answers[0] if answers else None)


def _breaks(paragraph: dict[str, Any], first: SpanExample, path: Path, problems: Problems) -> list[tuple[int, int]]:
    """Where the sentences of a paragraph, whose ``first`` question is given, begin and end."""
    match paragraph.get("sentence_breaks"):
        case None:
            return [(one.start, one.end) for one in split(first.context) if one.text]
        case list(given) if all(isinstance(pair, list) and list(map(type, pair)) == [int, int] for pair in given):
            return [(start, end) for start, end in given]
    problems.add(path, f"id {first.id}: `sentence_breaks` of its paragraph are not pairs of offsets")
    return []


#: How the ids of TyDiQA-GoldP begin: english-2387335860751143628-1.
TYDIQA = {
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}


def read_tydiqa(source: Source, problems: Problems) -> Iterator[SpanExample]:
    """TyDiQA-GoldP as published, nine languages in one file: the questions whose id begins with the language's name."""
    prefix = f"{TYDIQA.get(source.language, source.language)}-"
    return (example for example in read_squad(source, problems) if example.id.startswith(prefix))


#: A question: its row, the paragraph that it stands in, and where they are in the file, for people.
Asked = tuple[dict[str, Any], dict[str, Any], str]


def _questions(
    path: Path, source: Source, problems: Problems, by_text: bool = True
) -> Iterator[tuple[dict[str, Any], SpanExample]]:
    """Each question with the paragraph that it stands in.

    Answers that are not at their offset do no harm in what is only evaluated on, where that is ``by_text``.
    """
    strict = source.split not in ("dev", "test") or not by_text
    offsets = Offsets(source.layout.on_bad_offset if strict else "keep")
    fields: dict[str, None] = {}
    for row, paragraph, where in _asked(path, problems):
        fields.update(dict.fromkeys(row))
        context = _text(paragraph, "context", where, path, problems)
        question = _text(row, "question", where, path, problems)
        id = row.get("id")
        if not isinstance(id, str | int) or isinstance(id, bool):
            problems.add(path, f"{where}: no `id`; every question needs one")
        elif context is not None and question is not None:
            told = f"{where} (id {id})"
            answers = tuple(_answers(row, told, path, problems))
            impossible = _is_impossible(row, told, path, problems)
            gold = () if impossible else offsets.settle(str(id), context, answers)
            if gold or impossible or not answers:
                yield paragraph, SpanExample(str(id), context, question, gold, impossible or bool(gold))
    if fields:
        source.tell_absent("answers", fields, path, problems)
    offsets.tell(path, problems)


def _asked(path: Path, problems: Problems) -> Iterator[Asked]:
    content = json_content(path, problems)
    if content is None:
        return
    if not isinstance(content, dict):
        yield from ((row, row, f"line {at}" if isinstance(at, int) else at) for at, row in content)
    elif "data" not in content and "context" in content:
        yield content, content, "the document"
    else:
        for where, article in _items(content, "data", "", path, problems):
            if "paragraphs" not in article and "context" in article:
                yield article, article, where
                continue
            for within, paragraph in _items(article, "paragraphs", where, path, problems):
                yield from ((row, paragraph, at) for at, row in _items(paragraph, "qas", within, path, problems))


def _items(parent: Any, key: str, where: str, path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    value = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(value, list):
        problems.add(path, f"{where or 'the document'}: no list `{key}`; SQuAD's layout is data, paragraphs, qas")
        return
    for number, item in enumerate(value):
        inside = f"{where}{'.' if where else ''}{key}[{number}]"
        if isinstance(item, dict):
            yield inside, item
        else:
            problems.add(path, f"{inside}: not an object; SQuAD's layout is data, paragraphs, qas")


def _text(parent: dict[str, Any], key: str, where: str, path: Path, problems: Problems) -> str | None:
    value = parent.get(key)
    if isinstance(value, str):
        return value
    problems.add(path, f"{where}: no text `{key}`; SQuAD's layout has it here")
    return None


def _is_impossible(row: dict[str, Any], where: str, path: Path, problems: Problems) -> bool:
    match row.get("is_impossible"):
        case None | False | "false" | "False":
            return False
        case True | "true" | "True":
            return True
        case other:
            problems.add(path, f"{where}: is_impossible {other!r} must be true or false")
            return False


def _answers(row: dict[str, Any], where: str, path: Path, problems: Problems) -> Iterator[GoldAnswer]:
    """The answers that have a text: SQuAD's list of objects, or an object of two lists, as the hub has it."""
    answers = row.get("answers") or []
    match answers:
        case {"text": [*texts], "answer_start": [*starts]} if len(texts) == len(starts):
            answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
        case list():
            pass
        case _:
            problems.add(path, f"{where}: `answers` is neither a list of {{text, answer_start}} nor two lists as long")
            return
    for answer in answers:
        match answer:
            case {"text": ""}:
                continue
            case {"text": str(text), "answer_start": given}:
                if (start := whole_number(given)) is None:
                    problems.add(path, f"{where}: answer_start {given!r} must be a whole number")
                else:
                    yield GoldAnswer(text, start)
            case _:
                problems.add(path, f"{where}: an answer without text and answer_start; give both")


def whole_number(value: Any) -> int | None:
    """What ``value`` says beyond doubt: 24, or "24" or 24.0, as spreadsheets and data frames write it; else None."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case str() if len(value) < 20 and value.isascii() and value.isdecimal():
            return int(value)
    return None
