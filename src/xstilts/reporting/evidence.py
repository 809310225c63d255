"""Published evidence as charts and tables, in a study's report and on a page of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from xstilts.analysis.axes import millions
from xstilts.analysis.evidence import RHO, Assessment, Topic
from xstilts.analysis.evidence_words import (
    conflict_sentences,
    flow_sentence,
    pooled_sentence,
    rows_of,
    slope_sentences,
    titled,
    topics,
)
from xstilts.reporting.drawing import COLOURS, SHAPES, Chart, data, draw, row_said, saying, zero_line
from xstilts.reporting.table import Entry, Number, Table

PUBLISHED, SHOWN, HERE, POOLED = "published", "published, not pooled", "here", "pooled"
EXPECTED = "expected of a further encoder"
_KINDS = (PUBLISHED, SHOWN, HERE, POOLED)
#: Topics that have a chart, and gains in one; the tables have all.
_CHARTED, _GAINS = 12, 40


@dataclass(frozen=True)
class TopicShown:
    """A topic of the section: its sentences and its forest plot."""

    title: str
    sentences: tuple[str, ...]
    forest: Chart | None


@dataclass(frozen=True)
class Section:
    """What a page says of published evidence."""

    size: str
    topics: tuple[TopicShown, ...]
    bubbles: Chart | None
    conflicts: tuple[str, ...]
    flow: str
    tables: Mapping[str, tuple[pl.DataFrame, Table]]
    sources: tuple[tuple[str, str, str], ...]  # key, citation, address

    @property
    def charts(self) -> Iterator[Chart]:
        yield from (topic.forest for topic in self.topics if topic.forest is not None)
        if self.bubbles is not None:
            yield self.bubbles


def section(of: Assessment) -> Section:
    shown = []
    for i, topic in enumerate(topics(of)):
        sentences = tuple(filter(None, (pooled_sentence(topic, of), *slope_sentences(topic, of))))
        shown.append(TopicShown(titled(topic, of), sentences, _forest(topic, of, i) if i < _CHARTED else None))
    keys = sorted({*of.pairs.filter(~pl.col("own"))["publication"], *of.baselines["publication"]})
    cited = [(key, of.literature.publication(key)) for key in keys]
    return Section(
        size=of.size,
        topics=tuple(shown),
        bubbles=_bubbles(of),
        conflicts=tuple(conflict_sentences(of)),
        flow=flow_sentence(of),
        tables=evidence_tables(of),
        sources=tuple((key, one.citation, one.url or (f"https://arxiv.org/abs/{one.arxiv}" if one.arxiv else ""))
                      for key, one in cited),
    )  # fmt: skip


def evidence_tables(of: Assessment) -> dict[str, tuple[pl.DataFrame, Table]]:
    """Name → the frame of its CSV file, and its table."""
    found = {
        "published": (of.pairs, _pairs_table(of)),
        "pooled": (of.pooled, _pooled_table(of)),
        "published-sizes": (of.slopes, _slopes_table(of)),
        "bias": (of.bias, _bias_table(of)),
        "flow": (of.flow, _flow_table(of)),
    }
    return {name: (frame, table) for name, (frame, table) in found.items() if frame.height}


def _forest(topic: Topic, of: Assessment, number: int) -> Chart | None:
    """The gains of a topic with their intervals, the pooled one, and what is expected of a further encoder."""
    gains = rows_of(topic, of.pairs).sort("own", "parameters", "encoder", nulls_last=True).head(_GAINS)
    if not gains.height:
        return None
    rows: list[dict[str, object]] = []
    for row in gains.iter_rows(named=True):
        pooled_too = row["use"] == "pool"
        who = f"{row['encoder'].rsplit('/', 1)[-1]} ({row['publication'] if pooled_too else row['source']})"
        kind = HERE if row["own"] else PUBLISHED if pooled_too else SHOWN
        rows.append({"who": who, "kind": kind, **_ends(row)})
    [*pooled] = rows_of(topic, of.pooled).filter(pl.col("rho") == RHO, pl.col("tau2").is_not_null()).to_dicts()
    for row in pooled:
        rows.append({"who": POOLED, "kind": POOLED, **_ends(row)})
        ends = {"gain": None, "low": row["predicted_low"], "high": row["predicted_high"]}
        rows.append({"who": EXPECTED, "kind": POOLED, **ends})
    names = list(dict.fromkeys(str(row["who"]) for row in rows))
    kinds = [kind for kind in _KINDS if any(row["kind"] == kind for row in rows)]
    y = alt.Y("who:N", sort=names, title=None, axis=alt.Axis(domain=False, ticks=False, labelLimit=420))
    frame = pl.DataFrame(rows, schema={"who": pl.String, "kind": pl.String, "gain": pl.Float64, "low": pl.Float64,
                                       "high": pl.Float64})  # fmt: skip
    frame = frame.with_columns(said=row_said("who"))
    legend = alt.Legend(values=kinds, title=None)  # a kind looks alike in all charts
    paint = alt.Color("kind:N", scale=alt.Scale(domain=list(_KINDS), range=list(COLOURS[:4])), legend=legend)
    marks = alt.Shape("kind:N", scale=alt.Scale(domain=list(_KINDS), range=list(SHAPES[:4])), legend=legend)
    base = alt.Chart(data(frame)).encode(y=y)
    plot = alt.layer(
        zero_line("x").properties(data=data(frame.head(1))),
        base.mark_rule(strokeWidth=2.5).encode(
            x=alt.X("low:Q", title="gain, points (95 % interval)"), x2="high:Q", color=paint
        ),
        saying(
            base.mark_point(filled=True, size=70, opacity=1).encode(x="gain:Q", color=paint, shape=marks)
        ).transform_filter("isValid(datum.gain)"),
    ).properties(width=330, height=alt.Step(18), padding={"left": 40, "right": 5, "top": 5, "bottom": 5})
    title = titled(topic, of)
    return draw(plot, f"published-{number + 1}", title, pooled_sentence(topic, of) or title)


def _bubbles(of: Assessment) -> Chart | None:
    """Gains against the size of the encoder, and against the score without: the larger the circle, the surer."""
    gains = of.pairs.filter(pl.col("without").is_not_null())
    if gains.height < 2:
        return None
    named = {topic: f"{topic.recipe} → {of.called(topic.target)} ({topic.metric}, {topic.setting})"
             for topic in topics(of)}  # fmt: skip
    most = [title for topic, title in named.items() if rows_of(topic, gains).height][: len(COLOURS)]
    rows = gains.with_columns(
        topic=pl.struct(*Topic._fields).map_elements(lambda one: named.get(Topic(**one), ""), return_dtype=pl.String),
        precision=1 / pl.col("error").fill_null(pl.col("error").max()).fill_null(1.0),
    ).filter(pl.col("topic").is_in(most))
    rows = rows.select(
        "topic", "encoder", "parameters", "without", "gain", "precision",
        said=pl.format("{}, {} ({}): {} points", "topic", "encoder", "publication", pl.col("gain").round(1)),
    )  # fmt: skip
    size = alt.Size("precision:Q", legend=None, scale=alt.Scale(range=[30, 300]))
    scale = alt.Scale(domain=most, range=list(COLOURS[: len(most)]))
    marks = alt.Scale(domain=most, range=list(SHAPES[: len(most)]))
    legend = alt.Legend(columns=1, title=None)

    def against(x: alt.X, frame: pl.DataFrame) -> alt.LayerChart:
        points = saying(alt.Chart(data(frame)).mark_point(filled=True, opacity=0.75)).encode(
            x=x, y=alt.Y("gain:Q", title="gain, points"), size=size,
            color=alt.Color("topic:N", scale=scale, legend=legend),
            shape=alt.Shape("topic:N", scale=marks, legend=legend),
        )  # fmt: skip
        return alt.layer(zero_line("y").properties(data=data(frame.head(1))), points).properties(width=300, height=240)

    sized = rows.filter(pl.col("parameters").is_not_null())
    label = "datum.value >= 1e9 ? format(datum.value / 1e9, '~g') + 'B' : format(datum.value / 1e6, '~g') + 'M'"
    log = alt.Scale(type="log", nice=False, padding=10)
    sizes = [10.0**power for power in range(6, 13)]
    axis = alt.Axis(labelExpr=label, values=sizes)
    by_size = alt.X("parameters:Q", title="parameters of the encoder", scale=log, axis=axis)
    by_score = alt.X("without:Q", title="score without, points", scale=alt.Scale(zero=False, padding=10))
    both = [against(by_size, sized)] if sized.height else []
    chart = alt.hconcat(*both, against(by_score, rows), spacing=30)
    cut = f"Shown are {len(most)} of {len(named)} topics. " if len(named) > len(most) else ""
    cut += "A gain has the error of the score without in it, so that a fall over that score is partly arithmetic."
    said = "Gains against the size of the encoder, and against its score without intermediate training"
    return draw(chart, "published-gains", said, f"{said}; the numbers stand in the table of published gains.", cut)


def _ends(row: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: row[name] for name in ("gain", "low", "high")}


def _number(value: float | None, digits: int = 1, sign: bool = False, **more: Any) -> Number | None:
    return None if value is None else Number(value, sign=sign, digits=digits, **more)


def _pairs_table(of: Assessment) -> Table:
    rows: list[tuple[Entry, ...]] = []
    rules = set()
    for topic in topics(of):
        rules.add(len(rows))
        for row in rows_of(topic, of.pairs).iter_rows(named=True):
            rows.append((
                titled(topic, of), row["encoder"], row["publication"], millions(row["parameters"]) if row["parameters"]
                else "not stated", _number(row["without"]), _number(row["with"]),
                _number(row["gain"], sign=True, low=row["low"], high=row["high"]), _number(row["share"]),
                _number(row["logit"], 2), row["error_is"], row["reason"] or row["use"],
            ))  # fmt: skip
    return Table(
        "published",
        "Gains, published and here: points with half the 95 % interval, the share of the remaining error that is "
        f"removed (percent), and logits; imputed errors with ρ = {RHO:g}, without the variance over seeds.",
        ("topic", "encoder", "publication", "parameters", "without", "with", "gain", "% of error", "logit", "error",
         "use"),
        tuple(rows), frozenset(rules), texts=frozenset({0, 10}),
    )  # fmt: skip


def _pooled_table(of: Assessment) -> Table:
    rows = [
        (titled(Topic(*(row[name] for name in Topic._fields)), of), _number(row["rho"]), _number(row["k"], 0),
         _number(row["studies"], 0), _number(row["gain"], sign=True), _number(row["low"], sign=True),
         _number(row["high"], sign=True), _number(row["predicted_low"], sign=True),
         _number(row["predicted_high"], sign=True), _number(row["tau2"]), _number(row["i2"], 0), _number(row["q_p"], 3))
        for row in of.pooled.iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        "pooled",
        "Pooled gains in points with 95 % intervals, by the correlation ρ of a score with and one without; expected: "
        "the 95 % prediction interval of a further encoder; τ²: variance between encoders; p: that all gains agree.",
        ("topic", "ρ", "gains", "studies", "gain", "low", "high", "expected low", "expected high", "τ²", "I² %", "p"),
        tuple(rows), frozenset(range(0, len(rows), 3)), texts=frozenset({0}),
    )  # fmt: skip


def _slopes_table(of: Assessment) -> Table:
    rows = []
    for row in of.slopes.iter_rows(named=True):
        digits = 2 if row["scale"] == "logit" else 1
        rows.append((
            titled(Topic(*(row[name] for name in Topic._fields)), of), row["family"],
            f"{row['n_sizes']}, {millions(row['smallest'])} to {millions(row['largest'])}", row["scale"], row["per"],
            _number(row["slope"], digits), _number(row["low"], digits), _number(row["high"], digits),
        ))  # fmt: skip
    return Table(
        "published-sizes",
        "What the gain changes by per tenfold or doubled size, within a series of encoders, on three scales; no "
        "interval where a line goes through all gains.",
        ("topic", "series", "sizes", "scale", "per", "slope", "low", "high"),
        tuple(rows), frozenset(range(0, len(rows), 3)), texts=frozenset({0}),
    )  # fmt: skip


def _bias_table(of: Assessment) -> Table:
    said = ("seeds", "chosen", "hand", "setting", "errors", "note")
    rows = [
        (row["publication"], _number(row["gains"], 0), *(row[name] for name in said))
        for row in of.bias.iter_rows(named=True)
    ]
    return Table(
        "bias",
        "What limits each publication that has gains. Chosen on: the data by which a task, checkpoint or prompt was "
        "chosen among others; test: the scores themselves.",
        ("publication", "gains", "seeds", "chosen on", "hand", "setting", "errors", "note"),
        tuple(rows), texts=frozenset({5, 7}),
    )  # fmt: skip


def _flow_table(of: Assessment) -> Table:
    rows = [(row["step"], row["reason"], _number(row["rows"], 0), _number(row["publications"], 0))
            for row in of.flow.iter_rows(named=True)]  # fmt: skip
    return Table(
        "flow", "What became of each published result that was found; the rows below the first add up to it.",
        ("step", "reason", "results", "publications"), tuple(rows), frozenset({1}), texts=frozenset({1}),
    )  # fmt: skip
