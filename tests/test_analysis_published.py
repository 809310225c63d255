import numpy as np
import pytest

from xstilts.analysis.published import (
    Publication,
    Result,
    _builtin,
    _encoders_of_two_sizes,
    _said_twice,
    check_counted_once,
    load_published,
)
from xstilts.common.errors import UserError

COLUMNS = "publication,source,encoder,recipe,target,language,metric,split,quantity,value,error,n,result,use,reason\n"
ROW = "mine,table 1,big,none,xnli,mean,accuracy,test,score,61.5"


def result(**fields: object) -> Result:
    given = {"publication": "a", "source": "b", "encoder": "xlm-r", "recipe": "mnli", "target": "xnli",
             "language": "mean", "metric": "accuracy", "split": "test", "quantity": "score", "value": 80.0}  # fmt: skip
    return Result.model_validate({**given, **fields})


def test_what_comes_with_xstilts_is_what_was_established():
    literature = load_published()
    rows = literature.results
    assert len(rows) == 1180 and {row.publication for row in rows} == set(literature.publications)
    assert {row.value for row in rows if row.quantity == "gain"} == {5.4, 6.1, 8.4}
    tatoeba = [row.value for row in rows
               if (row.publication, row.target) == ("jiant-dev", "tatoeba") and not row.is_mean]  # fmt: skip
    assert len(tatoeba) == 36 and np.mean(tatoeba) == pytest.approx(31.0, abs=0.05), "the stated mean"
    with_intermediate = {row.recipe for row in rows if row.recipe != "none"}
    assert with_intermediate - set(literature.mixtures) == {
        "squad", "siqa", "mnli", "msmarco", "msmarco+snli+mnli", "weak-pairs+nli", "not stated"}  # fmt: skip


def test_what_comes_with_xstilts_keeps_its_own_rules():
    """As every file of a user's must: they are not looked at again with each start."""
    rows = list(_builtin().items())
    assert not [*check_counted_once(rows), *_encoders_of_two_sizes(rows), *_said_twice(rows)]


def test_both_versions_of_x_stilts_are_there_and_one_counts():
    rows = [row for row in load_published().results if row.result == "x-stilts xquad f1"]
    assert {(row.source, row.value, row.use) for row in rows} == {
        ("Table 16 of chung-2021", 78.7, "pool"), ("README of xue-2021", 77.2, "show")}  # fmt: skip


def test_the_mean_of_x_stilts_in_rembert_is_that_of_its_figures():
    """Why that copy is the one that counts: 72.7 is stated beside it, of F1 and exact match averaged."""
    table = ("phang-2020", "Table 16 of chung-2021", "best")
    found = [row for row in load_published().results if (row.publication, row.source, row.recipe) == table]
    rows = {(row.target, row.metric): row.value for row in found}
    by_target = {target: [value for (name, _), value in rows.items() if name == target] for target, _ in rows}
    assert np.mean([np.mean(values) for values in by_target.values()]) == pytest.approx(72.7, abs=0.05)


def test_a_result_counts_once():
    one, copy = result(), result(publication="c")
    [(where, text)] = check_counted_once([("f:2", one), ("f:3", copy)])
    assert where == "f:3" and text.startswith("use: the same number as in f:2, which counts: write `show` and a reason")
    named = result(result="r"), result(publication="c", result="r", value=81.0)
    [(where, text)] = check_counted_once([("f:2", named[0]), ("f:3", named[1])])
    assert where == "f:3" and text == "use: f:2 counts the result 'r' already; write `show` and a reason"
    for said in (
        result(publication="c", use="show", reason="a copy"),
        result(publication="c", result="another"),
        result(publication="c", value=80.1),
        result(publication="c", language="de"),
        result(protocol="another prompt"),
    ):
        assert not [*check_counted_once([("f:2", one), ("f:3", said)])], said


def test_a_copy_of_what_comes_with_xstilts_is_told_in_a_users_file(tmp_path):
    file = tmp_path / "mine.csv"
    row = "mine,table 1,FacebookAI/xlm-roberta-large,best,tydiqa,mean,f1,test,score,76.0,,,x-stilts tydiqa f1,,\n"
    file.write_text(COLUMNS + row, "utf-8")
    with pytest.raises(UserError, match=r"mine\.csv:2: use: .*evidence\.csv:\d+ counts the result 'x-stilts tydiqa"):
        load_published(file)


def test_a_users_file_says_what_it_cites_in_the_yaml_beside_it(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text(f"{COLUMNS}{ROW},,,one,,\n{ROW.replace('mine', 'theirs')},,,two,,\n", "utf-8")
    (tmp_path / "mine.yaml").write_text("publications: {mine: {authors: [Ann Lee], title: Gains, year: 2031}}", "utf-8")
    literature = load_published(file)
    assert len(literature.results) == 1182
    assert literature.publication("mine").short == "Lee 2031" and literature.publication("theirs").short == "theirs"
    (tmp_path / "mine.yaml").write_text("publications:\n  mine: {authors: [Ann Lee], titel: Gains}", "utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml:2: publications\.mine\.titel: unknown key: did you mean 'title'"):
        load_published(file)


def test_a_publication_is_cited():
    one = Publication(
        authors=("Ann Lee", "Bo Chu", "others"), title="Gains", year=2031, venue="ACL", arxiv="3101.00001"
    )
    assert one.short == "Lee et al. 2031"
    assert one.citation == "Ann Lee, Bo Chu, others 2031. Gains, ACL, arXiv 3101.00001"
    assert one.bibtex("lee-2031").splitlines() == [
        "@inproceedings{lee-2031,", "  title = {{Gains}},", "  author = {Ann Lee and Bo Chu and others},",
        "  year = {2031},", "  booktitle = {ACL},", "  eprint = {3101.00001},", "  archiveprefix = {arXiv},",
        "  url = {https://arxiv.org/abs/3101.00001},", "}"]  # fmt: skip
    assert Publication(authors=("{The team}",), title="x").short == "The team"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("publication,valu\n", r":1: unknown column 'valu': did you mean 'value'"),
        ("publication,value\n", r":1: no column source"),
        (COLUMNS + f"{ROW[:-4]}high,,,,,\n", r":2: value: .*\(given: 'high'\)"),
        (COLUMNS + f"{ROW.replace('score', 'scores')},,,,,\n", r":2: quantity: "),
        (COLUMNS + f"{ROW},0,,,,\n", r":2: error: "),
        (COLUMNS + f"{ROW},,,,show,\n", r":2: row: `use` is 'show': say why in `reason`"),
        (COLUMNS + ROW.rsplit(",", 1)[0] + "\n", r":2: value: missing; add it"),
        (COLUMNS + f"{ROW},,,,,,more\n", r":2: more values than columns: 15; put text with commas in quotes"),
        (COLUMNS + f"{ROW},,,,,\n{ROW[:-4]}62,,,,,\n", r":3: protocol: .*:2 has another value of the same"),
        (COLUMNS + f'"{ROW}', r":2: not valid CSV: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_line_and_column(tmp_path, text, message):
    file = tmp_path / "published.csv"
    file.write_text(text, "utf-8")
    with pytest.raises(UserError, match=message) as error:
        load_published(file)
    assert "\n" not in str(error.value)


def test_every_mistake_is_told(tmp_path):
    file = tmp_path / "published.csv"
    file.write_text(COLUMNS + f"{ROW[:-4]}x,,,,,\n{ROW},-1,,,,\n", "utf-8")
    with pytest.raises(UserError, match=r":2: value: .*\n.*:3: error: "):
        load_published(file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"no such file of published results"):
        load_published(tmp_path / "x.csv")
