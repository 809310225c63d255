"""What a stage will cost, estimated from the encoder's shape and the length of the texts."""

from __future__ import annotations

from collections.abc import Iterable

from xstilts.data.examples import Example, texts
from xstilts.encoders import EncoderFacts

#: UTF-8 bytes a token of XLM-R's vocabulary, over the languages of XQuAD: 4.2 (en) to 8.1 (hi). Good to about 30 %.
BYTES_PER_TOKEN = 5.0


def estimate_tokens(examples: Iterable[Example], max_length: int) -> int:
    """Tokens of the model inputs made of ``examples``, roughly; a multiple-choice prompt counts once a choice."""
    total = 0.0
    for example in examples:
        parts = [len(text.encode()) / BYTES_PER_TOKEN + 2 for text in texts(example)]
        choices = getattr(example, "choices", None)
        if choices:
            total += sum(min(parts[0] + part, max_length) for part in parts[1:])
        elif hasattr(example, "answers"):
            total += sum(parts)  # a long passage becomes several windows
        else:
            total += min(sum(parts), max_length)
    return round(total)


def flops(facts: EncoderFacts, tokens: int, length: float, *, training: bool) -> float:
    """Floating-point operations of a pass over ``tokens`` tokens in sequences of ``length`` tokens.

    2·P + 4·layers·hidden·length a token forward, three times that with the backward pass; P are the parameters
    without embeddings (Kaplan et al. 2020, arXiv 2001.08361, section 2.1, with the attention term kept).
    """
    forward = 2.0 * facts.parameters_without_embeddings + 4.0 * facts.layers * facts.hidden_size * length
    return tokens * forward * (3.0 if training else 1.0)
