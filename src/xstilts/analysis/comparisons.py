"""Gains: what an intermediate task adds to the same encoder trained on the target task alone."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from xstilts.analysis.axes import BASELINE, Axes
from xstilts.analysis.bootstrap import Floats, Resamples, covers, interval, language_rows, stacked

GAINS_SCHEMA = {
    "encoder": pl.String,
    "recipe": pl.String,
    "target": pl.String,
    "language": pl.String,  # or `all non-English`, `all languages`
    "gain": pl.Float64,  # points over `none`
    "low": pl.Float64,
    "high": pl.Float64,
    "n_languages": pl.Int64,
    "n_seeds": pl.Int64,  # seeds that both have
    "n": pl.Int64,  # examples, summed over the languages
    "covers": pl.String,  # `seeds and examples`, or `examples` with a single seed
    "verdict": pl.String,
}

HELPS, HURTS, NO_EVIDENCE = "helps", "hurts", "no evidence"


@dataclass(frozen=True)
class Gains:
    """The gains (GAINS_SCHEMA) and, row by row, their ``replicates`` [rows, resamples]."""

    frame: pl.DataFrame
    replicates: Floats


def gains(resamples: Resamples, of: Axes) -> Gains:
    """Each recipe against `none`, same encoder, target and language, paired by seed and example.

    Both sides are given the same samples of seeds and examples. Seeds or languages that one side lacks are left out.
    The verdict is "helps" or "hurts" where the interval excludes 0, else "no evidence".
    """
    rows: list[tuple[object, ...]] = []
    replicates: list[Floats] = []
    for encoder in of.encoders:
        for recipe in of.recipes:
            for target in of.targets:
                cell, base = (encoder.label, recipe, target), (encoder.label, BASELINE, target)
                found = resamples.languages(*cell, resamples.languages(*base, of.languages[target]))
                for name, languages in language_rows(found):
                    seeds = tuple(
                        sorted(set(resamples.seeds(*cell, languages)) & set(resamples.seeds(*base, languages)))
                    )
                    if recipe == BASELINE or not seeds:
                        continue
                    after, before = (resamples.mean(*side, languages, seeds) for side in (cell, base))
                    n = min(resamples.count(*side, languages, seeds[0]) for side in (cell, base))
                    rows.append((*cell, name, after.value - before.value, len(languages), len(seeds), n,
                                 covers(len(seeds))))  # fmt: skip
                    replicates.append(after.replicates - before.replicates)
    kept = stacked(replicates, resamples)
    low, high = interval(kept)
    schema = {name: kind for name, kind in GAINS_SCHEMA.items() if name not in ("low", "high", "verdict")}
    frame = (
        pl.DataFrame(rows, schema=schema, orient="row")
        .with_columns(low=pl.Series(low), high=pl.Series(high))
        .fill_nan(None)
        .with_columns(verdict=excludes_zero(HELPS, HURTS, NO_EVIDENCE))
        .select(*GAINS_SCHEMA)
    )
    return Gains(frame, kept)


def excludes_zero(above: str, below: str, neither: str) -> pl.Expr:
    """In words, whether the interval from ``low`` to ``high`` lies above 0, below it, or holds it."""
    return (
        pl.when(pl.col("low") > 0)
        .then(pl.lit(above))
        .when(pl.col("high") < 0)
        .then(pl.lit(below))
        .otherwise(pl.lit(neither))
    )
