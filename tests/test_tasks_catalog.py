"""The catalog entries: short, complete, and what the benchmark and the literature say of the tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xstilts.common.errors import UserError
from xstilts.data.readers import READERS
from xstilts.tasks import CATALOG, Catalog, builtin_catalog, formats, read_entry
from xstilts.tasks.task import Task

ENTRIES = sorted(CATALOG.glob("*.yaml"))


def words(text: str) -> list[str]:
    return text.split()


XTREME = words(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr ur vi"
    " yo zh"
)
XTREME_R = words("az gu lt pa pl qu ro uk wo ht")  # the others of XTREME-R; ht in XCOPA alone
UPOS = words("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X")


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.stem)
def test_an_entry_is_short_and_complete(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 22 and max(map(len, lines)) <= 120
    task = read_entry(path)
    assert task.name == path.stem
    assert task.description and task.licence and task.citation
    assert len(set(task.languages)) == len(task.languages)
    assert {code for language in task.languages for code in language.split("-")} <= {*XTREME, *XTREME_R}
    assert task.layouts or task.of
    for layout in task.layouts:
        assert layout.reader in READERS
        assert layout.train or layout.dev or layout.test
        assert set(layout.codes) <= set(task.languages)
    if task.training_task is None:
        assert formats.get(task.format).compares(task)
    else:
        trained_on = builtin_catalog()[str(task.training_task)]
        assert trained_on.format == task.format and "en" in trained_on.languages
        assert trained_on.train_languages == "en" or task.name == "tydiqa-leaky"
        assert trained_on.labels == task.labels


@pytest.mark.parametrize(
    ("name", "count", "metric", "trained_on"),
    [
        ("xnli", 15, "accuracy", "mnli"),
        ("pawsx", 7, "accuracy", "pawsx"),
        ("udpos", 33, "accuracy", "udpos"),
        ("panx", 40, "f1", "panx"),
        ("xquad", 11, "f1", "squad"),
        ("mlqa", 7, "f1", "squad"),
        ("bucc", 4, "f1", None),
        ("mlqa-cross", 42, "f1", "squad"),
        ("tydiqa", 9, "f1", "tydiqa"),
        ("tatoeba", 36, "accuracy", None),
        ("bucc", 4, "f1", None),
        ("udpos-r", 38, "accuracy", "udpos-r"),
        ("panx-r", 48, "f1", "panx"),
        ("xquad-r", 12, "f1", "squad"),
        ("tatoeba-r", 41, "accuracy", None),
        ("xcopa", 11, "accuracy", "copa"),
        ("lareqa", 11, "map", "lareqa"),
        ("lareqa-untrained", 11, "map", None),
    ],
)
def test_targets_have_the_languages_and_metrics_of_xtreme_and_xtreme_r(
    name: str, count: int, metric: str, trained_on: str | None
) -> None:
    task = builtin_catalog()[name]
    assert (len(task.languages), task.metric, task.training_task) == (count, metric, trained_on)


@pytest.mark.parametrize(
    ("name", "more"),
    [("panx", "qu pl uk az lt pa gu ro"), ("udpos", "lt pl uk wo ro"), ("tatoeba", "az lt pl uk ro"), ("xquad", "ro")],
)
def test_xtreme_r_has_entries_of_its_own_so_that_means_over_xtremes_languages_stay_comparable(
    name: str, more: str
) -> None:
    """xtreme/evaluate.py:141-176."""
    catalog = builtin_catalog()
    assert set(catalog[f"{name}-r"].languages) - set(catalog[name].languages) == set(words(more))
    assert set(catalog[name].languages) < set(catalog[f"{name}-r"].languages)


def test_paws_x_is_not_said_to_have_arabic() -> None:
    """jiant's script loops over "ar" (c_tokenize_and_cache.sh:29), of which there are no files."""
    assert builtin_catalog()["pawsx"].languages == tuple(words("de en es fr ja ko zh"))


def test_tydiqa_trains_on_english_and_only_a_name_that_says_so_on_more() -> None:
    """jiant's tydiqa_en held the training data of nine languages (download_data/dl_datasets/xtreme.py:400-434)."""
    leaky = [task.name for task in builtin_catalog() if task.train_languages != "en"]
    assert leaky == ["tydiqa-leaky"]
    clean, other = (builtin_catalog()[name].model_dump() for name in ("tydiqa", "tydiqa-leaky"))
    told = {"name", "title", "description", "train_languages"}
    assert {key for key in clean if clean[key] != other[key]} == told


