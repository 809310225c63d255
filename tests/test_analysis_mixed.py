import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from scipy import optimize, stats

from synthetic import gain_by_size, make_results, without
from xstilts.analysis import mixed as module
from xstilts.analysis.axes import Axes, axes
from xstilts.analysis.mixed import MIXED_SCHEMA, mixed
from xstilts.analysis.size import ALL_RECIPES, READING

SIZES = {"e@3": 5_000_000, "e@6": 10_000_000, "e@12": 20_000_000}


def table(
    slope: float = 5.0, *, seeds: int = 3, languages: int = 4, noise: float = 1.0, targets: int = 1, state: int = 0
) -> tuple[pl.DataFrame, Axes]:
    """Scores with a recipe that gains ``slope`` points more per tenfold size, and one that gains nothing."""
    rng = np.random.default_rng(state)
    names = {f"t{i}": "span" for i in range(targets)}
    codes = ["en", "ar", "de", "hi", "ru", "th"][: languages + 1]
    results = make_results(encoders=SIZES, targets=names, recipes=("none", "a", "b"), languages=codes,
                           seeds=range(seeds), examples=2)  # fmt: skip
    known = results.scores.filter("main")
    size = np.log10(known["parameters_without_embeddings"].to_numpy() / 5_000_000)
    run = known.select(pl.struct("encoder", "recipe", "seed").rank("dense")).to_series().to_numpy()
    of_language = known.select(pl.struct("recipe", "language").rank("dense")).to_series().to_numpy()
    values = 50 + 10 * size + (known["recipe"] == "a").to_numpy() * slope * size
    values += noise * (rng.normal(0, 1, 1 + run.max())[run] + rng.normal(0, 2, 1 + of_language.max())[of_language])
    scores = known.with_columns(value=pl.Series(values + noise * rng.normal(0, 0.7, len(values))))
    return scores, axes(results)


def one(found: pl.DataFrame, **cell: str) -> dict[str, float]:
    return found.row(by_predicate=pl.all_horizontal(pl.col(k) == v for k, v in cell.items()), named=True)


def reml(y: np.ndarray, x: np.ndarray, designs: list[np.ndarray]) -> tuple[float, float]:
    """Slope and standard error by restricted maximum likelihood, written out: the reference."""

    def fit(log_sds: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        v = np.exp(2 * log_sds[-1]) * np.eye(len(y))
        v += sum(np.exp(2 * sd) * z @ z.T for sd, z in zip(log_sds, designs, strict=False))
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        beta = np.linalg.solve(information, x.T @ inverse @ y)
        left = y - x @ beta
        logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
        return float(logs + left @ inverse @ left), beta, np.linalg.inv(information)

    options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000}
    best = optimize.minimize(lambda sds: fit(sds)[0], np.zeros(len(designs) + 1), method="Nelder-Mead", options=options)
    _, beta, covariance = fit(best.x)
    return float(beta[1]), float(np.sqrt(covariance[1, 1]))


def test_the_fit_is_the_one_of_restricted_maximum_likelihood_written_out():
    scores, of = table(state=2)
    scores = scores.filter(pl.col("recipe") != "b")
    found = one(mixed(scores, of), recipe="a", target="t0")
    keys = ["encoder", "language", "seed"]
    after, base = (scores.filter(pl.col("recipe") == recipe, pl.col("language") != "en") for recipe in ("a", "none"))
    both = after.join(base.select(*keys, base="value"), on=keys)
    gain = (both["value"] - both["base"]).to_numpy()
    size = np.log10(both["parameters_without_embeddings"].to_numpy())
    levels = [
        both.select(pl.struct(names).rank("dense")).to_series().to_numpy()
        for names in (["language"], ["language", "encoder"], ["encoder", "seed"])
    ]
    designs = [(level[:, None] == np.arange(1, level.max() + 1)).astype(float) for level in levels]
    slope, error = reml(gain, np.column_stack([np.ones_like(size), size - size.mean()]), designs)
    half = stats.t.ppf(0.975, 3 * 3 - 2) * error
    assert found["converged"] and found["slope"] == pytest.approx(slope, rel=1e-3)
    assert (found["low"], found["high"]) == pytest.approx((slope - half, slope + half), rel=0.02)
    assert found["p"] == pytest.approx(2 * stats.t.sf(abs(slope) / error, 7), rel=0.1)


