"""The tidy table of a study's scores, filtered and pivoted."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from xstilts.common.errors import UserError, did_you_mean

#: What scores may be filtered and pivoted by.
AXES = ("encoder", "init", "recipe", "target", "format", "language", "family", "script", "split", "metric", "seed",
        "preset", "precision")  # fmt: skip

#: Axes that tell languages apart: where one of them makes the columns, none of them makes rows.
_OF_LANGUAGES = ("language", "family", "script")
#: Axes whose values have the order of the study file; others are sorted.
_IN_STUDY_ORDER = ("encoder", "recipe", "target")
_NO_VALUE = "—"
_ROWS = ("encoder", "recipe", "target", "metric", "language")


def select(frame: pl.DataFrame, wanted: Mapping[str, Collection[object]]) -> pl.DataFrame:
    """The rows that have, on each axis of ``wanted``, one of its values. Raises UserError where none has."""
    for axis, values in wanted.items():
        if axis not in AXES:
            raise UserError(f"{axis}: scores have no such axis; {did_you_mean(axis, AXES)}")
        known = frame[axis].drop_nulls().unique().sort().to_list()
        for value in values:
            if value not in known:
                raise UserError(f"--{axis} {value}: no scores of it; there are {', '.join(map(str, known)) or 'none'}")
        frame = frame.filter(pl.col(axis).is_in(list(values)))
    return frame


def pivot(frame: pl.DataFrame, axis: str) -> pl.DataFrame:
    """A column for each value of ``axis``, a row for each encoder, recipe, target, metric and language (but ``axis``).

    A cell is the mean over all else: over seeds, and, by family or script, over their languages. Raises UserError for
    what is no axis.
    """
    if axis not in AXES:
        raise UserError(f"--pivot {axis}: scores have no such axis; {did_you_mean(axis, AXES)}")
    left_out = _OF_LANGUAGES if axis in _OF_LANGUAGES else (axis,)
    rows = [name for name in _ROWS if name not in left_out]
    # Seeds first, so that a language with fewer of them weighs as much as the others.
    means = frame.group_by(list(dict.fromkeys([*rows, axis, "language"])), maintain_order=True).agg(pl.mean("value"))
    ordered = means if axis in _IN_STUDY_ORDER else means.sort(axis, nulls_last=True)
    columns = ordered[axis].cast(pl.String).fill_null(_NO_VALUE).unique(maintain_order=True)
    table = means.with_columns(pl.col(axis).cast(pl.String).fill_null(_NO_VALUE)).pivot(
        on=axis, index=rows, values="value", aggregate_function="mean"
    )
    return table.select(*rows, *columns)
