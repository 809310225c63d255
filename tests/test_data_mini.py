"""The embedded mini suite: deterministic, parallel, correct in its offsets, and free of contamination."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from itertools import pairwise, product

import pytest

from xstilts.common.errors import UserError
from xstilts.data.mini import DATASETS, LANGUAGES, VERSION, cldr, facts, generate, pairs, templates
from xstilts.data.mini.choices import STORIES
from xstilts.data.mini.spans import KINDS
from xstilts.data.mini.tags import SENTENCES, tokenize
from xstilts.tasks import CATALOG, read_entry
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.formats.tagging import TaggingExample

#: Every example of every data set, split and language. A new digest needs a new VERSION: results name the version.
GOLDEN = {"2": "e9d24dc523076c6ab1d02ba25e69d814676d5a1f65deeff798437f1ca062ad84"}

LABELLED = [name for name in DATASETS if name != "text"]
TRAINED = [name for name in LABELLED if name != "retrieval"]
UPOS = set(read_entry(CATALOG / "mini-pos.yaml").labels)
FOREIGN = [language for language in LANGUAGES if language != "en"]


def sets(split: str) -> list[tuple[str, str]]:
    """Every data set and language that has ``split``."""
    if split != "test":
        return [(name, "en") for name in TRAINED]
    return [pair for pair in product(LABELLED, LANGUAGES) if pair != ("retrieval", "en")]


def test_content_is_that_of_the_version():
    digest = hashlib.sha256()
    for split in ("train", "dev", "test"):
        for name, language in sets(split):
            for example in generate(name, split, language):
                digest.update(f"{name}/{split}/{language}: {example!r}\n".encode())
    assert digest.hexdigest() == GOLDEN[VERSION], "the suite has changed: raise VERSION and record the new digest"


def test_sizes():
    assert {(name, len(generate(name, "train", "en"))) for name in TRAINED} == {(name, 2000) for name in TRAINED}
    assert all(len(generate(name, "dev", "en")) == 200 for name in TRAINED)
    assert all(len(generate(name, "test", language)) == 120 for name, language in sets("test") if name != "retrieval")
    assert len(generate("retrieval", "test", "sw")) == 300


def test_callers_cannot_spoil_the_cache():
    generate("nli", "test", "de").clear()
    assert generate("nli", "test", "de")


def test_plain_text_in_every_language_shares_no_passage_with_any_test_or_dev_set():
    plain = {language: {example.text for example in generate("text", "train", language)} for language in LANGUAGES}
    assert all(len(texts) > 1900 for texts in plain.values())
    read: set[str] = set()
    for split in ("dev", "test"):
        for name, language in sets(split):
            read |= {text for example in generate(name, split, language) for text in example.texts}
    assert not read & set().union(*plain.values())
    with pytest.raises(UserError, match="text has no test split"):
        generate("text", "test", "de")


def test_at_least_five_scripts():
    scripts = set()
    for language in LANGUAGES:
        context = generate("span", "test", language)[0].context
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

    reference = [(example.id, gold(example)) for example in generate(name, "test", "de")]
    assert len({id for id, _ in reference}) == len(reference)
    for language in LANGUAGES if name != "retrieval" else FOREIGN:
        assert [(example.id, gold(example)) for example in generate(name, "test", language)] == reference


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_are_where_they_say(name, language):
    for example in generate(name, "test", language):
        assert example.has_gold
        for answer in example.answers:
            assert example.context[answer.start : answer.start + len(answer.text)] == answer.text
            assert answer.text == answer.text.strip() != ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_markup_is_gone_and_no_text_is_empty(language):
    for name, lang in sets("test"):
        if lang != language:
            continue
        for example in generate(name, "test", language):
            for text in example.texts:
                assert text.strip() == text != ""
                assert not set(text) & set("{}[]|"), text
                assert "  " not in text, text


def test_no_training_text_is_in_any_test_or_dev_set():
    """Of any data set, not only its own: an intermediate task must not have read the target's test data."""

    def everything(split: str) -> set[str]:
        return {text for name, language in sets(split) for e in generate(name, split, language) for text in e.texts}

    train, dev, test = everything("train"), everything("dev"), everything("test")
    assert not train & test
    assert not train & dev
    assert not dev & test


