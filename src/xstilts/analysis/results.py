"""What a study leaves behind, gathered from the store: the input of analysis and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from xstilts.common import html
from xstilts.planning.study import Study

#: One row per encoder, recipe, target, language, seed and metric.
SCORES_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,  # label, e.g. bundled/e5-small@6
    "source": pl.String,  # the model that it is, or is the lowest layers of: a folder, or a name of the hub
    "init": pl.String,  # pretrained | random
    "layers": pl.Int64,
    "parameters": pl.Int64,  # total
    "parameters_without_embeddings": pl.Int64,
    "recipe": pl.String,  # `none` or the recipe's name; of averaged weights with what is averaged, in brackets
    "averaged": pl.String,  # what of its models is, as in `5 checkpoints of 3 seeds`; null: a model itself
    "target": pl.String,
    "format": pl.String,
    "language": pl.String,
    "family": pl.String,  # of the language; null of a pair such as de-en
    "script": pl.String,  # the likely one, by ISO 15924
    "split": pl.String,
    "metric": pl.String,
    "main": pl.Boolean,  # whether this is the target's main metric
    "value": pl.Float64,  # in points, 0 to 100
    "n": pl.Int64,  # examples scored
    "seed": pl.Int64,
    "preset": pl.String,
    "precision": pl.String,  # fp32 | bf16
    "hidden_layer": pl.Int64,  # retrieval, mining: which block's output is pooled (0 = embeddings); else null
    "pooling": pl.String,  # retrieval, mining: mean | cls; else null
    "dev": pl.Float64,  # dev score of the target stage, in points; null where nothing is trained (retrieval)
    "beyond_english": pl.String,  # languages but English of labelled data that models were given, as `de+sw`; else null
    "seconds": pl.Float64,  # that the score's whole chain of stages took, shared ones too; null if one is not known
    "flops": pl.Float64,  # of that chain
    "key": pl.String,  # of the score stage
    "model": pl.String,  # key of the target stage; null where nothing is trained
    "intermediate": pl.String,  # key of the intermediate stage; null for `none`
}

#: One row per scored example, of the main metric; of mining, only those with a gold or a mined translation. value of a
#: set of examples = 100 · Σ numerator / Σ denominator, for every metric: a mean has denominator 1, an F1 over spans has
#: 2·correct over predicted + gold.
OUTCOMES_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,
    "source": pl.String,
    "recipe": pl.String,
    "averaged": pl.String,
    "target": pl.String,
    "language": pl.String,
    "seed": pl.Int64,
    "metric": pl.String,
    "main": pl.Boolean,
    "id": pl.String,
    "group": pl.String,  # of examples that share a text, as questions on one passage; null where one stands alone
    "numerator": pl.Float64,
    "denominator": pl.Float64,
}

#: One row per logged training step or dev evaluation; `loss` or `dev` is null.
CURVES_SCHEMA: dict[str, type[pl.DataType]] = {
    "key": pl.String,
    "encoder": pl.String,
    "recipe": pl.String,
    "phase": pl.String,  # intermediate | target
    "task": pl.String,  # the task trained on
    "seed": pl.Int64,
    "step": pl.Int64,
    "loss": pl.Float64,  # mean over the steps since the last row
    "dev": pl.Float64,  # English dev score in points, of the task's main metric
}

#: One row per stage of the plan.
STAGES_SCHEMA: dict[str, type[pl.DataType]] = {
    "key": pl.String,
    "kind": pl.String,  # train | merge | average | predict | score | translate
    "label": pl.String,
    "state": pl.String,  # done | failed | missing
    "seconds": pl.Float64,  # when it was computed, in this run or an earlier one
    "flops": pl.Float64,
    "tokens": pl.Int64,
    "peak_memory": pl.Int64,  # bytes
    "collapsed": pl.Boolean,  # a training's dev score is no better than the majority class, on a task at least
    "learnt": pl.Boolean,  # a training's dev score passes the gate of `analysis.learnt` on all its tasks; null: unknown
}

#: One row per data file set that the study read.
DATA_SCHEMA: dict[str, type[pl.DataType]] = {
    "task": pl.String,
    "split": pl.String,
    "language": pl.String,
    "examples": pl.Int64,
    "use": pl.String,  # train | selection | threshold (of mining) | evaluation
    "fingerprint": pl.String,  # sha256
}


@dataclass(frozen=True, repr=False)
class Results:
    """The tables of one study; see the schemas above for the columns."""

    study: Study
    scores: pl.DataFrame
    outcomes: pl.DataFrame
    curves: pl.DataFrame
    stages: pl.DataFrame
    data: pl.DataFrame
    versions: dict[str, str] = field(default_factory=dict)  # library → version, and machine facts
    failures: list[str] = field(default_factory=list)  # one line a failed or skipped stage
    planned: Mapping[tuple[str, str, str], int] | None = None  # (encoder, recipe, target) → seeds; None: all of them
    notes: list[str] = field(default_factory=list)  # caveats to print, e.g. that the mini suite is not XTREME

    @property
    def name(self) -> str:
        return self.study.name

    def __repr__(self) -> str:
        """How many scores there are."""
        failed = f", {len(self.failures)} stages failed or were skipped" if self.failures else ""
        return f"Results of {self.name}: {self.scores.height:,} scores{failed}"

    def _repr_html_(self) -> str:
        """For a notebook: the mean score by encoder, recipe and target. What is certain of it, a report says."""
        means = (
            self.scores.filter("main")
            .group_by("encoder", "recipe", "target", maintain_order=True)
            .agg(pl.mean("value"))
        )
        targets = means["target"].unique(maintain_order=True).to_list()
        by_cell = {(encoder, recipe, target): value for encoder, recipe, target, value in means.iter_rows()}
        rows = [
            (f"{encoder}: {recipe}", *(_points(by_cell.get((encoder, recipe, target))) for target in targets))
            for encoder, recipe in means.select("encoder", "recipe").unique(maintain_order=True).iter_rows()
        ]
        return html.paragraphs(f"{self!r}; means over all languages and seeds") + html.table(("", *targets), rows)

    @property
    def training_sample(self) -> str:
        """In a sentence, whether seeds differ in what they are trained on."""
        if self.study.sample == "per_seed":
            return "The training sample is drawn anew for each seed: intervals cover which examples it holds."
        return "The training sample is the same for every seed: intervals do not cover which examples it holds."


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
