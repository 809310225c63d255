import json
import math
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import reference_f1
from xstilts.tasks.metrics.squad import best_threshold, exact_match, f1, normalize_answer

GOLDEN = [
    json.loads(line) for line in (Path(__file__).parent / "golden" / "squad.jsonl").read_text("utf-8").splitlines()
]

# Few letters, so that words repeat and overlap; with what normalisation treats apart.
ANSWERS = st.one_of(
    st.lists(st.sampled_from(["a", "an", "The", "cat", "Cats", "b", "1990", "中文", "يوم", "U.S.", "—", "."])).map(
        " ".join
    ),
    st.text(max_size=12),
)
GOLDS = st.lists(ANSWERS, max_size=4)
UNANSWERABLE = st.booleans()


def scores(prediction, golds, unanswerable=False):
    return [exact_match(prediction, golds, unanswerable=unanswerable), f1(prediction, golds, unanswerable=unanswerable)]


@pytest.mark.parametrize(("version", "unanswerable"), [("v1.1", False), ("v2.0", True)])
def test_equals_the_official_script(version, unanswerable):
    rows = [row for row in GOLDEN if row[version] is not None]
    assert len(rows) > 400
    for row in rows:
        assert scores(row["prediction"], row["golds"], unanswerable) == row[version], row


def test_a_set_of_questions_scores_the_official_mean():
    scored = [scores(row["prediction"], row["golds"]) for row in GOLDEN if row["v1.1"] is not None]
    # What evaluate() of evaluate-v1.1.py gives for these rows as one data set.
    assert 100 * sum(em for em, _ in scored) / len(scored) == pytest.approx(45.951859956236326)
    assert 100 * sum(overlap for _, overlap in scored) / len(scored) == pytest.approx(55.57089196010076)


def test_unanswerable_questions():
    assert scores("", []) == [1.0, 1.0]
    assert scores("somewhere", []) == [0.0, 0.0]
    assert scores("", ["here"], unanswerable=True) == [0.0, 0.0]


def test_golds_of_punctuation_alone():
    """SQuAD dev 5730b7ce069b5314008322c4 has a gold ".", which the v2.0 script passes over."""
    golds = ["interventionism", "."]
    assert scores("", golds) == [1.0, 0.0]
    assert scores("", golds, unanswerable=True) == [0.0, 0.0]


@given(ANSWERS, GOLDS, UNANSWERABLE)
def test_bounds(prediction, golds, unanswerable):
    em, overlap = scores(prediction, golds, unanswerable)
    assert em in (0.0, 1.0)
    assert 0.0 <= overlap <= 1.0
    if em and normalize_answer(prediction):
        assert overlap == 1.0


@given(ANSWERS, UNANSWERABLE)
def test_an_answer_matches_itself(answer, unanswerable):
    overlaps = bool(normalize_answer(answer)) or unanswerable
    assert scores(answer, [answer], unanswerable) == [1.0, float(overlaps)]


@given(ANSWERS, ANSWERS)
def test_symmetric_for_one_gold(one, other):
    assert scores(one, [other]) == scores(other, [one])


@given(ANSWERS, st.lists(ANSWERS, min_size=1, max_size=4), ANSWERS)
def test_another_gold_never_lowers_the_score(prediction, golds, another):
    assert f1(prediction, [*golds, another]) >= f1(prediction, golds)
    assert exact_match(prediction, [*golds, another]) >= exact_match(prediction, golds)
    assert f1(prediction, golds[::-1]) == f1(prediction, golds)


@given(st.lists(st.sampled_from(["cat", "dog", "中文", "день", "année", "2020"]), min_size=1), GOLDS, UNANSWERABLE)
def test_case_articles_punctuation_and_white_space_do_not_count(words, golds, unanswerable):
    plain = " ".join(words)
    for variant in (
        plain.upper(),
        "The " + " a ".join(words) + " an",
        "(" + " ".join(word[0] + "'" + word[1:] for word in words) + "!)",
        "\t\u3000" + " \n ".join(words) + "\u00a0",
    ):
        assert normalize_answer(variant) == normalize_answer(plain)
        assert scores(variant, golds, unanswerable) == scores(plain, golds, unanswerable)


@given(ANSWERS)
def test_normalisation_keeps_the_rest(answer):
    """Only ASCII punctuation and the three articles go: «», 。 and foreign articles stay."""
    left = normalize_answer(answer)
    assert not set(left) & set(string.punctuation)
    assert not {"a", "an", "the"} & set(left.split())
    assert left == left.strip() and "  " not in left
    assert normalize_answer("«Die 猫。» the") == "«die 猫。»"


