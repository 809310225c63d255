import pytest

from tools import scripts
from xstilts.common.languages import SCRIPTS, family, script
from xstilts.tasks import builtin_catalog


def test_every_language_of_the_catalog_has_a_family_and_a_script():
    codes = {code for task in builtin_catalog() for code in task.languages if "-" not in code}
    assert len(codes) >= 50
    assert [code for code in sorted(codes) if not family(code) or not script(code)] == []


def test_of_a_pair_of_languages_and_of_an_unknown_one_nothing_is_said():
    assert (family("de-en"), script("de-en"), family("xx"), script("xx")) == (None, None, None, None)


def test_scripts_are_the_likely_ones():
    assert [script(code) for code in ("ru", "kk", "sw", "zh", "ur", "he")] == [
        "Cyrl",
        "Cyrl",
        "Latn",
        "Hans",
        "Arab",
        "Hebr",
    ]


def test_scripts_are_those_of_cldr():
    babel = pytest.importorskip("babel")
    if babel.__version__ != "2.18.0":
        pytest.skip("scripts.yaml is a copy of Babel 2.18's")
    assert SCRIPTS.read_text(encoding="utf-8") == scripts.dump(scripts.collect())
    assert all(script(language) == name for name, languages in scripts.collect().items() for language in languages)
