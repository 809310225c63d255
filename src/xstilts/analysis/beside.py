"""A study's own numbers beside published ones, and its own gains in one analysis with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from xstilts.analysis.axes import ENGLISH, axes
from xstilts.analysis.bootstrap import Block, resample
from xstilts.analysis.crossed import BySeed, covariance
from xstilts.analysis.evidence import PAIRS_SCHEMA, Assessment, Effects, Pair, Topic, assess, paired, with_errors
from xstilts.analysis.matched import Matched, is_known_as, mean_rows
from xstilts.analysis.published import BEST, BY_VECTORS, FINE_TUNED, LEFT_OUT, MEAN, Literature, Result
from xstilts.encoders.families import family_of
from xstilts.planning.recipe import NONE

BESIDE_SCHEMA: dict[str, type[pl.DataType]] = {
    "publication": pl.String,
    "source": pl.String,  # where in it, or where it was read
    "published_encoder": pl.String,
    "recipe": pl.String,  # tasks joined by +, `none`, a mixture, or `best`: the best of each target
    "target": pl.String,
    "language": pl.String,  # or `mean`, `non-English`
    "metric": pl.String,
    "quantity": pl.String,  # score | gain
    "published": pl.Float64,  # points
    "encoder": pl.String,  # the study's
    "own_recipe": pl.String,
    "own_target": pl.String,
    "own": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def beside(literature: Literature, study: Matched, encoder: str | None = None) -> pl.DataFrame:
    """The published results that the study has a number of its own for (BESIDE_SCHEMA), gains before scores.

    Own numbers are those of ``encoder``, else of the published encoder, else of the largest pretrained one. Scores are
    those of the study's own encoders, and of publications that have a gain on the target. What is left out of the
    evidence is left out here.
    """
    used = [row for row in literature.results if row.use != LEFT_OUT and row.setting in (FINE_TUNED, BY_VECTORS)]
    pairs = paired(used)
    gaining = {(pair.row.publication, pair.row.target) for pair in pairs}
    own = [one for one in study.axes.encoders if not one.random]
    gains = ((pair.row, pair.row.value - (pair.without.value if pair.without else 0), "gain") for pair in pairs)
    scores = (
        (row, row.value, "score")
        for row in used
        if row.quantity == "score"
        and ((row.publication, row.target) in gaining or any(is_known_as(one, row.encoder) for one in own))
    )
    found = [_beside(*one, study, encoder) for one in (*gains, *scores)]
    rows = [row for row in found if row is not None]
    return pl.DataFrame(rows, schema=BESIDE_SCHEMA, infer_schema_length=None)


def evidence_beside(literature: Literature, study: Matched) -> Assessment | None:
    """What is published of the study's targets, its own gains with it; None where no gain on any of them is."""
    own = {study.stands_for(target) for target in study.axes.targets} | set(study.axes.targets)
    there = {pair.row.target for pair in paired(literature.results) if pair.row.use != LEFT_OUT}
    targets = [row.target for row in literature.results if row.target in own & there]
    if not targets:
        return None
    return assess(literature, study.catalog, targets=list(dict.fromkeys(targets)), own=own_effects(literature, study))


def own_effects(literature: Literature, study: Matched) -> Effects | None:
    """The study's gains that answer a published question, with their covariance; None where there are none.

    A row for each pretrained encoder that has the recipe. Errors hold seeds and examples, crossed; encoders share the
    samples of examples, and a recipe and `none` the seeds. English is in the mean where it is in the published one.
    """
    wanted = list(_wanted(paired(literature.results), study))
    if not wanted:
        return None
    used = {NONE, *(cell.recipe for cell in wanted)}
    kept = pl.col("recipe").is_in(list(used)) & pl.col("target").is_in(list({cell.target for cell in wanted}))
    of = axes(replace(study.results, scores=study.results.scores.filter("main", kept)))
    parts: list[tuple[list[OwnCell], dict[str, BySeed]]] = []
    for block in resample(study.results.outcomes.filter("main", kept)).blocks(of):
        cells = [cell for cell in wanted if (cell.encoder, cell.target) == (block.encoder, block.target)]
        for language in dict.fromkeys(cell.language for cell in cells):
            those = [cell for cell in cells if cell.language == language]
            parts.append((those, _by_recipe(block, [NONE, *dict.fromkeys(cell.recipe for cell in those)], language)))
    return _effects(parts, study)


class OwnCell(NamedTuple):
    """A gain of the study, and the question of published ones that it answers."""

    topic: Topic
    encoder: str
    recipe: str
    target: str
    language: str  # `mean` or `non-English`


