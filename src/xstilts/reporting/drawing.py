"""How charts look: Altair's specifications drawn once each to SVG by vl-convert, offline; colours, shapes, axes."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import altair as alt
import polars as pl
import vl_convert

from xstilts.analysis.answer import signed

# Charts are drawn in this colour where text and axes stand; in the page it becomes the text's colour, light or dark.
INK = "#010203"
#: After Okabe and Ito, told apart with colour-blindness, each at least 3:1 against the page's light and dark ground
#: (WCAG 2.2, 1.4.11); shapes say it again.
COLOURS = ("#2B8CDB", "#D55E00", "#009E73", "#B96A97", "#A87900", "#8577CF")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
#: Above 0 and below 0.
HELPS_COLOUR, HURTS_COLOUR = COLOURS[:2]
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_PNG_SCALE = 2


@dataclass(frozen=True)
class Chart:
    """A drawn chart: ``name`` is its file's name, ``alt`` says what it shows to who cannot see it.

    ``note`` is for its caption: how to read it, what it leaves out.
    """

    name: str
    title: str
    alt: str
    svg: str
    note: str = ""

    def inline(self) -> str:
        """The SVG for the page: the page's text colour, ids of its own, a label for screen readers."""
        svg = self.svg.replace(INK, "currentColor")
        prefix = re.sub(r"[^a-z0-9]+", "-", self.name.lower())
        svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
        svg = re.sub(r'url\(#([^)]+)\)|(?<=href=")#([^"]+)', lambda m: _prefixed(m, prefix), svg)
        width = re.search(r'<svg [^>]*width="([\d.]+)"', svg)
        style = f' style="--width: {width[1]}px"' if width else ""
        return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(self.alt)}"{style} ', 1)

    def standalone(self) -> str:
        """The SVG for a file: black on white."""
        end = self.svg.index(">") + 1
        on_white = self.svg[:end] + '<rect width="100%" height="100%" fill="#ffffff"/>' + self.svg[end:]
        return on_white.replace(INK, "#000000")

    def png(self) -> bytes:
        return vl_convert.svg_to_png(self.standalone(), scale=_PNG_SCALE)


def draw(
    chart: alt.LayerChart | alt.FacetChart | alt.HConcatChart, name: str, title: str, said: str, note: str = ""
) -> Chart:
    """Draw ``chart``; ``said`` is what it shows, in words."""
    text = {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    lines = {"domainColor": INK, "tickColor": INK, "gridColor": INK, "gridOpacity": 0.13}
    legend = {"labelColor": INK, "labelFontSize": 12, "orient": "top", "labelLimit": 320, "symbolStrokeWidth": 2}
    spec = chart.to_dict(validate=False) | {
        "background": None,
        # Where a reader's font is wider than the one that labels were measured in, they need room.
        "padding": {"left": 30, "right": 20, "top": 5, "bottom": 5},
        "config": {
            "font": _FONT,
            "aria": False,  # the whole chart has a label; its marks need none
            "axis": text | lines | {"labelLimit": 220},
            "legend": legend | {"offset": 8},
            "header": {"labelColor": INK, "labelFontSize": 12, "labelFontWeight": "bold", "labelLimit": 320},
            "view": {"stroke": None},
            "facet": {"spacing": 14},
        },
    }
    return Chart(_file_name(name), title, said, _compact(vl_convert.vegalite_to_svg(spec)), note)


def saying(chart: alt.Chart) -> alt.Chart:
    """A chart of one kind of mark, each of which says on hover what is in its row's column ``said``.

    In the drawing it is the mark's title, which a browser shows without a script.
    """
    chart.mark.aria = True
    return chart.encode(description=alt.Description("said:N"))


def row_said(*names: str, value: str = "gain", of: Callable[[float], str] = signed) -> pl.Expr:
    """What a mark says on hover: the ``names``, and a value with its interval, where it has one."""
    texts = {name: pl.col(name).map_elements(of, return_dtype=pl.String) for name in (value, "low", "high")}
    interval = pl.format(" [{}, {}]", texts["low"], texts["high"]).fill_null("")
    return pl.concat_str(pl.concat_str(names, separator=", "), pl.lit(": "), texts[value], interval)


def in_points(value: float) -> str:
    """A score in points."""
    return f"{value:.1f}"


def bare() -> alt.Axis:
    """An axis of names: the names alone, upright."""
    return alt.Axis(domain=False, ticks=False, labelAngle=0)


def data(rows: pl.DataFrame) -> alt.InlineData:
    return alt.InlineData(values=rows.to_dicts())


def colour(field: str, names: Sequence[str]) -> alt.Color:
    scale = alt.Scale(domain=list(names), range=_cycled(COLOURS, names))
    return alt.Color(f"{field}:N", scale=scale, title=None, legend=_legend(names))


def shape(field: str, names: Sequence[str]) -> alt.Shape:
    scale = alt.Scale(domain=list(names), range=_cycled(SHAPES, names))
    return alt.Shape(f"{field}:N", scale=scale, title=None, legend=_legend(names))


def header(field: str, order: Sequence[str]) -> alt.Row:
    """Panels one under the other, each with its name above it."""
    above = alt.Header(labelAngle=0, labelAlign="left", labelAnchor="start", labelOrient="top", labelPadding=4)
    return alt.Row(field, sort=list(order), title=None, header=above)


def zero_line(axis: str) -> alt.Chart:
    """A dashed line at 0 of ``axis``, x or y."""
    return alt.Chart().mark_rule(color=INK, strokeDash=[4, 3], opacity=0.7).encode(**{axis: alt.datum(0)})


def listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _legend(names: Sequence[str]) -> alt.Legend:
    """Few enough columns that long names leave the chart narrow enough for a phone."""
    return alt.Legend(columns=max(1, min(4, 48 // (max(map(len, names)) + 4))))


def _cycled(values: Sequence[str], names: Sequence[str]) -> list[str]:
    return [values[i % len(values)] for i in range(len(names))]


def _compact(svg: str) -> str:
    """The same drawing in half of the bytes: hundredths of a pixel, the font named once, nothing that is not seen."""
    svg = _SAID.sub(r"<\1\2\4><title>\3</title></\1>", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: _NOISE.sub("", _LONG.sub(r"\1", tag[0])), svg)  # never the text between tags
    return _UNSEEN.sub("", svg).replace("<svg ", f'<svg font-family="{_FONT}" ', 1)


_SAID = re.compile(r'<(path|line|rect)((?: [\w:-]+="[^"]*")*?) aria-label="([^"]*)"([^>]*)/>')
_LONG = re.compile(r"(\d\.\d\d)\d+")
_NOISE = re.compile(
    r' (?:font-family|pointer-events|aria-hidden|aria-roledescription|class)="[^"]*"| role="graphics-[a-z]+"'
)
_UNSEEN = re.compile(r'<path d="M0,0h[\d.]+v[\d.]+h-?[\d.]+Z"/>|<g></g>|<g/>')


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "chart"


def _prefixed(match: re.Match[str], prefix: str) -> str:
    return f"url(#{prefix}-{match[1]})" if match[1] else f"#{prefix}-{match[2]}"