def reference_words(text):
    """Normalised words by a scan over characters, without regular expressions or string tables."""
    kept = [char for char in text.lower() if char not in string.punctuation]
    words, run = [], ""
    for char in [*kept, " "]:
        # `re` counts letters, digits of any kind and the underscore (gone by now) as word characters.
        if char.isalnum():
            run += char
            continue
        words.append(" " if run in ("a", "an", "the") else run)
        words.append(char)
        run = ""
    return "".join(words).split()


@given(ANSWERS, GOLDS, UNANSWERABLE)
def test_equals_a_slow_reference(prediction, golds, unanswerable):
    predicted = reference_words(prediction)
    references = [reference_words(gold) for gold in golds]
    if unanswerable:
        references = [gold for gold in references if gold]
    if references:
        best = max(reference_f1(predicted, gold) for gold in references)
        expected = [float(predicted in references), float(best)]
    else:
        expected = [float(not predicted)] * 2
    assert scores(prediction, golds, unanswerable) == pytest.approx(expected, abs=1e-12)


@given(st.characters())
def test_word_characters_of_the_reference(char):
    """The scan above and `re` agree on what a word character is, so that the reference tests articles rightly."""
    assert bool(re.match(r"\w", char)) == (char.isalnum() or char == "_")


# -- the threshold of "no answer" -----------------------------------------------------------------------------------

# (null odds, score, answerable); eighths, so that sums are exact, and few odds, so that some are equal.
QUESTION = st.tuples(
    st.one_of(st.integers(-3, 3).map(float), st.floats(-10, 10)),
    st.integers(0, 8).map(lambda eighths: eighths / 8),
    st.booleans(),
)
QUESTIONS = st.lists(QUESTION, min_size=1, max_size=12)


def mean_at(questions, threshold):
    """The mean score of answering where the odds are at most ``threshold``."""
    answered = [score if odds <= threshold else float(not answerable) for odds, score, answerable in questions]
    return sum(answered) / len(answered)


@given(QUESTIONS)
def test_the_best_threshold_is_the_best_of_all(questions):
    thresholds = sorted({-math.inf, math.inf, *(odds for odds, _, _ in questions)})
    best = max(mean_at(questions, threshold) for threshold in thresholds)
    found = best_threshold(*zip(*questions, strict=True))
    assert found.score == mean_at(questions, found.value) == best
    assert found.value == min(threshold for threshold in thresholds if mean_at(questions, threshold) == best)


@given(QUESTIONS)
def test_the_best_threshold_is_the_official_one_where_odds_differ(questions):
    """The script's walk from the least odds up; an answer to an unanswerable question scores 0 there."""
    unique = {odds: (score if answerable else 0.0, answerable) for odds, score, answerable in questions}
    current = best = sum(not answerable for _, answerable in unique.values())
    threshold = 0.0
    for odds in sorted(unique):
        score, answerable = unique[odds]
        current += score if answerable else -1
        if current > best:
            best, threshold = current, odds
    found = best_threshold(list(unique), *zip(*unique.values(), strict=True))
    assert found.score == best / len(unique)
    assert found.value == (threshold if best > sum(not a for _, a in unique.values()) else -math.inf)


def test_no_threshold_parts_equal_odds():
    """The script, given the answerable question first, reports 1.0 at 0.5, at which both are answered."""
    assert best_threshold([0.5, 0.5], [1.0, 0.0], [True, False]) == (-math.inf, 0.5)


def test_where_no_answer_is_best_the_threshold_lets_none_through():
    """The script says 0.0, which would let through what the model is sure of."""
    assert best_threshold([-5.0, -4.0], [0.0, 0.0], [False, False]) == (-math.inf, 1.0)


def test_exact_match_and_f1_have_thresholds_of_their_own():
    odds, answerable = [-2.0, -1.0, 0.0, 1.0], [True, False, True, True]
    assert best_threshold(odds, [1.0, 0.0, 0.0, 0.0], answerable) == (-2.0, 0.5)
    assert best_threshold(odds, [1.0, 0.0, 0.75, 0.75], answerable) == (1.0, 0.625)


def test_a_threshold_needs_questions_of_equal_number():
    with pytest.raises(ValueError, match="at least one question"):
        best_threshold([], [], [])
    with pytest.raises(ValueError):
        best_threshold([1.0], [1.0], [True, False])
