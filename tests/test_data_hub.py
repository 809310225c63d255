"""The hub's data sets against the official files: the same content gives the same examples, whatever provides it.

All is read from a stand-in for the hub on loopback (`hub_server`), through `huggingface_hub` and `datasets` themselves.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Features, List, Value

from hub_server import Server, card, client, serve
from xstilts.cli import app as cli
from xstilts.data import load
from xstilts.tasks import builtin_catalog

datasets.disable_progress_bars()
TEXT = Value("string")
NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])  # not the catalog's order
UPOS = builtin_catalog()["udpos"].labels
Rows = dict[str, list[Any]]


def parquet(columns: Rows, **features: Any) -> bytes:
    """A Parquet file as the hub has it: ``features`` are those that are no text."""
    kinds = Features({name: features.get(name, TEXT) for name in columns})
    buffer = io.BytesIO()
    datasets.Dataset.from_dict(columns, features=kinds).to_parquet(buffer)
    return buffer.getvalue()


@dataclass
class Content:
    """One and the same content: as official files, and as the hub has it (configuration/split → Parquet)."""

    repository: str
    files: dict[str, str]
    tables: dict[str, bytes]
    reads: list[tuple[str, str]]  # split, language
    more: dict[str, Any] = field(default_factory=dict)


def tsv(*rows: tuple[str, ...]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def comma(*rows: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


QUESTIONS = [
    ("q1", "Ada was born in London in 1815.", "Where?", [("London", 16)]),
    ("q2", "Ada was born in London in 1815.", "When?", [("1815", 26), ("in 1815", 23)]),
    ("q3", "Καλημέρα κόσμε 𝔘 da.", "𝔘?", [("𝔘", 15)]),
]


def squad(rows: list[tuple[str, str, str, list[tuple[str, int]]]]) -> str:
    paragraphs = [
        {"context": context, "qas": [{"id": id, "question": question, "is_impossible": not answers,
         "answers": [{"text": text, "answer_start": start} for text, start in answers]}]}
        for id, context, question, answers in rows
    ]  # fmt: skip
    return json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]})


def span_table(rows: list[tuple[str, str, str, list[tuple[str, int]]]]) -> bytes:
    columns: Rows = {
        "id": [row[0] for row in rows],
        "title": ["t"] * len(rows),
        "context": [row[1] for row in rows],
        "question": [row[2] for row in rows],
        "answers": [{"text": [a[0] for a in row[3]], "answer_start": [a[1] for a in row[3]]} for row in rows],
    }
    return parquet(columns, answers={"text": List(TEXT), "answer_start": List(Value("int32"))})


TYDI = [
    ("english-1-1", "Ada was born in London.", "Where?", [("London", 16)]),
    ("korean-1-1", "에이다는 런던에서 태어났다.", "어디?", [("런던", 5)]),
    ("english-2-1", "Grace was born in New York.", "Where?", [("New York", 18)]),
]
XNLI = [
    ("de", "neutral", 'Ein "Hund" läuft.', "Er ist müde."),
    ("en", "entailment", "A dog runs.", "An animal moves."),
    ("de", "contradiction", "Ein Mann schläft.", "Niemand schläft."),
]
PANX = [
    (["Ada", "lebt", "in", "Bad", "Ems"], ["B-PER", "O", "O", "B-LOC", "I-LOC"]),
    (["SAP", "AG"], ["B-ORG", "I-ORG"]),
]
NER = ClassLabel(names=["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"])
POS = [(["Ол", "келді", "."], ["PRON", "VERB", "PUNCT"])]
PAIRS = [("What is it?", "What's it?", 1), ("Why?", "Who?", 0)]
NLI_ROWS = [("A man sleeps.", "Nobody sleeps.", "contradiction"), ("A dog runs.", "It moves.", "entailment"),
            ("A cat sits.", "It is black.", "neutral")]  # fmt: skip
COSMOS = [
    ("c1", "I fell, hard.", "Why?", ["ice", "snow", 'a "dog"', "None"], 2),
    ("c2", "It rained.", "And?", list("wxyz"), 0),
]
SWAG = [
    (4, "A man sits.", "he", ["falls.", "flies.", "is a fish.", "sings."], 3),
    (7, "Water boils.", "", list("abcd"), 0),
]
CSQA = [("x1", "Where is a pen?", list("ABCDE"), ["desk", "sky", "sea", "fire", "ice"], "A"),
        ("x2", "Who flies?", list("ABCDE"), ["cow", "bird", "pen", "sea", "car"], "B")]  # fmt: skip
ANLI = {f"r{n}": [(f"u{n}", f"Premise {n}.", f"Hypothesis {n}.", "cen"[n - 1])] for n in (1, 2, 3)}


def tokens_table(sentences: list[tuple[list[str], list[str]]], column: str, labels: ClassLabel, **more: Any) -> bytes:
    columns: Rows = {"tokens": [s[0] for s in sentences], column: [s[1] for s in sentences], **more}
    return parquet(columns, tokens=List(TEXT), langs=List(TEXT), **{column: List(labels)})


def conll(sentences: list[tuple[list[str], list[str]]], prefix: str = "") -> str:
    return "\n".join(
        "".join(f"{prefix}{token}\t{tag}\n" for token, tag in zip(tokens, tags, strict=True))
        for tokens, tags in sentences
    )


def pair_columns(rows: list[tuple[str, str, Any]], first: str, second: str, label: str = "label") -> Rows:
    return {first: [r[0] for r in rows], second: [r[1] for r in rows], label: [r[2] for r in rows]}


CONTENTS = {
    "mnli": Content(
        "nyu-mll/glue",
        {"MNLI/train.tsv": tsv(("sentence1", "sentence2", "gold_label"), *NLI_ROWS),
         "MNLI/dev_matched.tsv": tsv(("sentence1", "sentence2", "gold_label"), *NLI_ROWS[1:])},
        {"mnli/train": parquet(pair_columns(NLI_ROWS, "premise", "hypothesis"), label=NLI),
         "mnli/validation_matched": parquet(pair_columns(NLI_ROWS[1:], "premise", "hypothesis"), label=NLI)},
        [("train", "en"), ("dev", "en")],
    ),
    "qqp": Content(
        "nyu-mll/glue",
        {"QQP/train.tsv": tsv(("question1", "question2", "is_duplicate"), *((a, b, str(c)) for a, b, c in PAIRS)),
         "QQP/dev.tsv": tsv(("question1", "question2", "is_duplicate"), *((a, b, str(c)) for a, b, c in PAIRS[:1]))},
        {"qqp/train": parquet(pair_columns(PAIRS, "question1", "question2"),
                              label=ClassLabel(names=["not_duplicate", "duplicate"])),
         "qqp/validation": parquet(pair_columns(PAIRS[:1], "question1", "question2"),
                                   label=ClassLabel(names=["not_duplicate", "duplicate"]))},
        [("train", "en"), ("dev", "en")],
    ),
    "snli": Content(
        "stanfordnlp/snli",
        {f"snli_1.0/snli_1.0_{split}.jsonl": lines(
            {"sentence1": "Without", "sentence2": "majority", "gold_label": "-"},
            *({"sentence1": a, "sentence2": b, "gold_label": c} for a, b, c in NLI_ROWS)) for split in ("train", "dev")},  # noqa: E501
        {f"plain_text/{split}": parquet(pair_columns(
            [("Without", "majority", -1), *NLI_ROWS], "premise", "hypothesis"), label=NLI)
            for split in ("train", "validation")},
        [("train", "en"), ("dev", "en")],
    ),
    "anli": Content(
        "facebook/anli",
        {f"anli_v1.0/{part.upper()}/train.jsonl": lines(
            *({"uid": u, "context": p, "hypothesis": h, "label": c} for u, p, h, c in rows))
         for part, rows in ANLI.items()},
        {f"plain_text/train_{part}": parquet(
            {"uid": [r[0] for r in rows], "premise": [r[1] for r in rows], "hypothesis": [r[2] for r in rows],
             "label": [{"c": "contradiction", "e": "entailment", "n": "neutral"}[r[3]] for r in rows],
             "reason": [""] * len(rows)}, label=NLI) for part, rows in ANLI.items()},
        [("train", "en")],
    ),
    "squad": Content(
        "rajpurkar/squad", {"squad_v1.1/train-v1.1.json": squad(QUESTIONS)},
        {"plain_text/train": span_table(QUESTIONS)},
        [("train", "en"), ("dev", "en")],
    ),
    "squad_v2": Content(
        "rajpurkar/squad_v2",
        {"squad_v2.0/train-v2.0.json": squad([*QUESTIONS, ("q4", "Nothing here.", "Where?", [])])},
        {"squad_v2/train": span_table([*QUESTIONS, ("q4", "Nothing here.", "Where?", [])])},
        [("train", "en"), ("dev", "en")],
    ),
    "hellaswag": Content(
        "Rowan/hellaswag",
        {f"hellaswag/hellaswag_{split}.jsonl": lines(
            *({"ind": i, "ctx_a": a, "ctx_b": b, "endings": e, "label": n} for i, a, b, e, n in SWAG))
            for split in ("train", "val")},
        {f"default/{split}": parquet(
            {"ind": [r[0] for r in SWAG], "ctx_a": [r[1] for r in SWAG], "ctx_b": [r[2] for r in SWAG],
             "ctx": [""] * 2, "endings": [r[3] for r in SWAG], "label": [str(r[4]) for r in SWAG]},
            ind=Value("int32"), endings=List(TEXT)) for split in ("train", "validation")},
        [("train", "en"), ("dev", "en")],
    ),
    "cosmosqa": Content(
        "allenai/cosmos_qa",
        {"cosmosqa/train.csv": comma(
            ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"),
            *((i, c, q, *a, str(n)) for i, c, q, a, n in COSMOS))},
        {"default/train": parquet(
            {"id": [r[0] for r in COSMOS], "context": [r[1] for r in COSMOS], "question": [r[2] for r in COSMOS],
             **{f"answer{n}": [r[3][n] for r in COSMOS] for n in range(4)}, "label": [r[4] for r in COSMOS]},
            label=Value("int32"))},
        [("train", "en")],
    ),
    "commonsenseqa": Content(
        "tau/commonsense_qa",
        {f"commonsenseqa/{split}_rand_split.jsonl": lines(
            *({"id": i, "answerKey": k, "question": {"stem": q, "choices": [
                {"label": m, "text": t} for m, t in zip(marks, texts, strict=True)]}}
              for i, q, marks, texts, k in CSQA))
            for split in ("train", "dev")},
        {f"default/{split}": parquet(
            {"id": [r[0] for r in CSQA], "question": [r[1] for r in CSQA], "question_concept": ["-"] * 2,
             "choices": [{"label": r[2], "text": r[3]} for r in CSQA], "answerKey": [r[4] for r in CSQA]},
            choices={"label": List(TEXT), "text": List(TEXT)}) for split in ("train", "validation")},
        [("train", "en"), ("dev", "en")],
    ),
    "xnli": Content(
        "google/xtreme",
        {f"XNLI-1.0/xnli.{split}.tsv": tsv(("language", "gold_label", "sentence1", "sentence2"), *XNLI)
         for split in ("dev", "test")},
        {f"XNLI/{split}": parquet(
            {"language": [r[0] for r in XNLI], "sentence1": [r[2] for r in XNLI], "sentence2": [r[3] for r in XNLI],
             "gold_label": [r[1] for r in XNLI]}) for split in ("validation", "test")},
        [("test", "de"), ("test", "en"), ("dev", "en")],
    ),
    "pawsx": Content(
        "google/xtreme",
        {f"x-final/{language}/{split}.tsv": tsv(
            ("id", "s1", "s2", "label"), *(("9", a, b, str(c)) for a, b, c in PAIRS))
         for language, split in (("en", "train"), ("en", "dev_2k"), ("de", "test_2k"))},
        {name: parquet(pair_columns([(a, b, str(c)) for a, b, c in PAIRS], "sentence1", "sentence2"))
         for name in ("PAWS-X.en/train", "PAWS-X.en/validation", "PAWS-X.de/test")},
        [("train", "en"), ("dev", "en"), ("test", "de")],
    ),
    "panx": Content(
        "google/xtreme",
        {"panx_dataset/en/train": conll(PANX, "en:"), "panx_dataset/de/test": conll(PANX, "de:"),
         "panx_dataset/nl/test": conll(PANX, "nl:")},
        {"PAN-X.en/train": tokens_table(PANX, "ner_tags", NER, langs=[["en"] * len(s[0]) for s in PANX]),
         "PAN-X.de/test": tokens_table(PANX, "ner_tags", NER),
         "PAN-X.nl/test": tokens_table([([f"nl:{t}" for t in s[0]], s[1]) for s in PANX], "ner_tags", NER)},
        [("train", "en"), ("test", "de"), ("test", "nl")],
    ),
    "udpos": Content(
        "google/xtreme",
        {"udpos/test-kk.tsv": conll(POS), "udpos/train-en.tsv": conll(POS)},
        {"udpos.Kazakh/train": tokens_table(POS, "pos_tags", ClassLabel(names=[*reversed(UPOS)])),
         "udpos.Kazakh/test": tokens_table(POS, "pos_tags", ClassLabel(names=[*reversed(UPOS)])),
         "udpos.English/train": tokens_table(POS, "pos_tags", ClassLabel(names=[*UPOS])),
         "udpos.Thai/test": tokens_table(POS, "pos_tags", ClassLabel(names=[*UPOS]))},
        [("test", "kk"), ("train", "en")],
    ),
    "xquad": Content(
        "google/xtreme", {"xquad/xquad.el.json": squad(QUESTIONS)}, {"XQuAD.el/validation": span_table(QUESTIONS)},
        [("test", "el")],
    ),
    "mlqa": Content(
        "google/xtreme",
        {"MLQA_V1/dev/dev-context-de-question-de.json": squad(QUESTIONS),
         "MLQA_V1/test/test-context-de-question-de.json": squad(QUESTIONS[1:])},
        {"MLQA.de.de/validation": span_table(QUESTIONS), "MLQA.de.de/test": span_table(QUESTIONS[1:])},
        [("dev", "de"), ("test", "de")],
    ),
    "mlqa-cross": Content(
        "google/xtreme", {"MLQA_V1/test/test-context-de-question-en.json": squad(QUESTIONS)},
        {"MLQA.de.en/test": span_table(QUESTIONS)}, [("test", "de-en")],
    ),
    "tydiqa": Content(
        "google/xtreme",
        {"tydiqa/tydiqa-goldp-v1.1-train.json": squad(TYDI), "tydiqa/tydiqa-goldp-v1.1-dev.json": squad(TYDI[:2])},
        {"tydiqa/train": span_table(TYDI), "tydiqa/validation": span_table(TYDI[:2])},
        [("train", "en"), ("dev", "en"), ("test", "ko")],
    ),
    "tatoeba": Content(
        "google/xtreme",
        {"tatoeba/tatoeba.deu-eng.deu": "Guten Tag.\nWie geht's?\n",
         "tatoeba/tatoeba.deu-eng.eng": "Hello.\nHow are you?\n"},
        {"tatoeba.deu/validation": parquet({
            "source_sentence": ["Guten Tag.\n", "Wie geht's?\n"], "target_sentence": ["Hello.\n", "How are you?\n"],
            "source_lang": ["deu"] * 2, "target_lang": ["eng"] * 2})},
        [("test", "de")],
    ),
}  # fmt: skip

CLIENT = """
import json, sys
from xstilts.data import Provider, available, fingerprint, load, on_hub
from xstilts.common.errors import UserError
from xstilts.tasks import builtin_catalog
for name, split, language, revisions, what in json.load(sys.stdin):
    provider = Provider(hub=True, revisions=tuple(map(tuple, revisions)))
    task = builtin_catalog()[name]
    try:
        if what == "available":
            told = repr(available(task, split, provider))
        else:
            told = repr({"load": load, "fingerprint": fingerprint}[what](task, split, language, provider))
    except UserError as error:
        told = f"error: {error}"
    print(json.dumps(told))
