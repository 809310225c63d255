"""The other side: Transformers' Trainer with the defaults of its scripts run_qa and run_glue, or tuned.

The algorithms of features and answers are run_qa's, written anew: examples/pytorch/question-answering of Transformers.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.training_args import OptimizerNames

from benchmarks import data, jobs
from xstilts.encoders import Encoder
from xstilts.encoders.load import load_model, load_tokenizer
from xstilts.planning.data_ref import examples
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.span import SpanExample

WINDOW = {"truncation": "only_second", "max_length": 384, "stride": 128, "return_overflowing_tokens": True,
          "return_offsets_mapping": True}  # fmt: skip
N_BEST, MAX_ANSWER_TOKENS = 20, 30

Columns = dict[str, list[Any]]


class Clock(TrainerCallback):
    """When each step ended, and how many real tokens the Trainer had counted by then."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.tokens: list[int] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.times.append(time.perf_counter())
        self.tokens.append(state.num_input_tokens_seen)


def train(task: str, layers: int, batch_size: int, steps: int, seed: int, tuned: bool = False) -> dict[str, Any]:
    """Real tokens a second of training after its first step."""
    tokenizer = load_tokenizer(Encoder(data.ENCODER))
    found: list[Any] = list(examples(data.source(task)))
    encoder, padding = Encoder(data.ENCODER, layers=layers), False if tuned else "max_length"
    if task == "mnli":
        features = rows(_pair_features(found, data.source(task).task.labels, tokenizer))
        model = load_model(encoder, AutoModelForSequenceClassification, seed=seed, num_labels=3)
    else:
        features = rows(train_features(columns(found), tokenizer, padding))
        model = load_model(encoder, AutoModelForQuestionAnswering, seed=seed)
    lengths = [sum(feature["attention_mask"]) for feature in features]
    order = (_grouped if tuned else _mixed)(lengths, batch_size, steps, seed)
    trainer = make_trainer(
        model,
        [features[i] for i in order],
        collator=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8) if tuned else default_data_collator,
        per_device_train_batch_size=batch_size,
        num_train_epochs=1,
        seed=seed,
        bf16=tuned,
        train_sampling_strategy="sequential",  # the order is drawn already
        include_num_input_tokens_seen="non_padding",
    )
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    kind = "by length, padded to the longest" if tuned else f"at random, padded to {len(features[0]['input_ids'])}"
    tokens, optimizer = clock.tokens[-1] - clock.tokens[0], OptimizerNames(trainer.args.optim)
    return {
        "speed": tokens / (clock.times[-1] - clock.times[0]),
        "settings": f"{settings(trainer)}, {optimizer.value}, batches of {batch_size} {kind}, "
        f"mean length {tokens / ((steps - 1) * batch_size):.0f}",
    }


def make_trainer(model: Any, features: Any, collator: Any = default_data_collator, **arguments: Any) -> Trainer:
    own = TrainingArguments(
        output_dir=f"{tempfile.gettempdir()}/xstilts-benchmarks", report_to="none", save_strategy="no",
        disable_tqdm=True, use_cpu=not torch.cuda.is_available(), **arguments,
    )  # fmt: skip
    return Trainer(model, own, train_dataset=features, data_collator=collator)


def settings(trainer: Trainer) -> str:
    model: Any = trainer.model
    return jobs.settings(model.config, "bf16" if trainer.args.bf16 else "fp32")


def _mixed(lengths: Sequence[int], batch_size: int, steps: int, seed: int) -> list[int]:
    """Rows in random order: one step to warm up, then steps with all lengths in due proportion."""
    return data.spread(lengths, batch_size, seed) + data.spread(lengths, (steps - 1) * batch_size, seed)


def _grouped(lengths: list[int], batch_size: int, steps: int, seed: int) -> list[int]:
    """Batches that group_by_length would make of all rows, chosen likewise: it starts with the longest ones."""
    order = list(LengthGroupedSampler(batch_size, lengths=lengths, generator=torch.Generator().manual_seed(seed)))
    batches = [order[at : at + batch_size] for at in range(0, len(order) - batch_size + 1, batch_size)]
    longest = [max(lengths[i] for i in batch) for batch in batches]
    chosen = data.spread(longest, 1, seed) + data.spread(longest, steps - 1, seed)
    return [i for batch in chosen for i in batches[batch]]


