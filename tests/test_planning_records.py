"""What stages put on record is read as it was written, by this version and as earlier ones wrote it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from xstilts.common.errors import StoreError
from xstilts.planning import records
from xstilts.planning.plan import Kind
from xstilts.planning.records import (
    Attempt,
    AverageRecord,
    HealRecord,
    MergeRecord,
    Mined,
    PredictRecord,
    Record,
    ScoreRecord,
    TrainRecord,
    TranslateRecord,
)
from xstilts.store import Store

COMMON: dict[str, Any] = {"label": "a stage", "seconds": 1.5, "peak_memory": 2**30, "flops": 1e12, "tokens": 1000}
ATTEMPTS = (Attempt(1, 33.0, {"a": 33.0}, ("a",), 5e11), Attempt(2**31, 60.25, {"a": 60.25}, (), 5e11))
WRITTEN: list[Record] = [
    TranslateRecord(examples=3, dropped={"empty": 2}, **COMMON),
    HealRecord(error_before=0.5, error=0.125, steps=8, precision="bf16", micro_batch_halvings=1, resumed_at=(2,),
               checkpoint_error="OSError: full", **COMMON),
    TrainRecord(
        dev=60.25, dev_of={"a": 60.25}, dev_majority={"a": 33.0}, best_step=4, steps=8, steps_of={"a": 8}, examples=64,
        collapsed=(), attempts=ATTEMPTS, micro_batch_halvings=1, resumed_at=(2, 6), precision="bf16",
        checkpoint_error="OSError: full", gate_of={"a": 60.25}, gate_blind={"a": 33.0}, **COMMON,
    ),
    MergeRecord(weights=(0.5, 0.5), **COMMON),
    AverageRecord(dev=61.0, precision="fp32", runs=3, **COMMON),
    PredictRecord(precision="fp32", hidden_layer=2, pooling="mean", mining={"de": Mined(1, [0.5, 1.5], [7.0, 9.0])},
                  **COMMON),
    ScoreRecord(**COMMON),
]  # fmt: skip

#: A manifest of before trainings were tried again, as it was written.
OLD = """{"attempt": "host-1-2~3", "files": {}, "sizes": {}, "meta": {"dev": 71.5, "best_step": 40, "steps": 50,
"steps_of": {"mini-nli": 50}, "examples": 400, "tokens": 9000, "flops": 1.25e+12, "precision": "bf16", "kind": "train",
"label": "bundled/e5-small@6 seed 1: train mini-nli", "seconds": 12.5, "peak_memory": 734003200}}"""


def test_each_kind_of_stage_has_a_record_that_is_read_as_it_was_written() -> None:
    assert [record.kind for record in WRITTEN] == list(get_args(Kind))
    for record in WRITTEN:
        assert all(getattr(record, field.name) is not None for field in fields(record)), "all of its fields are tested"
        assert records.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert records.attempts(json.loads(json.dumps(WRITTEN[2].to_json()["attempts"]))) == list(ATTEMPTS)


def test_what_is_not_known_is_not_written() -> None:
    assert ScoreRecord(label="a", seconds=1.0).to_json() == {"kind": "score", "label": "a", "seconds": 1.0}


def publish(store: Store, **meta: Any) -> None:
    with store.publish("ab") as (_, own):
        own |= meta


def test_a_manifest_of_an_earlier_version_opens(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store)
    (manifest,) = tmp_path.glob("artifacts/ab/ab/manifest.json")
    manifest.write_text(OLD)
    assert records.peek(store, "ab") == TrainRecord(
        dev=71.5, best_step=40, steps=50, steps_of={"mini-nli": 50}, examples=400, tokens=9000, flops=1.25e12,
        precision="bf16", label="bundled/e5-small@6 seed 1: train mini-nli", seconds=12.5, peak_memory=734003200,
    )  # fmt: skip
    assert records.peek(store, "cd") is None


def test_what_a_newer_version_adds_is_passed_over(tmp_path: Path) -> None:
    publish(store := Store(tmp_path), **ScoreRecord(label="a").to_json(), colour="blue")
    assert records.peek(store, "ab") == ScoreRecord(label="a")


@pytest.mark.parametrize("meta", [{}, {"kind": "dream"}, {"kind": "average", "dev": 1.0, "precision": "fp32"}])
def test_what_is_no_record_is_one_line(meta: dict[str, Any], tmp_path: Path) -> None:
    publish(store := Store(tmp_path), **meta)
    with pytest.raises(StoreError, match=r"the record of ab cannot be read \(.*; remove its folder, then run") as error:
        records.peek(store, "ab")
    assert "\n" not in str(error.value)
