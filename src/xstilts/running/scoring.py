"""Comparing predictions with gold. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from xstilts.common.errors import StageError
from xstilts.planning.data_ref import examples
from xstilts.planning.plan import Score
from xstilts.store import Store
from xstilts.tasks import formats


def score(spec: Score, store: Store, folder: Path) -> None:
    """Write outcomes.parquet, a row an example and metric. Raises StageError where the predictions are of others."""
    fmt = formats.get(spec.task.format)
    with store.files(spec.predictions) as source:
        predictions = pl.read_parquet(source / "predictions.parquet")
    frames = []
    for ref in spec.sets:
        part = predictions.filter(pl.col("language") == ref.language)
        gold = examples(ref)
        if part["id"].to_list() != [example.id for example in gold]:
            raise StageError(f"{spec.task.name} {ref.language}: predictions and gold hold other examples")
        for metric, outcomes in fmt.score(gold, part["prediction"].to_list(), spec.task, ref.language).items():
            frames.append(
                part.select("language", "id").with_columns(
                    metric=pl.lit(metric),
                    main=pl.lit(metric == spec.task.metric),
                    numerator=pl.Series([n for n, _ in outcomes], dtype=pl.Float64),
                    denominator=pl.Series([d for _, d in outcomes], dtype=pl.Float64),
                )
            )
    table = pl.concat(frames)
    if fmt.sparse:
        table = table.filter(pl.col("denominator") > 0)
    table.write_parquet(folder / "outcomes.parquet")
