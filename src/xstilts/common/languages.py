"""Family and script of a language."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xstilts.common import fast_yaml

FAMILIES = Path(__file__).parent / "languages.yaml"
SCRIPTS = Path(__file__).parent / "scripts.yaml"


def family(language: str) -> str | None:
    """Such as ``Turkic`` or ``Indo-European: Slavic``; None of a pair such as de-en, and where it is not known."""
    return _families().get(language)


def script(language: str) -> str | None:
    """The ISO 15924 code of the script that it is most likely written in, such as ``Cyrl``, by CLDR's likely subtags.

    None of a pair such as de-en, and where CLDR does not know the language.
    """
    return _scripts().get(language)


@cache
def _families() -> dict[str, str]:
    by_family: dict[str, list[str]] = fast_yaml.read(FAMILIES)
    return {language: name for name, languages in by_family.items() for language in languages}


@cache
def _scripts() -> dict[str, str]:
    by_script: dict[str, str] = fast_yaml.load(SCRIPTS.read_text(encoding="utf-8"))
    return {language: name for name, languages in by_script.items() for language in languages.split()}
