"""What a study varies, in the order in which people read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from xstilts.planning.recipe import plain

#: The language in which everything is trained.
ENGLISH = "en"
#: Rows that stand for several languages: the mean over them.
ZERO_SHOT = "all non-English"
ALL_LANGUAGES = "all languages"
#: The recipe without an intermediate task, against which gains are measured.
BASELINE = "none"


@dataclass(frozen=True)
class Encoder:
    """An encoder as the report speaks of it."""

    label: str
    random: bool
    parameters: int  # without embeddings

    @property
    def source(self) -> str:
        """The pretrained model it comes from: truncations of one share it."""
        return self.label.removesuffix(" random").split("@")[0]

    @property
    def size(self) -> str:
        """Parameters without embeddings, for people: ``21.3M``."""
        return millions(self.parameters)


@dataclass(frozen=True)
class Axes:
    """Encoders from small to large (random ones last), `none` before the recipes, span targets before the others."""

    encoders: tuple[Encoder, ...]
    recipes: tuple[str, ...]
    targets: tuple[str, ...]
    languages: Mapping[str, tuple[str, ...]]  # target → languages, English first
    formats: Mapping[str, str]  # target → format
    metrics: Mapping[str, str]  # target → main metric
    vectors: Mapping[tuple[str, str], str]  # retrieval, mining: (encoder, target) → what the vectors compared are
    seeds: tuple[int, ...]

    def encoder(self, label: str) -> Encoder:
        return next(encoder for encoder in self.encoders if encoder.label == label)

    @property
    def span_targets(self) -> tuple[str, ...]:
        return tuple(target for target in self.targets if self.formats[target] == "span")


def axes(scores: pl.DataFrame) -> Axes:
    """The axes of a study from its scores (SCORES_SCHEMA); recipes and targets keep their order otherwise."""
    main = scores.filter(pl.col("main"))
    encoders = [
        Encoder(label, init == "random", parameters)
        for label, init, parameters in main.select("encoder", "init", "parameters_without_embeddings")
        .unique("encoder", keep="first", maintain_order=True)
        .iter_rows()
    ]
    targets = main.select("target", "format", "metric").unique("target", keep="first", maintain_order=True).rows()
    pairs = main.select("target", "language").unique().rows()
    return Axes(
        encoders=tuple(sorted(encoders, key=lambda encoder: (encoder.random, encoder.parameters, encoder.label))),
        recipes=tuple(sorted(main["recipe"].unique(maintain_order=True), key=lambda recipe: recipe != BASELINE)),
        targets=tuple(target for target, _, _ in sorted(targets, key=lambda row: row[1] != "span")),
        languages={
            target: tuple(sorted((code for name, code in pairs if name == target), key=lambda c: (c != ENGLISH, c)))
            for target, _, _ in targets
        },
        formats={target: format_ for target, format_, _ in targets},
        metrics={target: metric for target, _, metric in targets},
        vectors={
            (row["encoder"], row["target"]): f"block {row['hidden_layer']} of {row['layers']}, {how_compared(row)}"
            for row in main.filter(pl.col("hidden_layer").is_not_null()).iter_rows(named=True)
        },
        seeds=tuple(sorted(main["seed"].unique())),
    )


def averaged(recipes: Iterable[str]) -> list[str]:
    """Of the labels of recipes those of models with averaged weights: they are no recipes of their own."""
    return [recipe for recipe in recipes if plain(recipe) != recipe]


def how_compared(row: Mapping[str, object]) -> str:
    """How sentences are compared, by a row of SCORES_SCHEMA: without it, no two scores of retrieval are comparable."""
    return f"{row['pooling']} pooling, " + ("ratio margin" if row["format"] == "mining" else "cosine")


def millions(parameters: int) -> str:
    """A parameter count for people: 2.4M, 85M, 3.5B."""
    if parameters < 1_000_000:
        return f"{parameters / 1e3:.3g}k"
    return f"{parameters / 1e6:.3g}M" if parameters < 999_500_000 else f"{parameters / 1e9:.3g}B"
