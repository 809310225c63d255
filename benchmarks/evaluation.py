"""Evaluation against its bare forward passes, and preparing data of SQuAD's size, before and after it is cached."""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, groupby
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks import data, jobs
from xstilts.data import available, fingerprint, load
from xstilts.encoders import Encoder
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads, inference
from xstilts.engine.features import rows_of
from xstilts.engine.heads import span
from xstilts.engine.machine import device
from xstilts.engine.machine.threads import side_by_side
from xstilts.engine.models import build_model
from xstilts.planning.data_ref import DataRef, examples
from xstilts.store import Store
from xstilts.tasks import builtin_catalog, formats
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.task import Split

ENGLISH: tuple[Split, ...] = ("train", "dev")
N_BEST = 20  # answers a question, as run_qa, jiant and XTREME have it


def spans(layers: int, count: int, repeats: int, seed: int) -> dict[str, Any]:
    """The time from the questions of XQuAD to their scores, and of n-best decoding, over the forward passes' alone.

    The forward passes are those of the evaluation, on the same batches, as many at a time; medians over ``repeats``
    rounds, in each of which all are measured. ``cores`` is the first ratio in time of the cores, which other work on
    the machine changes less.
    """
    encoder, task = Encoder(data.ENCODER, layers=layers), builtin_catalog()["xquad"]
    languages = available(task, "test", data.folder())
    sources = [data.source("xquad", language, count) for language in languages]
    hyper = data.hyperparameters(task)
    fmt, precision = heads.get(task.format), hyper.precision
    pad_id = load_tokenizer(encoder).pad_token_id
    rows_by_set = [rows_of(source, encoder, hyper.lengths, training=False) for source in sources]
    trimmed = build_model(
        encoder, task, seed, None, chain.from_iterable(rows_by_set), head=False, dropout=hyper.dropout
    )

    def predict(fmt: Any) -> list[list[str]]:
        sets = [(examples(source), trimmed.rows(rows)) for source, rows in zip(sources, rows_by_set, strict=True)]
        return inference.predict(trimmed.model, sets, fmt, task, pad_id=pad_id, precision=precision)

    def prepare_all() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for source in sources:
                rows_of(source, encoder, hyper.lengths, training=False, store=Store(folder))

    def score(answers: list[list[str]]) -> None:
        for source, own in zip(sources, answers, strict=True):
            inference.score(examples(source), own, formats.get(task.format), task, source.language)

    # One evaluation to warm up, in which the batches and the calls of the decoder are recorded.
    decoder = span.NBest(N_BEST)
    inputs: list[dict[str, torch.Tensor]] = []
    outputs: list[tuple[Any, ...]] = []
    assembled: list[tuple[Any, ...]] = []

    def reduce(*call: Any) -> list[Any]:
        outputs.append(call)
        return decoder.reduce(*call)

    def assemble(*call: Any) -> list[str]:
        assembled.append(call)
        return decoder.assemble(*call)

    hook = trimmed.model.register_forward_pre_hook(lambda *call: inputs.append(call[2]), with_kwargs=True)
    predict(SimpleNamespace(reduce=reduce, assemble=assemble))
    hook.remove()

    def forward(batch: dict[str, torch.Tensor]) -> None:
        with torch.inference_mode(), device.autocast(precision):
            trimmed.model(**batch)

    def decode() -> None:
        _side_by_side(lambda call: decoder.reduce(*call), outputs)
        for call in assembled:
            decoder.assemble(*call)

    rounds = []
    for _ in range(repeats):
        bare = _timed(lambda: _side_by_side(forward, inputs))
        features = _timed(prepare_all)
        answers: list[list[str]] = []
        predicting = _timed(lambda: answers.extend(predict(fmt)))  # noqa: B023 - called at once
        scoring = _timed(lambda: score(answers))  # noqa: B023
        rounds.append(
            {
                "ratio": (features + predicting + scoring) / bare,
                "features": features / bare,
                "scoring": scoring / bare,
                "decoding": _timed(decode) / bare,
            }
        )
    return {
        **{name: median(each[name][0] for each in rounds) for name in rounds[0]},
        "cores": median(each["ratio"][1] for each in rounds),
        "settings": f"{jobs.settings(trimmed.model.config, precision)}, {layers} layers, {count} questions in each of "
        f"{len(languages)} languages, {len(inputs)} batches",
    }


