"""Examples → rows → predictions, for each format, with the bundled tokenizer and outputs made by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerFast

from xstilts.data import load
from xstilts.encoders import Encoder
from xstilts.encoders.load import load_model, load_tokenizer
from xstilts.engine import heads
from xstilts.engine.heads import classification, multiple_choice, retrieval, span, tagging
from xstilts.engine.rows import IGNORED, Row, pad
from xstilts.engine.vectors import Embedded, Vectors
from xstilts.planning.hyperparameters import Lengths
from xstilts.tasks import builtin_catalog, formats
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import Task

LENGTHS = Lengths(max_length=64, doc_stride=16, max_query_length=24)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(Encoder("bundled/e5-small"))


def text_of(example: SpanExample, row: Row) -> str:
    """What the row's target marks in the passage."""
    window = span.Window.of(row)
    first, last = (position - window.first for position in row.target.tolist())
    return example.context[window.offsets[first][0] : window.offsets[last][1]].strip()


def outputs_at(rows: list[Row], spans: list[tuple[int, int]]) -> SimpleNamespace:
    length = max(row.length for row in rows)
    start, end = torch.zeros(len(rows), length), torch.zeros(len(rows), length)
    for i, (first, last) in enumerate(spans):
        start[i, first], end[i, last] = 5.0, 5.0
    return SimpleNamespace(start_logits=start, end_logits=end)


@pytest.mark.parametrize("language", builtin_catalog()["mini-span"].languages)
def test_span_targets_mark_the_answer_and_are_read_back_in_every_language(tokenizer: Any, language: str) -> None:
    task = builtin_catalog()["mini-span"]
    examples = [example for example in load(task, "test", language, None) if isinstance(example, SpanExample)][:30]
    rows = span.HEAD.make_rows(examples, task, tokenizer, Lengths(256, 64, 64), training=False)
    assert len(rows) == len(examples)
    read_back = span.HEAD.assemble(
        examples, rows, span.HEAD.reduce(rows, outputs_at(rows, [r.target for r in rows]), task), task
    )
    for example, row, prediction in zip(examples, rows, read_back, strict=True):
        # A piece may reach over the answer's edge ("1971年" is one), but never fall short of it.
        assert example.answers[0].text in text_of(example, row)
        assert prediction == text_of(example, row)


def test_offsets_of_thai_arabic_japanese_and_leading_spaces(tokenizer: Any) -> None:
    task = builtin_catalog()["xquad"]
    cases = [
        ("  กรุงเทพมหานครเป็นเมืองหลวงของไทย", "กรุงเทพมหานคร"),
        ("عاصمة مصر هي القاهرة وهي مدينة كبيرة", "القاهرة"),
        ("日本の首都は東京です。", "東京"),
        ("   The   capital is   Paris.", "Paris"),
    ]
    for context, answer in cases:
        example = SpanExample("1", context, "?", (GoldAnswer(answer, context.index(answer)),))
        (row,) = span.HEAD.make_rows([example], task, tokenizer, LENGTHS, training=False)
        assert answer in text_of(example, row)
        assert len(text_of(example, row)) <= len(answer) + 2


def test_a_long_passage_becomes_windows_and_the_best_one_answers(tokenizer: Any) -> None:
    task = builtin_catalog()["xquad"]
    context = " ".join(f"Fact {i} is about number {i}." for i in range(40))
    example = SpanExample("1", context, "Which number?", (GoldAnswer("number 37", context.index("number 37")),))
    rows = span.HEAD.make_rows([example], task, tokenizer, LENGTHS, training=False)
    assert len(rows) > 3 and all(row.length <= 64 for row in rows)
    marked = [row for row in rows if row.target.tolist() != [0, 0]]
    assert marked and all(text_of(example, row) == "number 37" for row in marked)
    spans = [row.target if row is marked[-1] else (0, 0) for row in rows]
    reduced = span.HEAD.reduce(rows, outputs_at(rows, spans), task)
    assert span.HEAD.assemble([example], rows, reduced, task) == ["number 37"]


