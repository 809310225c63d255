"""Each layout: what is written is read back; what is wrong is told with file, line and remedy."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.common.errors import UserError
from xstilts.data.problems import CAP, Problems
from xstilts.data.readers import READERS, Source, read
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats import Example
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.formats.mlm import TextExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import TABLES, Files

NLI = ("contradiction", "entailment", "neutral")
# Anything but the separators, lone surrogates (not UTF-8), NUL (no text has it) and the byte order mark; U+2028, U+0085
# and the like stay in.
TEXT = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\t\n\r\ufeff\0"), min_size=1, max_size=12
)
SENTENCE = TEXT.filter(lambda text: bool(text.strip()))
SPACED = TEXT.filter(lambda text: bool(text.strip(" ")))
few = settings(max_examples=40, deadline=None)


def read_text(
    reader: str, text: str, tmp_path: Path, *, name: str = "file", collect: bool = False, **kwargs: Any
) -> tuple[list[Example], list[str]]:
    path = tmp_path / name
    path.write_bytes(text.encode())
    given = {name: kwargs.pop(name) for name in ("columns", "header", "label_names") if name in kwargs}
    layout = Files(reader=reader, **given)
    problems = Problems(collect=collect)
    told = {name: kwargs.pop(name) for name in ("gold", "open_labels", "format") if name in kwargs}
    source = Source((path,), layout, kwargs.pop("language", "de"), kwargs.pop("labels", NLI), **told)
    assert not kwargs
    return read(source, problems), [line.removeprefix(f"{tmp_path}/") for line in problems.lines()]


def problems_of(reader: str, text: str, tmp_path: Path, **kwargs: Any) -> list[str]:
    """All that is wrong; checks that by default the first of it is raised."""
    found = read_text(reader, text, tmp_path, collect=True, **kwargs)[1]
    assert found
    with pytest.raises(UserError) as raised:
        read_text(reader, text, tmp_path, **kwargs)
    assert str(raised.value).removeprefix(f"{tmp_path}/") == found[0]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts")


# --- round trips ---


@given(passages=st.lists(st.tuples(TEXT, TEXT, TEXT, st.lists(TEXT, min_size=1, max_size=3)), min_size=1, max_size=4))
@few
def test_squad_round_trip(folder: Path, passages: list[tuple[str, str, str, list[str]]]) -> None:
    paragraphs, expected = [], []
    for number, (before, answer, after, questions) in enumerate(passages):
        context = before + answer + after
        qas = []
        for q, question in enumerate(questions):
            id = f"q{number}-{q}"
            qas.append({"id": id, "question": question, "answers": [{"text": answer, "answer_start": len(before)}]})
            expected.append(SpanExample(id, context, question, (GoldAnswer(answer, len(before)),)))
        paragraphs.append({"context": context, "qas": qas})
    document = json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}, ensure_ascii=False)
    assert read_text("squad", document, folder)[0] == expected


@given(
    rows=st.lists(st.tuples(TEXT, TEXT, st.sampled_from(NLI)), min_size=1, max_size=6),
    ends=st.sampled_from(["\n", "\r\n"]),
)
@few
def test_tsv_round_trip(folder: Path, rows: list[tuple[str, str, str]], ends: str) -> None:
    text = "".join("\t".join(row) + ends for row in rows)
    examples, _ = read_text("tsv", text, folder, columns=("premise", "hypothesis", "label"))
    assert [(e.premise, e.hypothesis, e.label) for e in examples] == rows  # type: ignore[union-attr]
    assert [e.id for e in examples] == [str(n) for n in range(1, len(rows) + 1)]


@given(rows=st.lists(st.tuples(TEXT, TEXT, st.sampled_from(NLI)), min_size=1, max_size=6))
@few
def test_pairs_json_round_trip(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    document = {str(n): dict(zip(("text_a", "text_b", "label"), row, strict=True)) for n, row in enumerate(rows)}
    examples, _ = read_text("pairs_json", json.dumps(document), folder)
    assert [(e.id, e.premise, e.hypothesis, e.label) for e in examples] == [  # type: ignore[union-attr]
        (str(n), *row) for n, row in enumerate(rows)
    ]


NAMED = {"id": "uid", "premise": "context", "hypothesis": "statement", "label": "gold"}
LETTERS = {"c": "contradiction", "e": "entailment", "n": "neutral", "-": None}


@given(rows=st.lists(st.tuples(TEXT, TEXT, st.sampled_from([*LETTERS])), min_size=1, max_size=6))
@few
def test_jsonl_and_csv_round_trip_by_name(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    """Labels are the task's own afterwards, and rows without a majority label are passed over."""
    rows.append(("a", "b", "n"))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["gold", "uid", "context", "tags", "statement"])
    lines = []
    for number, (premise, hypothesis, label) in enumerate(rows, start=1):
        table.writerow([label, f"u{number}", premise, "x", hypothesis])
        lines.append({"uid": f"u{number}", "context": premise, "statement": hypothesis, "gold": label, "tags": []})
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    kept = [(n, p, h, LETTERS[label]) for n, (p, h, label) in enumerate(rows, start=1) if label != "-"]
    nameless = {field: name for field, name in NAMED.items() if field != "id"}
    for reader, content in (("jsonl", text), ("csv", out.getvalue())):
        for columns, prefix in ((NAMED, "u"), (nameless, "")):
            examples, _ = read_text(reader, content, folder, columns=columns, label_names=LETTERS)
            assert [(e.id, e.premise, e.hypothesis, e.label) for e in examples] == [  # type: ignore[union-attr]
                (f"{prefix}{n}", premise, hypothesis, label) for n, premise, hypothesis, label in kept
            ]


