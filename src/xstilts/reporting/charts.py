"""The charts of a report: gains, sizes, choices, scores, training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import altair as alt
import polars as pl

from xstilts.analysis.analyse import Analysis
from xstilts.analysis.answer import signed
from xstilts.analysis.axes import ALL_LANGUAGES, ENGLISH, NONE, ZERO_SHOT
from xstilts.analysis.comparisons import ABOVE, BELOW, HELPS, HURTS
from xstilts.analysis.results import Results
from xstilts.analysis.scales import POINTS, SCALES, Scale
from xstilts.analysis.size import ALL, READING, groups
from xstilts.analysis.size_words import per, size_sentence
from xstilts.reporting.drawing import (
    HELPS_COLOUR,
    HURTS_COLOUR,
    INK,
    Chart,
    bare,
    colour,
    data,
    draw,
    header,
    in_points,
    listed,
    row_said,
    saying,
    shape,
    zero_line,
)
from xstilts.reporting.table import LABELLED
from xstilts.reporting.tables import said_labelled

# Charts of larger studies are cut to what can be read, and so that the page stays small; the tables hold everything.
#: Targets that have charts of their own, span targets first.
CHARTED_TARGETS = 6
#: Cells of a heat map, over all its panels.
_HEAT_CELLS = 1200
#: Columns of a heat map that a window holds beside each other.
_ACROSS = 20
#: Opacity of the largest gain of a heat map: its number keeps a contrast of 4.5:1, in light and dark.
STRONGEST = 0.65
#: Recipes in a forest plot, and in a chart of sizes.
_FOREST_RECIPES = 12
_SIZE_RECIPES = 9
#: Recipes in the chart of the first screen.
_OVERVIEW_RECIPES = 6
#: Encoders beside each other in one panel.
_ENCODERS = 6
#: Points in a chart of scores.
_SCORE_POINTS = 1500
#: Runs, and points of each, in a chart of training.
_CURVE_RUNS = 100
_CURVE_POINTS = 30


def overview(analysis: Analysis) -> Chart | None:
    """The forest plot of the first screen: the first target, the recipes with the largest gains or losses."""
    if not analysis.axes.targets:
        return None
    target = analysis.axes.targets[0]
    said = " ".join(analysis.answer.best[:1])
    return _of_target(analysis, target, _OVERVIEW_RECIPES, "overview", f"{target}: gain by recipe", said, numbers=False)


def forest(analysis: Analysis, target: str) -> Chart | None:
    """The zero-shot gain of each recipe on each encoder, with its interval, drawn and in numbers."""
    title = f"{target}: gains with intervals"
    return _of_target(analysis, target, _FOREST_RECIPES, f"forest-{target}", title, "", numbers=True)


def gains_map(analysis: Analysis) -> Chart | None:
    """Zero-shot gains by recipe and target, a panel an encoder."""
    axes = analysis.axes
    rows = _zero_shot(analysis.gains)
    if not rows.height:
        return None
    targets = [target for target in axes.targets if target in set(rows["target"])]
    said = "Gain of each recipe on each target, one panel an encoder; the numbers stand in the table of comparisons."
    return _heat_map(
        analysis, rows.with_columns(column="target"), targets, {}, "gains", "Gain by recipe and target", said
    )


def language_map(analysis: Analysis, target: str, families: Mapping[str, str]) -> Chart | None:
    """Gains by recipe and language, a panel an encoder; languages of a family (``families``) stand together."""
    rows = analysis.gains.filter(
        pl.col("target") == target, pl.col("gain").is_not_null(), pl.col("language") != ALL_LANGUAGES
    )
    if not rows.height:
        return None
    found = set(rows["language"])
    codes = by_family([code for code in analysis.axes.languages[target] if code in found], families)
    groups = {code: families.get(code, "") for code in codes} if any(code in families for code in codes) else {}
    said = f"Gain on {target} by recipe and language, one panel an encoder"
    note = f"Languages by family, with lines between: {_said_families(codes, families)}." if groups else ""
    rows = rows.with_columns(column=pl.col("language").replace({ZERO_SHOT: "mean*"}))
    title = f"{target}: gain by recipe and language"
    columns = ["mean*", *codes]
    return _heat_map(
        analysis, rows, columns, groups, f"gains-{target}", title, f"{said}. The numbers stand in the tables.", note
    )


def by_family(codes: Sequence[str], families: Mapping[str, str]) -> list[str]:
    """English first, then the languages family by family, the largest family first."""
    sizes = {family: sum(families.get(code) == family for code in codes) for family in families.values()}

    def place(code: str) -> tuple[object, ...]:
        family = families.get(code, "")
        return (code != ENGLISH, family == "", -sizes.get(family, 0), family, code)

    return sorted(codes, key=place)


def size_chart(analysis: Analysis, target: str, scale: Scale) -> Chart | None:
    """Zero-shot gain on a scale against parameters without embeddings, a panel a recipe.

    The encoders, the line of each group of them, the band of the mean and the one of an encoder that was not seen.
    ``target`` and recipes may be pooled ones, as in the table of sizes.
    """
    fits, points, lines = (
        frame.filter(pl.col("target") == target, pl.col("estimate") == ALL, pl.col("scale") == scale.name)
        for frame in (analysis.sizes, analysis.size_points, analysis.size_lines)
    )
    recipes, cut = _first(fits["recipe"].unique(maintain_order=True).to_list(), _SIZE_RECIPES, "recipes")
    points = points.filter(pl.col("recipe").is_in(recipes), pl.col("gain").is_not_null())
    if points["parameters"].n_unique() < 2:
        return None
    drawn = [group.name for group in groups(analysis.axes.encoders) if not group.confounded]
    lines = lines.filter(pl.col("family").is_in(drawn), pl.col("recipe").is_in(recipes))
    panels = {recipe: "\n".join([recipe, *_slopes(fits, recipe, drawn, scale)]) for recipe in recipes}
    sources = {encoder.label: encoder.source for encoder in analysis.axes.encoders}
    points = points.unique(["encoder", "recipe"], keep="first", maintain_order=True).select(
        "recipe", "parameters", "gain", "low", "high", said=row_said("encoder", "recipe"),
        source=pl.col("encoder").replace_strict(sources, return_dtype=pl.String),
        weight=((pl.col("error").min() / pl.col("error")) ** 2).fill_nan(None).fill_null(0.3),
    )  # fmt: skip
    bands = lines.select(
        "recipe", "parameters", "new_low", "new_high", group="family", line="gain", mean_low="low", mean_high="high"
    )
    table = pl.concat([points, bands], how="diagonal").with_columns(
        panel=pl.col("recipe").replace_strict(panels, return_dtype=pl.String)
    )
    sizes = points["parameters"].to_numpy()
    x_scale = alt.Scale(type="log", domain=[float(sizes.min()) / 1.3, float(sizes.max()) * 1.3], nice=False)
    ticks = sorted(set(sizes.tolist())) if len(set(sizes.tolist())) <= 4 else alt.Undefined
    base = alt.Chart().encode(
        x=alt.X(
            "parameters:Q",
            scale=x_scale,
            title="parameters without embeddings",
            axis=alt.Axis(values=ticks, format=".2s", labelOverlap=True),
        )
    )
    line = base.transform_filter("isValid(datum.line)")
    names = list(points["source"].unique(maintain_order=True))
    layers = alt.layer(
        zero_line("y"),
        *(
            line.mark_area(color=INK, opacity=opacity).encode(
                y=alt.Y(f"{band}_low:Q"), y2=f"{band}_high:Q", detail="group:N"
            )
            for band, opacity in (("new", 0.06), ("mean", 0.12))
        ),
        line.mark_line(strokeWidth=1.5, strokeDash=[6, 3], color=INK).encode(y=alt.Y("line:Q"), detail="group:N"),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(y=alt.Y("low:Q"), y2="high:Q", color=colour("source", names)),
        saying(
            base.transform_filter("isValid(datum.gain)")
            .mark_point(filled=True, opacity=1)
            .encode(
                y=alt.Y("gain:Q", title=f"gain, {scale.unit}"),
                color=colour("source", names),
                shape=shape("source", names),
                size=alt.Size("weight:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[20, 120])),
            )
        ),
    ).properties(width=200, height=150)
    facet = alt.Facet(
        "panel:N", sort=list(panels.values()), title=None, header=alt.Header(labelExpr="split(datum.label, '\\n')")
    )
    chart = layers.facet(data=data(table), facet=facet, columns=_columns(recipes)).resolve_axis(x="independent")
    said = f"Gain against model size, {scale.unit}, one panel a recipe."
    if scale is POINTS:
        said += f" {size_sentence(target, analysis.axes, analysis.sizes)}"
    title = f"{target}: gain by size" + ("" if scale is POINTS else f", {scale.name}")
    return draw(chart, f"size-{target}" + ("" if scale is POINTS else f"-{scale.key}"), title, said, cut)


def choices_chart(analysis: Analysis) -> Chart | None:
    """What choosing on dev gains on test, with its interval, and the best in hindsight."""
    rows = analysis.choices.filter(pl.col("gain").is_not_null(), pl.col("chosen").is_not_null())
    if not rows.height:
        return None
    order, cut = _first(list(rows["target"].unique(maintain_order=True)), CHARTED_TARGETS, "targets")
    rows = rows.filter(pl.col("target").is_in(order)).with_columns(
        hindsight=pl.when(pl.col("best") != pl.col("chosen")).then("best_gain"), said=row_said("encoder", "chosen")
    )
    labels = [encoder.label for encoder in analysis.axes.encoders if encoder.label in set(rows["encoder"])]
    y = alt.Y("encoder:N", sort=labels, title=None, axis=bare())
    title = "test gain over none, points"
    base = alt.Chart().encode(y=y)
    layers = alt.layer(
        zero_line("x"),
        base.mark_rule(strokeWidth=2.5, color=HELPS_COLOUR).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        saying(base.mark_point(filled=True, size=80, opacity=1, color=HELPS_COLOUR).encode(x="gain:Q")),
        base.mark_text(dy=-11, fontSize=11, color=INK).encode(x="gain:Q", text="chosen:N"),
        base.transform_filter("isValid(datum.hindsight)")
        .mark_point(shape="diamond", size=80, opacity=1, strokeWidth=2, color=HURTS_COLOUR)
        .encode(x="hindsight:Q"),
        base.transform_filter("isValid(datum.hindsight)")
        .mark_text(dy=14, fontSize=11, color=INK)
        .encode(x="hindsight:Q", text="best:N"),
    ).properties(width=250, height=alt.Step(38))
    chart = layers.facet(data=data(rows), facet=alt.Facet("target:N", sort=order, title=None), columns=2).resolve_axis(
        x="independent"
    )
    said = "Test gain of the recipe chosen on English dev, and of the recipe that is best on test in hindsight, by "
    return draw(
        chart, "choices", "Chosen on dev, scored on test", said + "encoder and target; the table has the numbers.", cut
    )


def scores_chart(analysis: Analysis, target: str, families: Mapping[str, str]) -> Chart | None:
    """Scores with intervals by language, a panel a pretrained encoder."""
    axes = analysis.axes
    labels = [encoder.label for encoder in axes.encoders if not encoder.random]  # controls would stretch the axis
    rows = analysis.scores.filter(
        pl.col("target") == target,
        pl.col("encoder").is_in(labels),
        pl.col("language").is_in(axes.languages[target]),
        pl.col("value").is_not_null(),
    )
    if not rows.height:
        return None
    order = [label for label in labels if label in set(rows["encoder"])]
    recipes, cut_recipes = _first(axes.recipes, _FOREST_RECIPES, "recipes")
    rows = rows.filter(pl.col("recipe").is_in(recipes))
    panels, cut_encoders = _first(order, max(1, _SCORE_POINTS * len(order) // max(1, rows.height)), "encoders")
    rows = rows.filter(pl.col("encoder").is_in(panels)).with_columns(
        said=row_said("encoder", "recipe", "language", value="value", of=in_points)
    )
    languages = by_family(axes.languages[target], families)
    y = alt.Y("language:N", sort=languages, title=None, axis=bare())
    offset = alt.YOffset("recipe:N", sort=recipes)
    base = alt.Chart().encode(y=y, yOffset=offset, color=colour("recipe", recipes))
    layers = alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.8).encode(
            x=alt.X("low:Q", title=axes.metrics[target], scale=alt.Scale(zero=False, nice=True)), x2="high:Q"
        ),
        saying(base.mark_point(filled=True, size=26, opacity=1).encode(x="value:Q", shape=shape("recipe", recipes))),
    ).properties(width=230, height=alt.Step(max(5, 26 // len(recipes))))
    chart = layers.facet(
        data=data(rows), facet=alt.Facet("encoder:N", sort=panels, title=None), columns=_columns(panels)
    )
    said = f"Scores ({axes.metrics[target]}) on {target} by language and recipe, one panel an encoder, 95 % intervals."
    note = _sentences(cut_recipes, cut_encoders)
    return draw(chart, f"scores-{target}", f"{target}: scores by language", said, note)


def curves_chart(results: Results, analysis: Analysis, of: str) -> Chart | None:
    """Training ``loss`` or ``dev`` score by step: a panel a task, a line a run, coloured by encoder."""
    rows = results.curves.filter(pl.col(of).is_not_null())
    if not rows.height:
        return None
    runs, cut = _first(rows["key"].unique(maintain_order=True).to_list(), _CURVE_RUNS, "runs")
    rows = rows.filter(pl.col("key").is_in(runs))
    # Thin each run evenly, and keep its last point.
    place = pl.int_range(pl.len()).over("key")
    last = pl.len().over("key") - 1
    stride = (pl.len().over("key") // _CURVE_POINTS).clip(1)
    rows = rows.sort("key", "step").filter((place % stride == 0) | (place == last))
    panels = rows.select("phase", "task").unique(maintain_order=True).sort(pl.col("phase") != "intermediate").rows()
    names = [f"{task} ({phase})" for phase, task in panels]
    labels = list(rows["encoder"].unique(maintain_order=True))
    order = [encoder.label for encoder in analysis.axes.encoders if encoder.label in labels]
    order += [label for label in labels if label not in order]  # a run whose scores failed has curves all the same
    chart = (
        saying(alt.Chart().mark_line(strokeWidth=1.2, point=alt.OverlayMarkDef(size=14) if of == "dev" else False))
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y(f"{of}:Q", title={"loss": "loss", "dev": "English dev, points"}[of], scale=alt.Scale(zero=False)),
            color=colour("encoder", order),
            detail="key:N",
        )
        .properties(width=200, height=140)
        .facet(
            data=data(
                rows.with_columns(
                    panel=pl.format("{} ({})", "task", "phase"),
                    said=pl.format("{}, {}, seed {}", "encoder", "recipe", "seed"),
                )
            ),
            facet=alt.Facet("panel:N", sort=names, title=None),
            columns=_columns(names),
        )
        .resolve_scale(x="independent", y="shared" if of == "dev" else "independent")
    )
    title = {"loss": "Training loss", "dev": "English dev score while training"}[of]
    return draw(chart, f"curves-{of}", title, f"{title} by step, one panel a task: {listed(names)}.", cut)


def all_charts(results: Results, analysis: Analysis) -> Iterator[Chart]:
    """Every chart of the report that the study has data for, in the report's order."""
    targets = analysis.axes.targets[:CHARTED_TARGETS]
    families = language_families(results.scores)
    first = overview(analysis)
    whole = first is not None and not first.note  # then the first target's forest plot would say the same again
    charts = [
        first,
        gains_map(analysis),
        *(forest(analysis, target) for target in targets[whole:]),
        *(language_map(analysis, target, families) for target in targets),
        *(
            size_chart(analysis, target, scale)
            for i, target in enumerate((*([READING] if len(analysis.axes.span_targets) > 1 else []), *targets))
            for scale in (SCALES if i == 0 else (POINTS,))
        ),
        choices_chart(analysis),
        *(scores_chart(analysis, target, families) for target in targets),
        curves_chart(results, analysis, "loss"),
        curves_chart(results, analysis, "dev"),
    ]
    return (chart for chart in charts if chart is not None)


