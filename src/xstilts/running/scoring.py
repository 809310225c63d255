"""Comparing predictions with gold. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from xstilts.common.errors import StageError
from xstilts.common.progress import Event
from xstilts.planning.data_ref import examples
from xstilts.planning.plan import Score
from xstilts.store import Store
from xstilts.tasks import formats


def score(spec: Score, store: Store, folder: Path) -> Event:
    """Write outcomes.parquet, a row an example and metric; gives the mean score, for people.

    Raises StageError where the predictions are of others.
    """
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
    return _mean(table, spec.task.metric)


def _mean(outcomes: pl.DataFrame, metric: str) -> Event:
    """Of the languages without English, where there are others."""
    scores = (
        outcomes.filter("main")
        .group_by("language")
        .agg(score=100.0 * pl.col("numerator").sum() / pl.col("denominator").sum().clip(1.0))
    )
    others = scores.filter(pl.col("language") != "en")
    of, where = (
        (others, f"mean of {_counted(others.height)}, English left out") if others.height else (scores, "English")
    )
    if of.is_empty():
        return Event()
    mean = float(of["score"].to_numpy().mean())
    return Event(text=f"{metric} {mean:.1f}, {where}", done=1, steps=1, values={"score": mean})


def _counted(languages: int) -> str:
    return f"{languages} language{'' if languages == 1 else 's'}"
