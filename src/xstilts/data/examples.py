"""One data class per format: what every reader gives and every format takes."""

from __future__ import annotations

from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.formats.text import TextExample

Example = (
    ClassificationExample
    | MultipleChoiceExample
    | SpanExample
    | TaggingExample
    | RetrievalExample
    | MiningExample
    | TextExample
)


def texts(example: Example) -> tuple[str, ...]:
    """The texts that a model reads in an example, for overlap checks and token counts."""
    match example:
        case ClassificationExample():
            return (example.premise,) if example.hypothesis is None else (example.premise, example.hypothesis)
        case MultipleChoiceExample():
            return (example.prompt, *example.choices)
        case SpanExample():
            return (example.context, example.question)
        case TaggingExample():
            return (" ".join(example.tokens),)
        case RetrievalExample():
            return (example.source, example.target)
        case MiningExample() | TextExample():
            return (example.text,)
