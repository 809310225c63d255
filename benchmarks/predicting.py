"""`xstilts predict` from file to file, against the evaluation of the same questions by the same model."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import data, jobs
from xstilts.encoders import Encoder
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads, inference
from xstilts.engine.features import rows_of
from xstilts.engine.models import build_model, load_architecture
from xstilts.handover import exported, usage
from xstilts.handover.predict import Asked, predict_file
from xstilts.handover.tables import read_records
from xstilts.handover.usage import Usage
from xstilts.planning.data_ref import examples
from xstilts.store import Store
from xstilts.tasks import builtin_catalog, formats
from xstilts.tasks.formats.span import SpanExample


def files(layers: int, count: int, repeats: int, seed: int) -> dict[str, Any]:
    """The speed of `predict` over that of evaluation, on ``count`` questions of SQuAD; medians over ``repeats`` rounds.

    Predicting is all from a CSV file to another: reading, checking, windows, forward passes, answers, writing them as
    they come. Evaluation is what a study's stages do: features made and kept, forward passes in one go over all, F1 and
    exact match. In each round both are measured, the one first that was last before; neither has the loading of the
    model in it. ``cores`` is the same in time of the cores, which other work on the machine changes less.
    """
    encoder, task = Encoder(data.ENCODER, layers=layers), builtin_catalog()["xquad"]
    sources = [data.source("squad", count=count)]
    questions = [each for source in sources for each in examples(source) if isinstance(each, SpanExample)]
    hyper, tokenizer = data.hyperparameters(task), load_tokenizer(encoder)
    fmt, head, precision = formats.get(task.format), heads.get(task.format), hyper.optimisation.precision
    with tempfile.TemporaryDirectory() as folder:
        rows = [rows_of(source, encoder, hyper.lengths, training=False) for source in sources]
        trimmed = build_model(encoder, task, seed, None, chain.from_iterable(rows), head=False, dropout=hyper.dropout)
        model = Path(folder, "model")
        load_architecture(encoder, task, seed, hyper.dropout).save_pretrained(model)
        tokenizer.save_pretrained(model)
        usage.write(Usage(task.format, task.name, **asdict(hyper.lengths)), model)
        opened = exported.load(model, precision=precision)
        asked = Path(folder, "questions.csv")
        with asked.open("w", encoding="utf-8", newline="") as out:
            table = csv.writer(out)
            table.writerow(["id", "question", "context"])
            table.writerows([each.id, each.question, each.context] for each in questions)

        def predict() -> None:
            answers = Path(folder, "answers.csv")
            answers.unlink(missing_ok=True)
            predict_file(opened, read_records(asked, opened.format.names), Asked(), answers)

        def evaluate() -> None:
            with tempfile.TemporaryDirectory() as store:
                made = [rows_of(each, encoder, hyper.lengths, training=False, store=Store(store)) for each in sources]
                sets = [(examples(each), trimmed.rows(of)) for each, of in zip(sources, made, strict=True)]
                found = inference.predict(
                    trimmed.model, sets, head, task, pad_id=trimmed.pad_id, precision=precision
                )  # fmt: skip
                for each, answers in zip(sources, found, strict=True):
                    inference.score(examples(each), answers, fmt, task, each.language)

        rounds = []
        for number in range(repeats):
            order = (evaluate, predict) if number % 2 == 0 else (predict, evaluate)
            seconds = {call: _timed(call) for call in order}
            rounds.append(seconds[evaluate] / seconds[predict])
    return {
        "ratio": median(each[0] for each in rounds),
        "cores": median(each[1] for each in rounds),
        "settings": f"{jobs.settings(trimmed.model.config, precision)}, {layers} layers, {len(questions):,} questions",
    }


def _timed(call: Callable[[], None]) -> np.ndarray:
    """Seconds by the clock, and those of all cores together [2]."""
    began = np.array([time.perf_counter(), time.process_time()])
    call()
    return np.array([time.perf_counter(), time.process_time()]) - began


if __name__ == "__main__":
    torch.set_num_threads(jobs.threads())
    jobs.answer({each.__name__: each for each in (files,)})