def aligned(folder: Path, *sides: str, collect: bool = False) -> tuple[list[Example], list[str]]:
    """What three files s1, s2 and labels give, in the order in which a folder lists them."""
    paths = tuple(folder / f"{name}.dev" for name in ("labels", "s1", "s2"))
    for path, side in zip(paths, (sides[2], *sides[:2]), strict=True):
        path.write_bytes(side.encode())
    problems = Problems(collect=collect)
    layout = Files(reader="aligned", label_names={"-": None})
    examples = read(Source(paths, layout, "en", NLI), problems)
    return examples, [line.removeprefix(f"{folder}/") for line in problems.lines()]


@given(rows=st.lists(st.tuples(SPACED, SPACED, st.sampled_from([*NLI, "-"])), min_size=1, max_size=6))
@few
def test_aligned_round_trip(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    rows.append(("a", "b", "neutral"))
    sides = ["".join(f"{row[side]} \n" for row in rows) for side in range(3)]  # e-SNLI ends lines with a space
    assert [(e.id, e.premise, e.hypothesis, e.label) for e in aligned(folder, *sides)[0]] == [  # type: ignore[union-attr]
        (str(n), row[0].strip(" "), row[1].strip(" "), row[2]) for n, row in enumerate(rows, start=1) if row[2] != "-"
    ]


@given(
    rows=st.lists(
        st.tuples(TEXT, st.lists(TEXT, min_size=2, max_size=5, unique=True), st.data()), min_size=1, max_size=4
    )
)
@few
def test_every_layout_of_choices_round_trips(folder: Path, rows: list[tuple[str, list[str], Any]]) -> None:
    labels = [data.draw(st.integers(0, len(choices) - 1)) for _, choices, data in rows]
    lines: dict[str, list[dict[str, Any]]] = {"plain": [], "hub": [], "published": []}
    for number, ((prompt, choices, _), label) in enumerate(zip(rows, labels, strict=True)):
        marks = "ABCDE"[: len(choices)]
        key, id = marks[label], f"id{number}"
        lines["plain"].append({"query": prompt, "choices": choices, "gold": label})
        lines["hub"].append(
            {"id": id, "question": prompt, "choices": {"label": list(marks), "text": choices}, "answerKey": key}
        )
        listed = [{"label": mark, "text": text} for mark, text in zip(marks, choices, strict=True)]
        lines["published"].append({"id": id, "question": {"stem": prompt, "choices": listed}, "answerKey": key})
    for layout, reader in (("plain", "choices"), ("hub", "commonsenseqa"), ("published", "commonsenseqa")):
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines[layout])
        examples, _ = read_text(reader, text, folder)
        assert [(e.prompt, list(e.choices), e.label) for e in examples] == [  # type: ignore[union-attr]
            (prompt, choices, label) for (prompt, choices, _), label in zip(rows, labels, strict=True)
        ]


@given(
    rows=st.lists(st.tuples(TEXT, TEXT, st.tuples(TEXT, TEXT, TEXT, TEXT), st.integers(0, 3)), min_size=1, max_size=4)
)
@few
def test_cosmosqa_round_trip(folder: Path, rows: list[tuple[str, str, tuple[str, ...], int]]) -> None:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"])
    for number, (context, question, answers, label) in enumerate(rows):
        table.writerow([f"id{number}", context, question, *answers, label])
    examples, _ = read_text("cosmosqa", out.getvalue(), folder)
    assert [(e.prompt, e.choices, e.label) for e in examples] == [  # type: ignore[union-attr]
        (f"{context} {question}", answers, label) for context, question, answers, label in rows
    ]


@given(
    sentences=st.lists(
        st.lists(st.tuples(TEXT, st.sampled_from(["O", "B-PER"])), min_size=1, max_size=4), min_size=1, max_size=4
    )
)
@few
def test_tokens_round_trip(folder: Path, sentences: list[list[tuple[str, str]]]) -> None:
    expected = [
        TaggingExample(str(n), tuple(token for token, _ in rows), tuple(tag for _, tag in rows))
        for n, rows in enumerate(sentences, start=1)
    ]
    for prefix in ("", "de:"):  # PAN-X as published writes the language before every token
        text = "\n".join("".join(f"{prefix}{token}\t{tag}\n" for token, tag in rows) for rows in sentences)
        assert read_text("tokens", text, folder, labels=("O", "B-PER"))[0] == expected
    text = "\n".join("".join(f"{token.replace(' ', '_')}\n" for token, _ in rows) for rows in sentences)
    assert [e.tags for e in read_text("tokens", text, folder)[0]] == [None] * len(sentences)  # type: ignore[union-attr]


FORM = TEXT.filter(lambda text: text != "_" and not set(text) & {" ", "\u200c"})


@given(
    sentences=st.lists(
        st.lists(st.tuples(FORM, st.sampled_from(["NOUN", "VERB"])), min_size=1, max_size=4), min_size=1, max_size=4
    )
)
@few
def test_conllu_round_trip(folder: Path, sentences: list[list[tuple[str, str]]]) -> None:
    text = ""
    for rows in sentences:
        text += "# sent_id = 1\n1-2\tim\t_\t_\t_\t_\t_\t_\t_\t_\n"
        text += "".join(f"{n}\t{form}\t_\t{tag}" + "\t_" * 6 + "\n" for n, (form, tag) in enumerate(rows, start=1))
        text += "1.1\tempty\t_\tVERB" + "\t_" * 6 + "\n\n"
    expected = [
        TaggingExample(str(n), tuple(form for form, _ in rows), tuple(tag for _, tag in rows))
        for n, rows in enumerate(sentences, start=1)
    ]
    assert read_text("conllu", text, folder, labels=("NOUN", "VERB"))[0] == expected


