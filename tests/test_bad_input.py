"""Wrong data, from the command line: one line, status 2, before any training, and the store is left alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from xstilts import cli

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
