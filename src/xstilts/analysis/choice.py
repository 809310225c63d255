"""What is gained by choosing the recipe of each target on its English dev score, as one would without test data.

Phang et al. 2020 report such a choice (the best model of each target, +5.4 points on test). The recipe with the highest
English dev score of the target stage, mean over seeds, is chosen, `none` among them; its gain is that of the mean over
the non-English test languages. Nothing but English data has a say. Targets on which nothing is trained (Tatoeba, BUCC)
have no such score and are left out. Picking the best on test, in hindsight, promises more: by how much is the optimism.

Each replicate draws seeds and test examples and chooses anew, by the dev scores of the seeds drawn, so that the
interval covers that another recipe might have been chosen. It does not cover which examples the dev set has: its scores
by example are not kept. Randomly initialised encoders are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from xstilts.analysis.axes import ENGLISH, Axes
from xstilts.analysis.bootstrap import Block
from xstilts.analysis.intervals import moderated, spread
from xstilts.common.arrays import Floats
from xstilts.planning.recipe import NONE

#: The row of an encoder that takes the mean over its targets.
ALL_TARGETS = "all targets"

CHOICES_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,
    "target": pl.String,  # or `all targets`
    "chosen": pl.String,  # recipe; null in the row of all targets
    "dev_score": pl.Float64,  # English dev score of the chosen recipe, points
    "none_score": pl.Float64,  # of `none`, mean over the non-English languages and seeds, points
    "score": pl.Float64,  # of the chosen recipe
    "gain": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "best": pl.String,  # recipe with the highest `score`, in hindsight
    "best_gain": pl.Float64,
    "optimism": pl.Float64,  # best_gain - gain
    "n_seeds": pl.Int64,  # seeds that all compared recipes have
}


@dataclass(frozen=True)
class Choice:
    """A row of CHOICES_SCHEMA before its interval, and what that is made of."""

    row: dict[str, object]
    by_seed: Floats  # gain of the chosen recipe, [seeds], NaN where a seed lacks
    replicates: Floats  # of the gain, of whatever is chosen, [resamples]
    of_examples: float  # variance of the gain of the chosen recipe over the samples of examples
    n: int  # examples of a language, those that share a text counted once


def dev_scores(scores: pl.DataFrame) -> dict[tuple[str, str, str, int], float]:
    """English dev score of the target stage, of each encoder, target, recipe and seed; from SCORES_SCHEMA."""
    known = scores.filter(pl.col("main"), pl.col("dev").is_not_null())
    cells = known.select("encoder", "target", "recipe", "seed", "dev").unique()
    return {(encoder, target, recipe, seed): dev for encoder, target, recipe, seed, dev in cells.iter_rows()}


def choice_in(block: Block, dev: dict[tuple[str, str, str, int], float], of: Axes) -> Choice | None:
    """The choice that one encoder has on one target; None where `none` has no dev score or no other language."""
    if NONE not in block.recipes:
        return None
    base = block.recipes.index(NONE)
    others = [i for i in np.flatnonzero(block.scored[base]) if block.languages[i] != ENGLISH]
    if not others:
        return None
    languages = np.array(others, dtype=np.int64)
    known = [[dev.get((block.encoder, block.target, recipe, seed), np.nan) for seed in block.seeds]
             for recipe in block.recipes]  # fmt: skip
    sample = block.over(languages, np.arange(len(block.recipes)))
    complete = ~np.isnan(sample.by_seed + np.array(known))  # [recipes, seeds]
    complete[np.isin(block.recipes, list(of.means))] = False  # the choice is of recipes
    mask = complete[base]
    if not mask.any():
        return None
    recipes = np.flatnonzero(complete[:, mask].all(axis=1))
    on_dev, on_test = np.array(known)[recipes][:, mask], sample.by_seed[recipes][:, mask]
    gains = on_test - sample.by_seed[base, mask]
    replicates = block.means(recipes, languages) - block.means(np.array([base]), languages)
    examples = replicates[:, mask].mean(axis=1)  # [recipes, resamples]
    draws = block.seed_draws(mask)
    chosen, best = int(on_dev.mean(axis=1).argmax()), int(on_test.mean(axis=1).argmax())
    again = (on_dev.mean(axis=1)[:, None] + on_dev @ draws).argmax(axis=0)  # chosen in each replicate
    by_seed = np.full(len(block.seeds), np.nan)
    by_seed[mask] = gains[chosen]
    gain, best_gain = float(gains[chosen].mean()), float(gains[best].mean())
    return Choice(
        {
            "encoder": block.encoder,
            "target": block.target,
            "chosen": block.recipes[recipes[chosen]],
            "dev_score": float(on_dev[chosen].mean()),
            "none_score": float(sample.by_seed[base, mask].mean()),
            "score": float(on_test[chosen].mean()),
            "gain": gain,
            "best": block.recipes[recipes[best]],
            "best_gain": best_gain,
            "optimism": best_gain - gain,
            "n_seeds": int(mask.sum()),
        },
        by_seed,
        (examples + gains @ draws)[again, np.arange(len(again))],
        float(examples[chosen].var(dtype=np.float64)),
        int(sample.n_groups[base] // len(languages)),
    )


def join_choices(parts: Sequence[Choice | None], of: Axes) -> pl.DataFrame:
    """A row for each encoder and target, and one for the mean over an encoder's targets (CHOICES_SCHEMA)."""
    found = [one for one in parts if one is not None]
    rows: list[Choice] = []
    for encoder in (one for one in of.encoders if not one.random):
        own = [one for one in found if one.row["encoder"] == encoder.label]
        own.sort(key=lambda one: of.targets.index(str(one.row["target"])))
        rows += [*own, *([_mean(own)] if len(own) > 1 else [])]
    if not rows:
        return pl.DataFrame(schema=CHOICES_SCHEMA)
    of_examples = np.array([one.of_examples for one in rows])
    of_seeds = np.maximum([one.replicates.var(dtype=np.float64) for one in rows] - of_examples, 0)
    freedom = np.array([max((~np.isnan(one.by_seed)).sum() - 1.0, 0.0) for one in rows])
    targets = np.array([str(one.row["target"]) for one in rows])
    for target in np.unique(targets):
        at = np.flatnonzero(targets == target)
        of_seeds[at], freedom[at] = moderated(of_seeds[at], freedom[at])
    about = spread(of_examples, of_seeds, freedom, np.array([one.n for one in rows]))
    low, high = about.interval(np.array([one.row["gain"] for one in rows], dtype=np.float64))
    frame = pl.DataFrame([one.row for one in rows], infer_schema_length=None)
    return (
        frame.with_columns(low=pl.Series(low), high=pl.Series(high))
        .select(*CHOICES_SCHEMA)
        .cast(pl.Schema(CHOICES_SCHEMA))
    )


def _mean(choices: Sequence[Choice]) -> Choice:
    """Over targets, which share their draws of seeds and have examples of their own."""
    means = {
        name: float(np.mean([one.row[name] for one in choices]))
        for name in ("dev_score", "none_score", "score", "gain", "best_gain", "optimism")
    }
    n_seeds = min(int(one.row["n_seeds"]) for one in choices)  # type: ignore[call-overload]
    names = {"encoder": choices[0].row["encoder"], "target": ALL_TARGETS, "chosen": None, "best": None}
    return Choice(
        {**names, **means, "n_seeds": n_seeds},
        np.mean([one.by_seed for one in choices], axis=0),
        np.mean([one.replicates for one in choices], axis=0),
        float(sum(one.of_examples for one in choices)) / len(choices) ** 2,
        min(one.n for one in choices),
    )
