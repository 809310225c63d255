import json
from pathlib import Path

import pytest
import seqeval.metrics as seqeval
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.tasks.metrics.tagging import Entity, accuracy, chunk_f1, chunks, entities, entity_f1

GOLDEN = json.loads((Path(__file__).parent / "golden" / "seqeval.json").read_text("utf-8"))
SENTENCES = [(row["gold"].split(), row["predicted"].split(), row) for row in GOLDEN["sentences"]]

TAG = st.sampled_from(["O", *(f"{prefix}-{type_}" for prefix in "BIES" for type_ in ("PER", "LOC", "ORG"))])
PAIRS = st.lists(st.tuples(TAG, TAG), max_size=12).map(lambda pairs: ([p for p, _ in pairs], [g for _, g in pairs]))


def value(outcomes):
    """The score of sentences, 0 to 1; seqeval gives 0 where there is nothing to find."""
    return sum(n for n, _ in outcomes) / max(sum(d for _, d in outcomes), 1)


def test_equals_seqeval_sentence_by_sentence():
    assert len(SENTENCES) > 200
    for gold, predicted, row in SENTENCES:
        assert [list(entity) for entity in entities(predicted)] == row["entities"], row
        assert value(entity_f1([gold], [predicted])) == pytest.approx(row["f1"], abs=1e-12), row
        assert value(accuracy([gold], [predicted])) == pytest.approx(row["accuracy"], abs=1e-12), row


