import numpy as np
import polars as pl
import pytest

from xstilts.analysis.evidence import (
    BIAS_SCHEMA,
    CONFLICTS_SCHEMA,
    FLOW_SCHEMA,
    PAIRS_SCHEMA,
    POOLED_SCHEMA,
    RHO,
    RHOS,
    SLOPES_SCHEMA,
    Assessment,
    assess,
    effects_of,
    paired,
)
from xstilts.analysis.published import Literature, Result, load_published
from xstilts.analysis.scales import ERROR, LOGIT, POINTS
from xstilts.tasks import builtin_catalog

CATALOG = builtin_catalog()
NO_SIZES = "No published study was found that trains one encoder family at two or more sizes with and without English"


def result(**fields: object) -> Result:
    given = {"publication": "a", "source": "b", "encoder": "xlm-r", "recipe": "none", "target": "xnli",
             "language": "mean", "metric": "accuracy", "split": "test", "quantity": "score", "value": 80.0}  # fmt: skip
    return Result.model_validate({**given, **fields})


def both(gain: float, **fields: object) -> list[Result]:
    """A score without and with intermediate training."""
    fields = {"value": 60.0, "recipe": "mnli", "english": "yes", **fields}
    return [result(**{**fields, "recipe": "none", "english": None}),
            result(**{**fields, "value": fields["value"] + gain})]  # fmt: skip


def assessed(*rows: Result, **asked: object) -> Assessment:
    return assess(Literature(tuple(rows), {}, {}), CATALOG, **asked)


@pytest.fixture(scope="module")
def found() -> Assessment:
    return assess(load_published(), CATALOG)


@pytest.mark.parametrize(
    "differs", ["publication", "source", "encoder", "protocol", "target", "language", "metric", "split", "setting"]
)
def test_a_pair_differs_in_the_recipe_alone(differs):
    without, with_ = both(2.0)
    assert len(paired([without, with_])) == 1
    other = "few-shot" if differs == "setting" else "other"
    assert not paired([without.model_copy(update={differs: other}), with_])


def test_the_error_of_a_gain_is_that_of_both_scores_with_their_correlation():
    of = effects_of(paired(both(5.0, n=400)), CATALOG, rho=0.3)
    v0, v1 = 60 * 40 / 400, 65 * 35 / 400
    expected = v1 + v0 - 2 * 0.3 * np.sqrt(v0 * v1)
    assert of.points[1].item() == pytest.approx(expected)
    assert of.frame["error"].item() == pytest.approx(np.sqrt(expected)) and of.frame["error_is"].item() == "imputed"
    catalog = effects_of(paired(both(5.0)), CATALOG, rho=0.3)
    assert catalog.points[1].item() == pytest.approx(expected * 400 / 5010), "XNLI has 5,010 test examples a language"
    stated = effects_of(paired(both(5.0, error=1.5)), CATALOG, rho=0.0)
    assert stated.points[1].item() == pytest.approx(2 * 1.5**2) and stated.frame["error_is"].item() == "stated"
    gain = effects_of(paired([result(recipe="mnli", quantity="gain", value=3.0, error=0.7)]), CATALOG)
    assert gain.points == (pytest.approx([3.0]), pytest.approx(np.array([[0.49]])))
    assert gain.on(ERROR) is None and gain.on(LOGIT) is None, "no score is stated"


def test_f1_has_an_error_where_it_is_a_mean_over_questions():
    assert effects_of(paired(both(5.0, target="xquad", metric="f1")), CATALOG).frame["error"].item() > 0
    assert effects_of(paired(both(5.0, target="panx", metric="f1", n=1000)), CATALOG).frame["error"].item() is None


def test_gains_that_share_the_score_without_share_its_error():
    without, with_ = both(5.0, n=400)
    other = with_.model_copy(update={"recipe": "qqp", "value": 63.0})
    _, covariance = effects_of(paired([without, with_, other]), CATALOG, rho=0.0).points
    assert covariance[0, 1] == pytest.approx(60 * 40 / 400)
    elsewhere = [row.model_copy(update={"publication": "c"}) for row in both(5.0, n=400)]
    _, apart = effects_of(paired([without, with_, *elsewhere]), CATALOG).points
    assert apart[0, 1] == 0


def test_scales_and_their_errors_are_those_of_many_draws():
    """The delta method against 200,000 pairs of scores with the same errors and correlation."""
    of = effects_of(paired(both(15.0, value=40.0, n=2000)), CATALOG)
    rng = np.random.default_rng(0)
    deviations = np.sqrt([40 * 60 / 2000, 55 * 45 / 2000])
    b, p = (rng.multivariate_normal([40, 55], np.array([[1, RHO], [RHO, 1]]) * np.outer(deviations, deviations),
                                    200_000)).T  # fmt: skip
    drawn = {POINTS: p - b, ERROR: 100 * (p - b) / (100 - b), LOGIT: np.log(p / (100 - p)) - np.log(b / (100 - b))}
    for scale, values in drawn.items():
        effects, covariance = of.on(scale)
        assert effects.item() == pytest.approx(values.mean(), abs=0.05)
        assert np.sqrt(covariance.item()) == pytest.approx(values.std(), rel=0.02), scale.name


