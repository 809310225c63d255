"""The embedded mini suite, as it is shipped: parallel, correct in its offsets, and free of contamination."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from itertools import pairwise, product

import pytest

from xstilts.common.errors import UserError
from xstilts.data import available, load
from xstilts.data.check import check
from xstilts.data.load import BUNDLED
from xstilts.tasks import CATALOG, builtin_catalog, read_entry
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.formats.tagging import TaggingExample

#: Every labelled example of every data set, split and language, in version 2 of the suite.
GOLDEN = "e99441147c3b6cce6cd5f035cadca31a4793404c9c284630c0c75246ba4da44e"

KINDS = ("span", "span_paraphrased", "span_unanswerable")
DATASETS = (*KINDS, "nli", "paraphrase", "choice", "pos", "entities", "retrieval", "text")
LANGUAGES = ("en", "de", "es", "fr", "ru", "tr", "ar", "hi", "zh", "sw", "ja")
LABELLED = [name for name in DATASETS if name != "text"]
TRAINED = [name for name in LABELLED if name != "retrieval"]
FOREIGN = [language for language in LANGUAGES if language != "en"]


def examples_of(name, split, language):
    return load(builtin_catalog()["mini-" + name.replace("_", "-")], split, language, None)


def sets(split: str) -> list[tuple[str, str]]:
    """Every labelled data set and language that has ``split``."""
    if split != "test":
        return [(name, "en") for name in TRAINED]
    return [pair for pair in product(LABELLED, LANGUAGES) if pair != ("retrieval", "en")]


def test_content_is_as_it_was():
    digest = hashlib.sha256()
    for split in ("train", "dev", "test"):
        for name, language in sets(split):
            for example in examples_of(name, split, language):
                digest.update(f"{name}/{split}/{language}: {example!r}\n".encode())
    assert digest.hexdigest() == GOLDEN, "the suite has changed, and so do scores: tell CHANGELOG.md"


def test_sizes():
    assert {(name, len(examples_of(name, "train", "en"))) for name in TRAINED} == {(name, 2000) for name in TRAINED}
    assert all(len(examples_of(name, "dev", "en")) == 200 for name in TRAINED)
    assert all(
        len(examples_of(name, "test", language)) == 120 for name, language in sets("test") if name != "retrieval"
    )
    assert len(examples_of("retrieval", "test", "sw")) == 300


def test_plain_text_in_every_language_shares_no_passage_with_any_test_or_dev_set():
    plain = {language: {example.text for example in examples_of("text", "train", language)} for language in LANGUAGES}
    assert all(len(texts) > 1900 for texts in plain.values())
    read: set[str] = set()
    for split in ("dev", "test"):
        for name, language in sets(split):
            read |= {text for example in examples_of(name, split, language) for text in example.texts}
    assert not read & set().union(*plain.values())
    with pytest.raises(UserError, match="mini-text test: the catalog entry has no such split"):
        examples_of("text", "test", "de")


def test_at_least_five_scripts():
    scripts = set()
    for language in LANGUAGES:
        context = examples_of("span", "test", language)[0].context
        scripts |= {unicodedata.name(letter).split()[0] for letter in context if letter.isalpha()}
    assert {"LATIN", "CYRILLIC", "ARABIC", "DEVANAGARI", "CJK", "KATAKANA"} <= scripts


@pytest.mark.parametrize("name", LABELLED)
def test_languages_are_parallel(name):
    def gold(example):
        match example:
            case SpanExample():
                return len(example.answers)
            case TaggingExample():
                return None
        return getattr(example, "label", None)

    reference = [(example.id, gold(example)) for example in examples_of(name, "test", "de")]
    assert len({id for id, _ in reference}) == len(reference)
    for language in LANGUAGES if name != "retrieval" else FOREIGN:
        assert [(example.id, gold(example)) for example in examples_of(name, "test", language)] == reference


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_are_where_they_say(name, language):
    for example in examples_of(name, "test", language):
        assert example.has_gold
        for answer in example.answers:
            assert example.context[answer.start : answer.start + len(answer.text)] == answer.text
            assert answer.text == answer.text.strip() != ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_markup_is_gone_and_no_text_is_empty(language):
    for name, lang in sets("test"):
        if lang != language:
            continue
        for example in examples_of(name, "test", language):
            for text in example.texts:
                assert text.strip() == text != ""
                assert not set(text) & set("{}[]|"), text
                assert "  " not in text, text


def test_no_training_text_is_in_any_test_or_dev_set():
    """Of any data set, not only its own: an intermediate task must not have read the target's test data."""

    def everything(split: str) -> set[str]:
        return {text for name, language in sets(split) for e in examples_of(name, split, language) for text in e.texts}

    train, dev, test = everything("train"), everything("dev"), everything("test")
    assert not train & test
    assert not train & dev
    assert not dev & test


