"""`xstilts evidence`: what published results say of a question. Printing, no logic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from xstilts import api
from xstilts.analysis.gather import gather
from xstilts.cli.options import JsonOption, StoreOption
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.units import parse_parameters
from xstilts.planning.study import load_study
from xstilts.tasks import builtin_catalog

if TYPE_CHECKING:
    from xstilts.analysis.evidence import Assessment, Topic

#: What --target says for everything.
_ALL = "all"
#: Characters of a forest plot, and of the names beside it.
_PLOT, _NAMES = 41, 46


def evidence(
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="only of this target; may be given several times; XQuAD, MLQA and TyDiQA by default, or `all`"
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="only of encoders of so many parameters: 100M-1B, or 1B- for 1B and more")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="only of this intermediate task or mixture, such as squad, best, flan")
    ] = None,
    own: Annotated[
        Path | None,
        typer.Option(metavar="STUDY", help="a study file: its gains beside the published ones"),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(help="a CSV of published results of your own, beside those that come with xstilts"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="a file to write to: .html for a page, .csv for the gains, .json for all of it")
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Say what is published of a question: gains, pooled, over size, and what limits them.

    A gain is a pair of published scores that differ in the intermediate training alone. docs/evidence.md says what
    there is and how it is pooled.
    """
    from xstilts.analysis.evidence import assess
    from xstilts.analysis.published import load_published

    if out is not None and out.suffix not in (".html", ".csv", ".json"):
        raise UserError(f"--out {out}: must end in .html, .csv or .json")
    literature = load_published(*([published] if published else []))
    catalog = load_study(own).catalog if own else builtin_catalog()
    targets = [*literature.targets] if not target else [] if _ALL in target else target
    known = {row.target for row in literature.results}
    for name in targets:
        if name not in known:
            raise UserError(f"--target {name}: nothing is published of it here: {did_you_mean(name, {*known, _ALL})}")
    recipes = {name for row in literature.results for name in (row.recipe, *row.tasks)} - {"none"}
    if recipe is not None and recipe not in recipes:
        raise UserError(f"--recipe {recipe}: nothing is published of it here: {did_you_mean(recipe, recipes)}")
    mine = _own(own, literature, store) if own else None
    found = assess(literature, catalog, targets=targets, recipe=recipe, sizes=_sizes(size), own=mine)
    asked = _asked(found, targets, recipe, size)
    if out is not None:
        _write(found, out, asked)
    if as_json:
        print(json.dumps(_content(found), indent=1, ensure_ascii=False))
        return
    for line in _lines(found, asked):
        print(line)
    if out is not None:
        print(f"Written: {out}")


def _own(study: Path, literature: Any, store: str | None) -> Any:
    from xstilts.analysis.analyse import analyse
    from xstilts.analysis.beside import own_effects
    from xstilts.analysis.matched import Matched

    checked = load_study(study)
    opened = api.open_store(store)
    results = gather(api.plan_as_run(study, opened), opened)
    if results.scores.is_empty():
        raise UserError(f"--own {study}: the store holds no scores of it yet; `xstilts run {study}` computes them")
    return own_effects(literature, Matched(results, analyse(results), checked.catalog, checked.data))


def _sizes(size: str | None) -> tuple[float, float] | None:
    """The least and the most parameters. Raises UserError."""
    if size is None:
        return None
    low, dash, high = size.partition("-")
    try:
        least, most = (parse_parameters(low) if low else 0.0), (parse_parameters(high) if high else float("inf"))
    except ValueError:
        least, most = 1.0, 0.0
    if not dash or least > most:
        raise UserError(f"--size {size}: from the least to the most parameters, as in 100M-1B, 1B- or -500M")
    return least, most


def _asked(found: Assessment, targets: list[str], recipe: str | None, size: str | None) -> str:
    """What was asked for, in words."""
    names = ", ".join(found.called(target) for target in targets) or "all targets"
    return ", ".join(filter(None, (names, recipe and f"after {recipe}", size and f"encoders of {size} parameters")))


