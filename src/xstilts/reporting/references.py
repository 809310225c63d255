"""The references that a draft may cite: BibTeX entries that come with xstilts, by key, and as people read them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

#: Beside what the catalog and the list of encoders cite: the idea, the benchmark, and what is computed by.
METHODS = (
    "phang-etal-2018-sentence",
    "phang-etal-2020-english",
    "hu-etal-2020-xtreme",
    "loshchilov-hutter-2019-decoupled",
    "wolf-etal-2020-transformers",
    "hu-etal-2022-lora",
    "schmidt-etal-2023-free",
    "ilharco-etal-2023-editing",
    "holm-1979-simple",
    "schuirmann-1987-comparison",
    "satterthwaite-1946-approximate",
    "hillis-2014-marginal",
    "patterson-thompson-1971-recovery",
    "knapp-hartung-2003-improved",
)

#: Accents as BibTeX writes them, and the marks that Unicode combines with the letter before.
_ACCENTS = {"'": "\u0301", "`": "\u0300", '"': "\u0308", "^": "\u0302", "~": "\u0303", "v": "\u030c", "c": "\u0327"}


@dataclass(frozen=True)
class Reference:
    """A BibTeX entry; its fields hold LaTeX."""

    key: str
    kind: str  # article, inproceedings, misc
    fields: Mapping[str, str]

    @property
    def authors(self) -> list[str]:
        """As in ``Phang, Jason``, in their order; `others` may be the last."""
        return [_plain(name) for name in self.fields["author"].split(" and ")]

    @property
    def short(self) -> str:
        """As a text cites it: Phang et al. 2020."""
        surnames = [name.split(",")[0] for name in self.authors]
        names = f"{surnames[0]} et al." if len(surnames) > 2 else " and ".join(surnames)
        return " ".join(filter(None, (names, self.fields.get("year"))))

    @property
    def bibtex(self) -> str:
        held = "".join(f"  {name} = {{{text}}},\n" for name, text in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{held}}}\n"

    @property
    def plain(self) -> str:
        """The entry as people read it: authors (year). Title. Where."""
        *first, last = self.authors
        authors = f"{', '.join(first)} and {last}" if first else last
        get = {name: _plain(text) for name, text in self.fields.items()}.get
        numbers = " ".join(filter(None, (get("journal"), get("volume"))))
        where = ", ".join(filter(None, (get("booktitle") or numbers or get("note"), get("pages"))))
        year = f" ({get('year')})" if get("year") else ""
        return f"{authors}{year}. {get('title')}{'' if str(get('title')).endswith('?') else '.'} {where or get('url')}."


@cache
def entries() -> Mapping[str, Reference]:
    """The references that come with xstilts, by key."""
    text = (files("xstilts.reporting") / "references.bib").read_text(encoding="utf-8")
    return {entry.key: entry for entry in read(text)}


def read(text: str) -> list[Reference]:
    """The entries of a BibTeX file whose fields are in braces, a field beginning a line."""
    found = []
    for kind, key, body in re.findall(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}$", text, re.MULTILINE | re.DOTALL):
        fields = re.findall(r"^  (\w+) = \{(.*?)\},$", body, re.MULTILINE | re.DOTALL)
        found.append(Reference(key, kind, {name: " ".join(value.split()) for name, value in fields}))
    return found


def _plain(text: str) -> str:
    """LaTeX's accents, dashes and braces as Unicode has them."""
    text = re.sub(r"\{?\\(['`\"^~]|[vc](?=\{))\{?(\w)\}?\}?", lambda m: m[2] + _ACCENTS[m[1]], text)
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", text.replace("--", "–")))