def bert_tokenizer() -> Any:
    """A tokenizer of BERT's kind, with token types, of a vocabulary of characters."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(c for c in map(chr, range(33, 127)))]
    core = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\S"), "isolated")
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["bundled", "bert"])
@pytest.mark.parametrize("lengths", [LENGTHS, Lengths(48, 8, 24), Lengths(384, 128, 64)])
def test_windows_are_those_of_the_tokenizer(tokenizer: Any, kind: str, lengths: Lengths) -> None:
    """Passages are read once and cut by us; Transformers reads one with each question and cuts it itself."""
    chosen = tokenizer if kind == "bundled" else bert_tokenizer()
    task = builtin_catalog()["mini-span"]
    examples: list[SpanExample] = []
    for language in task.languages:
        own = [example for example in load(task, "test", language, None) if isinstance(example, SpanExample)][:8]
        passage = "".join(example.context for example in own)  # a long one, for all of them
        examples += [SpanExample(example.id, passage, example.question[:20], ()) for example in own]
    rows = span.HEAD.make_rows(examples, task, chosen, lengths, training=False)
    expected = chosen(
        [example.question for example in examples],
        [example.context for example in examples],
        truncation="only_second",
        max_length=lengths.max_length,
        stride=lengths.doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        verbose=False,
    )
    assert [row.example for row in rows] == expected["overflow_to_sample_mapping"]
    assert [row.sequences[0].tolist() for row in rows] == expected["input_ids"]
    for i, row in enumerate(rows):
        window = span.Window.of(row)
        assert expected.sequence_ids(i)[window.first : window.last + 1] == [1] * len(window.offsets)
        offsets = expected["offset_mapping"][i][window.first : window.last + 1]
        assert window.offsets.tolist() == [list(pair) for pair in offsets]
        assert row.type_ids is None or row.type_ids[0].tolist() == expected["token_type_ids"][i]


def test_the_span_loss_is_transformers_own_but_for_padding(tokenizer: Any) -> None:
    task, encoder = builtin_catalog()["mini-span"], Encoder("bundled/e5-small", layers=1)
    examples = load(task, "train", "en", None)[:3]
    rows = span.HEAD.make_rows(examples, task, tokenizer, Lengths(256, 64, 64), training=False)
    model = load_model(encoder, AutoModelForQuestionAnswering, seed=1)
    model.qa_outputs.weight.data *= 50  # so that the loss is not that of guessing

    def inputs(chosen: list[Row]) -> dict[str, torch.Tensor]:
        padded = pad(chosen, 1)
        return padded | span.HEAD.targets(chosen, padded["input_ids"].shape[1])

    alone = [span.HEAD.loss(model, inputs([row])) for row in rows]
    for row, loss in zip(rows, alone, strict=True):
        bare = {name: tensor[:, : row.length] for name, tensor in pad([row], 1).items()} | span.HEAD.targets([row], 0)
        torch.testing.assert_close(loss, model(**bare).loss)
    assert len({row.length for row in rows}) > 1
    torch.testing.assert_close(span.HEAD.loss(model, inputs(rows)), sum(alone) / 3)


def test_no_answer_only_where_the_task_knows_unanswerable_questions(tokenizer: Any) -> None:
    example = SpanExample("1", "The sky is blue.", "Who sang?", ())
    (row,) = span.HEAD.make_rows([example], builtin_catalog()["squad_v2"], tokenizer, LENGTHS, training=False)
    assert row.target.tolist() == [0, 0]
    predictions = {}
    for name in ("squad_v2", "xquad"):
        task = builtin_catalog()[name]
        reduced = span.HEAD.reduce([row], outputs_at([row], [(0, 0)]), task)
        (predictions[name],) = span.HEAD.assemble([example], [row], reduced, task)
    answer = predictions["xquad"]
    assert answer and answer in example.context
    assert predictions["squad_v2"] == f"10.0\t{answer}"  # the score of CLS, minus that of the best span
    task = builtin_catalog()["squad_v2"]
    assert formats.get("span").score([example], ["10.0\tThe sky"], task, "en")["f1"] == [(1.0, 1.0)]
    assert formats.get("span").score([example], ["-10.0\tThe sky"], task, "en")["f1"] == [(0.0, 1.0)]


def test_the_best_threshold_is_reported_beside_the_one_at_zero() -> None:
    """As evaluate-v2.0.py: a model that says "no answer" too readily loses at 0 what the best threshold gives back."""
    task = builtin_catalog()["squad_v2"]
    examples = [
        SpanExample("1", "in Rome", "?", (GoldAnswer("Rome", 3),)),
        SpanExample("2", "in Rome", "?", (GoldAnswer("in Rome", 0),)),
        SpanExample("3", "in Rome", "?", ()),
    ]
    outcomes = formats.get("span").score(examples, ["0.5\tRome", "1.0\tRome", "2.0\tin"], task, "en")
    assert set(outcomes) == {"f1", "exact_match", "best_f1", "best_exact_match"}
    scores = {metric: [numerator for numerator, _ in own] for metric, own in outcomes.items()}
    assert scores["f1"] == scores["exact_match"] == [0.0, 0.0, 1.0]
    assert scores["best_f1"] == pytest.approx([1.0, 2 / 3, 1.0])
    assert scores["best_exact_match"] == [1.0, 0.0, 1.0]
    assert set(formats.get("span").score(examples[:1], ["Rome"], builtin_catalog()["xquad"], "en")) == {
        "f1",
        "exact_match",
    }


def test_an_answer_may_hold_a_tab_and_a_passage_without_tokens_has_none(tokenizer: Any) -> None:
    task = builtin_catalog()["squad_v2"]
    example = SpanExample("1", "a\tb", "?", (GoldAnswer("a\tb", 0),))
    assert formats.get("span").score([example], ["-1.0\ta\tb"], task, "en")["exact_match"] == [(1.0, 1.0)]
    empty = SpanExample("1", "", "?", ())
    assert span.HEAD.make_rows([empty], task, tokenizer, LENGTHS, training=False) == []
    (prediction,) = span.HEAD.assemble([empty], [], [], task)
    assert formats.get("span").score([empty], [prediction], task, "en")["f1"] == [(1.0, 1.0)]


def official_spans(start: list[float], end: list[float], window: span.Window, n_best: int = 20) -> dict[Any, float]:
    """The spans that run_qa considers in one window (utils_qa.py, postprocess_qa_predictions), with their scores."""

    def highest(logits: list[float]) -> list[int]:
        return sorted(range(len(logits)), key=lambda i: -logits[i])[:n_best]

    inside = range(window.first, window.last + 1)
    return {
        (i, j): start[i] + end[j]
        for i in highest(start)
        for j in highest(end)
        if i in inside and j in inside and i <= j < i + 30
    }


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 90), st.sampled_from([0.5, 3.0, 10.0]))
def test_the_best_span_is_the_official_one_unless_twenty_starts_and_ends_miss_it(
    seed: int, length: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    first = int(rng.integers(1, length - 1))
    last = int(rng.integers(first, length - 1))
    offsets = np.stack([np.arange(last - first + 1), np.arange(last - first + 1) + 1], 1)
    window = span.Window(first, last, 0, offsets)
    row = Row(0, [[0] * length], window=window.packed())
    start, end = (rng.normal(0, scale, length).astype(np.float32) for _ in range(2))
    outputs = SimpleNamespace(start_logits=torch.tensor(start[None]), end_logits=torch.tensor(end[None]))
    (found,) = span.best_spans([row], outputs, 20)
    ours = {
        (first + int(i), first + int(j) - 1): score
        for i, j, score in zip(found.starts, found.ends, found.scores, strict=True)
    }
    everything = {
        (i, j): float(start[i] + end[j]) for i in range(first, last + 1) for j in range(i, min(last + 1, i + 30))
    }
    assert sorted(ours.values(), reverse=True) == sorted(everything.values(), reverse=True)[:20]
    assert all(everything[pair] == score for pair, score in ours.items())

    official = official_spans(start.tolist(), end.tolist(), window)
    best = max(ours, key=lambda pair: ours[pair])
    assert found.scores[0] == max(everything.values())
    if best in official:
        assert max(official, key=lambda pair: official[pair]) == best
    assert all(float(score) <= found.scores[0] + 1e-5 for score in official.values())


@pytest.mark.parametrize("task", ["xquad", "squad_v2"])
def test_n_best_answers_have_probabilities_among_all_spans_and_no_text_twice(tokenizer: Any, task: str) -> None:
    """The sum over every span of every window, written out as a loop; the same for each n."""
    entry = builtin_catalog()[task]
    example = SpanExample("1", "yes yes no " * 30, "Yes or no?", ())
    rows = span.HEAD.make_rows([example], entry, tokenizer, Lengths(32, 8, 16), training=False)
    assert len(rows) > 1
    generator = torch.Generator().manual_seed(1)
    length = max(row.length for row in rows)
    start, end = (torch.randn(len(rows), length, generator=generator) * 3 for _ in range(2))
    outputs = SimpleNamespace(start_logits=start, end_logits=end)
    every: list[float] = []
    for row, first, last in zip(rows, start.tolist(), end.tolist(), strict=True):
        window = span.Window.of(row)
        places = range(window.first, window.last + 1)
        every += [first[i] + last[j] for i in places for j in places if i <= j < i + 30]
    if entry.unanswerable:
        every.append(min((start[:, 0] + end[:, 0]).tolist()))
    total = sum(math.exp(score) for score in every)

    def best(n: int) -> list[dict[str, Any]]:
        decoder = span.NBest(n)
        (listed,) = decoder.assemble([example], rows, decoder.reduce(rows, outputs, entry), entry)
        return json.loads(listed)

    five = best(5)
    none = [each for each in five if each["text"] == ""]
    assert len(five) == len({each["text"] for each in five}) == 5 + len(none)  # it is behind the best ones
    assert len(none) == entry.unanswerable and all(0 < each["probability"] < 1 for each in none)
    assert five[0]["probability"] == pytest.approx(math.exp(max(every)) / total)
    for n in (2, 20):
        assert [each["probability"] for each in best(n)][:2] == [each["probability"] for each in five[:2]]
    probabilities = [each["probability"] for each in best(20)]
    assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) < 1
    (answer,) = span.HEAD.assemble([example], rows, span.HEAD.reduce(rows, outputs, entry), entry)
    assert five[0]["text"] == answer.rpartition("\t")[2]


def test_spans_do_not_run_backwards_leave_the_passage_or_exceed_thirty_tokens(tokenizer: Any) -> None:
    task = builtin_catalog()["xquad"]
    example = SpanExample("1", " ".join(f"w{i}" for i in range(20)), "A question of some words?", ())
    (row,) = span.HEAD.make_rows([example], task, tokenizer, Lengths(128, 16, 24), training=False)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        outputs = SimpleNamespace(
            start_logits=torch.randn(1, row.length, generator=generator) * 5,
            end_logits=torch.randn(1, row.length, generator=generator) * 5,
        )
        (found,) = span.HEAD.reduce([row], outputs, task)
        ((score,), (start,), (end,)) = found.scores, found.starts, found.ends
        window = span.Window.of(row)
        allowed = [
            (float(outputs.start_logits[0, i] + outputs.end_logits[0, j]), i, j)
            for i in range(window.first, window.last + 1)
            for j in range(i, min(i + span.MAX_ANSWER_TOKENS, window.last + 1))
        ]
        best, first, last = max(allowed)
        assert score == pytest.approx(best)
        assert (start, end) == (window.offsets[first - window.first][0], window.offsets[last - window.first][1])


def test_long_questions_are_cut_and_leave_room_for_the_passage(tokenizer: Any) -> None:
    example = SpanExample("1", "Short passage here.", "why " * 200, (GoldAnswer("passage", 6),))
    (row,) = span.HEAD.make_rows([example], builtin_catalog()["xquad"], tokenizer, LENGTHS, training=False)
    assert text_of(example, row) == "passage"


TOKENS = ["a", "Donaudampfschifffahrt", "東京", "\u200c", "naïve", "x" * 300]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=90))
def test_long_sentences_are_split_and_rejoined_with_as_many_tags_as_tokens(tokens: list[str]) -> None:
    tokenizer = load_tokenizer(Encoder("bundled/e5-small"))
    task = builtin_catalog()["udpos"]
    tags = tuple(task.labels[i % len(task.labels)] for i in range(len(tokens)))
    example = TaggingExample("1", tuple(tokens), tags)
    rows = tagging.HEAD.make_rows([example], task, tokenizer, Lengths(32, 8, 8), training=False)
    assert all(row.length <= 32 for row in rows)
    logits = torch.zeros(len(rows), 32, len(task.labels))
    for i, row in enumerate(rows):
        for position, target in zip(row.window[1:], row.target, strict=True):
            logits[i, position, target] = 1.0
    reduced = tagging.HEAD.reduce(rows, SimpleNamespace(logits=logits), task)
    assert tagging.HEAD.assemble([example], rows, reduced, task) == [" ".join(tags)]


def test_tagging_scores_only_the_first_piece(tokenizer: Any) -> None:
    task = builtin_catalog()["udpos"]
    example = TaggingExample("1", ("Donaudampfschifffahrt", "is", "long"), ("NOUN", "AUX", "ADJ"))
    (row,) = tagging.HEAD.make_rows([example], task, tokenizer, LENGTHS, training=True)
    labels = tagging.HEAD.targets([row], row.length)["labels"][0]
    assert (labels != IGNORED).sum() == 3
    assert row.length > 5


def test_parts_of_speech_are_scored_by_xtremes_f1_too() -> None:
    """What XTREME calls accuracy is this F1; the catalog's metric stays the accuracy over tokens."""
    tags = ("DET", "NOUN", "NOUN", "CCONJ", "DET", "NOUN", "VERB")
    examples = [TaggingExample("1", tags, tags)]
    for name in ("udpos", "pud", "mini-pos"):
        task = builtin_catalog()[name]
        outcomes = formats.get("tagging").score(examples, ["DET NOUN PROPN CCONJ DET NOUN VERB"], task, "en")
        assert outcomes == {"accuracy": [(6.0, 7.0)], "chunk_f1": [(10.0, 13.0)]}
        assert task.metric == "accuracy"
    entities = [TaggingExample("1", ("a", "b"), ("B-PER", "O"))]
    for name in ("panx", "mini-entities"):
        assert set(formats.get("tagging").score(entities, ["B-PER O"], builtin_catalog()[name], "en")) == {
            "accuracy",
            "f1",
        }


