"""`python -m benchmarks.analysis`: time and memory of analysing a study of a million score rows.

The study is what XTREME's nine tasks give: 162 pairs of a target and a language, main metrics and others (question
answering also reports exact match, tagging a second F1, Tatoeba and BUCC every block of 12), for as many encoders,
recipes and seeds as make up a million rows, about a fifth of which are of main metrics. These have their outcomes by
example; of each language so many examples as the memory of the table allows (`--examples`), since all of XTREME's would
be half a billion rows. Outcomes are made up. The process is one of its own, so that its peak is that of the analysis,
with the two tables that it is given.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import polars as pl

from xstilts.analysis.analyse import analyse
from xstilts.analysis.results import CURVES_SCHEMA, DATA_SCHEMA, OUTCOMES_SCHEMA, SCORES_SCHEMA, STAGES_SCHEMA, Results
from xstilts.common.units import duration, memory
from xstilts.handover.xtreme import BENCHMARKS
from xstilts.planning.study import Study

FORMATS = {"labels": "classification", "tags": "tagging", "answers": "span", "pairs": "mining", "lines": "retrieval"}
#: Metrics beside the main one.
OTHERS = {"labels": 0, "tags": 1, "answers": 1, "pairs": 13, "lines": 13}


def make(encoders: int, recipes: int, seeds: int, examples: int) -> Results:
    """Results in which every recipe gains as many points as its number, in all languages."""
    rng = np.random.default_rng(0)
    scores, outcomes = [], []
    models = pl.DataFrame(
        [(f"encoder@{e + 1}", "none" if r == 0 else f"recipe{r}", s, 10**7 * (e + 1), 55.0 + r + rng.normal())
         for e in range(encoders) for r in range(recipes) for s in range(seeds)],
        schema=["encoder", "recipe", "seed", "parameters", "true"], orient="row",
    )  # fmt: skip
    for benchmark in BENCHMARKS:
        difficulty = rng.random(examples)
        for language in benchmark.languages:
            lucky = 0.7 * difficulty + 0.3 * rng.random((models.height, examples))
            right = (lucky < models["true"].to_numpy()[:, None] / 100).astype(np.float64)
            same = {"target": benchmark.task, "language": language}
            cells = models.with_columns(
                value=pl.Series(100 * right.mean(axis=1)), **{n: pl.lit(v) for n, v in same.items()}
            )
            metrics = ["main", *(f"other@{n}" for n in range(OTHERS[benchmark.content]))]
            table = cells.join(pl.DataFrame({"metric": metrics}), how="cross").with_columns(
                main=pl.col("metric") == "main", format=pl.lit(FORMATS[benchmark.content]), n=pl.lit(examples),
                parameters_without_embeddings="parameters", init=pl.lit("pretrained"), dev=pl.col("true"),
                source=pl.lit("encoder"),
            )  # fmt: skip
            missing = [
                pl.lit(None, kind).alias(name) for name, kind in SCORES_SCHEMA.items() if name not in table.columns
            ]
            scores.append(table.with_columns(*missing).select(*SCORES_SCHEMA).cast(pl.Schema(SCORES_SCHEMA)))
            ids = pl.DataFrame({"id": [f"{benchmark.task}-{i}" for i in range(examples)]})
            outcomes.append(
                models.select("encoder", "recipe", "seed").join(ids, how="cross", maintain_order="left_right")
                .with_columns(numerator=pl.Series(right.ravel()), denominator=pl.lit(1.0), metric=pl.lit("main"),
                              main=pl.lit(True), source=pl.lit("encoder"), averaged=None, group=None,
                              **{name: pl.lit(value) for name, value in same.items()})
                .select(*OUTCOMES_SCHEMA).cast(pl.Schema(OUTCOMES_SCHEMA))
            )  # fmt: skip
    curves, stages, data = (pl.DataFrame(schema=schema) for schema in (CURVES_SCHEMA, STAGES_SCHEMA, DATA_SCHEMA))
    study = Study.model_validate(
        {name: list(models[name[:-1]].unique(maintain_order=True)) for name in ("encoders", "recipes", "seeds")}
        | {"name": "large", "targets": [benchmark.task for benchmark in BENCHMARKS]}
    )
    return Results(study, pl.concat(scores, rechunk=True), pl.concat(outcomes, rechunk=True), curves, stages, data)


def peak() -> int:
    """Bytes, on Linux."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    for name, default in (("encoders", 8), ("recipes", 16), ("seeds", 10), ("examples", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    results = make(**vars(parser.parse_args()))
    given = memory(peak())
    print(
        f"{results.scores.height:,} score rows, {results.outcomes.height:,} outcomes: {given} to make them", flush=True
    )
    began, worked = time.perf_counter(), time.process_time()
    found = analyse(results)
    took, cpu = time.perf_counter() - began, time.process_time() - worked
    print(f"analysis: {duration(took)} ({took:.1f} s; {cpu:.1f} s of CPU), peak {memory(peak())}")
    print(
        f"{found.scores.height:,} means, {found.gains.height:,} gains, {found.choices.height} choices, "
        f"{found.gaps.height:,} gaps, {found.sizes.height:,} slopes"
    )


if __name__ == "__main__":
    main()
