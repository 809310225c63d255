"""A format is two files of one name; it says all that it must, and nobody else asks which one it has before it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from xstilts.common.errors import UserError
from xstilts.engine import heads
from xstilts.engine.heads import Head
from xstilts.tasks import formats
from xstilts.tasks.formats import Example, Format, GoldAnswer, Trace
from xstilts.tasks.formats.mlm import TextExample

SOURCE = Path(__file__).parents[1] / "src" / "xstilts"
HOME = (SOURCE / "tasks" / "formats", SOURCE / "engine" / "heads")
EXAMPLES = {formats.get(name).example for name in formats.names()}
CLASSES = {
    Example,
    Format,
    Head,
    *EXAMPLES,
    *(type(get(name)) for name in formats.names() for get in (formats.get, heads.get)),
}
FIELDS = {field.name for example in EXAMPLES for field in fields(example)}


def asking(source: str) -> Iterator[tuple[int, str]]:
    """Line and what is asked there."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name("isinstance" | "issubclass"), args=[_, kind]) if named(kind) & names(CLASSES):
                yield node.lineno, ast.unparse(node)
            case ast.MatchClass(cls=kind) if named(kind) & names(CLASSES):
                yield node.lineno, f"case {ast.unparse(node)}"
            case ast.Call(func=ast.Name("getattr" | "hasattr"), args=[what, ast.Constant(value=name), *_]):
                if name in FIELDS and "example" in ast.unparse(what).lower():
                    yield node.lineno, ast.unparse(node)
            case ast.Call(func=ast.Attribute(ast.Name("formats" | "heads"), "get"), args=[ast.Constant()]):
                yield node.lineno, ast.unparse(node)
            case ast.Compare() if "format" in ast.unparse(node).lower() and literals(node) & {*formats.names()}:
                yield node.lineno, ast.unparse(node)
            case ast.Match(subject=subject) if "format" in ast.unparse(subject).lower():
                if any(literals(case.pattern) & {*formats.names()} for case in node.cases):
                    yield node.lineno, f"match {ast.unparse(subject)}"
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.Dict(keys=parts):
                texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
                if len(texts) > 1 and {*texts} <= {*formats.names()}:
                    yield node.lineno, ast.unparse(node)


def names(classes: set[type]) -> set[str]:
    return {one.__name__ for one in classes}


def named(node: ast.AST) -> set[str]:
    """The last part of each name in an expression."""
    attributes = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    return attributes | {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def literals(node: ast.AST) -> set[Any]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}


def test_nobody_else_asks_which_format_or_example_it_has_before_it() -> None:
    others = [path for path in SOURCE.rglob("*.py") if not any(path.is_relative_to(home) for home in HOME)]
    found = [f"{path}:{line}: {what}" for path in others for line, what in asking(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join([*found, "say it in tasks/formats or engine/heads, as a member that each format has"])


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(example, SpanExample)",
        "isinstance(example, span.SpanExample | TaggingExample)",
        "match example:\n  case MiningExample(text=text): pass",
        "task.format == 'mlm'",
        "format_name in ('span', 'tagging')",
        "row['format'] != 'mining'",
        "match task.format:\n  case 'span': pass",
        "TITLES = {'span': 'questions', 'tagging': 'tags'}",
        "getattr(example, 'label', None)",
        "heads.get('mlm')",
    ],
)
def test_such_questions_are_found(line: str) -> None:
    assert list(asking(line))


def test_a_format_is_two_files_of_one_name() -> None:
    assert {path.stem for path in HOME[0].glob("*.py")} - {"__init__"} == {*formats.names()}
    for name in formats.names():
        fmt, head = formats.get(name), heads.get(name)
        assert fmt.name == name and formats.of(fmt.example.from_record(RECORD)) is fmt
        assert {type(fmt).__module__.split(".")[-1], type(head).__module__.split(".")[-1]} == {name}
    with pytest.raises(UserError, match=r"unknown format 'spam'.*span"):
        formats.get("spam")


RECORD: dict[str, Any] = {
    "id": "1", "premise": "a", "prompt": "a", "choices": ["b", "c"], "context": "a", "question": "b", "tokens": ["a"],
    "source": "a", "target": "b", "text": "a", "english": True, "sentences": ["a", "b"],
}  # fmt: skip


def test_a_format_that_forgets_something_cannot_be_imported() -> None:
    with pytest.raises(TypeError, match="must say its pipeline_tag, heading, typical_tokens, fields, untranslatable"):

        class Unsaid(Format[TextExample]):
            example = TextExample

    class Half(Format[TextExample]):
        example = TextExample
        pipeline_tag, heading, typical_tokens, fields, untranslatable = "", "", 1.0, (), None

    with pytest.raises(TypeError, match=r"abstract.*majority.*metrics.*score"):
        Half()  # type: ignore[abstract]
    with pytest.raises(TypeError, match="must say its AUTO_CLASS"):

        class Headless(Head[TextExample]):
            pass


def test_an_example_is_read_from_a_record_as_strictly_as_it_is_written() -> None:
    for name in formats.names():
        kind: Any = formats.get(name).example
        example = kind.from_record(RECORD)
        assert kind.from_record(asdict(example)) == example and example.fault is None
        for field in ("premise", "prompt", "context", "tokens", "source", "text"):
            if field in asdict(example):
                with pytest.raises(ValueError, match=field):
                    kind.from_record({**RECORD, field: 1})
    choices, tags = formats.get("multiple_choice").example, formats.get("tagging").example
    assert not choices.from_record(RECORD).has_gold and choices.from_record({**RECORD, "label": 1}).has_gold
    assert choices.from_record({**RECORD, "label": 2}).fault == "label 2 of 2 choices; they count from 0"
    assert tags.from_record({**RECORD, "tags": []}).fault == "0 tags, but 1 tokens; one tag a token"
    question = formats.get("span").example
    assert not question.from_record(RECORD).has_gold and question.from_record({**RECORD, "answers": []}).has_gold


def test_an_example_that_forgets_something_cannot_be_imported() -> None:
    @dataclass(frozen=True, slots=True)
    class Forgetful(Example):
        text: str

        @property
        def texts(self) -> tuple[str, ...]:
            return (self.text,)

        def traces(self, language: str) -> Iterator[Trace]:
            yield Trace("sentence", language, self.texts)

        def with_texts(self, texts: Sequence[str], answers: tuple[GoldAnswer, ...]) -> Example | str:
            raise NotImplementedError

    assert inspect.isabstract(Forgetful)
    with pytest.raises(TypeError, match="must say its group, has_gold"):

        class Forgotten(Format[Forgetful]):
            example = Forgetful
            pipeline_tag, heading, typical_tokens, fields, untranslatable = "", "", 1.0, (), None
