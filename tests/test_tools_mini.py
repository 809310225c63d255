"""The generator of the mini suite: it makes the files that are shipped, and its templates and names are complete."""

from __future__ import annotations

import gzip

import pytest

from tools.mini import LANGUAGES, cldr, facts, files, generate, pairs, parts, templates
from tools.mini.choices import STORIES
from tools.mini.spans import KINDS
from tools.mini.tags import SENTENCES, tokenize
from xstilts.tasks import CATALOG, read_entry

UPOS = set(read_entry(CATALOG / "mini-pos.yaml").labels)


def test_it_makes_the_files_that_are_shipped():
    """Compared unpacked: another zlib packs the same content otherwise."""
    shipped = {path.relative_to(files.FOLDER).as_posix(): path for path in files.FOLDER.rglob("*.gz")}
    assert shipped.keys() == {files.name(*part) for part in parts()}
    for part in parts():
        path = shipped[files.name(*part)]
        assert gzip.decompress(path.read_bytes()) == files.content(generate(*part)), path


def test_it_writes_the_same_bytes_again(tmp_path, monkeypatch):
    some = [part for part in parts() if part[0] == "pos"]
    monkeypatch.setattr(files, "parts", lambda: iter(some))
    first, second = (
        [(path.name, path.read_bytes()) for path in files.write(tmp_path / name)] for name in ("once", "twice")
    )
    assert first == second and len(first) == len(some)


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


def test_tokens_of_devanagari_keep_their_vowel_signs():
    assert tokenize("मार्को ढाका गए।", "hi") == ["मार्को", "ढाका", "गए", "।"]


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


def test_passages_stay_short():
    """Few words and marks, so that a study runs in minutes on two cores."""
    lengths = [len(tokenize(example.context, "en")) for example in generate("span", "train", "en")]
    assert sum(lengths) / len(lengths) < 75
    assert max(lengths) < 100
