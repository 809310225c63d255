"""The table of a paper: encoders and recipes × targets, absolute scores with their mean, and gains beside them.

As in Phang et al. 2020 (arXiv 2005.13013, Table 2) and on XTREME's leaderboard (Hu et al. 2020, Table 2): targets stand
in groups, each under its metric; of answers F1 and exact match stand together, and count with their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import polars as pl

from xstilts.analysis.analyse import Analysis
from xstilts.analysis.answer import counted
from xstilts.analysis.axes import ALL_LANGUAGES, ENGLISH, NONE, ZERO_SHOT
from xstilts.analysis.comparisons import ABOVE, BELOW, HELPS, HURTS
from xstilts.analysis.methods import Methods, UsedTarget, methods, planned
from xstilts.analysis.results import Results
from xstilts.reporting.table import LABELLED, MISSING, Entry, Number, Table

#: A row a cell of the table: an encoder, a recipe and a target.
PAPER_SCHEMA: dict[str, type[pl.DataType]] = {
    "encoder": pl.String,
    "recipe": pl.String,
    "group": pl.String,  # of the target, as XTREME groups them
    "target": pl.String,
    "languages": pl.String,  # `all non-English` or `all languages`: over which the numbers are means
    "n_languages": pl.Int64,
    "metric": pl.String,
    "value": pl.Float64,  # mean over seeds and languages, points; null where there is no score
    "beside": pl.String,  # the metric that stands beside it
    "beside_value": pl.Float64,
    "n_seeds": pl.Int64,
    "seeds_asked": pl.Int64,  # by the study
    "collapsed": pl.Boolean,  # a training behind it is no better on dev than the majority class
    "gain": pl.Float64,  # points over `none`, of `metric`; null of `none` itself
    "low": pl.Float64,
    "high": pl.Float64,
    "verdict": pl.String,
    "gain_n_languages": pl.Int64,  # that both sides have
    "gain_n_seeds": pl.Int64,
    "gain_collapsed": pl.Boolean,  # a training behind either side is
    "beyond_english": pl.String,  # as in SCORES_SCHEMA; null: zero-shot
}

#: Which languages the numbers are means over, as an option says it.
MEANS = {"non-english": ZERO_SHOT, "all": ALL_LANGUAGES}

#: Footnotes of cells.
FEW_SEEDS, COLLAPSED, FEW_LANGUAGES = "†", "‡", "§"
_SIGNS = {
    FEW_SEEDS: "fewer seeds than the study asks for",
    COLLAPSED: "a training behind it is no better on dev than the majority class",
    FEW_LANGUAGES: "fewer languages than the column has",
    LABELLED: "NOT zero-shot, with labelled data of other languages than English",
}

#: Metrics as papers abbreviate them; others stand under their own name.
_METRICS = {"f1": "F1", "exact_match": "EM", "accuracy": "Acc.", "map": "mAP", "map20": "mAP@20"}

_MEAN = "mean"

#: A row of PAPER_SCHEMA.
Cell = dict[str, Any]


@dataclass(frozen=True)
class PaperTable:
    """The cells (PAPER_SCHEMA), and the panels: scores, and gains where there are recipes to compare."""

    frame: pl.DataFrame
    panels: tuple[Table, ...]


def paper_table(results: Results, analysis: Analysis, languages: str = ZERO_SHOT) -> PaperTable:
    """The table, of means over ``languages``: ZERO_SHOT, or ALL_LANGUAGES as XTREME has them."""
    used = methods(results)
    frame = _cells(results, analysis, used, languages)
    panels = [_scores(frame, used)]
    if frame["gain"].is_not_null().any():
        panels.append(_gains(frame, used))
    return PaperTable(frame, tuple(panels))


def _cells(results: Results, analysis: Analysis, used: Methods, languages: str) -> pl.DataFrame:
    keys = ("encoder", "recipe", "target")
    scored, gained = _means(analysis.scores, languages), _means(analysis.gains, languages)
    besides = _besides(results, used, languages)
    collapsed = _collapsed(results)
    asked = planned(results)
    rows = []
    for encoder, recipe in _lines(asked, analysis):
        for target in _in_groups(used):
            cell = (encoder, recipe, target.name)
            if cell not in asked and cell not in scored:
                continue
            score, gain = scored.get(cell, {}), gained.get(cell, {})
            base = (encoder, analysis.axes.baselines.get(recipe, NONE), target.name)
            rows.append(
                {
                    **dict(zip(keys, cell, strict=True)),
                    "group": target.group,
                    "languages": languages,
                    "n_languages": score.get("n_languages"),
                    "metric": target.metrics[0],
                    "value": score.get("value"),
                    "beside": target.metrics[1] if len(target.metrics) > 1 else None,
                    "beside_value": besides.get(cell),
                    "n_seeds": score.get("n_seeds", 0),
                    "seeds_asked": asked.get(cell, 0),
                    "collapsed": cell in collapsed,
                    **{name: gain.get(name) for name in ("gain", "low", "high", "verdict")},
                    "gain_n_languages": gain.get("n_languages"),
                    "gain_n_seeds": gain.get("n_seeds"),
                    "gain_collapsed": bool({cell, base} & collapsed) if gain else None,
                    "beyond_english": "+".join(analysis.axes.beyond_english.get((recipe, target.name), ())) or None,
                }
            )
    return pl.DataFrame(rows, schema=PAPER_SCHEMA)


def _means(frame: pl.DataFrame, languages: str) -> dict[tuple[Any, ...], Cell]:
    """Of each encoder, recipe and target, the row that is the mean over ``languages``.

    There is none over all languages where English, or all but English, has no scores.
    """
    found: dict[tuple[Any, ...], Cell] = {}
    for name in (ENGLISH, ZERO_SHOT, ALL_LANGUAGES) if languages == ALL_LANGUAGES else (languages,):
        for row in frame.filter(pl.col("language") == name).iter_rows(named=True):
            found[row["encoder"], row["recipe"], row["target"]] = row
    return found


def _lines(asked: Mapping[tuple[str, str, str], int], analysis: Analysis) -> list[tuple[str, str]]:
    """Encoders and their recipes: from small to large and `none` first, then those without scores."""
    encoders = dict.fromkeys([*(one.label for one in analysis.axes.encoders), *(encoder for encoder, _, _ in asked)])
    recipes = dict.fromkeys([*analysis.axes.recipes, *(recipe for _, recipe, _ in asked)])
    wanted = {(encoder, recipe) for encoder, recipe, _ in asked} | set(
        analysis.scores.select("encoder", "recipe").rows()
    )
    return [(encoder, recipe) for encoder in encoders for recipe in recipes if (encoder, recipe) in wanted]


def _in_groups(used: Methods) -> list[UsedTarget]:
    """The targets of a group side by side, groups and targets in the study's order."""
    groups = list(dict.fromkeys(target.group for target in used.targets))
    return sorted(used.targets, key=lambda target: groups.index(target.group))


