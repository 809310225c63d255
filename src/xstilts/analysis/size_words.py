"""Whether the gain depends on size, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from xstilts.analysis.axes import Axes, millions
from xstilts.analysis.scales import POINTS, SCALES, Scale
from xstilts.analysis.size import (
    ALL,
    ALL_ENCODERS,
    ALL_RECIPES,
    COLLAPSED,
    DIRECTIONS,
    ENOUGH_ENCODERS,
    ENOUGH_SIZES,
    LEARNT,
    NO_VARIANCE,
    ONE_SEED,
    READING,
    SCALES_DIFFER,
    TOO_FEW,
    UNDECIDED,
)
from xstilts.encoders.families import family_of

_MOST_NAMED = 3

Row = Mapping[str, Any]


def per(row: Row) -> tuple[float, str]:
    """What a slope is told over: ten times the size where as much was measured, else the sizes that were.

    The factor that makes it of the slope of a row of SIZES_SCHEMA, and the words.
    """
    if row["largest"] >= 10 * row["smallest"]:
        return 1.0, "per tenfold size"
    span = f"from {millions(row['smallest'])} to {millions(row['largest'])}"
    return float(np.log10(row["largest"] / row["smallest"])), span


def size_sentence(target: str, of: Axes, sizes: pl.DataFrame) -> str:
    """Whether the gain on ``target`` (or READING) depends on size: of the mean of the recipes, and by recipe."""
    rows = speaking(sizes).filter(pl.col("target") == target, pl.col("estimate") == ALL)
    if not rows.height:
        return ""
    name = (
        f"Reading comprehension ({', '.join(map(of.called, of.span_targets))})"
        if target == READING
        else of.called(target)
    )
    first = rows.filter(pl.col("recipe") == rows["recipe"][0]).to_dicts()  # the mean of recipes, if there are several
    points, verdict = first[0], first[0]["verdict"]
    if verdict == TOO_FEW:
        return f"{name}: {_count(points['n_sizes'], 'size')} of encoder, {TOO_FEW} whether the gain depends on it."
    no_verdict = {
        ONE_SEED: "one seed an encoder",
        COLLAPSED: "a model of at least one encoder collapsed",
        NO_VARIANCE: "neither seeds nor examples vary",
    }
    if why := no_verdict.get(verdict):
        return f"{name}: {why}, from which nothing follows on whether the gain depends on size."
    recipes = rows.filter(pl.col("recipe") != ALL_RECIPES)["recipe"].n_unique()
    whose = (
        f"as the mean of {recipes} recipes" if points["recipe"] == ALL_RECIPES else f"for {of.called(points['recipe'])}"
    )
    found = {
        UNDECIDED: f"{UNDECIDED} on whether the gain depends on size",
        SCALES_DIFFER: f"{SCALES_DIFFER} on whether the gain depends on size",
    }.get(verdict, f"{verdict} with size")
    if verdict == UNDECIDED and points["n_encoders"] < ENOUGH_ENCODERS:
        half = POINTS.text(per(points)[0] * points["identified"], sign=False)
        found = f"{points['n_sizes']} sizes identify the change to ± {half} points, and no direction"
    numbers = ", ".join(_number(row, scale) for row, scale in zip(first, SCALES, strict=True))
    these = f"for these encoders only {_interval(points, POINTS, 'these_')} points"
    by_recipe = _by_recipe(rows, of) or ", nor for any recipe alone" * (recipes > 1 and verdict == UNDECIDED)
    return (
        f"{name}, over {_sizes_of(points)}: {found}, {whose}: {numbers}, {_over(points)}; {these}{by_recipe}"
        f"{_of_learnt(sizes, points)}{_confounded(points, of)}."
    )


def size_sentences(of: Axes, sizes: pl.DataFrame) -> tuple[str, ...]:
    """Two sentences: over reading comprehension, or the one span target there is; then target by target."""
    spoken = speaking(sizes).filter(pl.col("estimate") == ALL, pl.col("scale") == POINTS.name)
    first = spoken["target"][0] if spoken.height else ""
    if first not in (READING, *of.span_targets):
        first = ""
    said = [size_sentence(first, of, sizes)] if first else []
    rest = [rows for rows in spoken.partition_by("target", maintain_order=True) if rows["target"][0] != first]
    told = spoken.filter(pl.col("low").is_not_null()).height
    if rest and told:
        pieces = []
        for rows in rest:
            row = rows.row(0, named=True)
            number = "" if row["low"] is None else f", {_number(row, POINTS)}"
            few = " by so few sizes" if row["verdict"] == UNDECIDED and row["n_encoders"] < ENOUGH_ENCODERS else ""
            pieces.append(f"{of.called(row['target'])}: {row['verdict']}{few}{number}{_by_recipe(rows, of)}")
        row = spoken.filter(pl.col("low").is_not_null()).row(0, named=True)
        over = ", " + (_over(row) if said else f"{per(row)[1]} ({row['n_sizes']} sizes of {_which(row)})")
        confounded = "" if said else _confounded(row, of)
        said.append(f"By target{over}: {'; '.join(pieces)}{confounded}.")
    elif rest and not said:
        said.append(size_sentence(rest[0]["target"][0], of, sizes))
    return tuple(said)


def size_caveats(sizes: pl.DataFrame) -> list[str]:
    """What cannot be concluded of size."""
    if sizes.height and (sizes["verdict"] == TOO_FEW).all():
        return ["Fewer than three sizes of one kind: nothing on how the gain changes with size."]
    spoken = speaking(sizes).filter(pl.col("scale") == POINTS.name)
    found = []
    if spoken["confounded"].any():
        found.append("Encoders of several families differ in more than size: their slope is not that of size alone.")
    if spoken.height and spoken["n_encoders"].to_numpy().max() < ENOUGH_ENCODERS:
        found.append(
            f"Fewer than {ENOUGH_ENCODERS} encoders hardly identify how a gain changes with size, and cannot tell size "
            "from the baseline."
        )
    alone = spoken.filter(pl.col("recipe") != ALL_RECIPES, pl.col("estimate") == ALL, pl.col("verdict") != TOO_FEW)
    if alone.height > 1:
        shown = alone.filter(pl.col("verdict").is_in(DIRECTIONS)).height
        found.append(
            f"Verdicts on size are not corrected for their number: of {alone.height:,} {shown} have a direction, up to "
            f"{0.05 * alone.height:.0f} would if size changed nothing."
        )
    return found


def speaking(sizes: pl.DataFrame) -> pl.DataFrame:
    """The rows of the encoders that speak: those with most sizes where nothing but size differs; all if none has 3."""
    enough = pl.col("n_sizes") >= ENOUGH_SIZES
    of_groups = sizes.group_by("family", "confounded", maintain_order=True).agg(pl.col("n_sizes").max())
    best = of_groups.sort(~enough, enough & pl.col("confounded"), -pl.col("n_sizes"), maintain_order=True).head(1)
    return sizes.filter(pl.col("family").is_in(best["family"].implode()))


def _number(row: Row, scale: Scale) -> str:
    return f"{scale.text(per(row)[0] * row['slope'])} {scale.unit} (95 % interval {_interval(row, scale)})"


def _interval(row: Row, scale: Scale, whose: str = "") -> str:
    factor, _ = per(row)
    return f"{scale.text(factor * row[whose + 'low'])} to {scale.text(factor * row[whose + 'high'])}"


def _by_recipe(rows: pl.DataFrame, of: Axes) -> str:
    """The recipes whose verdict is a direction, of the ``rows`` of a target; empty if there are none, or one recipe."""
    alone = rows.filter(pl.col("recipe") != ALL_RECIPES, pl.col("scale") == POINTS.name)
    if alone.height < 2:
        return ""
    said = []
    for verdict in (*DIRECTIONS, SCALES_DIFFER):
        found = alone.filter(pl.col("verdict") == verdict).sort(pl.col("slope").abs(), descending=True)
        named = [f"{of.called(row['recipe'])} {_number(row, POINTS)}" for row in found.iter_rows(named=True)]
        if named:
            more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
            said.append(f"{verdict} for {', '.join(named[:_MOST_NAMED])}{more}")
    unsure = alone.filter(pl.col("verdict") == UNDECIDED).height
    if not said:
        return ""
    return f"; by recipe {', '.join(said)}" + (f", {UNDECIDED} for {unsure}" if unsure else "")


def _of_learnt(sizes: pl.DataFrame, row: Row) -> str:
    """The same of the recipes that were learnt; empty where all of them were, or that is not known."""
    if not (sizes["estimate"] == LEARNT).any():
        return ""
    same = pl.all_horizontal(pl.col(name) == row[name] for name in ("family", "target", "recipe", "scale"))
    found = sizes.filter(same, pl.col("estimate") == LEARNT).to_dicts()
    if not found:
        return "; no recipe was learnt on all of them"
    one = found[0]
    if one["low"] is None:
        return f"; of those learnt, {one['verdict']}"
    return f"; of those learnt {_number(one, POINTS)}, {one['verdict']}"


def _sizes_of(row: Row) -> str:
    span = f"{millions(row['smallest'])} to {millions(row['largest'])} parameters without embeddings"
    return f"{row['n_sizes']} sizes of {_which(row)} ({span})"


def _which(row: Row) -> str:
    return "encoder" if row["family"] == ALL_ENCODERS else str(row["family"])


def _over(row: Row) -> str:
    """What the change is told over, where the sizes have been named."""
    return "per tenfold size" if per(row)[0] == 1 else "over that range"


def _confounded(row: Row, of: Axes) -> str:
    if not row["confounded"]:
        return ""
    families = len({family_of(encoder.source) for encoder in of.encoders if not encoder.random})
    return f"; the encoders are of {families} families, and size goes with family: this is not the effect of size alone"


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"
