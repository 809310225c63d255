"""From the tables of a study to comparisons, their intervals, and the answer in words."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from xstilts.analysis.answer import Answer, answer
from xstilts.analysis.axes import Axes, axes
from xstilts.analysis.bootstrap import RESAMPLES, resample
from xstilts.analysis.choice import choice_in, dev_scores, join_choices
from xstilts.analysis.comparisons import (
    averaging_in,
    collapsed_models,
    estimates_in,
    gains_in,
    join_estimates,
    join_gains,
)
from xstilts.analysis.gap import gaps_in, join_gaps
from xstilts.analysis.learnt import learnt
from xstilts.analysis.results import Results
from xstilts.analysis.size import Sides, SizeCell, common_languages, sides_in, sizes


@dataclass(frozen=True)
class Analysis:
    """All that the report says of a study, beside the study's own tables."""

    axes: Axes
    scores: pl.DataFrame  # ESTIMATES_SCHEMA
    gains: pl.DataFrame  # GAINS_SCHEMA
    averaging: pl.DataFrame  # GAINS_SCHEMA: means of weights over the models that they are made of
    sizes: pl.DataFrame  # SIZES_SCHEMA
    size_lines: pl.DataFrame  # LINES_SCHEMA
    size_points: pl.DataFrame  # POINTS_SCHEMA
    choices: pl.DataFrame  # CHOICES_SCHEMA
    gaps: pl.DataFrame  # GAPS_SCHEMA
    learnt: pl.DataFrame  # LEARNT_SCHEMA
    answer: Answer


def analyse(results: Results, *, resamples: int = RESAMPLES, seed: int = 0) -> Analysis:
    """Analyse a study, complete or not. The same results give the same analysis."""
    of = axes(results)
    drawn = resample(results.outcomes, resamples=resamples, seed=seed)
    dev, languages = dev_scores(results.scores), common_languages(results.scores, of)
    scores, differences, averaged, choices, gaps = [], [], [], [], []
    sides: dict[SizeCell, Sides] = {}
    for block in drawn.blocks(of):  # one at a time: all replicates of a large study would not fit into memory
        scores.append(estimates_in(block))
        differences.append(gains_in(block, of))
        averaged.append(averaging_in(block, of))
        choices.append(choice_in(block, dev, of))
        gaps.append(gaps_in(block))
        sides |= sides_in(block, languages, of)
    collapsed = collapsed_models(results.scores, results.stages)
    estimated, compared = join_estimates(scores, of), join_gains(differences, of, collapsed)
    passed = learnt(results)
    by_size = sizes(sides, of, passed, collapsed)
    return Analysis(
        axes=of,
        scores=estimated,
        gains=compared,
        averaging=join_gains(averaged, of, collapsed),
        sizes=by_size.slopes,
        size_lines=by_size.lines,
        size_points=by_size.points,
        choices=join_choices(choices, of),
        gaps=join_gaps(gaps, of),
        learnt=passed,
        answer=answer(results, of, estimated, compared, by_size.slopes, passed),
    )
