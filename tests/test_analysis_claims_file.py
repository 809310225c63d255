import copy
import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from xstilts.analysis.claims_file import BUILTIN, load_claims, make_claims
from xstilts.common.errors import UserError
from xstilts.tasks import builtin_catalog

CATALOG = builtin_catalog()
GOOD = {
    "id": "A1",
    "statement": "MNLI helps",
    "source": "someone",
    "kind": "effect",
    "predicate": {"kind": "gain", "recipes": ["mnli"], "targets": ["xnli"], "at_least": 0},
}


def broken(path: str, value: object) -> dict:
    entry = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    inner = entry
    for name in parents:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return entry


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("source", ..., "mine.yaml:1: A1: source: missing; add it"),
        ("statment", "x", "A1: statment: unknown key: did you mean 'statement'?"),
        ("kind", "opinion", "A1: kind: Input should be 'setup', 'effect', 'comparison' or 'data' (given: 'opinion')"),
        ("id", "", "mine.yaml:1: claim 1: id: "),
        ("predicate", "gain", "A1: predicate: "),
        ("predicate.kind", ..., "A1: predicate.kind: missing; add one of gain, share, "),
        ("predicate.kind", "gains", "A1: predicate.kind: unknown kind 'gains': did you mean 'gain'?"),
        ("predicate.at_leats", 1, "A1: predicate.at_leats: unknown key: did you mean 'at_least'?"),
        ("predicate.at_least", ..., "A1: predicate: give `about`, or one of `at_least` and `at_most` or both"),
        ("predicate.about", 3, "A1: predicate: give `about`, or one of"),
        ("predicate.at_most", -1, "A1: predicate: `at_least` 0 must be below `at_most` -1"),
        ("predicate.margin", 2, "A1: predicate: `margin` belongs to `about`; remove it"),
        ("predicate.at_least", float("nan"), "A1: predicate.at_least: Input should be a finite number"),
        ("predicate.at_least", "much", "A1: predicate.at_least: Input should be a valid number"),
        ("predicate.targets", [], "A1: predicate.targets: "),
        ("predicate.targets", ["xnly"], "A1: predicate: unknown task 'xnly': did you mean 'xnli'?"),
        ("predicate.recipes", [["mnli", "squat"]], "A1: predicate: unknown task 'squat': did you mean 'squad'?"),
    ],
)
def test_a_wrong_claim_is_told_with_file_claim_field_and_remedy(tmp_path, path, value, message):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump([broken(path, value)]), "utf-8")
    with pytest.raises(UserError, match=re.escape(message)) as error:
        load_claims(file, CATALOG)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is a list of claims"),
        ("claims: 3", "is a list of claims"),
        ("- [", "not valid YAML"),
        ("- 3", "claim 1: claim: must be a mapping"),
    ],
)
def test_what_is_no_claims_file(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(UserError, match=message):
        load_claims(file, CATALOG)
    with pytest.raises(UserError, match=r"no such claims file"):
        load_claims(tmp_path / "missing.yaml", CATALOG)
    with pytest.raises(UserError, match=r"cannot be read"):
        load_claims(tmp_path, CATALOG)


def test_an_id_stands_once():
    with pytest.raises(UserError, match=r"claims: A1: id: another claim has it already"):
        make_claims([GOOD, GOOD], CATALOG)


def test_what_was_read_can_be_written_and_read_again():
    claims = load_claims(BUILTIN, CATALOG)
    again = make_claims([one.model_dump(mode="json", exclude_unset=True) for one in claims], CATALOG)
    assert again == claims


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*GOOD, "targets", "about", "role", "tasks"]) | st.text(max_size=4), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from([*GOOD, *(f"predicate.{name}" for name in GOOD["predicate"])]), anything)
def test_whatever_stands_in_a_field_is_read_or_told_in_one_line(path, value):
    try:
        [claim] = make_claims([broken(path, value)], CATALOG)
    except UserError as error:
        assert all(line.startswith("claims: ") for line in str(error).split("\n"))
    else:
        assert claim.statement and claim.predicate.kind == "gain"


@given(anything)
@example([{"\n": None}])
@example([{"id": "\n"}])
def test_whatever_a_file_holds_is_read_or_told_in_one_line(content):
    with pytest.raises(UserError) as error:
        make_claims(content, CATALOG)
    assert all(line.startswith("claims: ") for line in str(error.value).split("\n"))