def test_an_overlong_multiple_choice_input_is_cut_at_the_start(tokenizer: Any) -> None:
    task = builtin_catalog()["mini-choice"]
    example = MultipleChoiceExample("1", "start " * 100 + "the end", ("one choice", "another"), 1)
    (row,) = multiple_choice.HEAD.make_rows([example], task, tokenizer, LENGTHS, training=True)
    text = tokenizer.decode(row.sequences[1])
    assert len(row.sequences) == 2 and row.length == 64
    assert "the end" in text and "another" in text
    assert tokenizer.truncation_side == "right"  # left as it was found
    assert pad([row], 1)["input_ids"].shape == (1, 2, 64)


@pytest.mark.parametrize("task", [task for task in builtin_catalog() if task.labels], ids=lambda task: task.name)
def test_label_order_is_the_catalogs_and_goes_through_the_head_and_back_by_name(task: Task, tokenizer: Any) -> None:
    """XTREME and jiant differ in XNLI's order: a head that is read in another order scores below chance."""
    fmt = heads.get(task.format)
    assert fmt.model_options(task)["id2label"] == dict(enumerate(task.labels))
    labels = task.labels[::-1]
    if task.format == "tagging":
        examples: list[Any] = [TaggingExample("1", tuple("a" for _ in labels), labels)]
    else:
        examples = [ClassificationExample(str(n), "a", "b", label) for n, label in enumerate(labels)]
    rows = fmt.make_rows(examples, task, tokenizer, LENGTHS, training=True)
    targets = [i for row in rows for i in row.target]
    assert [task.labels[i] for i in targets] == list(labels)
    logits = torch.zeros(len(rows), rows[0].length, len(labels))  # [rows, tokens, labels]
    for n, row in enumerate(rows):
        logits[n, row.window[1:] if task.format == "tagging" else [0], row.target] = 1.0
    if task.format == "classification":
        logits = logits[:, 0]
    predictions = fmt.assemble(examples, rows, fmt.reduce(rows, SimpleNamespace(logits=logits), task), task)
    assert " ".join(predictions).split(" ") == list(labels)


