"""Whether the gain of a recipe depends on the size of the encoder.

The gains of the encoders are the effects of a meta-regression on log10 of their parameters without embeddings
(`xstilts.analysis.meta_regression`), each encoder a random effect: encoders of one size differ by more than luck with
seeds and examples, and what is concluded of *encoders like these* has to know by how much. The covariance of sampling
is that of seeds × examples (`xstilts.analysis.crossed`). Beside it stands the interval *for these encoders only*: that
of the least-squares slope through their true gains, whatever others would do. A direction takes both.

A row is told on three scales (`xstilts.analysis.scales`), and has a verdict only where they agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from xstilts.analysis.axes import ENGLISH, Axes, SizedEncoder
from xstilts.analysis.bootstrap import Block
from xstilts.analysis.comparisons import covers
from xstilts.analysis.crossed import BySeed, MeanOverSeeds, encoders_covariance, mean_of, mean_over_seeds, weighted
from xstilts.analysis.intervals import Spread
from xstilts.analysis.meta_regression import Fit, fit, leave_one_out
from xstilts.analysis.scales import SCALES, Scale
from xstilts.common.arrays import Floats
from xstilts.encoders.families import family_of

#: The row that takes all pretrained encoders together, whatever their family.
ALL_ENCODERS = "all encoders"
#: The row that takes the span targets together, each counting the same; only where there are several.
READING = "reading comprehension"
#: The row that takes the recipes together, each counting the same, averaged models aside; only where there are several.
ALL_RECIPES = "mean of recipes"
#: Whether all gains are taken, or only those after intermediate trainings that were learnt.
ALL, LEARNT = "all", "learnt"

GAIN_GROWS, GAIN_SHRINKS = "the gain grows", "the gain shrinks"
HARM_GROWS, HARM_SHRINKS = "the harm grows", "the harm shrinks"
UNDECIDED, SCALES_DIFFER = "no evidence either way", "the scales do not agree"
TOO_FEW, ONE_SEED = "too few sizes to tell", "one seed: no verdict"
COLLAPSED, NO_VARIANCE = "a model collapsed: no verdict", "nothing varies: no verdict"
DIRECTIONS = (GAIN_GROWS, GAIN_SHRINKS, HARM_GROWS, HARM_SHRINKS)
#: A line through two points always fits.
ENOUGH_SIZES = 3
#: With fewer encoders, k − 2 degrees of freedom hardly identify a slope, and a second moderator not at all.
ENOUGH_ENCODERS = 5
#: Sizes along a line, of which two are the smallest and the largest.
_ALONG = 9

_Row = dict[str, Any]

_CELL: dict[str, type[pl.DataType]] = {
    "family": pl.String,  # a source, for its truncations; a family of families.yaml; or `all encoders`
    "recipe": pl.String,  # or `mean of recipes`
    "target": pl.String,  # or `reading comprehension`
    "estimate": pl.String,  # all | learnt: of the recipes that were learnt on an encoder, where that is known
    "scale": pl.String,  # of SCALES
}

SIZES_SCHEMA: dict[str, type[pl.DataType]] = {
    **_CELL,
    "n_encoders": pl.Int64,
    "n_sizes": pl.Int64,
    "smallest": pl.Int64,  # parameters without embeddings
    "largest": pl.Int64,
    "n_seeds": pl.Int64,  # the fewest of an encoder
    "covers": pl.String,
    "slope": pl.Float64,  # per tenfold size; null with a single size
    "low": pl.Float64,  # for encoders like these; null with two
    "high": pl.Float64,
    "identified": pl.Float64,  # how steep it has to be for k − 2 degrees of freedom to tell it from 0, whatever the fit
    "these_low": pl.Float64,  # for these encoders only
    "these_high": pl.Float64,
    "deviation": pl.Float64,  # SD of an encoder's true gain from the line, in the unit of the scale
    "deviation_low": pl.Float64,
    "deviation_high": pl.Float64,
    "fit_p": pl.Float64,  # of the test of fit: that the encoders lie on the line
    "at_smallest": pl.Float64,  # the gain that the line has there
    "at_smallest_low": pl.Float64,
    "at_smallest_high": pl.Float64,
    "at_largest": pl.Float64,
    "at_largest_low": pl.Float64,
    "at_largest_high": pl.Float64,
    "new_low": pl.Float64,  # of the true gain of an encoder that was not seen, between the two on the scale of logs
    "new_high": pl.Float64,
    "without_one_low": pl.Float64,  # the slopes without one encoder each, from the lowest to the highest
    "without_one_high": pl.Float64,
    "beside_baseline": pl.Float64,  # the slope with the score of `none` as second moderator; null below 5 encoders
    "beside_baseline_low": pl.Float64,
    "beside_baseline_high": pl.Float64,
    "confounded": pl.Boolean,  # several families, and their sizes differ: the slope is not that of size alone
    "verdict": pl.String,  # the same on all scales
}

#: The lines at nine sizes from the smallest to the largest.
LINES_SCHEMA: dict[str, type[pl.DataType]] = {
    **_CELL,
    "parameters": pl.Int64,
    "gain": pl.Float64,
    "low": pl.Float64,  # of the mean over encoders of that size
    "high": pl.Float64,
    "new_low": pl.Float64,  # of the true gain of an encoder of that size that was not seen
    "new_high": pl.Float64,
}

#: The gains of the encoders, each a point of a line.
POINTS_SCHEMA: dict[str, type[pl.DataType]] = {
    **_CELL,
    "encoder": pl.String,
    "parameters": pl.Int64,
    "gain": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "error": pl.Float64,  # standard error, of seeds and examples
    "baseline": pl.Float64,  # the score of `none`, in points
}


class SizeCell(NamedTuple):
    encoder: str
    recipe: str
    target: str


class Sides(NamedTuple):
    """A score and that of its baseline in points, by seed, and how many examples they are of."""

    score: BySeed
    without: BySeed
    n: int

    def gain(self, scale: Scale) -> BySeed:
        return BySeed(
            scale.gain(self.score.values, self.without.values, self.n),
            scale.gain(self.score.replicates, self.without.replicates, self.n),
            min(self.score.n, self.without.n),
        )


class _Measured(NamedTuple):
    """What is known of an encoder's gain, of each of SCALES."""

    baseline: float
    gains: tuple[MeanOverSeeds, ...]
    points: tuple[_Row, ...]  # the columns of POINTS_SCHEMA
    collapsed: bool  # a model of either side

    @classmethod
    def of(cls, encoder: SizedEncoder, sides: Sides, collapsed: bool) -> _Measured:
        baseline = float(np.nanmean(sides.without.values))
        gains = tuple(mean_over_seeds(sides.gain(scale)) for scale in SCALES)
        points = []
        for gain in gains:
            alone = weighted([(1.0, gain)])
            points.append({
                "encoder": encoder.label, "parameters": encoder.parameters, "gain": alone.value, "low": alone.low,
                "high": alone.high, "error": alone.error, "baseline": baseline,
            })  # fmt: skip
        return cls(baseline, gains, tuple(points), collapsed)


