"""Catalog entries × plan, records × predict, folders × score: accepted, or one line that names field or file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import transformers
import yaml

from forked import XStilts, rows
from test_matrix_models import CONFIG, LFS, TOKENIZER, WEIGHTS, Change, config, replaced, weights, written

# -- entries --------------------------------------------------------------------------------------------------------

SPLITS = ("train", "dev", "test")
PAIRS = "The film was good{n}\tyes\nThe film was bad{n}\tno\nThe book was good{n}\tyes\nThe book was bad{n}\tno\n"
TAGGED = "Ada{n}\tB-PER\nLovelace\tI-PER\nsleeps\tO\n\nBonn{n}\tB-PER\nsleeps\tO\n"


def records(*made: Mapping[str, Any] | str) -> str:
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in made)


QUESTIONS = [
    {"context": f"Ada was born in London {n}{{n}}.", "question": f"Where, {n}{{n}}?",
     "answers": [{"text": "London", "start": 16}]}
    for n in range(4)
]  # fmt: skip
CHOICES = [{"prompt": f"It rains {n}{{n}}", "choices": ["wet", "dry"], "label": n % 2} for n in range(4)]
SENTENCES = [{"source": f"Hund {n}", "target": f"dog {n}"} for n in range(4)]

#: By format: what its entry has, and what its files are to begin with; {n} keeps the splits apart.
ENTRIES: dict[str, dict[str, Any]] = {
    "classification": {"metric": "accuracy", "labels": ["no", "yes"],
                       "files": {"reader": "tsv", "columns": ["premise", "label"]}},
    "tagging": {"metric": "f1", "labels": ["O", "B-PER", "I-PER"], "files": {"reader": "tokens"}},
    "span": {"metric": "f1", "files": {"reader": "records"}},
    "multiple_choice": {"metric": "accuracy", "files": {"reader": "records"}},
    "retrieval": {"metric": "accuracy", "languages": ["de"], "files": {"reader": "records"}},
}  # fmt: skip
CONTENT = {
    "classification": PAIRS,
    "tagging": TAGGED,
    "span": records(*QUESTIONS),
    "multiple_choice": records(*CHOICES),
    "retrieval": records(*SENTENCES),
}


@dataclass(frozen=True)
class Entry:
    """What the error names, in so many ``lines``, or the notes of the plan where an entry is accepted; and how it
    differs from its format's.

    ``changes`` are of its fields, and those named `format`, `files` (contents by split), `patterns` (fields of `files`)
    and `study`; None takes a file or a field away.
    """

    told: tuple[str, ...]
    notes: tuple[str, ...]
    changes: Mapping[str, Any]
    lines: int = 1


def told(*words: str, lines: int = 1, **changes: Any) -> Entry:
    return Entry(words, (), changes, lines)


def accepted(*notes: str, **changes: Any) -> Entry:
    return Entry((), notes, changes)


def in_test(text: str) -> dict[str, Any]:
    """Of a task that is trained on another."""
    return {"files": {"train": None, "dev": None, "test": text}, "patterns": {"train": None, "dev": None}}


NLI = ("entailment", "neutral", "contradiction")
NLI_ROWS = "It rains.\tentailment\nIt snows.\tneutral\nIt hails.\tcontradiction\n"
ON_NLI: dict[str, Any] = {"train": "mini-nli", "labels": list(NLI), **in_test(NLI_ROWS)}
ENTITIES = ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
ON_ENTITIES: dict[str, Any] = {"format": "tagging", "train": "mini-entities", **in_test(TAGGED)}
YES_NO = {"labels": ["no", "yes"], **in_test(PAIRS)}
GOLDLESS = {"context": "Ada was born in London.", "question": "When?"}
UNANSWERED = {**GOLDLESS, "answers": []}


def tags(*names: str) -> str:
    """Two sentences that have these tags."""
    return "".join(f"word{{n}}\t{name}\n" for name in names) + "\n" + f"Bonn{{n}}\t{names[0]}\n"


BIOES = ["O", "B-PER", "I-PER", "E-PER", "S-PER"]
BILOU = ["O", "B-PER", "I-PER", "L-PER", "U-PER"]
BMES = ["O", "B-PER", "M-PER", "E-PER", "S-PER"]
BARE = ["O", "PER", "LOC"]
SUFFIXED = ["O", "PER-B", "PER-I"]


def scheme(names: list[str]) -> dict[str, Any]:
    return {"format": "tagging", "labels": names, "files": dict.fromkeys(SPLITS, tags(*names))}


def some(rows: str, *more: Mapping[str, Any] | str) -> str:
    return rows + records(*more)


SPANS, CHOSEN = records(*QUESTIONS), records(*CHOICES)
JSONL = {"reader": "records"}
LABELLED = records({"premise": "good {n}", "label": "yes"}, {"premise": "bad {n}", "label": "no"})


def labelled(split: str, *more: Mapping[str, Any] | str) -> dict[str, Any]:
    """Classification by the reader `records`, ``more`` of them in a split."""
    files = dict.fromkeys(SPLITS, LABELLED)
    return {"patterns": {**JSONL, "columns": None}, "files": {**files, split: some(LABELLED, *more)}}


PLANS: dict[str, Entry] = {
    **{f"{format} as it is": accepted(format=format) for format in ENTRIES},
    # metrics
    **{f"classification by {metric!r}": told("entry", "`metric`", "accuracy", repr(metric), metric=metric)
       for metric in ("f1", "macro_f1", "acurracy", "", "exact_match", "loss", "Accuracy", "mcc")},
    **{f"multiple choice by {metric}": told("`metric`", "accuracy", format="multiple_choice", metric=metric)
       for metric in ("f1", "map")},
    **{f"retrieval by {metric}": told("`metric`", "accuracy", format="retrieval", metric=metric)
       for metric in ("f1", "accuracy@3")},
    "spans by exact match": accepted(format="span", metric="exact_match"),
    "spans by accuracy": told("`metric`", "f1, exact_match", format="span", metric="accuracy"),
    "spans by best f1": told("`metric`", "'best_f1'", format="span", metric="best_f1"),
    "unanswerable by best f1": accepted(format="span", metric="best_f1", unanswerable=True),
    "tags by accuracy": accepted(format="tagging", metric="accuracy"),
    "tags by precision": told("`metric`", "accuracy, f1, chunk_f1", format="tagging", metric="precision"),
    "entities by chunk": told("chunk_f1", "'B-PER'", format="tagging", metric="chunk_f1"),
    "no metric": told("metric", metric=None),
    # schemes of tags
    "BIOES by f1": accepted(**scheme(BIOES)),
    "BILOU by f1": accepted(**scheme(BILOU)),
    "BMES by f1": told("`metric: f1`", "'M-PER'", **scheme(BMES)),
    "BMES by accuracy": accepted(**scheme(BMES), metric="accuracy"),
    "bare by f1": told("`metric: f1`", "'PER'", "B-", **scheme(BARE)),
    "bare by chunk": accepted(**scheme(BARE), metric="chunk_f1"),
    "suffixes by f1": told("'PER-B'", **scheme(SUFFIXED)),
    "lower case by f1": told("'b-per'", **scheme(["O", "b-per", "i-per"])),
    "bare of the data by f1": told("own", "labels of its data", "'LOC'",
                                   **{**scheme(BARE), "labels": None}, labels_from_data=True),
    "IOB2 of the data": accepted(format="tagging", labels=None, labels_from_data=True),
    "BIOES of the data": accepted(**{**scheme(BIOES), "labels": None}, labels_from_data=True),
    "one tag in the data": told("one label only", **{**scheme(["O"]), "labels": None}, labels_from_data=True),
    "labels of the data and listed": told("`labels_from_data`", format="tagging", labels_from_data=True),
    "labels of the data to classify": told("`labels_from_data`", labels=None, labels_from_data=True),
    # label sets
    "no labels": told("`labels` must be given", labels=None),
    "labels of spans": told("`labels`", format="span", labels=["a", "b"]),
    "a label twice": told("`labels`", "'no' more than once", labels=["no", "yes", "no"]),
    "one label": told("`labels`", "one label only", labels=["yes"], files=dict.fromkeys(
        SPLITS, PAIRS.replace("\tno", "\tyes"))),
    "a blank label": told("`labels`", "blank", labels=["no", "yes", " "]),
    "a tab in a label": told("`labels`", "cannot be printed", labels=["no", "yes", "a\tb"]),
    "a line break in a label": told("`labels`", "cannot be printed", labels=["no", "yes", "a\nb"]),
    "a tag of two words": told("one word", "'B PER'", format="tagging", labels=["O", "B-PER", "I-PER", "B PER"],
                               metric="accuracy"),
    "more labels than the data has": accepted(labels=["no", "yes", "mixed"]),
    # labels of another task
    "the same order": accepted(**ON_NLI),
    **{f"the order {' '.join(order)}": accepted(**{**ON_NLI, "labels": list(order)})
       for order in (NLI[::-1], (NLI[1], NLI[0], NLI[2]), (NLI[2], NLI[0], NLI[1]))},
    "other labels": told("own", "no, yes", ", ".join(NLI), "`label_map", train="mini-nli", **YES_NO),
    "one label less": told("entailment, neutral", "'contradiction'", "mini-nli",
                           **{**ON_NLI, "labels": list(NLI[:2]), **in_test("".join(NLI_ROWS.splitlines(True)[:2]))}),
    "one label more": told("'unclear' is never learnt", "mini-nli", **{**ON_NLI, "labels": [*NLI, "unclear"]}),
    "other case": told("'entailment'", train="mini-nli", labels=[label.upper() for label in NLI],
                       **in_test(NLI_ROWS.upper())),
    "mapped": accepted(train="mini-nli", **YES_NO, label_map=dict(zip(NLI, ("yes", "no", "no"), strict=True))),
    "mapped in part": told("'contradiction'", train="mini-nli", **YES_NO,
                           label_map={"entailment": "yes", "neutral": "no"}),
    "mapped to one": told("'no' is never learnt", train="mini-nli", **YES_NO, label_map=dict.fromkeys(NLI, "yes")),
    "mapped from a misspelt one": told("`label_map`", "did you mean 'entailment'?", train="mini-nli", **YES_NO,
                                       label_map={"entailmnt": "yes", "neutral": "no", "contradiction": "no"}),
    "mapped to an unknown one": told("`label_map`", "'yess'", "did you mean 'yes'?", train="mini-nli", **YES_NO,
                                     label_map=dict(zip(NLI, ("yess", "no", "no"), strict=True))),
    "mapped to a number": told("label_map", train="mini-nli", **YES_NO,
                               label_map=dict(zip(NLI, ("yes", "no", 0), strict=True))),
    "mapped as a list": told("label_map", train="mini-nli", **YES_NO, label_map=["yes", "no", "no"]),
    "swapped": accepted(**ON_NLI, label_map={"entailment": "contradiction", "contradiction": "entailment"}),
    "mapped without train": told("`label_map`", "`train`", label_map={"no": "yes"}),
    "mapped from itself": told("`label_map`", train="own", label_map={"no": "yes"}),
    "mapped spans": told("`label_map`", format="span", train="mini-span", label_map={"a": "b"}, **in_test(SPANS)),
    "train of another format": told("own", "format classification", "mini-span", train="mini-span", **YES_NO),
    "train of a mistyped task": told("did you mean 'mini-nli'?", **{**ON_NLI, "train": "mini-nil"}),
    "train of a task that has none": told("mini-retrieval", "of retrieval", "has no en", lines=2,
                                          train="mini-retrieval", **YES_NO),
    # tags of another task
    "the same tags": accepted(**ON_ENTITIES, labels=list(ENTITIES)),
    "the same tags in another order": accepted(**ON_ENTITIES, labels=list(ENTITIES[::-1])),
    "a type never predicted": accepted("B-DATE, I-DATE is never predicted", **ON_ENTITIES,
                                       labels=[*ENTITIES, "B-DATE", "I-DATE"]),
    "tags that the target lacks": told("'B-LOC'", "mini-entities", **ON_ENTITIES, labels=["O", "B-PER", "I-PER"]),
    "tags mapped to none": accepted(**ON_ENTITIES, labels=["O", "B-PER", "I-PER"],
                                    label_map=dict.fromkeys(ENTITIES[1:5], "O")),
    "all tags mapped to none": told("'B-PER' is never learnt", **ON_ENTITIES, labels=["O", "B-PER", "I-PER"],
                                    label_map=dict.fromkeys(ENTITIES[1:], "O")),
    "tags that share only O": told("'B-LOC'", **{**ON_ENTITIES, **in_test(tags("O", "NOUN"))},
                                   labels=["O", "NOUN"], metric="accuracy"),
    "BIOES trained on IOB2": accepted("E-LOC", **{**ON_ENTITIES, **in_test(tags("S-PER"))},
                                      labels=["O", *(f"{prefix}-{name}" for name in ("LOC", "ORG", "PER")
                                                     for prefix in "BIES")]),
    "tags of the data of another task": accepted(**ON_ENTITIES, labels=None, labels_from_data=True),
    # questions without an answer
    "questions without an answer": told("own/test-en.tsv", "'5'", "`unanswerable: true`", format="span",
                                        files={"test": some(SPANS, UNANSWERED)}),
    "learnt without an answer": told("own/train-en.tsv", "`unanswerable: true`", format="span",
                                     files={"train": some(SPANS, UNANSWERED)}),
    "questions without an answer, said": accepted(format="span", unanswerable=True,
                                                  files={"test": some(SPANS, UNANSWERED)}),
    "no answer never learnt": accepted("is never learnt", format="span", unanswerable=True, train="mini-span",
                                       **in_test(some(SPANS, UNANSWERED))),
    "no answer learnt, and none here": accepted("each is given the best answer", format="span",
                                                train="mini-span-unanswerable", **in_test(SPANS)),
    # choices
    **{f"another number of choices in {split}": told(
        f"own/{split}-en.tsv", "'5' has 3", format="multiple_choice",
        files={split: some(CHOSEN, {"prompt": "It snows", "choices": ["a", "b", "c"], "label": 2})})
       for split in ("train", "dev", "test")},
    # gold
    "train without gold": told("own/train-en.tsv: no gold labels", format="span",
                               files={"train": records(*({**GOLDLESS, "context": f"{n}"} for n in range(3)))}),
    "some of train without gold": accepted("own train data in en: 1 of 5", "nothing is learnt", format="span",
                                           files={"train": some(SPANS, GOLDLESS)}),
    "some of dev without gold": told("own dev data in en", "1 of 5", "'5'", format="span",
                                     files={"dev": some(SPANS, GOLDLESS)}),
    "some of test without gold": accepted("1 of 5 examples of the test data in en", "but no score", format="span",
                                          files={"test": some(SPANS, GOLDLESS)}),
    "test without gold": accepted("no gold labels in any language", format="span", files={"test": records(GOLDLESS)}),
    # labels in files
    **{f"a misspelt label in {split}": told(f"{split}-en.tsv:5", "'yess'", "did you mean 'yes'?",
                                            files={split: f"{PAIRS}It was fine\tyess\n"})
       for split in ("train", "dev", "test")},
    "a label in capitals": told("test-en.tsv:5", "'YES'", files={"test": f"{PAIRS}It was fine\tYES\n"}),
    "a label with a space": told("test-en.tsv:5", "'yes '", files={"test": f"{PAIRS}It was fine\tyes \n"}),
    "an empty label": told("test-en.tsv:5", "''", files={"test": f"{PAIRS}It was fine\t\n"}),
    "a misspelt tag": told("train-en.tsv:8", "'B-PRE'", format="tagging", files={"train": f"{TAGGED}\nBonn\tB-PRE\n"}),
    "a misspelt label in a record": told("test-en.tsv:3", "'yess'",
                                         **labelled("test", {"premise": "x", "label": "yess"})),
    # fields of records
    **{f"a record's {name}": told("test-en.tsv:3", f"'{name}'", "'label'",
                                  **labelled("test", {"premise": "fine", name: "yes"}))
       for name in ("labels", "Label", "LABEL", "labl", "lable")},
    "a record's hypotesis": told("test-en.tsv:3", "did you mean 'hypothesis'?",
                                 **labelled("test", {"premise": "fine", "hypotesis": "good", "label": "yes"})),
    "a record's tag": told("did you mean 'tags'?", lines=3, format="tagging", patterns=JSONL, files=dict.fromkeys(
        SPLITS, records({"tokens": ["a"], "tag": ["O"]}))),
    "a record's answer": told("did you mean 'answers'?", format="span",
                              files={"test": records({**GOLDLESS, "answer": []})}),
    "a record of other fields": accepted(**labelled("test", {"premise": "x", "label": "yes", "url": 1, "task": "own"})),
    "a record with a number for an id": accepted(**labelled("test", {"id": 7, "premise": "x", "label": "yes"})),
    **{f"a record's premise {value!r}": told("test-en.tsv:3", "'premise' is no text",
                                             **labelled("test", {"premise": value, "label": "yes"}))
       for value in (5, None, True, ["a"], float("nan"))},
    "a record without premise": told("test-en.tsv:3", "'premise' is missing", **labelled("test", {"label": "yes"})),
    "a record's label 1": told("test-en.tsv:3", "'label' is no text", **labelled("test", {"premise": "x", "label": 1})),
    "a record's tokens in one text": told("'tokens' is no list", lines=3, format="tagging", patterns=JSONL,
                                     files=dict.fromkeys(SPLITS, records({"tokens": "a b", "tags": ["O", "O"]}))),
    "a record's tags in one text": told("'tags' is no list", lines=3, format="tagging", patterns=JSONL,
                                     files=dict.fromkeys(SPLITS, records({"tokens": ["a", "b"], "tags": "OO"}))),
    "a record's start in a text": told("'answers.0.start' is no whole number", format="span", files={
        "test": records({**QUESTIONS[0], "answers": [{"text": "London", "start": "16"}]})}),
    "a record's label of choices in a text": told("'label' is no whole number", format="multiple_choice", files={
        "test": records({**CHOICES[0], "label": "1"})}),
    "a record's label beyond its choices": told("test-en.tsv:1", "label 2 of 2 choices", format="multiple_choice",
                                                files={"test": records({**CHOICES[0], "label": 2})}),
    # where files are
    "no train file": told("no own/train-en.tsv", "own train, en", files={"train": None}),
    "no dev file": told("no own/dev-en.tsv", files={"dev": None}),
    "no test file": told("no own/test-en.tsv", files={"test": None}),
    "a mistyped pattern": told("no own/tain-en.tsv", patterns={"train": "own/tain-{lang}.tsv"}),
    "a mistyped placeholder": told("{language}", patterns={"train": "own/train-{language}.tsv"}),
    "train of another language only": told("own/train-en.tsv", languages=["en", "de"],
                                           files={"train": None, "train-de": PAIRS}),
    "languages without English": told("own", "languages", "en", languages=["de"],
                                      files={"train-de": PAIRS, "dev-de": PAIRS, "test-de": PAIRS}),
    "without dev": accepted(patterns={"dev": None}),
    "a data folder that is not there": told("elsewhere", study={"data": "elsewhere"}),
    "no data folder": told("own", "no data folder", study={"data": None}),
    "nothing to train on": told("targets: own", "no training data", patterns={"train": None, "dev": None}),
    "a recipe of a task that is trained on another": told("recipes", "own", **ON_NLI,
                                                          study={"recipes": ["none", "own"]}),
    "united with a misspelt task": told("of: mnil", "did you mean 'mnli'?", of=["mnil"], files={}, patterns={
        "reader": None}),
}  # fmt: skip


def write_entry(folder: Path, case: Entry) -> None:
    """The entry, its study and its data in an empty folder."""
    fields = {"format": "classification", "files": {}, "patterns": {}, "study": {}, **case.changes}
    changed = {name: fields.pop(name) for name in ("files", "patterns", "study")}
    own = ENTRIES[fields["format"]]
    entry = {"name": "own", "description": "-", "languages": ["en"], "licence": "-", "citation": "-", **own, **fields}
    splits = ["test"] if entry["format"] == "retrieval" else SPLITS
    patterns = {split: f"own/{split}-{{lang}}.tsv" for split in splits}
    entry["files"] = None if "of" in fields else given({**own["files"], **patterns, **changed["patterns"]})
    (folder / "own.yaml").write_text(yaml.safe_dump(given(entry)))
    (folder / "data" / "own").mkdir(parents=True)
    for split, content in given({**dict.fromkeys(SPLITS, CONTENT[entry["format"]]), **changed["files"]}).items():
        name = split if "-" in split else f"{split}-{entry['languages'][0]}"
        (folder / "data" / "own" / f"{name}.tsv").write_text(content.replace("{n}", f" {split}"))
    study = {"name": "s", "data": "data", "tasks": ["own.yaml"], "encoders": ["bundled/e5-small@1"],
             "recipes": ["none"], "targets": ["own"], "seeds": [1], **changed["study"]}  # fmt: skip
    (folder / "s.yaml").write_text(yaml.safe_dump(given(study)))


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize("case", rows(PLANS, 16))
def test_an_entry_is_planned_or_refused_in_one_line(case: Entry, tmp_path: Path, xstilts: XStilts) -> None:
    write_entry(tmp_path, case)
    ended = xstilts(tmp_path, "plan", "s.yaml")
    if case.told:
        ended.assert_refused(*case.told, lines=case.lines)
        assert all(line.startswith("error: s.yaml") for line in ended.errors)
    else:
        ended.assert_accepted()
        said = " ".join(ended.out.split())
        assert all(note in said for note in case.notes), ended.out
    assert not list(tmp_path.rglob("manifest.json"))


# -- records --------------------------------------------------------------------------------------------------------

MODELS = {
    "classification": ("BertForSequenceClassification", NLI),
    "tagging": ("BertForTokenClassification", ("O", "B-PER", "I-PER")),
    "span": ("BertForQuestionAnswering", ()),
    "multiple_choice": ("BertForMultipleChoice", ()),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an exported model a format, of random weights."""
    folder = tmp_path_factory.mktemp("models")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(letter for letter in "abcdefghijklmnopqrstuvwxyz?")]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    for name, (kind, labels) in MODELS.items():
        named = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        config = transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            type_vocab_size=2, pad_token_id=tokenizer.pad_token_id, **(named if labels else {}),
        )  # fmt: skip
        getattr(transformers, kind)(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


GOOD = {
    "classification": {"premise": "a", "hypothesis": "b"},
    "tagging": {"tokens": ["Anna", "Berg"]},
    "span": {"question": "who?", "context": "Anna Berg"},
    "multiple_choice": {"prompt": "a", "choices": ["b", "c"]},
}


@dataclass(frozen=True)
class Records:
    """A file of records for a model, and what the error names; nothing where each gets a prediction."""

    content: bytes
    told: tuple[str, ...] = ()
    format: str = "classification"


def changed(format: str, *words: str, **fields: Any) -> Records:
    """A good record, then one with other fields; ... takes a field away."""
    other = {name: value for name, value in {**GOOD[format], **fields}.items() if value is not ...}
    return Records(records(GOOD[format], other).encode(), words, format)


PREDICTIONS: dict[str, Records] = {
    **{f"{format} as it is": Records(records(record).encode(), (), format) for format, record in GOOD.items()},
    **{f"{format} behind a byte order mark": Records(b"\xef\xbb\xbf" + records(record).encode(), (), format)
       for format, record in GOOD.items()},
    **{f"premise {value!r}": changed("classification", "in.jsonl:2", "'premise'", premise=value)
       for value in (5, None, float("nan"), float("inf"), "", ["a"], {"a": 1}, True, ...)},
    **{f"hypothesis {value!r}": changed("classification", "in.jsonl:2", "'hypothesis' is no text", hypothesis=value)
       for value in (0, float("nan"), ["a"], False)},
    "no hypothesis": changed("classification", hypothesis=...),
    "null for a hypothesis": changed("classification", hypothesis=None),
    "hypotesis": changed("classification", "in.jsonl:2", "did you mean 'hypothesis'?", hypothesis=..., hypotesis="b"),
    "Hypothesis": changed("classification", "did you mean 'hypothesis'?", hypothesis=..., Hypothesis="b"),
    "premises": changed("classification", "did you mean 'premise'?", premise=..., premises="b"),
    "further fields": changed("classification", idx=3, label=1, language="de", url=None),
    "half a surrogate pair": changed("classification", "in.jsonl:2", "surrogate", premise="\ud83d"),
    **{f"tokens {value!r}": changed("tagging", "in.jsonl:2", "tokens", tokens=value)
       for value in ("Anna Berg", [], ["Anna", None], ["Anna", 5], [""], [["Anna"]], None, 7, {"0": "Anna"}, ...)},
    "token": changed("tagging", "did you mean 'tokens'?", tokens=..., token=["Anna"]),
    **{f"context {value!r}": changed("span", "in.jsonl:2", "'context'", context=value)
       for value in (12, None, float("nan"), "", ["Anna"], ...)},
    "context of blanks": changed("span", context="  "),
    **{f"question {value!r}": changed("span", "in.jsonl:2", "'question'", question=value)
       for value in (12, None, "", ...)},
    "contxt": changed("span", "did you mean 'context'?", context=..., contxt="Anna"),
    **{f"choices {value!r}": changed("multiple_choice", "in.jsonl:2", "choices", choices=value)
       for value in ("bc", [], ["b"], ["b", None], ["b", 5], None, ...)},
    "three choices beside two": changed("multiple_choice", choices=["b", "c", "d"]),
    **{f"prompt {value!r}": changed("multiple_choice", "in.jsonl:2", "'prompt'", prompt=value)
       for value in (5, None, ...)},
    "no JSON": Records(b'{"premise": "a"}\nspam\n', ("in.jsonl:2", "invalid JSON")),
    "half a line": Records(b'{"premise": "a"}\n{"premise": "b"', ("in.jsonl:2", "invalid JSON")),
    "a list": Records(b'["a"]\n', ("in.jsonl:1", "an object")),
    "a JSON array of records": Records(b'[{"premise": "a"}]\n', ("in.jsonl:1", "an object")),
    "latin-1": Records('{"premise": "ä"}\n'.encode("latin-1"), ("in.jsonl:1", "UTF-8")),
    "UTF-16": Records('{"premise": "a"}\n'.encode("utf-16"), ("in.jsonl", "UTF-16")),
    "a NUL": Records(b'{"premise": "a\0"}\n', ("in.jsonl:1", "NUL")),
    "a number of 5,000 digits": Records(b'{"premise": "a", "n": ' + b"9" * 5000 + b"}\n", ("in.jsonl:1", "digits")),
    "deep nesting": Records(b'{"premise": "a", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", ("in.jsonl:1",)),
    "blank lines between": Records(b'\n{"premise": "a"}\n\n{"premise": 5}\n', ("in.jsonl:4", "'premise' is no text")),
    "a line separator in a text": Records('{"premise": "a\u2028b"}\n'.encode()),
    "another model": Records(records(GOOD["span"]).encode(), ("BertForSequenceClassification", "--task"), "span"),
}  # fmt: skip


@pytest.mark.parametrize("case", rows(PREDICTIONS, 10))
def test_records_are_predicted_or_told_by_line(
    case: Records, tmp_path: Path, models: Path, xstilts: XStilts, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "in.jsonl").write_bytes(case.content)
    folder = models / ("classification" if "another model" in request.node.name else case.format)
    ended = xstilts(tmp_path, "predict", str(folder), "--task", case.format, "--input", "in.jsonl")
    if case.told:
        ended.assert_refused(*case.told)
        assert not ended.out
    else:
        ended.assert_accepted()
        predicted = [json.loads(line) for line in ended.out.strip().split("\n")]
        assert predicted and all("prediction" in one for one in predicted)


#: What is done to a model's folder, and what the error names.
BROKEN: dict[str, tuple[Change, tuple[str, ...]]] = {
    "half of a configuration": (written(CONFIG, "{"), (CONFIG, "is not JSON")),
    "a list for a configuration": (written(CONFIG, "[]"), (CONFIG, "is not a model's")),
    "a pipe for a configuration": (replaced(CONFIG, os.mkfifo), (CONFIG, "a named pipe")),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), ("no exported model", "`xstilts export`")),
    "more layers than the weights have": (config(num_hidden_layers=2), ("has 2 layers, the weights 1",)),
    "another width": (config(intermediate_size=32), ("the model cannot be used",)),
    "weights cut short": (lambda folder: os.truncate(folder / WEIGHTS, 9000), (WEIGHTS, "has 9,000 bytes, of ")),
    "a pointer for weights": (written(WEIGHTS, LFS), (WEIGHTS, "is a Git LFS pointer")),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), ("no complete model.safetensors",)),
    "weights without a head": (
        weights(lambda all: [all.pop(name) for name in list(all) if name.startswith("qa_outputs")]),
        ("the weights lack 2 of the model's tensors, such as qa_outputs.bias",),
    ),
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("*") if path.name not in (CONFIG, WEIGHTS)],
        ("no tokenizer in",),
    ),
    "half of a tokenizer": (written(TOKENIZER, "{"), (TOKENIZER, "is not JSON")),
}


