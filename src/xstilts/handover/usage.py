"""What an exported folder says of its use, beside the model: read by `predict` and `load`, and by people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from xstilts.common import strict_json, textfile
from xstilts.common.errors import UserError
from xstilts.common.strict_json import JsonError
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks import formats
from xstilts.tasks.formats import Abstention

FILE = "xstilts.json"


@dataclass(frozen=True)
class Usage:
    """``task`` is what it was trained for; the lengths are those of its training, in tokens.

    Of a model of vectors ``block`` is the one whose output is pooled, 0 = embeddings. ``abstentions`` are what
    thresholds come to on ``dev_examples`` English dev examples.
    """

    format: str
    task: str
    max_length: int
    doc_stride: int
    max_query_length: int
    unanswerable: bool = False
    block: int | None = None
    pooling: Literal["mean", "cls"] = "mean"
    dev_examples: int = 0
    abstentions: tuple[Abstention, ...] = ()

    @property
    def lengths(self) -> Lengths:
        return Lengths(self.max_length, self.doc_stride, self.max_query_length)


_ADAPTER = TypeAdapter(Usage)


def write(usage: Usage, folder: Path) -> None:
    (folder / FILE).write_text(json.dumps(asdict(usage), indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Usage | None:
    """None where there is no such file: a folder that another tool wrote. Raises UserError where it is damaged."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        usage = _ADAPTER.validate_python(strict_json.parse(textfile.read_text(file), "export the model again"))
    except JsonError as error:
        raise UserError(f"{file}: {error.what}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise UserError(f"{file}: {where}: {problem['msg'].lower()}; export the model again") from None
    if usage.format not in formats.names():
        raise UserError(f"{file}: format: {usage.format!r} is none that this version knows; export the model again")
    return usage