def conllu(*forms: str) -> str:
    rows = (f"{n}\t{form}\t_\tNOUN" + "\t_" * 6 for n, form in enumerate(forms, start=1))
    return "".join(f"{row}\n" for row in rows) + "\n"


def test_conllu_passes_over_fused_forms_and_empty_nodes(tmp_path: Path) -> None:
    """XTREME's conversion has "zum" in place of "zu dem" (conllu_to_conll.py:28-33); UD evaluates the words."""
    fused = "1-2\tzum" + "\t_" * 8 + "\n"
    empty = "2.1\tgeht\t_\tVERB" + "\t_" * 6 + "\n"
    one, two, *_ = conllu("zu", "dem").splitlines(keepends=True)
    (example,) = read_text("conllu", fused + one + two + empty, tmp_path, labels=("NOUN", "VERB"))[0]
    assert isinstance(example, TaggingExample) and example.tokens == ("zu", "dem")


def test_conllu_words_lose_spaces_and_u200c_as_in_xtreme(tmp_path: Path) -> None:
    text = conllu("10 000", "می\u200cشود", "\u200c")
    (example,) = read_text("conllu", text, tmp_path, labels=("NOUN",))[0]
    assert isinstance(example, TaggingExample) and example.tokens == ("10000", "میشود", "\u200c")


def test_conllu_sentences_whose_text_is_withheld_are_left_out_as_in_xtreme(tmp_path: Path) -> None:
    text = conllu("_", "_", ".") + conllu("snake", "_", "case") + conllu("One") + conllu("_", "_")
    examples = read_text("conllu", text, tmp_path, labels=("NOUN",))[0]
    assert [(e.id, e.tokens) for e in examples] == [("2", ("snake", "_", "case")), ("3", ("One",))]  # type: ignore[union-attr]


def test_the_language_before_the_tokens_of_panx_goes_where_all_tokens_have_it(tmp_path: Path) -> None:
    """As published ("de:Köln"); a token that has a colon of its own keeps it."""
    for text, tokens in (
        ("de:Köln\tO\nde:de:Köln\tO\n", ("Köln", "de:Köln")),
        ("de:Köln\tO\n2:1\tO\n", ("de:Köln", "2:1")),
    ):
        (example,) = read_text("tokens", text, tmp_path, labels=("O",))[0]
        assert isinstance(example, TaggingExample) and example.tokens == tokens


def test_contradictory_is_contradiction_in_xnlis_english_train_set() -> None:
    """XNLI-MT's multinli.train.en.tsv writes the label so (xtreme utils_preprocess.py:334,360)."""
    [layout] = [one for one in builtin_catalog()["mnli"].layouts if "XNLI-MT" in str(one.train)]
    source = Source((Path("multinli.train.en.tsv"),), layout, "en", builtin_catalog()["mnli"].labels)
    assert [source.label(label) for label in ("contradictory", "neutral")] == ["contradiction", "neutral"]
    assert source.labels_hold(["contradiction"]) and not source.labels_hold(["contradictory"])


WORD = TEXT.filter(lambda text: " " not in text)
CATEGORY = st.sampled_from([r"(S[dcl]\NP)/NP", "N/N", "N", "."])


@given(
    sentences=st.lists(st.lists(st.tuples(WORD, CATEGORY), min_size=1, max_size=4), min_size=1, max_size=4),
    remark=st.sampled_from(["", "# made from CCGbank\n\n"]),
)
@few
def test_stagged_round_trip(folder: Path, sentences: list[list[tuple[str, str]]], remark: str) -> None:
    text = remark + "\n".join(" ".join(f"{word}|NN|{tag}" for word, tag in rows) for rows in sentences)
    assert read_text("stagged", text, folder, labels=(), open_labels=True)[0] == [
        TaggingExample(str(n), tuple(word for word, _ in rows), tuple(tag for _, tag in rows))
        for n, rows in enumerate(sentences, start=1)
    ]


@given(pairs=st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=6))
@few
def test_tatoeba_round_trip(folder: Path, pairs: list[tuple[str, str]]) -> None:
    paths = (folder / "tatoeba.tur-eng.eng", folder / "tatoeba.tur-eng.tur")
    for path, side in zip(paths, (1, 0), strict=True):
        path.write_bytes("".join(pair[side] + "\n" for pair in pairs).encode())
    examples = read(Source(paths, Files(reader="tatoeba"), "tr"), Problems())
    assert [(e.source, e.target) for e in examples] == pairs  # type: ignore[union-attr]


def test_choices_whose_fields_are_named_round_trip(tmp_path: Path) -> None:
    """COPA counts its choices from 0, Social IQa has letters; the test set of either has no label."""
    catalog = builtin_catalog()
    copa = [{"premise": "Es regnet.", "choice1": "nass", "choice2": "trocken", "question": "effect", "label": label}
            for label in (0, 1, None)]  # fmt: skip
    siqa = [
        {"context": "Alex sang.", "question": "Why?", "answerA": "a", "answerB": "b", "answerC": "c", "correct": "C"}
    ]
    for name, rows, expected in (
        ("xcopa", copa, [("Es regnet. What was the effect?", ("nass", "trocken"), label) for label in (0, 1, None)]),
        ("siqa", siqa, [("Alex sang. Why?", ("a", "b", "c"), 2)]),
    ):
        path = tmp_path / "file.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        examples = read(Source((path,), catalog[name].layouts[0], "et"), Problems())
        assert [(e.prompt, e.choices, e.label) for e in examples] == expected  # type: ignore[union-attr]


