"""Translations from files: the layouts of XTREME and our own, and what is said of files that are not parallel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from xstilts.cli import app as cli
from xstilts.common.errors import UserError
from xstilts.common.progress import Event
from xstilts.data import load
from xstilts.data.translation import files_fingerprint, read_translated, translate, write_translated
from xstilts.data.translation.by_engine import NOT_FOUND
from xstilts.data.translation.from_files import MISPLACED, MISSING, NO_ANSWER
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats import Example

SQUAD, MNLI, PAWSX = (builtin_catalog()[name] for name in ("squad", "mnli", "pawsx"))


class Capitals:
    """An engine: texts in capitals, except those that it knows something else for."""

    name = "capitals"
    languages = ("es",)

    def __init__(self, known: dict[str, str] | None = None):
        self.known = known or {}
        self.calls = 0

    def id(self, language: str) -> str:
        return "capitals 1"

    def translate(self, texts: Sequence[str], language: str) -> list[str]:
        self.calls += 1
        return [self.known.get(text, text.upper()) for text in texts]


def question(id: str, answer: str, start: int) -> dict[str, Any]:
    return {"id": id, "question": f"Which {id}?", "answers": [{"text": answer, "answer_start": start}]}


def squad(path: Path, paragraphs: list[tuple[str, list[dict[str, Any]]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [{"context": context, "qas": questions} for context, questions in paragraphs]
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": written}]}), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with small English training files of SQuAD, MNLI and PAWS-X."""
    squad(
        tmp_path / "squad_v1.1/train-v1.1.json",
        [(f"Cat {n} sat on mat {n}.", [question(f"a{n}", f"Cat {n}", 0)]) for n in range(10)],
    )
    (tmp_path / "XNLI-MT-1.0/multinli").mkdir(parents=True)
    (tmp_path / "MNLI").mkdir()
    rows = "It rains .\tIt is wet .\tentailment\nIt rains .\tIt is dry .\tcontradiction\n"
    for name in ("train", "dev_matched"):
        (tmp_path / f"MNLI/{name}.tsv").write_text("sentence1\tsentence2\tgold_label\n" + rows)
    (tmp_path / "x-final/en").mkdir(parents=True)
    rows = "1\tA is B .\tB is A .\t1\n2\tA saw B .\tB saw A .\t0\n3\tA met B .\tB met A .\t1\n"
    for name in ("train", "dev_2k"):
        (tmp_path / f"x-final/en/{name}.tsv").write_text("id\tsentence1\tsentence2\tlabel\n" + rows)
    return tmp_path


def english(task: Any, data: Path) -> list[Example]:
    return load(task, "train", "en", data)


def refused(task: Any, pattern: str, data: Path, what: str, source: list[Example] | None = None) -> None:
    with pytest.raises(UserError) as caught:
        read_translated(task, pattern, "es", english(task, data) if source is None else source, data)
    assert what in str(caught.value) and "\n" not in str(caught.value)


# SQuAD's layout


def test_squad_translations_are_read_by_their_ids(data: Path) -> None:
    squad(
        data / "squad.translate.train.en-es.json",
        [(f"El gato {n} en la alfombra.", [question(f"a{n}", f"gato {n}", 3)]) for n in range(9, -1, -1)],
    )
    source = english(SQUAD, data)
    translated = read_translated(SQUAD, "squad.translate.train.en-{lang}.json", "es", source, data)
    assert translated.dropped == {}
    assert [one.id for one in translated.examples] == [one.id for one in source], "train alone, dev is cut out"
    assert len(source) == 9


def test_questions_that_lost_their_answer_are_counted(data: Path) -> None:
    paragraphs = [(f"El gato {n}.", [question(f"a{n}", f"gato {n}", 3)]) for n in range(10)]
    source = english(SQUAD, data)
    one, two, three = (paragraphs[int(example.id[1:])] for example in source[:3])
    paragraphs.remove(one)
    two[1][0]["answers"][0]["answer_start"] = 1
    three[1][0]["answers"] = []
    squad(data / "es.json", paragraphs)
    translated = read_translated(SQUAD, "es.json", "es", source, data)
    assert [example.id for example in translated.examples] == [example.id for example in source[3:]]
    assert translated.dropped == {MISSING: 1, MISPLACED: 1, NO_ANSWER: 1}


def test_unknown_ids_are_told(data: Path) -> None:
    squad(data / "es.json", [("El gato.", [question("a1", "gato", 3), question("zz", "gato", 3)])])
    refused(SQUAD, "es.json", data, "es.json: 1 id that the English data lack, the first 'zz': not parallel")


def test_english_in_place_of_translations_is_told(data: Path) -> None:
    refused(SQUAD, "squad_v1.1/train-v1.1.json", data, "holds the English texts")


