"""Published results beside a study's own, and pooled with them.

A published gain is either stated, or the difference of two published scores that differ in the recipe alone. Its
standard error is the one stated; of an accuracy without, the binomial one, as if the two models had been scored on
different examples (they were not, which makes it too large) and a mean over languages on those of one (parallel tests
add little by their languages). The number of examples is the file's, else the catalog's. It covers no variance over
seeds, of which publications say nothing. Gains of any other metric without a standard error are shown, and not pooled.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, ValidationError, field_validator
from scipy import special

from xstilts.analysis.intervals import LEVEL
from xstilts.analysis.matched import Matched, mean_rows
from xstilts.analysis.meta_regression import fit
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.validation import problems
from xstilts.planning.part import Part
from xstilts.planning.recipe import NONE

#: What is established of results on XTREME, with where it was read.
BUILTIN = Path(__file__).parent / "published.csv"

#: The recipe of the best intermediate task for a target, whichever that is, and the language of a mean over languages.
BEST, MEAN = "best", "mean"

STATED, BINOMIAL, UNKNOWN = "stated", "binomial", "none"

BESIDE_SCHEMA: dict[str, type[pl.DataType]] = {
    "citation": pl.String,
    "source": pl.String,  # where in it, or where it is cited
    "published_encoder": pl.String,
    "recipe": pl.String,  # tasks joined by +, `none`, or `best`: the best of each target
    "target": pl.String,
    "language": pl.String,  # or `mean`
    "metric": pl.String,
    "quantity": pl.String,  # score | gain
    "published": pl.Float64,  # points
    "published_error": pl.Float64,  # standard error of a gain, points
    "error_is": pl.String,  # stated | binomial | none
    "encoder": pl.String,  # the study's
    "own_recipe": pl.String,
    "own_target": pl.String,
    "own": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "own_error": pl.Float64,
}

POOLED_SCHEMA: dict[str, type[pl.DataType]] = {
    "recipe": pl.String,
    "target": pl.String,
    "language": pl.String,
    "k": pl.Int64,  # effects pooled
    "left_out": pl.Int64,  # gains without a standard error
    "gain": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "tau2": pl.Float64,
    "i2": pl.Float64,  # percent
    "q": pl.Float64,
    "q_p": pl.Float64,
}


class Result(Part):
    """A row of a file of published results."""

    citation: str = Field(min_length=1)
    source: str = Field(min_length=1)
    encoder: str = Field(min_length=1)
    recipe: str = Field(min_length=1)
    target: str = Field(min_length=1)
    language: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    split: str = Field(min_length=1)
    quantity: Literal["score", "gain"]
    value: float
    error: float | None = Field(None, gt=0, description="standard error, where it is stated")
    n: int | None = Field(None, gt=0, description="examples of a language")
    seeds: int | None = Field(None, gt=0)
    preset: str | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value


def load_published(path: Path = BUILTIN) -> list[Result]:
    """Read and check a CSV of published results. Raises UserError: one line with file, line, column and what to do."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            for column in columns:
                if column not in Result.model_fields:
                    raise UserError(f"{path}:1: unknown column {column!r}: {did_you_mean(column, Result.model_fields)}")
            lacking = [name for name, of in Result.model_fields.items() if of.is_required() and name not in columns]
            if lacking:
                raise UserError(f"{path}:1: no column {lacking[0]}; the first line names the columns")
            found = []
            for row in reader:
                try:
                    found.append(Result.model_validate(row))
                except ValidationError as error:
                    first, *_ = problems(error, Result, "row")
                    raise UserError(f"{path}:{reader.line_num}: {first.text}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of published results (docs/claims.md shows one)") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: not valid CSV: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return found


def beside(published: Sequence[Result], study: Matched, encoder: str | None = None) -> pl.DataFrame:
    """The published results that the study has a number of its own for (BESIDE_SCHEMA), gains before scores.

    Own numbers are those of ``encoder``, else of the published encoder, else of the largest pretrained one.
    """
    scores = ((one, None, UNKNOWN) for one in published if one.quantity == "score")
    found = (_beside(*one, study, encoder) for one in (*_gains(published, study), *scores))
    rows = [row for row in found if row is not None]
    return pl.DataFrame(rows, schema=BESIDE_SCHEMA, infer_schema_length=None)


