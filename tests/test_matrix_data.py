"""Data files × plan and data check: one line that names the file, or accepted by both, and rightly so."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from forked import XStilts, rows

GIGABYTE = 1 << 30
DIGITS = "9" * 5000
HALF = "\\ud800"

LABELS = ["a", "b"]
TAGS = ["O", "B-PER", "I-PER"]
SPAN, PAIRS, CHOICE, TAGGED = (
    {"format": "span", "metric": "f1"},
    {"format": "classification", "metric": "accuracy", "labels": LABELS},
    {"format": "multiple_choice", "metric": "accuracy"},
    {"format": "tagging", "metric": "accuracy", "labels": TAGS},
)

#: By reader: what its entry has, the file's name, what is read without a word.
KINDS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "squad": (SPAN, {"reader": "squad"}, "train.json"),
    "records": (SPAN, {"reader": "records"}, "train.jsonl"),
    "tsv": (PAIRS, {"reader": "tsv", "columns": ["premise", "hypothesis", "label"]}, "train.tsv"),
    "named": (PAIRS, {"reader": "tsv", "columns": {"premise": "p", "label": "l"}}, "train.tsv"),
    "jsonl": (PAIRS, {"reader": "jsonl", "columns": {"premise": "p", "label": "l"}}, "train.jsonl"),
    "numbers": (
        {**PAIRS, "labels": ["0", "1"]},
        {"reader": "jsonl", "columns": {"id": "i", "premise": "p", "label": "l"}},
        "train.jsonl",
    ),
    "csv": (PAIRS, {"reader": "csv", "columns": {"premise": "p", "label": "l"}}, "train.csv"),
    "pairs_json": (PAIRS, {"reader": "pairs_json"}, "train.json"),
    "choices": (
        CHOICE,
        {"reader": "choices", "columns": {"prompt": "{p}", "label": "l", "0": "x", "1": "y"}},
        "train.jsonl",
    ),
    "csqa": (CHOICE, {"reader": "commonsenseqa"}, "train.jsonl"),
    "hellaswag": (CHOICE, {"reader": "hellaswag"}, "train.jsonl"),
    "cosmosqa": (CHOICE, {"reader": "cosmosqa"}, "train.csv"),
    "tokens": (TAGGED, {"reader": "tokens"}, "train.tsv"),
    "columns": (TAGGED, {"reader": "tokens", "columns": ["_", "token", "tag"], "comment": "#"}, "train.tsv"),
    "conllu": ({**TAGGED, "labels": ["NOUN", "VERB"]}, {"reader": "conllu"}, "train.conllu.gz"),
    "stagged": (TAGGED, {"reader": "stagged"}, "train.stagged"),
    "drop": (SPAN, {"reader": "squad", "on_bad_offset": "drop"}, "train.json"),
    "mend": (SPAN, {"reader": "squad", "on_bad_offset": "mend"}, "train.json"),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A file for an entry of ``kind``; what is ``told`` of it, or a note where it is accepted."""

    kind: str
    content: bytes | str | Callable[[Path], object]
    told: str | None
    note: str = ""


# --- contents ---

CONTEXT = "Ada Lovelace was born in London in 1815."


def squad(context: str = CONTEXT, first: Mapping[str, Any] | None = None, **answer: Any) -> str:
    """Three articles of a question each, the first of which has some fields of its answer or its own changed."""
    articles = []
    for name in ("a", "b", "c"):
        own = {"text": "London", "answer_start": 25, **(answer if name == "a" else {})}
        question = {"id": name, "question": f"Where was she born, {name}?", "answers": [own]}
        question |= first if first and name == "a" else {}
        articles.append({"title": name, "paragraphs": [{"context": f"{context} ({name})", "qas": [question]}]})
    return json.dumps({"data": articles})


def flat(**answers: Any) -> list[dict[str, Any]]:
    own = {"text": ["London"], "answer_start": [25], **answers}
    return [{"id": n, "context": f"{CONTEXT} ({n})", "question": f"Where, {n}?", "answers": own} for n in "ab"]


def lines(*made: object) -> str:
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in made)


