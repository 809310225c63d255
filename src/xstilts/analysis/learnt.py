"""Which intermediate trainings were learnt: a gate that is set before any gain is looked at.

A training counts as learnt if its English dev score is more than `planning.records.MAJORITY_MARGIN` points above what
predictions get that read nothing: the majority class; of span extraction, the whole passage. Questions that have no
answer (SQuAD v2.0) are left out, since answering none of them is a class that a model must first unlearn: it is judged
by HasAns F1 (Rajpurkar et al. 2018, evaluate-v2.0.py). A recipe of several tasks must have learnt each of them, a merge
all that it merges. No score of another language, and none of the target, has a say.

A mean over recipes is then told twice: over all of them (intention to treat: what training on such a task did), and
over those that were learnt (per protocol: what a task does once it is learnt). The second is no random sample of the
first: encoders that can learn a task differ from those that cannot.
"""

from __future__ import annotations

import polars as pl

from xstilts.analysis.results import Results

LEARNT_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,
    "recipe": pl.String,  # those with an intermediate training
    "n_learnt": pl.Int64,  # seeds whose training is known to be learnt
    "n_seeds": pl.Int64,
    "learnt": pl.Boolean,  # in all seeds; null where the gate is not known of one, and no other failed it
}


def learnt_by_seed(results: Results) -> pl.DataFrame:
    """encoder, recipe, seed and whether its intermediate training was learnt (null: not known)."""
    cells = results.scores.filter("main", pl.col("intermediate").is_not_null()).select(
        "encoder", "recipe", "seed", key="intermediate"
    )
    gate = results.stages.select("key", "learnt").unique("key")
    return cells.unique(maintain_order=True).join(gate, on="key", how="left", maintain_order="left").drop("key")


def learnt(results: Results) -> pl.DataFrame:
    """By encoder and recipe (LEARNT_SCHEMA), in the order of the scores."""
    by_recipe = learnt_by_seed(results).group_by("encoder", "recipe", maintain_order=True)
    return by_recipe.agg(
        n_learnt=pl.col("learnt").sum().cast(pl.Int64),
        n_seeds=pl.len().cast(pl.Int64),
        learnt=pl.col("learnt").all(ignore_nulls=False),
    ).cast(pl.Schema(LEARNT_SCHEMA))
