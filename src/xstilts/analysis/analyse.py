"""From the tables of a study to comparisons, their intervals, and the answer in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from xstilts.analysis.answer import Answer, answer
from xstilts.analysis.axes import Axes, axes
from xstilts.analysis.bootstrap import RESAMPLES, resample
from xstilts.analysis.choice import choice_in, dev_scores, join_choices
from xstilts.analysis.comparisons import averaging_in, estimates_in, gains_in, join_estimates, join_gains
from xstilts.analysis.crossed import BySeed
from xstilts.analysis.gap import gaps_in, join_gaps
from xstilts.analysis.learnt import learnt
from xstilts.analysis.mixed import mixed
from xstilts.analysis.results import Results
from xstilts.analysis.size import SizeCell, by_seed_in, common_languages, sizes


@dataclass(frozen=True)
class Analysis:
    """All that the report says of a study, beside the study's own tables."""

    axes: Axes
    table: pl.DataFrame  # SCORES_SCHEMA, as the results have it
    scores: pl.DataFrame  # ESTIMATES_SCHEMA
    gains: pl.DataFrame  # GAINS_SCHEMA
    averaging: pl.DataFrame  # GAINS_SCHEMA: means of weights over the models that they are made of
    sizes: pl.DataFrame  # SIZES_SCHEMA
    choices: pl.DataFrame  # CHOICES_SCHEMA
    gaps: pl.DataFrame  # GAPS_SCHEMA
    learnt: pl.DataFrame  # LEARNT_SCHEMA
    answer: Answer

    @cached_property
    def mixed(self) -> pl.DataFrame:
        """The mixed model of the gains over size (MIXED_SCHEMA), fitted when it is asked for: it takes seconds."""
        return mixed(self.table, self.axes)


def analyse(results: Results, *, resamples: int = RESAMPLES, seed: int = 0) -> Analysis:
    """Analyse a study, complete or not. The same results give the same analysis."""
    of = axes(results)
    drawn = resample(results.outcomes, resamples=resamples, seed=seed)
    dev, languages = dev_scores(results.scores), common_languages(results.scores, of)
    scores, differences, averaged, choices, gaps = [], [], [], [], []
    by_seed: dict[SizeCell, BySeed] = {}
    for block in drawn.blocks(of):  # one at a time: all replicates of a large study would not fit into memory
        scores.append(estimates_in(block))
        differences.append(gains_in(block, of))
        averaged.append(averaging_in(block, of))
        choices.append(choice_in(block, dev, of))
        gaps.append(gaps_in(block))
        by_seed |= by_seed_in(block, languages, of)
    estimated, compared = join_estimates(scores, of), join_gains(differences, of)
    slopes = sizes(by_seed, of)
    return Analysis(
        axes=of,
        table=results.scores,
        scores=estimated,
        gains=compared.frame,
        averaging=join_gains(averaged, of).frame,
        sizes=slopes,
        choices=join_choices(choices, of),
        gaps=join_gaps(gaps, of),
        learnt=learnt(results),
        answer=answer(results, of, estimated, compared.frame, slopes),
    )
