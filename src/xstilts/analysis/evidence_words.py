"""What published evidence says, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from xstilts.analysis.answer import counted, signed
from xstilts.analysis.axes import millions
from xstilts.analysis.evidence import RHO, Assessment, Topic
from xstilts.analysis.published import FINE_TUNED
from xstilts.analysis.scales import SCALES

_ENGLISH = {"yes": "", "no": "; not English only", "not established": "; not known to be English only"}
_METRICS = {"exact_match": "exact match", "f1": "F1"}


def titled(topic: Topic, of: Assessment) -> str:
    """A topic as a heading: the recipe and target, the setting and metric, and whether it is English only."""
    recipe = of.literature.mixtures.get(topic.recipe) if topic.recipe == "best" else topic.recipe
    metric = _METRICS.get(topic.metric, topic.metric)
    return f"{recipe} → {of.called(topic.target)}, {topic.setting}, {metric}{_ENGLISH[topic.english]}"


def topics(of: Assessment) -> list[Topic]:
    """Those that gains were found for, by target: what was asked for itself first, what is indirect after it."""
    names = list(Topic._fields)
    found = pl.concat([of.pooled.select(names), of.pairs.select(names)]).unique(maintain_order=True)
    order = {target: i for i, target in enumerate(of.targets)}

    def place(topic: Topic) -> tuple[int, bool]:
        return order.get(topic.target, len(order)), (topic.setting, topic.english) != (FINE_TUNED, "yes")

    return sorted((Topic(*row) for row in found.iter_rows()), key=place)


def rows_of(topic: Topic, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(*(pl.col(name) == value for name, value in topic._asdict().items()))


def pooled_sentence(topic: Topic, of: Assessment) -> str:
    """The pooled gain, how encoders differ, and what another correlation changes; empty where nothing is pooled."""
    by_rho = {row["rho"]: row for row in rows_of(topic, of.pooled).iter_rows(named=True)}
    if not by_rho:
        return ""
    row = by_rho[RHO]
    own = f", {row['own']} of them here" if row["own"] else ""
    others = "; ".join(f"ρ {rho:g}: {_interval(other)}" for rho, other in by_rho.items() if rho != RHO)
    if row["tau2"] is None:
        return f"A single gain, with nothing to pool it with: {_interval(row)}, over examples only; {others}."
    return (
        f"Pooled: {_interval(row)} points over {counted(row['k'], 'gain')}{own} of "
        f"{counted(row['studies'], 'study', 'studies')}{_without_one(row)}; of a further encoder "
        f"{signed(row['predicted_low'])} to {signed(row['predicted_high'])} is expected; "
        f"τ² {row['tau2']:.1f} ({row['tau2_low']:.1f} to {row['tau2_high']:.1f}), I² {row['i2']:.0f} %, "
        f"Q {row['q']:.1f} (p {row['q_p']:.2g}); {others}."
    )


def slope_sentences(topic: Topic, of: Assessment) -> Iterator[str]:
    """What each series of encoders says of size, on the three scales."""
    for (family,), rows in rows_of(topic, of.slopes).group_by("family", maintain_order=True):
        by_scale = {row["scale"]: row for row in rows.iter_rows(named=True)}
        first = next(iter(by_scale.values()))
        said = ", ".join(_slope(by_scale[scale.name], scale.unit, scale.digits) for scale in SCALES)
        yield (
            f"Size, {family}, {first['n_sizes']} sizes from {millions(first['smallest'])} to "
            f"{millions(first['largest'])}: {said} per {first['per']} size; {_verdict(by_scale)}."
        )


def conflict_sentences(of: Assessment) -> Iterator[str]:
    """Of each result that several sources state otherwise, what each states."""
    for (name,), rows in of.conflicts.group_by("result", maintain_order=True):
        said = "; ".join(
            f"{row['value']:g}" + ("" if row["gain"] is None else f" ({signed(row['gain'])})")
            + f" in {row['source']}" + (", which counts" if row["counted"] else "")
            for row in rows.iter_rows(named=True)
        )  # fmt: skip
        yield f"{name} ({rows['publication'][0]}): {said}."


def flow_sentence(of: Assessment) -> str:
    """What was found, and what became of it; the parts are the whole."""
    first, *rest = of.flow.iter_rows(named=True)
    by_step: dict[str, list[Mapping[str, Any]]] = {}
    for row in rest:
        by_step.setdefault(row["step"], []).append(row)
    parts = []
    for step, rows in by_step.items():
        total = sum(row["rows"] for row in rows)
        reasons = "; ".join(f"{row['rows']} {row['reason']}" if len(rows) > 1 else row["reason"] for row in rows)
        parts.append(f"{total} {_STEPS[step]} ({reasons})" if step not in ("baseline", "pooled") else
                     f"{total} {_STEPS[step]}")  # fmt: skip
    found = f"{counted(first['rows'], 'result')} of {counted(first['publications'], 'publication')}"
    return f"{found}: {', '.join(parts)}." if parts else f"{found}."


_STEPS = {
    "copy": "copies",
    "left out": "left out",
    "baseline": "scores without intermediate training",
    "shown": "shown and not pooled",
    "unpaired": "without a score to compare with",
    "no error": "in gains without a standard error",
    "pooled": "in the gains that are pooled",
}


def _without_one(row: Mapping[str, Any]) -> str:
    return "" if row["least"] is None else f" ({signed(row['least'])} to {signed(row['most'])} without one of them)"


def _interval(row: Mapping[str, Any]) -> str:
    return f"{signed(row['gain'])} ({signed(row['low'])} to {signed(row['high'])})"


def _slope(row: Mapping[str, Any], unit: str, digits: int) -> str:
    if row["slope"] is None:
        return f"no {unit}"

    def number(value: float) -> str:
        return f"{value:+.{digits}f}".replace("-", "−")

    interval = "" if row["low"] is None else f" ({number(row['low'])} to {number(row['high'])})"
    return f"{number(row['slope'])} {unit}{interval}"


def _verdict(by_scale: Mapping[str, Mapping[str, Any]]) -> str:
    """What the three scales say together: a direction only where all say it."""
    rows = list(by_scale.values())
    if all(row["low"] is None for row in rows):
        return "a line goes through any two gains, so this says nothing of size"
    signs = {0 if row["low"] is None or row["low"] <= 0 <= row["high"] else 1 if row["low"] > 0 else -1 for row in rows}
    if signs == {1}:
        return "the gain grows on all three scales"
    if signs == {-1}:
        return "the gain shrinks on all three scales"
    if signs == {0}:
        return "no scale tells a direction"
    return "the scales do not agree, so there is no verdict on size"
