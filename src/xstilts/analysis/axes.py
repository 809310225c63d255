"""What a study varies, in the order in which people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from xstilts.analysis.results import Results
from xstilts.planning.recipe import NONE as NONE
from xstilts.planning.recipe import Mean
from xstilts.planning.study import Study
from xstilts.tasks import formats

#: The language in which everything is trained.
ENGLISH = "en"
#: Rows that stand for several languages: the mean over them.
ZERO_SHOT = "all non-English"
ALL_LANGUAGES = "all languages"


@dataclass(frozen=True)
class SizedEncoder:
    """An encoder as the report speaks of it."""

    label: str
    source: str  # the pretrained model it comes from: truncations of one share it
    whole: bool  # has all layers of its source
    random: bool
    parameters: int  # without embeddings

    @property
    def size(self) -> str:
        """Parameters without embeddings, for people: ``21.3M``."""
        return millions(self.parameters)


@dataclass(frozen=True)
class Axes:
    """Encoders from small to large (random ones last), `none` before the recipes, span targets before the others."""

    encoders: tuple[SizedEncoder, ...]
    recipes: tuple[str, ...]
    targets: tuple[str, ...]
    languages: Mapping[str, tuple[str, ...]]  # target → languages, English first
    formats: Mapping[str, str]  # target → format
    metrics: Mapping[str, str]  # target → main metric
    vectors: Mapping[tuple[str, str], str]  # retrieval, mining: (encoder, target) → what the vectors compared are
    seeds: tuple[int, ...]
    means: Mapping[str, Mean] = field(default_factory=dict)  # recipe → of what; those of models themselves have none
    titles: Mapping[str, str] = field(default_factory=dict)  # target or recipe → as people write it, where that differs
    # (recipe, target) → languages but English of labelled data that its models were given; others are zero-shot
    beyond_english: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    paired_seeds: bool = False  # a seed has something in common, a training sample, whatever the recipe

    @cached_property
    def baselines(self) -> dict[str, str]:
        """Recipe → what its gain is measured against: `none`, its weights averaged as the recipe's own are."""
        return {recipe: self.means[recipe].label(NONE) if recipe in self.means else NONE for recipe in self.recipes}

    def averaged(self, recipe: str) -> dict[str, Mean]:
        """The means of a recipe's models."""
        return {label: mean for label, mean in self.means.items() if label == mean.label(recipe)}

    def adds_labels(self, recipe: str, target: str) -> bool:
        """Whether a recipe has labelled data beyond English that its baseline lacks: its gain is theirs too.

        What helps zero-shot is not to be told by such a gain.
        """
        own = self.beyond_english.get((recipe, target), ())
        return not {*own} <= {*self.beyond_english.get((self.baselines.get(recipe, NONE), target), ())}

    def called(self, name: str) -> str:
        """A target or recipe as people write it."""
        return self.titles.get(name, name)

    def encoder(self, label: str) -> SizedEncoder:
        return next(encoder for encoder in self.encoders if encoder.label == label)

    @property
    def span_targets(self) -> tuple[str, ...]:
        return tuple(target for target in self.targets if formats.get(self.formats[target]).comprehension)


def axes(results: Results) -> Axes:
    """The axes of a study as far as it has scores; recipes and targets keep their order otherwise."""
    main = results.scores.filter(pl.col("main"))
    cut = {entry.encoder.label for entry in results.study.encoders if entry.encoder.is_cut}
    means = {mean.of: mean for mean in results.study.means}
    encoders = [
        SizedEncoder(label, source, label not in cut, init == "random", parameters)
        for label, source, init, parameters in main.select("encoder", "source", "init", "parameters_without_embeddings")
        .unique("encoder", keep="first", maintain_order=True)
        .iter_rows()
    ]
    targets = main.select("target", "format", "metric").unique("target", keep="first", maintain_order=True).rows()
    pairs = main.select("target", "language").unique().rows()
    labelled = main.select("recipe", "target", "beyond_english").drop_nulls().unique().rows()
    return Axes(
        encoders=tuple(sorted(encoders, key=lambda encoder: (encoder.random, encoder.parameters, encoder.label))),
        recipes=tuple(sorted(main["recipe"].unique(maintain_order=True), key=lambda recipe: recipe != NONE)),
        targets=tuple(
            target for target, _, _ in sorted(targets, key=lambda row: not formats.get(row[1]).comprehension)
        ),
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
        means={recipe: means[of] for recipe, of in main.select("recipe", "averaged").drop_nulls().unique().rows()},
        titles=_titles(results.study, [target for target, _, _ in targets]),
        beyond_english={(recipe, target): tuple(languages.split("+")) for recipe, target, languages in labelled},
        paired_seeds=results.study.sample == "per_seed",
    )


def _titles(study: Study, targets: Sequence[str]) -> dict[str, str]:
    """Of targets, and of recipes that are named after the one task that they train on, or a cut of which they do."""
    catalog = study.catalog
    named = list(targets)
    for entry in study.recipes:
        if len(entry.tasks) == 1 and not (entry.mlm or entry.translated or entry.target_training):
            (task,) = entry.tasks
            same = task == entry.name or (task in catalog and catalog[task].stands_for == entry.name)
            named += [entry.name] if same else []
    return {name: catalog[name].called for name in named if name in catalog}


def how_compared(row: Mapping[str, object]) -> str:
    """How sentences are compared, by a row of SCORES_SCHEMA: without it, no two scores of retrieval are comparable."""
    return f"{row['pooling']} pooling, {formats.get(str(row['format'])).comparison}"


def millions(parameters: int) -> str:
    """A parameter count for people: 2.4M, 85M, 3.5B."""
    if parameters < 1_000_000:
        return f"{parameters / 1e3:.3g}k"
    return f"{parameters / 1e6:.3g}M" if parameters < 999_500_000 else f"{parameters / 1e9:.3g}B"