def test_labels_go_by_name_and_rows_without_gold_are_not_trained_on(tokenizer: Any) -> None:
    task = builtin_catalog()["mini-nli"]
    examples = load(task, "test", "de", None)[:12]
    rows = classification.HEAD.make_rows(examples, task, tokenizer, LENGTHS, training=True)
    assert [task.labels[row.target[0]] for row in rows] == [example.label for example in examples]
    from dataclasses import replace

    blank = [replace(example, label=None) for example in examples]
    assert classification.HEAD.make_rows(blank, task, tokenizer, LENGTHS, training=True) == []
    assert len(classification.HEAD.make_rows(blank, task, tokenizer, LENGTHS, training=False)) == 12


def test_span_answers_are_normalised_by_the_rules_of_the_task_and_the_passages_language() -> None:
    """By MLQA's rules each Chinese character is a word and Arabic loses its article; by SQuAD's neither."""
    squad = builtin_catalog()["xquad"]
    mlqa = squad.model_copy(update={"answer_rules": "mlqa"})

    def f1(task: Task, language: str, answer: str, given: str) -> float:
        example = SpanExample("1", answer, "?", (GoldAnswer(answer, 0),))
        return formats.get("span").score([example], [given], task, language)["f1"][0][0]

    assert f1(squad, "zh", "北京", "中国北京") == 0.0
    assert f1(mlqa, "zh", "北京", "中国北京") == f1(mlqa, "zh-en", "北京", "中国北京") == pytest.approx(2 / 3)
    assert (f1(squad, "ar", "الكتاب", "كتاب"), f1(mlqa, "ar", "الكتاب", "كتاب")) == (0.0, 1.0)