@dataclass(frozen=True)
class Sizes:
    slopes: pl.DataFrame  # SIZES_SCHEMA
    lines: pl.DataFrame  # LINES_SCHEMA
    points: pl.DataFrame  # POINTS_SCHEMA


@dataclass(frozen=True)
class Group:
    """Encoders that are compared over their sizes."""

    name: str
    encoders: tuple[SizedEncoder, ...]
    confounded: bool


def sizes(
    cells: Mapping[SizeCell, Sides],
    of: Axes,
    learnt: pl.DataFrame | None = None,
    collapsed: pl.DataFrame | None = None,
) -> Sizes:
    """How the zero-shot gain changes with size, on each scale.

    From `sides_in` of every block. Rows for each group of encoders, target and recipe, the pooled ones first; encoders
    that lack some of what is pooled are left out. By ``learnt`` (LEARNT_SCHEMA), rows of the estimate LEARNT follow:
    the recipes that were learnt, each on the encoders that have learnt it, their mean over those learnt on all of them.
    Rows with a model that is ``collapsed`` (COLLAPSED_SCHEMA), of either side, have no verdict. Recipes with labelled
    data beyond English are left out: their gain is not that of an English intermediate task.
    """
    cells = {cell: sides for cell, sides in cells.items() if not of.adds_labels(cell.recipe, cell.target)}
    slopes: list[_Row] = []
    lines: list[_Row] = []
    points: list[_Row] = []
    bad = _collapsed(cells, of, collapsed)
    for what, confounded, found in _quantities(cells, of, learnt, bad):
        rows = []
        baselines = [measured.baseline for measured in found.values()]
        for i, scale in enumerate(SCALES):
            of_scale = what | {"scale": scale.name}
            gains = {encoder: measured.gains[i] for encoder, measured in found.items()}
            row, fitted = _regression(gains, baselines)
            rows.append(of_scale | {"confounded": confounded} | row)
            lines += [of_scale | line for line in _line(fitted, gains)]
            points += [of_scale | measured.points[i] for measured in found.values()]
        verdict = _verdict(rows, any(measured.collapsed for measured in found.values()))
        slopes += [row | {"verdict": verdict} for row in rows]
    return Sizes(_frame(slopes, SIZES_SCHEMA), _frame(lines, LINES_SCHEMA), _frame(points, POINTS_SCHEMA))


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


