"""Answer retrieval without a model: average precision, and what an example says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts import data
from xstilts.common.errors import UserError
from xstilts.data.problems import Problems
from xstilts.data.readers import Source, read
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats.answer_retrieval import FIRST, FORMAT, AnswerRetrievalExample, average_precision
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.task import Files

LAREQA = builtin_catalog()["lareqa"]


def example(
    id: str = "q", answer: int | None = 0, sentences: tuple[str, ...] = ("One.", "Two.")
) -> AnswerRetrievalExample:
    return AnswerRetrievalExample(id, "Which?", sentences, answer)


# -- average precision ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranks", "of_all", "of_twenty"),
    [
        ([1], 1, 1),
        ([1, 2, 3, 4], 1, 1),  # nothing but answers in front
        ([1, 3, 6], (1 + 2 / 3 + 3 / 6) / 3, (1 + 2 / 3 + 3 / 6) / 3),
        ([6, 1, 3], (1 + 2 / 3 + 3 / 6) / 3, (1 + 2 / 3 + 3 / 6) / 3),
        ([20, 21], (1 / 20 + 2 / 21) / 2, 1 / 20 / 2),  # the second is beyond
        ([2, 2], (2 / 2 + 2 / 2) / 2, 1),  # as near as each other, and as nothing else
        ([4, 4], (2 / 4 + 2 / 4) / 2, 1 / 2),  # as near as each other and as two that are wrong
        (list(range(1, 31)), 1, 1),  # of thirty answers twenty can be among twenty
        ([21], 1 / 21, 0),
        ([], 0, 0),
    ],
)
def test_average_precision_is_as_worked_out_by_hand(ranks: list[int], of_all: float, of_twenty: float) -> None:
    assert average_precision(ranks) == pytest.approx(of_all)
    assert average_precision(ranks, FIRST) == pytest.approx(of_twenty)


NEARNESS = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40).filter(
    lambda candidates: any(relevant for _, relevant in candidates)
)


@given(NEARNESS)
def test_average_precision_is_the_area_in_steps_under_precision_over_recall(candidates: list[tuple[int, bool]]) -> None:
    """scikit-learn's definition: Σ (Rₙ − Rₙ₋₁) · Pₙ over thresholds n."""
    relevant = sum(right for _, right in candidates)
    expected, recall = 0.0, 0.0
    for threshold in sorted({near for near, _ in candidates}, reverse=True):
        taken = [right for near, right in candidates if near >= threshold]
        expected += (sum(taken) / relevant - recall) * sum(taken) / len(taken)
        recall = sum(taken) / relevant
    ranks = [sum(other >= near for other, _ in candidates) for near, right in candidates if right]
    assert average_precision(ranks) == pytest.approx(expected)


@given(st.sets(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 30))
def test_of_the_first_k_it_is_the_mean_precision_at_each_answer_among_them(ranks: set[int], k: int) -> None:
    found, total = 0, 0.0
    for rank in range(1, k + 1):
        if rank in ranks:
            found += 1
            total += found / rank
    assert average_precision(sorted(ranks), k) == pytest.approx(total / min(len(ranks), k))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=11, unique=True), st.integers(0, 10))
def test_an_answer_that_comes_nearer_never_lowers_it(ranks: list[int], which: int) -> None:
    which %= len(ranks)
    nearer = [rank - (at == which and rank - 1 not in ranks and rank > 1) for at, rank in enumerate(ranks)]
    for first in (None, FIRST):
        assert 0 <= average_precision(ranks, first) <= average_precision(nearer, first) <= 1


# -- scores ---------------------------------------------------------------------------------------------------------


def test_each_question_counts_once_by_the_trained_model() -> None:
    scored = FORMAT.score([example("a"), example("b")], ["1 3", "30"], LAREQA, "en")
    assert scored == {"map": [((1 + 2 / 3) / 2, 1.0), (1 / 30, 1.0)], "map20": [((1 + 2 / 3) / 2, 1.0), (0.0, 1.0)]}


def test_where_nothing_is_trained_each_block_has_its_scores() -> None:
    scored = FORMAT.score([example("a"), example("b")], ["2\t1\t2", "4\t5\t4"], LAREQA, "en")
    assert list(scored) == ["map", "map20", "map@0", "map20@0", "map@1", "map20@1"]
    assert scored["map"] == scored["map@1"] == [(0.5, 1.0), (0.25, 1.0)]
    assert scored["map20@0"] == [(1.0, 1.0), (0.2, 1.0)]


