"""What is gained by choosing the recipe of each target on its English dev score, as one would without test data.

Phang et al. 2020 report such a choice (the best model of each target, +5.4 points on test). Of a target's recipes,
`none` among them, the one with the highest English dev score of the target stage is chosen; its gain is that of the
mean over the non-English test languages. Nothing but English data has a say: recipes with labelled data of other
languages, translations too, are left out. Targets on which nothing is trained (Tatoeba, BUCC) have no such score and
are left out, and so are randomly initialised encoders.

The seeds that choose must not score: a recipe that was lucky on dev was lucky on test, for both read the same model.
So one seed is left out, the recipe is chosen by the mean dev score of the others and scored on that one, for each seed
in turn (cross-validation of the whole procedure: Stone 1974, "Cross-validatory choice and assessment of statistical
predictions"). The gain is the mean over the seeds, its interval that of `xstilts.analysis.crossed`, of the gains that
each seed left out has, whatever recipe was chosen for it. It holds for a choice by one seed fewer than the study has,
and does not cover which examples the dev set has, whose scores by example are not kept.

The seeds left out share those that choose, which the variance between them does not see, and no estimate of it is
unbiased (Bengio and Grandvalet 2004, "No unbiased estimator of the variance of k-fold cross-validation"). With S seeds
V_seeds is taken 1 + S / (S − 1) times, after the correction of 1 / folds by what is tested over what is trained on
(Nadeau and Bengio 2003, "Inference for the generalization error"); the second term counts a third where all seeds left
out have the same recipe on every target, for then they share no choice, but may by luck alone.

Two differences are told beside it. *Optimism* is what the gain would seem to be more if the same seeds chose and
scored; with one seed there is no estimate of it, and none of the gain. *Regret* is what the best recipe in hindsight,
by the test scores of all seeds, has above the one that all seeds choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from xstilts.analysis.axes import ENGLISH, Axes
from xstilts.analysis.bootstrap import Block
from xstilts.analysis.comparisons import NO_VARIANCE, NO_VARIATION
from xstilts.analysis.crossed import BySeed, Contrast, mean_of, mean_over_seeds, weighted
from xstilts.planning.recipe import NONE

#: The row of an encoder that takes the mean over its targets.
ALL_TARGETS = "all targets"
ONE_SEED = "one seed: it cannot choose and score, so neither the gain nor the optimism is known"

CHOICES_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,
    "target": pl.String,  # or `all targets`
    "chosen": pl.String,  # recipe, by all seeds; null in the row of all targets
    "dev_score": pl.Float64,  # English dev score of the chosen recipe, points
    "none_score": pl.Float64,  # of `none`, mean over the non-English languages and seeds, points
    "score": pl.Float64,  # of the chosen recipe
    "gain": pl.Float64,  # leaving one seed out; null with a single seed
    "low": pl.Float64,
    "high": pl.Float64,
    "same_seeds": pl.Float64,  # the gain where the same seeds choose and score: score - none_score
    "optimism": pl.Float64,  # same_seeds - gain
    "best": pl.String,  # recipe with the highest `score`, in hindsight
    "best_gain": pl.Float64,
    "regret": pl.Float64,  # best_gain - same_seeds
    "n_seeds": pl.Int64,  # seeds that all compared recipes have
    "reason": pl.String,  # why there is no gain or no interval; else null
}


@dataclass(frozen=True)
class Choice:
    """A row of CHOICES_SCHEMA without gain and interval, and the gains of the seeds that are left out."""

    row: dict[str, object]
    left_out: BySeed
    alike: bool  # whether all of these have the same recipe


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
    by_seed = block.values[:, :, others].mean(axis=2)  # [recipes, seeds]
    complete = ~np.isnan(by_seed + np.array(known))
    # The choice is of recipes, by English dev data of what has nothing but English beyond `none`.
    barred = [recipe in of.means or of.adds_labels(recipe, block.target) for recipe in block.recipes]
    complete[barred] = False
    mask = complete[base]
    if not mask.any():
        return None
    recipes = np.flatnonzero(complete[:, mask].all(axis=1))
    on_dev, on_test = np.array(known)[recipes][:, mask], by_seed[recipes][:, mask]
    chosen, best = int(on_dev.mean(axis=1).argmax()), int(on_test.mean(axis=1).argmax())
    none_score = float(by_seed[base, mask].mean())
    score, best_gain = float(on_test[chosen].mean()), float(on_test[best].mean()) - none_score
    row = {
        "encoder": block.encoder,
        "target": block.target,
        "chosen": block.recipes[recipes[chosen]],
        "dev_score": float(on_dev[chosen].mean()),
        "none_score": none_score,
        "score": score,
        "same_seeds": score - none_score,
        "best": block.recipes[recipes[best]],
        "best_gain": best_gain,
        "regret": best_gain - (score - none_score),
        "n_seeds": int(mask.sum()),
    }
    values = np.full(len(block.seeds), np.nan)
    replicates = np.full((len(block.seeds), block.replicates.shape[-1]), np.nan)
    alike = True
    if mask.sum() > 1:
        seeds = np.flatnonzero(mask)
        by_others = recipes[(on_dev.sum(axis=1, keepdims=True) - on_dev).argmax(axis=0)]  # a recipe a seed left out
        alike = len(set(by_others)) == 1
        values[seeds] = by_seed[by_others, seeds] - by_seed[base, seeds]
        drawn = block.means(np.unique([base, *by_others]), languages)
        place = {recipe: i for i, recipe in enumerate(np.unique([base, *by_others]))}
        replicates[seeds] = drawn[[place[one] for one in by_others], seeds] - drawn[place[base], seeds]
    return Choice(row, BySeed(values, replicates, block.drawn(base, languages)), alike)


def join_choices(parts: Sequence[Choice | None], of: Axes) -> pl.DataFrame:
    """A row for each encoder and target, and one for the mean over an encoder's targets (CHOICES_SCHEMA)."""
    found = [one for one in parts if one is not None]
    rows: list[dict[str, object]] = []
    for encoder in (one for one in of.encoders if not one.random):
        own = [one for one in found if one.row["encoder"] == encoder.label]
        own.sort(key=lambda one: of.targets.index(str(one.row["target"])))
        rows += [_row(one) for one in [*own, *([_mean(own)] if len(own) > 1 else [])]]
    return pl.DataFrame(rows, schema=CHOICES_SCHEMA).fill_nan(None)