def test_hellaswag_joins_the_start_and_the_ending(tmp_path: Path) -> None:
    row = {"ind": 4, "ctx_a": "A man sits.", "ctx_b": "he", "endings": ["stands up.", "flies off."], "label": 0}
    examples, _ = read_text("hellaswag", json.dumps(row), tmp_path)
    (example,) = examples
    assert (example.id, example.prompt, example.choices) == ("4", "A man sits.", ("he stands up.", "he flies off."))  # type: ignore[union-attr]


# --- what a layout leaves open ---


def test_squad_tells_unanswerable_from_unlabelled(tmp_path: Path) -> None:
    qas = [
        {"id": "a", "question": "?", "answers": [], "is_impossible": True, "plausible_answers": []},
        {"id": "b", "question": "?", "answers": [{"text": "x", "answer_start": 0}], "is_impossible": False},
        {"id": "c", "question": "?", "answers": [{"text": "", "answer_start": 0}]},
        {"id": "d", "question": "?"},
    ]
    examples, _ = read_text("squad", json.dumps({"data": [{"paragraphs": [{"context": "x", "qas": qas}]}]}), tmp_path)
    assert [(len(e.answers), e.has_gold) for e in examples] == [(0, True), (1, True), (0, False), (0, False)]  # type: ignore[union-attr]


def test_squad_numbers_anew_where_bare_numbers_repeat(tmp_path: Path) -> None:
    qas = [{"id": "0", "question": "?", "answers": [{"text": "x", "answer_start": 0}]}]
    document = {"data": [{"paragraphs": [{"context": "x", "qas": qas}, {"context": "xy", "qas": qas}]}]}
    assert [e.id for e in read_text("squad", json.dumps(document), tmp_path)[0]] == ["1", "2"]


def test_tsv_filters_the_language_and_goes_by_the_names_in_the_first_row(tmp_path: Path) -> None:
    text = "language\tgold_label\tgenre\tsentence1\tsentence2\nar\tneutral\tx\ta\tb\nde\tentailment\tx\tc\td\n"
    columns = {"language": "language", "premise": "sentence1", "hypothesis": "sentence2", "label": "gold_label"}
    (example,), _ = read_text("tsv", text, tmp_path, columns=columns)
    assert (example.id, example.premise, example.hypothesis, example.label) == ("1", "c", "d", "entailment")  # type: ignore[union-attr]
    found = problems_of("tsv", text, tmp_path, columns={**columns, "label": "gold_labl"})
    assert found[0] == "file:1: no column 'gold_labl' in the first row; did you mean 'gold_label'?"
    found = problems_of("tsv", text, tmp_path, columns=columns, language="sw")
    assert "holds none of language 'sw'" in found[0]


def test_tsv_takes_gold_from_a_file_beside(tmp_path: Path) -> None:
    gold = tmp_path / "gold.txt"
    gold.write_text("neutral\nentailment\n")
    pair = ("premise", "hypothesis", "label")
    examples, _ = read_text("tsv", "a\tb\nc\td\n", tmp_path, columns=pair, gold=gold)
    assert [e.label for e in examples] == ["neutral", "entailment"]  # type: ignore[union-attr]
    assert [e.label for e in read_text("tsv", "a\tb\nc\td\n", tmp_path, columns=pair)[0]] == [None, None]  # type: ignore[union-attr]
    found = problems_of("tsv", "a\tb\n", tmp_path, columns=pair, gold=gold)
    assert found == ["gold.txt: 2 labels for 1 row of file; one label a row"]


def test_pairs_json_knows_labels_by_other_names(tmp_path: Path) -> None:
    document = {n: {"text_a": "a", "text_b": "b", "label": label} for n, label in enumerate(("c", "-", "n"))}
    examples, _ = read_text("pairs_json", json.dumps(document), tmp_path, label_names=LETTERS)
    assert [(e.id, e.label) for e in examples] == [("0", "contradiction"), ("2", "neutral")]  # type: ignore[union-attr]


def test_a_byte_order_mark_and_quotes_are_no_part_of_the_layout(tmp_path: Path) -> None:
    (example,), _ = read_text(
        "tsv", '\ufeff"Wir\tsind"\tneutral\r\n', tmp_path, columns=("premise", "hypothesis", "label")
    )
    assert (example.premise, example.hypothesis) == ('"Wir', 'sind"')  # type: ignore[union-attr]


# --- what is wrong ---

PAIR = {"columns": ("premise", "hypothesis", "label")}
ANSWER = {"text": "Köln", "answer_start": 3}


def squad(*qas: dict[str, Any], context: str = "In Köln") -> str:
    return json.dumps({"data": [{"paragraphs": [{"context": context, "qas": list(qas)}]}]})