def test_span_and_its_paraphrased_twin_share_no_training_text():
    one, other = (
        {text for example in generate(name, "train", "en") for text in example.texts}
        for name in ("span", "span_paraphrased")
    )
    assert not one & other


@pytest.mark.parametrize("name", KINDS)
def test_guessing_by_the_type_of_the_answer_is_not_enough(name):
    """Expected exact matches of a reader that knows the question's type and takes one of that type by chance."""
    values = {facts.write(facts.Value(kind, code), "en"): kind for kind in cldr.names() for code in cldr.names()[kind]}
    chances = []
    for example in generate(name, "train", "en"):
        for answer in example.answers:
            kind = values.get(answer.text)
            if kind:  # cities, countries, languages and currencies can be counted in the text
                candidates = [value for value in values if values[value] == kind and value in example.context]
                chances.append(1 / len(candidates))
    assert len(chances) > 500
    assert sum(chances) / len(chances) < 0.85


def test_questions_are_worded_otherwise_than_statements():
    for language in LANGUAGES:
        for kind, relations in templates.load(language)["relations"].items():
            for relation, forms in relations.items():
                assert not set(forms["says"]) & set(forms["asks"]), (language, kind, relation)


def test_a_third_of_the_questions_has_no_answer():
    examples = generate("span_unanswerable", "train", "en")
    assert 0.28 < sum(not example.answers for example in examples) / len(examples) < 0.38
    assert all(example.answers for example in generate("span", "train", "en"))


