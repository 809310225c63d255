"""Names of cities, countries, languages, currencies and months in every language of the suite, from CLDR.

``cldr.json`` holds what Babel 2.18 has for the chosen codes, so that the suite is the same whatever Babel is installed.
The codes were chosen to fit the templates: cities are exemplar cities of time zones, without names that have an article
or two words somewhere (Cairo, Casablanca) or name a country or person too (Tunis, Sofia); countries take no article in
German and Spanish; the Russian names of languages are adjectives; and names that CLDR has wrong are left out.
CLDR data: © Unicode, Inc., Unicode License v3 (Unicode-3.0).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import cast

from tools.mini.settings import LANGUAGES

FILE = Path(__file__).parent / "cldr.json"

#: Kind (city, country, language, currency, month) → CLDR code → language → name.
Names = dict[str, dict[str, dict[str, str]]]


@cache
def names() -> Names:
    """The names in ``cldr.json``."""
    return cast(Names, json.loads(FILE.read_text(encoding="utf-8")))


def collect() -> Names:
    """The same codes' names from the installed Babel; ``FILE.write_text(dump(collect()))`` renews the file."""
    from babel import Locale

    locales = {language: Locale.parse(language) for language in LANGUAGES}

    def name(kind: str, code: str, locale: Locale) -> str:
        match kind:
            case "city":  # CLDR leaves a city out where its name is the zone's own
                return locale.time_zones.get(code, {}).get("city") or code.rsplit("/", 1)[1]
            case "country":
                return locale.territories[code]
            case "language":
                return locale.languages[code]
            case "currency":
                return locale.currencies[code]
        return locale.months["format"]["wide"][int(code)]

    return {
        kind: {code: {language: name(kind, code, locales[language]) for language in LANGUAGES} for code in codes}
        for kind, codes in names().items()
    }


def dump(facts: Names) -> str:
    """``facts`` as JSON with one code a line."""
    kinds = []
    for kind, codes in facts.items():
        lines = ",\n".join(f"  {json.dumps(code)}: {json.dumps(by, ensure_ascii=False)}" for code, by in codes.items())
        kinds.append(f" {json.dumps(kind)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(kinds) + "\n}\n"