def test_files_that_are_not_there_are_told(data: Path) -> None:
    refused(SQUAD, "no/{lang}.json", data, f"no/es.json: no such file in {data} (translations of squad into es); `xsti")
    refused(SQUAD, str(data / "{lang}.json"), data, f"{data}/es.json: no such file (translations")


# Tables of pairs


def test_xnli_and_pawsx_are_read_by_their_rows(data: Path) -> None:
    (data / "XNLI-MT-1.0/multinli/multinli.train.es.tsv").write_text(
        "premise\thypo\tlabel\nLlueve .\tMoja .\tentailment\nLlueve .\tSeco .\tcontradictory\n"
    )
    pattern = "XNLI-MT-1.0/multinli/multinli.train.{lang}.tsv"
    translated = read_translated(MNLI, pattern, "es", english(MNLI, data), data)
    assert [(one.premise, one.hypothesis, one.label) for one in translated.examples] == [  # type: ignore[union-attr]
        ("Llueve .", "Moja .", "entailment"),
        ("Llueve .", "Seco .", "contradiction"),
    ]
    (data / "x-final/es").mkdir()
    rows = "id\tsentence1\tsentence2\tlabel\n1\tx\ty\t1\n2\tx\tz\t0\n3\tz\ty\t1\n"
    (data / "x-final/es/translated_train.tsv").write_text(rows)
    translated = read_translated(PAWSX, "x-final/{lang}/translated_train.tsv", "es", english(PAWSX, data), data)
    assert [one.id for one in translated.examples] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (["x\ty\t1", "x\tz\t0"], "es.tsv: 2 rows, but 3 in English: not parallel"),
        (["x\ty\t1", "x\tz\t0", "z\ty\t1", "z\tz\t1"], "es.tsv: 4 rows, but 3 in English: not parallel"),
        (["x\ty\t1", "x\tz\t1", "z\ty\t1"], "es.tsv: id 2: label '1', but '0' in English: not parallel"),
        (["x\ty\t1", "x\tz\tmaybe", "z\ty\t1"], "es.tsv:3: label 'maybe' is not in the label set"),
    ],
)
def test_rows_that_are_not_parallel_are_told(data: Path, rows: list[str], what: str) -> None:
    table = "".join(f"{number}\t{row}\n" for number, row in enumerate(rows, start=1))
    (data / "es.tsv").write_text("id\tsentence1\tsentence2\tlabel\n" + table)
    refused(PAWSX, "es.tsv", data, what)


def test_xtremes_rows_are_matched_by_their_english(data: Path) -> None:
    rows = [
        "A met B.\tB met A.\tx3\ty3\t1",
        "one of the rows that are wrongly populated",
        "A is B.\tB is A.\tx1\ty1\t1",
    ]
    (data / "en-es-translated.tsv").write_text("\n".join(rows) + "\n")
    translated = read_translated(PAWSX, "en-{lang}-translated.tsv", "es", english(PAWSX, data), data)
    assert [(one.id, one.premise) for one in translated.examples] == [("1", "x1"), ("3", "x3")]  # type: ignore[union-attr]
    assert translated.dropped == {MISSING: 1}


def test_xtremes_rows_with_another_label_or_of_other_texts_are_told(data: Path) -> None:
    (data / "en-es-translated.tsv").write_text("A is B .\tB is A .\tx\ty\t0\n")
    refused(PAWSX, "en-es-translated.tsv", data, "en-es-translated.tsv:1: label '0', but '1' in English")
    (data / "en-es-translated.tsv").write_text("A is B .\tB is A .\tx\ty\t1\nno\tno\tx\ty\t0\nnot\tnot\tx\ty\t0\n")
    refused(PAWSX, "en-es-translated.tsv", data, ":2: 1 of 3 rows have English texts of pawsx's training data")


def test_translations_may_be_records(data: Path) -> None:
    nli = builtin_catalog()["mini-nli"]
    source = english(nli, data)
    rows = [replace(one, premise=one.premise.upper()) for one in source]
    (data / "es.jsonl").write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    assert list(read_translated(nli, "es.jsonl", "es", source[:20], data).examples) == rows[:20]


# Our own files


@pytest.mark.parametrize("name", ["squad", "pawsx", "mini-choice", "mini-nli"])
def test_what_is_written_is_read_back(data: Path, name: str) -> None:
    task = builtin_catalog()[name]
    source = english(task, data)[:20]
    assert write_translated(task, source, Capitals(), "es", data / "out/es.jsonl").total() == 0
    translated = read_translated(task, "out/{lang}.jsonl", "es", source, data)
    assert translated == translate(source, Capitals(), "es")
    assert len(translated.examples) == len(source)


def test_what_was_left_out_is_counted_for_the_examples_that_are_wanted(data: Path) -> None:
    source = english(SQUAD, data)
    engine = Capitals({f"Cat {one.id[1:]} sat on mat {one.id[1:]}.": "Nada." for one in source[:5]})
    assert write_translated(SQUAD, source[:6], engine, "es", data / "es.jsonl") == {NOT_FOUND: 5}
    translated = read_translated(SQUAD, "es.jsonl", "es", source[4:], data)
    assert [one.id for one in translated.examples] == [source[5].id]
    assert translated.dropped == {NOT_FOUND: 1, MISSING: 3}


