"""A linear layer over an encoder's body, for formats for which Transformers has no head over the encoder's type.

Its weights are two tensors, ``weight`` [outputs, hidden] and ``bias`` [outputs], that are saved beside a body as
Transformers saves it: a few lines open both without xstilts (`opening`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import (
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from xstilts.common.errors import UserError
from xstilts.encoders import bodies

Pooling = Literal["last", "mean"]
POOLINGS = get_args(Pooling)

#: What Transformers' classes with a head read: the ends of a span, each token, a sequence, or one of several.
KINDS = {
    "AutoModelForQuestionAnswering": "ends",
    "AutoModelForTokenClassification": "tokens",
    "AutoModelForSequenceClassification": "sequence",
    "AutoModelForMultipleChoice": "choices",
}

#: The head's dropout where the configuration names none, as in Transformers' own (modeling_layers.py).
_DROPOUT = 0.1


class Headed(PreTrainedModel):
    """A body under one linear layer, of one ``kind`` (`KINDS`).

    A span's first and last token and tags are read at each token; classes and choices at one vector a sequence:
    the last token's where tokens attend to those before them alone, else the mean over all tokens.
    """

    base_model_prefix = "body"
    config_class = PreTrainedConfig
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_attention_backend = True  # the body was asked before

    def __init__(self, body: PreTrainedModel, kind: str, pooling: Pooling) -> None:
        config = body.config
        super().__init__(config)
        self.body, self.kind, self.pooling = body, kind, pooling
        outputs = {"ends": 2, "choices": 1}.get(kind) or len(config.id2label or {})
        own = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout_prob", "dropout"))
        self.dropout = nn.Dropout(next((p for p in own if isinstance(p, float)), _DROPOUT))
        self.head = nn.Linear(config.hidden_size, outputs)
        nn.init.normal_(self.head.weight, std=getattr(config, "initializer_range", None) or 0.02)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None, **inputs: Any
    ) -> Any:
        """``input_ids`` and ``attention_mask`` [rows, length], or [rows, choices, length]; padding stands behind."""
        shape = input_ids.shape
        given = {"input_ids": input_ids, "attention_mask": attention_mask, **inputs}
        flat = {name: value.reshape(-1, shape[-1]) if isinstance(value, torch.Tensor) else value
                for name, value in given.items()}  # fmt: skip
        states = self.body(**flat).last_hidden_state
        if self.kind in ("ends", "tokens"):
            logits = self.head(self.dropout(states))
            if self.kind == "ends":
                start, end = logits.unbind(-1)
                return QuestionAnsweringModelOutput(start_logits=start, end_logits=end)
            return TokenClassifierOutput(loss=_loss(logits.flatten(0, -2), labels), logits=logits)
        logits = self.head(self.dropout(pooled(states, flat["attention_mask"], self.pooling)))
        if self.kind == "choices":
            logits = logits.view(shape[0], -1)
            return MultipleChoiceModelOutput(loss=_loss(logits, labels), logits=logits)
        return SequenceClassifierOutput(loss=_loss(logits, labels), logits=logits)


def pooled(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """[rows, length, hidden] and the attention mask [rows, length] → [rows, hidden]."""
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    weights = mask.unsqueeze(-1).to(torch.float32)
    return ((states.float() * weights).sum(1) / weights.sum(1)).to(states.dtype)


def _loss(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor | None:
    """The mean cross entropy over the labels; `rows.IGNORED`, which is PyTorch's own, is passed over."""
    return None if labels is None else cross_entropy(logits.float(), labels.flatten())


# -- a model as a folder ----------------------------------------------------------------------------------------------

#: The head's weights, beside the body's.
FILE = "head.safetensors"

#: What config.json says of the head.
SETTING = "xstilts_head"


def save(model: Headed, folder: Path) -> None:
    """Write a model: the body as Transformers saves it, which opens it, and the head beside it."""
    setattr(model.body.config, SETTING, {"kind": model.kind, "pooling": model.pooling})
    model.body.save_pretrained(folder)
    save_file({"weight": model.head.weight.detach(), "bias": model.head.bias.detach()}, folder / FILE)


def kind_in(config: PreTrainedConfig, where: str) -> str | None:
    """The kind of the head that `save` wrote beside a body; None where it wrote none. Raises UserError."""
    said = getattr(config, SETTING, None)
    if said is None:
        return None
    if not isinstance(said, dict) or said.get("kind") not in KINDS.values() or said.get("pooling") not in POOLINGS:
        raise UserError(f"{where}: config.json: {SETTING} is {str(said)[:80]!r}, and says no head; export it again")
    return str(said["kind"])


def load(folder: Path, config: PreTrainedConfig) -> tuple[Headed, Mapping[str, Any]]:
    """The model that `save` wrote, and what ``from_pretrained`` tells of its body's loading."""
    said = getattr(config, SETTING)
    body, info = bodies.pretrained(folder, config, dtype=torch.float32)
    model = Headed(body, said["kind"], said["pooling"])
    model.head.load_state_dict(load_file(folder / FILE))
    return model.eval(), info


_POOLED = {"last": "[:, -1]  # at the last token", "mean": ".mean(1)  # the mean over all tokens"}


def opening(model: Headed) -> str:
    """Python that opens what `save` wrote, with Transformers alone, and defines `outputs`: logits of inputs."""
    source, name = bodies.imported_from(model.body)
    both_ways = getattr(model.config, "is_causal", None) is False
    eager = ', attn_implementation="eager"' if both_ways else ""  # other ones may go by what its modules say
    pooled = "" if model.kind in ("ends", "tokens") else _POOLED[model.pooling]
    return "\n".join([
        "import torch",
        "from safetensors.torch import load_file",
        "from transformers import AutoTokenizer",
        f"from {source} import {name}",
        "",
        'folder = "."  # the folder of this file',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f"body = {name}.from_pretrained(folder{eager})",
        f'head = load_file(f"{{folder}}/{FILE}")',
        "",
        "",
        "@torch.inference_mode()",
        "def outputs(inputs):",
        f"    states = body(**inputs).last_hidden_state{pooled}",
        '    return states @ head["weight"].T + head["bias"]',
    ])  # fmt: skip