SQUAD = squad()
TABLE = "A man sleeps.\tNobody sleeps.\ta\nA dog runs fast.\tAn animal moves.\tb\n"
JSONL = lines({"p": "one", "l": "a"}, {"p": "two", "l": "b"})
CHOSEN = [{"p": f"It rains {n}", "x": "wet", "y": "dry", "l": n} for n in (0, 1)]
MARKED = [{"label": "A", "text": "q"}, {"label": "B", "text": "r"}]
CSQA = [{"id": f"{n}", "question": {"stem": f"x{n}", "choices": MARKED}, "answerKey": "A"} for n in (0, 1)]
SWAG = [{"ind": n, "ctx_a": f"He {n}", "ctx_b": "then", "endings": ["sat.", "ran."], "label": 0} for n in (0, 1)]
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\na,b,c,d,e,f,g,0\nb,h,c,d,e,f,g,1\n"
ANSWERED = [{**row, "answers": [{"text": "London", "start": 25}]} for row in flat()]
SAME_ID = SQUAD.replace('"id": "b"', '"id": "a"')
TOKENS = "Ada\tB-PER\nsleeps\tO\n\nBonn\tO\nlies\tO\n"
CONLLU = "".join(f"1\t{word}\t_\t{tag}" + "\t_" * 6 + "\n\n" for word, tag in (("dog", "NOUN"), ("runs", "VERB")))
NOT_AT_OFFSET = "1 of 3 answers are not at their offset, the first id a: "


def answerless(name: str) -> dict[str, Any]:
    return {"id": name, "question": "Where?"}


def pipe(path: Path) -> None:
    os.mkfifo(path)