def pooled(rows: pl.DataFrame) -> pl.DataFrame:
    """Random-effects means of published and own gains, where there are two with standard errors (POOLED_SCHEMA).

    A row for each recipe, target and language. An own gain counts once, beside however many publications. By
    restricted maximum likelihood; the interval is Knapp and Hartung's, and with few effects that lie close together
    never narrower than the normal one (Wiksten, Rücker and Schwarzer 2016, "Hartung-Knapp method is not always
    conservative compared with fixed-effect meta-analysis").
    """
    found = []
    gains = rows.filter(pl.col("quantity") == "gain")
    for (recipe, target, language), group in gains.group_by("recipe", "target", "language", maintain_order=True):
        theirs = group.select(value="published", error="published_error")
        ours = group.unique("encoder", maintain_order=True).select(value="own", error="own_error")
        effects = pl.concat([theirs, ours])
        known = effects.filter(pl.col("error") > 0)
        if known.height < 2:
            continue
        variances = known["error"].to_numpy() ** 2
        mean = fit(known["value"].to_numpy(), np.ones((known.height, 1)), np.diag(variances))
        gain = float(mean.coefficients[0])
        normal = float(special.ndtri((1 + LEVEL) / 2) / np.sqrt((1 / (variances + mean.variances[0])).sum()))
        half = max(float(mean.high[0]) - gain, normal)
        found.append({"recipe": recipe, "target": target, "language": language, "k": known.height,
                      "left_out": effects.height - known.height, "gain": gain, "low": gain - half, "high": gain + half,
                      "tau2": float(mean.variances[0]), "i2": mean.i2, "q": mean.q, "q_p": mean.q_p})  # fmt: skip
    return pl.DataFrame(found, schema=POOLED_SCHEMA)


def _gains(published: Sequence[Result], study: Matched) -> Iterator[tuple[Result, float | None, str]]:
    """Stated gains, and those of scores that have their like without a recipe; with standard errors and their kind."""

    def of(one: Result) -> tuple[str, ...]:
        return one.citation, one.source, one.encoder, one.target, one.language, one.metric, one.split

    bases = {of(one): one for one in published if one.quantity == "score" and one.recipe == NONE}
    for one in published:
        base = bases.get(of(one))
        if one.quantity == "gain":
            yield one, one.error, STATED if one.error is not None else UNKNOWN
        elif one.recipe != NONE and base is not None:
            gain = one.model_copy(update={"quantity": "gain", "value": one.value - base.value})
            yield gain, *_error_of_difference(one, base, study)


def _error_of_difference(one: Result, base: Result, study: Matched) -> tuple[float | None, str]:
    if one.error is not None and base.error is not None:
        return float(np.hypot(one.error, base.error)), STATED
    sizes = [each.n or _catalog_size(each, study) for each in (one, base)]
    if one.metric != "accuracy" or None in sizes:
        return None, UNKNOWN
    shares = [each.value / 100 for each in (one, base)]
    return 100 * float(np.sqrt(sum(p * (1 - p) / n for p, n in zip(shares, sizes, strict=True) if n))), BINOMIAL


def _catalog_size(one: Result, study: Matched) -> int | None:
    """Examples of a language in the official split; of a mean over languages, those of the smallest."""
    task = study.task(one.target)
    if task is None or one.split not in ("dev", "test"):
        return None
    languages = task.languages if one.language == MEAN else (one.language,)
    counts = [task.count("dev" if one.split == "dev" else "test", language) for language in languages]
    return None if None in counts else min(count for count in counts if count is not None)


def _beside(
    result: Result, error: float | None, error_is: str, study: Matched, encoder: str | None
) -> dict[str, object] | None:
    label, [target, *_] = encoder or study.encoder(result.encoder), [*study.targets([result.target]), None]
    if label is None or target is None or result.metric != study.axes.metrics[target]:
        return None
    recipe = _own_recipe(result.recipe, target, label, study)
    if recipe is None:
        return None
    frame = study.analysis.gains if result.quantity == "gain" else study.analysis.scores
    rows = mean_rows(frame, "all") if result.language == MEAN else frame.filter(pl.col("language") == result.language)
    own = rows.filter(pl.col("encoder") == label, pl.col("recipe") == recipe, pl.col("target") == target)
    if not own.height:
        return None
    row = own.row(0, named=True)
    return {
        **result.model_dump(include={"citation", "source", "recipe", "target", "language", "metric", "quantity"}),
        "published_encoder": result.encoder,
        "published": result.value,
        "published_error": error,
        "error_is": error_is,
        "encoder": label,
        "own_recipe": recipe,
        "own_target": target,
        "own": row[result.quantity if result.quantity == "gain" else "value"],
        "low": row["low"],
        "high": row["high"],
        "own_error": row.get("error"),
    }


def _own_recipe(published: str, target: str, encoder: str, study: Matched) -> str | None:
    """The study's recipe that is the published one; for `best`, the one that dev data choose for the target."""
    if published == NONE:
        return NONE
    if published == BEST:
        choices = study.analysis.choices.filter(pl.col("encoder") == encoder, pl.col("target") == target)
        return choices["chosen"].item() if choices.height == 1 else None
    return next(iter(study.training_on(published.split("+"))), None)
