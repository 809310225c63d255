"""Use an exported model: records in, predictions out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import transformers

from xstilts.common.errors import UserError
from xstilts.engine import heads, inference
from xstilts.engine.machine.device import fast_precision
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks import formats
from xstilts.tasks.formats import Example, Format
from xstilts.tasks.task import Files, Task


def predict(folder: Path, format_name: str, records: Iterable[dict[str, Any]], n_best: int = 1) -> list[dict[str, Any]]:
    """Each record with its ``prediction``: an answer, a label, the text of a choice, or a list of tags.

    With ``n_best`` above 1, where `Format.n_best`, also with so many answers and their probabilities. ``folder`` is an
    exported model. Raises UserError where it is none, or where a record lacks a field.
    """
    fmt, head = formats.get(format_name), heads.get(format_name)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no exported model (config.json is missing); `xstilts export` writes one")
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    wanted = head.AUTO_CLASS.removeprefix("AutoModel")
    if not any(name.endswith(wanted) for name in config.architectures or ()):
        found = (config.architectures or ["model without a head"])[0]
        raise UserError(f"{folder}: holds a {found}, no model for {format_name}; give the --task it was trained for")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = getattr(transformers, head.AUTO_CLASS).from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False
    )
    labels = tuple(config.id2label[i] for i in range(len(config.id2label)))
    task = Task(
        name="predict", format=format_name, description="", languages=(), metric="", files=Files(reader="records"),
        labels=labels if fmt.labelled else (), licence="", citation="",
    )  # fmt: skip
    records = list(records)
    examples = [_example(fmt, record, number) for number, record in enumerate(records, 1)]
    limit = min(384, getattr(config, "max_position_embeddings", 384) - 2)
    rows = head.make_rows(examples, task, tokenizer, Lengths(limit, limit // 3, 64), training=False)
    decoder = head.best(n_best) if n_best > 1 else head
    (predictions,) = inference.predict(
        model, [(examples, rows)], decoder, task, pad_id=tokenizer.pad_token_id, precision=fast_precision()
    )
    if n_best > 1:
        lists = [json.loads(prediction) for prediction in predictions]
        return [
            {**record, "prediction": best[0]["text"] if best else "", "n_best": best}
            for record, best in zip(records, lists, strict=True)
        ]
    return [
        {**record, "prediction": fmt.readable(example, prediction)}
        for record, example, prediction in zip(records, examples, predictions, strict=True)
    ]


def _example(fmt: Format, record: dict[str, Any], number: int) -> Example:
    layout = f"a record has {', '.join(fmt.fields)} (* may be missing)"
    for field in fmt.fields:
        if not field.endswith("*") and not record.get(field):
            raise UserError(f"record {number}: no {field!r}; {layout}")
    read = {name: record[name] for field in fmt.fields if (name := field.rstrip("*")) in record}
    try:
        return fmt.example.from_record({"id": str(record.get("id", number)), **read})
    except ValueError as error:
        raise UserError(f"record {number}: {' '.join(str(error).split())}; {layout}") from None


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