def test_an_interrupted_translation_goes_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xstilts.data.translation.from_files.CHUNK", 2)
    source = english(SQUAD, data)

    class Interrupted(Capitals):
        def translate(self, texts: Sequence[str], language: str) -> list[str]:
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().translate(texts, language)

    with pytest.raises(KeyboardInterrupt):
        write_translated(SQUAD, source, Interrupted(), "es", data / "es.jsonl")
    part = data / "es.jsonl.part"
    part.write_text(part.read_text() + '{"id": "cut sho')
    assert not (data / "es.jsonl").exists()
    engine = Capitals()
    told: list[Event] = []
    write_translated(SQUAD, source, engine, "es", data / "es.jsonl", told.append)
    assert told == [Event(done=8, steps=9), Event(done=9, steps=9)] and engine.calls == 2
    whole = write_translated(SQUAD, source, Capitals(), "es", data / "at-once.jsonl")
    assert whole.total() == 0 and (data / "at-once.jsonl").read_bytes() == (data / "es.jsonl").read_bytes()
    assert not part.exists()


def test_a_file_is_not_written_over(data: Path) -> None:
    (data / "es.jsonl").touch()
    with pytest.raises(UserError, match=r"es\.jsonl: exists already; name a new file"):
        write_translated(SQUAD, [], Capitals(), "es", data / "es.jsonl")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"language": "es"', '"language": "pt"', ":1: language 'pt', not 'es'; name the file that was made for it"),
        ('"task": "squad"', '"task": "squad_v2"', ":1: task 'squad_v2', not 'squad'; name the file"),
        ('"examples": 9', '"examples": 10', ": 9 examples, but its header says 10; translate again"),
        ('{"id": "a', '{"id": "b', "is not in the English data: not parallel"),
        ('"source": "', '"source": "0', "another English text: not parallel"),
        ('"start": 0', '"start": 1', "an answer is not at its offset; translate again"),
        ('"question"', '"asks"', ":2: not a span example; translate again"),
        ("}\n{", "}\n[", ":2: not a JSON object; translate again"),
    ],
)
def test_what_is_wrong_with_a_file_of_ours_is_told(data: Path, old: str, new: str, what: str) -> None:
    write_translated(SQUAD, english(SQUAD, data), Capitals(), "es", data / "es.jsonl")
    first, rest = (data / "es.jsonl").read_text().split("\n", 1)
    wrong = first + "\n" + rest if old not in rest else None
    text = (
        (first.replace(old, new) + "\n" + rest) if wrong and old in first else (first + "\n" + rest).replace(old, new)
    )
    (data / "es.jsonl").write_text(text)
    refused(SQUAD, "es.jsonl", data, what)


def test_the_fingerprint_is_that_of_the_bytes(data: Path) -> None:
    (data / "es.json").write_text("1")
    before = files_fingerprint(SQUAD, "{lang}.json", "es", data)
    (data / "es.json").write_text("22")
    assert files_fingerprint(SQUAD, "{lang}.json", "es", data) != before


# The command


def command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["xstilts", "translate", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_the_command_writes_a_file(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xstilts.data.translation.engine", lambda name: Capitals())
    out = data / "es.jsonl"
    given = ["squad", "--to", "es", "--with", "capitals", "--data", str(data), "--out", str(out), "--max-examples", "3"]
    assert command(given, monkeypatch) == 0
    assert capsys.readouterr().out == f"{out}: 3 of 3 examples of squad in es\n"
    assert len(read_translated(SQUAD, "es.jsonl", "es", english(SQUAD, data), data).examples) == 3


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["squad", "--to", "pt"], "error: squad is not translated"),
        (["sqad", "--to", "es"], "error: unknown task 'sqad': did you mean 'squad'?"),
        (["xquad", "--to", "es"], "error: xquad train: the catalog entry has no such split; it is trained on 'squad'"),
        (
            ["mini-pos", "--to", "es"],
            "error: tagging cannot be translated, only answer_retrieval, classification, multiple_choice, span",
        ),
    ],
)
def test_what_cannot_be_translated_is_said_in_one_line(
    data: Path,
    arguments: list[str],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Spanish(Capitals):
        def id(self, language: str) -> str:
            if language != "es":
                raise UserError(f"{arguments[0]} is not translated")
            return super().id(language)

    monkeypatch.setattr("xstilts.data.translation.engine", lambda name: Spanish())
    assert command([*arguments, "--data", str(data), "--out", str(data / "o.jsonl")], monkeypatch) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(told) == 1 and told[0].startswith(what)
    assert not list(data.glob("o.jsonl"))