def language_families(scores: pl.DataFrame) -> dict[str, str]:
    """Language code → family, where one is known."""
    known = scores.select("language", "family").drop_nulls().unique("language")
    return dict(known.iter_rows())


def side_by_side(rows: pl.DataFrame, target: str, recipes: Sequence[str]) -> Chart | None:
    """The gains of several studies on one target; a row of GAINS_SCHEMA belongs to ``who``, a study and encoder."""
    if not rows.height:
        return None
    said = f"Gain of each recipe over none on {target}, with 95 % intervals, by study and encoder."
    return _forest(rows, recipes, _FOREST_RECIPES, f"forest-{target}", f"{target}: gains side by side", said, True)


def _of_target(
    analysis: Analysis, target: str, most: int, name: str, title: str, answer: str, *, numbers: bool
) -> Chart | None:
    labels = [encoder.label for encoder in analysis.axes.encoders if not encoder.random]
    rows = _zero_shot(analysis.gains).filter(pl.col("target") == target, pl.col("encoder").is_in(labels))
    if not rows.height:
        return None
    order = pl.col("encoder").replace_strict({label: i for i, label in enumerate(labels)}, return_dtype=pl.Int64)
    rows = rows.with_columns(who="encoder").sort(order, maintain_order=True)
    said = f"Gain of each recipe over none on {target}, with 95 % intervals, by encoder. {answer}".strip()
    return _forest(rows, analysis.axes.recipes, most, name, title, said, numbers)