def sides_in(block: Block, languages: Mapping[tuple[str, str], Sequence[str]], of: Axes) -> dict[SizeCell, Sides]:
    """Of each recipe of a block, and of its baseline, the mean over its ``languages`` (by target and recipe), by seed.

    Without the seeds that lack one of the two, for which both are NaN.
    """
    found = {}
    means: dict[tuple[int, tuple[int, ...]], BySeed] = {}  # recipes share their baseline
    for i, recipe in enumerate(block.recipes):
        at = tuple(block.languages.index(language) for language in languages.get((block.target, recipe), ()))
        if not at or recipe == of.baselines[recipe]:
            continue
        pair = (i, at), (block.recipes.index(of.baselines[recipe]), at)
        for row, _ in pair:
            if (row, at) not in means:
                drawn = block.means(np.array([row]), np.array(at))[0]
                values = block.values[row][:, list(at)].mean(axis=1)
                means[row, at] = BySeed(values, drawn, block.drawn(row, np.array(at)))
        score, without = (means[one] for one in pair)
        there = ~np.isnan(score.values + without.values)
        if there.any():
            n = int(block.examples[i][:, list(at)].sum(axis=1).max())
            found[SizeCell(block.encoder, recipe, block.target)] = Sides(_only(score, there), _only(without, there), n)
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


def sign_of(row: Mapping[str, Any]) -> int:
    """Of a slope (a row of SIZES_SCHEMA) whose intervals do not hold 0, for encoders like these nor for these only.

    0 for other slopes, and for those of few encoders that are not steep: they may lie on a line by luck, and their
    interval is then as narrow as if others did.
    """
    steep = row["n_encoders"] >= ENOUGH_ENCODERS or abs(row["slope"]) > row["identified"]
    told = row["low"] * row["high"] > 0 and row["these_low"] * row["these_high"] > 0
    return int(np.sign(row["slope"])) if told and steep else 0


def _only(side: BySeed, there: npt.NDArray[np.bool_]) -> BySeed:
    if there.all():
        return side
    replicates = np.where(there[:, None], side.replicates, np.float32(np.nan))
    return side._replace(values=np.where(there, side.values, np.nan), replicates=replicates)


def _collapsed(cells: Mapping[SizeCell, Sides], of: Axes, collapsed: pl.DataFrame | None) -> set[SizeCell]:
    """The cells of which a model, or one of the baseline, collapsed."""
    if collapsed is None:
        return set()
    models = set(collapsed.filter(pl.col("collapsed") > 0).select("encoder", "recipe", "target").iter_rows())
    return {cell for cell in cells if cell in models or cell._replace(recipe=of.baselines[cell.recipe]) in models}


