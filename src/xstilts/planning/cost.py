"""What a stage will cost, estimated from the encoder's shape and the length of the texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from xstilts.common.errors import UserError, did_you_mean
from xstilts.data.load import DEV_SHARE
from xstilts.encoders import EncoderFacts
from xstilts.planning.hyperparameters import Lora
from xstilts.tasks import formats
from xstilts.tasks.formats import Example
from xstilts.tasks.task import Split, Task

#: UTF-8 bytes a token of XLM-R's vocabulary, over the languages of XQuAD: 4.2 (en) to 8.1 (hi). Good to about 30 %.
BYTES_PER_TOKEN = 5.0


#: Examples of a split, or lines of text, of which the catalog does not say how many there are.
UNKNOWN = 1000


def expected_examples(task: Task, split: Split, language: str) -> int:
    """How many examples the catalog says a split has; a tenth of train for dev that is cut out of it."""
    known = task.count(split, language)
    train = task.count("train", language)
    if train is not None and split != "test" and task.layouts and not any(layout.dev for layout in task.layouts):
        return round(train * (DEV_SHARE if split == "dev" else 1 - DEV_SHARE))
    if known is None and task.parts:
        return sum(expected_examples(part, split, language) for part in task.parts)
    return UNKNOWN if known is None else known


def estimate_tokens(examples: Iterable[Example], max_length: int) -> int:
    """Tokens of the model inputs made of ``examples``, roughly; a multiple-choice prompt counts once a choice."""
    total = 0.0
    for example in examples:
        limit = math.inf if formats.of(example).windowed else max_length
        for texts in example.inputs:
            total += min(sum(len(text.encode()) / BYTES_PER_TOKEN + 2 for text in texts), limit)
    return round(total)


def adapted(facts: EncoderFacts, targets: Sequence[str]) -> tuple[str, ...]:
    """The names of the linear layers that LoRA's ``targets`` name in an encoder. Raises UserError."""
    known = sorted({layer.name for layer in facts.linear})
    if not known or not (targets or facts.attention):
        raise UserError(
            f"lora: of a {facts.model_type} it is not known which layers to adapt"
            + (f"; name `targets`: {', '.join(known)}" if known else "; train it whole: `lora: none`")
        )
    if not targets:
        return facts.attention
    if "all-linear" in targets:
        return tuple(known)
    for name in targets:
        if name not in known:
            raise UserError(
                f"lora: targets: {name!r} is no linear layer of a {facts.model_type}: "
                f"{did_you_mean(name, ['all-linear', *known])}"
            )
    return tuple(targets)


def lora_parameters(facts: EncoderFacts, lora: Lora) -> int:
    """Of an encoder's adapters: rank · (inputs + outputs) for each adapted layer (Hu et al. 2021, section 4.1).

    Raises UserError as `adapted` does, and where the rank is no lower than the layers'.
    """
    names = adapted(facts, lora.targets)
    narrowest = min(min(layer.inputs, layer.outputs) for layer in facts.linear if layer.name in names)
    if lora.rank > narrowest:
        raise UserError(f"lora: rank: {lora.rank} is more than the {narrowest} of the layers that it adapts; lower it")
    widths = [layer.inputs + layer.outputs for layer in facts.linear if layer.name in names]
    return facts.layers * lora.rank * sum(widths)


def flops(facts: EncoderFacts, tokens: int, length: float, *, training: bool, lora: Lora | None = None) -> float:
    """Floating-point operations of a pass over ``tokens`` tokens in sequences of ``length`` tokens.

    2·P + 4·layers·width·length a token forward, three times that with the backward pass; P are the parameters without
    embeddings, the width that of all heads together (Kaplan et al. 2020, arXiv 2001.08361, section 2.1, with the
    attention term kept). Under LoRA the backward pass gives no gradients of the encoder's weights, 2·P less a token,
    but those of its adapters.
    """
    forward = 2.0 * facts.parameters_without_embeddings + 4.0 * facts.layers * facts.attended * length
    if not training:
        return tokens * forward
    saved = 2.0 * facts.parameters_without_embeddings - 6.0 * lora_parameters(facts, lora) if lora else 0.0
    return tokens * (3.0 * forward - saved)


def activation_bytes(
    layers: int, hidden: int, ffn: int, heads: int, length: int, wide: int, *, checkpointing: bool
) -> float:
    """What is kept of a token for the backward pass, in sequences of ``length``: a little more than BERT was seen to.

    Per layer 24 values of the hidden size and 3 of the feed-forward size, and two rows of attention shares a head, each
    of ``wide`` bytes; when recomputing, one value of the hidden size in 32 bits, and a layer's worth at a time, twice.
    """
    layer = wide * (24 * hidden + 3 * ffn + 2 * heads * length)
    return layers * 4.0 * hidden + 2 * layer if checkpointing else float(layers * layer)
