"""`python -m tools.scripts`: write the script of every language that CLDR knows into the package."""

from __future__ import annotations

import textwrap
from pathlib import Path

from xstilts.common.languages import SCRIPTS

HEAD = """\
# The script that a language is most likely written in, by the likely subtags of CLDR as Babel 2.18 has them: written by
# tools/scripts.py. CLDR data: © Unicode, Inc., Unicode License v3 (Unicode-3.0).
"""


def collect() -> dict[str, list[str]]:
    """Script → languages, from the installed Babel."""
    from babel.core import get_global

    languages: dict[str, list[str]] = {}
    for language, likely in sorted(get_global("likely_subtags").items()):
        if language.split("_")[0] != "und":
            languages.setdefault(str(likely).split("_")[1], []).append(language)  # likely: such as ru_Cyrl_RU
    return dict(sorted(languages.items()))


def dump(languages: dict[str, list[str]]) -> str:
    """As YAML: the languages of a script as one text."""
    return HEAD + "".join(
        f"{script}: >-\n{textwrap.fill(' '.join(codes), 120, initial_indent='  ', subsequent_indent='  ')}\n"
        for script, codes in languages.items()
    )


def write(path: Path = SCRIPTS) -> None:
    path.write_text(dump(collect()), encoding="utf-8")


if __name__ == "__main__":
    write()
