"""Choices on dev whose gains are known, drawn anew each time: models are as lucky on dev as on test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xstilts.analysis.axes import Axes, SizedEncoder
from xstilts.analysis.bootstrap import Block
from xstilts.analysis.choice import ALL_TARGETS, choice_in, join_choices
from xstilts.planning.recipe import NONE


@dataclass(frozen=True)
class Choices:
    """Recipes that gain so many points over `none` on every target. Deviations are in points."""

    gains: Sequence[float]
    seeds: int = 3
    targets: int = 1
    examples: int = 200
    run: float = 1.2  # of trained models; half of the variance is the intermediate stage's, which targets share
    example: float = 12.0  # of a model's luck with one example of its own
    dev: float = 1.0  # of a model's luck with the dev set

    @property
    def axes(self) -> Axes:
        targets = tuple(f"t{i}" for i in range(self.targets))
        return Axes(
            (SizedEncoder("e", "e", True, False, 1),), (NONE, *(f"r{i}" for i in range(len(self.gains)))), targets,
            dict.fromkeys(targets, ("de",)), dict.fromkeys(targets, "span"), dict.fromkeys(targets, "f1"), {},
            tuple(range(self.seeds)),
        )  # fmt: skip


def coverage(design: Choices, runs: int, *, resamples: int = 100, seed: int = 0) -> float:
    """The share of ``runs`` whose interval, of the mean over targets if there are several, holds the mean of gains."""
    rng, of = np.random.default_rng([seed, design.seeds, design.targets, len(design.gains)]), design.axes
    shape = (len(of.recipes), design.seeds)
    found = []
    for _ in range(runs):
        stage = rng.normal(0, design.run * np.sqrt(0.5), shape) * (np.arange(shape[0]) > 0)[:, None]
        parts = []
        for target in of.targets:
            own = np.where(np.arange(shape[0]) > 0, np.sqrt(0.5), 1)[:, None] * rng.normal(0, design.run, shape)
            models = 50 + np.array([0, *design.gains])[:, None] + stage + own
            noise = design.example / np.sqrt(design.examples)
            values = models + rng.normal(0, noise, shape)
            drawn = values[..., None] + rng.normal(0, noise, (*shape, resamples))
            dev = models + rng.normal(0, design.dev, shape)
            n = np.full((*shape, 1), design.examples)
            block = Block("e", target, of.recipes, of.seeds, ("de",), values[..., None], drawn[:, :, None], n, n)
            scores = {("e", target, recipe, i): float(dev[place, i])
                      for place, recipe in enumerate(of.recipes) for i in of.seeds}  # fmt: skip
            parts.append(choice_in(block, scores, of))
        row = join_choices(parts, of).row(-1, named=True)
        assert (row["target"] == ALL_TARGETS) == (design.targets > 1)
        found.append((row["gain"], row["low"], row["high"]))
    told = np.array([one for one in found if one[1] is not None])  # without the runs in which `none` is chosen always
    truth = np.mean([gain for gain, _, _ in found])
    return float(np.mean((told[:, 1] <= truth) & (truth <= told[:, 2])))
