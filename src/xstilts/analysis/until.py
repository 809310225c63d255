"""How precise the main comparisons of a study are, and where one more seed helps most: what `run --until` goes by.

A main comparison is the gain of a recipe on a pretrained encoder, in points, mean over the non-English languages and
over the targets of reading comprehension, or over all targets where there are none of these. It is precise enough once
its 95 % interval was no wider than wanted before its last seed, with LEAST seeds at least: who stops at the first
interval that is narrow enough stops where the runs happen to agree, and one more seed makes up for most of that
(Stein 1945, "A two-sample test for a linear hypothesis whose power is independent of the variance", has the problem;
docs/statistics.md the figures).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xstilts.analysis.answer import counted
from xstilts.analysis.axes import axes
from xstilts.analysis.bootstrap import RESAMPLES, resample
from xstilts.analysis.crossed import BySeed, combined, mean_of
from xstilts.analysis.power import Deviations, deviations_of, of_gain
from xstilts.analysis.results import Results
from xstilts.analysis.size import SizeCell, common_languages, sides_in
from xstilts.common.errors import UserError, did_you_mean
from xstilts.planning.added import AddedSeed
from xstilts.planning.recipe import NONE
from xstilts.planning.study import Study

#: Seeds that an interval needs, for whether it is narrow to be believed.
LEAST = 3
#: Seeds that are too many to be worth trying.
MOST = 100


@dataclass(frozen=True)
class Goal:
    """Half-widths of 95 % intervals, in points, of the main comparisons of a study, or of those of one recipe."""

    half_width: float
    recipe: str | None = None


def goal(text: str, study: Study) -> Goal:
    """From ``±2.0``, or a recipe before it: ``mnli ±2.0``. Raises UserError."""
    found = re.fullmatch(r"\s*(?:(?P<recipe>.*?)[\s:]+)?(?:±|\+-|\+/-)?\s*(?P<points>\d+(?:\.\d+)?)\s*", text)
    if not found or float(found["points"]) <= 0:
        raise UserError(f'--until {text!r}: say it as "±2.0", in points, or as "RECIPE ±2.0"')
    recipes = [recipe.name for recipe in study.recipes if recipe.name != NONE]
    if found["recipe"] and found["recipe"] not in recipes:
        raise UserError(
            f"--until {text!r}: unknown recipe {found['recipe']!r}: {did_you_mean(found['recipe'], recipes)}"
        )
    return Goal(float(found["points"]), found["recipe"] or None)


@dataclass(frozen=True)
class MainGain:
    """A main comparison with the seeds that both sides have; half-widths are infinite where there is no interval."""

    encoder: str
    recipe: str
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    half_width: float
    before: float  # without the last seed
    needs: int | None  # seeds that it takes to be as precise as wanted; None: more than MOST, or nothing tells

    def reached(self, goal: Goal) -> bool:
        return len(self.seeds) > LEAST and self.before <= goal.half_width

    @property
    def told(self) -> str:
        precision = f"± {self.half_width:.1f}" if np.isfinite(self.half_width) else "no interval"
        return f"{self.recipe} on {self.encoder}: {precision} with {counted(len(self.seeds), 'seed')}"


def comparisons(results: Results, wanted: Goal, *, resamples: int = RESAMPLES) -> list[MainGain]:
    """Those that are asked for, the widest first."""
    of = axes(results)
    languages = common_languages(results.scores, of)
    sides: dict[SizeCell, tuple[BySeed, BySeed]] = {}
    for block in resample(results.outcomes, resamples=resamples).blocks(of):
        sides |= {cell: (one.score, one.without) for cell, one in sides_in(block, languages, of).items()}
    targets = of.span_targets or of.targets
    found = []
    for encoder in (one.label for one in of.encoders if not one.random):
        for recipe in of.recipes:
            own = tuple(target for target in targets if SizeCell(encoder, recipe, target) in sides)
            if own and recipe not in of.means and wanted.recipe in (None, recipe):
                parts = [sides[SizeCell(encoder, recipe, target)] for target in own]
                both = mean_of([score for score, _ in parts]), mean_of([without for _, without in parts])
                found.append(_comparison(encoder, recipe, own, both, of.seeds, wanted))
    return sorted(found, key=lambda one: -one.half_width)


def _comparison(
    encoder: str, recipe: str, targets: tuple[str, ...], both: tuple[BySeed, BySeed], seeds: Sequence[int], wanted: Goal
) -> MainGain:
    there = np.flatnonzero(~np.isnan(both[0].values + both[1].values)).tolist()
    known = deviations_of(BySeed(both[0].values - both[1].values, both[0].replicates - both[1].replicates))
    half_width = _half_width(both, there)
    needs = _needs(known, wanted) if known else LEAST
    if len(there) >= MOST or (len(there) >= LEAST and not np.isfinite(half_width)):  # all seeds give the same
        needs = None
    return MainGain(encoder, recipe, targets, tuple(seeds[i] for i in there), half_width,
                      _half_width(both, there[:-1]), needs)  # fmt: skip


def _half_width(both: tuple[BySeed, BySeed], seeds: Sequence[int]) -> float:
    if len(seeds) < 2:
        return float("inf")
    score, without = (BySeed(side.values[seeds], side.replicates[seeds], side.n) for side in both)
    found = combined([(1.0, score), (-1.0, without)])
    half_width = (found.high - found.low) / 2
    return half_width if half_width > 0 else float("inf")  # none, or all that was drawn is the same


def _needs(deviations: Deviations, wanted: Goal) -> int | None:
    counts = range(LEAST, MOST + 1)
    return next((n for n in counts if (of := of_gain(deviations, n)) and of.half_width <= wanted.half_width), None)


def next_seeds(study: Study, added: Sequence[AddedSeed], widest: MainGain) -> list[AddedSeed]:
    """One more seed of a comparison, of both of its sides: one that a side has already, if there is such."""
    beyond: Mapping[str, set[int]] = {
        recipe: {one.seed for one in added if (one.encoder, one.recipe) == (widest.encoder, recipe)}
        for recipe in (NONE, widest.recipe)
    }
    seed = max(study.seeds) + 1
    while all(seed in seeds for seeds in beyond.values()):
        seed += 1
    return [AddedSeed(widest.encoder, recipe, target, seed) for recipe in beyond for target in widest.targets]