"""

Job = tuple[str, str, str, list[tuple[str, str]], str]


def ask(server: Server, home: Path, jobs: list[Job], **more: str) -> list[str]:
    done = client(server.url, home, ["-c", CLIENT], json.dumps(jobs), **more)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def put(server: Server, repository: str, tables: dict[str, bytes]) -> str:
    """Commit tables, as on main with its card; for cosmos_qa as on refs/convert/parquet."""
    if repository == "allenai/cosmos_qa":
        files = {f"{name}/0000.parquet": table for name, table in tables.items()}
        return server.commit(f"datasets/{repository}", files, "refs/convert/parquet")
    configs: dict[str, list[str]] = {}
    for name in tables:
        configs.setdefault(name.partition("/")[0], []).append(name.partition("/")[2])
    files = {f"{name}-00000-of-00001.parquet": table for name, table in tables.items()}
    return server.commit(f"datasets/{repository}", {"README.md": card(configs), **files})


@pytest.fixture(scope="module")
def hub() -> Iterator[Server]:
    tables: dict[str, dict[str, bytes]] = {}
    for content in CONTENTS.values():
        tables.setdefault(content.repository, {}).update(content.tables)
    with serve() as server:
        for repository, of in tables.items():
            put(server, repository, of)
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def from_hub(hub: Server, home: Path) -> dict[tuple[str, str, str], str]:
    """What the hub gives for everything in CONTENTS."""
    jobs: list[Job] = [
        (name, split, language, [], "load") for name, content in CONTENTS.items() for split, language in content.reads
    ]
    return dict(zip([job[:3] for job in jobs], ask(hub, home, jobs), strict=True))


@pytest.mark.parametrize("name", CONTENTS)
def test_same_content_same_examples(name: str, from_hub: dict[tuple[str, str, str], str], tmp_path: Path) -> None:
    content = CONTENTS[name]
    for path, text in content.files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    for split, language in content.reads:
        examples = load(builtin_catalog()[name], split, language, tmp_path)  # type: ignore[arg-type]
        assert examples
        assert from_hub[name, split, language] == repr(examples)


def test_from_the_cache_without_a_network(hub: Server, home: Path, from_hub: dict[tuple[str, str, str], str]) -> None:
    """What was read once is read again; what was not is missed in one line."""
    jobs: list[Job] = [(*job, [], "load") for job in from_hub if job[0] in ("mnli", "cosmosqa", "xnli", "tydiqa")]
    unread: Job = ("squad", "train", "en", [("rajpurkar/squad", "other")], "load")
    before = len(hub.requests)
    *told, missed = ask(hub, home, [*jobs, unread], HF_HUB_OFFLINE="1")
    assert told == [from_hub[job[:3]] for job in jobs]
    assert missed.startswith("error: data set rajpurkar/squad at revision other: not in the local cache")
    assert hub.requests[before:] == []


def test_nothing_is_fetched_unless_the_study_says_so(hub: Server, tmp_path: Path) -> None:
    program = """