def pipe_behind_a_link(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def linked(path: Path) -> None:
    path.with_name("elsewhere").write_text(TABLE)
    path.symlink_to("elsewhere")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(4 * GIGABYTE)


def packed(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


CASES: dict[str, Case] = {
    # What no parser of JSON should die of, or let through
    "squad": Case("squad", SQUAD, None),
    "digits": Case("squad", SQUAD.replace('"answer_start": 25', f'"answer_start": {DIGITS}', 1), "thousands of digits"),
    "deep": Case("squad", '{"data": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
    "key twice": Case("squad", SQUAD.replace('"title"', '"paragraphs": [], "title"', 1), "'paragraphs' is given twice"),
    "half a character": Case("squad", SQUAD.replace("Ada", f"{HALF}Ada").replace("25", "26"), "column 54: \\ud800 is"),
    "half a character in an id": Case("squad", SQUAD.replace('"id": "a"', '"id": "\\udc80"'), "\\udc80 is half"),
    "a pair of halves": Case("squad", SQUAD.replace("(a)", "\\ud83d\\ude00"), None),
    "a NUL in a string": Case("squad", SQUAD.replace("(a)", "\\u0000"), None),
    "cut": Case("squad", SQUAD[:-5], "train.json:1: column"),
    "more behind": Case("squad", SQUAD + "x", "invalid JSON (Extra data)"),
    "NULs": Case("squad", b"\0" * 4096, "a NUL byte"),
    "empty": Case("squad", "", "the file is empty"),
    "blanks": Case("squad", " \n\n ", "the file is empty"),
    "empty array": Case("squad", "[]", "no examples"),
    "array of numbers": Case("squad", "[1, 2]", "record 1: not a JSON object"),
    "null": Case("squad", "null", "None is all it holds"),
    "number": Case("squad", "1", "1 is all it holds"),
    "other object": Case("squad", '{"paragraphs": []}', "no list `data`"),
    "data of numbers": Case("squad", '{"data": [1]}', "data[0]: not an object"),
    "a byte order mark": Case("squad", b"\xef\xbb\xbf" + SQUAD.encode(), None),
    "UTF-16": Case("squad", SQUAD.encode("utf-16"), "UTF-16, not UTF-8; save the file as UTF-8"),
    "UTF-16 without mark": Case("squad", SQUAD.encode("utf-16-le"), "a NUL byte"),
    "UTF-32": Case("squad", SQUAD.encode("utf-32"), "not UTF-8; save the file as UTF-8"),
    "Latin-1": Case("squad", SQUAD.replace("(a)", "ä").encode("latin-1"), "train.json:1: not UTF-8"),
    "10 MB of context": Case("squad", squad(f"{CONTEXT}{' x' * 5_000_000}"), None),
    # What fields hold
    "answer_start is a text": Case("squad", squad(answer_start="25"), None),
    "answer_start is 25.0": Case("squad", squad(answer_start=25.0), None),
    "answer_start is 25.5": Case("squad", squad(answer_start=25.5), "(id a): answer_start 25.5 must be a whole number"),
    "answer_start is true": Case("squad", squad(answer_start=True), "answer_start True must be a whole number"),
    "answer_start is NaN": Case("squad", squad(answer_start=float("nan")), "answer_start nan must be a whole number"),
    "answer_start is infinite": Case("squad", squad(answer_start=float("inf")), "answer_start inf must be a whole"),
    "answer_start is null": Case("squad", squad(answer_start=None), "answer_start None must be a whole number"),
    "answer_start is no number": Case("squad", squad(answer_start="x"), "answer_start 'x' must be a whole number"),
    "answer_start is negative": Case("squad", squad(answer_start=-1), NOT_AT_OFFSET),
    "answer_start is huge": Case("squad", squad(answer_start=10**40), NOT_AT_OFFSET),
    "an answer elsewhere": Case("squad", squad(answer_start=3), "say `on_bad_offset: mend`, or `drop`, in the entry"),
    "an answer elsewhere, dropped": Case(
        "drop", squad(answer_start=3), None, "(id a): 1 dropped"
    ),
    "an answer elsewhere, mended": Case("mend", squad(answer_start=3), None, "(id a): 1 mended"),
    "an answer nowhere, mended": Case("mend", squad(text="Paris"), None, "1 dropped: not in the context"),
    "an answer without start": Case("squad", squad(first={"answers": [{"text": "London"}]}), "an answer without text"),
    "answers are a text": Case("squad", squad(first={"answers": "x"}), "`answers` is neither a list"),
    "is_impossible is a text": Case("squad", squad(first={"is_impossible": "true", "answers": []}), "`unanswerable:"),
    "is_impossible is a word": Case("squad", squad(first={"is_impossible": "yes"}), "(id a): is_impossible 'yes'"),
    "an id is null": Case("squad", squad(first={"id": None}), "no `id`"),
    "an id is true": Case("squad", squad(first={"id": True}), "no `id`"),
    "an id is a number": Case("squad", squad(first={"id": 7}), None),
    "a question is a number": Case("squad", squad(first={"question": 7}), "no text `question`"),
    "ids with an escape": Case("squad", SAME_ID.replace('"id": "a"', '"id": "\\u001b[31m"'),
                               "1 id given more than once"),
    "ids with a line break": Case("squad", SAME_ID.replace('"id": "a"', '"id": "x\\ny"'),
                                  "the first 'x\\ny'"),
    "no answers at all": Case("squad", squad().replace('"answers"', '"answer"'), "no row has 'answers'"),
    "blank answers only": Case("squad", squad().replace('"text": "London"', '"text": ""'), "no gold labels"),
    # Flat rows
    "flat lines": Case("squad", lines(*flat()), None),
    "flat array": Case("squad", json.dumps(flat(), indent=1), None),
    "flat data": Case("squad", json.dumps({"version": "2", "data": flat()}), None),
    "flat, other lengths": Case("squad", lines(*flat(answer_start=[])), "line 1 (id a): `answers` is neither"),
    "flat, misplaced": Case("squad", lines(*flat(answer_start=[3])), "2 of 2 answers are not at their offset"),
    "flat, faulty record": Case("squad", json.dumps([{"context": "x"}]), "record 1: no text `question`"),
    "flat, faulty line": Case("squad", lines(*flat(), "{]"), "train.json:3: column 2: invalid JSON"),
    # Records
    "records": Case("records", lines(*ANSWERED), None),
    "records in an array": Case(
        "records", json.dumps(ANSWERED), None
    ),
    "records with a start as text": Case(
        "records", lines(*ANSWERED).replace("25}", '"25"}'), "train.jsonl:1: 'answers.0.start'"
    ),
    "records with a misspelt field": Case(
        "records", lines(*({"context": "a b", "question": "c", "answer": []} for _ in "ab")), "did you mean 'answers'?"
    ),
    "records without gold": Case("records", lines(*({"context": n, "question": "c"} for n in "ab")), "no gold labels"),
    # Tables
    "table": Case("tsv", TABLE, None),
    "table with CRLF": Case("tsv", TABLE.replace("\n", "\r\n"), None),
    "table with CR": Case("tsv", TABLE.replace("\n", "\r"), "lines end in CR"),
    "table with NUL": Case("tsv", TABLE.replace("dog", "d\0g"), "train.tsv:2: a NUL byte"),
    "table in UTF-16": Case("tsv", TABLE.encode("utf-16"), "UTF-16, not UTF-8"),
    "table in Latin-1": Case("tsv", TABLE.replace("dog", "dög").encode("latin-1"), "train.tsv:2: byte 4 is not"),
    "table with an empty text": Case("tsv", "\tx\ta\n" + TABLE, None, "of 3 with an empty text, the first id 1"),
    "table with a blank text": Case("tsv", "  \t \ta\n" + TABLE, None, "1 example of 3 with an empty text"),
    "table with an invisible text": Case("tsv", "\u200b\tx\ta\n" + TABLE, None, "1 example of 3 with an empty"),
    "table with an escape": Case("tsv", TABLE + "a\tb\t\x1b[2J\x07\n", "train.tsv:3: label '\\x1b[2J\\x07'"),
    "table with a long label": Case("tsv", TABLE + f"a\tb\t{'L' * 100_000}\n", "train.tsv:3: label 'LLL"),
    "table with an empty line": Case("tsv", TABLE.replace("\nA dog", "\n\nA dog"), "train.tsv:2: an empty line"),
    "table of one 50 MB line": Case("tsv", b"a" * 50_000_000, "train.tsv:1: 1 column"),
    "table without labels": Case("tsv", "a\tb\nc\td\n", "no gold labels"),
    "table of two columns more": Case("tsv", "a\tb\ta\tx\n", "train.tsv:1: 4 columns"),
    "table of no known column": Case("named", "q\tl\nx\ta\n", "train.tsv:1: no column 'p' in the first row"),
    "table of a first row alone": Case("named", "p\tl\n", "no examples"),
    # JSON lines
    "lines": Case("jsonl", JSONL, None),
    "lines in an array": Case("jsonl", json.dumps([{"p": "one", "l": "a"}, {"p": "two", "l": "b"}], indent=2), None),
    "lines with a byte order mark": Case("jsonl", "\ufeff" + JSONL, None),
    "lines with digits": Case("jsonl", f'{{"p": "one", "l": "a", "n": {DIGITS}}}\n{JSONL}', "train.jsonl:1: a number"),
    "lines with depth": Case("jsonl", JSONL + '{"p": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "train.jsonl:3: lists"),
    "lines with an array": Case("jsonl", "[1]\n" + JSONL, "train.jsonl:1: not a JSON object"),
    "lines with NaN": Case("jsonl", '{"p": NaN, "l": "a"}\n' + JSONL, "train.jsonl:1: 'p' is nan, not a text"),
    "lines with half a character": Case("jsonl", f'{JSONL}{{"p": "{HALF}", "l": "a"}}\n', "train.jsonl:3: column 8"),
    "lines with an empty line": Case("jsonl", JSONL.replace("\n", "\n\n"), "train.jsonl:2: column 1"),
    "lines with a long one": Case("jsonl", f'{{"p": "{"x y " * 2_500_000}", "l": "a"}}\n{JSONL}', None),
    "lines without a field": Case("jsonl", lines({"p": "one", "lable": "a"}), "no field 'l'; known: lable, p"),
    "lines without label": Case("jsonl", lines({"p": "one", "l": None}), "'l' is None, not a text or a whole number"),
    "a record of an array": Case("jsonl", '[{"p": "one", "l": "a"}, {"p": 1, "l": "b"}]', "record 2: 'p' is 1"),
    "numbers": Case("numbers", lines(*({"i": n, "p": f"{n}", "l": n % 2} for n in range(4))), None),
    "numbers with a fraction": Case("numbers", lines({"i": 1, "p": "x", "l": 1.0}), "jsonl:1: 'l' is 1.0, not a text"),
    "numbers of truth": Case("numbers", lines({"i": 1, "p": "x", "l": True}), "'l' is True, not a text or a"),
    "numbers as ids": Case("numbers", lines({"i": 1.5, "p": "x", "l": 1}), "'i' is 1.5, not a text or a whole number"),
    "numbers out of the set": Case("numbers", lines({"i": 1, "p": "x", "l": 2}), "label '2' is not in the label set"),
    # CSV
    "csv": Case("csv", "p,l\none,a\ntwo,b\n", None),
    "csv with a long cell": Case("csv", f"p,l\n{'w ' * 100_000},a\ntwo,b\n", None),
    "csv with NUL": Case("csv", "p,l\no\0ne,a\n", "train.csv:2: a NUL byte"),
    "csv with an open quote": Case("csv", 'p,l\n"one,a\ntwo,b\n', "not valid CSV"),
    "csv with a column twice": Case("csv", "p,p,l\none,x,a\ntwo,y,b\n", "column 'p' stands twice"),
    "csv with formulas": Case("csv", "p,l\n=cmd(),a\n+1,b\n", None),
    "csv parted otherwise": Case("csv", "p;l\none;a\n", "train.csv:1: no column 'l' in the first row; expected l, p"),
    # Pairs, choices
    "pairs": Case("pairs_json", json.dumps({n: {"text_a": n, "text_b": "y", "label": n} for n in LABELS}), None),
    "pairs with digits": Case("pairs_json", f'{{"0": {{"text_a": "x", "label": {DIGITS}}}}}', "thousands of digits"),
    "pairs in a list": Case("pairs_json", "[]", "not an object of pairs"),
    "pairs with an id twice": Case("pairs_json", '{"0": {"text_a": "x"}, "0": {"text_a": "z"}}', "'0' is given twice"),
    "choices": Case("choices", lines(*CHOSEN), None),
    "choices in an array": Case("choices", json.dumps(CHOSEN), None),
    "choices with a misspelt label": Case(
        "choices", lines(*CHOSEN).replace('"l"', '"lx"'), "no row has 'l', which holds the gold labels; fields: p,"
    ),
    "choices with true": Case("choices", lines({**CHOSEN[0], "l": True}), "its l is True"),
    "choices with a fraction": Case("choices", lines({**CHOSEN[0], "l": 1.0}), "its l is 1.0"),
    "CommonsenseQA": Case("csqa", lines(*CSQA), None),
    "CommonsenseQA with digits": Case("csqa", lines(CSQA[0]).replace('"A"}', f"{DIGITS}}}"), "thousands of digits"),
    "CommonsenseQA with null": Case("csqa", '{"id": null, "question": null}\n', "not in the layout"),
    "CommonsenseQA with a mark twice": Case("csqa", lines(*CSQA).replace('"B"', '"A"'), "its answerKey is 'A'"),
    "CommonsenseQA without choices": Case(
        "csqa", '{"id": "1", "question": {"stem": "x", "choices": []}, "answerKey": "A"}', "not in the layout"
    ),
    "CommonsenseQA without key": Case("csqa", lines(*CSQA).replace("answerKey", "answer"), "no row has 'answerKey'"),
    "HellaSwag": Case("hellaswag", lines(*SWAG), None),
    "HellaSwag with true": Case("hellaswag", lines({**SWAG[0], "label": True}), "its label is True"),
    "HellaSwag out of range": Case("hellaswag", lines({**SWAG[0], "label": 2}), "label 2 of 2 choices"),
    "Cosmos QA": Case("cosmosqa", COSMOS, None),
    "Cosmos QA without label": Case(
        "cosmosqa", "id,context,question,answer0,answer1,answer2,answer3,lable\na,b,c,d,e,f,g,0\n", "no row has 'label'"
    ),
    "Cosmos QA out of range": Case("cosmosqa", COSMOS.replace(",g,0", ",g,4"), "train.csv:2: label '4'"),
    # Tokens
    "tokens": Case("tokens", TOKENS, None),
    "tokens with spaces": Case("tokens", TOKENS.replace("\t", " "), None),
    "tokens with a blank": Case("tokens", TOKENS + "\n \tO\nx\tO\n", None),
    "tokens alone": Case("tokens", "Ada\nsleeps\n", "no gold labels"),
    "tokens with comments": Case("tokens", "# id 1\n" + TOKENS, "train.tsv:1: no tab behind '#'; if these are remarks"),
    "tokens with numbers": Case("tokens", "0\tAda\tB-PER\n", "as in `columns: [_, token, tag]`"),
    "tokens of four": Case("tokens", "EU NNP B-NP O\n", "`separator: space, columns: [token, _, _, tag]`"),
    "tokens with a hole": Case("tokens", TOKENS + "\nx\n", "train.tsv:7: 1 column, not 2 as before"),
    "tokens with an empty one": Case("tokens", TOKENS + "\n\tO\n", "train.tsv:7: an empty token"),
    "tokens with a typo": Case("tokens", TOKENS + "\nx\tB-PRE\n", "did you mean 'B-PER'?"),
    "columns": Case("columns", "# id\n1\tAda\tB-PER\t-\n2\tis\tO\t-\n\n1\tIt\tO\t-\n", None),
    "columns too few": Case("columns", "Ada\tB-PER\n", "train.tsv:1: 2 columns; the entry's `columns` has 3"),
    "tags": Case("stagged", "Ada|N|B-PER is|V|O\nIt|P|O\n", None),
    "tags without": Case("stagged", "Ada|N is|V|O\n", "train.stagged:1: 'Ada|N': not word|POS|supertag"),
    # Packed files
    "packed": Case("conllu", packed(CONLLU), None),
    "packed twice": Case("conllu", packed(CONLLU[: len(CONLLU) // 2]) + packed(CONLLU[len(CONLLU) // 2 :]), None),
    "packed and cut": Case("conllu", packed(CONLLU)[:-9], "cannot be unpacked"),
    "packed and damaged": Case("conllu", packed(CONLLU)[:30] + b"\xff" + packed(CONLLU)[31:], "cannot be unpacked"),
    "packed, more behind": Case("conllu", packed(CONLLU) + b"junk", "cannot be unpacked"),
    "not packed": Case("conllu", CONLLU, "cannot be unpacked: Not a gzipped file"),
    "packed bomb": Case("conllu", gzip.compress(bytes(1 << 24), mtime=0) * 64, "unpacks to far more than a text would"),
    "packed nothing": Case("conllu", b"", "no examples; the file is empty"),
    # What is no file
    "pipe": Case("tsv", pipe, "cannot be read: a named pipe or a device, not a file"),
    "link to a pipe": Case("tsv", pipe_behind_a_link, "cannot be read: a named pipe or a device, not a file"),
    "link to /dev/zero": Case("tsv", link("/dev/zero"), "cannot be read: a named pipe or a device, not a file"),
    "folder": Case("tsv", Path.mkdir, "cannot be read: a folder, not a file"),
    "link to itself": Case("tsv", link("train.tsv"), "cannot be read: Too many levels of symbolic links"),
    "link to nowhere": Case("tsv", link("nowhere"), "links to nowhere, which is not there"),
    "link": Case("tsv", linked, None),
    "sparse": Case("tsv", sparse, "4,294,967,296 bytes, of at most 2,147,483,648; split the file"),
}  # fmt: skip


def write(folder: Path, case: Case) -> Path:
    """A study with the recipe of a task trained on the file, beside its entry and its data folder."""
    fields, files, name = KINDS[case.kind]
    entry = {"name": "mine", "description": "-", "languages": ["en"], "licence": "-", "citation": "-", **fields,
             "files": {**files, "train": name}}  # fmt: skip
    study = {
        "name": "data", "encoders": ["bundled/e5-small@1"], "recipes": ["none", "mine"], "seeds": [1], "data": "data",
        "tasks": ["mine.yaml"], "targets": [{"task": "mini-span", "max_examples": 2, "languages": ["en"]}],
        "training": {"max_train_examples": 4, "max_dev_examples": 2},
    }  # fmt: skip
    (folder / "mine.yaml").write_text(yaml.safe_dump(entry))
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    (folder / "data").mkdir()
    path = folder / "data" / name
    if callable(case.content):
        case.content(path)
    else:
        path.write_bytes(case.content.encode() if isinstance(case.content, str) else case.content)
    return path


@pytest.mark.parametrize("case", rows(CASES, 10))
def test_plan_tells_what_is_wrong_with_a_file(case: Case, tmp_path: Path, xstilts: XStilts) -> None:
    path = write(tmp_path, case)
    ended = xstilts(tmp_path, "plan", "study.yaml", memory=3 * GIGABYTE)
    if case.told is None:
        ended.assert_accepted()
        assert case.note in ended.out.replace("\n", " ").replace("  ", " ")
    else:
        ended.assert_refused(path.name, case.told)
        assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.parametrize("case", rows(CASES, 10))
def test_data_check_says_the_same_of_it(case: Case, tmp_path: Path, xstilts: XStilts) -> None:
    path = write(tmp_path, case)
    ended = xstilts(tmp_path, "data", "check", "data", "--task", "mine.yaml", memory=3 * GIGABYTE)
    ended.assert_plain()
    assert all(line.isprintable() and len(line) < 600 for line in ended.out.splitlines())
    if case.told is None:
        assert ended.status == 0, ended.out + ended.err
        assert case.note in ended.out
    else:
        assert ended.status == 2 and path.name in ended.out + ended.err
        assert case.told in ended.out + ended.err


@pytest.mark.parametrize("case", rows(CASES, 6))
def test_a_file_that_no_entry_names_is_read_or_told(case: Case, tmp_path: Path, xstilts: XStilts) -> None:
    path = write(tmp_path, case)
    ended = xstilts(tmp_path, "data", "check", str(path), memory=3 * GIGABYTE)
    ended.assert_plain()
    assert ended.status in (0, 2) and path.name in ended.out + ended.err
    assert all(line.isprintable() and len(line) < 600 for line in (ended.out + ended.err).splitlines())