def _row(choice: Choice) -> dict[str, object]:
    if np.isnan(choice.left_out.values).all():
        return choice.row | {"reason": ONE_SEED}
    found = interval_of(choice.left_out, choice.alike)
    optimism = float(choice.row["same_seeds"]) - found.value  # type: ignore[arg-type]
    row = choice.row | {"gain": found.value, "optimism": optimism}
    if not found.error**2 > NO_VARIANCE:
        return row | {"reason": NO_VARIATION}
    return row | {"low": found.low, "high": found.high}


def interval_of(left_out: BySeed, alike: bool) -> Contrast:
    """The mean gain of two seeds or more that are left out, with its interval, as the module says."""
    mean = mean_over_seeds(left_out)
    shared = mean.n / (mean.n - 1) * (1 / 3 if alike else 1.0)
    return weighted([(1.0, mean._replace(of_seeds=(1 + shared) * mean.of_seeds))])


def _mean(choices: Sequence[Choice]) -> Choice:
    """Over targets, which share their seeds and have examples of their own."""
    means = {
        name: float(np.mean([one.row[name] for one in choices]))
        for name in ("dev_score", "none_score", "score", "same_seeds", "best_gain", "regret")
    }
    n_seeds = min(int(one.row["n_seeds"]) for one in choices)  # type: ignore[call-overload]
    names = {"encoder": choices[0].row["encoder"], "target": ALL_TARGETS, "chosen": None, "best": None}
    return Choice({**names, **means, "n_seeds": n_seeds}, mean_of([one.left_out for one in choices]),
                  all(one.alike for one in choices))  # fmt: skip
