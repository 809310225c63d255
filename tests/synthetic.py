"""A study that was never run: results with known gains, for the tests of analysis and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from xstilts.analysis.axes import Axes
from xstilts.analysis.bootstrap import Resamples
from xstilts.analysis.comparisons import estimates_in, join_estimates
from xstilts.analysis.results import CURVES_SCHEMA, DATA_SCHEMA, OUTCOMES_SCHEMA, SCORES_SCHEMA, STAGES_SCHEMA, Results
from xstilts.common.languages import family, script
from xstilts.planning.recipe import AverageEntry
from xstilts.planning.study import EncoderEntry, Study

SIZES = {"bundled/e5-small@3": 5_325_312, "bundled/e5-small@6": 10_650_624, "bundled/e5-small@12": 21_301_248}
LANGUAGES = ("en", "ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")
TARGETS = {"mini-qa": "span", "mini-nli": "classification"}
RECIPES = ("none", "mini-squad", "mini-mnli", "mini-squad+mlm")
METRIC = {
    "span": "f1",
    "classification": "accuracy",
    "tagging": "f1",
    "retrieval": "accuracy",
    "mining": "f1",
    "multiple_choice": "accuracy",
}

Gain = Callable[[str, str, str], float]


def estimates(resamples: Resamples, of: Axes) -> pl.DataFrame:
    """The mean over seeds with its interval (ESTIMATES_SCHEMA), for each language and the means over languages."""
    return join_estimates([estimates_in(block) for block in resamples.blocks(of)], of)


def no_gain(encoder: str, recipe: str, target: str) -> float:
    return 0.0


def gain_by_size(points: float, recipe: str = "mini-squad", at_smallest: float = 2.0) -> Gain:
    """``recipe`` gains ``at_smallest`` points on the smallest encoder of SIZES and ``points`` more per tenfold size."""

    def gain(encoder: str, of: str, target: str) -> float:
        if of != recipe or encoder not in SIZES:
            return 0.0
        return at_smallest + points * float(np.log10(SIZES[encoder] / min(SIZES.values())))

    return gain


def make_results(
    gain: Gain = no_gain,
    *,
    name: str = "synthetic",
    encoders: Mapping[str, int] | Mapping[EncoderEntry, int] = SIZES,
    recipes: Sequence[str] = RECIPES,
    average: AverageEntry | None = None,
    targets: Mapping[str, str] = TARGETS,
    languages: Sequence[str] = LANGUAGES,
    seeds: Sequence[int] = (0, 1),
    examples: int = 100,
    seed_noise: float = 0.5,
    base: float = 50.0,
    random_state: int = 0,
    failures: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Results:
    """Results of a study whose true score is ``base`` + gain + noise of each trained model (points).

    An example has a difficulty that all models share; tests are parallel. A label that ends in " random" is a
    randomly initialised encoder with a true score of 8 points. Tables are in study order.
    """
    study = Study.model_validate(
        {
            "name": "synthetic",
            "description": "A study that was never run.",
            "encoders": list(encoders),
            "recipes": list(recipes) or ["none"],
            "targets": list(targets),
            "seeds": list(seeds),
            "average": average,
        }
    ).model_copy(update={"name": name})  # which may be one that no study file could have
    encoders = {one.encoder.label: size for one, size in zip(study.encoders, encoders.values(), strict=True)}
    averaged = {mean.label(recipe): mean.of for mean in study.means for recipe in recipes}
    recipes = [*recipes, *averaged]
    rng = np.random.default_rng(random_state)
    scored = []
    for target, format_ in targets.items():
        difficulty = rng.random((len(languages), examples))
        ids = np.array([f"{target}-{i}" for i in range(examples)])
        for encoder in encoders:
            for recipe in recipes:
                for seed in seeds:
                    chance = 8.0 if encoder.endswith(" random") else base + gain(encoder, recipe, target)
                    chance = (chance + rng.normal(0, seed_noise)) / 100
                    # Half of the luck is the example's, half the model's: uniform again by the sum's distribution.
                    luck = _uniform_sum(0.7 * difficulty + 0.3 * rng.random(difficulty.shape))
                    for i, language in enumerate(languages):
                        right = (luck[i] < chance).astype(float)
                        scored.append(
                            _outcomes(encoder, recipe, target, language, seed, METRIC[format_], True, ids, right)
                        )
                        if format_ == "span":
                            exact = right * (luck[i] < 0.8 * chance)
                            scored.append(
                                _outcomes(encoder, recipe, target, language, seed, "exact_match", False, ids, exact)
                            )
    outcomes = pl.concat(scored) if scored else pl.DataFrame(schema=OUTCOMES_SCHEMA)
    curves = _curves(encoders, recipes, targets, seeds, rng)
    return Results(
        study=study,
        scores=_named(_scores(outcomes, encoders, targets, gain), study, averaged).select(*SCORES_SCHEMA),
        outcomes=_named(outcomes, study, averaged).select(*OUTCOMES_SCHEMA),
        curves=curves,
        stages=_stages(encoders, recipes, targets, seeds),
        data=_data(recipes, targets, languages, examples),
        versions={"xstilts": "0.1.0", "torch": "2.13.0", "transformers": "5.0.0", "machine": "2 cores, AVX-512"},
        failures=list(failures),
        notes=list(notes),
    )


def labelled(results: Results, recipe: str, languages: str = "de") -> Results:
    """The results of a study one of whose recipes has labelled data in these languages, joined by +."""
    marks = pl.when(pl.col("recipe") == recipe).then(pl.lit(languages)).alias("beyond_english")
    return replace(results, scores=results.scores.with_columns(marks))


def with_recipes(results: Results, entries: Sequence[object]) -> Results:
    """The results of a study with these recipes, as a study file writes them."""
    return replace(results, study=Study.model_validate({**results.study.content(), "recipes": entries}))


def without(results: Results, **cell: object) -> Results:
    """The results without the scores and outcomes of a cell, e.g. ``recipe="mini-mnli", language="de"``."""
    match = pl.all_horizontal([pl.col(name) == value for name, value in cell.items()])
    return Results(
        **{
            **vars(results),
            "scores": results.scores.filter(~match),
            "outcomes": results.outcomes.filter(~match),
        }
    )


def _named(table: pl.DataFrame, study: Study, averaged: Mapping[str, str]) -> pl.DataFrame:
    """With the columns that say of which model an encoder is, and of what a recipe's weights are the mean."""
    sources = {entry.encoder.label: entry.source for entry in study.encoders}
    return table.with_columns(
        source=pl.col("encoder").replace_strict(sources, return_dtype=pl.String),
        averaged=pl.col("recipe").replace_strict(averaged, default=None, return_dtype=pl.String),
    )