@pytest.mark.parametrize(("name", "classes"), [("nli", 3), ("paraphrase", 2), ("choice", 4)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_are_balanced(name, classes, split):
    counts = Counter(example.label for example in generate(name, split, "en"))
    assert len(counts) == classes
    assert max(counts.values()) < 2 * min(counts.values())


def test_choices_differ():
    for language in LANGUAGES:
        assert all(len(set(example.choices)) == 4 for example in generate("choice", "test", language))


def test_a_paraphrase_never_repeats_the_sentence():
    for language in LANGUAGES:
        assert all(example.premise != example.hypothesis for example in generate("paraphrase", "test", language))


@pytest.mark.parametrize("name", ["pos", "entities"])
def test_a_tag_for_every_token(name):
    known = set(read_entry(CATALOG / f"mini-{name}.yaml").labels)
    for language in LANGUAGES:
        for example in generate(name, "test", language):
            assert len(example.tokens) == len(example.tags)
            assert set(example.tags) <= known
            assert all(token and not any(c.isspace() for c in token) for token in example.tokens)


def test_entities_are_the_same_in_every_language():
    def spans(example):
        return Counter(tag[2:] for tag in example.tags if tag.startswith("B-"))

    english = [spans(example) for example in generate("entities", "test", "en")]
    for language in FOREIGN:
        assert [spans(example) for example in generate("entities", "test", language)] == english
    for example in generate("entities", "test", "zh"):
        assert all(before[2:] == tag[2:] for before, tag in pairwise(example.tags) if tag.startswith("I-"))


def test_tokens_of_devanagari_keep_their_vowel_signs():
    assert tokenize("मार्को ढाका गए।", "hi") == ["मार्को", "ढाका", "गए", "।"]


def test_retrieval_has_near_duplicates_and_no_ties():
    for language in FOREIGN:
        examples = generate("retrieval", "test", language)
        assert len({example.source for example in examples}) == len(examples) == len({e.target for e in examples})


def test_dates_end_a_russian_sentence_well():
    assert facts.write(facts.Value("date", (1990, 5, 3)), "ru") == "3 мая 1990 года"
    assert facts.write(facts.Value("date", (1990, 5, 3)), "en") == "May 3, 1990"
    assert facts.write(facts.Value("date", (1990, 5, 3)), "ja") == "1990年5月3日"


@pytest.mark.parametrize(
    ("kind", "code", "article"),
    [("country", "PE", "le "), ("country", "FR", "la "), ("country", "EG", "l'"), ("language", "fr", "le "),
     ("language", "hu", "le "), ("language", "ar", "l'")],
)  # fmt: skip
def test_french_articles(kind, code, article):
    assert facts.french_article(facts.Value(kind, code)) == article


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_template(language):
    loaded = templates.load(language)
    assert loaded.keys() == {"relations", "events", "stories", "pos"}
    relations = {kind: by.keys() for kind, by in loaded["relations"].items()}
    assert relations == {kind: by.keys() for kind, by in facts.RELATIONS.items()}
    for forms_of in loaded["relations"].values():
        for forms in forms_of.values():
            assert [len(forms["says"]), len(forms["asks"])] == [templates.FORMS] * 2
            assert all("{name}" in says and "{value}" in says for says in forms["says"])
            assert all("{name}" in asks and "{value}" not in asks for asks in forms["asks"])
    assert loaded["stories"].keys() == STORIES.keys()
    assert {event: len(wordings) for event, wordings in loaded["events"].items()} == dict.fromkeys(pairs.EVENTS, 3)
    for event, wordings in loaded["events"].items():
        assert all(f"{{{slot}}}" in wording for slot in pairs.EVENTS[event] for wording in wordings), (event, wordings)
    assert len(loaded["pos"]) == SENTENCES
    assert {word.rsplit("/", 1)[1] for sentence in loaded["pos"] for word in sentence.split()} <= UPOS


def test_names_are_those_of_cldr():
    babel = pytest.importorskip("babel")
    if babel.__version__ != "2.18.0":
        pytest.skip("cldr.json is a copy of Babel 2.18's names")
    assert cldr.names() == cldr.collect()
    assert cldr.FILE.read_text(encoding="utf-8") == cldr.dump(cldr.collect())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("spam", "test", "en"), "unknown data set 'spam': did you mean 'span'?"),
        (("span", "tset", "en"), "unknown split 'tset': did you mean 'test'?"),
        (("span", "test", "xx"), "unknown language 'xx'"),
        (("span", "train", "de"), "English only"),
        (("nli", "dev", "zh"), "English only"),
        (("retrieval", "train", "en"), "no train split"),
        (("retrieval", "test", "en"), "leave en out"),
    ],
)
def test_what_the_suite_does_not_have_is_said(arguments, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        generate(*arguments)


@pytest.mark.parametrize("path", sorted(CATALOG.glob("mini-*.yaml")), ids=lambda path: path.stem)
def test_catalog_entries_fit_the_suite(path):
    task = read_entry(path)
    assert task.name == path.stem
    assert task.files.reader == "mini"
    named = task.files.train if task.format == "mlm" else task.files.test
    assert named == task.name.removeprefix("mini-").replace("-", "_")
    assert set(task.languages) == set(FOREIGN if task.format == "retrieval" else LANGUAGES)
    assert (task.training_task is None) == (task.format == "retrieval")
    assert "not XTREME" in task.description
    if task.format == "classification":
        assert {example.label for example in generate(task.files.test, "test", "en")} == set(task.labels)


def test_every_data_set_has_its_entry():
    entries = {path.stem for path in CATALOG.glob("mini-*.yaml")}
    assert entries == {"mini-" + name.replace("_", "-") for name in DATASETS}


def test_passages_stay_short():
    """Few words and marks, so that a study runs in minutes on two cores."""
    lengths = [len(tokenize(example.context, "en")) for example in generate("span", "train", "en")]
    assert sum(lengths) / len(lengths) < 75
    assert max(lengths) < 100