def test_flan_is_the_series_that_the_paper_has(found):
    """Chung et al. 2022, Table 20: points shrink with size, the share of the error does not."""
    flan = found.pairs.filter(pl.col("recipe") == "flan", pl.col("use") == "pool").sort("parameters", "encoder")
    plain = flan.filter(pl.col("encoder").str.starts_with("PaLM"))
    assert plain["gain"].to_list() == pytest.approx([22.5, 18.2, 14.9])
    assert plain["share"].to_list() == pytest.approx([30.0, 30.6, 31.6], abs=0.05)
    assert plain["logit"].to_list() == pytest.approx([1.00, 0.74, 0.63], abs=0.005)
    slopes = {row["scale"]: row for row in found.slopes.filter(pl.col("recipe") == "flan").iter_rows(named=True)}
    assert slopes[POINTS.name]["high"] < 0 < slopes[ERROR.name]["high"] and slopes[ERROR.name]["low"] < 0
    assert slopes[POINTS.name]["slope"] == pytest.approx(-4.3, abs=0.1), "-4.2 for the three sizes without variants"
    assert {row["per"] for row in slopes.values()} == {"tenfold"} and slopes[POINTS.name]["n_sizes"] == 3


def test_every_row_is_accounted_for(found):
    for one in (found, assess(load_published(), CATALOG, targets=["tydiqa"]),
                assess(load_published(), CATALOG, recipe="squad", sizes=(1e8, 6e8))):  # fmt: skip
        first, *rest = one.flow["rows"].to_list()
        assert one.flow["step"][0] == "found" and first == sum(rest) > 0
    assert found.flow["rows"][0] == 1180
    assert found.flow.filter(pl.col("step") == "copy")["rows"].sum() == 21


def test_what_became_of_a_row_is_told():
    rows = [
        *both(2.0),
        *both(2.0, encoder="other", metric="f1"),
        result(encoder="third"),
        result(encoder="fourth", use="baseline"),
        result(encoder="fifth", use="left out", reason="odd"),
        result(encoder="sixth", use="show", reason="a hunch"),
        result(encoder="fourth", publication="z", use="show", reason="again", result="r"),
        result(encoder="fourth", publication="y", use="baseline", result="r"),
    ]
    steps = {row["step"]: row["rows"] for row in assessed(*rows).flow.iter_rows(named=True)}
    assert steps == {"found": 10, "copy": 1, "left out": 1, "baseline": 2, "shown": 1, "unpaired": 1, "no error": 2,
                     "pooled": 2}  # fmt: skip


def test_a_mean_counts_once_beside_its_languages():
    languages = [row for code, gain in (("en", 9.0), ("de", 1.0), ("ru", 3.0))
                 for row in both(gain, language=code, n=500)]  # fmt: skip
    [row] = assessed(*languages).pooled.filter(pl.col("rho") == RHO).to_dicts()
    assert row["k"] == 1 and row["gain"] == pytest.approx(2.0), "the mean over those that are not English"
    mean = assessed(*languages, *both(2.5, language="mean"))
    assert mean.pooled.filter(pl.col("rho") == RHO)["gain"].to_list() == pytest.approx([2.5])
    assert mean.flow["rows"][0] == 8 == mean.flow["rows"][1:].sum()


def test_pooling_is_random_effects_with_a_prediction_interval():
    rows = [
        row for i, gain in enumerate((1.0, 4.0, 7.0, 9.0)) for row in both(gain, encoder=f"e{i}", publication=f"p{i}")
    ]
    pooled = assessed(*rows).pooled
    assert pooled["rho"].to_list() == list(RHOS)
    row = pooled.row(1, named=True)
    assert row["gain"] == pytest.approx(5.25, abs=0.1) and row["tau2"] > 5 and row["q_p"] < 0.01
    assert row["predicted_low"] < row["low"] < row["gain"] < row["high"] < row["predicted_high"]
    assert row["tau2_low"] < row["tau2"] < row["tau2_high"]


def test_gains_of_another_question_are_not_pooled():
    rows = [*both(1.0), *both(5.0, encoder="o", english="no"), *both(6.0, encoder="f", setting="few-shot"),
            *both(7.0, encoder="q", recipe="qqp")]  # fmt: skip
    assert assessed(*rows).pooled.filter(pl.col("rho") == RHO)["k"].to_list() == [1, 1, 1, 1]


def test_what_is_left_out_and_copies_are_no_gains(found):
    assert set(found.pairs["use"]) == {"pool", "show"}
    tydiqa = found.pairs.filter(pl.col("target") == "tydiqa", pl.col("recipe") == "best", pl.col("metric") == "f1")
    assert tydiqa["source"].to_list() == ["Table 16 of chung-2021"], "the README has the same"


