"""Which encoder, recipes and targets of a study are those that a claim or a publication speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from xstilts.analysis.analyse import Analysis
from xstilts.analysis.axes import ALL_LANGUAGES, ZERO_SHOT, Axes, SizedEncoder, axes
from xstilts.analysis.bootstrap import resample
from xstilts.analysis.comparisons import sides_of
from xstilts.analysis.crossed import BySeed, Contrast, combined, sum_of
from xstilts.analysis.results import Results
from xstilts.data import Data
from xstilts.planning.recipe import NONE, RecipeEntry
from xstilts.tasks import Catalog
from xstilts.tasks.task import Task


@dataclass(frozen=True)
class Matched:
    """A study, with what it takes to find in it what a claim or a publication speaks of."""

    results: Results
    analysis: Analysis
    catalog: Catalog
    data: Data

    @cached_property
    def recipes(self) -> dict[str, RecipeEntry]:
        """Those that have scores, by name, without `none`."""
        entries = self.results.study.recipes
        return {one.name: one for one in entries if one.name != NONE and one.name in self.axes.recipes}

    @cached_property
    def plain(self) -> dict[str, RecipeEntry]:
        """Recipes that train on tasks' English data and on nothing else."""
        return {name: one for name, one in self.recipes.items()
                if one.tasks and not (one.mlm or one.translated or one.target_training)}  # fmt: skip

    @property
    def learnt(self) -> pl.DataFrame:
        """Encoder and recipe of what was learnt in all seeds."""
        return self.analysis.learnt.filter("learnt").select("encoder", "recipe")

    @property
    def axes(self) -> Axes:
        return self.analysis.axes

    @property
    def pretrained(self) -> list[str]:
        """Labels, from small to large."""
        return [one.label for one in self.axes.encoders if not one.random]

    def encoder(self, wanted: str | None) -> str | None:
        """The label of the pretrained encoder that is the ``wanted`` one, whole, else of the largest."""
        pretrained = [one for one in self.axes.encoders if not one.random]
        same = [one for one in pretrained if wanted and is_known_as(one, wanted)]
        return next((one.label for one in same or pretrained[-1:]), None)

    def task(self, name: str) -> Task | None:
        return next((task for task in self.catalog if task.name == name), None)

    def stands_for(self, name: str) -> str:
        task = self.task(name)
        return task.stands_for if task and task.stands_for else name

    def training_on(self, tasks: Sequence[str]) -> list[str]:
        """The plain recipes that train on these tasks."""
        return [name for name, one in self.plain.items() if {*map(self.stands_for, one.tasks)} == {*tasks}]

    def targets(self, claimed: Sequence[str]) -> list[str]:
        """The study's targets that are among the claimed ones or, where those are not there, stand for them."""
        return [one for one in self.axes.targets
                if one in claimed or (self.stands_for(one) in claimed and self.stands_for(one) not in self.axes.targets)
                ]  # fmt: skip

    def gains(self, encoder: str, recipes: Sequence[str], claimed: Sequence[str], languages: str) -> pl.DataFrame:
        """Rows of GAINS_SCHEMA: one for each of the recipes and claimed targets that have it."""
        return mean_rows(self.analysis.gains, languages).filter(
            pl.col("encoder") == encoder,
            pl.col("recipe").is_in(list(recipes)),
            pl.col("target").is_in(self.targets(claimed)),
        )

    def combined(self, rows: pl.DataFrame, weights: Mapping[tuple[str, str], float]) -> Contrast:
        """Σ weight · gain over these gains of one encoder, by (recipe, target): the same samples as in the analysis."""

        def used(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.filter(
                "main",
                pl.col("encoder") == rows["encoder"][0],
                pl.col("recipe").is_in([*rows["recipe"], NONE]),
                pl.col("target").is_in(rows["target"].to_list()),
            )

        of = axes(replace(self.results, scores=used(self.results.scores)))
        parts: dict[
            str, list[tuple[float, BySeed]]
        ] = {}  # recipe → its scores, `none` among them; one part where seeds are paired
        for block in resample(used(self.results.outcomes)).blocks(of):
            here = rows.filter(pl.col("target") == block.target).select("recipe", "language")
            for recipe, language in here.iter_rows():
                weight = weights[recipe, block.target]
                own, base = sides_of(block, recipe, language, of)
                parts.setdefault(NONE if of.paired_seeds else recipe, []).append((weight, own))
                parts.setdefault(NONE, []).append((-weight, base))
        return combined([(1.0, sum_of(part)) for part in parts.values()])

    def keys(self, rows: pl.DataFrame) -> tuple[str, ...]:
        """The score stages behind rows of gains, of the recipes and of `none`."""
        sides = pl.concat([rows, rows.with_columns(recipe=pl.lit(NONE))]).select("encoder", "recipe", "target")
        scored = self.results.scores.filter("main").join(sides.unique(), on=["encoder", "recipe", "target"], how="semi")
        return tuple(scored["key"].unique(maintain_order=True))


def mean_rows(frame: pl.DataFrame, languages: str) -> pl.DataFrame:
    """Of gains or scores, the means over the languages: all of them where English is one, or the non-English."""
    if languages == "non-English":
        return frame.filter(pl.col("language") == ZERO_SHOT)
    rows = frame.filter(pl.col("language").is_in([ALL_LANGUAGES, ZERO_SHOT]))
    has_all = (pl.col("language") == ALL_LANGUAGES).any().over("encoder", "recipe", "target")
    return rows.filter((pl.col("language") == ALL_LANGUAGES) | ~has_all)


def is_known_as(encoder: SizedEncoder, name: str) -> bool:
    """By its label or, if it is whole, by its source; the publisher does not matter: FacebookAI/xlm-roberta-large is
    also known as xlm-roberta-large.
    """
    names = (encoder.label, *([encoder.source] if encoder.whole and not encoder.random else []))
    return _bare(name) in map(_bare, names)


def _bare(name: str) -> str:
    return name.rsplit("/", 1)[-1].lower()