def _content(found: Assessment) -> dict[str, Any]:
    frames = {"pairs": found.pairs, "pooled": found.pooled, "slopes": found.slopes, "bias": found.bias,
              "conflicts": found.conflicts, "flow": found.flow, "baselines": found.baselines}  # fmt: skip
    cited = {key: one.model_dump() for key, one in found.literature.publications.items()}
    return {"size": found.size, **{name: frame.to_dicts() for name, frame in frames.items()}, "publications": cited}


def _write(found: Assessment, out: Path, asked: str) -> None:
    from xstilts.reporting.write import write_evidence

    match out.suffix:
        case ".html":
            write_evidence(found, out, asked)
            return
        case ".csv":
            text = found.pairs.write_csv()
        case _:
            text = json.dumps(_content(found), indent=1, ensure_ascii=False) + "\n"
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror or error}; name another file") from None


def _lines(found: Assessment, asked: str) -> Iterator[str]:
    from xstilts.analysis.evidence_words import (
        conflict_sentences,
        flow_sentence,
        pooled_sentence,
        slope_sentences,
        titled,
        topics,
    )

    yield f"Published evidence: {asked}"
    yield ""
    yield found.size
    for topic in topics(found):
        yield ""
        yield titled(topic, found)
        yield from _forest(topic, found)
        for sentence in (pooled_sentence(topic, found), *slope_sentences(topic, found)):
            if sentence:
                yield f"  {sentence}"
    if conflicts := [*conflict_sentences(found)]:
        yield "\nCopies that differ"
        yield from (f"  {sentence}" for sentence in conflicts)
    if found.bias.height:
        yield "\nWhat limits it"
        for row in found.bias.iter_rows(named=True):
            yield (
                f"  {row['publication']}: seeds: {row['seeds']}; chosen on: {row['chosen']}; {row['hand']}-hand; "
                f"{row['setting']}; errors: {row['errors']}" + (f"; {row['note']}" if row["note"] else "")
            )
    yield "\nWhat was found"
    yield f"  {flow_sentence(found)}"


def _forest(topic: Topic, found: Assessment) -> Iterator[str]:
    """A line a gain: who, how much, where it lies; last the pooled one, and what is expected of a further encoder."""
    from xstilts.analysis.answer import signed
    from xstilts.analysis.evidence import RHO
    from xstilts.analysis.evidence_words import rows_of

    gains = rows_of(topic, found.pairs).sort("own", "parameters", "encoder", nulls_last=True).to_dicts()
    [*pooled] = rows_of(topic, found.pooled).filter(pl.col("rho") == RHO, pl.col("tau2").is_not_null()).to_dicts()
    lines = [(f"{row['encoder']} ({'here' if row['own'] else row['publication']})",
              "◆" if row["own"] else "●" if row["use"] == "pool" else "○", row["gain"], row["low"], row["high"])
             for row in gains]  # fmt: skip
    for row in pooled:
        lines.append(("pooled", "■", row["gain"], row["low"], row["high"]))
        lines.append(("expected of a further encoder", "", None, row["predicted_low"], row["predicted_high"]))
    ends = [end for _, _, *values in lines for end in values if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    for who, mark, gain, least, most in lines:
        interval = "" if least is None else f"{signed(least)} to {signed(most)}"
        number = "" if gain is None else signed(gain)
        drawn = _drawn(mark, gain, least, most, low, high)
        yield f"  {_short(who):{_NAMES}} {number:>6}  {interval:>16}  {drawn}".rstrip()
    if any(mark == "○" for _, mark, *_ in lines):
        yield f"  ○ not pooled: {'; '.join(dict.fromkeys(str(row['reason']) for row in gains if row['use'] != 'pool'))}"


def _short(who: str) -> str:
    return who if len(who) <= _NAMES else f"…{who[1 - _NAMES :]}"


def _drawn(mark: str, gain: float | None, least: float | None, most: float | None, low: float, high: float) -> str:
    """An interval and its middle on the line from ``low`` to ``high``, with 0."""

    def place(value: float) -> int:
        return round((_PLOT - 1) * (value - low) / ((high - low) or 1.0))

    cells = [" "] * _PLOT
    cells[place(0.0)] = "┊"
    if least is not None and most is not None:
        first, last = place(least), place(most)
        cells[first : last + 1] = "─" * (last - first + 1)
    if gain is not None:
        cells[place(gain)] = mark
    return "".join(cells)
