"""The references that come with xstilts: of every data set and encoder, whole, and none that nobody cites."""

from __future__ import annotations

import re

import pytest

from xstilts.encoders.families import known_encoders
from xstilts.reporting.references import METHODS, entries, read
from xstilts.tasks import builtin_catalog


@pytest.mark.parametrize("task", list(builtin_catalog()), ids=lambda task: task.name)
def test_every_task_of_the_catalog_has_a_reference(task) -> None:
    assert task.cite and set(task.cite) <= set(entries())


@pytest.mark.parametrize("encoder", known_encoders(), ids=lambda encoder: encoder.source)
def test_every_known_encoder_has_a_reference(encoder) -> None:
    assert encoder.cite and set(encoder.cite) <= set(entries())


def test_a_reference_is_that_of_the_citation_beside_it() -> None:
    """Its first author and year stand in what the catalog has for people."""
    named = [(one.citation, one.cite) for one in (*builtin_catalog(), *known_encoders())]
    for citation, keys in named:
        for key in keys:
            surname = re.split(r"[^\w]", entries()[key].authors[0].split(",")[0])[-1]
            assert surname in citation or key in ("xstilts", "ruder-etal-2021-xtreme"), (citation, key)


def test_no_reference_is_idle() -> None:
    cited = {key for one in (*builtin_catalog(), *known_encoders()) for key in one.cite} | set(METHODS)
    assert cited == set(entries())


@pytest.mark.parametrize("entry", list(entries().values()), ids=lambda entry: entry.key)
def test_a_reference_is_whole(entry) -> None:
    fields = entry.fields
    assert entry.authors and fields["title"]
    if entry.kind != "misc":
        assert fields["year"].isdigit() and {"booktitle", "journal"} & set(fields)
        assert entry.key.split("-")[0] in re.sub(r"\W", "", entry.authors[0].split(",")[0]).lower()
        assert fields["year"] in entry.key
    assert all(text.count("{") == text.count("}") for text in fields.values())
    assert not re.search(r"[\\{}~]", entry.plain), entry.plain


def test_an_entry_as_people_read_it() -> None:
    (entry,) = read(
        "@article{a-2020-b,\n  author = {M{\\'e}ndez, Ana and O'Neil, B. and others},\n"
        "  title = {{BERT} and\n    {\\v{c}}ountry},\n  journal = {J},\n  volume = {3},\n  pages = {1--2},\n"
        "  year = {2020},\n}\n"
    )
    assert entry.plain == "Méndez, Ana, O'Neil, B. and others (2020). BERT and čountry. J 3, 1–2."
    assert read(entry.bibtex) == [entry]
