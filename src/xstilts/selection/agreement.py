"""How a ranking of recipes compares with what running them all has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

import polars as pl
from scipy import stats

from xstilts.planning.recipe import NONE

#: Regret is given for the first, and the first three.
KS = (1, 3)


@dataclass(frozen=True)
class Agreement:
    """Of one ranking with the truth, over ``n`` recipes. Regrets are in points of the target's score."""

    n: int
    regret_1: float
    regret_3: float | None  # None where there are no more than three recipes: it is 0 whatever the ranking
    spearman: float | None  # None below three recipes, or where all are tied
    kendall: float | None


def regret(predicted: Mapping[str, float], gained: Mapping[str, float], k: int) -> float:
    """How many points the best recipe is ahead of the best of the ``k`` ranked highest; ties go by the order given.

    Renggli et al. 2022 (arXiv 2010.06402) and Poth et al. 2021 (arXiv 2104.08247) divide it by the best score.
    """
    chosen = sorted(predicted, key=lambda recipe: -predicted[recipe])[:k]
    return max(gained.values()) - max(gained[recipe] for recipe in chosen)


def agreement(predicted: Mapping[str, float], gained: Mapping[str, float]) -> Agreement:
    """``predicted`` and ``gained`` are by recipe: a method's scores (higher is better), and points over `none`."""
    recipes = list(predicted)
    spearman = kendall = None
    if len(recipes) > 2 and len(set(predicted.values())) > 1 and len({gained[recipe] for recipe in recipes}) > 1:
        pairs = [predicted[recipe] for recipe in recipes], [gained[recipe] for recipe in recipes]
        spearman, kendall = (float(test(*pairs).statistic) for test in (stats.spearmanr, stats.kendalltau))
    of = {recipe: gained[recipe] for recipe in recipes}
    beyond = regret(predicted, of, KS[1]) if len(recipes) > KS[1] else None
    return Agreement(len(recipes), regret(predicted, of, KS[0]), beyond, spearman, kendall)


def by_chance(gained: Mapping[str, float], k: int) -> float:
    """The regret to expect of ``k`` recipes drawn at random."""
    values = sorted(gained.values(), reverse=True)
    n = len(values)
    k = min(k, n)
    best = sum(value * comb(n - 1 - i, k - 1) for i, value in enumerate(values)) / comb(n, k)
    return values[0] - best


def gains(scores: pl.DataFrame, targets: list[str]) -> dict[tuple[str, str], dict[str, float]]:
    """(encoder, target) → recipe → zero-shot gain over `none` in points, from scores (SCORES_SCHEMA).

    The mean over the languages other than English, then over the seeds that both sides have. A recipe without such a
    seed is left out, and so is one that lacks a language which `none` is scored in.
    """
    cells = (
        scores.filter(pl.col("main") & (pl.col("language") != "en") & pl.col("target").is_in(targets))
        .group_by("encoder", "target", "recipe", "seed", maintain_order=True)
        .agg(value=pl.col("value").mean(), languages=pl.col("language").n_unique())
    )
    paired = (
        cells.filter(pl.col("recipe") != NONE)
        .join(cells.filter(pl.col("recipe") == NONE), on=["encoder", "target", "seed", "languages"])
        .group_by("encoder", "target", "recipe", maintain_order=True)
        .agg(gain=(pl.col("value") - pl.col("value_right")).mean())
    )
    found: dict[tuple[str, str], dict[str, float]] = {}
    for encoder, target, recipe, gain in paired.iter_rows():
        found.setdefault((encoder, target), {})[recipe] = gain
    return found
