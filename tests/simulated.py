"""Studies whose effect of size is known, drawn anew each time: outcomes alone, as the analysis of sizes needs them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import polars as pl
from scipy import stats
from scipy.special import ndtri

from xstilts.analysis.axes import Axes, SizedEncoder
from xstilts.analysis.bootstrap import resample
from xstilts.analysis.results import OUTCOMES_SCHEMA
from xstilts.analysis.scales import POINTS, SCALES
from xstilts.analysis.size import READING, Sides, SizeCell, sides_in, sizes, slope_weights
from xstilts.planning.recipe import NONE

MIDDLE, SMALLEST, LARGEST, THESE = "middle", "smallest", "largest", "these"


@dataclass(frozen=True)
class Design:
    """Sizes are those of 3, 6, 9 and 12 layers. Standard deviations are in points."""

    layers: Sequence[int] = (3, 6, 9, 12)
    seeds: int = 3
    targets: Sequence[str] = ("xquad", "mlqa")  # span targets
    languages: int = 4
    examples: int = 60
    slope: float = 4.0  # points of gain per tenfold size
    deviation: float = 0.0  # of an encoder's gain from the line
    run: float = 1.0  # of trained models of one recipe; half of the variance is the intermediate stage's
    run_of_smallest: float | None = None  # that of the smallest, the others in between; as ``run`` where None
    language: float = 2.0  # of a language's own gain, slope, and noise of a model
    disagreement: float = 0.4  # share of an example's luck that is each model's own
    passage: int = 1  # examples that share a text, and half of their luck

    @property
    def axes(self) -> Axes:
        languages = ("ar", "de", "hi", "zh", "ru", "th", "tr", "vi", "es", "el")[: self.languages]
        return Axes(
            encoders=tuple(
                SizedEncoder(f"e@{layers}", "e", False, False, layers * 1_774_464) for layers in self.layers
            ),
            recipes=(NONE, "squad"),
            targets=tuple(self.targets),
            languages=dict.fromkeys(self.targets, languages),
            formats=dict.fromkeys(self.targets, "span"),
            metrics=dict.fromkeys(self.targets, "f1"),
            vectors={},
            seeds=tuple(range(self.seeds)),
        )


def simulate(design: Design, rng: np.random.Generator) -> tuple[pl.DataFrame, dict[tuple[str, str], float]]:
    """Outcomes (OUTCOMES_SCHEMA), and the true slope for each target and scale, for encoders like these.

    And, in points, the mean gains of encoders of the smallest size, the largest, and half-way between (`middle`), and
    the slope through the gains of `these` encoders.

    A language has a level, a gain and a slope of its own. An encoder deviates from the line, on all targets alike. A
    trained model has luck of its own, in part from its intermediate stage, which targets share, and in part by
    language. An example has a difficulty that all models share, part of it in all languages, as tests are parallel.
    """
    of = design.axes
    parameters = np.array([encoder.parameters for encoder in of.encoders])
    size = np.log10(parameters / parameters.min())
    n_encoders, n_seeds, n = len(parameters), design.seeds, design.examples
    sds = np.linspace(design.run_of_smallest or design.run, design.run, n_encoders)[:, None, None, None]
    stage = rng.normal(size=(n_encoders, 2, n_seeds, 1)) * np.array([0, 1])[:, None, None]  # `none` has no such stage
    deviation = rng.normal(0, design.deviation, (n_encoders, 1))
    frames, sides = [], {}
    for target in design.targets:
        level, gain, slope = (rng.normal(0, sd, design.languages) for sd in (6, design.language, design.language))
        gains = 2 + gain + (design.slope + slope) * size[:, None]  # [encoders, languages]
        base = 45 + level + 8 * size[:, None]
        sides[target] = base.mean(axis=1), (base + gains).mean(axis=1)
        true = base[:, None] + np.stack([np.zeros_like(gains), gains + deviation], axis=1)
        own = np.where(np.array([0, 1])[:, None, None], np.sqrt(0.5), 1) * rng.normal(size=stage.shape)
        models = true[:, :, None] + sds * (np.sqrt(0.5) * stage + own)
        models = models + rng.normal(0, design.language / 2, models.shape)  # [encoders, recipes, seeds, languages]
        shared = np.sqrt(0.5) * (_luck(design, rng, 1) + _luck(design, rng, design.languages))
        luck = np.sqrt(1 - design.disagreement) * shared
        luck = luck + np.sqrt(design.disagreement) * _luck(design, rng, *models.shape)
        right = luck < ndtri(np.clip(models, 1, 99) / 100)[..., None]
        frames.append(_frame(right, target, of, design.passage))
    if len(design.targets) > 1:
        sides[READING] = tuple(np.mean(side, axis=0) for side in zip(*sides.values(), strict=True))
    weights = slope_weights(parameters.tolist())
    at, share = np.polynomial.hermite_e.hermegauss(15)  # the mean over the deviations of encoders
    truth = {
        (target, scale.name): float(
            weights @ (scale.gain(score[:, None] + design.deviation * at, base[:, None], n) @ share / share.sum())
        )
        for target, (base, score) in sides.items()
        for scale in SCALES
    }
    for target, (base, score) in sides.items():
        for name, where in ((SMALLEST, 0.0), (MIDDLE, size.max() / 2), (LARGEST, size.max())):
            truth[target, name] = float(np.interp(where, size, score - base))
        truth[target, THESE] = float(weights @ (score + deviation[:, 0] - base))
    return pl.concat(frames), truth


def slopes(design: Design, outcomes: pl.DataFrame, *, resamples: int = 400, seed: int = 0) -> pl.DataFrame:
    """SIZES_SCHEMA."""
    languages = {(target, "squad"): design.axes.languages[target] for target in design.targets}
    found: dict[SizeCell, Sides] = {}
    for block in resample(outcomes, resamples=resamples, seed=seed).blocks(design.axes):
        found |= sides_in(block, languages, design.axes)
    return sizes(found, design.axes).slopes


def coverage(design: Design, runs: int, *, resamples: int = 400, seed: int = 0) -> dict[str, float]:
    """The share of ``runs`` whose 95 % intervals hold the slope, by scale, and, in points, what else a row tells.

    Of READING where there are several targets, else of the one: the slope through the gains of these encoders, the
    line's ends, a new encoder's gain, the deviation.
    """
    rng = np.random.default_rng([seed, crc32(repr(design).encode())])
    held: dict[str, list[bool]] = defaultdict(list)
    for run in range(runs):
        outcomes, truth = simulate(design, rng)
        target = READING if len(design.targets) > 1 else design.targets[0]
        for row in slopes(design, outcomes, resamples=resamples, seed=run).filter(target=target).iter_rows(named=True):
            held[row["scale"]].append(row["low"] <= truth[target, row["scale"]] <= row["high"])
            if row["scale"] == POINTS.name:
                new = truth[target, MIDDLE] + rng.normal(0, design.deviation)
                held["new encoder"].append(row["new_low"] <= new <= row["new_high"])
                held["deviation"].append(row["deviation_low"] <= design.deviation <= row["deviation_high"])
                held["these only"].append(row["these_low"] <= truth[target, THESE] <= row["these_high"])
                for end in (SMALLEST, LARGEST):
                    held[end].append(row[f"at_{end}_low"] <= truth[target, end] <= row[f"at_{end}_high"])
    return {name: float(np.mean(found)) for name, found in held.items()}


def as_said(shares: dict[str, float], runs: int) -> bool:
    """Whether intervals that hold the truth in 92 to 98 % of simulations would come out so in 99 of 100 sets of them.

    That is, each share of ``runs`` lies between what 92 % fall below, and 98 % exceed, once in a hundred times.
    """
    low, high = stats.binom.ppf(0.01, runs, 0.92), stats.binom.ppf(0.99, runs, 0.98)
    return all(low <= share * runs <= high for share in shares.values())


def _luck(design: Design, rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal, of variance 1, [*shape, examples]."""
    alone = rng.normal(size=(*shape, design.examples))
    if design.passage == 1:
        return alone
    of_passages = rng.normal(size=(*shape, design.examples // design.passage))
    return np.sqrt(0.5) * (alone + np.repeat(of_passages, design.passage, axis=-1))


def _frame(right: np.ndarray, target: str, of: Axes, passage: int) -> pl.DataFrame:
    axes = [[encoder.label for encoder in of.encoders], of.recipes, of.seeds, of.languages[target],
            [f"{target}-{i}" for i in range(right.shape[-1])]]  # fmt: skip
    places = np.indices(right.shape).reshape(right.ndim, -1)
    names = ("encoder", "recipe", "seed", "language", "id")
    columns = {name: pl.Series(name, axis).gather(place) for name, axis, place in zip(names, axes, places, strict=True)}
    fixed = {"target": pl.lit(target), "metric": pl.lit("f1"), "main": pl.lit(True), "denominator": pl.lit(1.0)}
    group = pl.lit(None, pl.String) if passage == 1 else pl.Series((places[-1] // passage).astype(str))
    return (
        pl.DataFrame({**columns, "numerator": right.ravel().astype(float)})
        .with_columns(**fixed, source=pl.lit("e"), averaged=None, group=group)
        .select(*OUTCOMES_SCHEMA)
    )
