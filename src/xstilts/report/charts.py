"""Charts: built with Altair, drawn once each to SVG by vl-convert, offline."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

import altair as alt
import polars as pl
import vl_convert

from xstilts.analysis.analyse import Analysis
from xstilts.analysis.answer import signed, size_sentence
from xstilts.analysis.axes import ALL_LANGUAGES, BASELINE, ZERO_SHOT
from xstilts.analysis.comparisons import SHOWN
from xstilts.results import Results

# Charts are drawn in this colour where text and axes stand; in the page it becomes the text's colour, light or dark.
_INK = "#010203"
# Okabe and Ito's colours, told apart with colour-blindness, the blue lightened for dark ground; shapes say it again.
_COLOURS = ["#2B8CDB", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
_SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"]
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_PNG_SCALE = 2
#: Points of a training curve that are drawn; more would not be seen.
_CURVE_POINTS = 30
#: Targets in the chart of the first screen, span targets first.
_OVERVIEW_TARGETS = 2


@dataclass(frozen=True)
class Chart:
    """A drawn chart: ``name`` is its file's name, ``alt`` says what it shows to who cannot see it."""

    name: str
    title: str
    alt: str
    svg: str

    def inline(self) -> str:
        """The SVG for the page: the page's text colour, ids of its own, a label for screen readers."""
        svg = self.svg.replace(_INK, "currentColor")
        prefix = re.sub(r"[^a-z0-9]+", "-", self.name.lower())
        svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
        svg = re.sub(r'url\(#([^)]+)\)|(?<=href=")#([^"]+)', lambda m: _prefixed(m, prefix), svg)
        return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(self.alt)}" ', 1)

    def standalone(self) -> str:
        """The SVG for a file: black on white."""
        return _on_white(self.svg).replace(_INK, "#000000")

    def png(self) -> bytes:
        return vl_convert.svg_to_png(self.standalone(), scale=_PNG_SCALE)