def _quantities(
    cells: Mapping[SizeCell, Sides], of: Axes, learnt: pl.DataFrame | None, collapsed: set[SizeCell]
) -> Iterator[tuple[_Row, bool, dict[SizedEncoder, _Measured]]]:
    """What each three rows are of (a row for each scale), whether it is confounded, and its encoders."""
    known: dict[tuple[SizeCell, ...], _Measured | None] = {}  # groups and estimates share them
    recipes = tuple(recipe for recipe in of.recipes if recipe != of.baselines[recipe])
    own = tuple(recipe for recipe in recipes if recipe not in of.means)
    targets = {READING: of.span_targets} if len(of.span_targets) > 1 else {}
    targets |= {target: (target,) for target in of.targets}
    for estimate, kept in _estimates(cells, learnt).items():
        for group in groups(of.encoders):
            for target, pooled in targets.items():
                alike = [recipe for recipe in own if not any(of.adds_labels(recipe, one) for one in pooled)]
                averages = {ALL_RECIPES: _shared(alike, group, pooled, kept, estimate)} if len(alike) > 1 else {}
                averages |= {recipe: (recipe,) for recipe in recipes}
                for recipe, averaged in averages.items():
                    found = {}
                    for encoder in group.encoders:
                        names = tuple(SizeCell(encoder.label, one, name) for one in averaged for name in pooled)
                        if names and all(name in kept for name in names):
                            if names not in known:
                                sides = _mean_of([kept[name] for name in names])
                                fell, run = not collapsed.isdisjoint(names), not np.isnan(sides.score.values).all()
                                known[names] = _Measured.of(encoder, sides, fell) if run else None
                            if measured := known[names]:
                                found[encoder] = measured
                    if found:
                        what = {"family": group.name, "recipe": recipe, "target": target, "estimate": estimate}
                        yield what, group.confounded, found


def _estimates(cells: Mapping[SizeCell, Sides], learnt: pl.DataFrame | None) -> dict[str, Mapping[SizeCell, Sides]]:
    """All cells, and those whose intermediate training was learnt, where some were not."""
    if learnt is None or learnt["learnt"].is_null().all():  # the gate is not known
        return {ALL: cells}
    passed = set(learnt.filter("learnt").select("encoder", "recipe").iter_rows())
    kept = {cell: sides for cell, sides in cells.items() if (cell.encoder, cell.recipe) in passed}
    return {ALL: cells} | ({LEARNT: kept} if len(kept) < len(cells) else {})


def _shared(
    recipes: Sequence[str], group: Group, targets: Sequence[str], cells: Mapping[SizeCell, Sides], estimate: str
) -> tuple[str, ...]:
    """The recipes that a mean is of: all of them, or those that every encoder of the group has learnt."""
    if estimate == ALL:
        return tuple(recipes)
    return tuple(
        recipe for recipe in recipes
        if all(SizeCell(encoder.label, recipe, target) in cells for encoder in group.encoders for target in targets)
    )  # fmt: skip


def _mean_of(sides: Sequence[Sides]) -> Sides:
    """The means of scores and of baselines, of as many examples as the fewest."""
    if len(sides) == 1:
        return sides[0]
    return Sides(
        mean_of([one.score for one in sides]), mean_of([one.without for one in sides]), min(one.n for one in sides)
    )


