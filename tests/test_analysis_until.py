"""Seeds that are added until intervals are narrow enough: which, when that ends, and what it does to coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from simulated_until import coverage
from synthetic import make_results
from xstilts import api
from xstilts.analysis.gather import gather
from xstilts.analysis.results import Results
from xstilts.analysis.until import Goal, comparisons, goal, next_seeds
from xstilts.cli.until import Wanted, add_seeds, wanted
from xstilts.common.errors import StoreError, UserError
from xstilts.planning import added
from xstilts.planning.added import AddedSeed
from xstilts.planning.plan import Plan, Score
from xstilts.planning.planner import make_plan
from xstilts.planning.records import ScoreRecord
from xstilts.planning.study import Study, make_study
from xstilts.store import Store

STUDY: dict[str, Any] = {
    "name": "until", "encoders": ["bundled/e5-small@1", "bundled/e5-small@2"], "recipes": ["none", "mini-nli"],
    "targets": [{"task": "mini-span", "languages": ["de", "sw"]}], "seeds": [1, 2, 3],
    "training": {"max_train_examples": 24, "precision": "fp32"},
}  # fmt: skip


def study(**changes: Any) -> Study:
    return make_study({**STUDY, **changes})


def few(**design: Any) -> Results:
    return make_results(recipes=("none", "mini-squad"), languages=("en", "de", "sw"), examples=30, **design)


def test_a_goal_is_read():
    assert goal("±2.0", study()) == goal("2", study()) == goal("+-2.0", study()) == Goal(2.0)
    assert goal("mini-nli ±1.5", study()) == Goal(1.5, "mini-nli")
    for wrong in ("", "±", "0", "narrow", "mini-nli ± -1"):
        with pytest.raises(UserError, match="say it as"):
            goal(wrong, study())
    with pytest.raises(UserError, match="did you mean 'mini-nli'"):
        goal("mini-nil ±1.5", study())
    with pytest.raises(UserError, match=r"--budget: 'soon' is no length of time"):
        wanted(study(), "±2.0", "soon")
    with pytest.raises(UserError, match="is for --until"):
        wanted(study(), None, "3h")


def test_the_widest_comparison_is_first_and_is_reached_by_what_it_was_before_its_last_seed():
    results = few(seeds=range(5), seed_noise=1.0, targets={"xquad": "span", "mini-nli": "classification"})
    found = comparisons(results, Goal(50.0), resamples=200)
    assert len(found) == 3 and {one.targets for one in found} == {("xquad",)}  # reading comprehension alone
    widths = [one.half_width for one in found]
    assert widths == sorted(widths, reverse=True) and all(one.reached(Goal(50.0)) for one in found)
    first = found[0]
    assert not first.reached(Goal(first.before - 0.01)) and first.reached(Goal(first.before))
    assert not any(one.reached(Goal(50.0)) for one in comparisons(few(seeds=range(3)), Goal(50.0), resamples=50))
    assert all(one.needs is None for one in comparisons(results, Goal(0.01), resamples=200))
    assert {one.recipe for one in comparisons(results, Goal(9.0, "mini-squad"), resamples=200)} == {"mini-squad"}


def test_a_seed_that_none_has_already_is_taken_before_a_new_one():
    widest, *_ = comparisons(few(seeds=(1, 2)), Goal(1.0), resamples=50)
    of = few(seeds=(1, 2)).study
    first = next_seeds(of, [], widest)
    assert {(one.recipe, one.seed) for one in first} == {("none", 3), (widest.recipe, 3)}
    of_none = [one for one in first if one.recipe == "none"]
    assert {one.seed for one in next_seeds(of, of_none, widest)} == {3}
    assert {one.seed for one in next_seeds(of, first, widest)} == {4}


def test_seeds_that_were_added_are_planned_beside_the_study_s_own_and_told():
    more = [AddedSeed("bundled/e5-small@2", recipe, "mini-span", 4) for recipe in ("none", "mini-nli")]
    gone = [AddedSeed("bundled/e5-small@3", "none", "mini-span", 4), AddedSeed("bundled/e5-small@1", "none", "x", 4)]
    plain, planned = make_plan(study()), make_plan(study(), added=[*more, *gone])
    assert plain.stages.keys() < planned.stages.keys()
    new = [cell for cell in planned.cells if cell not in plain.cells]
    assert {(cell.encoder.label, cell.recipe, cell.seed) for cell in new} == {
        (one.encoder, one.recipe, 4) for one in more
    }
    assert "Seeds beyond the study's own, added by `xstilts run --until`: bundled/e5-small@2, none: 4; " \
           "bundled/e5-small@2, mini-nli: 4." in planned.notes  # fmt: skip
    same = make_plan(study(seeds=[1, 2, 3, 4]))
    assert planned.stages.keys() < same.stages.keys()  # the stages that a study with that seed has
    assert make_plan(study(seeds=[1, 2, 3, 4]), added=more).cells == same.cells


def test_a_damaged_record_of_added_seeds_is_told(tmp_path: Path):
    store = Store(tmp_path)
    assert added.read(store, "until") == ()
    one = AddedSeed("e", "none", "t", 4)
    assert added.add(store, "until", [one]) == added.add(store, "until", [one]) == added.read(store, "until") == (one,)
    assert added.read(store, "other") == ()
    (file,) = (tmp_path / "added").iterdir()
    file.write_text("{}")
    with pytest.raises(StoreError, match="cannot be read"):
        added.read(store, "until")


def scored(store: Store, noise: float) -> Any:
    """What computes a plan's scores: 30 questions a language, to which each model adds luck of its own, in points."""

    def compute(plan: Plan) -> dict[str, str]:
        for cell in plan.cells:
            assert cell.score
            if store.peek(cell.score) is None:
                spec = plan.stages[cell.score].spec
                assert isinstance(spec, Score)
                rng = np.random.default_rng(int(cell.score[:8], 16))
                luck = rng.normal(0, noise / 100 * (5 if cell.encoder.layers == 2 else 1))
                rows = [(ref.language, f"{i}", "f1", True, 0.5 + luck + 0.01 * rng.normal(), 1.0)
                        for ref in spec.sets for i in range(30)]  # fmt: skip
                names = ["language", "id", "metric", "main", "numerator", "denominator"]
                with store.publish(cell.score) as (folder, meta):
                    meta |= ScoreRecord().to_json()
                    pl.DataFrame(rows, schema=names, orient="row").write_parquet(folder / "outcomes.parquet")
        return {}

    return compute