def test_span_and_its_paraphrased_twin_share_no_training_text():
    one, other = (
        {text for example in examples_of(name, "train", "en") for text in example.texts}
        for name in ("span", "span_paraphrased")
    )
    assert not one & other


def test_a_third_of_the_questions_has_no_answer():
    examples = examples_of("span_unanswerable", "train", "en")
    assert 0.28 < sum(not example.answers for example in examples) / len(examples) < 0.38
    assert all(example.answers for example in examples_of("span", "train", "en"))


@pytest.mark.parametrize(("name", "classes"), [("nli", 3), ("paraphrase", 2), ("choice", 4)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_are_balanced(name, classes, split):
    counts = Counter(example.label for example in examples_of(name, split, "en"))
    assert len(counts) == classes
    assert max(counts.values()) < 2 * min(counts.values())


def test_choices_differ():
    for language in LANGUAGES:
        assert all(len(set(example.choices)) == 4 for example in examples_of("choice", "test", language))


def test_a_paraphrase_never_repeats_the_sentence():
    for language in LANGUAGES:
        assert all(example.premise != example.hypothesis for example in examples_of("paraphrase", "test", language))


@pytest.mark.parametrize("name", ["pos", "entities"])
def test_a_tag_for_every_token(name):
    known = set(read_entry(CATALOG / f"mini-{name}.yaml").labels)
    for language in LANGUAGES:
        for example in examples_of(name, "test", language):
            assert len(example.tokens) == len(example.tags)
            assert set(example.tags) <= known
            assert all(token and not any(c.isspace() for c in token) for token in example.tokens)


def test_entities_are_the_same_in_every_language():
    def spans(example):
        return Counter(tag[2:] for tag in example.tags if tag.startswith("B-"))

    english = [spans(example) for example in examples_of("entities", "test", "en")]
    for language in FOREIGN:
        assert [spans(example) for example in examples_of("entities", "test", language)] == english
    for example in examples_of("entities", "test", "zh"):
        assert all(before[2:] == tag[2:] for before, tag in pairwise(example.tags) if tag.startswith("I-"))


def test_retrieval_has_near_duplicates_and_no_ties():
    for language in FOREIGN:
        examples = examples_of("retrieval", "test", language)
        assert len({example.source for example in examples}) == len(examples) == len({e.target for e in examples})


@pytest.mark.parametrize("path", sorted(CATALOG.glob("mini-*.yaml")), ids=lambda path: path.stem)
def test_catalog_entries_fit_the_suite(path):
    task = read_entry(path)
    assert task.name == path.stem
    assert task.files.reader == "records" and task.files.bundled
    assert set(task.languages) == set(FOREIGN if task.format == "retrieval" else LANGUAGES)
    assert (task.training_task is None) == (task.format == "retrieval")
    assert "not XTREME" in task.description
    if task.format == "classification":
        assert {example.label for example in load(task, "test", "en", None)} == set(task.labels)


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_training_data_are_english_and_plain_text_is_in_each_language(split):
    for name in DATASETS:
        task = builtin_catalog()["mini-" + name.replace("_", "-")]
        expected = {"text": LANGUAGES if split == "train" else (), "retrieval": FOREIGN if split == "test" else ()}
        usual = LANGUAGES if split == "test" else ("en",)
        assert available(task, split, None) == tuple(expected.get(name, usual))


def test_what_the_suite_does_not_have_is_said():
    with pytest.raises(
        UserError, match=r"no mini/nli/train-de\.jsonl\.gz \(mini-nli train, de\); files are there for en$"
    ):
        examples_of("nli", "train", "de")


def test_every_data_set_has_its_entry_and_its_files_stay_small():
    entries = {path.stem for path in CATALOG.glob("mini-*.yaml")}
    assert entries == {"mini-" + name.replace("_", "-") for name in DATASETS}
    files = [path for path in (BUNDLED / "mini").rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(DATASETS)
    assert sum(path.stat().st_size for path in files) < 2_000_000


def test_a_user_may_check_the_files_too():
    report = check(BUNDLED)
    assert not report.problems and not report.not_recognised
    assert sum(one.examples for one in report.checked) == 53_160