def _regression(gains: Mapping[SizedEncoder, MeanOverSeeds], baselines: Sequence[float]) -> tuple[_Row, Fit | None]:
    """The columns of SIZES_SCHEMA that the gains and baselines of encoders give, and the fit behind them."""
    encoders, parts = list(gains), list(gains.values())
    parameters = [encoder.parameters for encoder in encoders]
    fewest = min(part.n for part in parts)
    row: _Row = {
        "n_encoders": len(encoders),
        "n_sizes": len(set(parameters)),
        "smallest": min(parameters),
        "largest": max(parameters),
        "n_seeds": fewest,
        "covers": covers(fewest),
    }
    if row["n_sizes"] == 1:
        return row, None
    values, weights = np.array([part.value for part in parts]), slope_weights(parameters)
    sampling, known = encoders_covariance(parts)
    about = Spread(np.sqrt(weights[None] @ sampling @ weights), np.array([known]))
    (these_low,), (these_high,) = about.interval(values @ weights)
    row |= {"slope": values @ weights, "these_low": these_low, "these_high": these_high}
    if len(encoders) < ENOUGH_SIZES or not about.errors[0] > 0 or not _all_vary(sampling):
        return row, None
    design = np.column_stack([np.ones(len(encoders)), np.log10(parameters)])
    found = fit(values, design, sampling, freedom=known)
    ends = np.log10([min(parameters), max(parameters)])
    line, smallest, middle, largest = found.among([(0, 1), (1, ends[0]), (1, ends.mean()), (1, ends[1])])
    deviation = np.sqrt(found.components[0])
    row |= {
        "slope": line.value, "low": line.low, "high": line.high,
        "identified": line.identified,
        "deviation": deviation[0], "deviation_low": deviation[1], "deviation_high": deviation[2],
        "fit_p": found.q_p,
    }  # fmt: skip
    row |= {"new_low": middle.predicted_low, "new_high": middle.predicted_high}
    for name, there in (("smallest", smallest), ("largest", largest)):
        row |= {f"at_{name}": there.value, f"at_{name}_low": there.low, f"at_{name}_high": there.high}
    if len(encoders) > ENOUGH_SIZES:
        without = [one.coefficients[1] for one in leave_one_out(values, design, sampling)]
        row |= {"without_one_low": min(without), "without_one_high": max(without)}
    beside = np.column_stack([design, baselines])
    if len(encoders) >= ENOUGH_ENCODERS and np.linalg.matrix_rank(beside) == beside.shape[1]:
        both = fit(values, beside, sampling)
        row |= {"beside_baseline": both.coefficients[1], "beside_baseline_low": both.low[1],
                "beside_baseline_high": both.high[1]}  # fmt: skip
    return row, found


def _all_vary(covariance: Floats) -> bool:
    return bool(np.linalg.eigvalsh(covariance).min() > 1e-9 * np.diag(covariance).max())


def _line(found: Fit | None, gains: Mapping[SizedEncoder, MeanOverSeeds]) -> Iterator[_Row]:
    """Rows of LINES_SCHEMA."""
    if found is not None:
        parameters = [encoder.parameters for encoder in gains]
        along = np.geomspace(min(parameters), max(parameters), _ALONG)
        for size, there in zip(along, found.among(np.column_stack([np.ones(_ALONG), np.log10(along)])), strict=True):
            yield {
                "parameters": round(size), "gain": there.value, "low": there.low, "high": there.high,
                "new_low": there.predicted_low, "new_high": there.predicted_high,
            }  # fmt: skip


def _verdict(rows: Sequence[_Row], collapsed: bool) -> str:
    """What the ``rows`` say, one for each scale, points first."""
    points = rows[0]
    if points["n_sizes"] < ENOUGH_SIZES:
        return TOO_FEW
    if points["n_seeds"] < 2:
        return ONE_SEED
    if collapsed:
        return COLLAPSED
    if any(row.get("low") is None for row in rows):
        return NO_VARIANCE
    signs = {sign_of(row) for row in rows}
    if signs == {0}:
        return UNDECIDED
    if len(signs) > 1:
        return SCALES_DIFFER
    harm = points["at_smallest"] < 0 and points["at_largest"] < 0
    if signs == {1}:
        return HARM_SHRINKS if harm else GAIN_GROWS
    return HARM_GROWS if harm else GAIN_SHRINKS


def _frame(rows: Sequence[_Row], schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema).fill_nan(None)
