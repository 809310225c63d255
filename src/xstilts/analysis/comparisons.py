"""Scores with their intervals, and gains: what an intermediate task adds to the same encoder without it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from xstilts.analysis.axes import ZERO_SHOT, Axes
from xstilts.analysis.bootstrap import Block, Resamples, Sample, alike, language_rows
from xstilts.analysis.intervals import Spread, holm, moderated, spread, variance_over_seeds
from xstilts.common.arrays import Floats

ESTIMATES_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,
    "recipe": pl.String,
    "target": pl.String,
    "language": pl.String,  # or `all non-English`, `all languages`
    "metric": pl.String,
    "value": pl.Float64,  # mean over seeds, in points
    "low": pl.Float64,
    "high": pl.Float64,
    "n_languages": pl.Int64,
    "n_seeds": pl.Int64,
    "n": pl.Int64,  # examples, summed over the languages
    "n_groups": pl.Int64,  # likewise, questions on one passage counted once
    "covers": pl.String,  # what the interval covers: `seeds and examples`, or `examples` with a single seed
}

GAINS_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,
    "recipe": pl.String,
    "target": pl.String,
    "language": pl.String,  # or `all non-English`, `all languages`
    "gain": pl.Float64,  # points over `none`
    "low": pl.Float64,  # of the 95 % interval, not corrected
    "high": pl.Float64,
    "error": pl.Float64,  # standard error, points
    "freedom": pl.Float64,  # its degrees of freedom
    "p": pl.Float64,  # two-sided
    "p_holm": pl.Float64,  # of the non-English means: corrected for the number of them; else null
    "mde": pl.Float64,  # minimum detectable effect, points, at 80 % power and 5 %, uncorrected
    "equivalence_p": pl.Float64,  # of the gain being EQUIVALENCE_MARGIN points or more, either way
    "n_languages": pl.Int64,
    "n_seeds": pl.Int64,  # seeds that both have
    "n": pl.Int64,  # examples, summed over the languages
    "n_groups": pl.Int64,  # likewise, questions on one passage counted once
    "covers": pl.String,  # `seeds and examples`, or `examples` with a single seed
    "verdict": pl.String,
}

HELPS, HURTS, NO_EFFECT, NO_EVIDENCE = "helps", "hurts", "no effect", "no evidence"
#: The verdicts that say that there is an effect.
SHOWN = (HELPS, HURTS)

#: The probability of a wrong verdict that is put up with.
ALPHA = 0.05


@dataclass(frozen=True)
class Gains:
    """The gains (GAINS_SCHEMA) and, row by row, what they are made of."""

    frame: pl.DataFrame
    replicates: Floats  # [rows, resamples]
    by_seed: Floats  # [rows, seeds], NaN where a side lacks the seed


@dataclass(frozen=True)
class BlockEstimates:
    """Estimates of one block, before what depends on other blocks: a table, and row by row what it is made of."""

    frame: pl.DataFrame  # with the columns value, of_examples, of_seeds, freedom
    replicates: Floats  # [rows, resamples]
    by_seed: Floats  # [rows, seeds]


#: Recipes by number, what the language or mean is called, and their sample.
Piece = tuple[npt.NDArray[np.int64], str, Sample]


def estimates_in(block: Block) -> pl.DataFrame:
    """What `join_estimates` needs of one block."""
    return table_of(
        block,
        [
            (recipes, name, block.over(languages, recipes))
            for mask, recipes in alike(block.scored)
            for name, languages in language_rows(block.languages, mask)
        ],
    )


def join_estimates(parts: Sequence[pl.DataFrame], of: Axes) -> pl.DataFrame:
    """The parts as one table, in the order of the axes, with intervals."""
    if not parts:
        return pl.DataFrame(schema=ESTIMATES_SCHEMA)
    frame = pl.concat(parts)
    frame = frame[in_order(frame, of)]
    low, high = spread_of(frame, of).interval(frame["value"].to_numpy())
    bounds = {"low": np.maximum(low, 0), "high": np.minimum(high, 100)}
    metric = pl.col("target").replace_strict(dict(of.metrics), return_dtype=pl.String)
    return frame.with_columns(metric=metric, **columns_of(bounds)).select(*ESTIMATES_SCHEMA).fill_nan(None)


def gains(resamples: Resamples, of: Axes) -> Gains:
    """Each recipe against `none`, same encoder, target and language, paired by seed and example.

    Of models whose weights are averaged (`study.average`), against the mean of those of `none`.
    Both sides are given the same samples of seeds and examples. Seeds or languages that one side lacks are left out.
    A non-English mean "helps" or "hurts" where its p-value is below 0.05 after Holm's correction for the number of
    such means in the study; a single language, and the mean over all, where its own interval excludes 0. The verdict
    is "no effect" where it does not and the two one-sided tests show the gain to be less than EQUIVALENCE_MARGIN
    points either way, else "no evidence".
    """
    return join_gains([gains_in(block, of) for block in resamples.blocks(of)], of)


def gains_in(block: Block, of: Axes) -> BlockEstimates | None:
    """What `join_gains` needs of one block; None where there is nothing to compare."""
    bases = [of.baselines[recipe] for recipe in block.recipes]  # as many as there are ways of averaging
    return _differences(
        (block, i, [other == recipe for other in bases]) for i, recipe in enumerate(block.recipes) if recipe == bases[i]
    )


def averaging_in(block: Block, of: Axes) -> BlockEstimates | None:
    """What `join_gains` needs to compare averaged models with those that they are made of, of the same recipe.

    A mean over checkpoints is paired with the model of its seed. A mean over seeds is one model, and compared with the
    mean score of all seeds; the interval then covers examples alone.
    """
    recipes, pairs = block.recipes, []
    for i, recipe in enumerate(recipes):
        own = of.averaged(recipe)
        of_seeds = [other in own and own[other].seeds > 1 for other in recipes]
        pairs.append((block, i, [other in own and own[other].seeds == 1 for other in recipes]))
        if any(of_seeds) and block.scored[i].any():
            pairs.append((_one_run(block, i), i, of_seeds))
    return _differences(pairs)


def _one_run(block: Block, recipe: int) -> Block:
    """With the mean over seeds in the place of each of a recipe's scores."""
    values, replicates = block.values.copy(), block.replicates.copy()
    values[recipe], replicates[recipe] = np.nanmean(values[recipe], axis=0), np.nanmean(replicates[recipe], axis=0)
    return replace(block, values=values, replicates=replicates)


