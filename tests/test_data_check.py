"""`data check` recognises files, counts examples, and tells every fault at once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from xstilts.common.errors import UserError
from xstilts.data.check import check, check_task
from xstilts.tasks import read_entry
from xstilts.tasks.task import Task


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def squad(text: str = "Köln", start: int = 3) -> str:
    qas = [{"id": "a", "question": "Wo?", "answers": [{"text": text, "answer_start": start}]}]
    return json.dumps({"data": [{"paragraphs": [{"context": "In Köln", "qas": qas}]}]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    write(data / "xquad" / "xquad.de.json", squad())
    write(data / "xquad" / "xquad.ru.json", squad(start=2))
    write(data / "panx" / "dev-de.tsv", "In\tO\nKöln\tB-LOC\n")
    write(data / "panx" / "test-de.tsv", "In\nKöln\n")
    write(data / "panx" / "dev-sw.tsv", "a\tO\nb\tB-LOK\nc\n")
    write(data / "tatoeba" / "tatoeba.cmn-eng.cmn", "是。\n")
    write(data / "tatoeba" / "tatoeba.cmn-eng.eng", "Yes.\n")
    write(data / "xnli" / "test-de.tsv", "a\tb\r\n")
    write(data / "xnli" / "test-labels.txt", "neutral\n")
    write(data / "notes" / "README.md", "words")
    return data


def test_a_folder_is_read_whole_and_all_its_faults_told(folder: Path) -> None:
    report = check(folder)
    assert report.problems
    assert [line.replace(f"{folder}/", "") for line in report.lines()] == [
        "panx/dev-de.tsv: panx dev de, 1 of 10,000 examples",
        "panx/dev-sw.tsv: panx dev sw, 1 of 1,000 examples",
        "panx/test-de.tsv: panx test de, 1 example, without gold",
        "tatoeba/tatoeba.cmn-eng.cmn and 1 more: tatoeba test zh, 1 of 1,000 examples",
        "xnli/test-de.tsv: xnli test de, 1 of 5,010 examples",
        "xquad/xquad.de.json: xquad test de, 1 of 1,190 examples",
        "xquad/xquad.ru.json: xquad test ru, 1 of 1,190 examples",
        "notes: not recognised: README.md",
        "note: xquad/xquad.ru.json: 1 of 1 answers are not at their offset (id a): scored by text",
        "panx/dev-sw.tsv:2: label 'B-LOK' is not in the label set; did you mean 'B-LOC'?",
        "panx/dev-sw.tsv:3: 1 column, not 2 as before; separate by one tab",
    ]


def test_a_part_of_a_folder_and_one_file_are_recognised_alike(folder: Path) -> None:
    assert [one.what for one in check(folder / "xquad").checked] == ["xquad test de", "xquad test ru"]
    (checked,) = check(folder / "xquad" / "xquad.de.json").checked
    assert checked.what == "xquad test de"
    report = check(folder / "xnli" / "test-de.tsv")
    assert not report.problems and report.checked[0].gold == 1  # the gold file beside it is found


def test_pairs_of_languages_are_recognised_and_no_file_is_read_twice(tmp_path: Path) -> None:
    for pair in ("de-question-de", "de-question-en", "de-question-sw"):
        write(tmp_path / "mlqa" / "MLQA_V1" / "test" / f"test-context-{pair}.json", squad())
    report = check(tmp_path)
    assert not report.problems and [one.what for one in report.checked] == ["mlqa test de", "mlqa-cross test de-en"]
    assert [path.name for path in report.not_recognised] == ["test-context-de-question-sw.json"]


def test_a_task_that_unites_others_is_counted_where_all_are_there(tmp_path: Path) -> None:
    """A part of the official data is a note, no fault; of two layouts of a part, the first counts, as in a run."""
    pairs = json.dumps({str(n): {"text_a": f"{n}", "text_b": "b", "label": "neutral"} for n in range(3)})
    row = json.dumps({"uid": "u", "context": "a", "hypothesis": "b", "label": "e"})
    write(tmp_path / "mnli" / "train.json", pairs)
    write(tmp_path / "snli" / "train.json", pairs)
    for name, text in (("s1", "a\n"), ("s2", "b\n"), ("labels", "neutral\n")):
        write(tmp_path / "snli" / f"{name}.train", text)
    assert not [one for one in check(tmp_path).checked if one.what.startswith("anli_plus")]
    write(tmp_path / "anli_v1.0" / "R1" / "train.jsonl", row)
    report = check(tmp_path)
    assert not report.problems
    assert report.lines()[-1].endswith("train.jsonl and 2 more: anli_plus train en, 7 of 1,104,934 examples")


def test_a_file_without_gold_beside_it_is_said_to_have_none(folder: Path) -> None:
    """So XTREME's own download comes: it can be predicted, not scored."""
    (folder / "xnli" / "test-labels.txt").unlink()
    report = check(folder / "xnli")
    assert not report.problems and any(line.endswith(", without gold") for line in report.lines())


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("mine.json", squad(), "layout squad"),
        ("pairs.json", '{"0": {"text_a": "a", "text_b": "b", "label": "x"}}', "layout pairs_json"),
        ("mine.conllu", "1\tJa\tja\tINTJ\t_\t_\t0\troot\t_\t_\n", "layout conllu"),
        ("mine.jsonl", '{"query": "q", "choices": ["a", "b"], "gold": 0}', "layout choices"),
        (
            "pairs.jsonl",
            '{"gold_label": "-", "sentence1": "a", "sentence2": "b"}\n'
            '{"gold_label": "neutral", "sentence1": "a", "sentence2": "b"}',
            "layout jsonl",
        ),
        ("adversarial.jsonl", '{"uid": "1", "context": "a", "hypothesis": "b", "label": "e"}', "layout jsonl"),
        ("swag.jsonl", '{"ind": 1, "ctx_a": "a", "ctx_b": "b", "endings": ["c", "d"], "label": 0}', "layout hellaswag"),
        (
            "csqa.jsonl",
            '{"id": "1", "question": "q", "choices": {"label": ["A", "B"], "text": ["a", "b"]}}',
            "layout commonsenseqa",
        ),
        ("mine.tsv", "a\tb\t0\nc\td\t1\n", "layout tsv"),
        ("tagged.tsv", "a\tX\n\nb\tY\n", "layout tokens"),
        ("notes.csv", "context,statement,gold_label,uid\na,b,e,1\n", "layout csv"),
        (
            "cosmos.csv",
            "id,context,question,answer0,answer1,answer2,answer3,label\n1,a,b,c,d,e,f,0\n",
            "layout cosmosqa",
        ),
    ],
)
def test_an_unknown_file_is_read_by_its_layout(name: str, text: str, what: str, tmp_path: Path) -> None:
    report = check(write(tmp_path / name, text))
    assert not report.problems and [one.what for one in report.checked] == [what] and not report.not_recognised
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert [one.what for one in check(packed).checked] == [what]


