"""A linear mixed model of the gains over size, next to the slopes of `xstilts.analysis.size`.

    gain = recipe + recipe × log10(parameters) + language + language:encoder + seed + error

with recipe, size and their interaction fixed and the rest random (Pinheiro and Bates 2000, "Mixed-Effects Models in S
and S-PLUS"), fitted by restricted maximum likelihood with statsmodels. The interaction is the slope of each recipe.

The response is the gain over `none`, paired by encoder, seed and language, not the score: the recipe's effect on the
score is the same number, but how scores themselves change with size (not on a line) and which languages a larger
encoder is better at cancel out of gains, and would else go into the error. Gains of two recipes share the run of
`none`; the model does not know, which leaves each slope and its error right, but not a comparison of two slopes.

Random are, for each recipe: the language (of each target); the language on one encoder, which holds the luck of the
examples, as all seeds are scored on the same; the seed, that is the pair of trained models behind a gain (an encoder's,
as size.py has it), and, over several targets, the same for one target. Their variances are the same for all recipes and
encoders, unlike those of the bootstrap. The languages are a sample from all, but what examples of parallel tests have
in common in all languages cannot be told from the encoder: where examples are few, the bootstrap's interval is the one
to trust.

Intervals and p-values are Student's t with as many degrees of freedom as a recipe has (encoder, seed) pairs, less two,
for slopes differ between these; statsmodels' own are normal.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import stdtr, stdtrit
from threadpoolctl import threadpool_limits

from xstilts.analysis.axes import ENGLISH, Axes
from xstilts.analysis.intervals import LEVEL
from xstilts.analysis.size import ALL_RECIPES, READING, Group, groups
from xstilts.common.arrays import Floats

MIXED_SCHEMA = {
    "family": pl.String,  # as in SIZES_SCHEMA
    "target": pl.String,
    "recipe": pl.String,
    "slope": pl.Float64,  # points of gain per tenfold size; null where it was not fitted
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,  # two-sided, of no slope
    "n_sizes": pl.Int64,
    "converged": pl.Boolean,
    "note": pl.String,  # what is wrong with the fit, or was left out of the model; empty where nothing
}

#: Recipes × gains × levels² beyond which there is no fit. About what one value of the likelihood costs, of which a fit
#: needs hundreds: at the limit it takes about ten seconds on one core.
MOST_WORK = 2.2e8
#: A variance below this share of the error's is none.
_NO_VARIANCE = 1e-4

_CELL = ["encoder", "language", "seed", "target"]


@dataclass(frozen=True)
class _Fit:
    slopes: Floats  # [recipes]
    errors: Floats  # [recipes]
    converged: bool
    note: str


def mixed(scores: pl.DataFrame, of: Axes) -> pl.DataFrame:
    """The slopes by recipe (MIXED_SCHEMA) from the scores (SCORES_SCHEMA), in the groups of `size.sizes`.

    A fit that fails says so in ``note``; nothing is raised.
    """
    gains = _gains(scores, of)
    targets = {READING: of.span_targets} if len(of.span_targets) > 1 else {}
    targets |= {target: (target,) for target in of.targets}
    rows: list[dict[str, object]] = []
    for group in groups(of.encoders):
        for target, pooled in targets.items():
            own = gains.filter(
                pl.col("encoder").is_in([one.label for one in group.encoders]), pl.col("target").is_in(pooled)
            )
            recipes = [recipe for recipe in own["recipe"].unique() if recipe not in of.means]
            together = own.filter(pl.col("recipe").is_in(recipes)).group_by(_CELL, maintain_order=True)
            everywhere = together.agg(pl.col("gain").mean(), n=pl.len()).filter(pl.col("n") == len(recipes)).drop("n")
            mean = [everywhere.with_columns(recipe=pl.lit(ALL_RECIPES))] if len(recipes) > 1 else []
            kinds = own.with_columns(base=pl.col("recipe").replace(of.baselines))
            by_kind = [part.drop("base") for part in kinds.partition_by("base", maintain_order=True)]
            for frame in [*mean, *by_kind]:  # averaged models have other seeds, and a model of their own
                rows += [{"family": group.name, "target": target, **row} for row in _slopes(frame, group)]
    return pl.DataFrame(rows, schema=MIXED_SCHEMA).fill_nan(None)


def _gains(scores: pl.DataFrame, of: Axes) -> pl.DataFrame:
    """encoder, recipe, target, language, seed and gain, of the pretrained encoders in the non-English languages."""
    main = scores.filter("main", pl.col("init") == "pretrained", pl.col("language") != ENGLISH)
    base = main.select(*_CELL, base="recipe", before="value")
    after = main.with_columns(base=pl.col("recipe").replace(of.baselines)).filter(pl.col("recipe") != pl.col("base"))
    both = after.join(base, on=[*_CELL, "base"], maintain_order="left")
    return both.select(*_CELL, "recipe", gain=pl.col("value") - pl.col("before")).drop_nulls().drop_nans()


def _slopes(gains: pl.DataFrame, group: Group) -> list[dict[str, object]]:
    parameters = {encoder.label: encoder.parameters for encoder in group.encoders}
    rows: list[dict[str, object]] = []
    of_recipe = dict(gains.partition_by("recipe", as_dict=True, maintain_order=True))
    n_sizes = {name: len({parameters[label] for label in part["encoder"]}) for name, part in of_recipe.items()}
    fitted = [name for name, n in n_sizes.items() if n > 1]
    if fitted:
        fit = _fit([of_recipe[name] for name in fitted], parameters)
        found = {name: (fit.slopes[i], fit.errors[i], fit.converged, fit.note) for i, name in enumerate(fitted)}
    else:
        found = {}
    for name, part in of_recipe.items():
        slope, error, converged, note = found.get(name, (np.nan, np.nan, False, "not fitted: one size"))
        free = part.select("encoder", "seed").n_unique() - 2
        usable = free > 0 and error > 0
        half = stdtrit(free, (1 + LEVEL) / 2) * error if usable else np.nan
        notes = [note, "size goes with family" * group.confounded]
        notes += ["no interval: too few trained models"] * (free <= 0) + ["two sizes"] * (n_sizes[name] == 2)
        rows.append(
            {
                "recipe": name[0],
                "slope": float(slope),
                "low": float(slope - half),
                "high": float(slope + half),
                "p": float(2 * stdtr(free, -abs(slope) / error)) if usable else np.nan,
                "n_sizes": n_sizes[name],
                "converged": converged,
                "note": "; ".join(filter(None, notes)),
            }
        )
    return rows


def _fit(recipes: Sequence[pl.DataFrame], parameters: dict[str, int]) -> _Fit:
    """One model for the gains of all ``recipes``, a frame each."""
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec  # slow to import, and often not needed

    failed = np.full(len(recipes), np.nan)
    components, left_out = _components(recipes)
    group = np.repeat(np.arange(len(recipes)), [part.height for part in recipes])
    labels = pl.concat([part["encoder"] for part in recipes])
    size = np.log10(labels.replace_strict(parameters, return_dtype=pl.Float64).to_numpy())
    dummies = (group[:, None] == np.arange(len(recipes))).astype(float)
    exog = np.hstack([dummies, dummies * (size - size.mean())[:, None]])
    gain = pl.concat([part["gain"] for part in recipes]).to_numpy()
    if not components:
        return _Fit(failed, failed, False, "not fitted: nothing to tell languages and seeds from errors by")
    levels = [sum(part.select(columns).n_unique() for columns in components.values()) for part in recipes]
    if sum(part.height * of_part**2 for part, of_part in zip(recipes, levels, strict=True)) > MOST_WORK:
        too_much = f"{sum(part.height for part in recipes):,} gains, {max(levels):,} levels of random effects a recipe"
        return _Fit(failed, failed, False, f"not fitted: would take minutes ({too_much})")
    designs = [[_levels(part, columns) for part in recipes] for columns in components.values()]
    names = [[[str(i) for i in range(design.shape[1])] for design in one] for one in designs]
    try:
        # Threads cost more than they bring with matrices of some hundred rows: up to eight times the time was seen.
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(1, "blas"):
            warnings.simplefilter("always")
            model = MixedLM(gain, exog, groups=group, exog_vc=VCSpec(list(components), names, designs))
            # The gradient methods stop far from the maximum where a variance is near 0, and may call that converged.
            found = model.fit(reml=True, method="powell")
            errors = np.asarray(found.bse_fe)[len(recipes) :]
            variances = dict(zip(components, np.asarray(found.vcomp), strict=True))
    except (np.linalg.LinAlgError, ValueError, ZeroDivisionError) as error:
        return _Fit(failed, failed, False, f"not fitted: {str(error).rstrip('.')}")
    notes = [left_out]
    none = [name for name, variance in variances.items() if variance < _NO_VARIANCE * found.scale]
    if none:
        notes.append(f"singular: no variance by {', '.join(none)}")
    if not found.converged:
        said = "; ".join(dict.fromkeys(str(one.message).rstrip(".") for one in caught))
        notes.append(f"not converged: {said}" if said else "not converged")
    if not np.isfinite(errors).all():
        notes.append("no interval: the variances leave none")
    return _Fit(
        np.asarray(found.fe_params)[len(recipes) :], errors, bool(found.converged), "; ".join(filter(None, notes))
    )


def _components(recipes: Sequence[pl.DataFrame]) -> tuple[dict[str, list[str]], str]:
    """The random effects that the data can tell apart, by the columns whose values they go with; what was left out."""
    everything = {
        "language": ["target", "language"],
        "language:encoder": ["target", "language", "encoder"],
        "seed": ["encoder", "seed"],
        "seed:target": ["encoder", "seed", "target"],
    }
    if all(part["target"].n_unique() == 1 for part in recipes):
        del everything["seed:target"]
    known = {
        name: columns
        for name, columns in everything.items()
        # One level is the intercept, as many as gains are the errors.
        if all(1 < part.select(columns).n_unique() < part.height for part in recipes)
    }
    return known, "" if len(known) == len(everything) else f"without {', '.join(sorted(everything.keys() - known))}"


def _levels(part: pl.DataFrame, columns: list[str]) -> Floats:
    level = part.select(pl.struct(columns).rank("dense")).to_series().to_numpy()
    return (level[:, None] == np.arange(1, level.max() + 1)).astype(float)
