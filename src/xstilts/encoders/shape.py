"""What decides an encoder's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from xstilts.common.errors import UserError

#: Fields of config.json that must be whole numbers where they are given, and what no encoder goes beyond.
BOUNDS = {
    "hidden_size": (1, 1 << 16), "num_hidden_layers": (1, 1000), "num_attention_heads": (1, 1 << 12),
    "intermediate_size": (1, 1 << 20), "vocab_size": (1, 1 << 24), "max_position_embeddings": (1, 1 << 24),
    "type_vocab_size": (0, 1 << 10), "pad_token_id": (0, 1 << 24), "head_dim": (1, 1 << 16),
    "num_key_value_heads": (1, 1 << 12),
}  # fmt: skip

#: The length of a text for encoders whose positions have no end.
UNBOUNDED = 1_000_000


class Linear(NamedTuple):
    """A linear layer by its module's name, which several of a block may share."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Shape:
    """What decides an encoder's size."""

    model_type: str
    layers: int
    hidden: int
    heads: int
    ffn: int
    vocabulary: int
    embedding: int  # dimensions of the word embeddings
    max_length: int  # tokens
    tables: int  # parameters of the lookup tables: words, positions, types
    shared: int  # parameters outside both tables and layers: the norms before or after them
    layer: int  # parameters of one layer
    linear: tuple[Linear, ...]  # those in a layer; none where layers differ in them
    attention: tuple[str, ...]  # of these the queries' and the values', where Hu et al. 2021 (section 4.2) put LoRA
    blocks: tuple[int, ...] = ()  # parameters of each layer, where they differ
    causal: bool = False  # whether each token attends to those before it alone
    mlm: bool = True  # whether Transformers has a head for masked language modelling over it

    def parameters(self, layers: int) -> tuple[int, int]:
        """(lookup tables, all the rest) of a model with so many layers."""
        return self.tables, self.shared + (sum(self.blocks[:layers]) if self.blocks else layers * self.layer)


def check_number(field: str, value: Any, least: int, most: int, name: str) -> None:
    """Raises UserError where a field of the encoder ``name`` is no whole number from ``least`` to ``most``."""
    if type(value) is not int or not least <= value <= most:
        shown = repr(value)[:40] if type(value) is not int or abs(value) < 10**20 else "a huge number"
        raise UserError(f"encoder {name}: config.json: {field} is {shown}, no whole number from {least} to {most}")