import sys
from xstilts.data import Provider, available, load
from xstilts.common.errors import UserError
from xstilts.tasks import builtin_catalog
task = builtin_catalog()["xquad"]
assert available(task, "test", Provider()) == available(task, "test", None) == ()
try:
    load(task, "test", "el", Provider())
except UserError as error:
    print(error)
assert not {"datasets", "pyarrow", "huggingface_hub"} & set(sys.modules)
"""
    before = len(hub.requests)
    done = client(hub.url, tmp_path, ["-c", program])
    assert done.returncode == 0, done.stderr
    assert "no data folder; set `data:` in the study or XSTILTS_DATA" in done.stdout and "`hub: true`" in done.stdout
    assert hub.requests[before:] == []


def test_files_go_first(hub: Server, home: Path, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from xstilts.data import Provider, available, load, on_hub
from xstilts.tasks import builtin_catalog
task, provider = builtin_catalog()["xquad"], Provider(Path({str(tmp_path)!r}), hub=True)
print(available(task, "test", provider))
print([len(load(task, "test", language, provider)) for language in ("el", "de")])
print([len(on_hub(task, "test", language, provider)) for language in ("el", "de")])
"""
    (tmp_path / "xquad").mkdir()
    (tmp_path / "xquad" / "xquad.de.json").write_text(squad(QUESTIONS[:1]), encoding="utf-8")
    done = client(hub.url, home, ["-c", program])
    assert done.stdout.splitlines() == ["('de', 'el')", "[3, 1]", "[1, 0]"], done.stderr


