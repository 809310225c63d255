"""Scores with their intervals, and gains: what an intermediate task adds to the same encoder without it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from xstilts.analysis.axes import ZERO_SHOT, Axes
from xstilts.analysis.bootstrap import Block, Resamples, Sample, alike, language_rows
from xstilts.analysis.crossed import BySeed, spread
from xstilts.analysis.intervals import LEVEL, Spread, holm
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
    "beyond_english": pl.String,  # as in SCORES_SCHEMA; null: zero-shot
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
    "freedom": pl.Float64,  # its degrees of freedom in the tests
    "p": pl.Float64,  # two-sided, of no gain
    "equivalence_p": pl.Float64,  # of the gain being EQUIVALENCE_MARGIN points or more, either way
    # Of the non-English means that are judged, else null: both corrected for the number of them, ...
    "p_holm": pl.Float64,
    "equivalence_p_holm": pl.Float64,
    # ... and the smallest gain, in points, that the corrected test finds with a power of 80 %; of a single language or
    # the mean over all, that of its own, uncorrected test.
    "mde": pl.Float64,
    "n_languages": pl.Int64,
    "n_seeds": pl.Int64,  # seeds that both have
    "n": pl.Int64,  # examples, summed over the languages
    "n_groups": pl.Int64,  # likewise, questions on one passage counted once
    "covers": pl.String,  # `seeds and examples`, or `examples` with a single seed
    "verdict": pl.String,
    "reason": pl.String,  # why it is not judged; else null
    "beyond_english": pl.String,  # as in SCORES_SCHEMA; null: zero-shot
}

#: Verdicts on a mean over the non-English languages, corrected for the number of these.
HELPS, HURTS, NO_EFFECT, NO_EVIDENCE = "helps", "hurts", "no effect", "no evidence"
#: ... on a single language, or on the mean over all: its own interval lies above or below 0, or holds it.
ABOVE, BELOW, OPEN = "above 0", "below 0", "holds 0"
#: Nothing is said: the row has an estimate, and a reason.
NOT_JUDGED = "not judged"
#: The verdicts that say that there is an effect.
SHOWN = (HELPS, HURTS)

ONE_SEED = "one seed: how much training varies is not known"
NO_VARIATION = "no variation: all seeds and all examples give the same"
NO_ERROR = "no standard error: one passage, or scores that are not defined"
#: Points² below which a variance is that of rounding.
NO_VARIANCE = 1e-8

#: The probability of a wrong verdict that is put up with.
ALPHA = 0.05

COLLAPSED_SCHEMA = {"encoder": pl.String, "recipe": pl.String, "target": pl.String, "collapsed": pl.Int64,
                    "models": pl.Int64}  # fmt: skip


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
    low, high = spread_of(frame).interval(frame["value"].to_numpy())
    bounds = {"low": np.maximum(low, 0), "high": np.minimum(high, 100)}
    metric = pl.col("target").replace_strict(dict(of.metrics), return_dtype=pl.String)
    marks = beyond_english(frame, of)
    return (
        frame.with_columns(metric=metric, beyond_english=marks, **columns_of(bounds))
        .select(*ESTIMATES_SCHEMA)
        .fill_nan(None)
    )


def gains(resamples: Resamples, of: Axes, collapsed: pl.DataFrame | None = None) -> pl.DataFrame:
    """Each recipe against `none`, same encoder, target and language, paired by seed and example (GAINS_SCHEMA).

    Of models whose weights are averaged (`study.average`), against the mean of those of `none`.
    Both sides are given the same samples of examples. Seeds or languages that one side lacks are left out.
    A non-English mean "helps" or "hurts" where its p-value is below 0.05 after Holm's correction for the number of
    such means in the study, those of recipes with labelled data beyond English by themselves. It has "no effect"
    where the two one-sided tests show the gain to be less than EQUIVALENCE_MARGIN points either way, corrected for
    their number likewise, else there is "no evidence".
    Nothing is judged with a single seed, without any variation, or where a model of either side collapsed
    (``collapsed``: COLLAPSED_SCHEMA).
    """
    return join_gains([gains_in(block, of) for block in resamples.blocks(of)], of, collapsed)


def gains_in(block: Block, of: Axes) -> pl.DataFrame | None:
    """What `join_gains` needs of one block; None where there is nothing to compare."""
    bases = [of.baselines[recipe] for recipe in block.recipes]  # as many as there are ways of averaging
    return _differences(
        (
            (block, i, [other == recipe for other in bases])
            for i, recipe in enumerate(block.recipes)
            if recipe == bases[i]
        ),
        paired=of.paired_seeds,
    )


def sides_of(block: Block, recipe: str, language: str, of: Axes) -> tuple[BySeed, BySeed]:
    """What a row of `gains` is the difference of: the recipe and its `none`, over the seeds that both have."""
    own, base = block.recipes.index(recipe), block.recipes.index(of.baselines[recipe])
    languages = dict(language_rows(block.languages, block.scored[own] & block.scored[base]))[language]
    values = block.values[[own, base]][:, :, languages].mean(axis=2)
    drawn = block.means(np.array([own, base]), languages)
    there = ~np.isnan(values).any(axis=0)
    n = min(block.drawn(side, languages) for side in (own, base))
    with_both = [BySeed(np.where(there, of_side, np.nan), of_examples, n)
                 for of_side, of_examples in zip(values, drawn, strict=True)]  # fmt: skip
    return with_both[0], with_both[1]


def averaging_in(block: Block, of: Axes) -> pl.DataFrame | None:
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
    return _differences(pairs, paired=True)


def _one_run(block: Block, recipe: int) -> Block:
    """With the mean over seeds in the place of each of a recipe's scores."""
    values, replicates = block.values.copy(), block.replicates.copy()
    values[recipe], replicates[recipe] = np.nanmean(values[recipe], axis=0), np.nanmean(replicates[recipe], axis=0)
    return replace(block, values=values, replicates=replicates)


