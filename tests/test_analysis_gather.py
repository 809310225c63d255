"""From the store to the tables of a study."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from xstilts.analysis.gather import gather
from xstilts.planning.plan import Score
from xstilts.planning.planner import make_plan
from xstilts.planning.records import PredictRecord, ScoreRecord
from xstilts.planning.study import make_study
from xstilts.running import scoring
from xstilts.store import Store


def squad(passages: dict[str, list[str]]) -> str:
    """A SQuAD file: passage → ids of its questions, whose answer is its first word."""
    paragraphs = [
        {"context": passage, "qas": [{"id": id, "question": f"What is {id}?", "answers": [
            {"text": passage.split()[0], "answer_start": 0}]} for id in ids]}
        for passage, ids in passages.items()
    ]  # fmt: skip
    return json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]})


def test_the_passages_of_questions_come_from_the_data_and_are_the_same_in_all_languages(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "squad").mkdir(parents=True)
    (data / "xquad").mkdir()
    train = {f"Answer {i} is here": [f"t{i}"] for i in range(4)}
    for name in ("train", "dev"):
        (data / "squad" / f"{name}-v1.1.json").write_text(squad({f"{name} {text}": ids for text, ids in train.items()}))
    (data / "xquad" / "xquad.de.json").write_text(squad({"Bonn liegt": ["a", "b"], "Ulm auch": ["c"]}))
    (data / "xquad" / "xquad.ru.json").write_text(squad({"Bonn ist": ["a", "b"], "Ulm ist": ["c"]}))
    study = make_study({
        "name": "passages", "encoders": ["bundled/e5-small@1"], "recipes": ["none"], "targets": ["xquad"], "seeds": [1],
        "data": str(data), "training": {"precision": "fp32"},
    })  # fmt: skip
    planned, store = make_plan(study), Store(tmp_path / "store")
    (stage,) = (stage for stage in planned.stages.values() if isinstance(stage.spec, Score))
    assert isinstance(stage.spec, Score)
    rows = [(ref.language, id, "Bonn") for ref in stage.spec.sets for id in "abc"]
    with store.publish(stage.spec.predictions) as (folder, meta):
        meta |= PredictRecord(precision="fp32").to_json()
        pl.DataFrame(rows, schema=["language", "id", "prediction"], orient="row").write_parquet(
            folder / "predictions.parquet"
        )
    with store.publish(stage.key) as (folder, meta):
        meta |= ScoreRecord().to_json()
        said = scoring.score(stage.spec, store, folder)
    assert said.values["score"] == pytest.approx(100 * 2 / 3) and "mean of 2 languages, English left out" in said.text
    found = gather(planned, store).outcomes.sort("language", "id")
    assert found.select("language", "id", "group").rows() == [
        (language, id, group) for language in ("de", "ru") for id, group in (("a", "a"), ("b", "a"), ("c", None))
    ]
