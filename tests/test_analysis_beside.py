import numpy as np
import polars as pl
import pytest

from synthetic import make_results, with_recipes
from xstilts.analysis.analyse import analyse
from xstilts.analysis.beside import BESIDE_SCHEMA, beside, own_effects
from xstilts.analysis.evidence import RHO, assess
from xstilts.analysis.matched import Matched
from xstilts.analysis.published import Literature, Result
from xstilts.analysis.scales import ERROR, POINTS
from xstilts.tasks import builtin_catalog

CATALOG = builtin_catalog()
SMALL, LARGE = "bundled/e5-small@6", "bundled/e5-small@12"


@pytest.fixture(scope="module")
def study() -> Matched:
    results = make_results(
        lambda encoder, recipe, target: 8.0 * (recipe == "nli"),
        encoders={SMALL: 10_650_624, LARGE: 21_301_248},
        recipes=("none", "nli"),
        targets={"xnli": "classification", "mlqa": "span"},
        languages=("en", "de"),
        seeds=(1, 2, 3),
        examples=200,
        seed_noise=2.0,
    )
    results = with_recipes(results, ["none", {"name": "nli", "tasks": ["mnli"]}])
    return Matched(results, analyse(results, resamples=100), CATALOG, None)


def result(**fields: object) -> Result:
    given = {"publication": "a", "source": "b", "encoder": "xlm-r", "recipe": "mnli", "target": "xnli",
             "language": "mean", "metric": "accuracy", "split": "test", "quantity": "score", "value": 80.0}  # fmt: skip
    return Result.model_validate({**given, **fields})


def literature(*rows: Result) -> Literature:
    return Literature(rows, {}, {})


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
        result(language="non-English", recipe="none"),
        result(recipe="none", setting="few-shot"),
        result(recipe="none", publication="c", use="left out", reason="odd"),
        result(recipe="none", publication="d"),
    ]
    frame = beside(literature(*published), study)
    assert frame.schema == BESIDE_SCHEMA
    kinds = frame.select("quantity", "recipe", "target", "language").rows()
    assert kinds[:2] == [("gain", "mnli", "xnli", "mean"), ("gain", "mnli", "mlqa", "mean")]
    means = {("score", recipe, target, "mean") for recipe in ("none", "mnli") for target in ("xnli", "mlqa")}
    assert set(kinds[2:]) == means | {("score", "none", "xnli", "de"), ("score", "none", "xnli", "non-English")}
    gain = frame.row(0, named=True)
    rows = study.analysis.gains.filter(pl.col("target") == "xnli", pl.col("language") == "all languages",
                                       pl.col("encoder") == LARGE)  # fmt: skip
    own = rows.row(0, named=True)
    assert gain["published"] == pytest.approx(1.0)
    assert (gain["own"], gain["low"], gain["own_recipe"]) == (own["gain"], own["low"], "nli")


def test_own_gains_have_the_covariance_that_their_runs_give_them(study):
    own = own_effects(literature(result(recipe="none"), result()), study)
    assert own is not None and own.frame["encoder"].to_list() == [SMALL, LARGE] and own.frame["own"].all()
    effects, covariance = own.points
    rows = study.analysis.gains.filter(pl.col("target") == "xnli", pl.col("language") == "all languages")
    assert effects.tolist() == pytest.approx(rows["gain"].to_list(), abs=1e-4)
    expected = rows["error"].to_numpy()
    assert (0.5 * expected < np.sqrt(np.diag(covariance))).all() and (
        np.sqrt(np.diag(covariance)) < 1.5 * expected
    ).all()
    assert abs(covariance[0, 1]) < 0.7 * covariance[0, 0], "encoders share examples, not seeds"
    shares, _ = own.on(ERROR) or pytest.fail("a share of the remaining error is defined")
    assert shares.tolist() == pytest.approx((100 * effects / (100 - own.frame["without"].to_numpy())).tolist())


def test_own_gains_are_pooled_with_published_ones_of_the_same_question(study):
    published = literature(result(recipe="none"), result(value=84.0, family="f", parameters=10**9),
                           result(recipe="none", source="x"), result(source="x", setting="few-shot"))  # fmt: skip
    own = own_effects(published, study)
    found = assess(published, CATALOG, own=own)
    [row] = found.pooled.filter(pl.col("rho") == RHO).to_dicts()
    assert (row["k"], row["own"], row["studies"]) == (3, 2, 2)
    assert 4.0 < row["gain"] < 9.0, "between the published 4 and the 8 here"
    assert found.pairs.filter("own").height == 2
    assert not found.slopes.height, "the sizes here are the study's own affair"


def test_own_and_published_encoders_of_one_family_are_one_series():
    base = "FacebookAI/xlm-roberta-base"
    results = make_results(lambda encoder, recipe, target: 8.0 * (recipe == "nli"), encoders={base: 85_000_000},
                           recipes=("none", "nli"), targets={"xnli": "classification"}, examples=100)  # fmt: skip
    results = with_recipes(results, ["none", {"name": "nli", "tasks": ["mnli"]}])
    own = Matched(results, analyse(results, resamples=50), CATALOG, None)
    large = {"encoder": "FacebookAI/xlm-roberta-large", "family": "XLM-R", "parameters": 560_000_000}
    published = literature(result(recipe="none", **large), result(value=84.0, **large))
    found = assess(published, CATALOG, own=own_effects(published, own))
    slope = found.slopes.filter(pl.col("scale") == POINTS.name).row(0, named=True)
    assert (slope["family"], slope["k"], slope["n_sizes"]) == ("XLM-R", 2, 2)
    assert slope["slope"] < 0 and slope["low"] is None, "8 here, 4 there: a line through two gains"


def test_a_study_without_a_published_recipe_has_no_effects(study):
    assert own_effects(literature(result(recipe="none"), result(recipe="qqp")), study) is None