def retrieved(
    by_block: list[dict[str, list[list[float]]]], chosen: int = 0
) -> tuple[list[RetrievalExample], list[str]]:
    """Two examples, and the predictions made of their vectors by side and block."""
    task = builtin_catalog()["tatoeba"]
    examples = [RetrievalExample("0", "eins", "one"), RetrievalExample("1", "zwei", "two")]
    rows = [Row(i, [[0]], window=[side]) for side in (0, 1) for i in (0, 1)]
    vectors = Vectors()
    values = torch.tensor([[sides["source"] + sides["target"]] for sides in by_block]).squeeze(1).transpose(0, 1)
    vectors.append(torch.nn.functional.normalize(values, dim=-1).half().numpy())
    vectors.close()
    return examples, retrieval.HEAD.assemble(examples, rows, Embedded(vectors, np.arange(4), chosen), task)


def test_retrieval_asks_each_english_sentence_for_its_foreign_one() -> None:
    """XTREME's direction: were it the other way round, the first pair would count as wrong."""
    sides = {"source": [[1.0, 0.0], [0.8, 0.6]], "target": [[1.0, 0.1], [0.9, 0.1]]}
    assert retrieved([sides])[1] == ["0 0", "0 0"]


def test_retrieval_scores_the_chosen_block_and_every_block() -> None:
    right, wrong = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]
    blocks = [{"source": right, "target": right}, {"source": right, "target": wrong}]
    examples, predictions = retrieved(blocks, chosen=1)
    assert predictions == ["1 0 1", "0 1 0"]
    hit, miss = (1.0, 1.0), (0.0, 1.0)
    assert formats.get("retrieval").score(examples, predictions, builtin_catalog()["tatoeba"], "de") == {
        "accuracy": [miss, miss], "accuracy@0": [hit, hit], "accuracy@1": [miss, miss],
    }  # fmt: skip


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [0.6, 0.8]), ("cls", [1.0, 0.0])])
def test_mean_pooling_counts_special_tokens_and_no_padding_cls_takes_the_first(
    pooling: str, expected: list[float]
) -> None:
    hidden = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [100.0, 100.0]]])
    outputs = [hidden, -hidden], torch.tensor([[1, 1, 0]]), pooling
    (vectors,) = retrieval.HEAD.reduce([], outputs, builtin_catalog()["tatoeba"])
    assert vectors.tolist() == [pytest.approx(expected, rel=1e-3), pytest.approx([-x for x in expected], rel=1e-3)]
