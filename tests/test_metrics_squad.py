import json
import re
import string
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.metrics import value
from xstilts.metrics.squad import exact_match, f1, normalize_answer, outcomes

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
VERSIONS = st.sampled_from(["1.1", "2.0"])


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_equals_the_official_script(version):
    rows = [row for row in GOLDEN if row[f"v{version}"] is not None]
    assert len(rows) > 400
    for row in rows:
        prediction, golds = row["prediction"], row["golds"]
        got = [exact_match(prediction, golds, version), f1(prediction, golds, version)]
        assert got == row[f"v{version}"], row


def test_a_set_of_questions_scores_the_official_mean():
    rows = [row for row in GOLDEN if row["v1.1"] is not None]
    scored = [outcomes(row["prediction"], row["golds"]) for row in rows]
    # What evaluate() of evaluate-v1.1.py gives for these rows as one data set.
    assert value(row["exact_match"] for row in scored) == pytest.approx(45.951859956236326)
    assert value(row["f1"] for row in scored) == pytest.approx(55.57089196010076)


def test_unanswerable_questions():
    assert (exact_match("", []), f1("", [])) == (1.0, 1.0)
    assert (exact_match("somewhere", []), f1("somewhere", [])) == (0.0, 0.0)
    assert (exact_match("", ["here"], "2.0"), f1("", ["here"], "2.0")) == (0.0, 0.0)


def test_versions_differ_on_golds_of_punctuation_alone():
    """SQuAD v1.1 dev 5730b7ce069b5314008322c4 has a gold ".", which the v2.0 script passes over."""
    golds = ["interventionism", "."]
    assert exact_match("", golds, "1.1") == 1.0
    assert exact_match("", golds, "2.0") == 0.0


@given(ANSWERS, GOLDS, VERSIONS)
def test_bounds(prediction, golds, version):
    em, overlap = exact_match(prediction, golds, version), f1(prediction, golds, version)
    assert em in (0.0, 1.0)
    assert 0.0 <= overlap <= 1.0
    if em and normalize_answer(prediction):
        assert overlap == 1.0


@given(ANSWERS, VERSIONS)
def test_an_answer_matches_itself(answer, version):
    assert exact_match(answer, [answer], version) == 1.0
    if normalize_answer(answer) or version == "2.0":
        assert f1(answer, [answer], version) == 1.0


@given(ANSWERS, ANSWERS)
def test_symmetric_for_one_gold(one, other):
    assert exact_match(one, [other]) == exact_match(other, [one])
    assert f1(one, [other]) == f1(other, [one])


@given(ANSWERS, st.lists(ANSWERS, min_size=1, max_size=4), ANSWERS)
def test_another_gold_never_lowers_the_score(prediction, golds, another):
    assert f1(prediction, [*golds, another]) >= f1(prediction, golds)
    assert exact_match(prediction, [*golds, another]) >= exact_match(prediction, golds)
    assert f1(prediction, golds[::-1]) == f1(prediction, golds)


@given(st.lists(st.sampled_from(["cat", "dog", "中文", "день", "année", "2020"]), min_size=1), GOLDS, VERSIONS)
def test_case_articles_punctuation_and_white_space_do_not_count(words, golds, version):
    plain = " ".join(words)
    for variant in (
        plain.upper(),
        "The " + " a ".join(words) + " an",
        "(" + " ".join(word[0] + "'" + word[1:] for word in words) + "!)",
        "\t\u3000" + " \n ".join(words) + "\u00a0",
    ):
        assert normalize_answer(variant) == normalize_answer(plain)
        assert exact_match(variant, golds, version) == exact_match(plain, golds, version)
        assert f1(variant, golds, version) == f1(plain, golds, version)


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


def reference_f1(prediction, gold):
    """2·|common| / (|prediction| + |gold|), the harmonic mean written as one fraction."""
    left, common = list(gold), 0
    for word in prediction:
        if word in left:
            left.remove(word)
            common += 1
    return Fraction(2 * common, len(prediction) + len(gold)) if common else Fraction(0)


@given(ANSWERS, GOLDS, VERSIONS)
def test_equals_a_slow_reference(prediction, golds, version):
    predicted = reference_words(prediction)
    references = [reference_words(gold) for gold in golds]
    if version == "2.0":
        references = [gold for gold in references if gold]
    unanswerable = not golds or (version == "2.0" and not references)
    if unanswerable:
        assert exact_match(prediction, golds, version) == f1(prediction, golds, version) == float(not predicted)
    else:
        assert exact_match(prediction, golds, version) == float(predicted in references)
        best = max(reference_f1(predicted, gold) for gold in references)
        assert f1(prediction, golds, version) == pytest.approx(float(best), abs=1e-12)


@given(st.characters())
def test_word_characters_of_the_reference(char):
    """The scan above and `re` agree on what a word character is, so that the reference tests articles rightly."""
    assert bool(re.match(r"\w", char)) == (char.isalnum() or char == "_")
