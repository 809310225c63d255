"""Encoders: the bundled one, a folder, or a model of the Hugging Face hub; whole, or pruned in depth and width.

Nothing here imports torch or Transformers, so that a plan is quick; `xstilts.encoders.load` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from xstilts.common.errors import UserError
from xstilts.encoders import folder, pruning, sizes, sources
from xstilts.encoders.pruning import Every, Kept, Layers

__all__ = ["Encoder", "EncoderFacts", "Every", "describe", "parse"]


@dataclass(frozen=True)
class Encoder:
    """A pretrained multilingual model, as a study names it.

    ``source`` is ``bundled/e5-small``, a folder, or a hub id such as ``FacebookAI/xlm-roberta-base``. ``layers`` keeps
    only the lowest so many, these (counted from 0), or every so-manieth; None keeps all. ``ffn`` keeps that share of
    each block's feed-forward units if it is at most 1, else so many; ``heads`` so many attention heads: the most
    important ones (`xstilts.encoders.cut`). ``heal``: on so many tokens of text it is distilled from the whole model
    before anything else (`xstilts.engine.training.heal`). ``init`` random takes the shape and the tokenizer alone.
    ``revision`` is a branch, tag or commit of a hub model. ``name`` is for people, and makes no other encoder of it.
    ``attention`` is how a decoder reads: forwards (causal, as it was pretrained), or both ways (full).
    """

    source: str
    layers: Layers | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    revision: str | None = None
    name: str | None = field(default=None, compare=False)
    ffn: float | None = None
    heads: int | None = None
    heal: int | None = None
    attention: Literal["causal", "full"] | None = None

    @property
    def label(self) -> str:
        """How tables name it: its name, or what `parse` reads, as ``bundled/e5-small@6`` or ``... ffn 384 random``."""
        if self.name is not None:
            return self.name
        match self.layers:
            case None:
                layers = ""
            case Every(every):
                layers = f"@every {every}"
            case int(lowest):
                layers = f"@{lowest}"
            case blocks:
                layers = "@" + ",".join(map(str, blocks))
        ffn = "" if self.ffn is None else f" ffn {int(self.ffn) if self.ffn > 1 else self.ffn}"
        heads = "" if self.heads is None else f" heads {self.heads}"
        healed = "" if self.heal is None else f" healed {_shortly(self.heal)}"
        full = " full" if self.attention == "full" else ""
        return f"{self.source}{layers}{ffn}{heads}{healed}{full}" + (" random" if self.init == "random" else "")

    @property
    def whole(self) -> Encoder:
        """The pretrained model that it comes from."""
        return Encoder(self.source, revision=self.revision, attention=self.attention)

    @property
    def is_cut(self) -> bool:
        """Whether something of the pretrained model is left out, as far as this says."""
        return (self.layers, self.ffn, self.heads) != (None, None, None)

    @property
    def kept(self) -> str:
        """What of the pretrained model it is, in words, such as ``the first 6 layers``; empty for all of it."""
        match self.layers:
            case None:
                layers = ""
            case Every(every):
                layers = f"one layer in {every}, from the first on,"
            case int(lowest):
                layers = f"the first {lowest} layers"
            case blocks:
                layers = f"the layers {', '.join(map(str, blocks))} (counted from 0)"
        widths = []
        if self.ffn is not None:
            share = f"{100 * self.ffn:g} % of the" if self.ffn <= 1 else f"{self.ffn:g}"
            widths.append(f"{share} feed-forward units")
        if self.heads is not None:
            widths.append(f"{self.heads} attention heads")
        if widths:
            layers = f"{layers or 'all layers'} with {' and '.join(widths)} in each"
        return layers if self.heal is None else f"{layers}, healed on {self.heal:,} tokens"


@dataclass(frozen=True)
class EncoderFacts:
    """An encoder's shape after pruning. Parameters are the encoder's own, without pooler and heads."""

    model_type: str
    layers: int
    hidden_size: int
    heads: int
    attended: int  # dimensions of all heads of a block together
    ffn: int
    vocabulary: int
    max_length: int  # tokens, special ones included
    parameters: int
    parameters_without_embeddings: int  # without the word, position, type and relative-position tables
    linear: tuple[sizes.Linear, ...]  # linear layers of one block; none where blocks differ in them
    attention: tuple[str, ...]  # of these the queries' and the values'
    digest: str  # decides the weights: sha256 of the files, or the hub's commit
    kept: Kept  # of the model that it is cut out of
    decoder: bool  # whether it was pretrained to read forwards, each token attending to those before it alone
    causal: bool  # whether it is read so here
    mlm: bool  # whether it has a head for masked language modelling

    @property
    def pooling(self) -> Literal["last", "mean"]:
        """What of a sequence our own heads read its class at: the last token, which alone has read all, or the mean."""
        return "last" if self.causal else "mean"


def _shortly(tokens: int) -> str:
    """A number of tokens as a label has it: 300k, 2M."""
    for unit, short in ((10**6, "M"), (10**3, "k")):
        if tokens % unit == 0:
            return f"{tokens // unit}{short}"
    return str(tokens)


#: ``SOURCE@LAYERS ffn UNITS heads HEADS healed TOKENS full random``, of which all but the source may be missing.
_LABEL = re.compile(
    r"(?P<source>[^@]+?)(@((?P<lowest>[1-9]\d*)|(?P<blocks>\d+(,\d+)+)|every (?P<every>[1-9]\d*)))?"
    r"( ffn (?P<ffn>\d*[1-9]\d*|0?\.\d+|1\.0))?( heads (?P<heads>[1-9]\d*))?"
    r"( healed (?P<heal>[1-9]\d*)(?P<unit>[kM]?))?(?P<full> full)?(?P<random> random)?"
)


def parse(text: str) -> Encoder:
    """Read an encoder's label, such as ``bundled/e5-small@6 ffn 384``. Raises UserError when it is none."""
    match = _LABEL.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"encoder {text!r}: not of the form SOURCE or SOURCE@LAYERS, such as bundled/e5-small@6 (at least 1 layer) "
            f"or bundled/e5-small@0,3,7,11, with ` ffn UNITS`, ` heads HEADS`, ` healed TOKENS` or ` random` after it"
        )
    layers: Layers | None = None
    if match["lowest"]:
        layers = int(match["lowest"])
    elif match["blocks"]:
        layers = tuple(map(int, match["blocks"].split(",")))
    elif match["every"]:
        layers = Every(int(match["every"]))
    return Encoder(
        match["source"], layers, init="random" if match["random"] else "pretrained",
        ffn=float(match["ffn"]) if match["ffn"] else None, heads=int(match["heads"]) if match["heads"] else None,
        heal=int(match["heal"]) * {"": 1, "k": 10**3, "M": 10**6}[match["unit"]] if match["heal"] else None,
        attention="full" if match["full"] else None,
    )  # fmt: skip