def _uniform_sum(values: np.ndarray) -> np.ndarray:
    """0.7·U + 0.3·V for independent uniform U, V, mapped to a uniform variable by its distribution function."""
    a, b = 0.3, 0.7
    low, high = values < a, values > b
    middle = (2 * values - a) / (2 * b)
    return np.where(low, values**2 / (2 * a * b), np.where(high, 1 - (1 - values) ** 2 / (2 * a * b), middle))


def _outcomes(
    encoder: str,
    recipe: str,
    target: str,
    language: str,
    seed: int,
    metric: str,
    main: bool,
    ids: np.ndarray,
    right: np.ndarray,
) -> pl.DataFrame:
    same = {"encoder": encoder, "recipe": recipe, "target": target, "language": language, "seed": seed}
    return (
        pl.DataFrame({"id": ids, "numerator": right})
        .select(
            *(pl.lit(value).alias(name) for name, value in same.items()),
            metric=pl.lit(metric),
            main=pl.lit(main),
            id="id",
            group=pl.lit(None),
            numerator="numerator",
            denominator=pl.lit(1.0),
        )
        .cast({name: kind for name, kind in OUTCOMES_SCHEMA.items() if name not in ("source", "averaged")})
    )


def _scores(
    outcomes: pl.DataFrame, encoders: Mapping[str, int], targets: Mapping[str, str], gain: Gain
) -> pl.DataFrame:
    """English dev scores are 60 points and the true gain; of retrieval there are none."""

    trained = [target for target, format_ in targets.items() if format_ not in ("retrieval", "mining")]
    cells = outcomes.filter(pl.col("target").is_in(trained)).select("encoder", "recipe", "target").unique()
    dev = cells.with_columns(dev=pl.Series([60 + gain(*cell) for cell in cells.iter_rows()], dtype=pl.Float64))
    languages = outcomes["language"].unique().to_list()
    keys = ["encoder", "recipe", "target", "language", "seed", "metric", "main"]
    return (
        outcomes.group_by(keys, maintain_order=True)
        .agg(value=100 * pl.col("numerator").sum() / pl.col("denominator").sum(), n=pl.len())
        .with_columns(
            init=pl.when(pl.col("encoder").str.ends_with(" random"))
            .then(pl.lit("random"))
            .otherwise(pl.lit("pretrained")),
            layers=pl.lit(6),
            parameters_without_embeddings=pl.col("encoder").replace_strict(
                dict(encoders), return_dtype=pl.Int64, default=None
            ),
            format=pl.col("target").replace_strict(dict(targets), return_dtype=pl.String, default=None),
            split=pl.lit("test"),
            preset=pl.lit("quick"),
            precision=pl.lit("bf16"),
            hidden_layer=pl.lit(None),
            pooling=pl.lit(None),
            beyond_english=pl.lit(None),
            family=pl.col("language").replace_strict(
                {code: family(code) for code in languages}, return_dtype=pl.String
            ),
            script=pl.col("language").replace_strict(
                {code: script(code) for code in languages}, return_dtype=pl.String
            ),
            seconds=pl.lit(69.95),
            flops=pl.lit(1e12),
            model=pl.format("t{}/{}/{}/{}", "encoder", "recipe", "target", "seed"),
            intermediate=pl.lit(None),
            key=pl.concat_str(["encoder", "recipe", "target", "seed"], separator="/"),
        )
        .with_columns(parameters=pl.col("parameters_without_embeddings") + 96_014_208)
        .join(dev, on=["encoder", "recipe", "target"], how="left", maintain_order="left")
        .cast({name: kind for name, kind in SCORES_SCHEMA.items() if name not in ("source", "averaged")})
    )