def _besides(results: Results, used: Methods, languages: str) -> dict[tuple[Any, ...], float]:
    """Means over seeds, then over languages, of the metrics that stand beside the main ones."""
    wanted = [(target.name, target.metrics[1]) for target in used.targets if len(target.metrics) > 1]
    pairs = pl.DataFrame(wanted, schema={"target": pl.String, "metric": pl.String}, orient="row")
    rows = results.scores.join(pairs, on=["target", "metric"], how="semi")
    if languages == ZERO_SHOT:
        rows = rows.filter(pl.col("language") != ENGLISH)
    cell = ["encoder", "recipe", "target"]
    by_language = rows.group_by(*cell, "language").agg(pl.col("value").mean())
    return {tuple(key): value for *key, value in by_language.group_by(cell).agg(pl.col("value").mean()).iter_rows()}


def _collapsed(results: Results) -> set[tuple[Any, ...]]:
    """Cells behind a seed of which stands a training that is no better on dev than the majority class."""
    keys = results.stages.filter("collapsed")["key"].implode()
    behind = results.scores.filter(pl.col("model").is_in(keys) | pl.col("intermediate").is_in(keys))
    return set(behind.select("encoder", "recipe", "target").unique().iter_rows())


def _scores(frame: pl.DataFrame, used: Methods) -> Table:
    def number(cell: Cell) -> Number | None:
        if cell["value"] is None:
            return None
        return Number(cell["value"], beside=cell["beside_value"], note=_basis(cell["n_seeds"], cell))

    mean = ""
    if len(frame["target"].unique()) > 1:
        both = ", of those with two metrics by the mean of both" if frame["beside"].is_not_null().any() else ""
        mean = f" The mean is over the targets{both}."
    return _panel(frame, used, f"Scores in points: {_over(frame, used)}.{mean}", number, scores=True)


