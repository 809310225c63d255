"""Plain text: passages like those of the span questions, in every language, about names that only train may use."""

from __future__ import annotations

from tools.mini import spans
from xstilts.tasks.formats.mlm import TextExample


def generate(split: str, language: str) -> list[TextExample]:
    passages = dict.fromkeys(example.context for example in spans.generate("text", split, language))
    return [TextExample(f"text-{language}-{number:04}", context) for number, context in enumerate(passages)]