def test_splits_that_are_not_there(hub: Server, home: Path) -> None:
    told = ask(
        hub,
        home,
        [
            ("udpos", "test", "", [], "available"),
            ("udpos", "dev", "", [], "available"),
            ("udpos", "train", "", [], "available"),
            ("udpos", "dev", "kk", [], "load"),
            ("udpos", "test", "yo", [], "load"),
            ("cosmosqa", "dev", "en", [], "load"),
            ("tatoeba", "train", "de", [], "load"),
            ("bucc2018", "test", "de", [], "load")
            if "bucc2018" in builtin_catalog()
            else ("ccg", "dev", "en", [], "load"),
        ],
    )
    assert told[:3] == ["('kk', 'th')", "()", "('en', 'kk')"]
    assert "has no split 'validation' in 'udpos.Kazakh' (it has train, test)" in told[3]
    assert "has no configuration 'udpos.Yoruba'" in told[4]
    assert "has no split 'validation' in 'default'" in told[5]
    assert "the catalog entry has no such split" in told[6]
    assert "no data folder" in told[7]
    assert all(one.startswith("error: ") and "\n" not in one for one in told[3:])


def test_revisions(tmp_path: Path) -> None:
    """A pinned commit stays as it is when the branch moves on, and a cache keeps to what it resolved."""
    one, two = (
        {"plain_text/train": parquet(pair_columns(NLI_ROWS[:n], "premise", "hypothesis"), label=NLI)} for n in (1, 2)
    )
    with serve() as server:
        first = put(server, "stanfordnlp/snli", one)
        unpinned: Job = ("snli", "train", "en", [], "fingerprint")
        pinned: Job = ("snli", "train", "en", [("stanfordnlp/snli", first)], "fingerprint")
        (before,) = ask(server, tmp_path / "old", [unpinned])
        second = put(server, "stanfordnlp/snli", two)
        assert ask(server, tmp_path / "new", [unpinned, pinned])[1] == before
        kept, after, examples = ask(
            server,
            tmp_path / "old",
            [
                unpinned,
                *(("snli", "train", "en", [("stanfordnlp/snli", second)], what) for what in ("fingerprint", "load")),
            ],
        )
    assert kept == before != after
    assert examples.count("ClassificationExample") == 2


