import numpy as np
import polars as pl
import pytest

from synthetic import make_results, with_recipes
from xstilts.analysis.analyse import analyse
from xstilts.analysis.matched import Matched
from xstilts.analysis.meta_regression import fit
from xstilts.analysis.published import BESIDE_SCHEMA, POOLED_SCHEMA, Result, beside, load_published, pooled
from xstilts.common.errors import UserError
from xstilts.tasks import builtin_catalog

LARGE = "bundled/e5-small@12"
COLUMNS = "citation,source,encoder,recipe,target,language,metric,split,quantity,value,error,n\n"


@pytest.fixture(scope="module")
def study() -> Matched:
    results = make_results(
        lambda encoder, recipe, target: 8.0 * (recipe == "nli"),
        encoders={LARGE: 21_301_248},
        recipes=("none", "nli"),
        targets={"xnli": "classification", "mlqa": "span"},
        languages=("en", "de"),
        examples=60,
    )
    entries = ["none", {"name": "nli", "tasks": ["mnli"]}]
    results = with_recipes(results, entries)
    return Matched(results, analyse(results, resamples=100), builtin_catalog(), None)


def result(**fields: object) -> Result:
    given = {"citation": "a", "source": "b", "encoder": "xlm-r", "recipe": "mnli", "target": "xnli", "language": "mean",
             "metric": "accuracy", "split": "test", "quantity": "score", "value": 80.0}  # fmt: skip
    return Result(**{**given, **fields})


def test_what_comes_with_xstilts_is_what_was_established():
    found = load_published()
    assert len(found) == 73 and all(one.value > 0 for one in found)
    assert {one.value for one in found if one.quantity == "gain"} == {5.4, 6.1, 8.4}
    tatoeba = [one.value for one in found if one.target == "tatoeba" and one.language != "mean"]
    assert len(tatoeba) == 36 and np.mean(tatoeba) == pytest.approx(31.0, abs=0.05), "the stated mean"


def test_own_numbers_stand_beside_published_ones(study):
    published = [
        result(recipe="none", value=79.0),
        result(),
        result(target="mlqa", metric="f1"),
        result(target="mlqa", metric="f1", recipe="none"),
        result(target="mlqa", metric="exact_match"),
        result(target="panx", metric="f1"),
        result(recipe="qqp"),
        result(language="de", recipe="none"),
    ]
    frame = beside(published, study)
    assert frame.schema == BESIDE_SCHEMA
    kinds = frame.select("quantity", "recipe", "target", "language").rows()
    assert kinds[:2] == [("gain", "mnli", "xnli", "mean"), ("gain", "mnli", "mlqa", "mean")]
    means = {("score", recipe, target, "mean") for recipe in ("none", "mnli") for target in ("xnli", "mlqa")}
    assert set(kinds[2:]) == means | {("score", "none", "xnli", "de")}
    gain = frame.row(0, named=True)
    assert gain["published"] == pytest.approx(1.0) and gain["error_is"] == "binomial"
    expected = 100 * np.sqrt((0.79 * 0.21 + 0.80 * 0.20) / 5010)  # XNLI has 5,010 test examples a language
    assert gain["published_error"] == pytest.approx(expected)
    rows = study.analysis.gains.filter(pl.col("target") == "xnli", pl.col("language") == "all languages")
    own = rows.row(0, named=True)
    assert (gain["own"], gain["low"], gain["own_recipe"]) == (own["gain"], own["low"], "nli")
    assert frame.row(1, named=True)["published_error"] is None, "an F1 has no binomial error"


def test_gains_are_pooled_where_two_have_a_standard_error(study):
    published = [result(quantity="gain", value=2.0, error=1.0), result(quantity="gain", value=3.0, citation="c"),
                 result(quantity="gain", value=4.0, error=2.0, citation="d"),
                 result(target="mlqa", metric="f1", quantity="gain", value=1.0)]  # fmt: skip
    rows = beside(published, study)
    found = pooled(rows)
    assert found.schema == POOLED_SCHEMA and found.height == 1, "on mlqa the own gain alone has a standard error"
    row = found.row(0, named=True)
    own = rows.row(0, named=True)
    errors = np.array([1.0, 2.0, own["own_error"]])
    expected = fit([2.0, 4.0, own["own"]], np.ones((3, 1)), np.diag(errors**2))
    assert (row["k"], row["left_out"]) == (3, 1)
    assert (row["gain"], row["tau2"]) == pytest.approx((expected.coefficients[0], expected.variances[0]))
    assert row["high"] >= expected.high[0] and row["low"] <= expected.low[0]


@pytest.mark.parametrize(("k", "tau"), [(2, 1.0), (3, 0.0), (5, 1.0)])
def test_with_few_studies_the_interval_holds_the_truth(k, tau):
    rng = np.random.default_rng([k, int(tau)])
    inside = []
    for _ in range(300):
        errors = rng.uniform(0.3, 2.0, k)
        rows = [{"recipe": "r", "target": "t", "language": "mean", "quantity": "gain", "encoder": "e", "own": None,
                 "own_error": None, "published": value, "published_error": error}
                for value, error in zip(rng.normal(3.0, np.sqrt(errors**2 + tau**2)), errors, strict=True)]  # fmt: skip
        frame = pl.DataFrame(rows, schema={name: BESIDE_SCHEMA[name] for name in rows[0]})
        low, high = pooled(frame).select("low", "high").row(0)
        inside.append(low <= 3.0 <= high)
    assert np.mean(inside) >= 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("citation,valu\n", r":1: unknown column 'valu': did you mean 'value'"),
        ("citation,value\n", r":1: no column source"),
        (COLUMNS + "a,b,c,none,xnli,mean,accuracy,test,score,high,,\n", r":2: value: .*\(given: 'high'\)"),
        (COLUMNS + "a,b,c,none,xnli,mean,accuracy,test,scores,1,,\n", r":2: quantity: "),
        (COLUMNS + "a,b,c,none,xnli,mean,accuracy,test,score,1,0,\n", r":2: error: "),
        (COLUMNS + "a,b,c,none,xnli\n", r":2: "),
        (COLUMNS + "a,b,c,none,xnli,mean,accuracy,test,score,1,,,,,more\n", r":2: "),
    ],
)
def test_a_wrong_file_is_told_with_line_and_column(tmp_path, text, message):
    file = tmp_path / "published.csv"
    file.write_text(text, "utf-8")
    with pytest.raises(UserError, match=message) as error:
        load_published(file)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"no such file of published results"):
        load_published(tmp_path / "x.csv")