def test_an_unknown_file_may_be_faulty_too(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.tsv", "a\tb\t0\nc\t1\n")
    assert check(path).problems == (f"{path}:2: 2 columns; expected premise, hypothesis, label, separated by tabs",)
    path = write(tmp_path / "mine.json", '{"data": [')
    (problem,) = check(path).problems
    assert problem.startswith(f"{path}:1: column 11: invalid JSON")
    assert check(write(tmp_path / "words.txt", "a")).not_recognised == (tmp_path / "words.txt",)


def test_no_such_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder; give a data folder or a data file"):
        check(tmp_path / "nowhere")


@pytest.mark.realdata
def test_the_real_files_are_sound(real_data: Path) -> None:
    report = check(real_data)
    assert report.problems == ()
    counts = {one.what: one.examples for one in report.checked}
    assert counts["squad train en"] == 11877 and counts["xquad test zh"] == 1190 and counts["tatoeba test tr"] == 1000
    whole = {one.what for one in report.checked if one.examples == one.expected}
    assert whole >= {"snli test en", "commonsenseqa train en", "cosmosqa dev en", "mlqa dev ar", "tydiqa train ko"}
    assert whole >= {"xnli test sw", "panx dev sw", "udpos train en", "udpos test ru", "pud test th", "xquad test hi"}
    assert "tatoeba test zh" in whole and not whole & {"squad train en", "mnli train en", "panx dev de"}
    assert all(one.examples <= one.expected for one in report.checked if one.expected is not None)


def test_a_folder_in_which_nothing_is_recognised_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "xquad.en.json").write_text("{}")
    report = check(tmp_path)
    assert report.problems and report.not_recognised
    assert report.problems[0].startswith(f"{tmp_path}: nothing here that a run could read")