def run(
    tmp_path: Path, half_width: float, end: float | None = None, noise: float = 0.5
) -> tuple[Plan, Store, list[str]]:
    file, store, said = tmp_path / "until.yaml", Store(tmp_path / "store"), list[str]()
    file.write_text(yaml.safe_dump(STUDY))
    plan = api.plan(file)
    compute = scored(store, noise)
    compute(plan)
    plan, failures = add_seeds(file, plan, store, Wanted(Goal(half_width), end), compute, said.append)
    assert not failures
    return plan, store, said


def test_seeds_are_added_where_the_interval_is_widest_until_it_is_narrow_and_a_later_plan_has_them(tmp_path: Path):
    plan, store, said = run(tmp_path, 4.0)
    found = comparisons(gather(plan, store), Goal(4.0))
    assert all(one.reached(Goal(4.0)) for one in found) and said[-1].startswith("--until ± 4: reached by")
    seeds = {one.encoder: len(one.seeds) for one in found}
    assert seeds["bundled/e5-small@2"] > seeds["bundled/e5-small@1"] >= 4  # five times the luck
    later = api.plan_as_run(tmp_path / "until.yaml", store)
    assert later.stages.keys() == plan.stages.keys() and not [s for s in later.missing(store) if s.kind == "score"]
    results = gather(later, store)
    assert results.study.seeds == (1, 2, 3) and any("beyond the study's own" in note for note in results.notes)


def test_what_no_seeds_reach_and_what_the_budget_does_not_allow_is_not_tried(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, store, said = run(tmp_path / "a", 0.001)
    assert "100 seeds would not do" in said[-1] and added.read(store, "until") == ()
    _, store, said = run(tmp_path / "b", 4.0, end=0.0)
    assert said[-1].startswith("--budget: one more seed takes about") and added.read(store, "until") == ()


def test_one_seed_more_makes_up_for_stopping_at_the_first_interval_that_is_narrow():
    """Runs of 1.2 points, of which an interval of 1 point takes about 8."""
    first, more = coverage(1.2, 0.2, 1.0, start=2, runs=6000, most=20)
    assert first < 0.91 and 0.925 <= more <= 0.96


@pytest.mark.soak
@pytest.mark.parametrize("start", [2, 3, 5])
@pytest.mark.parametrize(("deviation", "example"), [(1.2, 0.6), (1.2, 0.2), (3.0, 0.3), (3.0, 0.6)])
@pytest.mark.parametrize("wanted", [1.4, 2.0, 4.0])
def test_coverage_of_stopping(start: int, deviation: float, example: float, wanted: float):
    first, more = coverage(deviation, example, wanted, start=start, runs=20_000)
    print(f"{start} seeds, runs {deviation}, questions {example}, ± {wanted}: {first:.3f}, one more {more:.3f}")
    assert 0.925 <= more <= 0.96
