"""Wrong data, from the command line: one line, status 2, before any training, and the store is left alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from xstilts.cli import app as cli

CONTEXT = "Ada Lovelace was born in London in 1815."


def squad(start: int = 25, ids: tuple[str, str] = ("a", "b")) -> str:
    """Two articles of a question each, so that a dev set can be cut out."""
    return json.dumps(
        {
            "data": [
                {
                    "title": name,
                    "paragraphs": [
                        {
                            "context": f"{CONTEXT} ({name})",
                            "qas": [
                                {
                                    "id": name,
                                    "question": f"Where was she born, {name}?",
                                    "answers": [{"text": "London", "answer_start": start}],
                                }
                            ],
                        }
                    ],
                }
                for name in ids
            ]
        }
    )


PAIRS = "A man sleeps.\tNobody sleeps.\tcontradiction\nA dog runs fast.\tAn animal moves.\tentailment\n"
ENTRIES = {
    "my-span": {"format": "span", "metric": "f1", "files": {"reader": "squad", "train": "train.json"}},
    "my-pairs": {
        "format": "classification",
        "metric": "accuracy",
        "labels": ["entailment", "neutral", "contradiction"],
        "files": {"reader": "tsv", "columns": ["premise", "hypothesis", "label"], "train": "train.tsv"},
    },
}


def run(folder: Path, task: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    """Status of `xstilts run` on a study whose recipe is ``task``, trained on a file with ``content``."""
    entry = {"name": task, "description": "-", "languages": ["en"], "licence": "-", "citation": "-", **ENTRIES[task]}
    (folder / f"{task}.yaml").write_text(yaml.safe_dump(entry))
    (folder / "data").mkdir()
    (folder / "data" / entry["files"]["train"]).write_bytes(content)
    study = {
        "name": "bad", "encoders": ["bundled/e5-small@1"], "recipes": ["none", task], "seeds": [1],
        "targets": [{"task": "mini-span", "max_examples": 2}], "data": "data", "tasks": [f"{task}.yaml"],
    }  # fmt: skip
    (folder / "bad.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["xstilts", "run", "bad.yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("task", "content", "expected"),
    [
        ("my-span", squad()[:-5].encode(), "train.json:1"),
        ("my-span", squad().replace("London in", "L\udcffndon in").encode("utf-8", "surrogateescape"), "UTF-8"),
        ("my-span", squad(start=3).encode(), "2 of 2 answers are not at their offset, the first id a"),
        ("my-span", squad(ids=("a", "a")).encode(), "more than once, the first 'a'"),
        ("my-span", b'{"data": []}', "empty"),
        ("my-span", b'{"paragraphs": []}', "data"),
        ("my-pairs", PAIRS.encode() + b"Only one column\n", "train.tsv:3"),
        ("my-pairs", PAIRS.replace("entailment", "entailed").encode(), "did you mean 'entailment'?"),
        ("my-pairs", b"", "train.tsv"),
    ],
    ids=["json", "utf-8", "offset", "duplicate", "no-examples", "layout", "columns", "label", "empty"],
)
def test_a_broken_file_is_named_before_anything_is_trained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    task: str,
    content: bytes,
    expected: str,
) -> None:
    assert run(tmp_path, task, content, monkeypatch) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.strip().splitlines()
    assert line.startswith("error: bad.yaml: ") and expected in line and shown.out == ""
    assert not list((tmp_path / ".xstilts" / "store").rglob("manifest.json"))


NLI_ROWS = "A man sleeps.\tNobody sleeps.\tcontradiction\n"
CONLLU = "1\tDas\tdas\tPRON" + "\t_" * 6 + "\n"
CSQA = {"id": "a", "question": "Where?", "choices": {"label": ["A", "B"], "text": ["here", "there"]}, "answerKey": "A"}
COPA = {
    "premise": "Es regnet.",
    "choice1": "Ich werde nass.",
    "choice2": "Ich bleibe.",
    "question": "effect",
    "label": 0,
}
HELLASWAG = {"ind": 1, "ctx_a": "He", "ctx_b": "then", "endings": ["sat.", "ran."], "label": 0}


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("task", "language", "files", "expected"),
    [
        (
            "mnli",
            None,
            {"mnli/train.json": '{"0": {"text_a": "A", "label": "neutral"}}'},
            "train.json: '0': not {text_a",
        ),
        ("mnli", None, {"MNLI/train.tsv": "index\tsentence1\tgold_label\n"}, "train.tsv:1: no column 'sentence2'"),
        ("snli", None, {"snli_1.0/snli_1.0_train.jsonl": "{]"}, "snli_1.0_train.jsonl:1: column 2: invalid JSON"),
        ("anli", None, {"anli_v1.0/R1/train.jsonl": lines({"uid": "a", "context": "b"})}, "train.jsonl:1: no field"),
        ("qqp", None, {"QQP/train.tsv": "question1\tquestion2\tis_duplicate\nA?\tB?\t2\n"}, "train.tsv:2: label '2'"),
        (
            "squad_v2",
            None,
            {"squad_v2.0/train-v2.0.json": squad(start=3)},
            "train-v2.0.json: 2 of 2 answers are not at",
        ),
        ("hellaswag", None, {"hellaswag/hellaswag_train.jsonl": lines(HELLASWAG, {"ind": 2})}, "train.jsonl:2: not in"),
        ("cosmosqa", None, {"cosmosqa/train.csv": "id,context\n"}, "train.csv:1: no column 'question'"),
        (
            "commonsenseqa",
            None,
            {"commonsenseqa/train_rand_split.jsonl": lines(CSQA, {**CSQA, "answerKey": "Q"})},
            "train_rand_split.jsonl:2: not in the layout",
        ),
        ("copa", None, {"COPA/train.jsonl": lines({**COPA, "label": 2})}, "train.jsonl:1: not in the layout {premise"),
        ("siqa", None, {"siqa/socialIQa_v1.4_trn.jsonl": lines({"context": "a"})}, "trn.jsonl:1: not in the layout"),
        ("ccg", None, {"ccg/train.tsv": "Mr.\nVinken\n"}, "train.tsv:1: no tags; expected token and tag"),
        ("ccg", None, {"ccg/wsj02-21.stagged": "Mr.|N/N Vinken|N\n"}, "stagged:1: 'Mr.|N/N': not word|POS|supertag"),
        ("mlm", None, {"mlm_text/en.txt": b"caf\xe9\n"}, "en.txt:1: byte 4 is not valid UTF-8"),
        (
            "xnli",
            "de",
            {
                "xnli/test-de.tsv": NLI_ROWS + NLI_ROWS.replace("\tcontra", " contra"),
                "xnli/test-labels.txt": "neutral\n" * 2,
            },
            "test-de.tsv:2: 2 columns",
        ),
        (
            "xnli",
            "de",
            {"xnli/test-de.tsv": "A.\tB.\n" * 2, "xnli/test-labels.txt": "neutral\n"},
            "test-labels.txt: 1 label for 2 rows",
        ),
        ("xnli", "de", {"XNLI-1.0/xnli.test.tsv": "language\tsentence1\n"}, "xnli.test.tsv:1: no column 'sentence2'"),
        ("pawsx", "de", {"x-final/de/test_2k.tsv": "id\ts1\ts2\tlabel\n1\tA\tB\tyes\n"}, "test_2k.tsv:2: label 'yes'"),
        (
            "panx",
            "de",
            {"panx_dataset/de/test": "de:Köln\tB-LOC\nde:am\tO\nde:Rhein\tB-LOK\n"},
            "test:3: label 'B-LOK'",
        ),
        ("udpos", "de", {"udpos/test-de.tsv": "Köln\tPROPN\n\nist\n"}, "test-de.tsv:3: 1 column, not 2 as before"),
        ("pud", "de", {"ud/de_pud-ud-test.conllu": CONLLU + "2\tist\n"}, "test.conllu:2: 2 columns; CoNLL-U has 10"),
        ("pud", "de", {"ud/de_pud-ud-test.conllu.gz": b"not packed"}, "test.conllu.gz: cannot be unpacked"),
        ("xquad", "de", {"xquad/xquad.de.json": '{"data": [{"paragraphs": 1}]}'}, "xquad.de.json: data[0]: no list"),
        (
            "mlqa",
            "de",
            {
                "mlqa/dev/dev-context-de-question-de.json": squad(),
                "mlqa/test/test-context-de-question-de.json": squad()[:-5],
            },
            "test-context-de-question-de.json:1: column",
        ),
        ("tydiqa", "ko", {"tydiqa/tydiqa-goldp-v1.1-dev.json": squad()}, "or holds none of language 'ko'"),
        (
            "xcopa",
            "et",
            {"xcopa/data/et/test.et.jsonl": lines(COPA, {**COPA, "choice2": None})},
            "test.et.jsonl:2: not in",
        ),
        (
            "tatoeba",
            "de",
            {"tatoeba/tatoeba.deu-eng.deu": "Eins.\nZwei.\n", "tatoeba/tatoeba.deu-eng.eng": "One.\n"},
            "tatoeba.deu-eng.deu: 2 lines, but tatoeba.deu-eng.eng has 1",
        ),
        (
            "tatoeba",
            "de",
            {"tatoeba/tatoeba.deu-eng.deu": "Eins.\n\nDrei.", "tatoeba/tatoeba.deu-eng.eng": "1.\n2.\n3.\n"},
            "tatoeba.deu-eng.deu:2: an empty line",
        ),
    ],
)
def test_the_official_files_of_every_format_are_named_with_their_line_before_anything_is_trained(
    task: str,
    language: str | None,
    files: dict[str, str | bytes],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A task of which a language is given is the study's target, another one its recipe."""
    for name, content in files.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    recipe: object = {"task": "mini-nli", "mlm": {"share": 0.1, "languages": ["en"]}} if task == "mlm" else task
    study = {
        "name": "bad", "encoders": ["bundled/e5-small@1"], "seeds": [1], "data": "data",
        "recipes": ["none"] if language else ["none", recipe],
        "targets": [{"task": task, "languages": [language]} if language else {"task": "mini-span", "max_examples": 2}],
    }  # fmt: skip
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["xstilts", "run", "bad.yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    told = shown.err.strip().splitlines()
    assert ended.value.code == 2 and all(line.startswith("error: bad.yaml: ") for line in told) and shown.out == ""
    (line,) = (line for line in told if " train, en); get it from " not in line)  # which the folder has not either
    assert expected in line
    assert not list((tmp_path / ".xstilts" / "store").rglob("manifest.json"))


def test_data_check_tells_all_faults_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "xquad").mkdir()
    (tmp_path / "xquad" / "xquad.de.json").write_text(squad(start=3))
    (tmp_path / "xquad" / "xquad.es.json").write_text(squad()[:-5])
    (tmp_path / "xquad" / "xquad.ru.json").write_text(squad())
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["xstilts", "data", "check", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    shown = capsys.readouterr().out
    assert "xquad.de.json" in shown and "xquad.es.json" in shown and "notes.txt" in shown
    assert "2" in next(line for line in shown.splitlines() if "xquad.ru.json" in line)
