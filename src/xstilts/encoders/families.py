"""The encoders that `xstilts encoders` lists, with their sizes."""

from __future__ import annotations

from dataclasses import dataclass

from xstilts.encoders import Encoder, EncoderFacts, bundled, describe, facts_of, listed, sizes, sources

#: The digest of an encoder that is known by the list alone.
NOT_AT_HAND = "not at hand"


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder of the list. Sizes are of the whole model, without pooler and heads."""

    source: str  # as a study writes it
    family: str
    model_type: str
    layers: int  # a study may keep fewer: SOURCE@LAYERS
    hidden_size: int
    heads: int
    ffn: int
    vocabulary: int
    max_length: int
    parameters: int
    parameters_without_embeddings: int
    languages: int
    licence: str
    citation: str
    cite: tuple[str, ...]  # keys of its references, in references.bib
    note: str
    available: bool  # here, without a network: the package is installed, or the weights are in the hub's cache


def expected(encoder: Encoder) -> EncoderFacts | None:
    """The facts of a listed encoder by the list alone, for a plan of what is not at hand; None if it is not listed.

    Raises UserError where it has fewer layers than asked for.
    """
    entry = listed.entry(encoder.source)
    return facts_of(encoder, sizes.shape(entry["config"], encoder.source), NOT_AT_HAND) if entry else None


def look_up(encoder: Encoder) -> EncoderFacts:
    """The facts of an encoder, by the list alone where it is listed and not at hand. Raises UserError."""
    facts = None if sources.at_hand(encoder.source) else expected(encoder)
    return facts or describe(encoder)


def family_of(source: str) -> str:
    """The family of a listed encoder; of any other, its source, for nothing is known of what it shares with others."""
    entry = listed.entry(source)
    return str(entry["family"]) if entry else source


def known_encoders() -> list[KnownEncoder]:
    """The list, in the file's order, smallest first within a family."""
    known = []
    for name, entry in listed.entries().items():
        shape = sizes.shape(entry["config"], name)
        tables, rest = shape.parameters(shape.layers)
        known.append(
            KnownEncoder(
                source=name,
                family=entry["family"],
                model_type=shape.model_type,
                layers=shape.layers,
                hidden_size=shape.hidden,
                heads=shape.heads,
                ffn=shape.ffn,
                vocabulary=shape.vocabulary,
                max_length=shape.max_length,
                parameters=tables + rest,
                parameters_without_embeddings=rest,
                languages=entry["languages"],
                licence=entry["licence"],
                citation=entry["citation"],
                cite=tuple(entry["cite"]),
                note=entry.get("note", ""),
                available=bundled.installed() if name == bundled.NAME else sources.cached(name),
            )
        )
    return known
