"""What a plan will take, against plans that are simple enough to work out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from xstilts.cli.app import app
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, counting
from xstilts.planning import estimate
from xstilts.planning.plan import Plan, Stage, Train
from xstilts.planning.planner import make_plan
from xstilts.planning.records import TrainRecord
from xstilts.planning.study import make_study
from xstilts.store import Store

STUDY: dict[str, Any] = {
    "name": "s", "encoders": ["bundled/e5-small@1"], "recipes": ["none", "mini-nli"],
    "targets": ["mini-span", "mini-retrieval"], "seeds": [1, 2],
}  # fmt: skip


def plan_of(stages: list[Stage]) -> Plan:
    study: Any = None
    return Plan(study, {stage.key: stage for stage in stages}, (), {}, (), ())


def stage(key: str, flops: float, *inputs: str) -> Stage:
    return Stage(key, "score", key, None, inputs, flops)  # type: ignore[arg-type]  # no spec: it takes no memory


def test_time_and_critical_path_of_a_plan_worked_out_by_hand() -> None:
    # a (3 s) and b (1 s); c (2 s) needs b, d (1 s) needs a and c.
    stages = [stage("a", 30), stage("b", 10), stage("c", 20, "b"), stage("d", 10, "a", "c")]
    plan = plan_of(stages)
    two = estimate.estimate(plan, plan.stages, 10.0, 2)
    assert two.seconds == two.critical_seconds == 4.0 and two.flops == 70
    assert [each.key for each in two.critical] in (["a", "d"], ["b", "c", "d"])
    assert estimate.estimate(plan, plan.stages, 10.0, 1).seconds == 7.0
    some = estimate.estimate(plan, {"c", "d"}, 10.0, 2)  # the others are done
    assert some.seconds == 3.0 and [each.key for each in some.critical] == ["c", "d"]
    assert estimate.estimate(plan, set(), 10.0, 2).seconds == 0.0


@given(st.data(), st.integers(1, 5))
def test_the_time_lies_between_its_bounds(data: st.DataObject, processes: int) -> None:
    stages: list[Stage] = []
    for i in range(data.draw(st.integers(1, 15))):
        inputs = data.draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set()
        stages.append(stage(str(i), data.draw(st.integers(0, 9)), *map(str, inputs)))
    plan = plan_of(stages)
    found = estimate.estimate(plan, plan.stages, 1.0, processes)
    lower = max(found.critical_seconds, found.flops / processes)
    assert lower - 1e-9 <= found.seconds <= found.flops / processes + found.critical_seconds + 1e-9
    assert sum(each.flops for each in found.critical) == found.critical_seconds
    assert all(one.key in other.inputs for one, other in zip(found.critical, found.critical[1:], strict=False))


def test_what_cells_share_is_counted_once() -> None:
    plan = make_plan(make_study(STUDY))
    shared = estimate.sharing(plan)
    # Of each seed: for none 3 + 2 stages (retrieval's are the same for both), with NLI 4 + 3.
    assert shared.stages_alone == 2 * (3 + 2 + 4 + 3)
    assert shared.stages == len(plan.stages) == 2 * 3 + 2 + 2 * (1 + 3 + 2)
    nli = sum(each.flops for each in plan.stages.values() if each.label.endswith(": train mini-nli"))
    again = sum(each.flops for each in plan.stages.values() if each.label.endswith("none → predict mini-retrieval"))
    assert shared.flops_alone - shared.flops == pytest.approx(nli + again)


def test_a_forecast_says_of_each_stage_what_it_takes(tmp_path: Path) -> None:
    plan, store = make_plan(make_study(STUDY)), Store(tmp_path)
    found = estimate.forecast(plan, store, 2)
    assert [each.key for each in found.stages] == list(plan.stages) and not found.measured
    assert {each.state for each in found.stages} == {"to do"} and found.rate == estimate.ASSUMED_FLOPS_PER_SECOND
    assert all(each.seconds == pytest.approx(each.flops / found.rate) for each in found.stages)
    assert found.left.flops == pytest.approx(sum(each.flops for each in found.stages)) and not found.notes
    on = estimate.device("a100-80gb")
    assert estimate.forecast(plan, store, 1, on).rate == on.rate
    trained = next(each.key for each in found.stages if each.kind == "train")
    with store.publish(trained) as (_, meta):
        meta |= TrainRecord(seconds=2.0, dev=50.0, precision="fp32", best_step=1, steps=1, examples=1).to_json()
    after = estimate.forecast(plan, store, 2)
    assert after.measured and after.rate == pytest.approx(plan.stages[trained].flops / 2)
    assert [each.key for each in after.stages if each.state == "done"] == [trained]


def test_memory_is_what_training_keeps() -> None:
    def largest(**training: Any) -> int:
        plan = make_plan(make_study({**STUDY, "training": training}))
        return estimate.estimate(plan, plan.stages, 1.0, 1).memory

    plan = make_plan(make_study(STUDY))
    parameters = next(iter(plan.facts.values())).parameters
    usual = largest()
    assert usual > 16 * parameters
    assert largest(memory="3GB") == 3_000_000_000
    assert largest(batch_size=32) - 16 * parameters == pytest.approx(2 * (usual - 16 * parameters))
    assert largest(processes=2) < usual and largest(processes=2, sharding="full") < usual - 7 * parameters


def test_the_plan_for_a_device_says_what_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps({**STUDY, "training": {"batch_size": 4096}}))
    words = ["plan", str(file), "--store", str(tmp_path / "store")]
    told = CliRunner().invoke(app, [*words, "--device", "t4", "--devices", "3"])
    assert told.exit_code == 0 and "on 3 t4 (at 35% of its peak)" in told.stdout
    assert "may need more than the 16 GB of t4" in told.stdout and "`memory: 14GB`" in told.stdout
    assert "critical path: " in told.stdout and "is saved" in told.stdout
    found = json.loads(CliRunner().invoke(app, [*words, "--json", "--device", "t4"]).stdout)
    assert found["device"] == "t4" and found["rate"] == pytest.approx(0.35 * 65e12)
    assert sum(each["flops"] for each in found["stages"]) / found["rate"] == pytest.approx(found["seconds_left"])
    assert found["critical_seconds"] <= found["seconds_left"] and found["critical_path"]
    assert {"seconds", "memory", "disk"} <= found["stages"][0].keys() and found["sharing"]["stages"] == 20
    for wrong, message in ((["--device", "a100"], "did you mean"), (["--devices", "2"], "name it with --device")):
        refused = CliRunner().invoke(app, [*words, *wrong]).exception
        assert isinstance(refused, UserError) and message in str(refused)


def test_the_speed_is_that_of_training_stages_that_are_done(tmp_path: Path) -> None:
    plan, store = make_plan(make_study(STUDY)), Store(tmp_path)
    assert estimate.measured_rate(plan, store) is None
    train = next(each for each in plan.stages.values() if each.kind == "train")
    with store.publish(train.key) as (_, meta):
        meta |= TrainRecord(dev=50.0, precision="fp32", best_step=1, steps=1, examples=1, seconds=4.0).to_json()
    assert estimate.measured_rate(plan, store) == pytest.approx(train.flops / 4.0)


def test_every_device_names_its_source() -> None:
    for device in estimate.devices().values():
        assert device.tflops > 0 and device.memory > 0 and len(device.source) > 10


# -- families of sizes ------------------------------------------------------------------------------------------------

#: What three studies of size plan, of which nothing is at hand: encoder → whether it is trained by LoRA.
FAMILIES: dict[str, dict[str, bool]] = {
    "Qwen3": {"Qwen/Qwen3-0.6B-Base": False, "Qwen/Qwen3-1.7B-Base": True, "Qwen/Qwen3-4B-Base": True,
              "Qwen/Qwen3-8B-Base": True},
    "XLM-R": {"FacebookAI/xlm-roberta-base": False, "FacebookAI/xlm-roberta-large": False,
              "facebook/xlm-roberta-xl": True, "facebook/xlm-roberta-xxl": True},
    "mT5": {"google/mt5-small": False, "google/mt5-base": False, "google/mt5-large": False, "google/mt5-xl": True,
            "google/mt5-xxl": True},
}  # fmt: skip


def of_family(name: str, **changes: Any) -> Plan:
    content = {"name": "sizes", "encoders": list(FAMILIES[name]), "recipes": ["none", "mnli"], "targets": ["xquad"],
               "seeds": [1], "preset": "phang2020", **changes}  # fmt: skip
    return make_plan(make_study(content), estimate=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_studies_of_a_family_are_planned_with_cost_and_memory_offline(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XSTILTS_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(counting, "counted", None)  # the list knows their sizes
    planned = of_family(name)
    found = estimate.forecast(planned, Store(tmp_path), 8, estimate.device("h100-sxm"))
    assert len(found.stages) == 7 * len(FAMILIES[name])  # mnli, and for each recipe train, predict and score
    took: dict[str, list[tuple[float, int]]] = {}
    for one in planned.stages.values():
        if isinstance(one.spec, Train):
            assert (one.spec.optimisation.lora is not None) == FAMILIES[name][one.spec.encoder.source]
            of = one.flops, estimate.training_memory(planned, one)
            took.setdefault(one.spec.encoder.source, []).append(of)
    flops = [sum(flops for flops, _ in took[source]) for source in FAMILIES[name]]
    assert flops == sorted(flops) and flops[0] > 1e15
    for source, stages in took.items():  # the weights at least, and what AdamW keeps of those that are trained whole
        weights = (4 if FAMILIES[name][source] else 16) * planned.facts[Encoder(source)].parameters
        assert all(weights < memory for _, memory in stages)
    notes = [note for note in planned.notes if note.startswith("LoRA of rank 8")]
    assert len(notes) == sum(FAMILIES[name].values())
    assert all("`lora: none` in `training` trains them whole" in note for note in notes)


def test_a_study_says_itself_whether_large_encoders_are_trained_by_lora(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XSTILTS_DATA", raising=False)

    def trained(**training: Any) -> dict[str, Train]:
        planned = of_family("Qwen3", training=training, recipes=["none"])
        return {stage.key: stage.spec for stage in planned.stages.values() if isinstance(stage.spec, Train)}

    def ranks(found: dict[str, Train]) -> list[int | None]:
        return [spec.optimisation.lora.rank if spec.optimisation.lora else None for spec in found.values()]

    by_size, whole, empty, own = trained(), trained(lora="none"), trained(lora=None), trained(lora={"rank": 4})
    assert ranks(by_size) == [None, 8, 8, 8] and ranks(own) == [4] * 4
    assert ranks(whole) == ranks(empty) == [None] * 4 and whole.keys() == empty.keys()
    assert [a == b for a, b in zip(by_size, whole, strict=True)] == [True, False, False, False]
    assert not by_size.keys() & own.keys()
