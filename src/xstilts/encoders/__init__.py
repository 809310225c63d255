"""Encoders: the bundled one, a folder, or a model of the Hugging Face hub; whole or truncated to its lowest layers.

Nothing here imports torch or Transformers, so that a plan is quick; `xstilts.encoders.load` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from xstilts.common.errors import UserError
from xstilts.encoders import folder, sizes, sources

__all__ = ["Encoder", "EncoderFacts", "describe", "parse"]


@dataclass(frozen=True)
class Encoder:
    """A pretrained multilingual model, as a study names it.

    ``source`` is ``bundled/e5-small``, a folder, or a hub id such as ``FacebookAI/xlm-roberta-base``. ``layers``
    keeps only the lowest so many; None keeps all. ``init`` random takes the shape and the tokenizer alone.
    ``revision`` is a branch, tag or commit of a hub model. ``name`` is for people, and makes no other encoder of it.
    """

    source: str
    layers: int | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    revision: str | None = None
    name: str | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """How tables name it: its name, or ``bundled/e5-small@6``, with `` random`` after it for a random init."""
        if self.name is not None:
            return self.name
        layers = "" if self.layers is None else f"@{self.layers}"
        return f"{self.source}{layers}" + (" random" if self.init == "random" else "")


@dataclass(frozen=True)
class EncoderFacts:
    """An encoder's shape after truncation. Parameters are the encoder's own, without pooler and heads."""

    model_type: str
    layers: int
    hidden_size: int
    heads: int
    ffn: int
    vocabulary: int
    max_length: int  # tokens, special ones included
    parameters: int
    parameters_without_embeddings: int  # without the word, position, type and relative-position tables
    linear: tuple[sizes.Linear, ...]  # linear layers of one block
    attention: tuple[str, ...]  # of these the queries' and the values'
    digest: str  # decides the weights: sha256 of the files, or the hub's commit


def parse(text: str) -> Encoder:
    """Read an encoder's label, such as ``bundled/e5-small@6``. Raises UserError when it is none."""
    match = re.fullmatch(r"(?P<source>[^@]+?)(@(?P<layers>[1-9]\d*))?(?P<random> random)?", text.strip())
    if match is None:
        raise UserError(
            f"encoder {text!r}: not of the form SOURCE or SOURCE@LAYERS, such as bundled/e5-small@6 (at least 1 layer)"
        )
    layers = match["layers"]
    return Encoder(match["source"], int(layers) if layers else None, init="random" if match["random"] else "pretrained")


def describe(encoder: Encoder) -> EncoderFacts:
    """The facts of an encoder, from its configuration alone (a hub model's is downloaded when not cached).

    Raises UserError when the source cannot be had, is of an unknown type, has fewer layers than asked for, or has
    files that do not fit each other.
    """
    source = sources.resolve(encoder.source, encoder.revision)
    shape = sizes.shape(source.config, encoder.source)
    if source.folder is not None:
        folder.check(source.folder, source.name, shape)
    return facts_of(encoder, shape, source.digest)


def facts_of(encoder: Encoder, shape: sizes.Shape, digest: str) -> EncoderFacts:
    """The facts of an encoder of a model of ``shape``. Raises UserError when it has fewer layers than asked for."""
    layers = shape.layers if encoder.layers is None else encoder.layers
    if not 1 <= layers <= shape.layers:
        raise UserError(f"encoder {encoder.label}: the model has {shape.layers} layers; keep 1 to {shape.layers}")
    embeddings, rest = shape.parameters(layers)
    return EncoderFacts(
        model_type=shape.model_type,
        layers=layers,
        hidden_size=shape.hidden,
        heads=shape.heads,
        ffn=shape.ffn,
        vocabulary=shape.vocabulary,
        max_length=shape.max_length,
        parameters=embeddings + rest,
        parameters_without_embeddings=rest,
        linear=shape.linear,
        attention=shape.attention,
        digest=digest,
    )