def overview(analysis: Analysis) -> Chart | None:
    """The zero-shot gain of each recipe on each encoder, with intervals, on the first targets."""
    shown = analysis.axes.targets[:_OVERVIEW_TARGETS]
    labels = [encoder.label for encoder in analysis.axes.encoders if not encoder.random]
    rows = _zero_shot(analysis.gains).filter(pl.col("target").is_in(shown), pl.col("encoder").is_in(labels))
    if not rows.height:
        return None
    recipes = [recipe for recipe in analysis.axes.recipes if recipe != BASELINE]
    y = alt.Y("recipe:N", sort=recipes, title=None, axis=_bare())
    offset = alt.YOffset("encoder:N", sort=labels)
    base = alt.Chart()
    layers = alt.layer(
        base.mark_rule(color=_INK, strokeDash=[4, 3], opacity=0.7).encode(x=alt.datum(0)),
        base.mark_rule(strokeWidth=2.5).encode(
            x=alt.X("low:Q", title="gain over none, points (non-English mean, 95 % interval)"),
            x2="high:Q",
            y=y,
            yOffset=offset,
            color=_colour("encoder", labels),
        ),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x="gain:Q", y=y, yOffset=offset, color=_colour("encoder", labels), shape=_shape("encoder", labels)
        ),
    ).properties(width=330, height=alt.Step(max(13, 40 // len(labels))))
    chart = layers.facet(data=_data(rows), row=_header("target:N", list(shown)))
    said = f"Gain of each recipe over none, with 95 % intervals, for {_listed(labels)} on {_listed(shown)}. "
    return _draw(chart, "overview", "Gain by recipe", said + " ".join(analysis.answer.best[: len(shown)]))


def heat_map(analysis: Analysis, target: str) -> Chart | None:
    """Gains by recipe and language, a panel an encoder; the number is bold where it is shown to help or hurt."""
    axes = analysis.axes
    rows = analysis.gains.filter(
        pl.col("target") == target, pl.col("gain").is_not_null(), pl.col("language") != ALL_LANGUAGES
    )
    if not rows.height:
        return None
    largest = max(1.0, float(rows["gain"].abs().to_numpy().max()))
    rows = rows.with_columns(
        strength=0.75 * pl.col("gain").abs() / largest,
        sign=pl.when(pl.col("gain") >= 0).then(pl.lit("helps")).otherwise(pl.lit("hurts")),
        text=pl.col("gain").map_elements(signed, return_dtype=pl.String),
        weight=pl.when(pl.col("verdict").is_in(SHOWN)).then(pl.lit("yes")).otherwise(pl.lit("no")),
        language=pl.col("language").replace({ZERO_SHOT: "mean*"}),
    )
    found = set(rows["language"])
    languages = ["mean*", *(code for code in axes.languages[target] if code in found)]
    recipes = [recipe for recipe in axes.recipes if recipe in set(rows["recipe"])]
    base = alt.Chart().encode(
        x=alt.X("language:N", sort=languages, title=None, axis=_bare()),
        y=alt.Y("recipe:N", sort=recipes, title=None, axis=_bare()),
    )
    # Strength is opacity over the page's own ground, so that the text's colour stays readable in light and dark.
    cells = base.mark_rect(stroke=_INK, strokeOpacity=0.15).encode(
        color=alt.Color(
            "sign:N", scale=alt.Scale(domain=["helps", "hurts"], range=["#2B8CDB", "#D55E00"]), legend=None
        ),
        opacity=alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None),
    )
    plain = base.mark_text(color=_INK, fontSize=11).encode(text="text:N").transform_filter("datum.weight == 'no'")
    bold = (
        base.mark_text(color=_INK, fontSize=11, fontWeight="bold")
        .encode(text="text:N")
        .transform_filter("datum.weight == 'yes'")
    )
    order = [encoder.label for encoder in axes.encoders if encoder.label in set(rows["encoder"])]
    chart = (
        alt.layer(cells, plain, bold)
        .properties(width=alt.Step(40), height=alt.Step(24))
        .facet(data=_data(rows), row=_header("encoder:N", order))
    )
    said = f"Gains on {target} by recipe and language, one panel an encoder; the numbers stand in the table of gains."
    return _draw(chart, f"gains-{target}", f"{target}: gain by recipe and language", said)


def size_chart(analysis: Analysis, target: str) -> Chart | None:
    """Zero-shot gain against parameters without embeddings, a panel a recipe, a line a family."""
    encoders = {encoder.label: encoder for encoder in analysis.axes.encoders if not encoder.random}
    rows = _zero_shot(analysis.gains).filter(pl.col("target") == target, pl.col("encoder").is_in(list(encoders)))
    rows = rows.with_columns(
        parameters=pl.col("encoder").replace_strict(
            {label: encoder.parameters for label, encoder in encoders.items()}, return_dtype=pl.Int64
        ),
        family=pl.col("encoder").str.split("@").list.first(),
    )
    if rows["parameters"].n_unique() < 2:
        return None
    families = list(dict.fromkeys(encoder.source for encoder in encoders.values()))
    recipes = [recipe for recipe in analysis.axes.recipes if recipe in set(rows["recipe"])]
    sizes = rows["parameters"].to_numpy()
    scale = alt.Scale(type="log", domain=[float(sizes.min()) / 1.3, float(sizes.max()) * 1.3], nice=False)
    ticks = sorted(set(sizes.tolist())) if len(set(sizes.tolist())) <= 4 else alt.Undefined
    base = alt.Chart().encode(
        x=alt.X(
            "parameters:Q",
            scale=scale,
            title="parameters without embeddings",
            axis=alt.Axis(values=ticks, format=".2s", labelOverlap=True),
        ),
        color=_colour("family", families),
    )
    y = alt.Y("gain:Q", title="gain, points")
    layers = alt.layer(
        alt.Chart().mark_rule(color=_INK, strokeDash=[4, 3], opacity=0.7).encode(y=alt.datum(0)),
        base.mark_line(strokeWidth=1.5).encode(y=y),
        base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=_shape("family", families)),
    ).properties(width=170, height=150)
    chart = layers.facet(
        data=_data(rows), facet=alt.Facet("recipe:N", sort=recipes, title=None), columns=3
    ).resolve_axis(x="independent")
    said = size_sentence(target, analysis.axes, analysis.sizes)
    return _draw(chart, f"size-{target}", f"{target}: gain by size", f"Gain against model size on {target}. {said}")


def scores_chart(analysis: Analysis, target: str) -> Chart | None:
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
    y = alt.Y("language:N", sort=list(axes.languages[target]), title=None, axis=_bare())
    offset = alt.YOffset("recipe:N", sort=list(axes.recipes))
    base = alt.Chart().encode(y=y, yOffset=offset, color=_colour("recipe", list(axes.recipes)))
    layers = alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.8).encode(
            x=alt.X("low:Q", title=axes.metrics[target], scale=alt.Scale(zero=False, nice=True)), x2="high:Q"
        ),
        base.mark_point(filled=True, size=26, opacity=1).encode(
            x="value:Q", shape=_shape("recipe", list(axes.recipes))
        ),
    ).properties(width=230, height=alt.Step(max(5, 26 // len(axes.recipes))))
    chart = layers.facet(data=_data(rows), facet=alt.Facet("encoder:N", sort=order, title=None), columns=3)
    said = f"Scores ({axes.metrics[target]}) on {target} by language and recipe, one panel an encoder, 95 % intervals."
    return _draw(chart, f"scores-{target}", f"{target}: scores by language", said)


def curves_chart(results: Results, analysis: Analysis, of: str) -> Chart | None:
    """Training ``loss`` or ``dev`` score by step: a panel a task, a line a run, coloured by encoder."""
    rows = results.curves.filter(pl.col(of).is_not_null())
    if not rows.height:
        return None
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
        alt.Chart()
        .mark_line(strokeWidth=1.2, opacity=0.75, point=alt.OverlayMarkDef(size=14) if of == "dev" else False)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y(f"{of}:Q", title={"loss": "loss", "dev": "English dev, points"}[of], scale=alt.Scale(zero=False)),
            color=_colour("encoder", order),
            detail="key:N",
        )
        .properties(width=200, height=140)
        .facet(
            data=_data(rows.with_columns(panel=pl.format("{} ({})", "task", "phase"))),
            facet=alt.Facet("panel:N", sort=names, title=None),
            columns=3,
        )
        .resolve_scale(x="independent", y="shared" if of == "dev" else "independent")
    )
    title = {"loss": "Training loss", "dev": "English dev score while training"}[of]
    return _draw(chart, f"curves-{of}", title, f"{title} by step, one panel a task: {_listed(names)}.")


def all_charts(results: Results, analysis: Analysis) -> Iterator[Chart]:
    """Every chart of the report that the study has data for, in the report's order."""
    targets = analysis.axes.targets
    charts = [
        overview(analysis),
        *(heat_map(analysis, target) for target in targets),
        *(size_chart(analysis, target) for target in targets),
        *(scores_chart(analysis, target) for target in targets),
        curves_chart(results, analysis, "loss"),
        curves_chart(results, analysis, "dev"),
    ]
    return (chart for chart in charts if chart is not None)


def _bare() -> alt.Axis:
    """An axis of names: the names alone, upright."""
    return alt.Axis(domain=False, ticks=False, labelAngle=0)


def _zero_shot(gains: pl.DataFrame) -> pl.DataFrame:
    return gains.filter(pl.col("language") == ZERO_SHOT, pl.col("gain").is_not_null())


def _data(rows: pl.DataFrame) -> alt.InlineData:
    return alt.InlineData(values=rows.to_dicts())


def _colour(field: str, names: list[str]) -> alt.Color:
    scale = alt.Scale(domain=names, range=_cycled(_COLOURS, names))
    return alt.Color(f"{field}:N", scale=scale, title=None, legend=_legend(names))


def _shape(field: str, names: list[str]) -> alt.Shape:
    scale = alt.Scale(domain=names, range=_cycled(_SHAPES, names))
    return alt.Shape(f"{field}:N", scale=scale, title=None, legend=_legend(names))


def _legend(names: list[str]) -> alt.Legend:
    """Few enough columns that long names leave the chart narrow enough for a phone."""
    return alt.Legend(columns=max(1, min(4, 48 // (max(map(len, names)) + 4))))


def _cycled(values: list[str], names: list[str]) -> list[str]:
    return [values[i % len(values)] for i in range(len(names))]


def _header(field: str, order: list[str]) -> alt.Row:
    header = alt.Header(labelAngle=0, labelAlign="left", labelAnchor="start", labelOrient="top", labelPadding=4)
    return alt.Row(field, sort=order, title=None, header=header)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names)


def _draw(chart: alt.FacetChart, name: str, title: str, said: str) -> Chart:
    text = {
        "labelColor": _INK,
        "titleColor": _INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    lines = {"domainColor": _INK, "tickColor": _INK, "gridColor": _INK, "gridOpacity": 0.13}
    legend = {"labelColor": _INK, "labelFontSize": 12, "orient": "top", "labelLimit": 320, "symbolStrokeWidth": 2}
    spec = chart.to_dict(validate=False) | {
        "background": None,
        "config": {
            "font": _FONT,
            "aria": False,  # the whole chart has a label; its marks need none
            "axis": text | lines | {"labelLimit": 220},
            "legend": legend | {"offset": 8},
            "header": {"labelColor": _INK, "labelFontSize": 12, "labelFontWeight": "bold", "labelLimit": 320},
            "view": {"stroke": None},
            "facet": {"spacing": 14},
        },
    }
    return Chart(_file_name(name), title, said, vl_convert.vegalite_to_svg(spec))


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "chart"


def _on_white(svg: str) -> str:
    end = svg.index(">") + 1
    return svg[:end] + '<rect width="100%" height="100%" fill="#ffffff"/>' + svg[end:]


def _prefixed(match: re.Match[str], prefix: str) -> str:
    return f"url(#{prefix}-{match[1]})" if match[1] else f"#{prefix}-{match[2]}"
