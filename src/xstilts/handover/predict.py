"""Use an exported model: records in, predictions out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import transformers

from xstilts.common.errors import UserError
from xstilts.data.examples import Example
from xstilts.engine import heads, inference
from xstilts.engine.heads import span
from xstilts.engine.machine.device import precision
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import Files, Task

#: The fields that a record of each format has; a field with * may be missing.
FIELDS = {
    "span": ("question", "context"),
    "classification": ("premise", "hypothesis*"),
    "multiple_choice": ("prompt", "choices"),
    "tagging": ("tokens",),
}


def predict(folder: Path, format_name: str, records: Iterable[dict[str, Any]], n_best: int = 1) -> list[dict[str, Any]]:
    """Each record with its ``prediction``: an answer, a label, the text of a choice, or a list of tags.

    With ``n_best`` (span) above 1 also with so many answers and their probabilities, as ``n_best``. ``folder`` is an
    exported model. Raises UserError where it is none, or where a record lacks a field.
    """
    fmt = heads.get(format_name)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no exported model (config.json is missing); `xstilts export` writes one")
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    wanted = fmt.AUTO_CLASS.removeprefix("AutoModel")
    if not any(name.endswith(wanted) for name in config.architectures or ()):
        found = (config.architectures or ["model without a head"])[0]
        raise UserError(f"{folder}: holds a {found}, no model for {format_name}; give the --task it was trained for")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = getattr(transformers, fmt.AUTO_CLASS).from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    labels = tuple(config.id2label[i] for i in range(len(config.id2label)))
    task = Task(
        name="predict", format=format_name, description="", languages=(), metric="", files=Files(reader="records"),
        labels=labels if format_name in ("classification", "tagging") else (), licence="", citation="",
    )  # fmt: skip
    records = list(records)
    examples = [_example(format_name, record, number) for number, record in enumerate(records, 1)]
    limit = min(384, getattr(config, "max_position_embeddings", 384) - 2)
    rows = fmt.make_rows(examples, task, tokenizer, Lengths(limit, limit // 3, 64), training=False)
    decoder = span.NBest(n_best) if n_best > 1 else fmt
    (predictions,) = inference.predict(
        model, [(examples, rows)], decoder, task, pad_id=tokenizer.pad_token_id, precision=precision("auto")
    )
    if n_best > 1:
        lists = [json.loads(prediction) for prediction in predictions]
        return [
            {**record, "prediction": best[0]["text"] if best else "", "n_best": best}
            for record, best in zip(records, lists, strict=True)
        ]
    return [
        {**record, "prediction": _readable(format_name, example, prediction)}
        for record, example, prediction in zip(records, examples, predictions, strict=True)
    ]


def _example(format_name: str, record: dict[str, Any], number: int) -> Example:
    for field in FIELDS[format_name]:
        if not field.endswith("*") and not record.get(field):
            fields = ", ".join(FIELDS[format_name])
            raise UserError(f"record {number}: no {field!r}; a record has {fields} (* may be missing)")
    name = str(record.get("id", number))
    match format_name:
        case "span":
            return SpanExample(name, record["context"], record["question"], (), has_gold=False)
        case "classification":
            return ClassificationExample(name, record["premise"], record.get("hypothesis"), None)
        case "multiple_choice":
            return MultipleChoiceExample(name, record["prompt"], tuple(record["choices"]), None)
        case _:
            return TaggingExample(name, tuple(record["tokens"]), None)


def _readable(format_name: str, example: Example, prediction: str) -> str | list[str]:
    if isinstance(example, MultipleChoiceExample):
        return example.choices[int(prediction)]
    return prediction.split(" ") if format_name == "tagging" else prediction


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file, ``-`` for standard input. Raises UserError with file and line."""
    try:
        text = sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(text.split("\n"), 1):  # JSON strings may hold U+2028, where splitlines breaks
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{path}:{number}: expected an object with named fields")
        yield record