def test_the_majority_puts_sentences_first_that_answer_most_questions() -> None:
    passage, other = ("One.", "Two."), ("Three.",)
    examples = [example("a", 1, passage), example("b", 0, other), example("c", 1, passage), example("d", 0, passage)]
    assert FORMAT.majority(examples, LAREQA) == ["1", "2", "1", "3"]


# -- examples -------------------------------------------------------------------------------------------------------


def test_translations_of_question_and_sentences_keep_the_place_of_the_answer() -> None:
    one = AnswerRetrievalExample("q", "Where?", ("Here.", "There."), 1)
    assert one.texts == ("Where?", "Here.", "There.")
    assert one.with_texts(("Wo?", "Hier.", "Dort."), ()) == AnswerRetrievalExample("q", "Wo?", ("Hier.", "Dort."), 1)


def test_a_question_on_the_same_passage_as_one_of_squad_is_known_again() -> None:
    span = SpanExample("x", "One is odd. Two is even.", "Which is odd?", ())
    own = AnswerRetrievalExample("y", "Which is odd?", ("One is odd.", "Two is even."), 0)
    assert [(trace.kind, trace.language, trace.texts) for trace in own.traces("en")] == [
        (trace.kind, trace.language, trace.texts) for trace in span.traces("en")
    ]


# -- files ----------------------------------------------------------------------------------------------------------

PARAGRAPH: dict[str, Any] = {
    "context": "Dr. No is odd. Two is even. Three",
    "qas": [
        {"id": "a", "question": "Who is odd?", "answers": [{"text": "No", "answer_start": 4}]},
        {"id": "b", "question": "What is even?", "answers": [{"text": "Two", "answer_start": 15}]},
        {"id": "c", "question": "What is it?", "answers": []},
    ],
}


def sentences_of(paragraph: dict[str, Any], folder: Path) -> list[AnswerRetrievalExample]:
    path = folder / "en.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    return read(Source((path,), Files(reader="squad_sentences"), "en"), Problems())  # type: ignore[return-value]


def test_sentences_are_cut_as_english_ones_where_the_file_does_not_say(tmp_path: Path) -> None:
    found = sentences_of(PARAGRAPH, tmp_path)
    assert {one.sentences for one in found} == {("Dr. No is odd.", "Two is even.", "Three")}
    assert [(one.id, one.answer, one.has_gold) for one in found] == [("a", 0, True), ("b", 1, True), ("c", None, False)]


def test_sentences_are_the_files_own_where_it_says_and_an_answer_between_them_is_passed_over(tmp_path: Path) -> None:
    found = sentences_of({**PARAGRAPH, "sentence_breaks": [[0, 14], [28, 33]]}, tmp_path)
    assert [(one.id, one.sentences, one.answer) for one in found] == [
        ("a", ("Dr. No is odd.", "Three"), 0), ("c", ("Dr. No is odd.", "Three"), None),
    ]  # fmt: skip


@pytest.mark.parametrize("breaks", [7, ["x"], [[0]], [[0, "1"]], {"0": 1}])
def test_breaks_that_are_none_are_told(breaks: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="id a: `sentence_breaks` of its paragraph are not pairs of offsets"):
        sentences_of({**PARAGRAPH, "sentence_breaks": breaks}, tmp_path)


@pytest.mark.realdata
def test_xquad_r_has_the_candidates_that_its_authors_count(real_data: Path) -> None:
    """The table in the README of google-research-datasets/lareqa."""
    for language, count in {"de": 1276, "en": 1180, "es": 1215, "zh": 1196}.items():
        examples = data.load(LAREQA, "test", language, real_data)
        passages = {one.sentences for one in examples}  # type: ignore[attr-defined]
        assert len(examples) == 1190 and all(one.has_gold for one in examples) and len(passages) == 240
        assert sum(map(len, passages)) == count


@pytest.mark.realdata
def test_english_sentences_are_cut_as_xquad_rs_nearly_always(real_data: Path, tmp_path: Path) -> None:
    document = json.loads((real_data / "xquad-r" / "en.json").read_text())
    theirs = {(p["context"], tuple(b)) for a in document["data"] for p in a["paragraphs"] for b in p["sentence_breaks"]}
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            del paragraph["sentence_breaks"]
    path = tmp_path / "en.json"
    path.write_text(json.dumps(document))
    own = read(Source((path,), Files(reader="squad_sentences"), "en"), Problems())
    texts = {sentence for one in own for sentence in one.sentences}  # type: ignore[attr-defined]
    assert sum(context[start:end] in texts for context, (start, end) in theirs) > 0.96 * len(theirs)