def columns(questions: Sequence[SpanExample]) -> Columns:
    """Examples as the columns that SQuAD has in `datasets`."""
    return {
        "id": [str(i) for i in range(len(questions))],  # XQuAD's own are the same in every language
        "question": [each.question for each in questions],
        "context": [each.context for each in questions],
        "answers": [
            {"text": [gold.text for gold in each.answers], "answer_start": [gold.start for gold in each.answers]}
            for each in questions
        ],
    }  # fmt: skip


def rows(features: Any) -> list[dict[str, Any]]:
    return [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]


def _windows(batch: Columns, tokenizer: Any, padding: Any) -> Any:
    questions = [question.lstrip() for question in batch["question"]]
    return tokenizer(questions, batch["context"], padding=padding, **WINDOW)


def train_features(batch: Columns, tokenizer: Any, padding: Any = "max_length") -> Any:
    """Windows with the tokens at which the first answer begins and ends, or (0, 0)."""
    encoded = _windows(batch, tokenizer, padding)
    owners, offsets = encoded.pop("overflow_to_sample_mapping"), encoded.pop("offset_mapping")
    spans = [
        _answer_tokens(encoded.sequence_ids(i), offsets[i], batch["answers"][owner]) for i, owner in enumerate(owners)
    ]
    encoded["start_positions"], encoded["end_positions"] = (list(ends) for ends in zip(*spans, strict=True))
    return encoded


def _answer_tokens(parts: list[int | None], offsets: list[tuple[int, int]], answers: Columns) -> tuple[int, int]:
    start = answers["answer_start"][0]
    end = start + len(answers["text"][0])
    first, last = parts.index(1), len(parts) - 1 - parts[::-1].index(1)
    if start < offsets[first][0] or end > offsets[last][1]:
        return 0, 0
    begins, ends = first, last
    while begins < last and offsets[begins + 1][0] <= start:
        begins += 1
    while ends > first and offsets[ends - 1][1] >= end:
        ends -= 1
    return begins, ends


def evaluation_features(batch: Columns, tokenizer: Any) -> Any:
    """Windows with the id of their question, and None for the offsets of tokens outside the passage."""
    encoded = _windows(batch, tokenizer, "max_length")
    encoded["example_id"] = [batch["id"][owner] for owner in encoded.pop("overflow_to_sample_mapping")]
    encoded["offset_mapping"] = [
        [offset if part == 1 else None for offset, part in zip(offsets, encoded.sequence_ids(i), strict=True)]
        for i, offsets in enumerate(encoded["offset_mapping"])
    ]
    return encoded


def predict(trainer: Trainer, raw: datasets.Dataset, tokenizer: Any) -> list[str]:
    """The answer to each question: of all pairs of the 20 best starts and ends of each window, the best valid one."""
    features = raw.map(
        partial(evaluation_features, tokenizer=tokenizer), batched=True, remove_columns=raw.column_names,
        load_from_cache_file=False,
    )  # fmt: skip
    logits: Any = trainer.predict(features).predictions
    starts, ends = logits
    candidates: dict[str, list[tuple[float, int, int]]] = {name: [] for name in raw["id"]}
    for i, (name, offsets) in enumerate(zip(features["example_id"], features["offset_mapping"], strict=True)):
        last_tokens = np.argsort(ends[i])[: -N_BEST - 1 : -1].tolist()
        for first in np.argsort(starts[i])[: -N_BEST - 1 : -1].tolist():
            for last in last_tokens:
                inside = offsets[first] is not None and offsets[last] is not None
                if inside and first <= last < first + MAX_ANSWER_TOKENS:
                    score = starts[i, first] + ends[i, last]
                    candidates[name].append((score, offsets[first][0], offsets[last][1]))
    answers = []
    for name, context in zip(raw["id"], raw["context"], strict=True):
        n_best = sorted(candidates[name], key=lambda each: each[0], reverse=True)[:N_BEST]
        answers.append(context[n_best[0][1] : n_best[0][2]] if n_best else "empty")
    return answers