def test_the_forty_languages_of_xtreme_are_covered() -> None:
    assert len(XTREME) == 40
    assert list(builtin_catalog()["panx"].languages) == XTREME


def test_pairs_of_languages_are_all_that_mlqa_has() -> None:
    languages = builtin_catalog()["mlqa"].languages
    pairs = [f"{one}-{other}" for one in languages for other in languages if one != other]
    assert list(builtin_catalog()["mlqa-cross"].languages) == pairs


def test_labels_are_those_of_the_benchmark() -> None:
    catalog = builtin_catalog()
    assert list(catalog["udpos"].labels) == UPOS
    assert catalog["panx"].labels == ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")
    assert catalog["xnli"].labels == ("contradiction", "entailment", "neutral")


def test_counts_are_of_a_split_or_of_a_language() -> None:
    catalog = builtin_catalog()
    assert [catalog["xnli"].count("test", code) for code in ("de", "sw")] == [5010, 5010]
    assert [catalog["tatoeba"].count("test", code) for code in ("de", "sw")] == [1000, 390]
    assert [catalog["tydiqa"].count("train", code) for code in ("en", "te")] == [3696, None]
    assert catalog["xnli"].count("train", "en") is None


def test_anli_plus_has_the_examples_of_its_parts() -> None:
    """Claim C16 of the literature, and the arithmetic behind the count of SNLI."""
    plus = builtin_catalog()["anli_plus"]
    assert plus.count("train", "en") == 1_104_934 == sum(part.count("train", "en") or 0 for part in plus.parts)


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("qqp", ["Quora"]),
        ("squad", ["Wikipedia"]),
        ("squad_v2", ["Wikipedia"]),
        ("hellaswag", ["video captions", "WikiHow"]),
    ],
)
def test_provenance_is_stated(name: str, sources: list[str]) -> None:
    """What claims C18 to C20 of the literature are checked against."""
    assert all(source in builtin_catalog()[name].provenance for source in sources)


def test_squad_is_not_selected_on_its_dev_set() -> None:
    for name in ("squad", "squad_v2"):
        assert all(layout.dev is None and layout.test is None for layout in builtin_catalog()[name].layouts)


ENTRY = """\
name: mine
format: classification
description: mine
languages: [en]
metric: accuracy
labels: [a, b]
files: {reader: tsv, train: mine.tsv, columns: [premise, label]}
licence: mine
citation: mine
"""


TABLE = "reader: tsv, train: mine.tsv, columns: [premise, label]"


def entry(tmp_path: Path, old: str = "", new: str = "") -> Task:
    path = tmp_path / "mine.yaml"
    path.write_text(ENTRY.replace(old, new))
    return read_entry(path)