def _curves(
    encoders: Mapping[str, int],
    recipes: Sequence[str],
    targets: Mapping[str, str],
    seeds: Sequence[int],
    rng: np.random.Generator,
) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    for encoder in encoders:
        for recipe in recipes:
            for seed in seeds:
                stages = [("target", target) for target in targets] + [("intermediate", recipe)] * (recipe != "none")
                for phase, task in stages:
                    key = f"{encoder}/{recipe}/{task}/{seed}"
                    for step in range(10, 210, 10):
                        loss = 3 * np.exp(-step / 80) + 0.6 + rng.normal(0, 0.05)
                        rows.append((key, encoder, recipe, phase, task, seed, step, loss, None))
                    for step in range(50, 201, 50):
                        dev = 60 * (1 - np.exp(-step / 70)) + rng.normal(0, 1)
                        rows.append((key, encoder, recipe, phase, task, seed, step, None, dev))
    return pl.DataFrame(rows, schema=CURVES_SCHEMA, orient="row")


def _stages(
    encoders: Mapping[str, int], recipes: Sequence[str], targets: Mapping[str, str], seeds: Sequence[int]
) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    for encoder, parameters in encoders.items():
        for recipe in recipes:
            for target in targets:
                for seed in seeds:
                    label = f"{encoder} {recipe} > {target} seed {seed}"
                    key = f"{encoder}/{recipe}/{target}/{seed}"
                    tokens = 120_000
                    rows.append(
                        (f"t{key}", "train", label, "done", 61.5, 6.0 * parameters * tokens, tokens, 2_900_000_000)
                    )
                    rows.append(
                        (f"p{key}", "predict", label, "done", 8.25, 2.0 * parameters * 40_000, 40_000, 1_200_000_000)
                    )
                    rows.append((f"s{key}", "score", label, "done", 0.2, None, None, None))
    return pl.DataFrame([(*row, None, None) for row in rows], schema=STAGES_SCHEMA, orient="row")


def _data(recipes: Sequence[str], targets: Mapping[str, str], languages: Sequence[str], examples: int) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    for recipe in recipes:
        if recipe != "none":
            rows.append((recipe, "train", "en", 1000, "train", "a1b2c3d4" * 8))
    for target in targets:
        rows.append((target, "train", "en", 800, "train", "0f1e2d3c" * 8))
        rows += [(target, "test", language, examples, "evaluation", "9a8b7c6d" * 8) for language in languages]
    return pl.DataFrame(rows, schema=DATA_SCHEMA, orient="row")