def _side_by_side(function: Callable[[Any], Any], items: Sequence[Any]) -> None:
    with side_by_side(len(items) if device.on_cpu() else 1) as at_once:
        for _ in at_once(function, items):
            pass


def _timed(call: Callable[[], Any]) -> npt.NDArray[np.float64]:
    """Seconds by the clock, and those of all cores together [2]."""
    began = np.array([time.perf_counter(), time.process_time()])
    call()
    return np.array([time.perf_counter(), time.process_time()]) - began


def prepare(questions: int, seed: int) -> dict[str, Any]:
    """Seconds from a file of so many questions to the features of a training stage, in a process that makes and keeps
    them (``cold``) and in another that finds them (``cached``), without loading libraries."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "squad_v1.1", "train-v1.1.json")
        file.parent.mkdir()
        passages = write_squad(file, questions, seed)
        making, reading = (_in_a_process(_prepared, folder) for _ in range(2))
        kept = sum(file.stat().st_size for file in Path(folder, "store").rglob("*") if file.is_file())
    return {
        "cold": making["seconds"],
        "cached": reading["seconds"],
        "settings": f"{questions} questions on {passages} passages, {making['windows']} windows, {jobs.threads()} "
        f"threads; {making['cores']:.0f} s of the cores' time, {kept / 1e6:.0f} MB on disk, at most "
        f"{making['memory'] / 1e6:.0f} MB held to make them, {reading['memory'] / 1e6:.0f} MB to read them",
    }


def _in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _prepared(folder: str) -> dict[str, float]:
    """Seconds, those of all cores together, the most bytes held, and windows."""
    task, encoder, data_folder = builtin_catalog()["squad"], Encoder(data.ENCODER), Path(folder)
    hyper, store = data.hyperparameters(task), Store(data_folder / "store")
    began, cores_began = time.perf_counter(), time.process_time()
    windows = 0
    for split in ENGLISH:
        source = DataRef(task, split, "en", data_folder, fingerprint(task, split, "en", data_folder))
        windows += len(rows_of(source, encoder, hyper.lengths, training=split == "train", store=store))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": time.perf_counter() - began,
        "cores": time.process_time() - cores_began,
        "memory": peak if sys.platform == "darwin" else peak * 1024,
        "windows": windows,
    }


def write_squad(file: Path, count: int, seed: int) -> int:
    """A file in SQuAD's layout with ``count`` questions; gives the number of passages.

    SQuAD's passages again and again, each time with a fifth of the words outside the answers drawn anew from all of
    them, so that no passage is tokenised twice.
    """
    task, folder = builtin_catalog()["squad"], data.folder()
    real = [
        example for split in ENGLISH for example in load(task, split, "en", folder) if isinstance(example, SpanExample)
    ]
    passages = [list(questions) for _, questions in groupby(real, key=lambda example: example.context)]
    words = sorted({word for passage in passages for word in passage[0].context.split()})
    draw = random.Random(seed)
    paragraphs, left = [], count
    while left:
        for passage in passages[:left]:
            paragraphs.append(_altered(passage[:left], words, draw, count - left))
            left -= len(paragraphs[-1]["qas"])
            if not left:
                break
    file.write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}))
    return len(paragraphs)


def _altered(
    questions: Sequence[SpanExample], words: Sequence[str], draw: random.Random, number: int
) -> dict[str, Any]:
    """A paragraph of SQuAD's layout, its questions numbered from ``number``."""
    answers = [question.answers[0] for question in questions]
    context = ""
    moved: dict[int, int] = {}
    for piece in re.finditer(r"\s+|\S+", questions[0].context):
        here = [a.start for a in answers if a.start < piece.end() and piece.start() < a.start + len(a.text)]
        moved |= {at: len(context) + at - piece.start() for at in here if at >= piece.start()}
        altered = not here and not piece[0].isspace() and draw.random() < 0.2
        context += draw.choice(words) if altered else piece[0]
    qas = [
        {
            "id": f"{number + i}",
            "question": f"{question.question} {draw.choice(words)}",
            "answers": [{"text": answer.text, "answer_start": moved[answer.start]}],
        }
        for i, (question, answer) in enumerate(zip(questions, answers, strict=True))
    ]
    return {"context": context, "qas": qas}


if __name__ == "__main__":
    torch.set_num_threads(jobs.threads())
    jobs.answer({each.__name__: each for each in (spans, prepare)})
