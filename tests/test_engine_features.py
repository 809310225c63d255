"""Rows are read back as they were written, from a cache that knows when it holds them and never holds half of them."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.data import fingerprint
from xstilts.encoders import Encoder, bundled
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import features, heads
from xstilts.engine.features import Features, Renumbered, cache_of, cached
from xstilts.engine.heads import span
from xstilts.engine.rows import Row
from xstilts.planning.data_ref import DataRef
from xstilts.planning.hyperparameters import Hyperparameters, Lengths
from xstilts.store import Store
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.mlm import TextExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import Task

numbers = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    typed = draw(st.booleans())
    made = []
    for _ in range(draw(st.integers(0, 6))):
        sequences = draw(st.lists(numbers, min_size=1, max_size=3))
        types = [[i % 2 for i in range(len(ids))] for ids in sequences] if typed else None
        target, window = (draw(st.none() | st.lists(st.integers(0, 99), min_size=1, max_size=4)) for _ in range(2))
        made.append(Row(draw(st.integers(0, 10**6)), sequences, types, target, window))
    return made


def plain(row: Row) -> list[object]:
    def lists(arrays: object) -> object:
        return None if arrays is None else [np.asarray(array).tolist() for array in arrays]  # type: ignore[attr-defined]

    return [row.example, *map(lists, (row.sequences, row.type_ids, row.target, row.window))]


@settings(deadline=None)
@given(rows())
def test_rows_are_read_back(made: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        features.write(iter(made), Path(folder))
        read = Features(Path(folder))
    assert len(read) == len(made)
    assert [plain(row) for row in read] == [plain(row) for row in made]
    assert [plain(row) for row in read[1:]] == [plain(row) for row in made[1:]]
    if made:
        assert plain(read[-1]) == plain(made[-1])


def test_token_ids_are_looked_up_in_the_mapping() -> None:
    rows = Renumbered([Row(3, [[0, 2], [4]], target=[1])], np.array([0, -1, 1, -1, 2]))
    assert [ids.tolist() for ids in rows[0].sequences] == [[0, 1], [2]]
    assert (len(rows), rows[0].example, rows[0].target.tolist()) == (1, 3, [1])


# -- the cache ------------------------------------------------------------------------------------------------------

ROWS = [Row(i, [[i, i + 1, i + 2]], target=[i], window=[0, i]) for i in range(100)]


def never() -> Iterable[Row]:
    raise AssertionError("made again")


def published(store: Store) -> list[Path]:
    return sorted(Path(cache_of(store).root, "artifacts").glob("*/*/manifest.json"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_one_process_made_another_reads(store: Store) -> None:
    other = multiprocessing.get_context("fork").Process(target=assert_read, args=(lambda: ROWS, store))
    other.start()
    other.join()
    assert_read(never, store)
    (manifest,) = published(store)
    assert json.loads(manifest.read_text())["meta"] == {"label": "a label"}


def test_a_store_knows_nothing_of_its_features(store: Store) -> None:
    cached("content", "", lambda: ROWS, store)
    assert list(Path(store.root, "artifacts").iterdir()) == []


def test_beside_a_remote_store_features_are_in_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached("content", "", lambda: ROWS, Store("memory://features-test"))
    assert list(tmp_path.glob("xstilts/features/artifacts/*/*/*/ids.int32"))


@pytest.mark.parametrize("damage", [lambda old: old[:-4], lambda old: b"\0" * len(old)], ids=["cut", "zeros"])
def test_a_damaged_column_is_made_again(store: Store, damage: Callable[[bytes], bytes]) -> None:
    cached("content", "", lambda: ROWS, store)
    (column,) = published(store)[0].parent.glob("*/ids.int32")
    column.write_bytes(damage(column.read_bytes()))
    assert_read(lambda: ROWS, store)
    assert_read(never, store)


def test_of_a_process_killed_while_it_writes_nothing_is_read_and_nothing_stays(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    halfway = context.Event()

    def stop_halfway() -> Iterator[Row]:
        yield from ROWS[:50]
        halfway.set()
        signal.pause()

    child = context.Process(target=lambda: cached("content", "", stop_halfway, store))
    child.start()
    assert halfway.wait(30) and child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    scratch = Path(cache_of(store).root, "tmp")
    assert published(store) == [] and list(scratch.iterdir()) != []
    assert_read(lambda: ROWS, store)
    assert list(scratch.iterdir()) == []


def test_processes_that_make_the_same_rows_at_the_same_time_agree(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(3)

    def make() -> Iterator[Row]:
        yield from ROWS[:50]
        together.wait(30)  # all have found nothing there
        yield from ROWS[50:]

    children = [context.Process(target=assert_read, args=(make, store)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert_read(never, store)


def assert_read(make: Callable[[], Iterable[Row]], store: Store) -> None:
    assert [plain(row) for row in cached("content", "a label", make, store)] == [plain(row) for row in ROWS]


# -- what the key is made of ----------------------------------------------------------------------------------------

HYPER = Hyperparameters(
    epochs=1, batch_size=8, learning_rate=1e-3, warmup=0.1, weight_decay=0.01, max_length=64, doc_stride=16,
    max_query_length=32,
)  # fmt: skip
SQUAD = builtin_catalog()["squad"]


def write_squad(folder: Path, city: str = "Paris") -> None:
    paragraphs = [
        {
            "context": f"{city} is the capital of country {n}.",
            "qas": [{"id": f"q{n}", "question": "What?", "answers": [{"text": city, "answer_start": 0}]}],
        }
        for n in range(10, 20)
    ]
    (folder / "squad_v1.1").mkdir(exist_ok=True)
    (folder / "squad_v1.1" / "train-v1.1.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))


def ref_to(folder: Path, task: Task = SQUAD) -> DataRef:
    return DataRef(task, "train", "en", folder, fingerprint(task, "train", "en", folder))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever rows are made."""
    calls: list[int] = []
    make_rows = span.HEAD.make_rows

    def counted(examples: Any, *arguments: Any, **options: Any) -> list[Row]:
        calls.append(len(examples))
        return make_rows(examples, *arguments, **options)

    monkeypatch.setattr(span.HEAD, "make_rows", counted)
    return calls


