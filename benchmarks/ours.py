"""xstilts' side: what a stage of a study calls, in a worker's environment, timed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from statistics import median
from typing import Any

import torch

from benchmarks import data, jobs
from xstilts.common.progress import Event
from xstilts.encoders import Encoder, describe
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads, inference
from xstilts.engine.batches import training_batches
from xstilts.engine.features import rows_of
from xstilts.engine.machine import device
from xstilts.engine.models import Trimmed, build_model
from xstilts.engine.rows import Row
from xstilts.engine.training import loop
from xstilts.engine.training.course import Course
from xstilts.engine.training.mixture import Stream
from xstilts.planning import cost
from xstilts.planning.data_ref import DataRef, examples
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.tasks.task import Task


def train(task: str, layers: int, dropout: str, batch_size: int, steps: int, seed: int) -> dict[str, Any]:
    """Real tokens a second, and what share of the machine's peak they take, of training after its first step."""
    encoder, source = Encoder(data.ENCODER, layers=layers), data.source(task)
    hyper = data.hyperparameters(source.task, batch_size=batch_size, dropout=dropout)
    rows = rows_of(source, encoder, hyper.lengths, training=True)
    lengths = [row.length for row in rows]
    longest = sorted(range(len(rows)), key=lambda i: lengths[i])[-batch_size:]  # the first batch, which warms up
    sample = [rows[i] for i in (*longest, *data.spread(lengths, (steps - 1) * batch_size, seed))]
    peak = _matrix_product_peak(hyper)
    trimmed, tokens, ends = _trained(encoder, source.task, hyper, rows, sample, seed)
    seconds = ends[-1] - ends[0]
    peak = max(peak, _matrix_product_peak(hyper))
    length = tokens / ((steps - 1) * batch_size)
    flops = cost.flops(describe(encoder), tokens, length, training=True)
    return {
        "speed": tokens / seconds,
        "peak_fraction": flops / seconds / peak,
        "settings": f"{_settings(trimmed, hyper)}, batches of {batch_size} by length, {len(rows)} rows' vocabulary, "
        f"mean length {length:.0f}, peak {peak / 1e9:.0f} GFLOP/s",
    }


def _trained(
    encoder: Encoder, task: Task, hyper: Hyperparameters, of_vocabulary: Iterable[Row], rows: Sequence[Row], seed: int
) -> tuple[Trimmed, int, list[float]]:
    """The model after training on ``rows``; the tokens of all steps but the first, and when each step ended."""
    trimmed = build_model(encoder, task, seed, None, of_vocabulary, head=False, dropout=hyper.dropout)
    rows = trimmed.rows(rows)
    ends: list[float] = []
    epochs = iter(range(hyper.epochs))

    def progress(_: Event) -> None:
        ends.append(time.perf_counter())  # in a training of 100 steps or more, not every one is reported

    stream = Stream(task.name, heads.get(task.format), rows, hyper.reading, lambda row: str(row.example))
    pad_id = load_tokenizer(encoder).pad_token_id
    # The last epoch is the best, as it is with the Trainer.
    log = loop.train(
        trimmed.joint, Course([stream], hyper.optimisation, seed, hyper.precision, pad_id),
        lambda: {task.name: next(epochs)}, progress,
    )  # fmt: skip
    first = training_batches([row.length for row in rows], hyper.batch_size, seed, 0)[0]
    return trimmed, log.tokens - sum(rows[i].tokens for i in first), ends


def _matrix_product_peak(hyper: Hyperparameters) -> float:
    """FLOP/s of the best of several products of 2048 × 2048 matrices, in the precision of the training."""
    dtype = torch.bfloat16 if hyper.precision == "bf16" else torch.float32
    a, b = torch.randn(2, 2048, 2048, device=device.accelerator().device).to(dtype)
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        (a @ b)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def _settings(trimmed: Trimmed, hyper: Hyperparameters) -> str:
    return jobs.settings(trimmed.model.config, hyper.precision)


