"""Whether the gain of a recipe depends on the size of the encoder."""

from __future__ import annotations

import numpy as np
import polars as pl

from xstilts.analysis.axes import ZERO_SHOT, Axes, Encoder
from xstilts.analysis.comparisons import Gains, contrast, covers, excludes_zero

#: The row that takes all pretrained encoders together, whatever their source.
ALL_ENCODERS = "all encoders"
GROWS, SHRINKS, UNDECIDED, TOO_FEW = "grows", "shrinks", "no evidence either way", "too few sizes to tell"

SIZES_SCHEMA = {
    "family": pl.String,  # what stands before "@" in the encoders' labels, or `all encoders`
    "recipe": pl.String,
    "target": pl.String,
    "n_sizes": pl.Int64,
    "smallest": pl.Int64,  # parameters without embeddings
    "largest": pl.Int64,
    "slope": pl.Float64,  # points of gain per tenfold size; null with a single size
    "low": pl.Float64,
    "high": pl.Float64,
    "n_seeds": pl.Int64,
    "covers": pl.String,
    "verdict": pl.String,
}


def sizes(gains: Gains, of: Axes) -> pl.DataFrame:
    """The least-squares slope of the zero-shot gain over log10(parameters without embeddings) (SIZES_SCHEMA).

    One row for each family, recipe and target, and one for all encoders where there are several families; randomly
    initialised encoders are left out. The interval comes from the resampled gains: all encoders share the sample of
    examples, each has its own of seeds. It does not cover which encoders were chosen, nor a gain that bends.
    """
    pretrained = {encoder.label: encoder for encoder in of.encoders if not encoder.random and encoder.parameters > 0}
    families = sorted({encoder.family for encoder in pretrained.values()})
    names = families + [ALL_ENCODERS] * (len(families) > 1)
    frame = gains.frame.with_row_index("row").filter(pl.col("language") == ZERO_SHOT)
    rows: list[dict[str, object]] = []
    for name in names:
        members = {label for label, encoder in pretrained.items() if name in (ALL_ENCODERS, encoder.family)}
        for target in of.targets:
            for recipe in of.recipes:
                of_these = frame.filter(
                    pl.col("encoder").is_in(members), pl.col("target") == target, pl.col("recipe") == recipe
                )
                if of_these.height:
                    what = {"family": name, "recipe": recipe, "target": target}
                    rows.append(what | _slope(gains, of_these, pretrained))
    fitted = pl.DataFrame(rows, schema={name: kind for name, kind in SIZES_SCHEMA.items() if name != "verdict"})
    verdict = pl.when(pl.col("n_sizes") < 3).then(pl.lit(TOO_FEW)).otherwise(excludes_zero(GROWS, SHRINKS, UNDECIDED))
    return fitted.with_columns(verdict=verdict)


def _slope(gains: Gains, of_these: pl.DataFrame, encoders: dict[str, Encoder]) -> dict[str, object]:
    parameters = np.array([encoders[label].parameters for label in of_these["encoder"]])
    size = np.log10(parameters)
    found: dict[str, object] = {
        "n_sizes": len(set(parameters.tolist())),
        "smallest": int(parameters.min()),
        "largest": int(parameters.max()),
        "n_seeds": of_these["n_seeds"].min(),
        "covers": covers(int(of_these["n_seeds"].to_numpy().min())),
    }
    if found["n_sizes"] == 1:
        return found | {"slope": None, "low": None, "high": None}
    centred = size - size.mean()
    weights = centred / (centred**2).sum()  # Σ weights · gain is the least-squares slope
    slope = contrast(gains, of_these["row"].to_numpy(), weights)
    return found | {"slope": slope.value, "low": slope.low, "high": slope.high}