def test_a_users_entry_joins_and_replaces(tmp_path: Path) -> None:
    entry(tmp_path)
    catalog = builtin_catalog().with_files([tmp_path / "mine.yaml"])
    assert "mine" in catalog and "xquad" in catalog and "mine" not in builtin_catalog()
    assert catalog["mine"].training_task == "mine"
    (tmp_path / "qqp.yaml").write_text(ENTRY.replace("name: mine", "name: qqp"))
    assert builtin_catalog().with_files([tmp_path / "qqp.yaml"])["qqp"].description == "mine"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric:", "metrik:", "did you mean 'metric'?"),
        ("columns: [premise, label]", "columns: [premise, lable]", "`columns` knows premise, hypothesis, label"),
        ("columns: [premise, label]", "columns: [label]", "must name a premise"),
        (", columns: [premise, label]", "", "`columns` must be given for the readers tsv, jsonl, csv"),
        ("reader: tsv", "reader: squad", "`columns` must be given for the readers tsv, jsonl, csv, and only"),
        ("reader: tsv", "reader: jsonl", "`columns` must go by name for the reader jsonl"),
        ("labels: [a, b]\n", "", "`labels` must be given for classification and tagging"),
        ("licence: mine\n", "", "licence: Field required"),
        ("files:", "of: [mnli]\nfiles:", "an entry has `files` (and `also`, other layouts of them), or `of`"),
        (TABLE, "reader: conllu, train: a, skip_short: true", "`skip_short` is for the reader tsv, not for conllu"),
        (TABLE, "reader: conllu, train: a, label_names: {c: a}", "`label_names` is for the readers tsv, jsonl, csv,"),
        ("licence:", "counts: {train: {de: 7}}\nlicence:", "`counts` has languages that the task does not: de"),
        ("licence:", "counts: {trian: 7}\nlicence:", "counts.trian"),
        ("labels: [a, b]", "labels_from_data: true", "`labels_from_data` is for tagging, in place of `labels`"),
        ("licence:", "train_languages: all\nlicence:", "such a name ends in -leaky"),
        ("name: mine", "name: mine-leaky", "such a name ends in -leaky, and no other does"),
        (TABLE, "reader: choices, train: a, columns: [a, b]", "`columns` of choices must be {prompt: TEMPLATE"),
        (TABLE, 'reader: choices, train: a, columns: {prompt: "{a}", "0": b}', "`columns` of choices must be"),
        ("name: mine", "name: [", ":3: not valid YAML"),
        (
            TABLE,
            "reader: tsv, train: mine.tsv, colums: [premise]",
            "files.colums: unknown key: did you mean 'columns'?",
        ),
    ],
)
def test_a_faulty_entry_is_told(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        entry(tmp_path, old, new)
    assert str(raised.value).startswith(f"{tmp_path / 'mine.yaml'}:") and message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("of", "labels", "message"),
    [
        ("[mnli, qpq]", "[contradiction, entailment, neutral]", "mine: of: qpq: unknown task: did you mean 'qqp'?"),
        ("[mnli, qqp]", "[contradiction, entailment, neutral]", "mine: of: qqp: has another format or other labels"),
        ("[panx]", "[B-LOC, B-ORG, B-PER, I-LOC, I-ORG, I-PER, O]", "mine: of: panx: has another format"),
        ("[anli_plus]", "[contradiction, entailment, neutral]", "is made of other tasks itself; name those"),
    ],
)
def test_only_tasks_that_can_share_a_head_are_united(of: str, labels: str, message: str, tmp_path: Path) -> None:
    files = "files: {reader: tsv, train: mine.tsv, columns: [premise, label]}"
    path = tmp_path / "mine.yaml"
    path.write_text(ENTRY.replace(files, f"of: {of}").replace("[a, b]", labels))
    with pytest.raises(UserError) as raised:
        builtin_catalog().with_files([path])
    assert message in str(raised.value)


def test_a_united_task_takes_the_users_own_part(tmp_path: Path) -> None:
    nli = ENTRY.replace("name: mine", "name: mnli").replace("[a, b]", "[neutral, entailment]")
    (tmp_path / "mnli.yaml").write_text(nli)
    parts = builtin_catalog().with_files([tmp_path / "mnli.yaml"])["anli_plus"].parts
    assert [part.name for part in parts] == ["anli", "mnli", "snli"] and parts[1].description == "mine"


def test_an_unknown_task_gets_a_hint() -> None:
    with pytest.raises(UserError, match="unknown task 'xqaud': did you mean 'xquad'"):
        Catalog(builtin_catalog())["xqaud"]


def test_planning_needs_no_torch() -> None:
    code = (
        "import sys, xstilts.tasks, xstilts.data.check, xstilts.planning.overlap; xstilts.tasks.builtin_catalog();"
        "print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("field", "value"), [("name", "ev\x1bil<b>"), ("name", ""), ("languages", ["en", "x\ny"])])
def test_names_of_tasks_and_languages_are_plain(field: str, value: object) -> None:
    entry = {"name": "mine", "format": "classification", "description": "x", "languages": ["en"], "metric": "accuracy",
             "labels": ["a", "b"], "licence": "x", "citation": "x",
             "files": {"reader": "tsv", "train": "t.tsv", "columns": ["premise", "label"]}}  # fmt: skip
    Task.model_validate(entry)
    with pytest.raises(ValueError, match="must be of letters, digits"):
        Task.model_validate({**entry, field: value})
