"""What each kind of stage does: inputs from the store → an artifact in the store."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from safetensors.torch import save_file

from xstilts.common.errors import StageError
from xstilts.common.progress import Event, Sink, in_words
from xstilts.data import translation
from xstilts.encoders import Encoder, describe
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads, inference
from xstilts.engine.features import features_of, rows_of
from xstilts.engine.heads.mlm import Masked
from xstilts.engine.machine import device, memory
from xstilts.engine.models import (
    MEAN,
    WEIGHTS,
    Trimmed,
    build_model,
    build_models,
    merge,
    save_healed,
    save_trained,
    take_head,
)
from xstilts.engine.rows import Chained, Row
from xstilts.engine.training import averaging, collapse, loop
from xstilts.engine.training.averaging import Snapshots
from xstilts.engine.training.checkpoints import Checkpoints, Policy
from xstilts.engine.training.course import Course
from xstilts.engine.training.heal import heal
from xstilts.engine.training.log import Log, Point
from xstilts.engine.training.mixture import Stream
from xstilts.planning import cost, records
from xstilts.planning.data_ref import examples
from xstilts.planning.hyperparameters import Optimisation
from xstilts.planning.plan import (
    Average,
    Heal,
    Merge,
    MlmPart,
    Predict,
    Score,
    Stage,
    Train,
    TrainingPart,
    Translate,
    Translation,
)
from xstilts.planning.records import (
    Attempt,
    AverageRecord,
    HealRecord,
    MergeRecord,
    PredictRecord,
    Record,
    ScoreRecord,
    TrainRecord,
    TranslateRecord,
)
from xstilts.running import scoring
from xstilts.store import Store
from xstilts.tasks import formats
from xstilts.tasks.formats import Example
from xstilts.tasks.task import Task


def run_stage(stage: Stage, store: Store, progress: Sink, policy: Policy = Policy()) -> None:  # noqa: B008
    """Compute one stage and publish its artifact. Raises StageError or whatever went wrong.

    A training goes on from its last checkpoint, if it has one; ``policy`` says when it writes them.
    """
    began = time.perf_counter()
    memory.reset_peak()
    first = device.accelerator().is_main_process
    with store.publish(stage.key) if first else _discarded() as (folder, meta):
        match stage.spec:
            case Translate() as spec:
                record: Record = _translate(spec, folder, progress)
            case Train() as spec:
                checkpoints = _checkpoints(stage, spec.optimisation, store, policy, began, progress)
                record = _train(spec, store, checkpoints, folder, progress)
            case Heal() as spec:
                checkpoints = _checkpoints(stage, spec.optimisation, store, policy, began, progress)
                record = _heal(spec, store, checkpoints, folder, progress)
            case Merge() as spec:
                record = _merge(spec, store, folder)
            case Average() as spec:
                record = _average(spec, store, folder, progress)
            case Predict() as spec:
                record = _predict(spec, store, folder, progress)
            case Score() as spec:
                progress(scoring.score(spec, store, folder))
                record = ScoreRecord()
        seconds = record.seconds + time.perf_counter() - began
        meta |= replace(record, label=stage.label, seconds=seconds, peak_memory=memory.peak()).to_json()
    if isinstance(stage.spec, Train | Heal) and first:
        checkpoints.remove()


def _checkpoints(
    stage: Stage, optimisation: Optimisation, store: Store, policy: Policy, began: float, progress: Sink
) -> Checkpoints:
    agree = {"precision": optimisation.precision}
    checkpoints = Checkpoints(store.made_inner("checkpoints"), stage.key, agree, policy, began)
    if checkpoints.passed_over:
        progress(Event(state="note", text=checkpoints.passed_over))
    return checkpoints


@contextmanager
def _discarded() -> Iterator[tuple[Path, dict[str, Any]]]:
    """What a process fills that computes a stage with others, of which the first publishes it."""
    with tempfile.TemporaryDirectory(prefix="xstilts-") as folder:
        yield Path(folder), {}


TRANSLATED = "translated.jsonl"


def _translate(spec: Translate, folder: Path, progress: Sink) -> TranslateRecord:
    source, engine = examples(spec.source), translation.engine(spec.engine)
    dropped = translation.write_translated(
        spec.source.task, source, engine, spec.language, folder / TRANSLATED,
        lambda event: progress(replace(event, text="examples")),
    )  # fmt: skip
    return TranslateRecord(examples=len(source) - dropped.total(), dropped=dict(dropped))


def _heal(spec: Heal, store: Store, checkpoints: Checkpoints, folder: Path, progress: Sink) -> HealRecord:
    rows = Chained([rows_of(ref, spec.encoder, spec.reading.lengths, training=True, store=store) for ref in spec.texts])
    healed = heal(
        spec.encoder, spec.task.name, rows, spec.reading, spec.optimisation, spec.tokens, progress, checkpoints
    )
    log = healed.log
    save_healed(healed.student, folder)
    length = log.tokens / log.sequences
    return HealRecord(
        error_before=healed.before,
        error=healed.error,
        steps=log.steps,
        tokens=log.tokens,
        flops=cost.flops(describe(spec.encoder), log.tokens, length, training=True)
        + cost.flops(describe(spec.encoder.whole), log.tokens, length, training=False),
        precision=spec.optimisation.precision,
        micro_batch_halvings=log.halvings,
        resumed_at=tuple(log.resumed_at),
        seconds=checkpoints.earlier,
        checkpoint_error=checkpoints.error,
    )


@dataclass(frozen=True)
class _Loaded:
    """A task of a training stage with its examples and rows."""

    part: TrainingPart
    train_examples: list[Example]
    dev_examples: list[Example]
    train: Sequence[Row]
    dev: Sequence[Row]

    @classmethod
    def of(cls, part: TrainingPart, encoder: Encoder, store: Store) -> _Loaded:
        rows = rows_of(part.train, encoder, part.reading.lengths, training=True, store=store)
        if not rows:
            raise StageError(f"{part.task.name}: no example is left to train on")
        dev_examples, dev = _dev(part, encoder, store)
        english = examples(part.train)
        sets = [(english, rows), *(_translated(one, part, encoder, store) for one in part.translations)]
        chained = Chained([rows for _, rows in sets], [len(own) for own, _ in sets]) if part.translations else rows
        return cls(part, [example for own, _ in sets for example in own], dev_examples, chained, dev)

    def stream(self, trimmed: Trimmed) -> Stream:
        task = self.part.task
        return Stream(
            task.name, heads.get(task.format), trimmed.rows(self.train), self.part.reading,
            lambda row: self.train_examples[row.example].id,
        )  # fmt: skip


def _dev(part: TrainingPart, encoder: Encoder, store: Store) -> tuple[list[Example], Sequence[Row]]:
    """The English dev examples that a task is selected on, and their rows."""
    dev_examples = examples(part.dev)
    dev = rows_of(part.dev, encoder, part.reading.lengths, training=False, store=store)
    return _begin(dev_examples, dev, 500) if part.reading.dev_selection == "first500" else (dev_examples, dev)


def _begin(all_examples: list[Example], rows: Sequence[Row], count: int) -> tuple[list[Example], Sequence[Row]]:
    """The examples that begin within the first ``count`` rows, with all their rows."""
    if len(rows) <= count:
        return all_examples, rows
    last = rows[count - 1].example
    end = next((i for i in range(count, len(rows)) if rows[i].example != last), len(rows))
    return all_examples[: last + 1], rows[:end]


def _translated(
    one: Translation, part: TrainingPart, encoder: Encoder, store: Store
) -> tuple[list[Example], Sequence[Row]]:
    """The translated examples and their rows."""
    with _weights(store, one.stage) as folder:
        files = one.files or str((folder or Path()) / TRANSLATED)
        found = translation.read_translated(
            part.task, files, one.language, examples(part.train), part.train.provider
        ).examples
    decides = ["translated", one.stage or one.fingerprint, one.language]
    return found, features_of(lambda: found, part.train, encoder, part.reading.lengths, True, store, decides)


@dataclass(frozen=True)
class _Data:
    """What a training stage reads."""

    tasks: list[_Loaded]
    texts: Sequence[Row]  # of MLM

    @property
    def rows(self) -> Iterator[Row]:
        return chain(*((*one.train, *one.dev) for one in self.tasks), self.texts)


def _train(spec: Train, store: Store, checkpoints: Checkpoints, folder: Path, progress: Sink) -> TrainRecord:
    """Train, and again with other seeds where that collapsed and the study asks for it."""
    with device.accelerator().main_process_first():  # the others find its rows in the cache
        loaded = [_Loaded.of(part, spec.encoder, store) for part in spec.parts]
        data = _Data(loaded, _texts(spec.mlm, spec.encoder, store) if spec.mlm else [])
    majority = {one.part.task.name: _majority(one) for one in loaded}
    attempts = checkpoints.attempts
    saved: Log | None = None
    gate: dict[str, float] = {}
    while not attempts or (attempts[-1].collapsed and len(attempts) <= spec.optimisation.collapse_retries):
        seed = collapse.seed(spec.seed, len(attempts))
        fitted = _fitted(spec, seed, data, store, checkpoints, progress)
        log = fitted.log
        collapsed = collapse.collapsed(log.dev_of, majority)
        checkpoints.over(Attempt(seed, log.best_dev, log.dev_of, tuple(collapsed), _flops(spec, log)))
        if collapse.kept(attempts) is attempts[-1]:
            saved, gate = _saved(fitted, folder), fitted.gate
    kept = collapse.kept(attempts)
    if saved is None:  # a process that was killed later had trained it
        fitted = _fitted(spec, kept.seed, data, store, checkpoints, progress)
        saved, gate = _saved(fitted, folder), fitted.gate
    return TrainRecord(
        dev=saved.best_dev,
        dev_of=saved.dev_of,
        dev_majority=majority,
        best_step=saved.best_step,
        steps=saved.steps,
        steps_of=saved.steps_of,
        tokens=saved.tokens,
        micro_batch_halvings=saved.halvings,
        resumed_at=tuple(saved.resumed_at),
        collapsed=kept.collapsed,
        gate_of=gate,
        gate_blind={one.part.task.name: _blind(one) for one in loaded},
        attempts=tuple(attempts),
        examples=sum(len(one.train_examples) for one in loaded),
        flops=sum(attempt.flops for attempt in attempts),
        precision=spec.optimisation.precision,
        seconds=checkpoints.earlier,
        checkpoint_error=checkpoints.error,
    )


class _Fitted(NamedTuple):
    """A trained model with the weights of its best dev score."""

    trimmed: Trimmed
    log: Log
    snapshots: Snapshots | None
    gate: dict[str, float]  # task → dev score by which it is learnt or not; empty but in the first process


def _fitted(spec: Train, seed: int, data: _Data, store: Store, checkpoints: Checkpoints, progress: Sink) -> _Fitted:
    """A model trained from ``seed``."""
    tokenizer = load_tokenizer(spec.encoder)
    tasks = [part.task for part in spec.parts] + ([spec.mlm.task] if spec.mlm else [])
    with _weights(store, spec.start) as start:
        trimmed = build_models(
            spec.encoder, tasks, seed, start, data.rows, head=False, pooler=spec.pooler,
            dropout=spec.optimisation.dropout,
        )  # fmt: skip
    if spec.optimisation.freeze_embeddings:
        trimmed.model.get_input_embeddings().weight.requires_grad_(False)
    snapshots = Snapshots(spec.snapshots) if spec.snapshots else None
    if spec.optimisation.lora:
        from xstilts.engine.training import lora

        lora.attach(trimmed.joint, spec.optimisation.lora, describe(spec.encoder), seed)
        if snapshots:
            snapshots.read = lora.trained
    if spec.head:
        with store.files(spec.head) as head:
            take_head(trimmed.model, head)
    pad_id = trimmed.pad_id
    streams = [one.stream(trimmed) for one in data.tasks]
    if spec.mlm:
        streams.append(_mlm_stream(spec.mlm, trimmed, data.texts, tokenizer))
    course = Course(
        streams, spec.optimisation, seed, spec.optimisation.precision, pad_id, spec.sampling,
        spec.mlm.share if spec.mlm else 0.0,
    )  # fmt: skip
    log = loop.train(
        trimmed.joint, course,
        lambda: {
            one.part.task.name: _dev_score(one.part, one.dev_examples, one.dev, trimmed, pad_id, course.precision)
            for one in data.tasks
        },
        progress, checkpoints, snapshots,
    )  # fmt: skip
    if spec.optimisation.lora:
        lora.merge(trimmed.joint)
    first = device.accelerator().is_main_process  # which has the best weights
    gate = {one.part.task.name: _gate(one, log, trimmed, pad_id, course.precision) for one in data.tasks if first}
    return _Fitted(trimmed, log, snapshots, gate)


def _gate(one: _Loaded, log: Log, trimmed: Trimmed, pad_id: int, precision: str) -> float:
    """The dev score of the best weights by which it is said whether the task was learnt."""
    fmt, task = formats.get(one.part.task.format), one.part.task
    places, scored_as = fmt.teaches(one.dev_examples, task)
    if scored_as is task:
        return log.dev_of[task.name]
    predictions = _dev_predictions(scored_as, one.dev_examples, one.dev, trimmed, pad_id, precision)
    chosen, given = [one.dev_examples[i] for i in places], [predictions[i] for i in places]
    return inference.score(chosen, given, fmt, scored_as, one.part.dev.language)


def _saved(fitted: _Fitted, folder: Path) -> Log:
    """How the model was trained that is in the folder now."""
    trimmed, log, snapshots, _ = fitted
    if device.accelerator().is_main_process:
        save_trained(trimmed, folder)
        if snapshots:
            averaging.put(snapshots.mean(), trimmed.joint)
            save_trained(trimmed, folder, MEAN)
        _write_curve(log.points, folder)
    return log


def _write_curve(points: Sequence[Point], folder: Path) -> None:
    rows = [{"step": p.step, "loss": p.loss, "dev": p.dev} for p in points]
    frame = pl.DataFrame(rows, schema={"step": pl.Int64, "loss": pl.Float64, "dev": pl.Float64})
    frame.write_parquet(folder / "curve.parquet")


def _flops(spec: Train, log: Log) -> float:
    length = log.tokens / log.sequences
    return cost.flops(describe(spec.encoder), log.tokens, length, training=True, lora=spec.optimisation.lora)


def _majority(one: _Loaded) -> float:
    """The dev score of the same prediction for every example."""
    task = one.part.task
    fmt = formats.get(task.format)
    return inference.score(one.dev_examples, fmt.majority(one.dev_examples, task), fmt, task, one.part.dev.language)


def _blind(one: _Loaded) -> float:
    """The score of `_gate` of predictions that read no question."""
    fmt = formats.get(one.part.task.format)
    places, scored_as = fmt.teaches(one.dev_examples, one.part.task)
    chosen = [one.dev_examples[i] for i in places]
    return inference.score(chosen, fmt.blind(chosen, scored_as), fmt, scored_as, one.part.dev.language)


def _dev_score(
    part: TrainingPart, dev_examples: list[Example], dev: Sequence[Row], trimmed: Trimmed, pad_id: int, precision: str
) -> float:
    task = part.task
    predictions = _dev_predictions(task, dev_examples, dev, trimmed, pad_id, precision)
    return inference.score(dev_examples, predictions, formats.get(task.format), task, part.dev.language)


def _dev_predictions(
    task: Task, dev_examples: list[Example], dev: Sequence[Row], trimmed: Trimmed, pad_id: int, precision: str
) -> list[str]:
    (predictions,) = inference.predict(
        trimmed.joint.model(task.name), [(dev_examples, trimmed.rows(dev))], heads.get(task.format), task,
        pad_id=pad_id, precision=precision,
    )  # fmt: skip
    return predictions


def _texts(mlm: MlmPart, encoder: Encoder, store: Store) -> Sequence[Row]:
    """The rows of all languages."""
    sets = [rows_of(ref, encoder, mlm.reading.lengths, training=True, store=store) for ref in mlm.texts]
    return Chained(sets, [len(examples(ref)) for ref in mlm.texts])


def _mlm_stream(mlm: MlmPart, trimmed: Trimmed, texts: Sequence[Row], tokenizer: Any) -> Stream:
    names = [example.id for ref in mlm.texts for example in examples(ref)]
    special = frozenset(trimmed.mapping[tokenizer.all_special_ids].tolist())
    mask = int(trimmed.mapping[tokenizer.mask_token_id])
    return Stream(
        mlm.task.name, heads.get(mlm.task.format), trimmed.rows(texts), mlm.reading, lambda row: names[row.example],
        supervised=False, view=lambda rows, seed: Masked(rows, special, mask, len(trimmed.ids), seed),
    )  # fmt: skip


def _merge(spec: Merge, store: Store, folder: Path) -> MergeRecord:
    with ExitStack() as stack:
        start = stack.enter_context(_weights(store, spec.start))
        trained = [(stack.enter_context(store.files(key)), weight) for key, weight in spec.weights]
        save_file(merge(spec.encoder, spec.seed, start, trained), folder / WEIGHTS)
    return MergeRecord(weights=tuple(weight for _, weight in spec.weights))


def _average(spec: Average, store: Store, folder: Path, progress: Sink) -> AverageRecord:
    """The mean model and its English dev score, by which it may be chosen among others."""
    first = records.peek(store, spec.runs[0])
    with ExitStack() as stack:
        runs = [stack.enter_context(store.files(key)) for key in spec.runs]
        save_file(averaging.average([run / (MEAN if spec.snapshots else WEIGHTS) for run in runs]), folder / WEIGHTS)
    dev_examples, dev = _dev(spec.part, spec.encoder, store)
    trimmed = build_model(spec.encoder, spec.task, spec.seed, folder, dev, head=True)
    pad_id, precision = trimmed.pad_id, spec.precision
    score = _dev_score(spec.part, dev_examples, dev, trimmed, pad_id, precision)
    progress(Event(text=in_words({"dev": score}), done=1, steps=1))
    _write_curve([Point(first.steps if isinstance(first, TrainRecord) else 0, dev=score)], folder)
    tokens, sequences = sum(row.tokens for row in dev), sum(len(row.sequences) for row in dev)
    return AverageRecord(
        dev=score,
        runs=len(spec.runs),
        tokens=tokens,
        flops=cost.flops(describe(spec.encoder), tokens, tokens / max(sequences, 1), training=False),
        precision=precision,
    )


def _predict(spec: Predict, store: Store, folder: Path, progress: Sink) -> PredictRecord:
    own = {
        ref: rows_of(ref, spec.encoder, spec.lengths, training=False, store=store) for ref in (*spec.sets, *spec.dev)
    }
    with _weights(store, spec.model) as weights:
        trimmed = build_model(spec.encoder, spec.task, spec.seed, weights, chain.from_iterable(own.values()), head=True)
    precision = spec.precision
    sets = {ref: inference.Set(ref.language, examples(ref), trimmed.rows(rows)) for ref, rows in own.items()}
    reader = inference.Reader(
        trimmed.model, spec.task, [sets[ref] for ref in spec.sets], [sets[ref] for ref in spec.dev],
        trimmed.pad_id, precision, spec.hidden_layer, spec.pooling,
    )  # fmt: skip
    predictions, mining = heads.get(spec.task.format).predict(reader, progress)
    frames = [
        pl.DataFrame({"language": ref.language, "id": [e.id for e in examples(ref)], "prediction": predicted})
        for ref, predicted in zip(spec.sets, predictions, strict=True)
    ]
    pl.concat(frames).write_parquet(folder / "predictions.parquet")
    tokens = sum(row.tokens for rows in own.values() for row in rows)
    count = sum(len(row.sequences) for rows in own.values() for row in rows)
    return PredictRecord(
        tokens=tokens,
        flops=cost.flops(describe(spec.encoder), tokens, tokens / max(count, 1), training=False),
        precision=precision,
        hidden_layer=spec.hidden_layer,
        pooling=None if spec.hidden_layer is None else spec.pooling,
        mining=mining,
    )


def _weights(store: Store, key: str | None) -> AbstractContextManager[Path | None]:
    return store.files(key) if key else nullcontext()
