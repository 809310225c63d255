import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.metrics import Outcome, value
from xstilts.metrics.tagging import Entity, entities, entity_f1, token_accuracy

GOLDEN = json.loads((Path(__file__).parent / "golden" / "seqeval.json").read_text("utf-8"))
SENTENCES = [(row["predicted"].split(), row["gold"].split(), row) for row in GOLDEN["sentences"]]

TAG = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"])
PAIRS = st.lists(st.tuples(TAG, TAG), max_size=12).map(lambda pairs: ([p for p, _ in pairs], [g for _, g in pairs]))


def test_equals_seqeval_sentence_by_sentence():
    assert len(SENTENCES) > 200
    for predicted, gold, row in SENTENCES:
        assert [list(entity) for entity in entities(predicted)] == row["entities"], row
        assert value([entity_f1(predicted, gold)]) / 100 == pytest.approx(row["f1"], abs=1e-12), row
        assert value([token_accuracy(predicted, gold)]) / 100 == pytest.approx(row["accuracy"], abs=1e-12), row


def test_equals_seqeval_over_all_sentences():
    assert value(entity_f1(p, g) for p, g, _ in SENTENCES) / 100 == pytest.approx(GOLDEN["f1"], abs=1e-12)
    assert value(token_accuracy(p, g) for p, g, _ in SENTENCES) / 100 == pytest.approx(GOLDEN["accuracy"], abs=1e-12)


def test_entities():
    assert entities(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-ORG", "I-ORG"]) == [
        Entity("PER", 0, 2),
        Entity("LOC", 3, 4),
        Entity("LOC", 4, 5),
        Entity("ORG", 5, 7),
    ]
    assert entities([]) == []


def test_a_boundary_or_type_that_is_off_counts_on_both_sides():
    gold = ["B-PER", "I-PER", "O", "B-LOC"]
    assert entity_f1(["B-PER", "O", "O", "B-LOC"], gold) == Outcome(2.0, 4.0)
    assert entity_f1(["B-LOC", "I-LOC", "O", "B-LOC"], gold) == Outcome(2.0, 4.0)
    assert entity_f1(["O", "O", "O", "O"], gold) == Outcome(0.0, 2.0)


@pytest.mark.parametrize("tag", ["NOUN", "B", "I-", "E-PER", "b-PER", "", "-PER", "O-PER"])
def test_a_tag_of_another_scheme_is_refused(tag):
    with pytest.raises(ValueError, match="is not O, B-type or I-type"):
        entities(["O", tag])


def test_lengths_must_agree():
    with pytest.raises(ValueError):
        entity_f1(["O"], ["O", "O"])
    with pytest.raises(ValueError):
        token_accuracy(["O"], ["O", "O"])


def test_nothing_to_find_and_nothing_found_scores_zero():
    assert value([entity_f1(["O", "O"], ["O", "O"])]) == 0.0


def reference_entities(tags):
    """Entities by definition: a span is one if it begins, goes on without a break, and cannot go on."""
    types = [tag[2:] for tag in tags]

    def begins(i):
        return tags[i] != "O" and (tags[i][0] == "B" or i == 0 or types[i] != types[i - 1])

    def continues(i):
        return i < len(tags) and tags[i] != "O" and not begins(i)

    return {
        (types[i], i, j)
        for i in range(len(tags))
        for j in range(i + 1, len(tags) + 1)
        if begins(i) and all(continues(k) for k in range(i + 1, j)) and not continues(j)
    }


@given(PAIRS)
def test_equals_a_slow_reference(pair):
    predicted, gold = pair
    assert set(entities(predicted)) == reference_entities(predicted)
    p, g = reference_entities(predicted), reference_entities(gold)
    assert entity_f1(predicted, gold) == (2 * len(p & g), len(p) + len(g))
    assert token_accuracy(predicted, gold) == (sum(a == b for a, b in zip(predicted, gold, strict=True)), len(gold))


@given(PAIRS)
def test_bounds_symmetry_identity(pair):
    predicted, gold = pair
    outcome = entity_f1(predicted, gold)
    assert 0 <= outcome.numerator <= outcome.denominator
    assert entity_f1(gold, predicted) == outcome
    same = entity_f1(gold, gold)
    assert same.numerator == same.denominator


@given(st.lists(TAG, max_size=12))
def test_written_back_the_entities_are_the_same(tags):
    rewritten = ["O"] * len(tags)
    for entity in entities(tags):
        rewritten[entity.start : entity.end] = ["B-" + entity.type] + ["I-" + entity.type] * (
            entity.end - entity.start - 1
        )
    assert entities(rewritten) == entities(tags)