def test_that_size_is_not_identified_is_said_until_a_file_identifies_it(found):
    assert found.size.startswith(NO_SIZES) and found.size.endswith("zero-shot on XQuAD, MLQA or TyDiQA-GoldP.")

    def sized(parameters: int, **fields: object) -> list[Result]:
        given = {"target": "tydiqa", "metric": "f1", "recipe": "squad", "family": "XLM-R", "parameters": parameters,
                 "encoder": f"xlm-r-{parameters}", **fields}  # fmt: skip
        return both(5.0, **given)

    small, large = sized(278_000_000), sized(560_000_000)
    assert assessed(*small).size.startswith(NO_SIZES)
    with_data = assessed(*small, *large).size
    assert with_data == (
        "Published with one encoder family at two or more sizes, with and without English intermediate training: "
        "a (XLM-R, 2 sizes from 278M to 560M; TyDiQA-GoldP)."
    )
    for other in ({"english": "no"}, {"setting": "few-shot"}, {"publication": "c"}, {"family": "mBERT"},
                  {"target": "xnli", "metric": "accuracy"}, {"language": "en"},
                  {"use": "left out", "reason": "odd"}):  # fmt: skip
        assert assessed(*small, *sized(560_000_000, **other)).size.startswith(NO_SIZES), other
    assert assessed(*small, *large, targets=["xquad"]).size.endswith("zero-shot on XQuAD.")


def test_a_slope_through_two_gains_has_no_interval_and_a_small_range_no_decades():
    def sized(gain: float, parameters: int) -> list[Result]:
        return both(gain, family="f", parameters=parameters, encoder=str(parameters))

    rows = assessed(*sized(2.0, 100_000_000), *sized(5.0, 400_000_000)).slopes.filter(pl.col("scale") == POINTS.name)
    row = rows.row(0, named=True)
    assert row["slope"] == pytest.approx(1.5) and row["per"] == "doubling" and row["low"] is None
    floor = assessed(*both(2.0, value=0.0, family="f", parameters=1, encoder="1"), *sized(5.0, 100)).slopes
    assert floor.filter(pl.col("scale") == LOGIT.name)["slope"].item() is None, "no logit of 0"


def test_copies_that_differ_stand_beside_each_other(found):
    rows = found.conflicts.filter(pl.col("result") == "x-stilts xquad f1").to_dicts()
    assert [(row["source"], row["counted"]) for row in rows] == [("Table 16 of chung-2021", True),
                                                                 ("README of xue-2021", False)]  # fmt: skip
    assert [row["gain"] for row in rows] == pytest.approx([2.1, 0.6])


def test_what_limits_a_publication_is_told(found):
    bias = {row["publication"]: row for row in found.bias.iter_rows(named=True)}
    phang, flan = bias["phang-2020"], bias["chung-2022"]
    assert (phang["hand"], phang["seeds"], phang["setting"]) == ("second", "not stated", "direct")
    assert (flan["chosen"], flan["setting"]) == ("test", "indirect: few-shot, not known to be English only")
    one = assessed(*both(2.0, seeds=1, language="en"), *both(2.0, encoder="o", seeds=3)).bias.row(0, named=True)
    assert (one["seeds"], one["setting"]) == ("1, 3", "indirect: tested in English; direct")


def test_tables_have_their_columns(found):
    named = {"pairs": PAIRS_SCHEMA, "pooled": POOLED_SCHEMA, "slopes": SLOPES_SCHEMA, "flow": FLOW_SCHEMA,
             "bias": BIAS_SCHEMA, "conflicts": CONFLICTS_SCHEMA}  # fmt: skip
    for name, schema in named.items():
        frame = getattr(found, name)
        assert frame.schema == schema and frame.height


def test_nothing_published_is_no_error():
    nothing = assess(load_published(), CATALOG, targets=["xquad"], recipe="hellaswag", sizes=(1.0, 2.0))
    assert nothing.flow["rows"].to_list() == [0] and not nothing.pooled.height and not nothing.pairs.height


def test_encoders_and_studies_have_variances_where_they_can_be_told_apart():
    """Of rows of one encoder in two studies and of others: between studies, between encoders, and beyond."""
    gains = {("p", "e"): 2.0, ("p", "f"): 6.0, ("q", "e"): 3.0, ("q", "f"): 7.5, ("r", "e"): 4.0, ("r", "g"): 9.0}
    rows = [row for (study, encoder), gain in gains.items()
            for row in both(gain, publication=study, encoder=encoder, n=20_000)]  # fmt: skip
    row = assessed(*rows).pooled.filter(pl.col("rho") == RHO).row(0, named=True)
    alone = assessed(*(one for i, one in enumerate(rows) if i < 4)).pooled.row(1, named=True)
    assert row["k"] == 6 and row["studies"] == 3 and alone["k"] == 2
    assert row["high"] - row["low"] > 6, "three encoders, not six gains, are what the mean is known by"


def test_the_pooled_gain_without_one_of_them_is_told():
    gains = {"a": 1.0, "b": 4.0, "c": 10.0}
    rows = [row for name, gain in gains.items() for row in both(gain, encoder=name)]
    row = assessed(*rows).pooled.row(1, named=True)
    assert row["least"] == pytest.approx(2.5, abs=0.1) and row["most"] == pytest.approx(7.0, abs=0.1)
    assert assessed(*rows[:4]).pooled.row(1, named=True)["least"] is None, "of two, nothing is pooled without one"
