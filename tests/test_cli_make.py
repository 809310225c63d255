"""`xstilts make`, from data files to a model that answers."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import xstilts
from xstilts.cli import app as cli

NAMES = ("Amina", "Bruno", "Chipo", "Daudi", "Elena", "Farid", "Grace", "Hanna")
PLACES = ("Mombasa", "Bonn", "Harare", "Arusha", "Sofia", "Tunis", "Accra", "Oslo")


def squad(of: str, n: int) -> str:
    """SQuAD's layout: who lives where, each passage with one question."""
    paragraphs = []
    for i in range(n):
        name, place = NAMES[i % 8], PLACES[(i * 3) % 8]
        context = f"{of} {i}: {name} lives in {place}, and likes it."
        question = {"id": f"{of}-{i}", "question": f"Where does {name} live?",
                    "answers": [{"text": place, "answer_start": context.index(place)}]}  # fmt: skip
        paragraphs.append({"context": context, "qas": [question]})
    return json.dumps({"data": [{"title": of, "paragraphs": paragraphs}]})


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pairs = [{"sentence1": f"{name} sleeps.", "sentence2": f"{name} is awake.", "gold_label": label}
             for name in NAMES for label in ("entailment", "neutral", "contradiction")]  # fmt: skip
    files = {
        "squad_v1.1/train-v1.1.json": squad("train", 24),
        "xquad/xquad.de.json": squad("test", 8),
        "multinli_1.0/multinli_1.0_train.jsonl": "\n".join(map(json.dumps, pairs)),
        "multinli_1.0/multinli_1.0_dev_matched.jsonl": "\n".join(
            json.dumps({**pair, "sentence1": f"Dev: {pair['sentence1']}"}) for pair in pairs
        ),
    }
    for name, text in files.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    return tmp_path / "data"


def make(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["xstilts", "make", *words])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_model_for_a_language_in_one_go(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("--task", "qa", "--language", "de", "--data", str(data), "--encoder", "bundled/e5-small@1")
    assert make(monkeypatch, *wanted, "--out", "model", "--hours", "1") == 0
    out = capsys.readouterr().out
    assert "runs/make-xquad-de/study.yaml: about " in out and "Report: runs/make-xquad-de/report.html" in out
    expected = re.search(r"Expect in de: f1 (\S+) \(95 % interval (\S+) to (\S+), 8 examples, 3 seeds\)(.*)", out)
    assert expected and float(expected[2]) <= float(expected[1]) <= float(expected[3])
    chosen = re.search(r"Model: model \(seed (\d), recipe (\w+): the best of all by its English dev score\)", out)
    assert chosen and (" over no intermediate task " in expected[4]) == (chosen[2] != "none")
    assert expected[4].endswith(". It was trained on English alone.")
    stages = xstilts.results("runs/make-xquad-de/study.yaml").stages
    scores = xstilts.scores("runs/make-xquad-de/study.yaml").filter("main")
    best = scores.sort("dev", descending=True).row(0, named=True)["dev"]
    assert scores.filter(recipe=chosen[2], seed=int(chosen[1]))["dev"].to_list() == [best]
    (key,) = scores.filter(recipe=chosen[2], seed=int(chosen[1]))["model"]
    assert ("Do not use it" in out) == stages.filter(key=key)["collapsed"].item()
    model = xstilts.load("model")
    assert model("Where does Chipo live?", "Chipo lives in Accra.") in "Chipo lives in Accra."
    assert make(monkeypatch, *wanted, "--out", "model") == 2
    assert "--out model: is there already; name a new folder" in capsys.readouterr().err
    study = Path("runs/make-xquad-de/study.yaml")
    study.write_text(study.read_text("utf-8") + "# mine\n", "utf-8")
    assert make(monkeypatch, *wanted, "--out", "other", "--hours", "1") == 2
    assert "with changes or of other options; move it away" in capsys.readouterr().err
    assert study.read_text("utf-8").endswith("# mine\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "nlii", "--language", "de"), "--task nlii: did you mean 'nli'"),
        (
            ("--task", "qa", "--language", "sw", "--data", "data"),
            "--language sw: no test data of qa in data; there are",
        ),
        (("--task", "xquad", "--language", "sw", "--data", "data"), "language 'sw': data: xquad has de"),
        (("--task", "mine.yaml", "--language", "sw", "--data", "data"), "mine.yaml"),
        (("--task", "tatoeba", "--language", "de"), "--task tatoeba: no model is trained for it"),
        (("--task", "qa", "--language", "de", "--data", "dta"), "--data dta: no such folder"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_runs(
    words: tuple[str, ...],
    message: str,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert make(monkeypatch, *words, "--out", "model") == 2
    assert message in capsys.readouterr().err
    assert not Path("model").exists() and not Path(".xstilts").exists()
