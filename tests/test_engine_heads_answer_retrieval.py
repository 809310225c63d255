"""Answer retrieval with a model: rows, loss and ranks, and a study from files to scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from xstilts.analysis.gather import gather
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, bundled
from xstilts.encoders.load import load_tokenizer
from xstilts.engine.heads.answer_retrieval import HEAD, QUESTION, SCALE, Pool
from xstilts.engine.rows import Row, pad, padded
from xstilts.planning.hyperparameters import Lengths
from xstilts.planning.plan import Plan, Predict
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats.answer_retrieval import FORMAT, OTHERS, AnswerRetrievalExample

LAREQA = builtin_catalog()["lareqa"]
LENGTHS = Lengths(32, 8, 8)
NUMBERS = ("One is odd.", "Two is even.", "Three is odd too.")
MANY = tuple(f"This is sentence {n}." for n in range(OTHERS + 4))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(Encoder(bundled.NAME))


def question(id: str, answer: int | None, sentences: tuple[str, ...]) -> AnswerRetrievalExample:
    return AnswerRetrievalExample(id, f"What is asked by {id}?", sentences, answer)


def rows_of(tokenizer: Any, *examples: AnswerRetrievalExample, training: bool) -> list[Row]:
    return HEAD.make_rows(examples, LAREQA, tokenizer, LENGTHS, training=training)


def texts_of(tokenizer: Any, row: Row) -> list[str]:
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in row.sequences]


# -- rows -----------------------------------------------------------------------------------------------------------


def test_a_question_is_trained_against_the_sentences_around_its_answer(tokenizer: Any) -> None:
    few, many = rows_of(tokenizer, question("a", 1, NUMBERS), question("b", 7, MANY), training=True)
    assert texts_of(tokenizer, few) == ["What is asked by a?", NUMBERS[1], NUMBERS[0], NUMBERS[2], *[""] * (OTHERS - 2)]
    assert texts_of(tokenizer, many) == ["What is asked by b?", *(MANY[n] for n in (7, 6, 8, 5, 4, 3))]
    assert len(few.sequences) == len(many.sequences) == OTHERS + 2 and few.target == many.target == [0]


def test_nothing_is_learnt_of_a_passage_of_one_sentence_or_without_gold(tokenizer: Any) -> None:
    assert not rows_of(tokenizer, question("a", 0, NUMBERS[:1]), question("b", None, NUMBERS), training=True)


def test_the_sentences_of_a_passage_are_read_once(tokenizer: Any) -> None:
    examples = [question("a", 1, NUMBERS), question("b", 0, NUMBERS), question("c", 0, NUMBERS[:1])]
    rows = rows_of(tokenizer, *examples, training=False)
    assert [(row.example, *row.window) for row in rows] == [
        (0, QUESTION), (0, 0), (0, 1), (0, 2), (1, QUESTION), (2, QUESTION), (2, 0),
    ]  # fmt: skip
    assert [text for row in rows for text in texts_of(tokenizer, row)][1:4] == list(NUMBERS)


# -- loss -----------------------------------------------------------------------------------------------------------


class Model:
    """Gives each token the vector of its id, and remembers what it read."""

    def __init__(self, size: int) -> None:
        self.vectors = torch.randn(size, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
        self.read: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor) -> Any:
        self.read.append(attention_mask)
        return type("Outputs", (), {"last_hidden_state": self.vectors[input_ids]})


def loss_of(model: Model, rows: Sequence[Row]) -> torch.Tensor:
    return HEAD.loss(model, pad(rows, 1) | HEAD.targets(rows, padded(max(row.length for row in rows))))


def test_the_loss_is_the_cross_entropy_of_the_answer_among_the_sentences_of_its_passage(tokenizer: Any) -> None:
    rows = rows_of(tokenizer, question("a", 1, NUMBERS), question("b", 7, MANY), training=True)
    model = Model(len(tokenizer))
    expected = []
    for row in rows:
        means = [model.vectors[torch.from_numpy(ids)].mean(0) for ids in row.sequences if len(ids)]
        asked, *sentences = [mean / mean.norm() for mean in means]
        cosines = torch.stack([asked @ sentence for sentence in sentences])
        expected.append(-torch.log_softmax(SCALE * cosines, 0)[0])
    torch.testing.assert_close(loss_of(model, rows), torch.stack(expected).mean())
    assert model.read[0].any(1).all() and len(model.read[0]) == 4 + OTHERS + 2  # empty sequences are not read
    with torch.autocast("cpu", torch.bfloat16):  # cosines keep their digits
        torch.testing.assert_close(loss_of(model, rows), torch.stack(expected).mean())


def test_a_divided_batch_has_the_same_loss(tokenizer: Any) -> None:
    rows = rows_of(tokenizer, *(question(str(n), n, MANY) for n in range(4)), training=True)
    model = Model(len(tokenizer))
    parts = [loss_of(model, rows[at : at + 2]) for at in (0, 2)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss_of(model, rows))


# -- ranks ----------------------------------------------------------------------------------------------------------


def test_answers_are_ranked_among_the_sentences_of_all_sets(tokenizer: Any) -> None:
    """A passage whose sentences stand twice in the rows, as at the edge of two chunks, has them once."""
    english = [question("a", 1, NUMBERS), question("b", 0, NUMBERS), question("c", None, MANY)]
    german = [question("a", 0, ("Zwei ist gerade.", "Eins nicht.")), question("only", 0, ("Nein.",))]
    sets = []
    for examples in (english, german):
        rows = rows_of(tokenizer, *examples, training=False)
        again = rows_of(tokenizer, examples[0], training=False)[1:]
        sets.append((examples, [*rows, *again]))
    random = np.random.default_rng(3)
    vectors = [random.normal(size=(len(rows), 5)).astype(np.float16) for _, rows in sets]
    pool = Pool(sets)
    expected, candidates = [], []
    for (examples, rows), own in zip(sets, vectors, strict=True):
        met = set()
        for row, vector in zip(rows, own, strict=True):
            example, n = examples[row.example], int(row.window[0])
            if n != QUESTION and (example.sentences, n) not in met:
                met.add((example.sentences, n))
                candidates.append(
                    (vector, {e.id for e in examples if (e.sentences, e.answer) == (example.sentences, n)})
                )
    assert len(candidates) == 3 + len(MANY) + 2 + 1
    for (examples, rows), own in zip(sets, vectors, strict=True):
        for i, example in enumerate(examples):
            asked = next(own[j] for j, row in enumerate(rows) if (row.example, *row.window) == (i, QUESTION))
            near = [float(asked.astype(np.float32) @ vector.astype(np.float32)) for vector, _ in candidates]
            ranks = [sum(other >= own for other in near) for own, (_, ids) in zip(near, candidates, strict=True)
                     if example.id in ids]  # fmt: skip
            expected.append(ranks)
    found = [
        [int(rank) for rank in ranks.split()]
        for of_set in pool.ranks([v.__getitem__ for v in vectors])
        for ranks in of_set
    ]
    assert found == expected
    assert [len(ranks) for ranks in found] == [2, 1, 0, 2, 1]


# -- from files to scores -------------------------------------------------------------------------------------------


def plan(data: Path, *targets: dict[str, Any], **study: Any) -> Plan:
    return make_plan(
        make_study(
            {
                "name": "answers", "encoders": ["bundled/e5-small@2"], "recipes": ["none"], "seeds": [1],
                "targets": list(targets), "data": str(data),
                "training": {"precision": "fp32", "max_train_examples": 32, "max_dev_examples": 16}, **study,
            }
        )
    )  # fmt: skip


@pytest.mark.realdata
def test_a_study_scores_questions_of_each_language_among_the_sentences_of_all(real_data: Path, tmp_path: Path) -> None:
    planned, store = (
        plan(
            real_data,
            {"task": "lareqa", "languages": ["en", "zh"], "max_examples": 12},
            {"task": "lareqa-untrained", "languages": ["en", "zh"], "max_examples": 12, "hidden_layer": "last"},
        ),
        Store(tmp_path / "store"),
    )
    for stage in planned.stages.values():
        run_stage(stage, store, lambda *_: None)
    scores = gather(planned, store).scores
    assert scores["n"].unique().to_list() == [12]
    trained, untrained = (scores.filter(target=name) for name in ("lareqa", "lareqa-untrained"))
    assert trained.select("language", "metric").rows() == [
        (language, metric) for language in ("en", "zh") for metric in ("map", "map20")
    ]
    assert trained["hidden_layer"].null_count() == trained.height and trained["dev"].min() > 0  # type: ignore[operator]
    by_block = {(row["language"], row["metric"]): row for row in untrained.iter_rows(named=True)}
    assert {metric for _, metric in by_block} == {
        "map",
        "map20",
        *(f"{m}@{n}" for m in ("map", "map20") for n in range(3)),
    }
    assert {row["hidden_layer"] for row in by_block.values()} == {0, 1, 2}
    for language in ("en", "zh"):
        assert by_block[language, "map"]["value"] == by_block[language, "map@2"]["value"] > 0
    for stage in planned.stages.values():
        if isinstance(stage.spec, Predict):
            table = pl.read_parquet(store.read(stage.key, "predictions.parquet"))
            ranks = [by.split() for row in table["prediction"] for by in row.split("\t")]
            assert {len(each) for each in ranks} == {2}  # an answer in each language, among those of both
            assert any(max(map(int, each)) > 60 for each in ranks)


@pytest.mark.realdata
@pytest.mark.soak
def test_what_was_trained_goes_on_to_other_tasks_and_is_selected_on_english(real_data: Path, tmp_path: Path) -> None:
    planned, store = plan(
        real_data,
        {"task": "tatoeba", "languages": ["de"], "max_examples": 20},
        {"task": "lareqa", "languages": ["de"], "max_examples": 6},
        recipes=["none", "lareqa", "squad"], average={"checkpoints": 2},
    ), Store(tmp_path / "store")  # fmt: skip
    for stage in planned.stages.values():
        run_stage(stage, store, lambda *_: None)
    scores = gather(planned, store).scores.filter("main")
    assert set(scores.filter(target="tatoeba")["recipe"]) == {"none", "lareqa", "squad"}
    assert len(set(scores.filter(target="lareqa")["recipe"])) == 6  # each also averaged


def test_only_where_nothing_is_trained_a_block_may_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="targets: lareqa: hidden_layer is for tasks on which nothing is trained"):
        plan(tmp_path, {"task": "lareqa", "hidden_layer": 3})
    assert FORMAT.comparison == "cosine"
