"""Whether the gain of a recipe depends on the size of the encoder: points of gain per tenfold size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from xstilts.analysis.axes import ENGLISH, Axes, SizedEncoder
from xstilts.analysis.bootstrap import Block
from xstilts.analysis.comparisons import covers, excludes_zero
from xstilts.analysis.crossed import BySeed, combined, mean_of
from xstilts.encoders.families import family_of

#: The row that takes all pretrained encoders together, whatever their family.
ALL_ENCODERS = "all encoders"
#: The row that takes the span targets together, each counting the same; only where there are several.
READING = "reading comprehension"
#: The row that takes the recipes together, each counting the same, averaged models aside; only where there are several.
ALL_RECIPES = "mean of recipes"
GROWS, SHRINKS, UNDECIDED, TOO_FEW = "grows", "shrinks", "no evidence either way", "too few sizes to tell"
#: A line through two points always fits.
ENOUGH_SIZES = 3

SIZES_SCHEMA = {
    "family": pl.String,  # a source, for its truncations; a family of families.yaml; or `all encoders`
    "recipe": pl.String,  # or `mean of recipes`
    "target": pl.String,  # or `reading comprehension`
    "n_sizes": pl.Int64,
    "smallest": pl.Int64,  # parameters without embeddings
    "largest": pl.Int64,
    "slope": pl.Float64,  # points of gain per tenfold size; null with a single size
    "low": pl.Float64,
    "high": pl.Float64,
    "n_seeds": pl.Int64,  # the fewest of an encoder
    "covers": pl.String,
    "confounded": pl.Boolean,  # several families, and their sizes differ: the slope is not that of size alone
    "verdict": pl.String,
}


class SizeCell(NamedTuple):
    encoder: str
    recipe: str
    target: str


@dataclass(frozen=True)
class Group:
    """Encoders that are compared over their sizes."""

    name: str
    encoders: tuple[SizedEncoder, ...]
    confounded: bool


def sizes(gains: Mapping[SizeCell, BySeed], of: Axes) -> pl.DataFrame:
    """The least-squares slope of the zero-shot gain over log10(parameters without embeddings) (SIZES_SCHEMA).

    From `by_seed_in` of every block. One row for each group of encoders, target and recipe, the pooled ones first;
    encoders that lack some of what is pooled are left out of that row. All encoders share the samples of examples, each
    has seeds of its own (`xstilts.analysis.crossed`). The interval does not cover which languages and which encoders
    were chosen, nor a gain that bends.
    """
    recipes = tuple(recipe for recipe in of.recipes if recipe != of.baselines[recipe])
    own = tuple(recipe for recipe in recipes if recipe not in of.means)
    targets = {READING: of.span_targets} if len(of.span_targets) > 1 else {}
    targets |= {target: (target,) for target in of.targets}
    averages = {ALL_RECIPES: own} if len(own) > 1 else {}
    averages |= {recipe: (recipe,) for recipe in recipes}
    rows: list[dict[str, object]] = []
    for group in groups(of.encoders):
        for target, pooled in targets.items():
            for recipe, averaged in averages.items():
                found = {}
                for encoder in group.encoders:
                    cells = [SizeCell(encoder.label, one, name) for one in averaged for name in pooled]
                    if all(cell in gains for cell in cells):
                        gain = mean_of([gains[cell] for cell in cells])
                        if not np.isnan(gain.values).all():
                            found[encoder] = gain
                if found:
                    what = {"family": group.name, "recipe": recipe, "target": target, "confounded": group.confounded}
                    rows.append(what | _slope(found))
    fitted = pl.DataFrame(rows, schema={name: kind for name, kind in SIZES_SCHEMA.items() if name != "verdict"})
    enough = pl.col("n_sizes") >= ENOUGH_SIZES
    verdict = pl.when(enough).then(excludes_zero(GROWS, SHRINKS, UNDECIDED)).otherwise(pl.lit(TOO_FEW))
    return fitted.fill_nan(None).with_columns(verdict=verdict)


def common_languages(scores: pl.DataFrame, of: Axes) -> dict[tuple[str, str], tuple[str, ...]]:
    """Of each target and recipe, the non-English languages that all pretrained encoders have that have it and its
    baseline.

    From SCORES_SCHEMA. Were one language missing on one encoder, its absence would look like an effect of size.
    """
    cell = ["encoder", "target", "language"]
    zero_shot = scores.filter("main", pl.col("init") == "pretrained", pl.col("language") != ENGLISH)
    based = zero_shot.with_columns(base=pl.col("recipe").replace(of.baselines))
    based = based.filter(pl.col("recipe") != pl.col("base"))
    both = based.join(zero_shot.select(*cell, base="recipe"), on=[*cell, "base"], how="semi")
    by_encoder = both.group_by("target", "recipe", "encoder").agg(pl.col("language").unique())
    common: dict[tuple[str, str], set[str]] = {}
    for target, recipe, _, languages in by_encoder.iter_rows():
        common[target, recipe] = common.get((target, recipe), set(languages)) & set(languages)
    return {key: tuple(sorted(languages)) for key, languages in common.items() if languages}


def by_seed_in(block: Block, languages: Mapping[tuple[str, str], Sequence[str]], of: Axes) -> dict[SizeCell, BySeed]:
    """The gain of each recipe of a block as the mean over its ``languages`` (by target and recipe), by seed."""
    found = {}
    for i, recipe in enumerate(block.recipes):
        at = [block.languages.index(language) for language in languages.get((block.target, recipe), ())]
        if at:
            base = block.recipes.index(of.baselines[recipe])
            values = block.values[i][:, at].mean(axis=1) - block.values[base][:, at].mean(axis=1)
            if not np.isnan(values).all():
                drawn = block.replicates[i][:, at].mean(axis=1) - block.replicates[base][:, at].mean(axis=1)
                found[SizeCell(block.encoder, recipe, block.target)] = BySeed(values, drawn)
    return found


def groups(encoders: Sequence[SizedEncoder]) -> tuple[Group, ...]:
    """The pretrained encoders by what makes their sizes comparable, then all of them if there are several families.

    Truncations of one source form a group under its name. A family with several sources forms one under the family's,
    of the deepest encoder of each source: truncation is not pretraining at that size.
    """
    families: dict[str, dict[str, list[SizedEncoder]]] = defaultdict(lambda: defaultdict(list))
    pretrained = [encoder for encoder in encoders if not encoder.random and encoder.parameters > 0]
    for encoder in pretrained:
        families[family_of(encoder.source)][encoder.source].append(encoder)
    found = []
    for family, sources in sorted(families.items()):
        several = len(sources) > 1
        found += [
            Group(source, tuple(members), confounded=False)
            for source, members in sources.items()
            if not several or len(members) > 1
        ]
        if several:
            deepest = (max(members, key=lambda encoder: encoder.parameters) for members in sources.values())
            found.append(Group(family, tuple(deepest), confounded=False))
    if len(families) > 1:
        means = [
            np.mean([np.log10(encoder.parameters) for members in sources.values() for encoder in members])
            for sources in families.values()
        ]
        found.append(Group(ALL_ENCODERS, tuple(pretrained), confounded=not np.allclose(means, means[0], atol=0.005)))
    return tuple(found)


def slope_weights(parameters: Sequence[int]) -> npt.NDArray[np.float64]:
    """Weights whose sum with the gains of encoders of ``parameters`` is the least-squares slope over log10 size."""
    size = np.log10(np.asarray(parameters, dtype=np.float64))
    centred = size - size.mean()
    weights: npt.NDArray[np.float64] = centred / (centred**2).sum()
    return weights


def _slope(gains: dict[SizedEncoder, BySeed]) -> dict[str, object]:
    parameters = [encoder.parameters for encoder in gains]
    fewest = min(int((~np.isnan(gain.values)).sum()) for gain in gains.values())
    found: dict[str, object] = {
        "n_sizes": len(set(parameters)),
        "smallest": min(parameters),
        "largest": max(parameters),
        "n_seeds": fewest,
        "covers": covers(fewest),
    }
    if found["n_sizes"] == 1:
        return found | {"slope": None, "low": None, "high": None}
    slope = combined(list(zip(slope_weights(parameters).tolist(), gains.values(), strict=True)))
    return found | {"slope": slope.value, "low": slope.low, "high": slope.high}
