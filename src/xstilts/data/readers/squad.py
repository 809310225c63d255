"""SQuAD-style JSON: SQuAD v1.1 and v2.0, XQuAD, MLQA, TyDiQA-GoldP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from xstilts.data.problems import Problems
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import json_document
from xstilts.data.sentences import split
from xstilts.tasks.formats.answer_retrieval import AnswerRetrievalExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample

#: What is said, once a file, of answers that the context has elsewhere or not at all.
NOT_AT_OFFSET = "answers are not at their offset"


def read_squad(source: Source, problems: Problems) -> Iterator[SpanExample]:
    """Questions in file order, under their own ids.

    Unanswerable (SQuAD v2) is what ``is_impossible`` says. A question without answers, or with empty ones only (so
    XTREME blanks its test files), has no gold. Ids that are bare numbers and repeat (XTREME's copy of TyDiQA numbers
    the questions anew in every part) identify nothing: the number of the question in the file stands in.
    """
    for path in source.paths:
        examples = [example for _, example in _questions(path, problems)]
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
        for _, rows in groupby(_questions(path, problems), key=lambda row: id(row[0])):
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


def _questions(path: Path, problems: Problems) -> Iterator[tuple[dict[str, Any], SpanExample]]:
    """Each question with the paragraph that it stands in."""
    document = json_document(path, problems)
    if document is None:
        return
    wrong: list[str] = []
    answers_in_all = 0
    for where, article in _items(document, "data", "", path, problems):
        for where_paragraph, paragraph in _items(article, "paragraphs", where, path, problems):
            context = _text(paragraph, "context", where_paragraph, path, problems)
            for where_question, row in _items(paragraph, "qas", where_paragraph, path, problems):
                question = _text(row, "question", where_question, path, problems)
                id = row.get("id")
                if not isinstance(id, str | int):
                    problems.add(path, f"{where_question}: no `id`; every question needs one")
                if context is None or question is None or not isinstance(id, str | int):
                    continue
                answers = tuple(_answers(row, f"{where_question} (id {id})", path, problems))
                answers_in_all += len(answers)
                wrong += misplaced(str(id), context, answers)
                impossible = row.get("is_impossible") is True
                gold = () if impossible else answers
                yield paragraph, SpanExample(str(id), context, question, gold, impossible or bool(answers))
    tell_misplaced(wrong, answers_in_all, path, problems)


def misplaced(id: str, context: str, answers: Iterable[GoldAnswer]) -> Iterator[str]:
    """What is wrong with each of ``answers`` that ``context`` does not have where it says."""
    for answer in answers:
        found = context[answer.start : answer.start + len(answer.text)] if answer.start >= 0 else ""
        if found != answer.text:
            yield f"id {id}: answer_start {answer.start} of {answer.text!r} gives {found!r} in the context"


def tell_misplaced(wrong: list[str], answers: int, path: Path, problems: Problems) -> None:
    """Add one problem for all the answers of a file that are ``wrong``, of so many ``answers``."""
    if wrong:
        problems.add(
            path,
            f"{len(wrong)} of {answers} {NOT_AT_OFFSET}, the first {wrong[0]};"
            " offsets count characters (not bytes) from 0",
        )


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


def _answers(row: dict[str, Any], where: str, path: Path, problems: Problems) -> Iterator[GoldAnswer]:
    answers = row.get("answers") or []
    if not isinstance(answers, list):
        problems.add(path, f"{where}: `answers` is not a list; it holds objects with text and answer_start")
        return
    for answer in answers:
        match answer:
            case {"text": ""}:
                continue
            case {"text": str(text), "answer_start": int(start)}:
                yield GoldAnswer(text, start)
            case _:
                problems.add(path, f"{where}: an answer without text and answer_start; give both")