def _gains(frame: pl.DataFrame, used: Methods) -> Table:
    def number(cell: Cell) -> Number | None:
        if cell["gain"] is None:
            return None
        marked = cell["verdict"] in (HELPS, HURTS, ABOVE, BELOW)
        return Number(
            cell["gain"],
            cell["low"],
            cell["high"],
            marked,
            True,
            f"{cell['verdict']}; {_basis(cell['gain_n_seeds'], cell)}",
        )

    compared = frame.filter(pl.col("gain").is_not_null().any().over("encoder", "recipe"))
    paired = f"Gain over `{NONE}` in points, paired by seed and example: {_over(compared, used)}"
    corrected = frame["languages"][0] == ZERO_SHOT
    bold = "helps or hurts (Holm-corrected p < 0.05)" if corrected else "the interval excludes 0, not corrected"
    marked = f"± half the 95 % interval; bold: {bold}"
    return _panel(compared, used, f"{paired}; {marked}.", number, scores=False)


def _panel(
    frame: pl.DataFrame, used: Methods, caption: str, number: Callable[[Cell], Number | None], *, scores: bool
) -> Table:
    """A row an encoder and recipe, a column a target; of ``scores`` of several, one of their mean."""
    targets = [target for target in _in_groups(used) if target.name in set(frame["target"])]
    mean, counts = scores and len(targets) > 1, "" if scores else "gain_"
    rows: list[tuple[Entry, ...]] = []
    rules: set[int] = set()
    signs: set[str] = set()
    most = {target: most for target, most in frame.group_by("target").agg(pl.col("n_languages").max()).iter_rows()}
    for (encoder, recipe), line in frame.partition_by("encoder", "recipe", as_dict=True, maintain_order=True).items():
        cells = {cell["target"]: cell for cell in line.iter_rows(named=True)}
        numbers = []
        for target in targets:
            cell = cells.get(target.name)
            entry = number(cell) if cell else None
            if cell and entry:
                entry = replace(entry, signs="".join(_signs(cell, counts, most[target.name])))
                signs.update(entry.signs)
            numbers.append(entry)
        if not rows or rows[-1][0] != encoder:
            rules.add(len(rows))
        rows.append((str(encoder), used.recipe(str(recipe)), *numbers, *([_mean(numbers)] if mean else [])))
    notes = "".join(f" {sign}: {said}." for sign, said in _SIGNS.items() if sign in signs)
    missing = f" {MISSING}: no score." if any(entry is None for row in rows for entry in row) else ""
    last = [_MEAN] if mean else []
    return Table(
        "paper-scores" if scores else "paper-gains",
        f"{caption}{notes}{missing}",
        ("encoder", "recipe", *(target.called for target in targets), *last),
        tuple(rows),
        frozenset(rules),
        over=("", "", *(target.group for target in targets), *("" for _ in last)),
        units=("", "", *(_metrics(target, scores) for target in targets), *("" for _ in last)),
    )


def _mean(numbers: Sequence[Number | None]) -> Number | None:
    """Over the targets, as XTREME takes it; None where a target has no score."""
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return None
    values = [fmean([one.value] if one.beside is None else [one.value, one.beside]) for one in known]
    return Number(fmean(values), signs="".join(sign for sign in _SIGNS if any(sign in one.signs for one in known)))


def _signs(cell: Cell, counts: str, most_languages: int) -> Iterator[str]:
    """``counts`` begins the names of the columns that say what the number rests on."""
    if cell[f"{counts}n_seeds"] < cell["seeds_asked"]:
        yield FEW_SEEDS
    if cell[f"{counts}collapsed"]:
        yield COLLAPSED
    if cell[f"{counts}n_languages"] < most_languages:
        yield FEW_LANGUAGES
    if cell["beyond_english"]:
        yield LABELLED


def _metrics(target: UsedTarget, both: bool) -> str:
    """What stands below a column's name; gains are of the main metric alone."""
    return " / ".join(_METRICS.get(name, name) for name in (target.metrics if both else target.metrics[:1]))


def _basis(n_seeds: int, cell: Cell) -> str:
    return f"{n_seeds} of {counted(cell['seeds_asked'], 'seed')}"


def _over(frame: pl.DataFrame, used: Methods) -> str:
    """Over what the numbers are means, as `mean over the non-English languages (XQuAD 10, MLQA 6) and 3 seeds`."""
    counts = frame.group_by("target", maintain_order=True).agg(pl.col("n_languages").max()).drop_nulls()
    by_target = ", ".join(f"{used.target(target).called} {n}" for target, n in counts.iter_rows())
    which = "all languages" if frame["languages"][0] == ALL_LANGUAGES else "the non-English languages"
    low, high = (int(of(frame["seeds_asked"].to_list())) for of in (min, max))
    seeds = counted(high, "seed") if low == high else f"{low} to {high} seeds"
    return f"mean over {which} ({by_target}) and {seeds}"