def _forest(
    rows: pl.DataFrame, recipes: Sequence[str], most: int, name: str, title: str, said: str, numbers: bool
) -> Chart:
    """Gains with intervals by recipe, beside each other by ``who``, in the rows' order."""
    shown, cut_sides = _spread(rows["who"].unique(maintain_order=True).to_list(), _ENCODERS, "encoders")
    largest = rows.group_by("recipe").agg(pl.col("gain").abs().max()).sort("gain", descending=True)["recipe"].to_list()
    kept, cut_recipes = _first(largest, most, "recipes, those with the largest gains or losses")
    names = [recipe for recipe in recipes if recipe in kept]
    rows = rows.filter(pl.col("recipe").is_in(names), pl.col("who").is_in(shown))
    labelled = rows.filter(pl.col("beyond_english").is_not_null())
    signs = {recipe: f"{recipe} {LABELLED}" for recipe in labelled["recipe"]}
    names, said = [signs.get(recipe, recipe) for recipe in names], said + said_labelled(labelled)
    rows = rows.with_columns(
        recipe=pl.col("recipe").replace(signs),
        text=pl.format(
            "{} [{}, {}]", *(pl.col(of).map_elements(signed, return_dtype=pl.String) for of in ("gain", "low", "high"))
        ),
        said=row_said("who", "recipe"),
    )
    y = alt.Y("recipe:N", sort=names, title=None, axis=bare())
    offset = alt.YOffset("who:N", sort=shown)
    base = alt.Chart(data(rows)).encode(y=y, yOffset=offset)
    step = alt.Step(max(13, 40 // len(shown)))
    plot = alt.layer(
        zero_line("x").properties(data=data(rows.head(1))),
        base.mark_rule(strokeWidth=2.5).encode(
            x=alt.X("low:Q", title="gain over none, points (non-English mean, 95 % interval)"),
            x2="high:Q",
            color=colour("who", shown),
        ),
        saying(
            base.mark_point(filled=True, size=70, opacity=1).encode(
                x="gain:Q", color=colour("who", shown), shape=shape("who", shown)
            )
        ),
    ).properties(width=330, height=step)
    chart: alt.LayerChart | alt.HConcatChart = plot
    if numbers:
        beside = base.mark_text(align="left", fontSize=11, color=INK).encode(
            y=y.axis(None), x=alt.value(0), text="text:N"
        )
        chart = alt.hconcat(plot, beside.properties(width=120, height=step), spacing=6)
    return draw(chart, name, title, said, _sentences(cut_sides, cut_recipes))


def _heat_map(
    analysis: Analysis,
    rows: pl.DataFrame,
    columns: Sequence[str],
    groups: Mapping[str, str],
    name: str,
    title: str,
    said: str,
    note: str = "",
) -> Chart:
    """Gains by recipe and ``column``; the text is the number, bold where the verdict is that it helps or hurts.

    ``groups`` says what a column belongs to; a line is drawn between groups.
    """
    axes = analysis.axes
    order = [encoder.label for encoder in axes.encoders if encoder.label in set(rows["encoder"])]
    recipes = [recipe for recipe in axes.recipes if recipe in set(rows["recipe"])]
    columns, cut_columns = _first(columns, _HEAT_CELLS // 12, "columns")
    recipes, cut_recipes = _first(recipes, max(1, _HEAT_CELLS // len(columns)), "recipes")
    panels, cut_panels = _spread(order, max(1, _HEAT_CELLS // (len(columns) * len(recipes))), "encoders")
    largest = max(1.0, float(rows["gain"].abs().to_numpy().max()))
    rows = rows.filter(
        pl.col("encoder").is_in(panels), pl.col("recipe").is_in(recipes), pl.col("column").is_in(columns)
    ).select(
        "encoder",
        "recipe",
        "column",
        strength=(STRONGEST * pl.col("gain").abs() / largest).round(3),
        sign=pl.when(pl.col("gain") >= 0).then(pl.lit(HELPS)).otherwise(pl.lit(HURTS)),
        text=pl.col("gain").map_elements(signed, return_dtype=pl.String)
        + pl.when(pl.col("beyond_english").is_null()).then(pl.lit("")).otherwise(pl.lit(LABELLED)),
        said=pl.format("{}; {}", row_said("encoder", "recipe", "column"), "verdict"),
        shown=pl.col("verdict").is_in([HELPS, HURTS, ABOVE, BELOW]),
        begins=pl.col("column").is_in([next(members) for _, members in groupby(columns, key=groups.get)][1:]),
    )
    # Many columns stand below each other, so that a window holds them.
    (across, names), (down, lines) = ("column", list(columns)), ("recipe", recipes)
    if turned := len(columns) > _ACROSS:
        across, names, down, lines = down, lines, across, names
    slanted = alt.Axis(domain=False, ticks=False, labelAngle=-35)
    base = alt.Chart().encode(
        x=alt.X(f"{across}:N", sort=names, title=None, axis=slanted if turned else bare()),
        y=alt.Y(f"{down}:N", sort=lines, title=None, axis=bare()),
    )
    # Strength is opacity over the page's own ground, so that the text's colour stays readable in light and dark.
    cells = saying(
        base.mark_rect(stroke=INK, strokeOpacity=0.15).encode(
            color=alt.Color(
                "sign:N", scale=alt.Scale(domain=[HELPS, HURTS], range=[HELPS_COLOUR, HURTS_COLOUR]), legend=None
            ),
            opacity=alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None),
        )
    )
    plain = base.mark_text(color=INK, fontSize=11).encode(text="text:N").transform_filter("!datum.shown")
    bold = (
        base.mark_text(color=INK, fontSize=11, fontWeight="bold").encode(text="text:N").transform_filter("datum.shown")
    )
    # A line between the groups, on the first edge of the first column of each.
    line = alt.Chart().mark_rule(color=INK, strokeWidth=2).transform_filter("datum.begins")
    begin = {"x": alt.X(f"{across}:N", sort=names, bandPosition=0), "y": alt.Y(f"{down}:N", sort=lines, bandPosition=0)}
    end = {"x2": alt.X2(f"{across}:N", bandPosition=1)} if turned else {"y2": alt.Y2(f"{down}:N", bandPosition=1)}
    edges = line.encode(**begin, **end)
    width = 48 if turned else max(40, min(90, 7 * max(map(len, names)) + 8))
    chart = (
        alt.layer(cells, plain, bold, *([edges] if groups else []))
        .properties(width=alt.Step(width), height=alt.Step(18 if turned else 24))
        .facet(data=data(rows), row=header("encoder:N", panels))
    )
    if turned:
        chart = chart.resolve_axis(x="independent")  # a panel is longer than a screen
    return draw(chart, name, title, said, _sentences(note, cut_columns, cut_recipes, cut_panels))


def _said_families(codes: Sequence[str], families: Mapping[str, str]) -> str:
    return "; ".join(
        f"{family or 'others'}: {listed(list(members))}"
        for family, members in groupby(codes, key=lambda code: families.get(code, ""))
    )


def _slopes(fits: pl.DataFrame, recipe: str, families: Sequence[str], scale: Scale) -> list[str]:
    """The change with size of each group in words, at most three."""
    rows = fits.filter(pl.col("recipe") == recipe, pl.col("low").is_not_null()).to_dicts()
    rows = [row for row in rows if row["family"] in families] or rows
    said = []
    for row in rows[:3]:
        factor, words = per(row)
        slope, low, high = (scale.text(factor * row[name]) for name in ("slope", "low", "high"))
        said.append(f"{row['family'] + ': ' if len(rows) > 1 else ''}{slope} [{low}, {high}]\n{words}")
    return said


def _zero_shot(gains: pl.DataFrame) -> pl.DataFrame:
    return gains.filter(pl.col("language") == ZERO_SHOT, pl.col("gain").is_not_null(), pl.col("recipe") != NONE)


def _first(names: Sequence[str], most: int, what: str) -> tuple[list[str], str]:
    """The first ``most`` names, and what is said of the others."""
    return list(names[:most]), f"Shown are {most} of {len(names)} {what}." if len(names) > most else ""


def _spread(names: Sequence[str], most: int, what: str) -> tuple[list[str], str]:
    """At most ``most`` of the names, evenly from first to last, and what is said of the others."""
    if len(names) <= most:
        return list(names), ""
    places = sorted({round(i * (len(names) - 1) / max(1, most - 1)) for i in range(most)})
    return [names[i] for i in places], f"Shown are {len(places)} of {len(names)} {what}."


def _columns(panels: Sequence[str]) -> int:
    """Panels beside each other, so that the last row is full where that can be."""
    return 2 if len(panels) in (2, 4) else 3


def _sentences(*said: str) -> str:
    return " ".join(filter(None, said))
