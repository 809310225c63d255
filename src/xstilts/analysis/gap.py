"""The cross-lingual gap: what English scores above the mean over the other languages (Hu et al. 2020, XTREME).

It falls where other languages gain, and where English loses; the scores of both stand beside it. The "hardness adjusted
transfer" score (HAT, arXiv 2606.21954), which is meant to tell these apart, is not computed: its abstract was found,
its formula was not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from xstilts.analysis.axes import ENGLISH, ZERO_SHOT, Axes
from xstilts.analysis.bootstrap import Block, alike
from xstilts.analysis.comparisons import Piece, beyond_english, columns_of, in_order, spread_of, table_of
from xstilts.common.arrays import Floats

GAPS_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,
    "recipe": pl.String,
    "target": pl.String,
    "english": pl.Float64,  # points, mean over seeds
    "zero_shot": pl.Float64,  # points, mean over the non-English languages
    "gap": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n_languages": pl.Int64,  # non-English ones
    "n_seeds": pl.Int64,
    "beyond_english": pl.String,  # as in SCORES_SCHEMA; null: zero-shot
}


def gaps_in(block: Block) -> pl.DataFrame | None:
    """What `join_gaps` needs of one block; None where English or all others lack."""
    if ENGLISH not in block.languages:
        return None
    english = np.array([block.languages.index(ENGLISH)])
    pieces: list[Piece] = []
    sides: list[tuple[Floats, Floats]] = []
    for mask, recipes in alike(block.scored):
        others = np.setdiff1d(np.flatnonzero(mask), english)
        if mask[english].all() and others.size:
            top, rest = block.over(english, recipes), block.over(others, recipes)
            values = top.by_seed - rest.by_seed
            replicates = block.means(recipes, english) - block.means(recipes, others)
            n, n_groups = (
                np.minimum(one, several // others.size) * others.size
                for one, several in ((top.n, rest.n), (top.n_groups, rest.n_groups))
            )
            pieces.append((recipes, ZERO_SHOT, block.sample(values, replicates, n, n_groups, others.size)))
            both = np.where(np.isnan(values), np.nan, 1.0)  # seeds that have all
            sides.append((_mean(top.by_seed * both), _mean(rest.by_seed * both)))
    if not pieces:
        return None
    of_english, of_others = (np.concatenate(side) for side in zip(*sides, strict=True))
    frame = table_of(block, pieces).with_columns(**columns_of({"english": of_english, "zero_shot": of_others}))
    return frame.filter(pl.col("n_seeds") > 0)


def join_gaps(parts: Sequence[pl.DataFrame | None], of: Axes) -> pl.DataFrame:
    """The parts as one table (GAPS_SCHEMA), in the order of the axes, with intervals."""
    there = [part for part in parts if part is not None and part.height]
    if not there:
        return pl.DataFrame(schema=GAPS_SCHEMA)
    frame = pl.concat(there)
    frame = frame[in_order(frame, of)]
    low, high = spread_of(frame).interval(frame["value"].to_numpy())
    named = frame.with_columns(gap="value", beyond_english=beyond_english(frame, of))
    return named.with_columns(**columns_of({"low": low, "high": high})).select(*GAPS_SCHEMA).fill_nan(None)


def _mean(by_seed: Floats) -> Floats:
    there = (~np.isnan(by_seed)).sum(axis=1)
    return np.where(there > 0, np.nansum(by_seed, axis=1) / np.maximum(there, 1), np.nan)
