"""Contamination is found by id and by text, and nothing else is taken for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from xstilts.data import load
from xstilts.planning.overlap import EvaluationSet, Index, Overlap, TrainingSet
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats import Example
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import Files, Task


def span(id: str, context: str, question: str) -> SpanExample:
    return SpanExample(id, context, question, (GoldAnswer(context[:1], 0),))


def find(training: list[TrainingSet], evaluation: list[EvaluationSet]) -> list[Overlap]:
    index = Index(evaluation)
    return [overlap for one in training for overlap in index.compare(one).overlaps]


def drop(training: TrainingSet, evaluation: list[EvaluationSet]) -> list[Example]:
    ids = Index(evaluation).compare(training).ids
    return [example for example in training.examples if example.id not in ids]


PASSAGE = "Der Dom steht in Köln."
TRAIN = [
    span("a1", "The cathedral stands in Cologne.", "Who built it?"),
    span("a2", "The cathedral stands in Cologne.", "Where does the cathedral of Cologne stand?"),
    span("b1", "Rivers flow.", "Who was he?"),
]


def test_nothing_in_common_is_an_empty_list() -> None:
    assert (
        find([TrainingSet("squad", "train", TRAIN)], [EvaluationSet("xquad", "en", [span("c", "Other.", "Who?")])])
        == []
    )
    assert find([], []) == find([TrainingSet("squad", "train", TRAIN)], []) == []


def test_ids_compare_across_languages_and_texts_within_one() -> None:
    german = [span("a1", PASSAGE, "Wer hat ihn gebaut?"), span("x", TRAIN[0].context, "Was steht dort?")]
    (overlap,) = find([TrainingSet("squad", "dev", TRAIN)], [EvaluationSet("xquad", "de", german)])
    assert (overlap.examples, overlap.by_id, overlap.by_text, overlap.texts, overlap.first) == (1, 1, 0, {}, "a1")
    (overlap,) = find([TrainingSet("squad", "dev", TRAIN)], [EvaluationSet("xquad", "en", german)])
    assert (overlap.examples, overlap.by_id, overlap.by_text, overlap.texts) == (2, 1, 1, {"passage": 1})
    assert str(overlap) == (
        "squad dev and xquad (en) share 2 of 2 examples (1 by id, 1 by text: 1 passage), the first a1 (id)"
    )


def test_of_a_pair_of_languages_the_passage_is_in_the_first_and_the_question_in_the_second() -> None:
    asked = [span("x", PASSAGE, TRAIN[1].question), span("y", TRAIN[0].context, "Wo steht der Dom zu Köln denn?")]
    (overlap,) = find([TrainingSet("squad", "train", TRAIN)], [EvaluationSet("mlqa-cross", "de-en", asked)])
    assert (overlap.examples, overlap.texts) == (1, {"question": 1})
    (overlap,) = find([TrainingSet("squad", "train", TRAIN)], [EvaluationSet("mlqa-cross", "en-de", asked)])
    assert (overlap.examples, overlap.texts) == (1, {"passage": 1})


def test_row_numbers_are_no_ids() -> None:
    rows = [ClassificationExample("1", "a", "b", "0")]
    assert (
        find(
            [TrainingSet("mnli", "train", rows)],
            [EvaluationSet("xnli", "de", [ClassificationExample("1", "c", "d", "0")])],
        )
        == []
    )


def test_a_question_counts_from_five_words_on() -> None:
    other = [
        span("n1", "Elsewhere.", "Who built it?"),
        span("n2", "Elsewhere.", "where does the cathedral of Cologne stand"),
    ]
    (overlap,) = find([TrainingSet("squad", "train", TRAIN)], [EvaluationSet("xquad", "en", other)])
    assert (overlap.first, overlap.texts, overlap.by_id) == ("n2", {"question": 1}, 0)
    assert "question 'where does the cathedral of Cologne stand'" in str(overlap)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("The cathedral stands in Cologne.", "The  cathedral\u00a0stands in COLOGNE"),
        ("It's “old” – very old.", 'It \'s " old " - very old .'),
        ("ﬁve Ⅳ Straße", "five IV STRASSE"),
        ("zero\u200bwidth", "zerowidth"),
    ],
)
def test_texts_match_whatever_their_quotes_case_and_tokens(one: str, same: str) -> None:
    train, evaluation = [span("a", one, "Who?")], [span("b", same, "What?")]
    assert find([TrainingSet("squad", "train", train)], [EvaluationSet("xquad", "en", evaluation)])


def test_vowel_signs_are_no_punctuation() -> None:
    train, evaluation = [span("a", "कि", "?")], [span("b", "की", "?")]
    assert not find([TrainingSet("t", "train", train, "hi")], [EvaluationSet("t", "hi", evaluation)])


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (
            ClassificationExample("1", "A man.", "A person.", "0"),
            ClassificationExample("7", "a person", "a man", None),
            "pair",
        ),
        (
            ClassificationExample("1", "One two three four five.", None, "0"),
            ClassificationExample("7", "One two three four five", None, "1"),
            "sentence",
        ),
        (
            MultipleChoiceExample("1", "He", ("sat.", "ran."), 0),
            MultipleChoiceExample("7", "He", ("ran.", "sat."), 1),
            "prompt",
        ),
        (
            TaggingExample("1", ("There", "are", "no", "jobs", "in", "this", "country"), None),
            MiningExample("7", "There are no jobs in this country.", True, None),
            "sentence",
        ),
        (
            TaggingExample("1", ("I", "really", "do", "n't", "think", "so", "."), None),
            RetrievalExample("7", "Ich glaube nicht.", "I really don't think so."),
            "sentence",
        ),
        (
            TaggingExample("1", ("我", "沒", "有", "再", "次", "談", "論", "它", "的", "事"), None),
            RetrievalExample("7", "我沒有再次談論它的事", "No."),
            "sentence",
        ),
    ],
)
def test_each_format_has_its_texts(one: Example, other: Example, kind: str) -> None:
    language = "zh" if "我" in str(one) else "en"
    (overlap,) = find(
        [TrainingSet("t", "train", [one], language)], [EvaluationSet("e", "zh" if language == "zh" else "en", [other])]
    )
    assert overlap.texts == {kind: 1}


def test_the_english_side_of_a_retrieval_pair_is_english() -> None:
    train = [TaggingExample("1", ("There", "are", "no", "jobs", "in", "this", "country"), None)]
    pairs = [RetrievalExample("9", "이 나라에는 일자리가 없다.", "There are no jobs in this country.")]
    (overlap,) = find([TrainingSet("udpos", "train", train)], [EvaluationSet("tatoeba", "ko", pairs)])
    assert overlap.by_text == 1


def sentences(ids: range) -> list[Example]:
    return [TaggingExample(str(n), ("this", "is", "sentence", "number", f"n{n}"), None) for n in ids]


@pytest.mark.parametrize(
    ("evaluated", "shared", "minor"), [(100, 5, True), (100, 6, False), (3, 1, True), (3, 2, False)]
)
def test_a_few_single_sentences_are_a_minor_overlap(evaluated: int, shared: int, minor: bool) -> None:
    index = Index([EvaluationSet("udpos", "en", sentences(range(evaluated)))])
    found = index.compare(TrainingSet("udpos", "train", sentences(range(evaluated - shared, evaluated + 10))))
    assert [(one.examples, one.minor) for one in found.overlaps] == [(shared, minor)]
    assert found.ids == {str(n) for n in range(evaluated - shared, evaluated)}


def test_ids_questions_and_texts_to_classify_are_no_minor_overlap() -> None:
    many = [TaggingExample(f"s{n}", ("a", f"b{n}"), None) for n in range(100)]
    asked = [span(f"q{n}", f"Passage {n}.", f"Where does river number {n} flow to?") for n in range(100)]
    texts = [ClassificationExample(f"t{n}", f"I did like film number {n}.", None, "0") for n in range(100)]
    for examples in (many, asked, texts):
        evaluation = EvaluationSet("e", "en", examples)
        (overlap,) = Index([evaluation]).compare(TrainingSet("t", "train", examples[:1])).overlaps
        assert overlap.examples == 1 and not overlap.minor


def test_one_index_compares_any_number_of_training_sets() -> None:
    index = Index([EvaluationSet("xquad", "en", TRAIN[:2]), EvaluationSet("udpos", "en", sentences(range(9)))])
    assert [one.target for one in index.compare(TrainingSet("squad", "train", TRAIN)).overlaps] == ["xquad"]
    assert [one.target for one in index.compare(TrainingSet("udpos", "dev", sentences(range(1)))).overlaps] == ["udpos"]
    assert index.compare(TrainingSet("squad", "train", TRAIN[2:])).overlaps == ()


def test_training_in_several_languages_is_compared_in_each() -> None:
    korean = [span("k", "쾰른에 대성당이 있다.", "어디?")]
    index = Index([EvaluationSet("tydiqa", "ko", korean)])
    training = [span("other", korean[0].context, "누구?")]
    assert index.compare(TrainingSet("tydiqa", "train", training)).overlaps == ()
    assert index.compare(TrainingSet("tydiqa-leaky", "train", training, "en+ko")).ids == {"other"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ClassificationExample("1", "A man.", "A person.", "0"), ClassificationExample("7", "A man.", "A dog.", "0")),
        (
            TaggingExample("1", ("'", "'", "France", "'", "'", "."), None),
            TaggingExample("7", ("'", "'", "France", "'", "'", "."), None),
        ),
        (MultipleChoiceExample("1", "He", ("sat.", "ran."), 0), MultipleChoiceExample("7", "He", ("sat.", "flew."), 0)),
    ],
)
def test_what_is_alike_by_chance_is_left_alone(one: Example, other: Example) -> None:
    assert find([TrainingSet("t", "train", [one])], [EvaluationSet("e", "en", [other])]) == []


def test_drop_takes_all_the_questions_of_a_shared_passage() -> None:
    by_id = drop(TrainingSet("squad", "train", TRAIN), [EvaluationSet("xquad", "de", [span("a2", PASSAGE, "Wo?")])])
    by_text = drop(
        TrainingSet("squad", "train", TRAIN), [EvaluationSet("xquad", "en", [span("n", TRAIN[0].context, "Why?")])]
    )
    assert by_id == by_text == [TRAIN[2]]
    assert drop(TrainingSet("squad", "train", TRAIN), []) == TRAIN


def test_drop_leaves_nothing_to_find() -> None:
    pairs = [ClassificationExample(f"p{n}", f"premise {n}", f"hypothesis {n}", "0") for n in range(50)]
    evaluation = [EvaluationSet("xnli", "en", pairs[::7])]
    kept = drop(TrainingSet("mnli", "train", pairs), evaluation)
    assert len(kept) == 50 - len(pairs[::7])
    assert find([TrainingSet("mnli", "train", kept)], evaluation) == []


def test_it_is_fast() -> None:
    train = [
        span(f"t{n}", f"passage {n // 5} " + "many words in it " * 40, f"What is the name of {n}?")
        for n in range(20_000)
    ]
    evaluation = [
        span(f"e{n}", f"text {n // 5} " + "other words in it " * 40, f"What was the name of {n}?") for n in range(4_000)
    ]
    before = time.perf_counter()
    assert find([TrainingSet("squad", "train", train)], [EvaluationSet("xquad", "en", evaluation)]) == []
    assert time.perf_counter() - before < 10  # seconds; about one on one core


# --- the real files ---


def squad_from(name: str, pattern: str) -> Task:
    """A task whose training data is an official dev file: what a user must be kept from."""
    return builtin_catalog()[name].model_copy(update={"files": Files(reader="squad", test=pattern)})


@pytest.mark.realdata
def test_squad_dev_holds_all_of_xquad(real_data: Path) -> None:
    dev = load(squad_from("squad", "squad_v1.1/dev-v1.1*.json"), "test", "en", real_data)
    assert len(dev) == 10570
    xquad = [
        EvaluationSet("xquad", language, load(builtin_catalog()["xquad"], "test", language, real_data))
        for language in ("en", "de", "zh")
    ]
    english, german, chinese = find([TrainingSet("squad", "dev", dev)], xquad)
    assert [one.by_id for one in (english, german, chinese)] == [1190] * 3
    assert [one.by_text for one in (english, german, chinese)] == [1190, 0, 0]
    assert english.texts["passage"] == 240
    kept = drop(TrainingSet("squad", "dev", dev), xquad)
    assert len(kept) == 10570 - 1190  # XQuAD took whole passages
    assert find([TrainingSet("squad", "dev", kept)], xquad) == []


@pytest.mark.realdata
def test_a_squad_v2_dev_cut_with_new_ids_shares_78_passages_with_xquad(real_data: Path) -> None:
    dev = load(squad_from("squad_v2", "squad_v2.0/dev-v2.0.json"), "test", "en", real_data)
    xquad = EvaluationSet("xquad", "en", load(builtin_catalog()["xquad"], "test", "en", real_data))
    (overlap,) = find([TrainingSet("squad_v2", "dev", dev)], [xquad])
    assert (overlap.by_id, overlap.texts["passage"]) == (0, 78)


@pytest.mark.realdata
def test_what_is_trained_on_for_xquad_and_xnli_is_clean(real_data: Path) -> None:
    catalog = builtin_catalog()
    training = [
        TrainingSet(name, split, load(catalog[name], split, "en", real_data))
        for name in ("squad", "mnli", "snli", "qqp", "commonsenseqa", "tydiqa")
        for split in ("train", "dev")
    ]
    evaluation = [
        EvaluationSet(name, language, load(catalog[name], "test", language, real_data))
        for name in ("xquad", "xnli")
        for language in ("en", "de", "zh")
    ]
    assert find(training, evaluation) == []


@pytest.mark.realdata
def test_panx_and_udpos_repeat_a_few_sentences_between_their_own_splits(real_data: Path) -> None:
    """What is dropped with a note: every study with these targets would stop otherwise."""
    catalog = builtin_catalog()
    for name, split, share in (("udpos", "test", 0.001), ("panx", "dev", 0.03)):
        task = catalog[name]
        evaluation = EvaluationSet(name, "en", load(task, "test" if split == "test" else "dev", "en", real_data))
        training = TrainingSet(name, "train", load(task, "train", "en", real_data))
        (overlap,) = Index([evaluation]).compare(training).overlaps
        assert overlap.minor and 0 < overlap.examples <= share * overlap.evaluated