def evaluate(layers: int, count: int, seed: int) -> dict[str, Any]:
    """Questions a second from examples to answers in all languages, without building the model."""
    encoder, sources = Encoder(data.ENCODER, layers=layers), [data.source("xquad", at, count) for at in data.LANGUAGES]
    task = sources[0].task
    hyper = data.hyperparameters(task)
    questions = sum(len(examples(source)) for source in sources)
    load_tokenizer(Encoder(data.ENCODER))  # which `rows_of` takes, whatever the layers
    began = time.perf_counter()
    rows = [rows_of(source, encoder, hyper.lengths, training=False) for source in sources]
    seconds = time.perf_counter() - began
    trimmed = build_model(encoder, task, seed, None, chain.from_iterable(rows), head=False, dropout=hyper.dropout)
    began = time.perf_counter()
    _predict(trimmed, sources, rows, hyper)
    seconds += time.perf_counter() - began
    return {
        "speed": questions / seconds,
        "settings": f"{_settings(trimmed, hyper)}, {questions} questions, "
        f"batches of at most {inference.MAX_TOKENS} tokens",
    }


def _predict(
    trimmed: Trimmed, sources: Sequence[DataRef], rows: Sequence[Sequence[Row]], hyper: Hyperparameters
) -> list[list[str]]:
    task = sources[0].task
    return inference.predict(
        trimmed.model,
        [(examples(source), trimmed.rows(own)) for source, own in zip(sources, rows, strict=True)],
        heads.get(task.format), task,
        pad_id=load_tokenizer(Encoder(data.ENCODER)).pad_token_id, precision=hyper.precision,
    )  # fmt: skip


def features(repeats: int, seed: int) -> dict[str, Any]:
    """Questions a second from examples to training rows; the median of some repeats."""
    encoder, whole = Encoder(data.ENCODER), data.source("xquad")
    hyper, questions = data.hyperparameters(whole.task), len(examples(whole))
    load_tokenizer(encoder)
    seconds = []
    for i in range(repeats):
        source = replace(whole, max_examples=questions + i)  # the same, but `rows_of` would remember
        began = time.perf_counter()
        rows = rows_of(source, encoder, hyper.lengths, training=True)
        seconds.append(time.perf_counter() - began)
    return {
        "speed": questions / median(seconds),
        "settings": f"rows_of in one process, {questions} questions, {len(rows)} windows",
    }


def scaling(layers: int, batch_size: int, steps: int, seed: int) -> dict[str, Any]:
    """How much faster time grows than FLOPs do, from a quarter of the layers to all and from 64 to 384 tokens."""
    source = data.source("xquad")
    hyper = data.hyperparameters(source.task, batch_size=batch_size)
    real = rows_of(source, Encoder(data.ENCODER), hyper.lengths, training=True)
    text = [piece for row in real for piece in row.sequences[0][1:-1]]

    def time_over_flops(depth: int, length: int) -> float:
        encoder = Encoder(data.ENCODER, layers=depth)
        starts = range(0, steps * batch_size * length, length)
        rows = [Row(0, [text[at : at + length]], target=(1, 1)) for at in starts]
        _, tokens, ends = _trained(encoder, source.task, hyper, real, rows, seed)
        seconds = median(end - start for start, end in pairwise(ends)) * (steps - 1)
        return seconds / cost.flops(describe(encoder), tokens, length, training=True)

    shallow = max(1, layers // 4)
    depth = time_over_flops(layers, 192) / time_over_flops(shallow, 192)
    length = time_over_flops(layers, 384) / time_over_flops(layers, 64)
    return {
        "larger": max(depth, length),
        "depth": depth,
        "length": length,
        "settings": f"rows of exactly 192 tokens, {shallow} to {layers} layers; rows of 64 to 384, {layers} layers; "
        f"batches of {batch_size}, {jobs.threads()} threads",
    }


def quality(dropout: str, layers: int, questions: int, epochs: int, count: int, seed: int) -> dict[str, Any]:
    """The answers in all languages of a model trained on English, whose last epoch counts as the best."""
    encoder, source = Encoder(data.ENCODER, layers=layers), data.source("squad", count=questions)
    hyper = data.hyperparameters(source.task, epochs=epochs, dropout=dropout)
    sources = [data.source("xquad", language, count) for language in data.LANGUAGES]
    rows = rows_of(source, encoder, hyper.lengths, training=True)
    rows_by_set = [rows_of(each, encoder, hyper.lengths, training=False) for each in sources]
    trimmed, *_ = _trained(encoder, source.task, hyper, chain(rows, *rows_by_set), rows, seed)
    answers = _predict(trimmed, sources, rows_by_set, hyper)
    return {"answers": dict(zip(data.LANGUAGES, answers, strict=True)), "settings": _settings(trimmed, hyper)}


if __name__ == "__main__":
    torch.set_num_threads(jobs.threads())
    jobs.answer({each.__name__: each for each in (train, evaluate, features, scaling, quality)})