def test_known_slopes_are_found_recipe_by_recipe():
    found = mixed(*table(20.0, noise=0.5, targets=2))
    assert dict(zip(found.columns, found.dtypes, strict=True)) == MIXED_SCHEMA
    assert found["target"].unique(maintain_order=True).to_list() == [READING, "t0", "t1"]
    for target in (READING, "t0"):
        grows, flat, mean = (one(found, recipe=recipe, target=target) for recipe in ("a", "b", ALL_RECIPES))
        assert grows["low"] < 20 < grows["high"] and grows["p"] < 0.01
        assert flat["low"] < 0 < flat["high"] and flat["p"] > 0.05
        assert mean["slope"] == pytest.approx((grows["slope"] + flat["slope"]) / 2, abs=0.05)


def test_what_cannot_be_told_apart_is_left_out_and_said():
    one_seed = mixed(*table(seeds=1))
    assert set(one_seed["note"].str.contains("without language:encoder", literal=True)) == {True}
    assert mixed(*table(languages=1, seeds=2))["note"].str.contains("without language, seed", literal=True).all()
    neither = mixed(*table(languages=1, seeds=1))
    assert neither["note"].str.starts_with("not fitted: nothing to tell").all()
    assert neither["slope"].is_null().all() and not neither["converged"].any()


def test_too_few_sizes_are_said():
    scores, of = table()
    two = scores.filter(pl.col("encoder") != "e@12")
    assert mixed(two, of)["note"].str.contains("two sizes").all()
    single = scores.filter(pl.col("encoder") == "e@12")
    found = mixed(single, of)
    assert found["note"].str.contains("not fitted: one size").all() and found["slope"].is_null().all()


def test_a_fit_without_any_variance_is_no_traceback():
    found = mixed(*table(noise=0.0))
    assert found["note"].str.len_chars().min() > 0, found
    assert found["slope"].drop_nulls().is_finite().all()


def test_a_variance_that_vanishes_is_said():
    scores, of = table(noise=0.0)
    rng = np.random.default_rng(5)
    scores = scores.with_columns(value=pl.col("value") + pl.Series(rng.normal(0, 1, scores.height)))
    notes = " ".join(mixed(scores, of)["note"])
    assert "singular: no variance by " in notes


def test_a_failure_of_the_fit_is_a_note(monkeypatch: pytest.MonkeyPatch):
    from statsmodels.regression.mixed_linear_model import MixedLM

    def fail(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("Singular matrix.")

    monkeypatch.setattr(MixedLM, "fit", fail)
    found = mixed(*table())
    assert set(found["note"]) == {"not fitted: Singular matrix"} and not found["converged"].any()


def test_no_fit_where_it_would_take_minutes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_WORK", 1000)
    assert mixed(*table())["note"].str.contains("would take minutes").all()


def test_sizes_that_go_with_family_are_said():
    results = make_results(gain_by_size(0), encoders={"a": 10**6, "b": 10**7, "c": 10**8}, examples=20,
                           languages=("en", "de", "ru"), recipes=("none", "squad"))  # fmt: skip
    found = mixed(results.scores, axes(results))
    together = found.filter(pl.col("family") == "all encoders")
    assert together.height and together["note"].str.contains("size goes with family").all()


def test_no_gains_no_rows():
    results = without(make_results(examples=2), recipe="none")
    assert mixed(results.scores, axes(results)).height == 0


def test_importing_does_not_load_statsmodels():
    code = "import sys, xstilts.analysis.analyse; print('statsmodels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