def test_equals_seqeval_over_all_sentences():
    gold, predicted = [row[0] for row in SENTENCES], [row[1] for row in SENTENCES]
    assert value(entity_f1(gold, predicted)) == pytest.approx(GOLDEN["f1"], abs=1e-12)
    assert value(accuracy(gold, predicted)) == pytest.approx(GOLDEN["accuracy"], abs=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@settings(max_examples=500)
@given(st.lists(PAIRS.filter(lambda pair: pair[0]), min_size=1, max_size=6))
def test_equals_seqeval_on_any_tags(sentences):
    """Here seqeval is right: tags have prefixes (for parts of speech see `chunk_f1`)."""
    predicted, gold = [pair[0] for pair in sentences], [pair[1] for pair in sentences]
    assert value(entity_f1(gold, predicted)) == pytest.approx(seqeval.f1_score(gold, predicted, zero_division=0))
    assert value(accuracy(gold, predicted)) == pytest.approx(seqeval.accuracy_score(gold, predicted))


def test_entities():
    assert entities(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-ORG", "I-ORG"]) == [
        Entity("PER", 0, 2),
        Entity("LOC", 3, 4),
        Entity("LOC", 4, 5),
        Entity("ORG", 5, 7),
    ]
    assert entities([]) == []


@given(st.lists(TAG, max_size=12))
def test_bilou_is_bioes_by_other_names(tags):
    assert entities([tag.replace("E-", "L-").replace("S-", "U-") for tag in tags]) == entities(tags)


def test_a_boundary_or_type_that_is_off_counts_on_both_sides():
    gold = ["B-PER", "I-PER", "O", "B-LOC"]
    assert entity_f1([gold], [["B-PER", "O", "O", "B-LOC"]]) == [(2.0, 4.0)]
    assert entity_f1([gold], [["B-LOC", "I-LOC", "O", "B-LOC"]]) == [(2.0, 4.0)]
    assert entity_f1([gold], [["O", "O", "O", "O"]]) == [(0.0, 2.0)]


@pytest.mark.parametrize("tag", ["NOUN", "B", "I-", "M-PER", "PER-B", "b-PER", "", "-PER", "O-PER", "BI-PER"])
def test_a_tag_of_another_scheme_is_refused(tag):
    with pytest.raises(ValueError, match="is not O, nor a type behind"):
        entities(["O", tag])


def test_lengths_must_agree():
    for metric in (entity_f1, accuracy):
        with pytest.raises(ValueError):
            metric([["O"]], [["O", "O"]])
        with pytest.raises(ValueError):
            metric([["O"]], [["O"], ["O"]])


def reference_entities(tags):
    """Entities by definition: a span is one if it begins, goes on without a break, and cannot go on."""
    types = [tag[2:] for tag in tags]

    def begins(i):
        new = i == 0 or types[i] != types[i - 1] or tags[i][0] in "BS" or tags[i - 1][0] in "ES"
        return tags[i] != "O" and new

    def continues(i):
        return i < len(tags) and tags[i] != "O" and not begins(i)

    return {
        (types[i], i, j)
        for i in range(len(tags))
        for j in range(i + 1, len(tags) + 1)
        if begins(i) and all(continues(k) for k in range(i + 1, j)) and not continues(j)
    }


@given(st.lists(PAIRS, max_size=4))
def test_equals_a_slow_reference(pairs):
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    spans = [(reference_entities(g), reference_entities(p)) for g, p in pairs]
    assert [set(entities(p)) for p in predicted] == [p for _, p in spans]
    assert entity_f1(gold, predicted) == [(2 * len(g & p), len(g) + len(p)) for g, p in spans]
    assert accuracy(gold, predicted) == [(sum(a == b for a, b in zip(g, p, strict=True)), len(g)) for g, p in pairs]


@given(PAIRS)
def test_bounds_symmetry_identity(pair):
    gold, predicted = pair
    [(numerator, denominator)] = entity_f1([gold], [predicted])
    assert 0 <= numerator <= denominator
    assert entity_f1([predicted], [gold]) == [(numerator, denominator)]
    [(numerator, denominator)] = entity_f1([gold], [gold])
    assert numerator == denominator


@given(st.lists(TAG, max_size=12))
def test_written_back_the_entities_are_the_same(tags):
    rewritten = ["O"] * len(tags)
    for entity in entities(tags):
        rewritten[entity.start : entity.end] = ["B-" + entity.type] + ["I-" + entity.type] * (
            entity.end - entity.start - 1
        )
    assert entities(rewritten) == entities(tags)


# -- parts of speech ------------------------------------------------------------------------------------------------

POS_GOLDEN = json.loads((Path(__file__).parent / "golden" / "seqeval_pos.json").read_text("utf-8"))
POS_SENTENCES = [(row["gold"].split(), row["predicted"].split(), row) for row in POS_GOLDEN["sentences"]]
# Of universal parts of speech those whose first letter seqeval takes for a prefix, some others, and what is no UPOS.
POS = st.sampled_from(["NOUN", "CCONJ", "SCONJ", "SYM", "INTJ", "X", "B", "BE", "E", "EX", "I", "O", "OX", ".", "S"])
POS_PAIRS = st.lists(st.tuples(POS, POS), max_size=10).map(lambda pairs: ([g for g, _ in pairs], [p for _, p in pairs]))


def test_a_coordinating_conjunction_is_no_subordinating_one():
    """seqeval 1.2.2 cuts both to CONJ and gives 1.0."""
    gold = ["DET", "NOUN", "NOUN", "CCONJ", "DET", "NOUN", "VERB"]
    predicted = ["DET", "NOUN", "NOUN", "SCONJ", "DET", "NOUN", "VERB"]
    assert value(chunk_f1([gold], [predicted])) == pytest.approx(0.8333, abs=5e-5)
    assert value(accuracy([gold], [predicted])) == pytest.approx(0.8571, abs=5e-5)


def test_equal_neighbours_are_one_chunk():
    """So an error inside costs the whole run, and F1 is below accuracy."""
    gold = ["DET", "NOUN", "NOUN", "CCONJ", "DET", "NOUN", "VERB"]
    predicted = ["DET", "NOUN", "PROPN", "CCONJ", "DET", "NOUN", "VERB"]
    assert chunk_f1([gold], [predicted]) == [(10.0, 13.0)]
    assert value(chunk_f1([gold], [predicted])) == pytest.approx(0.7692, abs=5e-5)
    assert value(accuracy([gold], [predicted])) == pytest.approx(0.8571, abs=5e-5)


def test_tags_whose_first_letter_seqeval_takes_for_a_prefix():
    assert chunks(["SYM", "SYM", "SCONJ"]) == [Entity("SYM", 0, 1), Entity("SYM", 1, 2), Entity("SCONJ", 2, 3)]
    assert chunks(["BE", "BE", "EX", "EX"]) == [Entity(tag, i, i + 1) for i, tag in enumerate(["BE", "BE", "EX", "EX"])]
    assert chunks(["INTJ", "INTJ"]) == [Entity("INTJ", 0, 2)]
    assert chunks(["O", "OX", ".", "X", "X", "O"]) == [Entity("X", 3, 5)]
    assert chunks([]) == []


def test_chunks_end_with_their_sentence():
    assert chunk_f1([["NOUN"], ["NOUN"]], [["NOUN"], ["VERB"]]) == [(2.0, 2.0), (0.0, 2.0)]


@pytest.mark.parametrize("tag", ["", "B-PER", "-LRB-"])
def test_chunks_refuse_a_tag_with_a_prefix(tag):
    with pytest.raises(ValueError, match="is empty or has a prefix"):
        chunks(["NOUN", tag])


def test_chunk_lengths_must_agree():
    with pytest.raises(ValueError, match="2 predicted tags for 1 tokens"):
        chunk_f1([["X"]], [["X", "X"]])
    with pytest.raises(ValueError):
        chunk_f1([["X"]], [["X"], ["X"]])


def test_equals_seqeval_0_0_12_sentence_by_sentence():
    assert len(POS_SENTENCES) > 200
    for gold, predicted, row in POS_SENTENCES:
        assert [list(chunk) for chunk in chunks(predicted)] == row["chunks"], row
        assert value(chunk_f1([gold], [predicted])) == pytest.approx(row["f1"], abs=1e-12), row


def test_equals_seqeval_0_0_12_over_all_sentences():
    gold, predicted = [row[0] for row in POS_SENTENCES], [row[1] for row in POS_SENTENCES]
    assert value(chunk_f1(gold, predicted)) == pytest.approx(POS_GOLDEN["f1"], abs=1e-12)


def prefix_machine(sentences):
    """Chunks as (type, first, last) over all sentences in a row, an O behind each: prefix against prefix."""
    found, begin, before, type_before = set(), 0, "O", ""
    for i, tag in enumerate([tag for sentence in sentences for tag in [*sentence, "O"]]):
        prefix, type_ = tag[0], tag.split("-")[-1]
        changed = type_ != type_before
        if before in "ES" or (before in "BI" and prefix in "BSO") or (before not in "O." and changed):
            found.add((type_before, begin, i - 1))
        if prefix in "BS" or (before in "ESO" and prefix in "EI") or (prefix not in "O." and changed):
            begin = i
        before, type_before = prefix, type_
    return found


@given(st.lists(POS_PAIRS, max_size=4))
def test_equals_the_rules_of_prefixes(pairs):
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    there, found = prefix_machine(gold), prefix_machine(predicted)
    outcomes = chunk_f1(gold, predicted)
    assert sum(n for n, _ in outcomes) == 2 * len(there & found)
    assert sum(d for _, d in outcomes) == len(there) + len(found)
    for sentence in predicted:
        assert {(c.type, c.start, c.end - 1) for c in chunks(sentence)} == prefix_machine([sentence])