def test_links_are_followed_and_go_by_the_names_a_run_finds_them_by(tmp_path: Path) -> None:
    """The gold lies beside the link, not beside the file that it links to."""
    real = tmp_path / "elsewhere"
    write(real / "a.tsv", "a\tb\n")
    write(real / "folder" / "xquad.de.json", squad())
    data = tmp_path / "data"
    write(data / "xnli" / "test-labels.txt", "neutral\n")
    (data / "xnli" / "test-de.tsv").symlink_to(real / "a.tsv")
    (data / "xquad").symlink_to(real / "folder")
    (data / "again").symlink_to(data)
    report = check(data)
    assert not report.problems and [(one.what, one.gold) for one in report.checked] == [
        ("xnli test de", 1),
        ("xquad test de", 1),
    ]
    (tmp_path / "mine").symlink_to(write(tmp_path / "b" / "xquad" / "xquad.de.json", squad()))
    assert [one.what for one in check(tmp_path / "mine").checked] == ["xquad test de"]


@pytest.fixture
def entry(tmp_path: Path) -> Task:
    path = write(
        tmp_path / "mine.yaml",
        "{name: mine, format: tagging, description: -, languages: [en, sw], metric: accuracy, labels: [O, B-LOC],"
        " licence: -, citation: -,"
        " files: {reader: tokens, columns: [_, token, tag], train: 'm/train-{lang}', test: 'm/test-{lang}'}}",
    )
    return read_entry(path)


def test_an_own_entry_says_how_its_files_are_read(entry: Task, tmp_path: Path) -> None:
    write(tmp_path / "m" / "train-en", "0\tIn\tO\n1\tBonn\tB-LOK\n")
    write(tmp_path / "m" / "test-sw", "0\tKwa\tO\n")
    write(tmp_path / "other" / "test-en", "no file of this task")
    report = check_task(entry, tmp_path)
    assert [one.what for one in report.checked] == ["mine train en", "mine test sw"]
    assert report.problems == (
        f"{tmp_path}/m/train-en:2: label 'B-LOK' is not in the label set; did you mean 'B-LOC'?",
    )
    assert [one.what for one in check_task(entry, tmp_path / "m" / "test-sw").checked] == ["mine test sw"]
    elsewhere = write(tmp_path / "file", "0\tKwa\tO\n")
    assert [one.examples for one in check_task(entry, elsewhere).checked] == [1]


def test_an_own_entry_without_files_is_told(entry: Task, tmp_path: Path) -> None:
    (tmp_path / "m" / "test-sw").mkdir(parents=True)
    with pytest.raises(UserError, match="m/test-sw: cannot be read: a folder, not a file"):
        check_task(entry, tmp_path)
    (tmp_path / "m" / "test-sw").rmdir()
    with pytest.raises(UserError, match=r": no file of mine; its entry names m/train-\{lang\}, m/test-\{lang\}"):
        check_task(entry, tmp_path)


def test_flat_squad_of_a_test_set_is_scored_by_text(tmp_path: Path) -> None:
    """Of published SQuAD-it, 98 of 7,609 test questions have answers elsewhere; a test set needs their texts alone."""
    row = {"id": "a", "context": "In Köln", "question": "Wo?", "answers": {"text": ["Köln"], "answer_start": [2]}}
    write(tmp_path / "xquad" / "xquad.de.json", json.dumps(row) + "\n" + json.dumps({**row, "id": "b"}))
    report = check(tmp_path)
    assert not report.problems and report.checked[0].gold == 2
    assert report.notes == (
        f"{tmp_path}/xquad/xquad.de.json: 2 of 2 answers are not at their offset (ids a, b): scored by text",
    )
