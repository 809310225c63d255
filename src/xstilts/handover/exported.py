"""An exported model, opened: called with one example it answers, and it predicts many."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from xstilts.common.errors import UserError
from xstilts.encoders import bodies, headed
from xstilts.encoders.bodies import told
from xstilts.encoders.folder import CONFIG, check, read_json
from xstilts.encoders.load import check_complete
from xstilts.encoders.sizes import shape
from xstilts.encoders.sources import EncoderSource, with_tokenizer, with_weights
from xstilts.engine import heads, inference
from xstilts.engine.machine.device import fast_precision, named
from xstilts.handover import usage
from xstilts.handover.usage import Usage
from xstilts.planning.hyperparameters import Precision
from xstilts.tasks import formats
from xstilts.tasks.formats import EVEN, Example
from xstilts.tasks.task import Files, Task


class Exported:
    """A model that `export` wrote. Its call takes the fields of one example and gives the answer.

    Span: (question, context) → text, empty where there is no answer; classification: (premise, hypothesis) or (text) →
    label; multiple choice: (prompt, choices) → one of these; tagging: (text or tokens) → pairs of token and tag; of
    retrieval: (text or texts) → vectors [hidden] or [texts, hidden], L2-normalised.
    """

    def __init__(
        self, folder: Path, model: PreTrainedModel, tokenizer: Any, used: Usage, labels: tuple[str, ...],
        device: torch.device, precision: Precision,
    ) -> None:  # fmt: skip
        self.folder, self.usage, self.tokenizer, self.device, self.precision = (
            folder, used, tokenizer, device, precision,
        )  # fmt: skip
        self.model = model.eval()
        self.format, self.head = formats.get(used.format), heads.get(used.format)
        self.task = Task(
            name="predict", format=used.format, description="", languages=(), metric="",
            files=Files(reader="records"), labels=labels if self.format.labelled else (),
            unanswerable=used.unanswerable, licence="", citation="",
        )  # fmt: skip

    def __repr__(self) -> str:
        fields = ", ".join(self.format.fields) or "text or texts"
        task = f" for {self.usage.task}" if self.usage.task else ""
        return f"<{self.format.title} model{task} in {self.folder}, on {self.device}: call it with ({fields})>"

    def __call__(self, *given: Any, n_best: int = 1, threshold: float = EVEN, **fields: Any) -> Any:
        """The answer; with ``n_best`` above 1 (span) a list of so many, each with its ``text`` and ``probability``.

        A model that may give no answer gives none where it is less sure than ``threshold``, 0 to 1. Raises UserError
        where a field is missing or of another type.
        """
        if self.format.comparison is not None:
            return self._vectors(*given, **fields)
        asked = {**self.format.called(*given), **fields}
        example = self.example(asked, "the call")
        if n_best > 1:
            return self.predict([example], n_best, threshold)[0]["n_best"]
        return self.format.answered(example, self.predict([example], 1, threshold)[0]["prediction"])

    def _vectors(self, texts: str | Sequence[str]) -> np.ndarray:
        found = self.vectors([texts] if isinstance(texts, str) else list(texts))
        return found[0] if isinstance(texts, str) else found

    def vectors(self, texts: Sequence[str], batch_size: int | None = None) -> np.ndarray:
        """[texts, hidden], L2-normalised: their products are cosines."""
        if wrong := next((text for text in texts if not isinstance(text, str)), None):
            raise UserError(f"{wrong!r} is no text")
        block = self.usage.block
        if block is None:
            block = self.model.config.num_hidden_layers
        return self.head.vectors(
            self.model, texts, self.tokenizer, self.usage.lengths, block, self.usage.pooling,
            precision=self.precision, device=self.device, batch_size=batch_size,
        )  # fmt: skip

    def example(self, record: Mapping[str, Any], where: str) -> Example:
        """The example that a record holds. Raises UserError, which begins with ``where``."""
        fields = self.format.fields
        try:
            read = self.format.asked(record)
            for name in fields:
                if not name.endswith("*") and read.get(name) in (None, "", []):
                    raise ValueError(f"no {name!r}")
            example = self.format.example.from_record({**read, "id": where})
            if example.fault:
                raise ValueError(example.fault)
        except ValueError as error:
            raise UserError(f"{where}: {error}; a record has {', '.join(fields)} (* may be missing)") from None
        return example

    def predict(
        self, examples: Sequence[Example], n_best: int = 1, threshold: float = EVEN, batch_size: int | None = None
    ) -> list[dict[str, Any]]:
        """Of each example its ``prediction``, with ``n_best`` above 1 the list of so many answers, and the
        ``confidence`` of a model that may give no answer."""
        predictions = self.raw(examples, n_best, batch_size)
        found: list[dict[str, Any]] = []
        for example, prediction in zip(examples, predictions, strict=True):
            if n_best > 1:
                best = json.loads(prediction)
                found.append({"prediction": self.format.said(best, self.task, threshold), "n_best": best})
                continue
            certain = self.format.confidence(prediction, self.task)
            found.append(
                {"prediction": self.format.readable(example, prediction, self.task, threshold)}
                | ({} if certain is None else {"confidence": certain})
            )
        return found

    def raw(self, examples: Sequence[Example], n_best: int = 1, batch_size: int | None = None) -> list[str]:
        """Predictions as `Format` scores them; with ``n_best`` above 1, as `Head.best` decodes."""
        rows = self.head.make_rows(examples, self.task, self.tokenizer, self.usage.lengths, training=False)
        try:
            (predictions,) = inference.predict(
                self.model, [(examples, rows)], self.head.best(n_best) if n_best > 1 else self.head, self.task,
                pad_id=self.tokenizer.pad_token_id, precision=self.precision, device=self.device, batch_size=batch_size,
            )  # fmt: skip
        except torch.OutOfMemoryError:
            size = f"of {batch_size:,} " if batch_size else ""
            raise UserError(f"a batch {size}is more than {self.device} holds; give a smaller --batch-size") from None
        return predictions


def load(
    folder: Path, format_name: str | None = None, device: str | None = None, precision: Precision | None = None
) -> Exported:
    """Open what `export` wrote. Raises UserError where it is none, not whole, or for another format than is said.

    A folder without `usage.FILE`, of a model that was trained elsewhere, needs ``format_name``; inputs are then of 384
    tokens at most. ``device`` is the accelerator by default, ``precision`` what is fast on it.
    """
    if not os.path.lexists(folder / CONFIG):
        raise UserError(f"{folder}: no exported model (config.json is missing); `xstilts export` writes one")
    max_length = _check_whole(folder)
    used = usage.read(folder)
    if used is None and format_name is None:
        raise UserError(f"{folder}: does not say its format ({usage.FILE} is missing); name its task")
    with told(f"{folder}: its configuration"):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model = _model(folder, config, format_name or (used.format if used else ""))
    if used is None or (format_name and format_name != used.format):
        limit = min(384, max_length)
        unanswerable = getattr(config, "unanswerable", None) is True  # as exports said it that have no usage.FILE
        used = Usage(format_name or "", "", limit, limit // 3, 64, unanswerable)
    with told(f"{folder}: the model"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    labels = tuple(config.id2label[i] for i in range(len(config.id2label)))
    on = named(device)
    return Exported(folder, model, tokenizer, used, labels, on, precision or fast_precision(on))


def _model(folder: Path, config: Any, format_name: str) -> PreTrainedModel:
    head = heads.get(format_name)
    wanted, own = head.AUTO_CLASS.removeprefix("AutoModel"), headed.kind_in(config, str(folder))
    if own and own != headed.KINDS.get(head.AUTO_CLASS):
        raise UserError(f"{folder}: its head is none for {format_name}; give the --task it was trained for")
    if not own and wanted and not any(name.endswith(wanted) for name in config.architectures or ()):
        found = (config.architectures or ["model without a head"])[0]
        raise UserError(f"{folder}: holds a {found}, no model for {format_name}; give the --task it was trained for")
    model: PreTrainedModel
    with told(f"{folder}: the model"):
        if own:
            model, info = headed.load(folder, config)
        elif wanted:
            model, info = getattr(transformers, head.AUTO_CLASS).from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
            model = bodies.both_ways(model)
        else:
            model, info = bodies.pretrained(folder, config, dtype=torch.float32)
    check_complete(str(folder), info)
    return model


def _check_whole(folder: Path) -> int:
    """The tokens that a model reads. Raises UserError where files lack, or do not fit each other."""
    source = EncoderSource(str(folder), read_json(folder / CONFIG, str(folder)), digest="", folder=folder)
    found = shape(source.config, source.name)
    check(folder, source.name, found)
    with_tokenizer(source)
    with_weights(source)
    return found.max_length
