from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from synthetic import make_results
from xstilts.analysis.gather import gather
from xstilts.analysis.learnt import LEARNT_SCHEMA, learnt, learnt_by_seed
from xstilts.analysis.results import STAGES_SCHEMA, Results
from xstilts.common.progress import silent
from xstilts.data import load
from xstilts.engine.training.checkpoints import Policy
from xstilts.planning.planner import make_plan
from xstilts.planning.records import MAJORITY_MARGIN, TrainRecord, peek
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
from xstilts.tasks import builtin_catalog, formats


def gated(gate: dict[tuple[str, int], bool | None]) -> Results:
    """Of one encoder, with trainings by recipe and seed that were learnt as ``gate`` says; those that it lacks were."""
    results = make_results(encoders={"e": 1_000_000}, examples=10, languages=("en", "de"), seeds=(0, 1, 2))
    key = pl.when(pl.col("recipe") != "none").then(pl.concat_str("recipe", "seed", separator="/"))
    scores = results.scores.with_columns(intermediate=key)
    rows = [
        {"key": f"{recipe}/{seed}", "learnt": gate.get((recipe, seed), True)}
        for recipe, seed in scores.filter(pl.col("recipe") != "none").select("recipe", "seed").unique().iter_rows()
    ]
    stages = pl.DataFrame(rows, schema={"key": pl.String, "learnt": pl.Boolean})
    missing = [pl.lit(None, kind).alias(name) for name, kind in STAGES_SCHEMA.items() if name not in ("key", "learnt")]
    return replace(results, scores=scores, stages=stages.with_columns(missing).select(*STAGES_SCHEMA))


def test_a_recipe_is_learnt_where_each_of_its_seeds_is():
    found = learnt(gated({("mini-mnli", 1): False, ("mini-squad+mlm", 2): None}))
    assert found.schema == LEARNT_SCHEMA
    assert found.rows() == [
        ("e", "mini-squad", 3, 3, True),
        ("e", "mini-mnli", 2, 3, False),
        ("e", "mini-squad+mlm", 2, 3, None),
    ]
    by_seed = learnt_by_seed(gated({("mini-mnli", 1): False}))
    assert by_seed.filter(pl.col("learnt").not_())["seed"].to_list() == [1] and "none" not in set(by_seed["recipe"])


def test_a_study_without_intermediate_training_has_none_to_judge():
    assert learnt(make_results(recipes=("none",), examples=10)).is_empty()


@pytest.mark.parametrize(
    ("gate", "blind", "learnt"),
    [
        ({}, {}, None),
        ({"a": 6.0 + MAJORITY_MARGIN}, {"a": 6.0}, False),
        ({"a": 6.1 + MAJORITY_MARGIN}, {"a": 6.0}, True),
        ({"a": 80.0, "b": 33.0}, {"a": 6.0, "b": 33.3}, False),
    ],
)
def test_the_gate_is_a_margin_above_what_reads_nothing(gate, blind, learnt):
    record = TrainRecord(dev=50.0, precision="fp32", best_step=1, steps=1, examples=1, gate_of=gate, gate_blind=blind)
    assert record.learnt is learnt


def test_questions_without_an_answer_are_left_out_and_an_answer_is_forced():
    task = builtin_catalog()["mini-span-unanswerable"]
    fmt, dev = formats.get(task.format), load(task, "dev", "en", None)
    places, scored_as = fmt.teaches(dev, task)
    assert places and [i for i, example in enumerate(dev) if example.answers] == places
    assert not scored_as.unanswerable and scored_as.metric == "f1" and scored_as.name == task.name
    chosen = [dev[i] for i in places]
    right = fmt.score(chosen, [example.answers[0].text for example in chosen], scored_as, "en")["f1"]
    blind = fmt.score(chosen, fmt.blind(chosen, scored_as), scored_as, "en")["f1"]
    assert sum(value for value, _ in right) == len(chosen)
    assert 0 < sum(value for value, _ in blind) < 0.5 * len(chosen)
    plain = builtin_catalog()["mini-span"]
    same = load(plain, "dev", "en", None)
    assert fmt.teaches(same, plain) == (list(range(len(same))), plain)


def test_a_study_says_of_its_own_trainings_whether_they_were_learnt(tmp_path: Path):
    """A rate of nearly 0 teaches nothing: always "no answer" would be as good on dev as what the model says."""
    study = make_study({
        "name": "gate", "encoders": ["bundled/e5-small@1"], "targets": ["mini-retrieval"], "seeds": [1],
        "recipes": ["none", {"name": "span", "tasks": ["mini-span-unanswerable"]},
                    {"name": "pos", "tasks": ["mini-pos"], "training": {"learning_rate": 1e-3, "epochs": 4}},
                    {"name": "idle", "tasks": ["mini-pos"], "training": {"learning_rate": 1e-12}}],
        "training": {"max_train_examples": 64, "max_dev_examples": 40, "precision": "fp32"},
    })  # fmt: skip
    plan, store = make_plan(study), Store(tmp_path)
    for stage in plan.stages.values():
        if stage.kind == "train":
            run_stage(stage, store, silent, Policy())
    stages = gather(plan, store).stages.filter(kind="train")
    said = {label.rpartition("train ")[2]: learnt for label, learnt in stages.select("label", "learnt").iter_rows()}
    assert said["pos"] is True and said["idle"] is False
    (key,) = stages.filter(pl.col("label").str.ends_with("train span"))["key"]
    record = peek(store, key)
    assert isinstance(record, TrainRecord)
    task = builtin_catalog()["mini-span-unanswerable"]
    assert record.gate_of.keys() == record.gate_blind.keys() == {task.name} and record.gate_blind[task.name] > 0
    assert record.gate_of != record.dev_of, "judged on answerable questions, not on all"
    assert said["span"] is (record.gate_of[task.name] > record.gate_blind[task.name] + MAJORITY_MARGIN)