BAD: dict[str, tuple[dict[str, bytes] | None, Job, str]] = {
    "no column": (
        {"XNLI/test": parquet({"language": ["de"], "sentence1": ["a"], "sentence2": ["b"], "label": ["neutral"]})},
        ("xnli", "test", "de", [], "load"),
        "google/xtreme XNLI: no column 'gold_label'; it has language, sentence1, sentence2, label",
    ),
    "label": (
        {"XNLI/test": parquet({"language": ["de"], "sentence1": ["a"], "sentence2": ["b"], "gold_label": ["netural"]})},
        ("xnli", "test", "de", [], "load"),
        "google/xtreme XNLI test: row 1: label 'netural' is not in the label set; did you mean 'neutral'?",
    ),
    "number": (
        {"mnli/train": parquet(pair_columns([("a", "b", 1)], "premise", "hypothesis"), label=Value("int64"))},
        ("mnli", "train", "en", [], "load"),
        "nyu-mll/glue mnli train: row 1: label 1 is a number without a name, or missing; labels go by name",
    ),
    "no class": (
        {"mnli/train": parquet(pair_columns([("a", "b", -1)], "premise", "hypothesis"), label=NLI)},
        ("mnli", "train", "en", [], "load"),
        "nyu-mll/glue mnli train: row 1: label '-1' is not in the label set",
    ),
    "language": (
        {"XNLI/test": parquet({"language": ["de"], "sentence1": ["a"], "sentence2": ["b"], "gold_label": ["neutral"]})},
        ("xnli", "test", "sw", [], "load"),
        "google/xtreme XNLI test: no examples of language 'sw'",
    ),
    "offset": (
        {"squad_v2/train": span_table([("q", "It is so long a way to London.", "Where?", [("London", 2)])])},
        ("squad_v2", "train", "en", [], "load"),
        "rajpurkar/squad_v2 squad_v2 train: 1 of 1 answers are not at their offset, the first id q: answer_start 2",
    ),
    "no text": (
        {"XQuAD.el/validation": parquet({"id": ["q"], "context": [None], "question": ["b"],
                                         "answers": [{"text": [], "answer_start": []}]},
                                        answers={"text": List(TEXT), "answer_start": List(Value("int32"))})},
        ("xquad", "test", "el", [], "load"),
        "google/xtreme XQuAD.el validation: row 1: no text in column 'context'",
    ),
    "twice": (
        {"XQuAD.el/validation": span_table([QUESTIONS[0], QUESTIONS[0]])},
        ("xquad", "test", "el", [], "load"),
        "google/xtreme XQuAD.el validation: 1 id given more than once, the first 'q1'",
    ),
    "tags": (
        {"PAN-X.de/test": parquet({"tokens": [["a", "b"]], "ner_tags": [[0]]}, tokens=List(TEXT), ner_tags=List(NER))},
        ("panx", "test", "de", [], "load"),
        "google/xtreme PAN-X.de test: row 1: 2 tokens and 1 tags, or an empty token",
    ),
    "tags without names": (
        {"PAN-X.de/test": parquet(
            {"tokens": [["a"]], "ner_tags": [[0]]}, tokens=List(TEXT), ner_tags=List(Value("int64")))},
        ("panx", "test", "de", [], "load"),
        "google/xtreme PAN-X.de test: row 1: tags are numbers without names; labels go by name",
    ),
    "choice": (
        {"default/train": parquet({"ind": [1], "ctx_a": ["a"], "ctx_b": ["b"], "endings": [["c", "d"]], "label": ["5"]},
                                  ind=Value("int32"), endings=List(TEXT))},
        ("hellaswag", "train", "en", [], "load"),
        "Rowan/hellaswag default train: row 1: not in the layout of hellaswag, or its label is none of the choices",
    ),
    "no Parquet": ({"XQuAD.el/validation": b"not Parquet"}, ("xquad", "test", "el", [], "load"), "cannot be read as"),
    "no such revision": (
        {},
        ("xquad", "test", "el", [("google/xtreme", "nope")], "load"),
        "data set google/xtreme at revision nope: the hub has no such revision",
    ),
    "no such data set": (
        None,
        ("snli", "train", "en", [], "load"),
        "data set stanfordnlp/snli at revision main: no such data set on the hub",
    ),
    "gated": (
        None,
        ("squad", "train", "en", [], "load"),
        "data set rajpurkar/squad at revision main: its terms must be accepted on the hub first; then `hf auth login`",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def told_of_bad(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each fault; each is at a commit of its own."""
    jobs: list[Job] = []
    with serve() as server:
        for tables, job, _ in BAD.values():
            layout = builtin_catalog()[job[0]].hub
            assert layout is not None
            pins = [(layout.repository, put(server, layout.repository, tables))] if tables else job[3]
            jobs.append((*job[:3], pins, job[4]))
        server.commit("datasets/rajpurkar/squad", {})
        server.repositories["datasets/rajpurkar/squad"].gated = True
        told = ask(server, tmp_path_factory.mktemp("bad"), jobs)
    return dict(zip(BAD, told, strict=True))


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_told_in_one_line(name: str, told_of_bad: dict[str, str]) -> None:
    assert told_of_bad[name].startswith("error: ") and "\n" not in told_of_bad[name]
    assert BAD[name][2] in told_of_bad[name]


def test_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    with serve() as server:
        pass
    (told,) = ask(server, tmp_path, [("mnli", "train", "en", [], "load")])
    assert told.startswith("error: data set nyu-mll/glue at revision main: not in the local cache, and the hub cannot")
    assert told.endswith("connect, or run `hf download nyu-mll/glue --repo-type dataset` first")


def test_answers_where_the_hub_stripped_passages(hub: Server, home: Path) -> None:
    """google/xtreme's script stripped passages and answers, and left the offsets as they were."""
    rows = [
        ("q1", "London is big. Paris is big.", "Which?", [("Paris", 17)]),
        ("q2", "So in London.", "Where?", [("London", 5)]),
    ]
    before = hub.repositories["datasets/google/xtreme"].branches["main"]
    commit = put(hub, "google/xtreme", {"XQuAD.el/validation": span_table(rows)})
    hub.repositories["datasets/google/xtreme"].branches["main"] = before
    (told,) = ask(hub, home, [("xquad", "test", "el", [("google/xtreme", commit)], "load")])
    assert "GoldAnswer(text='Paris', start=15)" in told and "GoldAnswer(text='London', start=6)" in told


def test_check_counts_what_the_hub_has(hub: Server, home: Path) -> None:
    check = ["-m", "xstilts.cli", "data", "check"]
    done = client(hub.url, home, [*check, "--hub", "anli_plus", "--hub", "udpos", "--hub", "xquad"])
    assert done.returncode == 0, done.stderr
    commit = hub.repositories["datasets/nyu-mll/glue"].branches["main"][:10]
    assert f"nyu-mll/glue@{commit}: mnli train en (mnli train), 3 of 392,702 examples" in done.stdout.splitlines()
    assert "anli_plus train en, 9 of 1,104,934 examples" in done.stdout
    assert "udpos test kk (udpos.Kazakh test), 1 example\n" in done.stdout
    assert "xquad test el (XQuAD.el validation), 3 of 1,190 examples" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a data folder or file, with --task FILE if you like, or --hub"),
        ([".", "--hub", "mnli"], "one of the two"),
        (["--hub", "ccg"], "the catalog names no data set of the hub for it"),
        (["--hub", "xnil"], "did you mean 'xnli'?"),
    ],
)
def test_check_of_what_is_not_on_the_hub(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["xstilts", "data", "check", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    err = capsys.readouterr().err
    assert (stopped.value.code, len(err.splitlines())) == (2, 1) and message in err


def test_labels_go_by_name(from_hub: dict[tuple[str, str, str], str]) -> None:
    """The hub's class labels are numbered in another order than the catalog's, in every data set that has them."""
    assert "hypothesis='Nobody sleeps.', label='contradiction'" in from_hub["mnli", "train", "en"]
    assert "hypothesis='Nobody sleeps.', label='contradiction'" in from_hub["snli", "train", "en"]
    assert "label='contradiction'), Cl" in from_hub["anli", "train", "en"]
    assert "hypothesis=\"What's it?\", label='1'" in from_hub["qqp", "train", "en"]
    assert "tags=('B-PER', 'O', 'O', 'B-LOC', 'I-LOC')" in from_hub["panx", "test", "de"]
    assert "tags=('PRON', 'VERB', 'PUNCT')" in from_hub["udpos", "test", "kk"]