@pytest.mark.parametrize("case", rows(BROKEN, 3))
def test_a_model_that_is_not_whole_is_told(
    case: tuple[Change, tuple[str, ...]], tmp_path: Path, models: Path, xstilts: XStilts
) -> None:
    change, told = case
    copytree(models / "span", tmp_path / "model")
    change(tmp_path / "model")
    (tmp_path / "in.jsonl").write_text(records(GOOD["span"]))
    ended = xstilts(tmp_path, "predict", "model", "--task", "span", "--input", "in.jsonl")
    ended.assert_plain()
    assert ended.status == 2 and not ended.out
    (error,) = ended.errors
    assert all(word in error for word in ("model", *told)), error


# -- scores ---------------------------------------------------------------------------------------------------------

SQUAD = {"data": [{"paragraphs": [{"context": "x", "qas": [
    {"id": "1", "question": "?", "answers": [{"text": "Anna", "answer_start": 0}]}]}]}]}  # fmt: skip
GOLDS = {"xquad/test-en.json": json.dumps(SQUAD), "xnli/test-en.tsv": "neutral\nentailment\n",
         "panx/test-en.tsv": "B-PER\nI-PER\n\nO\n", "tatoeba/test-de.tsv": "0\n1\n"}  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """A file of predictions, or of gold, and what the error names; nothing where it is scored."""

    file: str
    content: bytes
    told: tuple[str, ...] = ()
    gold: bool = False