def _differences(pairs: Iterable[tuple[Block, int, Sequence[bool]]]) -> BlockEstimates | None:
    """Of a block, what the recipes that are marked exceed one of them by; None where there is nothing to compare."""
    frames, samples = [], []
    for block, base, marked in pairs:
        if not any(marked):
            continue
        pieces = []
        for mask, recipes in alike(block.scored & block.scored[base]):
            compared = recipes[np.array(marked)[recipes] & (recipes != base)]
            for name, languages in language_rows(block.languages, mask) if len(compared) else ():
                pieces.append((compared, name, block.over(languages, compared, minus=base)))
        if pieces:
            frames.append(table_of(block, pieces))
            samples += [sample for _, _, sample in pieces]
    if not frames:
        return None
    frame = pl.concat(frames)
    kept = (frame["n_seeds"] > 0).to_numpy()
    return BlockEstimates(
        frame.filter(kept),
        np.concatenate([sample.replicates for sample in samples])[kept],
        np.concatenate([sample.by_seed for sample in samples])[kept],
    )


def join_gains(parts: Iterable[BlockEstimates | None], of: Axes) -> Gains:
    """The parts as one table, in the order of the axes, with intervals, p-values and verdicts."""
    there = [part for part in parts if part is not None and part.frame.height]
    if not there:
        return Gains(pl.DataFrame(schema=GAINS_SCHEMA), np.empty((0, 1)), np.empty((0, len(of.seeds))))
    frame = pl.concat([part.frame for part in there])
    order = in_order(frame, of)
    frame = frame[order]
    values, about = frame["value"].to_numpy(), spread_of(frame, of)
    low, high = about.interval(values)
    p_values, corrected = about.p_values(values), np.full(len(values), np.nan)
    main = (frame["language"] == ZERO_SHOT).to_numpy()
    corrected[main] = holm(p_values[main])
    columns = {"gain": values, "low": low, "high": high, "error": about.errors, "freedom": about.freedom, "p": p_values,
               "p_holm": corrected, "mde": about.detectable(), "equivalence_p": about.equivalence(values)}  # fmt: skip
    frame = frame.drop("freedom").with_columns(**columns_of(columns)).with_columns(verdict=_verdict())
    return Gains(
        frame.select(*GAINS_SCHEMA),
        np.concatenate([part.replicates for part in there])[order],
        np.concatenate([part.by_seed for part in there])[order],
    )


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of gains, in points, with its 95 % interval and two-sided p-value, uncorrected."""

    value: float
    low: float
    high: float
    error: float  # standard error
    freedom: float
    p: float


def contrast(gains: Gains, rows: npt.ArrayLike, weights: npt.ArrayLike) -> Contrast:
    """Σ ``weights`` · gain over ``rows`` of the table: a difference of recipes, a mean over targets, a slope.

    All share the samples of examples. Within an encoder they share seeds too; encoders have seeds of their own.
    """
    at, by = np.asarray(rows), np.asarray(weights, dtype=np.float64)
    of_these = gains.frame[at]
    replicates = by @ gains.replicates[at]
    encoders = of_these["encoder"].to_numpy()
    by_encoder = np.array([by[encoders == one] @ gains.by_seed[at[encoders == one]] for one in np.unique(encoders)])
    parts, freedoms = variance_over_seeds(by_encoder)
    of_seeds, squares = parts.sum(), (parts**2 / np.maximum(freedoms, 1)).sum()
    freedom = of_seeds**2 / squares if squares else 0.0
    of_examples = max(np.nanvar(replicates, dtype=np.float64) - of_seeds, 0.0)
    n = of_these.select(pl.col("n_groups") // pl.col("n_languages")).to_series().to_numpy().min()
    about = spread(*(np.array([one]) for one in (of_examples, of_seeds, freedom, n)))
    value = by @ of_these["gain"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    (low,), (high,), (p,) = *about.interval(value[None]), about.p_values(value[None])
    return Contrast(float(value), float(low), float(high), about.errors.item(), about.freedom.item(), float(p))


def excludes_zero(above: str, below: str, neither: str) -> pl.Expr:
    """In words, whether the interval from ``low`` to ``high`` lies above 0, below it, or holds it."""
    return (
        pl.when(pl.col("low") > 0)
        .then(pl.lit(above))
        .when(pl.col("high") < 0)
        .then(pl.lit(below))
        .otherwise(pl.lit(neither))
    )


def covers(n_seeds: int) -> str:
    """What an interval over ``n_seeds`` seeds covers."""
    return "examples" if n_seeds == 1 else "seeds and examples"


def _verdict() -> pl.Expr:
    significant = pl.coalesce("p_holm", "p") < ALPHA
    return (
        pl.when(significant & (pl.col("gain") > 0))
        .then(pl.lit(HELPS))
        .when(significant & (pl.col("gain") < 0))
        .then(pl.lit(HURTS))
        .when(pl.col("equivalence_p") < ALPHA)
        .then(pl.lit(NO_EFFECT))
        .otherwise(pl.lit(NO_EVIDENCE))
    )


def table_of(block: Block, pieces: Sequence[Piece]) -> pl.DataFrame:
    """The rows of the pieces, with the columns value, of_examples, of_seeds, freedom (see `spread_of`)."""
    samples = [sample for _, _, sample in pieces]
    lengths = [len(recipes) for recipes, _, _ in pieces]
    by_seed = np.concatenate([sample.by_seed for sample in samples])
    n_seeds = (~np.isnan(by_seed)).sum(axis=1)
    of_seeds, freedom = variance_over_seeds(by_seed)
    frame = pl.DataFrame(
        {
            "recipe": [block.recipes[i] for recipes, _, _ in pieces for i in recipes],
            "language": [name for (_, name, _), n in zip(pieces, lengths, strict=True) for _ in range(n)],
            "n_languages": np.repeat([sample.n_languages for sample in samples], lengths),
            "n_seeds": n_seeds,
            "n": np.concatenate([sample.n for sample in samples]),
            "n_groups": np.concatenate([sample.n_groups for sample in samples]),
            "covers": [covers(int(n)) for n in n_seeds],
            "value": np.concatenate([sample.values for sample in samples]),
            "of_examples": np.concatenate([sample.of_examples for sample in samples]),
            "of_seeds": of_seeds,
            "freedom": freedom,
        }
    )
    return frame.with_columns(encoder=pl.lit(block.encoder), target=pl.lit(block.target))


def in_order(frame: pl.DataFrame, of: Axes) -> npt.NDArray[np.integer]:
    """The rows of a table by encoder, recipe and target, as the axes have them."""
    axes = {"encoder": [encoder.label for encoder in of.encoders], "recipe": of.recipes, "target": of.targets}
    places = frame.with_row_index("row").select(
        "row", *(pl.col(name).cast(pl.Enum(list(known))).to_physical() for name, known in axes.items())
    )
    return places.sort(*axes, "row")["row"].to_numpy()


def spread_of(frame: pl.DataFrame, of: Axes) -> Spread:
    """Of a table's rows; those on one target and language lend each other what they say of the variance over seeds.

    Randomly initialised encoders stand apart.
    """
    random = [encoder.label for encoder in of.encoders if encoder.random]
    of_seeds, freedom = (frame[name].to_numpy().copy() for name in ("of_seeds", "freedom"))
    groups = frame.with_row_index("row").group_by("target", "language", pl.col("encoder").is_in(random)).agg("row")
    for rows in groups["row"]:
        at = rows.to_numpy()
        of_seeds[at], freedom[at] = moderated(of_seeds[at], freedom[at])
    n = frame.select(pl.col("n_groups") // pl.col("n_languages")).to_series().to_numpy()
    return spread(frame["of_examples"].to_numpy(), of_seeds, freedom, n)


def columns_of(columns: dict[str, Floats]) -> dict[str, pl.Series]:
    """For `with_columns`, with null for NaN."""
    return {name: pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in columns.items()}