def describe(encoder: Encoder) -> EncoderFacts:
    """The facts of an encoder, from its configuration alone (a hub model's is downloaded when not cached).

    Raises UserError when the source cannot be had, is of an unknown type, has less than is to be kept, or has files
    that do not fit each other.
    """
    source = sources.resolve(encoder.source, encoder.revision)
    shape = sizes.shape(source.config, encoder.source)
    if source.folder is not None:
        folder.check(source.folder, source.name, shape)
    return facts_of(encoder, shape, source.digest)


def facts_of(encoder: Encoder, shape: sizes.Shape, digest: str) -> EncoderFacts:
    """The facts of an encoder of a model of ``shape``. Raises UserError where less is there than is to be kept."""
    if encoder.attention == "causal" and not shape.causal:
        raise UserError(
            f"encoder {encoder.label}: attention: causal: a {shape.model_type} reads both ways; leave it out"
        )
    kept = pruning.kept(shape, encoder.layers, encoder.ffn, encoder.heads, encoder.label)
    head_size = shape.hidden // shape.heads
    shape = pruning.pruned(shape, kept)
    embeddings, rest = shape.parameters(shape.layers)
    return EncoderFacts(
        model_type=shape.model_type,
        layers=shape.layers,
        hidden_size=shape.hidden,
        heads=shape.heads,
        attended=shape.heads * head_size,
        ffn=shape.ffn,
        vocabulary=shape.vocabulary,
        max_length=shape.max_length,
        parameters=embeddings + rest,
        parameters_without_embeddings=rest,
        linear=shape.linear,
        attention=shape.attention,
        digest=digest,
        kept=kept,
        decoder=shape.causal,
        causal=shape.causal and encoder.attention != "full",
        mlm=shape.mlm,
    )