XQUAD, XNLI, PANX, TATOEBA = GOLDS
BOM = b"\xef\xbb\xbf"
SCORES: dict[str, Scored] = {
    "answers": Scored(XQUAD, b'{"1": "Anna"}'),
    "answers behind a byte order mark": Scored(XQUAD, BOM + b'{"1": "Anna"}'),
    "gold behind a byte order mark": Scored(XQUAD, BOM + json.dumps(SQUAD).encode(), gold=True),
    "labels behind a byte order mark": Scored(XNLI, BOM + b"neutral\nentailment\n"),
    "tags behind a byte order mark": Scored(PANX, BOM + b"B-PER\nI-PER\n\nO\n"),
    "numbers behind a byte order mark": Scored(TATOEBA, BOM + b"0\n1\n"),
    "half of the answers": Scored(XQUAD, b'{"1": "An', ("test-en.json:1", "invalid JSON")),
    "no answers": Scored(XQUAD, b"", ("test-en.json",)),
    "a list of answers": Scored(XQUAD, b'["Anna"]', ("test-en.json:1", "object")),
    "an answer that is a number": Scored(XQUAD, b'{"1": 5}', ("test-en.json:1", "'1' is no text")),
    "an answer that is null": Scored(XQUAD, b'{"1": null}', ("test-en.json:1", "'1' is no text")),
    "an answer that is NaN": Scored(XQUAD, b'{"1": NaN}', ("test-en.json:1", "'1' is no text")),
    "answers in latin-1": Scored(XQUAD, '{\n"1": "ä"}'.encode("latin-1"), ("test-en.json:2", "UTF-8")),
    "answers in UTF-16": Scored(XQUAD, '{"1": "Anna"}'.encode("utf-16"), ("test-en.json", "UTF-16")),
    "answers in deep brackets": Scored(XQUAD, b"[" * 100_000, ("test-en.json",)),
    "an answer of 5,000 digits": Scored(XQUAD, b'{"1": ' + b"9" * 5000 + b"}", ("test-en.json",)),
    "gold that is no SQuAD": Scored(XQUAD, b'{"data": 5}', ("test-en.json",), gold=True),
    "gold without questions": Scored(XQUAD, b'{"data": []}', ("test-en.json", "no questions"), gold=True),
    "a misspelt label": Scored(XNLI, b"neutral\nentailmnt\n", ("test-en.tsv:2", "did you mean 'entailment'?")),
    "a label by its number": Scored(XNLI, b"1\n2\n", ("test-en.tsv:1", "'1' is no label")),
    "a label too few": Scored(XNLI, b"neutral\n", ("test-en.tsv:1", "1 line in the file, not 2")),
    "an empty line of labels": Scored(XNLI, b"neutral\n\n", ("test-en.tsv:2", "an empty line")),
    "labels with CR LF": Scored(XNLI, b"neutral\r\nentailment\r\n"),
    "a BIOES tag": Scored(PANX, b"B-PER\nE-PER\n\nO\n", ("test-en.tsv:2", "'E-PER' is no label")),
    "tags with their tokens": Scored(PANX, b"Anna\tB-PER\nBerg\tI-PER\n\nja\tO\n", ("test-en.tsv:1", "its token")),
    "a tag too few": Scored(PANX, b"B-PER\n\nO\n", ("test-en.tsv:1", "1 tag, not 2")),
    "a number in words": Scored(TATOEBA, b"0\none\n", ("test-de.tsv:2", "'one'")),
    "labels with a NUL": Scored(XNLI, b"neutral\nentailment\0\n", ("test-en.tsv:2", "NUL")),
}  # fmt: skip


@pytest.mark.parametrize("case", rows(SCORES, 8))
def test_a_file_is_scored_or_told_by_line(case: Scored, tmp_path: Path, xstilts: XStilts) -> None:
    right = {XQUAD: '{"1": "Anna"}', XNLI: GOLDS[XNLI], PANX: GOLDS[PANX], TATOEBA: GOLDS[TATOEBA]}
    for folder, content in (("predictions", right[case.file]), ("labels", GOLDS[case.file])):
        path = tmp_path / folder / case.file
        path.parent.mkdir(parents=True)
        path.write_text(content)
    (tmp_path / ("labels" if case.gold else "predictions") / case.file).write_bytes(case.content)
    ended = xstilts(tmp_path, "score", "predictions", "labels", "--partial", "--json")
    if case.told:
        ended.assert_refused(*case.told)
        assert not ended.out
    else:
        ended.assert_accepted()
        assert json.loads(ended.out)[case.file.partition("/")[0]]["avg_metric"] == pytest.approx(100.0)
