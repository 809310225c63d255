"""Labels go by name from the task that a model is trained on to the one that it answers, whatever their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from xstilts.common.errors import UserError
from xstilts.common.progress import silent
from xstilts.planning.labels import named, notes
from xstilts.planning.plan import Plan, Predict
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
from xstilts.tasks.task import Files, Task

MOODS = ("negative", "mixed", "positive")
ROWS = [(f"The {thing} was {word}", mood) for thing in ("film", "book", "chair", "hotel")
        for word, mood in zip(("awful", "ordinary", "great"), MOODS, strict=True)]  # fmt: skip

NAMES = {"negative": "bad", "positive": "good"}


def task(name: str, labels: tuple[str, ...], **fields: Any) -> Task:
    return Task(
        name=name, format="classification", description="", languages=("en",), metric="accuracy", labels=labels,
        files=Files(reader="records", train=name), licence="", citation="", **fields,
    )  # fmt: skip


TRAINED = task("mood", MOODS)


def test_the_training_tasks_list_decides_the_ids() -> None:
    assert named(task("again", MOODS[::-1], train="mood"), TRAINED) == MOODS
    mapped = task("two", ("bad", "good"), train="mood", label_map=dict(zip(MOODS, ("bad", "bad", "good"), strict=True)))
    assert named(mapped, TRAINED) == ("bad", "bad", "good")
    swapped = task("swapped", MOODS, train="mood", label_map={"negative": "positive", "positive": "negative"})
    assert named(swapped, TRAINED) == MOODS[::-1]
    assert not [*notes(swapped, TRAINED)]


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        (("no", "yes"), {}, r"other: has labels no, yes; mood, which .*, negative, mixed, positive: .*'negative'"),
        (MOODS[:2], {}, "predictions of 'positive' would mean nothing"),
        ((*MOODS, "unclear"), {}, "'unclear' is never learnt"),
        (MOODS, {"label_map": {"negatve": "mixed"}}, "mood has no label 'negatve'; did you mean 'negative'"),
    ],
)
def test_names_that_say_nothing_to_the_other_task_are_refused(
    labels: tuple[str, ...], fields: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        named(task("other", labels, train="mood", **fields), TRAINED)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Targets trained on mood that have its labels in its order, in others, and under other names."""
    folder = tmp_path_factory.mktemp("moods")
    (folder / "data").mkdir()
    for split in ("train", "dev", "test"):
        rows = "".join(f"{text}, {split}\t{mood}\n" for text, mood in ROWS)
        (folder / "data" / f"{split}.tsv").write_text(rows)
        (folder / "data" / f"{split}-two.tsv").write_text(rows.replace("negative", "bad").replace("positive", "good"))
    entries: dict[str, dict[str, Any]] = {
        "mood": {"labels": [*MOODS]},
        "same": {"labels": [*MOODS], "train": "mood"},
        "again": {"labels": ["positive", "negative", "mixed"], "train": "mood"},
        "named": {"labels": ["good", "bad", "mixed"], "train": "mood", "label_map": NAMES},
    }
    for name, fields in entries.items():
        files = {"reader": "tsv", "columns": ["premise", "label"], "test": "test.tsv"}
        files |= {"train": "train.tsv", "dev": "dev.tsv"} if name == "mood" else {}
        files |= {"test": "test-two.tsv"} if name == "named" else {}
        entry = {"name": name, "format": "classification", "description": "-", "languages": ["en"],
                 "metric": "accuracy", "files": files, "licence": "-", "citation": "-", **fields}  # fmt: skip
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    study = {"name": "s", "data": "data", "tasks": [f"{name}.yaml" for name in entries], "recipes": ["none"],
             "encoders": ["bundled/e5-small@1"], "targets": [*entries], "seeds": [1],
             "training": {"epochs": 12, "batch_size": 4, "learning_rate": 5e-4, "dropout": "none"}}  # fmt: skip
    return make_plan(make_study(study, folder))


def of(planned: Plan, target: str) -> str:
    """The key of a target's predictions."""
    return next(cell.predictions for cell in planned.cells if cell.target.task == target)


def test_a_model_gives_the_same_labels_whatever_the_order_they_are_listed_in(planned: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path)
    predicted = {}
    for key, stage in planned.stages.items():
        run_stage(stage, store, silent)
        if isinstance(stage.spec, Predict):
            with store.files(key) as folder:
                predicted[key] = pl.read_parquet(folder / "predictions.parquet")["prediction"].to_list()
    mood = predicted[of(planned, "mood")]
    assert predicted[of(planned, "same")] == predicted[of(planned, "again")] == mood and len({*mood}) > 1
    assert predicted[of(planned, "named")] == [NAMES.get(label, label) for label in mood]


def test_only_a_decoding_that_changed_has_another_key(planned: Plan) -> None:
    """Predictions of before are right where the lists were equal, and are used again."""
    keys = {name: of(planned, name) for name in ("mood", "same", "again", "named")}
    assert keys["mood"] == keys["same"] and len({*keys.values()}) == 3


def test_all_that_is_wrong_with_labels_data_and_encoders_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = "".join(f"{text}\t{mood}\n" for text, mood in ROWS)
    for split in ("train", "dev", "test"):
        (tmp_path / "data" / f"{split}.tsv").write_text(rows.replace("The", f"{split}: The"))
    entries: dict[str, dict[str, Any]] = {
        "mood": {"labels": [*MOODS]},
        "other": {"labels": ["no", "yes"], "train": "mood"},
        "misspelt": {"labels": [*MOODS], "train": "mood", "label_map": {"negatve": "mixed"}},
        "lost": {"labels": [*MOODS]},
    }
    for name, fields in entries.items():
        files = {"reader": "tsv", "columns": ["premise", "label"], "test": "test.tsv"}
        files |= {"train": f"{'gone' if name == 'lost' else 'train'}.tsv", "dev": "dev.tsv"}
        entry = {"name": name, "format": "classification", "description": "-", "languages": ["en"],
                 "metric": "accuracy", "files": files, "licence": "-", "citation": "-", **fields}  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    study = {"name": "s", "data": "data", "tasks": [f"{name}.yaml" for name in entries], "recipes": ["none"],
             "encoders": ["bundled/e5-small@1", "./no-folder"], "targets": [*entries], "seeds": [1]}  # fmt: skip
    with pytest.raises(UserError) as told:
        make_plan(make_study(study, tmp_path))
    lines = str(told.value).splitlines()
    assert len(lines) == 5
    for wrong in ("no-folder", "targets: other: ", "targets: misspelt: ", "test.tsv:1: ", "gone.tsv"):
        assert sum(wrong in line for line in lines) == 1, lines