def rows_of(ref: DataRef, store: Store, training: bool = True, **changes: Any) -> list[object]:
    """As a process does that has made nothing yet."""
    lengths = HYPER.model_copy(update=changes).lengths
    encoder = Encoder(bundled.NAME, layers=1)
    return [plain(row) for row in features.rows_of(ref, encoder, lengths, training=training, store=Store(store.root))]


def test_rows_are_made_anew_when_something_changes_that_decides_them_and_only_then(
    tmp_path: Path, store: Store, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_squad(tmp_path)
    ref = ref_to(tmp_path)
    first = rows_of(ref, store)
    assert len(first) == made[0] == 9  # a tenth is dev
    assert rows_of(ref_to(tmp_path), store) == first and len(made) == 1
    assert rows_of(ref, store, epochs=3, batch_size=2) == first and len(made) == 1

    changed = [
        rows_of(replace(ref, split="dev"), store),
        rows_of(replace(ref, max_examples=5), store),
        rows_of(replace(ref, excluded=frozenset({"q11"})), store),
        rows_of(ref, store, training=False),
        rows_of(ref, store, max_length=32),
        rows_of(ref, store, doc_stride=8),
        rows_of(ref, store, max_query_length=16),
    ]
    assert len(made) == 1 + len(changed)
    monkeypatch.setattr(features, "REVISION", features.REVISION + 1)
    rows_of(ref, store)
    monkeypatch.setattr(features, "version", lambda library: "0.0")
    rows_of(ref, store)
    assert len(made) == 3 + len(changed) == len(published(store))
    write_squad(tmp_path, "Lyon")
    assert rows_of(ref_to(tmp_path), store) != first and len(made) == 4 + len(changed)


def test_the_order_of_labels_decides_rows(tmp_path: Path, store: Store) -> None:
    task = builtin_catalog()["mini-nli"]
    turned = task.model_copy(update={"labels": task.labels[::-1]})
    ours, theirs = (rows_of(replace(ref_to(tmp_path, each), max_examples=4), store) for each in (task, turned))
    assert ours != theirs and len(published(store)) == 2


EXAMPLES: dict[str, list[Any]] = {
    "classification": [ClassificationExample("1", "Ana schläft.", "Ана спит.", "b"),
                       ClassificationExample("2", "猫が寝ている。", None, "a")],
    "multiple_choice": [MultipleChoiceExample("1", "Ana went home " * 20, ("and slept.", "because it rained."), 1)],
    "span": [SpanExample("1", "日本の首都は東京です。 " * 12, "首都は？", (GoldAnswer("東京", 6),)),
             SpanExample("2", "Empty of answers.", "  Why? " * 20, (), has_gold=True)],
    "tagging": [TaggingExample("1", ("Ana", "lives", "in", "Москва", ".") * 12, ("a", "b", "b", "a", "b") * 12)],
    "mlm": [TextExample("1", "Ana anaishi Dar es Salaam. " * 20)],
    "retrieval": [RetrievalExample("1", "Ana anaishi Dar es Salaam.", "Ana lives in Dar es Salaam.")],
}  # fmt: skip

#: What rows the formats make of the examples above, and the revision at which they did.
PINNED = (
    2,
    {
        "classification": "6de83e11ca961dda",
        "multiple_choice": "69fb9daff02f3c07",
        "span": "ee9ab1df5d18bdf2",
        "tagging": "3eebda539d727cec",
        "mlm": "f3acd026926b49d8",
        "retrieval": "11ed25135eafa15b",
    },
)


def test_other_rows_need_another_revision() -> None:
    """Else those that were made by older code would be read: raise `features.REVISION` and pin what is made now."""
    tokenizer = load_tokenizer(Encoder(bundled.NAME))
    task = builtin_catalog()["mini-nli"].model_copy(update={"labels": ("a", "b")})
    made = {}
    for name, examples in EXAMPLES.items():
        fmt, lengths = heads.get(name), Lengths(64, 16, 16)
        rows = [row for training in (True, False)
                for row in fmt.make_rows(examples, task, tokenizer, lengths, training=training)]  # fmt: skip
        made[name] = hashlib.sha256(json.dumps([plain(row) for row in rows]).encode()).hexdigest()[:16]
    assert (features.REVISION, made) == PINNED
