"""Files of tokens as they are published: a YAML entry reads each layout, and without it one line says what to write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from xstilts.common.errors import UserError
from xstilts.data import fingerprint, load
from xstilts.tasks import read_entry
from xstilts.tasks.task import Task

NER = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]


def entry(folder: Path, labels: list[str] | None = None, **files: Any) -> Task:
    """An entry as a user writes it, with these ``files``."""
    path = folder / "mine.yaml"
    written = {
        "name": "mine", "format": "tagging", "description": "-", "languages": ["en", "sw"], "metric": "accuracy",
        "labels": labels or NER, "train": "mini-entities", "files": {"reader": "tokens", "test": "test", **files},
        "licence": "-", "citation": "-",
    }  # fmt: skip
    path.write_text(yaml.safe_dump(written))
    return read_entry(path)


def sentences(folder: Path, text: str, labels: list[str] | None = None, **files: Any) -> list[str]:
    """Each sentence as token/tag, with spaces between."""
    (folder / "test").write_text(text, encoding="utf-8")
    read = load(entry(folder, labels, **files), "test", "en", folder)
    return [
        " ".join(f"{token}/{tag}" for token, tag in zip(one.tokens, one.tags or "-" * 99, strict=False))  # type: ignore[attr-defined]
        for one in read
    ]


@dataclass(frozen=True)
class Layout:
    """What files of a data set look like, what its entry has to say, and what is said where it does not."""

    text: str
    files: dict[str, Any]
    read: list[str]
    told: str | None  # None: it is plain to see
    labels: list[str] | None = None


LAYOUTS = {
    "MasakhaNER": Layout(
        "Rais O\nMagufuli B-PER\nalizaliwa O\nChato B-LOC\n\nNairobi B-LOC\n",
        {},
        ["Rais/O Magufuli/B-PER alizaliwa/O Chato/B-LOC", "Nairobi/B-LOC"],
        None,
    ),
    "MasakhaPOS": Layout(
        "Rais NOUN\nanalala VERB\n. PUNCT\n\n", {}, ["Rais/NOUN analala/VERB ./PUNCT"], None, ["NOUN", "PUNCT", "VERB"]
    ),
    "Universal NER": Layout(
        "# sent_id = 1\n# text = Anna lives\n1\tAnna\tB-PER\t-\tann\n2\tlives\tO\t-\tann\n\n"
        "# sent_id = 2\n1\tBonn\tB-LOC\t-\t-\n",
        {"columns": ["_", "token", "tag"], "comment": "# "},
        ["Anna/B-PER lives/O", "Bonn/B-LOC"],
        "test:1: no tab behind '#'; if these are remarks, say `comment: '#'` in the entry's `files`",
    ),
    "WikiNEuRal": Layout(
        "0\tAnna\tB-PER\n1\tlives\tO\n\n0\tBonn\tB-LOC\n",
        {"columns": ["_", "token", "tag"]},
        ["Anna/B-PER lives/O", "Bonn/B-LOC"],
        "test:1: 3 columns; say which hold what in the entry's `files`, as in `columns: [_, token, tag]`",
    ),
    "KLUE-NER": Layout(
        "## klue-ner-1\t<서울:LC> 로\n서\tB-LOC\n울\tI-LOC\n \tO\n로\tO\n\n## klue-ner-2\t안\n안\tO\n",
        {"comment": "##"},
        ["서/B-LOC 울/I-LOC  /O 로/O", "안/O"],
        "test:1: label '<서울:LC> 로' is not in the label set",
    ),
    "CoNLL-2003": Layout(
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nBonn NNP B-NP B-LOC\n",
        {"columns": ["token", "_", "_", "tag"]},
        ["EU/B-ORG rejects/O", "Bonn/B-LOC"],
        "test:3: 4 words and no tab; if spaces part columns, say in the entry's `files`, as in "
        "`separator: space, columns: [token, _, _, tag]`",
    ),
    "CoNLL-2002": Layout(
        "Melbourne NP B-LOC\n( Fpa O\n\n",
        {"columns": ["token", "_", "tag"]},
        ["Melbourne/B-LOC (/O"],
        "3 words and no tab",
    ),
    "CoNLL-2003, German": Layout(
        "-DOCSTART- -X- -X- -X- O\n\nBonn Bonn NE I-NC B-LOC\n",
        {"columns": ["token", "_", "_", "_", "tag"], "separator": "space"},
        ["Bonn/B-LOC"],
        "5 words and no tab",
    ),
    "Europeana": Layout(
        "# remark\nPar O\nPierre  B-PER\nGarnier I-PER\n",
        {"separator": "whitespace", "columns": ["token", "tag"], "comment": "#"},
        ["Par/O Pierre/B-PER Garnier/I-PER"],
        "words and no tab; if spaces part columns",
    ),
    "HIPE": Layout(
        "TOKEN\tNE-COARSE-LIT\tNE-FINE\tMISC\n# document_id = a\nAnna\tB-PER\tO\t_\nlebt\tO\tO\tNoSpace\n",
        {"columns": {"token": "TOKEN", "tag": "NE-COARSE-LIT"}, "comment": "# "},
        ["Anna/B-PER lebt/O"],
        "test:1: 4 columns",
    ),
    "with a first row": Layout("word\ttag\nAnna\tB-PER\n", {"header": True}, ["Anna/B-PER"], "label 'tag' is not in"),
    "tokens alone": Layout("Anna\nlives\n\nBonn\n", {}, ["Anna/- lives/-", "Bonn/-"], None),
    "a byte order mark": Layout("\ufeffAnna\tB-PER\r\nlives\tO\r\n", {}, ["Anna/B-PER lives/O"], None),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_is_read_by_an_entry(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    assert sentences(tmp_path, layout.text, layout.labels, **layout.files) == layout.read


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.told])
def test_what_the_entry_must_say_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        sentences(tmp_path, LAYOUTS[name].text)
    assert (LAYOUTS[name].told or "") in str(told.value) and str(told.value).isprintable()


@pytest.mark.parametrize(
    ("text", "files", "told"),
    [
        ("Anna B-PER\nlives\nin\n", {}, "test:1: 2 words and no tab; if spaces part columns"),
        ("Anna B-PER\nlives in O\nBonn B-LOC\n", {}, "test:1: 2 words and no tab; if spaces part columns"),
        ("Anna B-PRE\n", {}, "test:1: label 'B-PRE' is not in the label set; did you mean 'B-PER'?"),
        ("Anna B-PER\n", {"columns": ["_", "token", "tag"]}, "test:1: 2 columns; the entry's `columns` has 3"),
        ("1\tAnna\tO\n2\tO\n", {"columns": ["_", "token", "tag"]}, "test:2: 2 columns, not 3 as before"),
        ("WORD\tNER\nAnna\tO\n", {"columns": {"token": "TOKEN"}}, "test:1: no column 'TOKEN' in the first row; known"),
        ("Anna O\nlives  O\n", {"separator": "space"}, "test:2: 3 columns, not 2 as before; separate by one space"),
    ],
)
def test_a_faulty_row_is_told(text: str, files: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        sentences(tmp_path, text, **files)
    assert told in str(raised.value)


def test_a_token_may_hold_a_space_where_there_are_no_tags(tmp_path: Path) -> None:
    assert sentences(tmp_path, "Il\na\n10 000\nlivres\n") == ["Il/- a/- 10 000/- livres/-"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"columns": ["_", "tag"]}, "`columns` of tokens names one token"),
        ({"columns": ["token", "tag", "tag"]}, "`columns` of tokens names one token"),
        ({"columns": ["token", "tga"]}, "`columns` of tokens names one token"),
        ({"columns": {"token": 2, "tag": 3}}, "by position it is a list, such as [_, token, tag]"),
        ({"separator": ","}, "files.separator: Input should be 'tab', 'space' or 'whitespace'"),
        ({"comment": ""}, "files.comment"),
        ({"header": True, "columns": {"token": "a"}}, "`header` passes over a first row"),
        ({"label_names": {"a": "b"}}, "`label_names` is not for the reader tokens"),
        ({"reader": "conllu", "comment": "#"}, "`comment` is for the reader tokens, not for conllu"),
        ({"reader": "conllu", "separator": "tab"}, "`separator` is for the reader tokens, not for conllu"),
        ({"on_bad_offset": "drop"}, "`on_bad_offset` is for the readers squad"),
    ],
)
def test_options_that_do_not_fit_are_told(files: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        entry(tmp_path, **files)
    assert told in str(raised.value)


def test_what_is_read_otherwise_has_another_fingerprint(tmp_path: Path) -> None:
    """Files parted by spaces were once read as tokens alone: what was computed of them must not be found again."""
    seen = set()
    for text, files in (
        ("Anna O\n", {}),
        ("Anna O\n", {"separator": "tab"}),
        ("Anna O\n", {"comment": "#"}),
    ):
        (tmp_path / "test").write_text(text)
        seen.add(fingerprint(entry(tmp_path, **files), "test", "en", tmp_path))
    assert len(seen) == 3