def evaluate(layers: int, count: int, seed: int) -> dict[str, Any]:
    """Questions a second from examples to answers in all languages, without building the model."""
    tokenizer, raw = load_tokenizer(Encoder(data.ENCODER)), _questions(count)
    model = load_model(Encoder(data.ENCODER, layers=layers), AutoModelForQuestionAnswering, seed=seed)
    trainer = make_trainer(model, None)
    began = time.perf_counter()
    predict(trainer, raw, tokenizer)
    return {
        "speed": len(raw) / (time.perf_counter() - began),
        "settings": f"{settings(trainer)}, {len(raw)} questions, batches of {trainer.args.per_device_eval_batch_size} "
        "padded to 384",
    }


def _questions(count: int) -> datasets.Dataset:
    found: list[Any] = [each for at in data.LANGUAGES for each in examples(data.source("xquad", at, count))]
    return datasets.Dataset.from_dict(columns(found))


def features(repeats: int, seed: int) -> dict[str, Any]:
    """Questions a second from a data set in memory to one of training features; the median of some repeats.

    Once in this process, which is run_qa's default, and once in two, which take time to start: the faster counts.
    """
    found: list[Any] = list(examples(data.source("xquad")))
    raw, tokenizer = datasets.Dataset.from_dict(columns(found)), load_tokenizer(Encoder(data.ENCODER))
    speeds = []
    for processes in (None, 2):
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            made = raw.map(
                partial(train_features, tokenizer=tokenizer), batched=True, num_proc=processes,
                remove_columns=raw.column_names, load_from_cache_file=False,
            )  # fmt: skip
            seconds.append(time.perf_counter() - began)
        speeds.append(len(raw) / median(seconds))
    return {
        "speed": max(speeds),
        "settings": f"Dataset.map, padded to 384, {len(raw)} questions, {len(made)} windows; in one process "
        f"{speeds[0]:.0f} questions/s, in two {speeds[1]:.0f}",
    }


def _pair_features(found: Sequence[ClassificationExample], labels: Sequence[str], tokenizer: Any) -> Any:
    encoded = tokenizer(
        [each.premise for each in found], [each.hypothesis for each in found],
        padding="max_length", max_length=128, truncation=True,
    )  # fmt: skip
    encoded["labels"] = [labels.index(str(each.label)) for each in found]
    return encoded


def quality(layers: int, questions: int, epochs: int, count: int, seed: int) -> dict[str, Any]:
    """The answers in all languages of a model that the Trainer trained on English, with xstilts' hyper-parameters."""
    source, tokenizer = data.source("squad", count=questions), load_tokenizer(Encoder(data.ENCODER))
    hyper = data.hyperparameters(source.task, epochs=epochs)
    found: list[Any] = list(examples(source))
    trainer = make_trainer(
        load_model(Encoder(data.ENCODER, layers=layers), AutoModelForQuestionAnswering, seed=seed),
        rows(train_features(columns(found), tokenizer)),
        per_device_train_batch_size=hyper.batch_size,
        num_train_epochs=epochs,
        learning_rate=hyper.learning_rate,
        warmup_steps=hyper.warmup,  # below 1: a share of all steps
        weight_decay=hyper.weight_decay,
        seed=seed,
    )
    trainer.train()
    answers = predict(trainer, _questions(count), tokenizer)
    by_language = {at: answers[i * count : (i + 1) * count] for i, at in enumerate(data.LANGUAGES)}
    return {"answers": by_language, "settings": settings(trainer)}


if __name__ == "__main__":
    torch.set_num_threads(jobs.threads())
    datasets.disable_caching()
    datasets.disable_progress_bars()
    jobs.answer({each.__name__: each for each in (train, evaluate, features, quality)})