def _differences(pairs: Iterable[tuple[Block, int, Sequence[bool]]], *, paired: bool = False) -> pl.DataFrame | None:
    """Of a block, what the recipes that are marked exceed one of them by; None where there is nothing to compare."""
    frames = []
    for block, base, marked in pairs:
        if not any(marked):
            continue
        pieces = []
        for mask, recipes in alike(block.scored & block.scored[base]):
            compared = recipes[np.array(marked)[recipes] & (recipes != base)]
            for name, languages in language_rows(block.languages, mask) if len(compared) else ():
                pieces.append((compared, name, block.over(languages, compared, base, paired=paired)))
        if pieces:
            frames.append(table_of(block, pieces).with_columns(base=pl.lit(block.recipes[base])))
    return pl.concat(frames).filter(pl.col("n_seeds") > 0) if frames else None


def join_gains(parts: Iterable[pl.DataFrame | None], of: Axes, collapsed: pl.DataFrame | None = None) -> pl.DataFrame:
    """The parts as one table (GAINS_SCHEMA), in the order of the axes, with intervals, p-values and verdicts."""
    there = [part for part in parts if part is not None and part.height]
    if not there:
        return pl.DataFrame(schema=GAINS_SCHEMA)
    frame = pl.concat(there)
    frame = frame[in_order(frame, of)]
    frame = frame.with_columns(_reasons(frame, collapsed))
    values, about, in_tails = frame["value"].to_numpy(), spread_of(frame), spread_of(frame, tails=True)
    low, high = about.interval(values)
    main, judged = (frame["language"] == ZERO_SHOT).to_numpy(), frame["reason"].is_null().to_numpy()
    about = Spread(about.errors, np.where(main, in_tails.freedom, about.freedom))
    p_values = {"p": about.p_values(values), "equivalence_p": about.equivalence(values)}
    corrected = {f"{name}_holm": np.full(len(values), np.nan) for name in p_values}
    level = np.full(len(values), LEVEL)
    labelled = np.array([of.adds_labels(*cell) for cell in frame.select("recipe", "target").iter_rows()])
    for question in (~labelled, labelled):  # what helps zero-shot, and what labelled data of other languages do
        family = main & question
        for name, own in p_values.items():
            corrected[f"{name}_holm"][family & judged] = holm(own[family & judged])
        level[family] = 1 - ALPHA / max(int(np.count_nonzero(family & judged)), 1)  # Holm's first step
    columns = {"gain": values, "low": low, "high": high, "error": about.errors, "freedom": about.freedom, **p_values,
               **corrected, "mde": np.where(judged, about.detectable(level), np.nan)}  # fmt: skip
    tested = frame.drop("freedom").with_columns(**columns_of(columns), beyond_english=beyond_english(frame, of))
    return tested.with_columns(verdict=_verdict()).select(*GAINS_SCHEMA)


def collapsed_models(scores: pl.DataFrame, stages: pl.DataFrame) -> pl.DataFrame:
    """How many of the models of an encoder, recipe and target were no better on dev than the majority class.

    From SCORES_SCHEMA and STAGES_SCHEMA, of the trainings of the target stage (COLLAPSED_SCHEMA); what was not looked
    at did not collapse.
    """
    cell = ["encoder", "recipe", "target"]
    models = scores.filter("main", pl.col("model").is_not_null()).select(*cell, "seed", key="model").unique()
    told = models.join(stages.select("key", "collapsed").unique("key"), on="key", how="left")
    counted = told.group_by(cell).agg(collapsed=pl.col("collapsed").sum(), models=pl.len())
    return counted.cast(pl.Schema(COLLAPSED_SCHEMA))


