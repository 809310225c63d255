"""Multiple choice: CommonsenseQA in its three layouts, HellaSwag, Cosmos QA; JSON lines whose fields are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from string import Formatter
from typing import Any, TypeGuard

from xstilts.data.problems import Problems
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import csv_rows, json_rows
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample

#: id (None: the number of the row stands in), prompt, choices, label; None where the row is not in the layout.
Parsed = tuple[str | None, str, list[str], int | None] | None


def read_choices(source: Source, problems: Problems) -> Iterator[MultipleChoiceExample]:
    """JSON lines {choices, query, gold}, gold counted from 0, or the fields that ``columns`` names (COPA, Social IQa).

    `columns` holds `prompt`, a template of fields as in "{premise} What was the {question}?"; `label`, the field of
    the gold label, which may be missing or null; and for each label, as the files write it, the field of its choice.
    The id is the row's number.
    """
    columns = source.layout.columns
    if not isinstance(columns, dict):
        return _read_rows(source, problems, _plain, "{choices, query, gold}", "gold")
    choices = {mark: name for mark, name in columns.items() if mark not in ("prompt", "label")}
    prompt = [(text, name) for text, name, *_ in Formatter().parse(columns["prompt"])]

    def parse(row: dict[str, Any]) -> Parsed:
        label = row.get(columns["label"])
        names = [*(name for _, name in prompt if name), *choices.values()]
        if not all(isinstance(row.get(name), str) for name in names):
            return None
        if label is not None and str(label) not in choices:
            return None
        asked = "".join(text + (row[name] if name else "") for text, name in prompt)
        gold = None if label is None else list(choices).index(str(label))
        return None, asked, [row[name] for name in choices.values()], gold

    fields = ", ".join([*(name for _, name in prompt if name), *choices.values()])
    layout = f"{{{fields}, {columns['label']} ({', '.join(choices)})}}"
    return _read_rows(source, problems, parse, layout, columns["label"])


def read_commonsenseqa(source: Source, problems: Problems) -> Iterator[MultipleChoiceExample]:
    """CommonsenseQA's JSON lines: {id, question: {stem, choices: [{label, text}]}, answerKey} as published, or
    {id, question, choices: {label, text}, answerKey} as on the hub. Without answerKey (the test set) there is no gold.
    """
    return _read_rows(source, problems, parse_commonsenseqa, "{id, question, choices, answerKey}", "answerKey")


def read_hellaswag(source: Source, problems: Problems) -> Iterator[MultipleChoiceExample]:
    """HellaSwag's JSON lines: the prompt is ctx_a, a choice is ctx_b and an ending (as jiant's hellaswag.py:56-57)."""
    return _read_rows(source, problems, parse_hellaswag, "{ind, ctx_a, ctx_b, endings, label}", "label")


def _read_rows(
    source: Source, problems: Problems, parse: Callable[[dict[str, Any]], Parsed], layout: str, gold: str
) -> Iterator[MultipleChoiceExample]:
    number = 0
    for path in source.paths:
        fields: dict[str, None] = {}
        for line, row in json_rows(path, problems):
            number += 1
            fields.update(dict.fromkeys(row))
            parsed = parse(row)
            if parsed is None:
                its = f"; its {gold} is {row[gold]!r}" if gold in row else ""
                problems.add(path, f"not in the layout {layout}; has {', '.join(row) or 'nothing'}{its}", line)
                continue
            id, prompt, choices, label = parsed
            example = MultipleChoiceExample(id or str(number), prompt, tuple(choices), label)
            if fault := example.fault:
                problems.add(path, fault, line)
            yield example
        if fields:
            source.tell_absent(gold, fields, path, problems)


def _texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(text, str) for text in value)


def _plain(row: dict[str, Any]) -> Parsed:
    match row:
        case {"query": str(prompt), "choices": choices} if _texts(choices):
            label = row.get("gold")
            return (None, prompt, choices, label) if label is None or type(label) is int else None
    return None


def parse_commonsenseqa(row: dict[str, Any]) -> Parsed:
    match row:
        case {"id": str(id), "question": {"stem": str(prompt), "choices": [*listed]}}:
            marks = [choice.get("label") if isinstance(choice, dict) else None for choice in listed]
            choices = [choice.get("text") if isinstance(choice, dict) else None for choice in listed]
        case {"id": str(id), "question": str(prompt), "choices": {"label": [*marks], "text": [*choices]}}:
            pass
        case _:
            return None
    key = row.get("answerKey") or None
    if (
        not _texts(choices)
        or len(marks) != len(choices)
        or marks.count(key) > 1
        or (key is not None and key not in marks)
    ):
        return None
    return id, prompt, choices, None if key is None else marks.index(key)


def parse_hellaswag(row: dict[str, Any]) -> Parsed:
    match row:
        case {"ind": int(id), "ctx_a": str(prompt), "ctx_b": str(start), "endings": endings} if _texts(endings):
            label = row.get("label")
            if label is not None and type(label) is not int:
                return None
            return str(id), prompt, [f"{start} {ending}".strip() for ending in endings], label
    return None


COSMOSQA_COLUMNS = ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label")


def read_cosmosqa(source: Source, problems: Problems) -> Iterator[MultipleChoiceExample]:
    """Cosmos QA's CSV; the prompt is context and question. A line number is that of a row's last line."""
    for path in source.paths:
        told = False
        for line, row in csv_rows(path, problems, COSMOSQA_COLUMNS[:-1], COSMOSQA_COLUMNS[-1:]):
            if not told:
                source.tell_absent("label", row, path, problems)
                told = True
            label = row.get("label", "")
            if label not in ("0", "1", "2", "3", ""):
                problems.add(path, f"label {label!r}; 0 to 3, or empty without gold", line)
                label = ""
            yield MultipleChoiceExample(
                row["id"],
                f"{row['context']} {row['question']}",
                tuple(row[f"answer{n}"] for n in range(4)),
                int(label) if label else None,
            )
