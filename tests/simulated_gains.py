"""Studies whose gains are known, drawn anew each time: recipes share one `none`, and their seeds vary as unequally."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import ndtri

from xstilts.analysis.axes import ZERO_SHOT, Axes, SizedEncoder
from xstilts.analysis.bootstrap import resample
from xstilts.analysis.comparisons import NO_EFFECT, SHOWN, estimates_in, gains_in, join_estimates, join_gains
from xstilts.analysis.gap import gaps_in, join_gaps
from xstilts.analysis.results import OUTCOMES_SCHEMA
from xstilts.planning.recipe import NONE

LANGUAGES = ("en", "ar", "de", "hi", "zh")


#: The true score of `none` in all languages, points.
BASE = 45.0


@dataclass(frozen=True)
class Recipes:
    """Two encoders, `none` and five recipes without any effect, on one parallel test. Deviations are in points."""

    seeds: int = 3
    examples: int = 50
    run: float = 1.2  # of trained models
    none: float = 1.0  # times as much, of those of `none`
    unequal: float = 0.0  # standard deviation of the logarithm of each other recipe's
    disagreement: float = 0.4  # share of an example's luck that is each model's own
    gain: float = 0.0  # of each recipe

    @property
    def axes(self) -> Axes:
        return Axes(
            encoders=tuple(SizedEncoder(f"e{i}", "e", False, False, 10**7) for i in range(2)),
            recipes=(NONE, *(f"r{i}" for i in range(5))),
            targets=("xquad",),
            languages={"xquad": LANGUAGES},
            formats={"xquad": "span"},
            metrics={"xquad": "f1"},
            vectors={},
            seeds=tuple(range(self.seeds)),
        )


def outcomes(design: Recipes, rng: np.random.Generator) -> pl.DataFrame:
    """OUTCOMES_SCHEMA: a model has luck of its own and by language, an example a difficulty that all models share."""
    of = design.axes
    shape = (len(of.encoders), len(of.recipes), design.seeds)
    deviations = np.exp(rng.normal(0, design.unequal, shape[:2]))
    deviations[:, 0] = design.none
    models = BASE + design.gain * (np.arange(shape[1]) > 0)[:, None] + np.zeros(shape)
    models += design.run * deviations[:, :, None] * rng.normal(size=shape)
    by_language = models[..., None] + rng.normal(0, 0.5, (*shape, len(LANGUAGES)))
    shared = np.sqrt(0.5) * (rng.normal(size=(1, design.examples)) + rng.normal(size=(len(LANGUAGES), design.examples)))
    luck = np.sqrt(1 - design.disagreement) * shared
    luck = luck + np.sqrt(design.disagreement) * rng.normal(size=(*by_language.shape, design.examples))
    right = luck < ndtri(by_language / 100)[..., None]
    axes = [
        [one.label for one in of.encoders],
        of.recipes,
        of.seeds,
        LANGUAGES,
        [f"{i}" for i in range(design.examples)],
    ]
    places = np.indices(right.shape, dtype=np.int32).reshape(right.ndim, -1)
    names = ("encoder", "recipe", "seed", "language", "id")
    columns = {name: pl.Series(name, axis).gather(place) for name, axis, place in zip(names, axes, places, strict=True)}
    fixed = {"target": pl.lit("xquad"), "metric": pl.lit("f1"), "main": pl.lit(True), "denominator": pl.lit(1.0)}
    frame = pl.DataFrame({**columns, "numerator": right.ravel().astype(float)})
    return frame.with_columns(**fixed, source=pl.lit("e"), averaged=None, group=None).select(*OUTCOMES_SCHEMA)


@dataclass(frozen=True)
class Found:
    """Over all studies: shares of intervals of gains, scores and gaps that hold the truth; shares of studies."""

    mean: float
    language: float
    score: float  # of a mean over the non-English languages
    gap: float
    wrong: float  # studies in which a recipe is said to help or hurt
    equivalent: float  # studies in which a recipe is said to have no effect


def drawn(design: Recipes, runs: int, *, resamples: int = 300, seed: int = 0) -> Found:
    rng = np.random.default_rng(seed)
    of = design.axes
    mean, language, score, gap, wrong, equivalent = [], [], [], [], [], []
    for run in range(runs):
        blocks = list(resample(outcomes(design, rng), resamples=resamples, seed=run).blocks(of))
        scores = join_estimates([estimates_in(block) for block in blocks], of).filter(language=ZERO_SHOT)
        true = BASE + design.gain * (scores["recipe"] != NONE)
        score += ((scores["low"] <= true) & (true <= scores["high"])).to_list()
        gaps = join_gaps([gaps_in(block) for block in blocks], of)
        gap += ((gaps["low"] <= 0) & (gaps["high"] >= 0)).to_list()
        frame = join_gains([gains_in(block, of) for block in blocks], of)
        held = frame.with_columns(held=(pl.col("low") <= design.gain) & (design.gain <= pl.col("high")))
        main = held.filter(pl.col("language") == ZERO_SHOT)
        mean += main["held"].to_list()
        language += held.filter(pl.col("language") != ZERO_SHOT)["held"].to_list()
        wrong.append(main["verdict"].is_in(SHOWN).any())
        equivalent.append(main["verdict"].eq(NO_EFFECT).any())
    return Found(*(float(np.mean(one)) for one in (mean, language, score, gap, wrong, equivalent)))