def _reasons(frame: pl.DataFrame, collapsed: pl.DataFrame | None) -> pl.Series:
    """Why a row is not judged; null where it is."""
    counted = pl.DataFrame(schema=COLLAPSED_SCHEMA) if collapsed is None else collapsed
    own = ["encoder", "recipe", "target"]
    base = counted.rename({"recipe": "base", "collapsed": "collapsed_base", "models": "models_base"})
    joined = frame.join(counted, on=own, how="left", maintain_order="left").join(
        base, on=["encoder", "base", "target"], how="left", maintain_order="left"
    )
    n, of = (pl.col(name).fill_null(0) + pl.col(f"{name}_base").fill_null(0) for name in ("collapsed", "models"))
    variance = pl.col("of_examples") + pl.col("of_seeds")  # is too large, but 0 or not defined where theirs is
    reason = (
        pl.when(pl.col("n_seeds") < 2)
        .then(pl.lit(ONE_SEED))
        .when(n > 0)
        .then(pl.format("collapsed: {} of the {} models compared", n, of))
        .when(variance.is_nan())
        .then(pl.lit(NO_ERROR))
        .when(variance < NO_VARIANCE)
        .then(pl.lit(NO_VARIATION))
    )
    return joined.select(reason.alias("reason")).to_series()


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
    positive = pl.col("gain") > 0
    of_mean = (
        pl.when(pl.col("p_holm") < ALPHA)
        .then(pl.when(positive).then(pl.lit(HELPS)).otherwise(pl.lit(HURTS)))
        .when(pl.col("equivalence_p_holm") < ALPHA)
        .then(pl.lit(NO_EFFECT))
        .otherwise(pl.lit(NO_EVIDENCE))
    )
    of_language = (
        pl.when(pl.col("p") < ALPHA)
        .then(pl.when(positive).then(pl.lit(ABOVE)).otherwise(pl.lit(BELOW)))
        .otherwise(pl.lit(OPEN))
    )
    judged = pl.when(pl.col("language") == ZERO_SHOT).then(of_mean).otherwise(of_language)
    return pl.when(pl.col("reason").is_null()).then(judged).otherwise(pl.lit(NOT_JUDGED))


def table_of(block: Block, pieces: Sequence[Piece]) -> pl.DataFrame:
    """The rows of the pieces, with the columns value, of_examples, of_seeds, of_noise, freedom (see `spread_of`)."""
    samples = [sample for _, _, sample in pieces]
    lengths = [len(recipes) for recipes, _, _ in pieces]
    by_seed = np.concatenate([sample.by_seed for sample in samples])
    n_seeds = (~np.isnan(by_seed)).sum(axis=1)
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
            "of_seeds": np.concatenate([sample.of_seeds for sample in samples]),
            "of_noise": np.concatenate([sample.of_noise for sample in samples]),
            "freedom": np.concatenate([sample.freedom for sample in samples]),
        }
    )
    return frame.with_columns(encoder=pl.lit(block.encoder), target=pl.lit(block.target))


def beyond_english(frame: pl.DataFrame, of: Axes) -> pl.Series:
    """Of a table's rows, the column of that name of SCORES_SCHEMA."""
    cells = frame.select("recipe", "target").iter_rows()
    return pl.Series(["+".join(of.beyond_english.get(cell, ())) or None for cell in cells], dtype=pl.String)


def in_order(frame: pl.DataFrame, of: Axes) -> npt.NDArray[np.integer]:
    """The rows of a table by encoder, recipe and target, as the axes have them."""
    axes = {"encoder": [encoder.label for encoder in of.encoders], "recipe": of.recipes, "target": of.targets}
    places = frame.with_row_index("row").select(
        "row", *(pl.col(name).cast(pl.Enum(list(known))).to_physical() for name, known in axes.items())
    )
    return places.sort(*axes, "row")["row"].to_numpy()


def spread_of(frame: pl.DataFrame, *, tails: bool = False) -> Spread:
    """Of a table's rows, each by itself (see `crossed.spread`)."""
    n = frame.select(pl.col("n_groups") // pl.col("n_languages")).to_series().to_numpy()
    of_examples, of_seeds, of_noise, freedom = (
        frame[name].to_numpy() for name in ("of_examples", "of_seeds", "of_noise", "freedom")
    )
    return spread(of_examples, of_seeds, of_noise, freedom, n, tails=tails)


def columns_of(columns: dict[str, Floats]) -> dict[str, pl.Series]:
    """For `with_columns`, with null for NaN."""
    return {name: pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in columns.items()}
