"""Use an exported model: records in, predictions out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedModel

from xstilts.common import strict_json, textfile
from xstilts.common.errors import UserError
from xstilts.common.strict_json import JsonError
from xstilts.encoders import bodies, headed
from xstilts.encoders.bodies import told
from xstilts.encoders.folder import CONFIG, check, read_json
from xstilts.encoders.load import check_complete
from xstilts.encoders.sizes import shape
from xstilts.encoders.sources import EncoderSource, with_tokenizer, with_weights
from xstilts.engine import heads, inference
from xstilts.engine.machine.device import fast_precision
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks import formats
from xstilts.tasks.formats import Example, Format
from xstilts.tasks.task import Files, Task


def predict(
    folder: Path, format_name: str, records: Mapping[str, Mapping[str, Any]], n_best: int = 1
) -> list[dict[str, Any]]:
    """Each record with its ``prediction``: an answer, a label, the text of a choice, or a list of tags.

    Models that were trained with unanswerable questions (`unanswerable` in config.json) may give an empty answer.
    ``records`` go by where they are from, as errors name it. With ``n_best`` above 1, where `Format.n_best`, also with
    so many answers and their probabilities. ``folder`` is an exported model. Raises UserError where it is none, or not
    whole, or where a record lacks a field or has one of another type.
    """
    fmt, head = formats.get(format_name), heads.get(format_name)
    if not os.path.lexists(folder / CONFIG):
        raise UserError(f"{folder}: no exported model (config.json is missing); `xstilts export` writes one")
    max_length = _check_whole(folder)
    with told(f"{folder}: its configuration"):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    wanted, own = head.AUTO_CLASS.removeprefix("AutoModel"), headed.kind_in(config, str(folder))
    if own and own != headed.KINDS.get(head.AUTO_CLASS):
        raise UserError(f"{folder}: its head is none for {format_name}; give the --task it was trained for")
    if not own and not any(name.endswith(wanted) for name in config.architectures or ()):
        found = (config.architectures or ["model without a head"])[0]
        raise UserError(f"{folder}: holds a {found}, no model for {format_name}; give the --task it was trained for")
    examples = [_example(fmt, record, where, n) for n, (where, record) in enumerate(records.items(), 1)]
    with told(f"{folder}: the model"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model: PreTrainedModel
        if own:
            model, info = headed.load(folder, config)
        else:
            model, info = getattr(transformers, head.AUTO_CLASS).from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
            model = bodies.both_ways(model)
    check_complete(str(folder), info)
    labels = tuple(config.id2label[i] for i in range(len(config.id2label)))
    task = Task(
        name="predict", format=format_name, description="", languages=(), metric="", files=Files(reader="records"),
        labels=labels if fmt.labelled else (), unanswerable=getattr(config, "unanswerable", None) is True,
        licence="", citation="",
    )  # fmt: skip
    limit = min(384, max_length)
    rows = head.make_rows(examples, task, tokenizer, Lengths(limit, limit // 3, 64), training=False)
    decoder = head.best(n_best) if n_best > 1 else head
    (predictions,) = inference.predict(
        model, [(examples, rows)], decoder, task, pad_id=tokenizer.pad_token_id, precision=fast_precision()
    )
    if n_best > 1:
        lists = [json.loads(prediction) for prediction in predictions]
        return [
            {**record, "prediction": best[0]["text"] if best else "", "n_best": best}
            for record, best in zip(records.values(), lists, strict=True)
        ]
    return [
        {**record, "prediction": fmt.readable(example, prediction, task)}
        for record, example, prediction in zip(records.values(), examples, predictions, strict=True)
    ]


def _check_whole(folder: Path) -> int:
    """The tokens that a model reads. Raises UserError where files lack, or do not fit each other."""
    source = EncoderSource(str(folder), read_json(folder / CONFIG, str(folder)), digest="", folder=folder)
    found = shape(source.config, source.name)
    check(folder, source.name, found)
    with_tokenizer(source)
    with_weights(source)
    return found.max_length


def _example(fmt: Format, record: Mapping[str, Any], where: str, number: int) -> Example:
    known = {field.rstrip("*"): not field.endswith("*") for field in fmt.fields}  # field → whether it is needed
    try:
        formats.check_spelling(record, list(known))
        read = {name: record[name] for name in known if name in record}
        for name, needed in known.items():
            if needed and read.get(name) in (None, "", []):
                raise ValueError(f"no {name!r}")
        example = fmt.example.from_record({**read, "id": str(record.get("id", number))})
        if example.fault:
            raise ValueError(example.fault)
    except ValueError as error:
        raise UserError(f"{where}: {error}; a record has {', '.join(fmt.fields)} (* may be missing)") from None
    return example


def read_records(path: Path) -> dict[str, dict[str, Any]]:
    """The objects of a JSON lines file, ``-`` for standard input, by file and line. Raises UserError with these."""
    return dict(_records(path))


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    text = _standard_input() if path == Path("-") else textfile.read_text(path)
    for number, line in enumerate(text.split("\n"), 1):  # JSON strings may hold U+2028, where splitlines breaks
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = strict_json.parse(line, "write one object a line")
        except JsonError as error:
            raise UserError(f"{where}: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: expected an object with named fields")
        yield where, record


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"standard input: not UTF-8 ({error.reason} at byte {error.start}); give it in UTF-8") from None
