"""`xstilts select` on a study that ran, on one that did not, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from tiny import STUDY, scores_in, write
from xstilts.cli.app import app
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder
from xstilts.planning.data_ref import examples
from xstilts.planning.plan import Plan, Stage, Train
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.selection import fewshot
from xstilts.selection.evidence import Contender, Evidence, Material, Question
from xstilts.selection.select import (
    CHANCE,
    MEAN_RANK,
    METHODS,
    RANKING_SCHEMA,
    _agreements,
    _mean_ranks,
    methods_named,
    select,
)
from xstilts.store import Store

CHANGES: dict[str, Any] = {
    "recipes": ["none", "mini-nli", "mini-choice", {"name": "merged", "merge": ["mini-nli", "mini-choice"]}]
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of so small an encoder mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """A copy of the store in which the tiny study ran: with the recipes none and mini-nli."""
    return Path(shutil.copytree(finished / ".xstilts" / "store", tmp_path / "store"))


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["select", *words])


@pytest.mark.soak
def test_recipes_are_ranked_by_all_methods_and_trained_on_demand_alone(store: Path) -> None:
    plan, place = make_plan(make_study({**STUDY, **CHANGES})), Store(store)
    computed: list[str] = []

    def compute(plan: Plan, stages: Sequence[Stage]) -> dict[str, str]:
        for stage in stages:
            computed.append(stage.label.partition(": ")[2])
            run_stage(stage, place, lambda *told: None)
        return {}

    cheap = select(plan, place, compute, methods=methods_named("textemb,logme"), examples=8)
    assert computed == []
    ranked = {method: set(part["recipe"]) for (method,), part in cheap.ranking.group_by("method")}
    assert ranked == {"textemb": {"mini-nli", "mini-choice", "merged"}, "logme": {"none", "mini-nli"}}
    assert any(note.startswith("mini-choice has not been trained (bundled/e5-small@1)") for note in cheap.notes)
    assert any(note.startswith("mini-retrieval: not ranked") for note in cheap.notes)

    whole = select(plan, place, compute, examples=8, train=True)
    assert computed[:2] == ["train mini-choice", "merge merged"] and len(computed) == 2 + 4  # few-shot, with none
    ranking = whole.ranking
    assert set(ranking["target"]) == {"mini-span"} and set(ranking["method"]) == {*METHODS, MEAN_RANK}
    for (method,), part in ranking.group_by("method"):
        own = part.filter(pl.col("rank").is_not_null()).sort("score", descending=True)
        assert set(own["recipe"]) == {"mini-nli", "mini-choice", "merged"}
        assert own["rank"].is_sorted() and own["rank"][0] == 1 and own["score"].is_finite().all()
        assert ("none" in part["recipe"]) == (method in METHODS and METHODS[method].trained)
    costs = {row["method"]: row for row in whole.costs.iter_rows(named=True)}
    assert all(row["flops"] > 0 and row["seconds"] > 0 for row in costs.values())
    assert (
        costs["textemb"]["training_flops"] == 0 < costs["logme"]["training_flops"] == costs["fewshot"]["training_flops"]
    )
    assert costs["logme"]["flops"] == costs["hscore"]["flops"] < costs["esm"]["flops"]
    assert whole.grid_flops == pytest.approx(sum(
        stage.flops for stage in plan.stages.values() if "retrieval" not in stage.label
    ))  # fmt: skip
    again = select(plan, place, compute, methods=methods_named("esm,fewshot"), examples=8)
    kept = pl.col("method").is_in(["esm", "fewshot"])
    assert again.ranking.filter(kept).equals(ranking.filter(kept)) and len(computed) == 6


def test_the_command_prints_ranks_costs_and_what_runs_have_shown(finished: Path, store: Path) -> None:
    words = (str(finished / "tiny.yaml"), "--store", str(store), "--examples", "8", "--methods", "textemb, hscore")
    printed = json.loads(invoke(*words, "--json").stdout)
    assert printed["study"] == "tiny" and (printed["examples"], printed["seed"]) == (8, 1)
    main = scores_in(finished).filter((pl.col("target") == "mini-span") & (pl.col("language") == "sw") & pl.col("main"))
    values = dict(main.select("recipe", "value").rows())
    (truth,) = printed["truth"]
    assert truth["recipe"] == "mini-nli" and truth["gain"] == pytest.approx(values["mini-nli"] - values["none"])
    assert printed["agreement"] == []  # of one recipe
    ended = invoke(*words)
    assert ended.exit_code == 0 and "mini-span, bundled/e5-small@1" in ended.stdout
    assert "textemb" in ended.stdout and "of the grid" in ended.stdout and "note: mini-retrieval" in ended.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "logmi"], "--methods logmi: no method of selection: did you mean 'logme'"),
        (["--target", "mini-spam"], "--target mini-spam: no target of the study: did you mean 'mini-span'"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(tmp_path: Path, words: list[str], message: str) -> None:
    ended = invoke(str(write(tmp_path)), "--store", str(tmp_path / "store"), *words)
    assert isinstance(ended.exception, UserError) and message in str(ended.exception)


def test_only_english_examples_are_read_and_no_more_than_asked_for(tmp_path: Path) -> None:
    plan = make_plan(make_study(STUDY))
    part = next(Material.of(stage.spec)[0] for stage in plan.stages.values() if isinstance(stage.spec, Train))
    mixed = replace(part, train=replace(part.train, language="en+sw"))
    evidence, encoder = Evidence(Store(tmp_path), 5, 1), Encoder("bundled/e5-small", 1)
    own, english = ([row.sequences[0] for row in evidence.rows(encoder, each, training=True)] for each in (mixed, part))
    assert len(own) == 5 and [[s.tolist() for s in row] for row in own] == [
        [s.tolist() for s in row] for row in english
    ]
    assert len(examples(part.train)) == 24


def test_few_shot_plans_have_the_studys_own_recipes() -> None:
    study = make_study({**STUDY, **CHANGES, "seeds": [3, 4]})
    whole = make_plan(study)
    short, stages = fewshot.make(whole, ["mini-span"], 8)
    assert set(stages) == {("bundled/e5-small@1", recipe.name, "mini-span") for recipe in study.recipes}
    before = {cell.intermediate for cell in whole.cells if cell.seed == 3}
    assert {cell.intermediate for cell in short.cells} == before
    spec = short.stages[stages["bundled/e5-small@1", "none", "mini-span"]].spec
    assert isinstance(spec, Train)
    reading = spec.parts[0].reading
    assert (reading.max_train_examples, reading.max_dev_examples) == (8, 6)


def ranked(method: str, scores: dict[str, float]) -> list[tuple[Any, ...]]:
    order = sorted(scores, key=lambda recipe: -scores[recipe])
    return [("e", "t", method, recipe, scores[recipe], rank) for rank, recipe in enumerate(order, 1)]


def test_ranks_are_averaged_over_methods_that_rank_all_recipes_and_judged_by_the_gains() -> None:
    rows = [*ranked("logme", {"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.0}), *ranked("esm", {"a": 9.0})]
    rows += ranked("textemb", {"b": 0.9, "a": 0.8, "d": 0.7, "c": 0.6})
    table = pl.DataFrame(rows, schema=RANKING_SCHEMA, orient="row")
    candidates = tuple(Contender(name, (), None) for name in ("none", "a", "b", "c", "d"))
    part: Any = None  # is not looked at
    means = _mean_ranks(table, [Question(Encoder("e"), "t", part, candidates)])
    assert means.select("recipe", "score", "rank").rows() == [
        ("a", -1.5, 1), ("b", -1.5, 1), ("c", -3.5, 3), ("d", -3.5, 3)
    ]  # fmt: skip
    gained = {"a": 1.0, "b": 4.0, "c": -2.0, "d": 0.0, "e": 50.0}
    found = _agreements(pl.concat([table, means]), {("e", "t"): gained})
    assert found.select("method", "n", "regret_1", "regret_3").rows() == [
        ("logme", 4, 3.0, 0.0), ("textemb", 4, 0.0, 0.0), (MEAN_RANK, 4, 3.0, 0.0), (CHANCE, 4, 3.25, 0.75)
    ]  # fmt: skip
