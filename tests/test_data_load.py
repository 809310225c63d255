"""Loading by catalog entry: which files, the dev cut, caps, fingerprints; and the counts of the real data."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from xstilts.common.errors import UserError
from xstilts.data import available, cap, fingerprint, labelled, load
from xstilts.data.load import cut
from xstilts.tasks import Catalog, builtin_catalog
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import Files, Split, Task


def task(name: str, /, **changes: Any) -> Task:
    return builtin_catalog()[name].model_copy(update=changes)


def write_squad(path: Path, contexts: int, questions: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    paragraphs = []
    for number in range(contexts):
        answers = [{"text": "Passage", "answer_start": 0}]
        qas = [{"id": f"{number}-{q}", "question": f"What is {q}?", "answers": answers} for q in range(questions)]
        paragraphs.append({"context": f"Passage {number}", "qas": qas})
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_squad(tmp_path / "squad_v1.1" / "train-v1.1.json", 40)
    return tmp_path


def test_dev_is_a_tenth_of_train_by_passage(folder: Path) -> None:
    train, dev = (load(task("squad"), split, "en", folder) for split in ("train", "dev"))
    assert len(train) == 108 and len(dev) == 12
    contexts = [{example.context for example in part if isinstance(example, SpanExample)} for part in (train, dev)]
    assert len(contexts[1]) == 4 and not contexts[0] & contexts[1]


def test_the_cut_depends_on_the_texts_alone(folder: Path) -> None:
    examples = load(task("squad"), "train", "en", folder) + load(task("squad"), "dev", "en", folder)
    backwards = examples[::-1]
    assert {e.id for e in cut(backwards, "dev")} == {e.id for e in load(task("squad"), "dev", "en", folder)}


def test_the_cut_needs_two_passages(tmp_path: Path) -> None:
    write_squad(tmp_path / "squad_v1.1" / "train-v1.1.json", 1)
    with pytest.raises(UserError, match=r"squad dev: one passage or premise only, .* give `dev` files"):
        load(task("squad"), "dev", "en", tmp_path)


def test_dev_files_are_taken_where_the_entry_has_them(tmp_path: Path) -> None:
    for name, rows in (("train", 3), ("dev", 2)):
        path = tmp_path / "udpos" / f"{name}-en.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("Yes\tINTJ\n\n" * rows)
    assert [len(load(task("udpos"), split, "en", tmp_path)) for split in ("train", "dev")] == [3, 2]


def test_the_first_layout_that_is_there_is_read(tmp_path: Path) -> None:
    for name in ("pawsx", "pawsx/labelled", "x-final/en"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "pawsx" / "test-de.tsv").write_text("a\tb\r\n")
    assert [e.label for e in load(task("pawsx"), "test", "de", tmp_path)] == [None]  # type: ignore[union-attr]
    (tmp_path / "pawsx" / "labelled" / "test-de.tsv").write_text("id\tsentence1\tsentence2\tlabel\n10\ta\tb\t1\n")
    (example,) = load(task("pawsx"), "test", "de", tmp_path)
    assert example == ClassificationExample("1", "a", "b", "1")
    (tmp_path / "x-final" / "en" / "test_2k.tsv").write_text("id\tsentence1\tsentence2\tlabel\n1\tc\td\t0\n")
    assert available(task("pawsx"), "test", tmp_path) == ("de", "en")


def test_a_changed_file_is_read_again_and_a_result_is_the_callers_own(folder: Path) -> None:
    first = load(task("squad"), "train", "en", folder)
    first.clear()
    assert len(load(task("squad"), "train", "en", folder)) == 108
    before = fingerprint(task("squad"), "train", "en", folder)
    write_squad(folder / "squad_v1.1" / "train-v1.1.json", 20)
    assert len(load(task("squad"), "train", "en", folder)) == 54
    assert fingerprint(task("squad"), "train", "en", folder) != before


def test_a_fingerprint_is_of_what_decides_the_examples(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    train = fingerprint(task("squad"), "train", "en", folder)
    assert fingerprint(task("squad"), "dev", "en", folder) != train
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "data"
    shutil.copytree(folder, elsewhere)
    assert fingerprint(task("squad"), "train", "en", elsewhere) == train
    assert fingerprint(task("squad", description="other words"), "train", "en", folder) == train
    (folder / "qqp").mkdir()
    (folder / "qqp" / "train.json").write_text('{"0": {"text_a": "a", "text_b": "b", "label": "0"}}')
    turned = task("qqp", labels=("1", "0"))
    assert fingerprint(task("qqp"), "train", "en", folder) != fingerprint(turned, "train", "en", folder)


def test_gold_beside_counts_in_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "xnli").mkdir()
    (tmp_path / "xnli" / "test-de.tsv").write_text("a\tb\n")
    gold = tmp_path / "xnli" / "test-labels.txt"
    assert load(task("xnli"), "test", "de", tmp_path) == [ClassificationExample("1", "a", "b", None)]
    prints = [fingerprint(task("xnli"), "test", "de", tmp_path)]
    for label in ("neutral", "entailment"):
        gold.write_text(label + "\n")
        (example,) = load(task("xnli"), "test", "de", tmp_path)
        assert example == ClassificationExample("1", "a", "b", label)
        prints.append(fingerprint(task("xnli"), "test", "de", tmp_path))
    assert len(set(prints)) == 3


def test_cap_keeps_file_order_and_the_same_examples_in_parallel_languages() -> None:
    german = [ClassificationExample(str(n), f"Satz {n}", None, "0") for n in range(200)]
    hindi = [ClassificationExample(str(n), f"वाक्य {n}", None, "0") for n in range(200)]
    kept = [example.id for example in cap(german, 20)]
    assert len(kept) == 20 and kept == sorted(kept, key=int)
    assert [example.id for example in cap(hindi, 20)] == kept
    assert set(kept) < {example.id for example in cap(german, 40)}
    assert cap(german, 200) == german and cap(german, 500) == german
    assert kept != [str(n) for n in range(20)]


@pytest.mark.parametrize(
    ("name", "split", "language", "data", "message"),
    [
        ("squad", "train", "en", None, "squad: no data folder; set `data:` in the study or XSTILTS_DATA"),
        ("squad", "train", "en", "nowhere", "nowhere: no such folder; set `data:` in the study or XSTILTS_DATA"),
        ("squad", "train", "de", ".", "squad train: the task has no language 'de'; known: en"),
        ("xquad", "train", "en", ".", "xquad train: the catalog entry has no such split; it is trained on 'squad'"),
        ("squad", "test", "en", ".", "squad test: the catalog entry has no such split"),
        (
            "pawsx",
            "train",
            "en",
            ".",
            "no x-final/en/train.tsv nor pawsx/train-en.tsv (pawsx train, en); get it from https://",
        ),
        ("xquad", "test", "de", ".", "no xquad/xquad.de.json (xquad test, de); files are there for ru; get it from"),
        ("tatoeba", "test", "fa", ".", "no tatoeba/tatoeba.pes-eng.* (tatoeba test, fa)"),
    ],
)
def test_what_is_missing_is_told(
    name: str, split: Split, language: str, data: str | None, message: str, folder: Path
) -> None:
    write_squad(folder / "xquad" / "xquad.ru.json", 1)
    with pytest.raises(UserError) as raised:
        load(task(name), split, language, None if data is None else folder / data)
    assert message in str(raised.value)
    with pytest.raises(UserError):
        fingerprint(task(name), split, language, None if data is None else folder / data)


def test_available_lists_the_languages_of_files_in_catalog_order(folder: Path) -> None:
    for language in ("vi", "ar", "de"):
        write_squad(folder / "xquad" / f"xquad.{language}.json", 1)
    assert available(task("xquad"), "test", folder) == ("ar", "de", "vi")
    assert available(task("squad"), "train", folder) == available(task("squad"), "dev", folder) == ("en",)
    assert available(task("xquad"), "test", None) == available(task("xquad"), "train", folder) == ()


def test_one_file_for_all_languages_is_there_for_all(tmp_path: Path) -> None:
    (tmp_path / "XNLI-1.0").mkdir()
    text = "language\tgold_label\tsentence1\tsentence2\nar\tneutral\ta\tb\nzh\tneutral\tc\td\n"
    (tmp_path / "XNLI-1.0" / "xnli.test.tsv").write_text(text)
    assert available(task("xnli"), "test", tmp_path) == task("xnli").languages
    assert load(task("xnli"), "test", "zh", tmp_path) == [ClassificationExample("1", "c", "d", "neutral")]
    with pytest.raises(UserError, match="holds none of language 'sw'"):
        load(task("xnli"), "test", "sw", tmp_path)


def test_bundled_files_need_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.modules[load.__module__], "BUNDLED", tmp_path)
    for name in ("train-en", "test-en", "test-de"):
        rows = [json.dumps({"id": f"{name}-{n}", "premise": f"premise {n}", "label": str(n % 2)}) for n in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    files = Files(reader="records", bundled=True, train="train-{lang}.jsonl", test="test-{lang}.jsonl")
    fake = task("qqp", name="fake", files=files, also=(), url="", hub=None, languages=("en", "de", "sw"))
    assert len(load(fake, "test", "de", None)) == 20
    assert load(fake, "test", "de", None)[3] == ClassificationExample("test-de-3", "premise 3", None, "1")
    assert len(load(fake, "dev", "en", None)) == 2 and len(load(fake, "train", "en", None)) == 18
    assert available(fake, "test", None) == available(fake, "test", tmp_path / "nowhere") == ("en", "de")
    assert available(fake, "train", None) == ("en",)
    for data in (None, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"no test-sw\.jsonl \(fake test, sw\); files are there for en de$"):
            load(fake, "test", "sw", data)
    before = fingerprint(fake, "test", "de", None)
    assert before == fingerprint(fake, "test", "de", tmp_path / "nowhere") != fingerprint(fake, "test", "en", None)
    (tmp_path / "test-de.jsonl").write_text('{"premise": "another"}\n')
    assert before != fingerprint(fake, "test", "de", None)
    own = fake.model_copy(update={"also": (files.model_copy(update={"bundled": False}),)})
    with pytest.raises(UserError, match="fake: no data folder; set `data:` in the study or XSTILTS_DATA"):
        load(own, "test", "sw", None)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "split", "language", "count"),
    [
        ("xquad", "test", "en", 1190),
        ("xquad", "test", "hi", 1190),
        ("mnli", "train", "en", 8999),
        ("mnli", "dev", "en", 1000),
        ("snli", "train", "en", 8999),
        ("snli", "dev", "en", 1000),
        ("snli", "test", "en", 9824),
        ("anli", "dev", "en", 3198),
        ("qqp", "train", "en", 8999),
        ("commonsenseqa", "train", "en", 9741),
        ("commonsenseqa", "dev", "en", 1221),
        ("cosmosqa", "dev", "en", 2985),
        ("hellaswag", "dev", "en", 1000),
        ("xnli", "dev", "en", 2490),
        ("xnli", "test", "sw", 5010),
        ("mlqa", "dev", "en", 1148),
        ("mlqa", "dev", "ar", 517),
        ("mlqa", "dev", "zh", 504),
        ("pawsx", "dev", "zh", 2000),
        ("pawsx", "test", "de", 2000),
        ("panx", "train", "en", 20000),
        ("panx", "dev", "ja", 4000),
        ("panx", "dev", "sw", 1000),
        ("udpos", "train", "en", 21253),
        ("udpos", "dev", "en", 3974),
        ("udpos", "test", "ru", 8976),
        ("pud", "test", "th", 1000),
        ("tatoeba", "test", "zh", 1000),
    ],
)
def test_the_real_files_have_the_examples_of_the_manifest(
    name: str, split: Split, language: str, count: int, real_data: Path
) -> None:
    assert len(load(builtin_catalog()[name], split, language, real_data)) == count


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "language", "count"), [("squad", "en", 11877), ("tydiqa", "en", 3696), ("tydiqa", "ko", 1625)]
)
def test_train_and_the_dev_cut_out_of_it_are_the_whole(name: str, language: str, count: int, real_data: Path) -> None:
    train, dev = (load(builtin_catalog()[name], split, language, real_data) for split in ("train", "dev"))
    assert len(train) + len(dev) == len({example.id for example in train + dev}) == count
    assert 0.08 < len(dev) / count < 0.12


@pytest.mark.realdata
def test_squad_v2_has_unanswerable_questions(real_data: Path) -> None:
    files = Files(reader="squad", test="squad_v2.0/dev-v2.0.json")
    examples = load(task("squad_v2", files=files), "test", "en", real_data)
    answerable = [bool(example.answers) for example in examples if isinstance(example, SpanExample)]
    assert (answerable.count(True), answerable.count(False)) == (2910, 3168)


@pytest.mark.realdata
def test_xnli_gold_goes_by_row(real_data: Path) -> None:
    german, swahili = (load(builtin_catalog()["xnli"], "test", language, real_data) for language in ("de", "sw"))
    labels = [example.label for example in german if isinstance(example, ClassificationExample)]
    assert labels[:3] == ["contradiction", "entailment", "neutral"]
    assert {label: labels.count(label) for label in set(labels)} == dict.fromkeys(
        ("contradiction", "entailment", "neutral"), 1670
    )
    # myXNLI's labelled copy of the Swahili test set is the source of the gold: the same texts, the same labels
    rows = (real_data / "xnli" / "labelled" / "sw.genre.test.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    assert [tuple(row.split("\t")[1:]) for row in rows] == [
        (example.label, example.premise, example.hypothesis)
        for example in swahili
        if isinstance(example, ClassificationExample)
    ]


@pytest.mark.realdata
def test_the_layouts_of_commonsenseqa_agree(real_data: Path) -> None:
    hub = load(builtin_catalog()["commonsenseqa"], "dev", "en", real_data)
    plain = load(task("commonsenseqa", files=task("commonsenseqa").also[0]), "dev", "en", real_data)
    assert [(e.prompt, e.choices, e.label) for e in hub] == [(e.prompt, e.choices, e.label) for e in plain]  # type: ignore[union-attr]
    assert hub[0].id == "1afa02df02c908a558b4036e80242fac" and plain[0].id == "1"


def test_the_rounds_of_anli_are_one(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        folder = tmp_path / "anli_v1.0" / f"R{number}"
        folder.mkdir(parents=True)
        row = {"uid": f"u{number}", "context": "a", "hypothesis": f"b{number}", "label": "cen"[number - 1]}
        (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
        (folder / "dev.jsonl").write_text(json.dumps({**row, "uid": f"d{number}"}) + "\n")
    assert load(task("anli"), "train", "en", tmp_path) == [
        ClassificationExample("u1", "a", "b1", "contradiction"),
        ClassificationExample("u2", "a", "b2", "entailment"),
        ClassificationExample("u3", "a", "b3", "neutral"),
    ]
    assert [example.id for example in load(task("anli"), "dev", "en", tmp_path)] == ["d1", "d2", "d3"]


def write_pairs(path: Path, rows: int, label: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = {n: {"text_a": f"{path.parent.name} {n}", "text_b": "b", "label": label} for n in range(rows)}
    path.write_text(json.dumps(pairs))


def united(*names: str, **changes: Any) -> Task:
    """A task that unites ``names``, as the catalog completes it."""
    plus = Task(**{**task("anli_plus").model_dump(exclude={"parts"}), "name": "united", "of": names, **changes})
    return Catalog([*builtin_catalog(), plus])["united"]


@pytest.mark.parametrize("folder_name", ["MLQA_V1", "mlqa/MLQA_V1", "mlqa"])
def test_a_pair_of_languages_is_of_the_passage_and_of_the_question(folder_name: str, tmp_path: Path) -> None:
    for pair in (("de", "de"), ("de", "en"), ("zh", "hi")):
        write_squad(tmp_path / folder_name / "test" / "test-context-{}-question-{}.json".format(*pair), 2)
    assert available(task("mlqa"), "test", tmp_path) == ("de",)
    assert available(task("mlqa-cross"), "test", tmp_path) == ("de-en", "zh-hi")
    assert len(load(task("mlqa-cross"), "test", "zh-hi", tmp_path)) == 6
    with pytest.raises(UserError, match=r"no MLQA_V1/test/test-context-en-question-de\.json nor .* \(mlqa-cross test,"):
        load(task("mlqa-cross"), "test", "en-de", tmp_path)


def test_the_official_file_of_tydiqa_gives_a_language_its_own_questions(tmp_path: Path) -> None:
    path = tmp_path / "tydiqa" / "tydiqa-goldp-v1.1-train.json"
    write_squad(path, 12, questions=2)
    document = json.loads(path.read_text())
    for number, paragraph in enumerate(document["data"][0]["paragraphs"]):
        for row in paragraph["qas"]:
            row["id"] = f"{('english', 'korean', 'telugu')[number % 3]}-{row['id']}"
    path.write_text(json.dumps(document))
    assert available(task("tydiqa"), "train", tmp_path) == task("tydiqa").languages
    train, dev = (load(task("tydiqa"), split, "en", tmp_path) for split in ("train", "dev"))
    assert len(train + dev) == 8 and all(example.id.startswith("english-") for example in train + dev)
    assert fingerprint(task("tydiqa"), "train", "en", tmp_path) != fingerprint(task("tydiqa"), "train", "ko", tmp_path)
    with pytest.raises(UserError, match="or holds none of language 'sw'"):
        load(task("tydiqa"), "train", "sw", tmp_path)


def test_mnli_is_read_as_published_in_each_of_its_places(tmp_path: Path) -> None:
    (tmp_path / "XNLI-MT-1.0" / "multinli").mkdir(parents=True)
    (tmp_path / "XNLI-MT-1.0" / "multinli" / "multinli.train.en.tsv").write_text(
        "premise\thypo\tlabel\na\tb\tcontradictory\nc\td\tneutral\n"
    )
    assert load(task("mnli"), "train", "en", tmp_path) == [
        ClassificationExample("1", "a", "b", "contradiction"),
        ClassificationExample("2", "c", "d", "neutral"),
    ]
    (tmp_path / "multinli_1.0").mkdir()
    rows = [{"gold_label": label, "sentence1": "a", "sentence2": label} for label in ("-", "entailment")]
    for split in ("train", "dev_matched"):
        path = tmp_path / "multinli_1.0" / f"multinli_1.0_{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split in ("train", "dev"):
        assert load(task("mnli"), split, "en", tmp_path) == [
            ClassificationExample("2", "a", "entailment", "entailment")
        ]


def test_glues_qqp_leaves_out_questions_with_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "QQP").mkdir()
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    (tmp_path / "QQP" / "train.tsv").write_text(f"{header}1\t2\t3\ta\tb\t1\n4\t5\t6\tc\nor\td\t0\n7\t8\t9\te\tf\t0\n")
    assert load(task("qqp"), "train", "en", tmp_path) == [
        ClassificationExample("1", "a", "b", "1"),
        ClassificationExample("2", "e", "f", "0"),
    ]
    (tmp_path / "QQP" / "dev.tsv").write_text(f"{header}1\t2\t3\ta\tb\t1\t1\n")
    with pytest.raises(UserError, match=r"dev\.tsv:2: 7 columns; expected 6 columns, separated by tabs"):
        load(task("qqp"), "dev", "en", tmp_path)


def test_pud_is_found_among_the_treebanks(tmp_path: Path) -> None:
    path = tmp_path / "ud-treebanks-v2.5" / "UD_German-PUD" / "de_pud-ud-test.conllu"
    path.parent.mkdir(parents=True)
    path.write_text("1\tJa\tja\tINTJ\t_\t_\t0\troot\t_\t_\n")
    assert available(task("pud"), "test", tmp_path) == ("de",)


def test_a_task_may_unite_others(tmp_path: Path) -> None:
    for name, rows, label in (("mnli", 4, "neutral"), ("snli", 3, "entailment")):
        write_pairs(tmp_path / name / "train.json", rows, label)
        write_pairs(tmp_path / name / "dev.json", rows - 2, label)
    both = united("mnli", "snli")
    train = load(both, "train", "en", tmp_path)
    assert [example.id for example in train] == ["mnli-0", "mnli-1", "mnli-2", "mnli-3", "snli-0", "snli-1", "snli-2"]
    assert train[0] == ClassificationExample("mnli-0", "mnli 0", "b", "neutral")
    assert train[-1] == ClassificationExample("snli-2", "snli 2", "b", "entailment")
    assert [example.id for example in load(both, "dev", "en", tmp_path)] == ["mnli-0", "mnli-1", "snli-0"]
    assert both.training_task == "united" and available(both, "train", tmp_path) == ("en",)
    before = fingerprint(both, "train", "en", tmp_path)
    assert fingerprint(united("snli", "mnli"), "train", "en", tmp_path) != before
    write_pairs(tmp_path / "snli" / "train.json", 4, "neutral")
    assert fingerprint(both, "train", "en", tmp_path) != before


def test_a_part_that_is_missing_is_told(tmp_path: Path) -> None:
    write_pairs(tmp_path / "mnli" / "train.json", 4, "neutral")
    assert available(united("mnli", "snli"), "train", tmp_path) == ()
    with pytest.raises(UserError, match=r"no snli_1\.0/snli_1\.0_train\.jsonl nor .* \(snli train, en\); get it from"):
        load(united("mnli", "snli"), "train", "en", tmp_path)


def test_each_part_without_dev_files_is_cut_for_itself(tmp_path: Path) -> None:
    for name in ("squad_v1.1/train-v1.1.json", "squad_v2.0/train-v2.0.json"):
        write_squad(tmp_path / name, 20)
    both = united("squad", "squad_v2", format="span", labels=(), unanswerable=True)
    train, dev = (load(both, split, "en", tmp_path) for split in ("train", "dev"))
    assert (len(train), len(dev)) == (2 * 54, 2 * 6)
    assert len({example.id for example in train + dev}) == 120


def test_labels_may_be_those_of_the_english_train_and_dev_files(tmp_path: Path) -> None:
    (tmp_path / "ccg").mkdir()
    (tmp_path / "ccg" / "train.tsv").write_text("He\tNP\nsleeps\tS\\NP\n")
    (tmp_path / "ccg" / "dev.tsv").write_text("Sleep\tS/NP\n")
    assert labelled(task("panx"), tmp_path) == task("panx")
    ccg = labelled(task("ccg"), tmp_path)
    assert ccg.labels == ("NP", "S/NP", "S\\NP")
    assert [load(ccg, split, "en", tmp_path) for split in ("train", "dev")] == [
        [TaggingExample("1", ("He", "sleeps"), ("NP", "S\\NP"))],
        [TaggingExample("1", ("Sleep",), ("S/NP",))],
    ]
    before = fingerprint(ccg, "train", "en", tmp_path)
    (tmp_path / "ccg" / "dev.tsv").write_text("Sleep\tS\n")
    assert fingerprint(labelled(task("ccg"), tmp_path), "train", "en", tmp_path) != before
    (tmp_path / "ccg" / "dev.tsv").write_text("Sleep\n")
    with pytest.raises(UserError, match=r"dev\.tsv:1: no tags; expected token and tag, separated by a tab"):
        labelled(task("ccg"), tmp_path)
    with pytest.raises(UserError, match=r"no ccg/train\.tsv nor ccg/wsj02-21\.stagged \(ccg train, en\)"):
        labelled(task("ccg"), tmp_path / "ccg")


@pytest.mark.realdata
def test_anlis_annotations_hold_the_dev_sets(real_data: Path) -> None:
    dev = load(task("anli"), "dev", "en", real_data)
    assert {example.label for example in dev if isinstance(example, ClassificationExample)} == set(task("anli").labels)
    assert dev[0].id == "bf628cf5-6948-4595-a6d0-daf99beb47b9"
    assert isinstance(dev[0], ClassificationExample) and dev[0].label == "contradiction"
    assert dev[0].hypothesis == "Form and meaning are the only aspects of language linguistics is concerned with."


@pytest.mark.realdata
def test_the_aligned_files_of_snli_are_its_dev_and_test_sets(real_data: Path) -> None:
    lined = task("snli", files=task("snli").also[1], also=())
    dev, test = (load(lined, split, "en", real_data) for split in ("dev", "test"))
    assert (len(dev), len(test)) == (9842, 9824)
    assert dev[0] == ClassificationExample(
        "1",
        "Two women are embracing while holding to go packages .",
        "The sisters are hugging goodbye while holding to go packages after just eating lunch .",
        "neutral",
    )


@pytest.mark.realdata
def test_glue_columns_go_by_name(real_data: Path) -> None:
    mnli = task("mnli")
    assert mnli.files is not None
    files = mnli.files.model_copy(
        update={"train": "mnli/k-shot/16-13/train.tsv", "dev": "mnli/k-shot/16-13/dev_matched.tsv"}
    )
    examples = load(mnli.model_copy(update={"files": files}), "train", "en", real_data)
    assert len(examples) == 48
    assert examples[0] == ClassificationExample(
        "1",
        "Price caps may sound more attractive with every passing rate case.",
        "Rate cases make price caps sound more attractive.",
        "entailment",
    )


@pytest.mark.realdata
@pytest.mark.parametrize("sample", ["16-13", "16-21", "16-42", "16-87", "16-100"])
def test_glues_files_of_qqp_go_by_name(sample: str, real_data: Path) -> None:
    qqp = task("qqp")
    assert qqp.files is not None
    update = {"train": f"qqp/k-shot/{sample}/train.tsv", "dev": f"qqp/k-shot/{sample}/dev.tsv"}
    few = qqp.model_copy(update={"files": qqp.files.model_copy(update=update)})
    assert [len(load(few, split, "en", real_data)) for split in ("train", "dev")] == [32, 32]


@pytest.mark.realdata
def test_conllu_words_are_those_of_xtreme_where_nothing_is_fused(real_data: Path) -> None:
    """English has no ranges in UD v2.5: XTREME's English test file holds PUD's sentences with the same tags."""
    pud = {(e.tokens, e.tags) for e in load(builtin_catalog()["pud"], "test", "en", real_data)}  # type: ignore[union-attr]
    udpos = {(e.tokens, e.tags) for e in load(builtin_catalog()["udpos"], "test", "en", real_data)}  # type: ignore[union-attr]
    assert len(pud & udpos) > 990