@pytest.mark.parametrize(
    ("reader", "text", "kwargs", "expected"),
    [
        (
            "squad",
            '{"data": [\n {"para',
            {},
            ["file:2: column 3: invalid JSON (Unterminated string starting at); is the file whole?"],
        ),
        ("squad", "", {}, ["file: the file is empty; fetch it again"]),
        ("squad", '{"data": []}', {}, ["file: no examples; the file is empty"]),
        ("squad", "[]", {}, ["file: no examples; the file is empty"]),
        ("squad", "{}", {}, ["file: the document: no list `data`; SQuAD's layout is data, paragraphs, qas"]),
        ("squad", "null", {}, ["file: None is all it holds; it must be objects, in an array or one a line"]),
        (
            "squad",
            squad({"question": "?", "answers": [ANSWER]}),
            {},
            ["file: data[0].paragraphs[0].qas[0]: no `id`; every question needs one"],
        ),
        (
            "squad",
            squad({"id": "a", "question": "?", "answers": [{"text": "x"}]}),
            {},
            ["file: data[0].paragraphs[0].qas[0] (id a): an answer without text and answer_start; give both"],
        ),
        (
            "squad",
            squad(
                *(
                    {"id": id, "question": "?", "answers": [{**ANSWER, "answer_start": start}]}
                    for id, start in (("a", 3), ("b", 2), ("c", -1))
                )
            ),
            {},
            [
                "file: 2 of 3 answers are not at their offset, the first id b: answer_start 2 of 'Köln' gives ' Köl'"
                " in the context; offsets count characters (not bytes) from 0: mend the file, or say"
                " `on_bad_offset: mend`, or `drop`, in the entry"
            ],
        ),
        (
            "squad",
            squad(*[{"id": "a", "question": "?", "answers": [ANSWER]}] * 3),
            {},
            ["file: 1 id given more than once, the first 'a'; keep one each"],
        ),
        (
            "tsv",
            "a\tb\tneutral\na\tb\na\tb\tnuetral\n\nc\td\tneutral",
            PAIR,
            [
                "file:2: 2 columns; expected premise, hypothesis, label, separated by tabs",
                "file:3: label 'nuetral' is not in the label set; did you mean 'neutral'?",
                "file:4: an empty line; expected premise, hypothesis, label, separated by tabs",
            ],
        ),
        ("tsv", "", PAIR, ["file: no examples; the file is empty"]),
        (
            "tsv",
            "a\tb\tneutral\n" * 100,
            PAIR,
            ["file: all 100 rows have the same label: a placeholder, not gold; use files with gold labels"],
        ),
        (
            "records",
            '{"premise": "a", "label": "nuetral"}\n{"premise": ["a"]}\n{"premise": "a", "label": 1}',
            {"format": "classification"},
            [
                "file:1: label 'nuetral' is not in the label set; did you mean 'neutral'?",
                "file:2: 'premise' is no text; no record of classification (docs/add-a-task.md)",
                "file:3: 'label' is no text; no record of classification (docs/add-a-task.md)",
            ],
        ),
        (
            "records",
            '{"context": "a b", "question": "?", "answers": [{"text": "b", "start": 1}]}',
            {"format": "span"},
            [
                "file: 1 of 1 answers are not at their offset, the first id 1: answer_start 1 of 'b' gives ' ' in the"
                " context; offsets count characters (not bytes) from 0: mend the file, or say `on_bad_offset: mend`,"
                " or `drop`, in the entry"
            ],
        ),
        (
            "records",
            '{"prompt": "a", "choices": ["b", "c"], "label": 2}',
            {"format": "multiple_choice"},
            ["file:1: label 2 of 2 choices; they count from 0"],
        ),
        (
            "records",
            '{"tokens": ["a", "b"], "tags": ["neutral"]}\n{"tokens": ["a"], "tags": ["X"]}\n{}\n{"tokens": [""]}',
            {"format": "tagging"},
            [
                "file:1: 1 tags, but 2 tokens; one tag a token",
                "file:2: label 'X' is not in the label set; known: contradiction, entailment, neutral",
                "file:3: 'tokens' is missing; no record of tagging (docs/add-a-task.md)",
                "file:4: no tokens, or an empty one; remove it",
            ],
        ),
        (
            "pairs_json",
            '{"7": {"text_a": "a", "label": "neutral"}}',
            {},
            ["file: '7': not {text_a, text_b, label}, all three texts; mend the entry"],
        ),
        ("pairs_json", "[]", {}, ['file: not an object of pairs; the layout is {"0": {text_a, text_b, label}}']),
        (
            "jsonl",
            '{"context": "a", "statement": "b", "gold": "n"}\n{"context": "a", "hypothesis": "b", "gold": "n"}\n[]\n'
            '{"context": "a", "statement": "b", "gold": "x"}\n{"context": 1, "statement": "b", "gold": "n"}\n',
            {"columns": {"premise": "context", "hypothesis": "statement", "label": "gold"}, "label_names": LETTERS},
            [
                "file:2: no field 'statement'; known: context, gold, hypothesis",
                "file:3: not a JSON object; one object a line",
                "file:4: label 'x' is not in the label set; known: contradiction, entailment, neutral",
                "file:5: 'context' is 1, not a text",
            ],
        ),
        (
            "csv",
            'context,gold\n"a",c,d\n"a",no\n"a" b,e\n',
            {"columns": {"premise": "context", "label": "gold"}, "label_names": LETTERS},
            [
                "file:2: 3 columns, not 2; quote texts with commas",
                "file:3: label 'no' is not in the label set; known: contradiction, entailment, neutral",
                "file:4: not valid CSV (',' expected after '\"'); mend the quotes",
            ],
        ),
        (
            "csv",
            "context,label\na,e\n",
            {"columns": {"premise": "context", "label": "gold"}},
            ["file:1: no column 'gold' in the first row; expected context, gold"],
        ),
        (
            "choices",
            '{"query": "a", "choices": ["x", "y"], "gold": 2}\n{"query": 1}\n{',
            {},
            [
                "file:1: label 2 of 2 choices; they count from 0",
                "file:2: not in the layout {choices, query, gold}; has query",
                "file:3: column 2: invalid JSON (Expecting property name enclosed in double quotes); one object a line",
            ],
        ),
        (
            "choices",
            '{"premise": "a", "choice1": "b", "label": 0}\n'
            '{"premise": "a", "choice1": "b", "choice2": "c", "label": 2}',
            {"columns": {"prompt": "{premise}?", "label": "label", "0": "choice1", "1": "choice2"}},
            [
                "file:1: not in the layout {premise, choice1, choice2, label (0, 1)}; has premise, choice1, label;"
                " its label is 0",
                "file:2: not in the layout {premise, choice1, choice2, label (0, 1)};"
                " has premise, choice1, choice2, label; its label is 2",
            ],
        ),
        (
            "commonsenseqa",
            '{"id": "a", "question": "q", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": "C"}',
            {},
            [
                "file:1: not in the layout {id, question, choices, answerKey}; has id, question, choices, answerKey;"
                " its answerKey is 'C'"
            ],
        ),
        (
            "cosmosqa",
            "id,context\n",
            {},
            [
                "file:1: no column 'question' in the first row; expected id, context, question,"
                " answer0, answer1, answer2, answer3, label"
            ],
        ),
        (
            "cosmosqa",
            "id,context,question,answer0,answer1,answer2,answer3,label\na,b,c,d,e,f,g,4\na,b\n",
            {},
            [
                "file:2: label '4'; 0 to 3, or empty without gold",
                "file:3: 2 columns, not 8; quote texts with commas",
            ],
        ),
        (
            "tokens",
            "In\tO\nKöln\n\n\tO\nx\tB-PRE\n",
            {"labels": ("B-PER", "O")},
            [
                "file:2: 1 column, not 2 as before; separate by one tab",
                "file:4: an empty token; remove the row",
                "file:5: label 'B-PRE' is not in the label set; did you mean 'B-PER'?",
            ],
        ),
        (
            "tokens",
            "a\tb\tc\n",
            {},
            ["file:1: 3 columns; say which hold what in the entry's `files`, as in `columns: [_, token, tag]`"],
        ),
        (
            "tokens",
            "Mr.\nVinken\n\nis\n",
            {"open_labels": True, "labels": ()},
            ["file:1: no tags; expected token and tag, separated by a tab"],
        ),
        (
            "tokens",
            "Mr.\tN/N\nVinken\t\nis\t(S[dcl]\\NP) /NP\n",
            {"open_labels": True, "labels": ()},
            [
                "file:2: label '' is not one word; mend it",
                "file:3: label '(S[dcl]\\\\NP) /NP' is not one word; mend it",
            ],
        ),
        (
            "stagged",
            "Mr.|NNP|N/N Vinken|N\nMr.|NNP|\n",
            {"open_labels": True, "labels": ()},
            [
                "file:1: 'Vinken|N': not word|POS|supertag; all three, and spaces between",
                "file:2: 'Mr.|NNP|': not word|POS|supertag; all three, and spaces between",
            ],
        ),
        (
            "stagged",
            "Mr.|NNP|N\n",
            {"labels": ("N/N", "S")},
            ["file:1: label 'N' is not in the label set; known: N/N, S"],
        ),
        (
            "conllu",
            "1\tIn\n\n# only\n",
            {},
            [
                "file:1: 2 columns; CoNLL-U has 10, separated by tabs",
                "file:1: a sentence without words; remove it",
                "file:3: a sentence without words; remove it",
            ],
        ),
        (
            "conllu",
            "1x\tIn\t_\t_\t_\t_\t_\t_\t_\t_\n",
            {},
            ["file:1: word id '1x'; expected 1, 1-2 or 1.1", "file:1: a sentence without words; remove it"],
        ),
        ("tatoeba", "a\n", {}, ["file: not a pair of files; the English side ends in .eng and lies beside the other"]),
    ],
)
def test_what_is_wrong_is_told(
    reader: str, text: str, kwargs: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    assert problems_of(reader, text, tmp_path, **kwargs) == expected


def test_invalid_utf8_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\tb\tneutral\n\xff\tb\tneutral\nc\td\tneutral\ne\t\xc3\tneutral\n")
    problems = Problems(collect=True)
    examples = read(Source((path,), Files(reader="tsv", columns=PAIR["columns"]), "de", NLI), problems)
    assert len(examples) == 2
    assert [line.removeprefix(str(path)) for line in problems.lines()] == [
        ":2: byte 1 is not valid UTF-8; save the file as UTF-8",
        ":4: byte 3 is not valid UTF-8; save the file as UTF-8",
    ]
    path.write_bytes(b'{"data":\n\xff}')
    with pytest.raises(UserError, match=r"file:2: not UTF-8; save the file as UTF-8"):
        read(Source((path,), Files(reader="squad"), "de"), Problems())


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_missing_file_is_told(reader: str, tmp_path: Path) -> None:
    columns = {"premise": "text"} if reader in TABLES else ()
    several = {"tatoeba": "no.xx no.eng", "bucc": "no.xx no.en no.gold", "aligned": "labels.xx s1.xx s2.xx"}
    names = several.get(reader, "no.xx").split()
    with pytest.raises(UserError, match=r"\.xx: no such file; check the data folder"):
        paths = tuple(tmp_path / name for name in names)
        read(Source(paths, Files(reader=reader, columns=columns), "de", format="mlm"), Problems())


RECORDS: list[Example] = [
    ClassificationExample("a", "It rains.", "It is wet.", "neutral"),
    ClassificationExample("a", "It rains.", None, None),
    MultipleChoiceExample("a", "It rains.", ("so", "but"), 1),
    MultipleChoiceExample("a", "It rains.", ("so", "but", "or"), None),
    SpanExample("a", "It rains.", "What does it?", (GoldAnswer("rains", 3), GoldAnswer("It", 0))),
    SpanExample("a", "It rains.", "Who does it?", ()),
    SpanExample("a", "It rains.", "Who does it?", (), has_gold=False),
    TaggingExample("a", ("It", "rains"), ("neutral", "neutral")),
    TaggingExample("a", ("It",), None),
    RetrievalExample("a", "Es regnet.", "It rains."),
    MiningExample("a", "Es regnet.", False, ("b", "c")),
    MiningExample("a", "It rains.", True, None),
    TextExample("a", "It\u2028rains."),
]
FORMATS = {
    ClassificationExample: "classification", MultipleChoiceExample: "multiple_choice", SpanExample: "span",
    TaggingExample: "tagging", RetrievalExample: "retrieval", MiningExample: "mining", TextExample: "mlm",
}  # fmt: skip


@pytest.mark.parametrize("example", RECORDS, ids=lambda example: type(example).__name__)
def test_records_round_trip_in_every_format(example: Example, tmp_path: Path) -> None:
    row = {key: value for key, value in asdict(example).items() if value is not None}
    text = json.dumps(row) + "\n" + json.dumps({**row, "id": "2", "more": 1}) + "\n"
    found = read_text("records", text, tmp_path, format=FORMATS[type(example)])[0]
    assert found == [example, replace(example, id="2")]
    del row["id"]
    assert read_text("records", json.dumps(row), tmp_path, format=FORMATS[type(example)])[0][0].id == "1"


NAMES = (
    "id premise hypothesis label prompt choices context question answers tokens tags source target text english"
    " translations"
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner | st.fixed_dictionaries({"text": inner, "start": inner}), max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("format_name", sorted(FORMATS.values()))
@given(row=st.dictionaries(st.sampled_from(NAMES.split()), VALUES, max_size=8))
@few
def test_a_record_of_anything_is_read_or_told(folder: Path, format_name: str, row: dict[str, Any]) -> None:
    examples, problems = read_text("records", json.dumps(row), folder, format=format_name, collect=True)
    assert examples or problems
    assert all(FORMATS[type(example)] == format_name and hash(example) for example in examples)


@pytest.mark.parametrize(
    ("reader", "files", "columns"),
    [
        ("tsv", {"x.tsv": "a\tb\tneutral\n"}, ("premise", "hypothesis", "label")),
        ("jsonl", {"x.jsonl": '{"s": "a"}\n'}, {"premise": "s"}),
        ("csv", {"x.csv": 's\n"a, b"\n'}, {"premise": "s"}),
        ("aligned", {"labels.dev": "neutral\n", "s1.dev": "a\n", "s2.dev": "b\n"}, ()),
        ("pairs_json", {"x.json": '{"0": {"text_a": "a", "text_b": "b", "label": "neutral"}}'}, ()),
        ("conllu", {"x.conllu": "1\tJa\tja\tneutral" + "\t_" * 6 + "\n"}, ()),
        ("tatoeba", {"t.deu-eng.deu": "Ja.\n", "t.deu-eng.eng": "Yes.\n"}, ()),
        ("bucc", {"de-en.x.de": "d1\tJa.\n", "de-en.x.en": "e1\tYes.\n", "de-en.x.gold": "d1\te1\n"}, ()),
        ("lines", {"x.txt": "Ja.\n"}, ()),
    ],
)  # fmt: skip
def test_files_may_be_packed(reader: str, files: dict[str, str], columns: Any, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    layout = Files(reader=reader, columns=columns)
    plain, packed = (
        read(Source(tuple(tmp_path / f"{name}{ending}" for name in files), layout, "de", NLI), Problems())
        for ending in ("", ".gz")
    )
    assert [replace(e, id="") for e in packed] == [replace(e, id="") for e in plain] != []


def test_a_broken_gz_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.conllu.gz"
    path.write_bytes(gzip.compress(b"1\tx" * 100)[:20])
    with pytest.raises(UserError, match=r"x\.conllu\.gz: cannot be unpacked: .*; fetch it again"):
        read(Source((path,), Files(reader="conllu"), "de"), Problems())


def test_tatoeba_tells_lines_that_do_not_pair(tmp_path: Path) -> None:
    paths = (tmp_path / "t.deu-eng.deu", tmp_path / "t.deu-eng.eng")
    paths[0].write_text("Ja.\n\nNein.\n")
    paths[1].write_text("Yes.\nNo.\n")
    problems = Problems(collect=True)
    read(Source(paths, Files(reader="tatoeba"), "de"), problems)
    assert [line.removeprefix(f"{tmp_path}/") for line in problems.lines()] == [
        "t.deu-eng.deu: 3 lines, but t.deu-eng.eng has 2; fetch both again",
        "t.deu-eng.deu:2: an empty line; both files have one sentence a line",
    ]


def test_aligned_tells_lines_that_do_not_go_together(tmp_path: Path) -> None:
    found = aligned(tmp_path, "a\nb\n", "c\nd\n", "neutral\n", collect=True)
    assert found == (
        [],
        ["labels.dev: 1 line, but s1.dev 2, s2.dev 2; lines must go together, fetch the three again"],
    )
    found = aligned(tmp_path, "a\n\nc\n", "d\ne\nf\n", "neutral\nneutral\nnuetral\n", collect=True)
    assert found[1] == [
        "s1.dev:2: an empty line; each of the three files has something on every line",
        "labels.dev:3: label 'nuetral' is not in the label set; did you mean 'neutral'?",
    ]
    with pytest.raises(UserError, match=r"s1\.dev: not one of three files s1, s2 and labels; put the three beside"):
        read(Source((tmp_path / "s1.dev", tmp_path / "s2.dev"), Files(reader="aligned"), "en", NLI), Problems())


def bucc(folder: Path, foreign: str, english: str, gold: str | None) -> tuple[list[Example], list[str]]:
    sides = {"de": foreign, "en": english, **({} if gold is None else {"gold": gold})}
    for suffix, text in sides.items():
        (folder / f"de-en.sample.{suffix}").write_bytes(text.encode())
    paths = tuple(folder / f"de-en.sample.{suffix}" for suffix in sorted(sides))
    problems = Problems(collect=True)
    examples = read(Source(paths, Files(reader="bucc"), "de"), problems)
    return examples, [line.removeprefix(f"{folder}/") for line in problems.lines()]


@given(
    foreign=st.lists(SENTENCE, min_size=1, max_size=5),
    english=st.lists(SENTENCE, min_size=1, max_size=5),
    chosen=st.data(),
)
@few
def test_bucc_round_trip(folder: Path, foreign: list[str], english: list[str], chosen: Any) -> None:
    pairs = chosen.draw(
        st.lists(st.tuples(st.integers(0, len(foreign) - 1), st.integers(0, len(english) - 1)), unique=True)
    )
    sides = ["".join(f"{code}-{n}\t{text}\n" for n, text in enumerate(side)) for code, side in
             (("de", foreign), ("en", english))]  # fmt: skip
    gold = "".join(f"de-{one}\ten-{other}\n" for one, other in pairs)
    targets = [tuple(f"en-{other}" for one, other in pairs if one == n) for n in range(len(foreign))]
    ours = [MiningExample(f"en-{n}", text, True, None) for n, text in enumerate(english)]
    for written, expected in ((gold, targets), (None, [None] * len(foreign))):
        theirs = [
            MiningExample(f"de-{n}", text, False, found)
            for n, (text, found) in enumerate(zip(foreign, expected, strict=True))
        ]
        assert bucc(folder, *sides, written) == ([*theirs, *ours], [])


def test_bucc_tells_ids_that_lead_nowhere(tmp_path: Path) -> None:
    _, found = bucc(
        tmp_path, "de-1\tJa.\nde-1\tNein.\nde-2\nde-3\t\n", "en-1\tYes.\n", "de-1\ten-1\nde-1\ten-2\nde-1\n"
    )
    assert found == [
        "de-en.sample.de:2: id 'de-1' is given a second time; keep one each",
        "de-en.sample.de:3: 1 column; expected id and sentence, separated by a tab",
        "de-en.sample.de:4: id 'de-3' has no sentence; remove the row",
        "de-en.sample.gold:2: id 'en-2' is not in de-en.sample.en; fetch the three files again",
        "de-en.sample.gold:3: 1 column; expected two ids, separated by a tab",
    ]
    with pytest.raises(UserError, match=r"de-en\.sample\.de: not two corpora of one name; one side ends in"):
        read(Source((tmp_path / "de-en.sample.de",), Files(reader="bucc"), "de"), Problems())


@pytest.mark.realdata
def test_buccs_chinese_sample_has_the_sentences_and_pairs_of_the_manifest(real_data: Path) -> None:
    paths = tuple(sorted((real_data / "bucc2018").glob("zh-en.dev.*")))
    examples = [e for e in read(Source(paths, Files(reader="bucc"), "zh"), Problems()) if isinstance(e, MiningExample)]
    assert [sum(example.english == english for example in examples) for english in (False, True)] == [8624, 13589]
    assert sum(len(example.translations or ()) for example in examples) == 257
    assert examples[0] == MiningExample(
        "zh-000000001", "辽宁省，简称辽，舊稱奉天省，中國的一个省，省會位于沈阳市。", False, ()
    )
    texts = {example.id: example for example in examples}
    assert texts["zh-000000057"].translations == ("en-000008530",)


def test_ids_in_two_files_are_told(tmp_path: Path) -> None:
    paths = (tmp_path / "train-v1.1.json", tmp_path / "train-v1.1.part.json")
    for path in paths:
        path.write_text(squad({"id": "a", "question": "?", "answers": [ANSWER]}))
    with pytest.raises(UserError, match=r"1 id given more than once over 2 files \(read one of them only\)"):
        read(Source(paths, Files(reader="squad"), "en"), Problems())


def test_a_file_wrong_throughout_is_told_briefly(tmp_path: Path) -> None:
    found = problems_of("tsv", "a\tb\tno\n" * 50, tmp_path, **PAIR)
    assert len(found) == CAP + 1
    assert found[-1] == f"file: {50 - CAP} more problems; mend those above and check again"


def test_an_unknown_reader_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown reader 'sqaud' in a catalog entry: did you mean 'squad'"):
        read_text("sqaud", "", tmp_path)
