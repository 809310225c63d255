import re
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import reference_f1
from xstilts.tasks.metrics import squad
from xstilts.tasks.metrics.mlqa import exact_match, f1, normalize_answer

LANGUAGES = ["ar", "de", "en", "es", "hi", "vi", "zh"]
LANGUAGE = st.sampled_from(LANGUAGES)

# Few words, so that they repeat and overlap; of every language, with what its rules treat apart.
PIECES = st.sampled_from(
    ["the", "A", "Das", "dem", "Dame", "El", "las", "uno", "của", "Cái", "cáió", "ال", "الكتاب", "طالب", "भारत", "।",
     "红楼梦", "第", "120回", "㐀", "龦", "«Ä»", "、", "$5", "№", "U.S.", "_", "—", " ", "\u3000", "\n"]
)  # fmt: skip
ANSWERS = st.one_of(st.lists(PIECES, max_size=6).map("".join), st.lists(PIECES, max_size=6).map(" ".join), st.text())
GOLDS = st.lists(ANSWERS, min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("language", "text", "normalized"),
    [
        ("en", "The “Fab Four” of a U.S.–Canada tour", "fab four of uscanada tour"),
        ("en", "die Stadt, el niño", "die stadt el niño"),
        ("de", "Der Papst, in einem der Häuser", "papst in häuser"),
        ("de", "the a dessen deiner", "the a dessen deiner"),
        ("es", "¿El niño y las niñas de Los Ángeles?", "niño y niñas de ángeles"),
        ("es", "the lasaña", "the lasaña"),
        ("vi", "Cái nhà của những người Việt", "nhà người việt"),
        ("hi", "भारत के प्रधानमंत्री।", "भारत के प्रधानमंत्री"),
        ("hi", "the a", "the a"),
        ("zh", "《红楼梦》第120回、1791年", "红 楼 梦 第 120 回 1791 年"),
        ("zh", "the DNA 双螺旋", "the dna 双 螺 旋"),
        ("ar", "الكتاب، الأول؟", "كتاب أول"),
    ],
)
def test_golden(language, text, normalized):
    assert normalize_answer(text, language) == normalized


def test_the_arabic_article_goes_inside_words_too():
    r"""The script's "\sال^|ال" is no rule about word beginnings: طالب, a student, falls apart."""
    assert normalize_answer("طالب", "ar") == "ط ب"
    assert normalize_answer("والكتاب", "ar") == "و كتاب"
    assert normalize_answer("اللغة", "ar") == "لغة"
    assert exact_match("ط ب", ["طالب"], "ar") == 1.0


@given(ANSWERS)
def test_the_scripts_arabic_pattern_drops_the_same(text):
    lowered = "".join(char for char in text.lower() if not is_punctuation(char))
    assert normalize_answer(text, "ar") == " ".join(re.sub("\\sال^|ال", " ", lowered).split())


def test_chinese_overlaps_by_character():
    assert f1("红楼", ["红楼梦"], "zh") == pytest.approx(2 * 2 / 5)
    assert f1("1791年", ["1792年"], "zh") == pytest.approx(1 / 2)  # a number is one word
    assert f1("红楼", ["红楼梦"], "vi") == 0.0
    assert exact_match("北 京。", ["北京"], "zh") == 1.0
    assert exact_match("北 京。", ["北京"], "en") == 0.0


def test_characters_that_the_script_does_not_call_hanzi_stay_together():
    assert normalize_answer("㐀㐁龦龧ひら", "zh") == "㐀㐁龦龧ひら"
    assert normalize_answer("一龥", "zh") == "一 龥"  # the first and the last that it does


def test_punctuation_goes_before_articles():
    """So that "l.a" and "d-as" become articles, and go."""
    assert normalize_answer("l.a d-as", "es") == "das"
    assert normalize_answer("l.a d-as", "de") == "la"


def test_foreign_punctuation_and_articles_tell_it_from_squad():
    """XTREME scores XQuAD and TyDiQA by the English rules: those numbers and MLQA's are not comparable."""
    assert exact_match("«Die Stadt»", ["Stadt"], "de") == 1.0
    assert squad.exact_match("«Die Stadt»", ["Stadt"]) == 0.0
    assert squad.exact_match("the Stadt", ["Stadt"]) == 1.0
    assert exact_match("the Stadt", ["Stadt"], "de") == 0.0


def test_the_best_gold_counts():
    assert f1("rotes Haus", ["ein Haus", "das rote Haus", "ein rotes Haus"], "de") == 1.0
    assert exact_match("rotes Haus", ["ein Haus", "ein rotes Haus"], "de") == 1.0


def test_what_normalises_to_nothing_matches_but_does_not_overlap():
    """As in v1.1 of SQuAD's script."""
    assert exact_match("", ["der"], "de") == 1.0
    assert f1("", ["der"], "de") == 0.0


@pytest.mark.parametrize("language", ["fr", "DE", "", "zh-Hans"])
def test_a_language_without_rules_is_refused(language):
    for metric in (exact_match, f1):
        with pytest.raises(ValueError, match="MLQA has no rules for language"):
            metric("a", ["a"], language)


def test_a_question_without_golds_is_refused():
    for metric in (exact_match, f1):
        with pytest.raises(ValueError):
            metric("a", [], "en")


def is_punctuation(char):
    return unicodedata.category(char)[0] == "P" or char in string.punctuation


ARTICLES = {
    "de": {"der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "einem", "eines", "einer"},
    "en": {"a", "an", "the"},
    "es": {"el", "la", "los", "las", "un", "una", "unos", "unas"},
    "vi": {"của", "là", "cái", "chiếc", "những"},
}


def reference_words(text, language):
    """Normalised words by scans over characters, without regular expressions."""
    chars = [char for char in text.lower() if not is_punctuation(char)]
    if language == "ar":
        kept, i = "", 0
        while i < len(chars):
            article = chars[i : i + 2] == ["ا", "ل"]
            kept += " " if article else chars[i]
            i += 2 if article else 1
        return kept.split()
    if language == "zh":
        return "".join(f" {char} " if 0x4E00 <= ord(char) <= 0x9FA5 else char for char in chars).split()
    kept, run = "", ""
    for char in [*chars, " "]:
        if char.isalnum():  # what `re` calls a word character, but for the underscore, which is gone
            run += char
            continue
        kept += (" " if run in ARTICLES.get(language, ()) else run) + char
        run = ""
    return kept.split()


@given(ANSWERS, GOLDS, LANGUAGE)
def test_equals_a_slow_reference(prediction, golds, language):
    predicted = reference_words(prediction, language)
    references = [reference_words(gold, language) for gold in golds]
    assert normalize_answer(prediction, language).split() == predicted
    assert exact_match(prediction, golds, language) == float(predicted in references)
    expected = max(reference_f1(predicted, gold) for gold in references)
    assert f1(prediction, golds, language) == pytest.approx(float(expected), abs=1e-12)


@given(ANSWERS, GOLDS, LANGUAGE)
def test_bounds_and_identity(prediction, golds, language):
    em, overlap = exact_match(prediction, golds, language), f1(prediction, golds, language)
    assert em in (0.0, 1.0) and 0.0 <= overlap <= 1.0
    if em and normalize_answer(prediction, language):
        assert overlap == 1.0
    assert exact_match(prediction, [*golds, prediction], language) == 1.0


@given(ANSWERS, LANGUAGE)
def test_no_punctuation_is_left(answer, language):
    left = normalize_answer(answer, language)
    assert not any(map(is_punctuation, left))
    assert left == " ".join(left.split())
