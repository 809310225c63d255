"""Whether the gain of a recipe depends on the size of the encoder: points of gain per tenfold size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from xstilts.analysis.axes import BASELINE, ENGLISH, Axes, Encoder
from xstilts.analysis.bootstrap import BySeed, Resamples, combined, covers
from xstilts.analysis.comparisons import excludes_zero
from xstilts.encoders.families import family_of

#: The row that takes all pretrained encoders together, whatever their family.
ALL_ENCODERS = "all encoders"
#: The row that takes the span targets together, each counting the same; only where there are several.
READING = "reading comprehension"
#: The row that takes the recipes together, each counting the same; only where there are several.
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


@dataclass(frozen=True)
class Group:
    """Encoders that are compared over their sizes."""

    name: str
    encoders: tuple[Encoder, ...]
    confounded: bool


def sizes(resamples: Resamples, of: Axes) -> pl.DataFrame:
    """The least-squares slope of the zero-shot gain over log10(parameters without embeddings) (SIZES_SCHEMA).

    One row for each group of encoders, target and recipe, the pooled ones first. Encoders of one row are compared on
    the languages that all of them have. The interval takes the examples from a bootstrap, whose samples all encoders
    share, and the seeds from their variance within each encoder (``bootstrap.combined``). It does not cover which
    languages and which encoders were chosen, nor a gain that bends.
    """
    recipes = tuple(recipe for recipe in of.recipes if recipe != BASELINE)
    reading = of.span_targets
    targets = {READING: reading} if len(reading) > 1 else {}
    targets |= {target: (target,) for target in of.targets}
    together = {ALL_RECIPES: recipes} if len(recipes) > 1 else {}
    together |= {recipe: (recipe,) for recipe in recipes}
    rows: list[dict[str, object]] = []
    for group in groups(of.encoders):
        for target, members in targets.items():
            for recipe, averaged in together.items():
                found = dict(_gains(resamples, of, group.encoders, averaged, members))
                if found:
                    what = {"family": group.name, "recipe": recipe, "target": target, "confounded": group.confounded}
                    rows.append(what | _slope(found))
    fitted = pl.DataFrame(rows, schema={name: kind for name, kind in SIZES_SCHEMA.items() if name != "verdict"})
    enough = pl.col("n_sizes") >= ENOUGH_SIZES
    verdict = pl.when(enough).then(excludes_zero(GROWS, SHRINKS, UNDECIDED)).otherwise(pl.lit(TOO_FEW))
    return fitted.fill_nan(None).with_columns(verdict=verdict)


def groups(encoders: Sequence[Encoder]) -> tuple[Group, ...]:
    """The pretrained encoders by what makes their sizes comparable, then all of them if there are several families.

    Truncations of one source form a group under its name. A family with several sources forms one under the family's,
    of the deepest encoder of each source: truncation is not pretraining at that size.
    """
    families: dict[str, dict[str, list[Encoder]]] = defaultdict(lambda: defaultdict(list))
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


def _gains(
    resamples: Resamples, of: Axes, encoders: Sequence[Encoder], recipes: Sequence[str], targets: Sequence[str]
) -> Iterator[tuple[Encoder, BySeed]]:
    """The gain of each encoder that has all ``recipes`` and ``targets``: their mean, for each seed that has all."""
    cells = [(recipe, target) for target in targets for recipe in (BASELINE, *recipes)]
    have = []
    common = {target: [code for code in of.languages[target] if code != ENGLISH] for target in targets}
    for encoder in encoders:
        own = {target: of.languages[target] for target in targets}
        for recipe, target in cells:
            own[target] = resamples.languages(encoder.label, recipe, target, own[target])
        if all(set(own[target]) - {ENGLISH} for target in targets):
            have.append(encoder)
            common = {target: [code for code in common[target] if code in own[target]] for target in targets}
    if not all(common.values()):
        return
    weights = {BASELINE: -1.0} | dict.fromkeys(recipes, 1 / len(recipes))
    for encoder in have:
        with_all = [set(resamples.seeds(encoder.label, recipe, target, common[target])) for recipe, target in cells]
        seeds = sorted(set.intersection(*with_all))
        if seeds:
            parts = []
            for recipe, target in cells:
                part = resamples.by_seed(encoder.label, recipe, target, common[target], seeds)
                parts.append((weights[recipe] / len(targets), part))
            values = np.sum([weight * part.values for weight, part in parts], axis=0)
            yield encoder, BySeed(values, np.sum([weight * part.replicates for weight, part in parts], axis=0))


def _slope(gains: dict[Encoder, BySeed]) -> dict[str, object]:
    parameters = [encoder.parameters for encoder in gains]
    fewest = min(len(gain.values) for gain in gains.values())
    found: dict[str, object] = {
        "n_sizes": len(set(parameters)),
        "smallest": min(parameters),
        "largest": max(parameters),
        "n_seeds": fewest,
        "covers": covers(fewest),
    }
    if found["n_sizes"] == 1:
        return found | {"slope": None, "low": None, "high": None}
    estimate = combined(list(zip(slope_weights(parameters).tolist(), gains.values(), strict=True)))
    low, high = estimate.interval()
    return found | {"slope": estimate.value, "low": low, "high": high}
