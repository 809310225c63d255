"""From the tables of a study to comparisons, their intervals, and the answer in words."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from xstilts.analysis.answer import Answer, answer
from xstilts.analysis.axes import Axes, axes
from xstilts.analysis.bootstrap import RESAMPLES, estimates, resample
from xstilts.analysis.comparisons import gains
from xstilts.analysis.size import gains_by_seed, sizes
from xstilts.results import Results


@dataclass(frozen=True)
class Analysis:
    """All that the report says of a study, beside the study's own tables."""

    axes: Axes
    scores: pl.DataFrame  # ESTIMATES_SCHEMA
    gains: pl.DataFrame  # GAINS_SCHEMA
    sizes: pl.DataFrame  # SIZES_SCHEMA
    answer: Answer


def analyse(results: Results, *, resamples: int = RESAMPLES, seed: int = 0) -> Analysis:
    """Analyse a study, complete or not. The same results give the same analysis."""
    of = axes(results.scores)
    drawn = resample(results.outcomes, resamples=resamples, seed=seed)
    compared = gains(drawn, of)
    slopes = sizes(gains_by_seed(drawn, of), of)
    said = answer(results, of, drawn, compared.frame, slopes)
    return Analysis(of, estimates(drawn, of), compared.frame, slopes, said)
