"""JSON lines with a row an example, under the names that its fields have here: the one layout for every format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xstilts.data.examples import Example
from xstilts.data.problems import Problems
from xstilts.data.readers.source import Source
from xstilts.data.readers.squad import misplaced, tell_misplaced
from xstilts.data.readers.text import json_lines
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.formats.span import Answer, SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.formats.text import TextExample

#: What a row of each format has beside its `id`; a field with * may be missing or null: there is no gold then.
FIELDS = {
    "classification": "premise, hypothesis*, label*",
    "multiple_choice": "prompt, choices, label* (from 0)",
    "span": "context, question, answers* (text and start each; [] for a question without an answer)",
    "tagging": "tokens, tags*",
    "retrieval": "source, target",
    "mining": "text, english (true or false), translations*",
    "mlm": "text",
}


def read_records(source: Source, problems: Problems) -> Iterator[Example]:
    """Rows with the `FIELDS` of the task's format, others passed over. The id is the row's number where it has none."""
    number = 0
    for path in source.paths:
        wrong: list[str] = []
        answers = 0
        for line, row in json_lines(path, problems):
            number += 1
            example = _example(source.format, {"id": str(number), **row})
            match example:
                case None:
                    layout = f"{{id*, {FIELDS[source.format]}}}"
                    problems.add(path, f"not in the layout {layout}; has {', '.join(row) or 'nothing'}", line)
                    continue
                case ClassificationExample(label=str(label)):
                    source.check_labels([label], path, line, problems)
                case MultipleChoiceExample(label=int(place)) if not 0 <= place < len(example.choices):
                    problems.add(path, f"label {place} of {len(example.choices)} choices; they count from 0", line)
                case TaggingExample(tags=tuple(tags)):
                    source.check_labels(tags, path, line, problems)
                case SpanExample():
                    answers += len(example.answers)
                    wrong += misplaced(example.id, example.context, example.answers)
            yield example
        tell_misplaced(wrong, answers, path, problems)


def _example(format_name: str, row: dict[str, Any]) -> Example | None:
    """The example that a row is; None where it is none of the format."""
    match format_name, row:
        case "classification", {"id": str(id), "premise": str(premise)}:
            hypothesis, label = row.get("hypothesis"), row.get("label")
            if isinstance(hypothesis, str | None) and isinstance(label, str | None):
                return ClassificationExample(id, premise, hypothesis, label)
        case "multiple_choice", {"id": str(id), "prompt": str(prompt), "choices": [_, _, *_] as choices}:
            label = row.get("label")
            if _texts(choices) and not isinstance(label, bool) and isinstance(label, int | None):
                return MultipleChoiceExample(id, prompt, tuple(choices), label)
        case "span", {"id": str(id), "context": str(context), "question": str(question)}:
            return _span(id, context, question, row.get("answers"))
        case "tagging", {"id": str(id), "tokens": [_, *_] as tokens}:
            tags = row.get("tags")
            if _texts(tokens) and all(tokens) and (tags is None or (_texts(tags) and len(tags) == len(tokens))):
                return TaggingExample(id, tuple(tokens), None if tags is None else tuple(tags))
        case "retrieval", {"id": str(id), "source": str(source), "target": str(target)}:
            return RetrievalExample(id, source, target)
        case "mining", {"id": str(id), "text": str(text), "english": bool(english)}:
            translations = row.get("translations")
            if translations is None or (_texts(translations) and not english):
                return MiningExample(id, text, english, None if translations is None else tuple(translations))
        case "mlm", {"id": str(id), "text": str(text)}:
            return TextExample(id, text)
    return None


def _span(id: str, context: str, question: str, written: Any) -> SpanExample | None:
    if written is None:
        return SpanExample(id, context, question, (), has_gold=False)
    answers: list[Answer] = []
    for answer in written if isinstance(written, list) else [written]:
        match answer:
            case {"text": str(text), "start": int(start)} if text and not isinstance(start, bool):
                answers.append(Answer(text, start))
            case _:
                return None
    return SpanExample(id, context, question, tuple(answers))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
