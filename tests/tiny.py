"""A study of 11 stages that runs in seconds, for tests of what a run does."""

from __future__ import annotations

import atexit
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from forked import XStilts
from xstilts.common.progress import Event
from xstilts.planning.plan import Stage
from xstilts.running.worker import compute
from xstilts.store import Store

STUDY: dict[str, Any] = {
    "name": "tiny",
    "encoders": ["bundled/e5-small@1"],
    "recipes": ["none", "mini-nli"],
    "targets": [
        {"task": "mini-span", "max_examples": 6, "languages": ["en", "sw"]},
        {"task": "mini-retrieval", "max_examples": 12, "languages": ["sw"]},
    ],
    "seeds": [1],
    # In one precision, so that tests that plan it and those that run it have the same keys on any machine.
    "training": {"max_train_examples": 24, "max_dev_examples": 6, "batch_size": 8, "precision": "fp32"},
}
#: Of one model.
MIX: dict[str, Any] = {**STUDY, "targets": STUDY["targets"][:1], "recipes": ["none"]}
XSTILTS = [sys.executable, "-m", "xstilts.cli"]


def write(folder: Path, **changes: Any) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({**STUDY, **changes}))
    return file


@cache
def loaded() -> XStilts:
    """Of this process, as long as it lives."""
    started = XStilts()
    atexit.register(started.close)
    return started


def command(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``xstilts WORDS`` in ``folder``."""
    ended = loaded()(folder, *words, seconds=240, memory=None, **environment)
    if ended.status is None:
        raise subprocess.TimeoutExpired(words, 240, ended.out, ended.err)
    return subprocess.CompletedProcess(words, ended.status, ended.out, ended.err)


def scores_in(folder: Path) -> pl.DataFrame:
    """Without the time they took, which differs between runs that give the same scores."""
    return pl.read_parquet(folder / "runs" / "tiny" / "scores.parquet").drop("seconds")


class Inline:
    """An executor that computes in this process: no time goes into starting others, and what a test patches holds."""

    slots = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events: list[Event] = []

    def submit(self, stage: Stage) -> None:
        self._events.append(compute(stage, self._store, self._events.append))

    def wait(self, timeout: float | None) -> list[Event]:
        events, self._events = self._events, []
        return events

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None: ...


class Recorded:
    """A sink that remembers what it heard."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def texts(self, state: str) -> list[str]:
        return [event.text for event in self.events if event.state == state]


#: Format → class and labels of a model with its head.
HEADS = {
    "classification": ("BertForSequenceClassification", ("entailment", "neutral", "contradiction")),
    "tagging": ("BertForTokenClassification", ("O", "B-PER", "I-PER")),
    "span": ("BertForQuestionAnswering", ()),
    "multiple_choice": ("BertForMultipleChoice", ()),
    "retrieval": ("BertModel", ()),
}


def write_models(folder: Path) -> Path:
    """A folder with an exported model a format, of one block and random weights, that reads letters."""
    import transformers

    from xstilts.handover import usage

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), "?"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    transformers.set_seed(3)
    for name, (kind, labels) in HEADS.items():
        named = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        config = transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            type_vocab_size=2, pad_token_id=tokenizer.pad_token_id, initializer_range=1.0, **(named if labels else {}),
        )  # fmt: skip
        getattr(transformers, kind)(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        block = 1 if name == "retrieval" else None
        used = usage.Usage(name, "mine", 32, 8, 16, unanswerable=name == "span", block=block)
        usage.write(used, folder / name)
    return folder