def _wanted(pairs: Iterable[Pair], study: Matched) -> Iterator[OwnCell]:
    """The study's gains that answer the question of a published one."""
    topics = {(pair.topic, pair.row.language) for pair in pairs
                 if pair.row.setting == FINE_TUNED and pair.row.is_mean and pair.row.use != LEFT_OUT}  # fmt: skip
    for topic, language in sorted(topics):
        for target in study.targets([topic.target]):
            if study.axes.metrics[target] != topic.metric:
                continue
            for encoder in study.pretrained:
                recipe = _own_recipe(topic.recipe, target, encoder, study)
                if recipe not in (None, NONE):
                    yield OwnCell(topic, encoder, str(recipe), target, language)


def _by_recipe(block: Block, recipes: Sequence[str], language: str) -> dict[str, BySeed]:
    """The mean over the languages that all the ``recipes`` have, of the seeds that all have; empty where none is."""
    rows = np.array([block.recipes.index(recipe) for recipe in recipes if recipe in block.recipes])
    there = np.flatnonzero(np.all(block.scored[rows], axis=0))
    at = np.array([i for i in there if language == MEAN or block.languages[i] != ENGLISH], dtype=np.int64)
    values = block.values[np.ix_(rows, np.arange(len(block.seeds)), at)].mean(axis=2) if len(at) else np.empty((0, 0))
    seeds = np.flatnonzero(~np.isnan(values).any(axis=0))
    if not len(seeds):
        return {}
    drawn = block.means(rows, at)[:, seeds]
    return {block.recipes[row]: BySeed(values[i, seeds], drawn[i]) for i, row in enumerate(rows)}


def _effects(parts: Sequence[tuple[Sequence[OwnCell], Mapping[str, BySeed]]], study: Matched) -> Effects | None:
    scores: list[BySeed] = []
    sharing: list[int] = []  # scores of one encoder and target share their seeds
    rows, places = [], []
    parameters = dict(study.results.scores.select("encoder", "parameters").unique("encoder").iter_rows())
    for cells, part in parts:
        at = {recipe: len(scores) + i for i, recipe in enumerate(part)}
        if at:
            sharing += [len(scores)] * len(at)
        scores += part.values()
        for cell in cells:
            if cell.recipe in at and NONE in at:
                rows.append(_row(cell, part, parameters[cell.encoder], study))
                places.append([at[cell.recipe], at[NONE]])
    if not rows:
        return None
    of = np.array(places, dtype=np.int64)
    found = Effects(pl.DataFrame(rows, schema=PAIRS_SCHEMA), of, np.array([one.values.mean() for one in scores]),
                    covariance(scores, sharing))  # fmt: skip
    return replace(found, frame=with_errors(found))


def _row(cell: OwnCell, part: Mapping[str, BySeed], size: int, study: Matched) -> dict[str, object]:
    encoder = study.axes.encoder(cell.encoder)
    given, lacking = (float(part[recipe].values.mean()) for recipe in (cell.recipe, NONE))
    return cell.topic._asdict() | {
        "publication": study.results.name,
        "source": "this study",
        "hand": "first",
        "encoder": cell.encoder,
        "family": encoder.source if not encoder.whole else family_of(encoder.source),
        "parameters": size,
        "protocol": f"{cell.recipe} before {cell.target}",
        "language": cell.language,
        "split": study.results.scores.filter(pl.col("target") == cell.target)["split"][0],
        "without": lacking,
        "with": given,
        "gain": given - lacking,
        "error_is": "crossed",
        "seeds": len(part[NONE].values),
        "use": "pool",
        "own": True,
    }


def _beside(
    result: Result, published: float, quantity: str, study: Matched, encoder: str | None
) -> dict[str, object] | None:
    label, [target, *_] = encoder or study.encoder(result.encoder), [*study.targets([result.target]), None]
    if label is None or target is None or result.metric != study.axes.metrics[target]:
        return None
    recipe = _own_recipe(result.recipe, target, label, study)
    if recipe is None:
        return None
    frame = study.analysis.gains if quantity == "gain" else study.analysis.scores
    if result.is_mean:
        rows = mean_rows(frame, "all" if result.language == MEAN else "non-English")
    else:
        rows = frame.filter(pl.col("language") == result.language)
    own = rows.filter(pl.col("encoder") == label, pl.col("recipe") == recipe, pl.col("target") == target)
    if not own.height:
        return None
    row = own.row(0, named=True)
    same = result.model_dump(include={"publication", "source", "recipe", "target", "language", "metric"})
    return same | {
        "published_encoder": result.encoder,
        "quantity": quantity,
        "published": published,
        "encoder": label,
        "own_recipe": recipe,
        "own_target": target,
        "own": row[quantity if quantity == "gain" else "value"],
        "low": row["low"],
        "high": row["high"],
    }


def _own_recipe(published: str, target: str, encoder: str, study: Matched) -> str | None:
    """The study's recipe that is the published one; for `best`, the one that dev data choose for the target."""
    if published == NONE:
        return NONE
    if published == BEST:
        choices = study.analysis.choices.filter(pl.col("encoder") == encoder, pl.col("target") == target)
        return choices["chosen"].item() if choices.height == 1 else None
    return next(iter(study.training_on(published.split("+"))), None)
