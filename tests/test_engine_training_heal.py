"""Healing brings a pruned encoder nearer to its whole model, exactly resumed, and is where all that follows starts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModel

from xstilts.common.errors import UserError
from xstilts.common.progress import silent
from xstilts.encoders import Encoder, bundled
from xstilts.encoders.load import load_model, load_tokenizer
from xstilts.encoders.trim import used_vocabulary
from xstilts.engine.heads.mlm import MlmHead
from xstilts.engine.models import IDS, ROWS, WEIGHTS, build_bare, build_model, merge, save_healed, save_trained
from xstilts.engine.rows import IGNORED, Row, pad
from xstilts.engine.training.heal import HELD_OUT, Distilling, Healed, _Learnt, heal
from xstilts.handover.export import export_healed, healed_encoder
from xstilts.planning.data_ref import examples
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.planning.plan import Heal, Merge, Plan, Predict, Stage, Train
from xstilts.planning.planner import make_plan
from xstilts.planning.records import HealRecord
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
from xstilts.tasks import builtin_catalog

ENCODER = Encoder(bundled.NAME, layers=(0, 2), ffn=96, heads=6, heal=3000)
HYPER = Hyperparameters(
    epochs=1, batch_size=8, learning_rate=2e-3, warmup=0.05, weight_decay=0.0, max_length=32, dropout="none",
    freeze_embeddings=True, precision="fp32",
)  # fmt: skip
STUDY: dict[str, Any] = {
    "name": "healed",
    "encoders": [ENCODER.label, f"{bundled.NAME}@1"],
    "recipes": ["none", "mini-nli", "mini-paraphrase", {"name": "sum", "merge": ["mini-nli", "mini-paraphrase"]}],
    "targets": [{"task": "mini-span", "languages": ["en", "sw"]}, {"task": "mini-retrieval", "languages": ["sw"]}],
    "seeds": [1, 2],
    "healing": {
        "task": "mini-text", "languages": ["en", "sw"], "learning_rate": 2e-3, "batch_size": 8, "max_length": 32,
    },
    "training": {"max_train_examples": 12, "max_dev_examples": 4, "precision": "fp32"},
}  # fmt: skip


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(make_study(STUDY))


@pytest.fixture(scope="module")
def rows(plan: Plan) -> list[Row]:
    """Some text in two languages."""
    (stage,) = of_kind(plan, "heal")
    assert isinstance(stage.spec, Heal)
    texts = [one for ref in stage.spec.texts for one in examples(ref)[:150]]
    task, tokenizer = builtin_catalog()["mini-text"], load_tokenizer(ENCODER)
    return MlmHead().make_rows(texts, task, tokenizer, HYPER.lengths, training=True)


@pytest.fixture(scope="module")
def healed(rows: list[Row]) -> Healed:
    return heal(ENCODER, "mini-text", rows, HYPER.reading, HYPER.optimisation, 3000, silent)


def of_kind(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def test_it_is_nearer_to_its_whole_model_on_text_that_it_has_not_read(healed: Healed) -> None:
    assert 0.0 < healed.error < 0.9 * healed.before
    assert 3000 <= healed.log.tokens < 3000 + 8 * 32  # it ends with the step that reaches them
    assert healed.log.steps == healed.log.steps_of["mini-text"]


def test_the_loss_is_the_relative_squared_error_of_real_tokens(rows: list[Row]) -> None:
    whole = load_model(Encoder(bundled.NAME, layers=2), AutoModel, seed=0)
    cut = load_model(Encoder(bundled.NAME, layers=1), AutoModel, seed=0)
    head = Distilling(whole)
    some = [rows[0], rows[40]]
    inputs = pad(some, 1)
    targets = head.targets(some, inputs["input_ids"].shape[1])
    assert int((targets["real"] != IGNORED).sum()) == sum(row.length for row in some) < targets["real"].numel()
    with torch.no_grad():
        loss = head.loss(cut, inputs | targets)
        errors = []
        for row in some:
            ids = torch.tensor(np.array(row.sequences))
            given, wanted = (model(ids).last_hidden_state[0] for model in (cut, whole))
            errors += [float(((s - t) @ (s - t)) / (t @ t)) for s, t in zip(given, wanted, strict=True)]
    assert float(loss) == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_what_is_held_out_is_not_learnt_from(rows: list[Row]) -> None:
    learnt = _Learnt(rows)
    assert [row.example for row in learnt] == [i for i in range(len(rows)) if i % HELD_OUT]


def test_it_learns_nothing_where_nothing_was_cut(rows: list[Row]) -> None:
    whole = Encoder(bundled.NAME, layers=12)
    found = heal(whole, "mini-text", rows[:60], HYPER.reading, HYPER.optimisation, 100, silent)
    assert found.before == 0.0


def test_lookup_tables_stay_and_no_row_of_the_words_is_kept(healed: Healed, tmp_path: Path) -> None:
    bare = build_bare(ENCODER, "mini-text", healed.student.ids.numpy())
    before = dict(bare.joint.named_parameters())
    changed = {name for name, value in healed.student.joint.named_parameters() if not torch.equal(value, before[name])}
    assert not any(name.endswith("_embeddings.weight") for name in changed)
    assert sum("encoder.layer" in name for name in changed) == 2 * 16
    save_healed(healed.student, tmp_path)
    saved = load_file(tmp_path / WEIGHTS)
    assert saved[ROWS].shape == (0, 384) and saved[IDS].shape == (0,)
    assert not any("pooler" in name or "word_embeddings" in name for name in saved)


def test_what_starts_from_it_knows_the_pieces_of_its_own_data_alone(healed: Healed, tmp_path: Path) -> None:
    save_healed(healed.student, tmp_path)
    task, tokenizer = builtin_catalog()["mini-span"], load_tokenizer(ENCODER)
    row = Row(0, [tokenizer("two words")["input_ids"]])
    started = build_model(ENCODER, task, 1, tmp_path, [row], head=False)
    assert started.ids.tolist() == used_vocabulary([np.asarray(row.sequences[0])], tokenizer).tolist()
    name = "encoder.layer.1.attention.self.query.weight"
    own, given = started.model.base_model.state_dict()[name], healed.student.model.state_dict()[name]
    assert torch.equal(own, given) and own.shape == (192, 384)
    pretrained = load_model(ENCODER, transformers.AutoModel, seed=0).get_input_embeddings().weight
    assert torch.equal(started.model.get_input_embeddings().weight, pretrained[started.ids])


def test_merges_add_to_what_was_healed(healed: Healed, tmp_path: Path) -> None:
    save_healed(healed.student, tmp_path)
    row = Row(0, [load_tokenizer(ENCODER)("two words")["input_ids"]])
    trained = build_model(ENCODER, builtin_catalog()["mini-nli"], 1, tmp_path, [row], head=False)
    name = "bert.encoder.layer.0.output.dense.bias"
    with torch.no_grad():
        trained.model.get_parameter(name).add_(1.0)
    (tmp_path / "trained").mkdir()
    save_trained(trained, tmp_path / "trained")
    merged = merge(ENCODER, 1, tmp_path, [(tmp_path / "trained", 0.5)])
    start = load_file(tmp_path / WEIGHTS)
    assert torch.allclose(merged[name], start[name] + 0.5)
    other = "bert.encoder.layer.0.output.dense.weight"
    assert torch.allclose(merged[other], start[other], atol=1e-6)


def test_all_that_a_healed_encoder_does_starts_from_it(plan: Plan) -> None:
    """One stage for all recipes, seeds and targets; encoders that are not healed have nothing to do with it."""
    (stage,) = of_kind(plan, "heal")
    assert isinstance(stage.spec, Heal) and stage.spec.encoder == ENCODER and plan.healed == {ENCODER: stage.key}
    for cell in plan.cells:
        assert (stage.key in plan.behind(cell.predictions)) == (cell.encoder == ENCODER)
    for other in plan.stages.values():
        match other.spec:
            case Train(encoder=encoder, start=start, parts=(part,)) if part.task.name == "mini-nli":
                assert start == (stage.key if encoder == ENCODER else None)
            case Merge(encoder=encoder, start=start):
                assert start == (stage.key if encoder == ENCODER else None)
            case Predict(encoder=encoder, task=task, model=model) if "none" in other.label and task.name != "mini-span":
                assert model == (stage.key if encoder == ENCODER else None)
    assert all(cell.intermediate is None for cell in plan.cells if cell.recipe == "none")


def test_the_plan_says_and_counts_what_is_read(plan: Plan) -> None:
    (stage,) = of_kind(plan, "heal")
    facts, whole = (plan.facts.get(one) for one in (ENCODER, ENCODER.whole))
    assert facts is not None and whole is None
    # two passes of 2 P for the gradient, one forward, and the teacher's, of 12 layers
    least = 3000 * (6 * facts.parameters_without_embeddings + 2 * 21_294_720)
    assert least < stage.flops < 1.05 * least
    (note,) = [note for note in plan.notes if note.startswith("Healed, ")]
    assert "on 3,000 tokens of mini-text before anything else (en, sw: about" in note and ENCODER.label in note
    assert {ref.language for use, ref, _ in plan.data if use == "healing"} == {"en", "sw"}
    assert all(of[""] >= stage.flops for of in plan.flops_by_recipe().values())


def test_another_encoder_leaves_the_stages_of_this_one(plan: Plan) -> None:
    alone = make_plan(make_study({**STUDY, "encoders": [ENCODER.label], "seeds": [2]}))
    assert alone.stages.keys() < plan.stages.keys()


def test_text_that_is_evaluated_on_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    catalog = {"name": "own-text", "format": "mlm", "description": "x", "languages": ["en"], "metric": "loss",
               "files": {"reader": "lines", "train": "text/{lang}.txt"}, "licence": "x", "citation": "x",
               "provenance": "x"}  # fmt: skip
    (tmp_path / "own.yaml").write_text(json.dumps(catalog))
    passage = next(one for one in examples(next(ref for use, ref, _ in make_plan(make_study(STUDY)).data
                                               if use == "evaluation" and ref.language == "en"))).context  # fmt: skip
    lines = [f"This is sentence number {i} of a text that nobody asks about, and it goes on." for i in range(60)]
    (tmp_path / "text" / "en.txt").write_text("\n".join([*lines, passage]))
    study = {**STUDY, "healing": {"task": "own-text"}, "data": str(tmp_path), "tasks": [str(tmp_path / "own.yaml")],
             "on_overlap": "drop"}  # fmt: skip
    (stage,) = of_kind(make_plan(make_study(study)), "heal")
    assert isinstance(stage.spec, Heal)
    read = [one.text for ref in stage.spec.texts for one in examples(ref)]
    assert read == lines


#: Heals, writing a checkpoint every other step.
RUN = """
import json, sys
from xstilts.engine.training.checkpoints import Policy
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
plan = make_plan(make_study(json.loads(sys.argv[1])))
(stage,) = (stage for stage in plan.stages.values() if stage.kind == "heal")
run_stage(stage, Store(sys.argv[2]), lambda event: print(event.done, flush=True), Policy(every_steps=2))
"""


def test_healing_that_is_killed_goes_on_to_the_same_artifact(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    study = {**STUDY, "encoders": [f"{bundled.NAME}@1 ffn 96 healed 2500"]}
    (stage,) = of_kind(make_plan(make_study(study)), "heal")
    whole, killed = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    try:
        torch.set_num_threads(1)
        run_stage(stage, whole, silent)
        command = [sys.executable, "-c", "import torch; torch.set_num_threads(1)" + RUN, json.dumps(study), killed.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) == 7:
                    process.send_signal(signal.SIGKILL)
        assert killed.peek(stage.key) is None
        run_stage(stage, killed, silent)
    finally:
        torch.set_num_threads(threads)
    expected, artifact = whole.get(stage.key), killed.get(stage.key)
    assert expected is not None and artifact is not None
    assert artifact.meta["resumed_at"] and "resumed_at" in expected.meta and not expected.meta["resumed_at"]
    assert artifact.meta["error"] == expected.meta["error"] < expected.meta["error_before"]
    assert artifact.files["model.safetensors"] == expected.files["model.safetensors"]


def test_a_healed_encoder_is_handed_over_whole(healed: Healed, tmp_path: Path) -> None:
    plan = make_plan(make_study(STUDY))
    store = Store(tmp_path / "store")
    with pytest.raises(UserError, match="is not in the store yet; `xstilts run` heals it"):
        export_healed(plan, store, ENCODER, tmp_path / "out")
    key = plan.healed[ENCODER]
    record = HealRecord(error_before=healed.before, error=healed.error, steps=9, tokens=3010, precision="fp32")
    with store.publish(key) as (folder, meta):
        save_healed(healed.student, folder)
        meta |= record.to_json()
    out = export_healed(plan, store, healed_encoder(plan, None), tmp_path / "out")
    model, info = AutoModel.from_pretrained(out, output_loading_info=True)
    assert not info["unexpected_keys"] and all(name.startswith("pooler.") for name in info["missing_keys"])
    assert model.encoder.layer[0].attention.self.query.out_features == 384  # heads of 0 among them
    assert model.get_input_embeddings().num_embeddings == model.config.vocab_size
    own = torch.tensor([[0, 40, 90, 160, 250, 2]])  # rows of the pieces that the student knows
    with torch.no_grad():
        given, wanted = model.eval()(healed.student.ids[own]), healed.student.model.eval()(own)
    assert torch.allclose(given.last_hidden_state, wanted.last_hidden_state, atol=1e-5)
    card = (out / "README.md").read_text("utf-8")
    assert "the layers 0, 2 (counted from 0) with 96 feed-forward units and 6 attention heads in each" in card
    assert "on 3,010 tokens of plain text" in card and f"{healed.error:.3f}" in card
    assert (out / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("encoders", "label", "told"),
    [
        ([f"{bundled.NAME}@1"], None, "no encoder of the study is healed"),
        ([f"{bundled.NAME}@{n} healed 1k" for n in (1, 2)], None, "name one with --encoder: bundled/e5-small@1 healed"),
        ([f"{bundled.NAME}@1 healed 1k"], f"{bundled.NAME}@2 healed 1k", "did you mean 'bundled/e5-small@1 healed 1k'"),
    ],
)  # fmt: skip
def test_which_healed_encoder(encoders: list[str], label: str | None, told: str) -> None:
    study = {**STUDY, "encoders": encoders}
    if "healed" not in encoders[0]:
        del study["healing"]
    with pytest.raises(UserError) as error:
        healed_encoder(make_plan(make_study(study)), label)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoders": [{"source": bundled.NAME, "heal": 100}]}, "encoders.0: `heal` is for pretrained encoders"),
        ({"encoders": [f"{bundled.NAME}@1 healed 1k random"]}, "encoders.0: `heal` is for pretrained encoders"),
        ({"encoders": [f"{bundled.NAME}@1"]}, "healing: no encoder of the study has `heal`"),
        (
            {"healing": {"task": "mini-nli"}},
            "healing: mini-nli is of format classification; choose a task",
        ),
        ({"healing": {"task": "mini-text", "languages": ["xx"]}}, "healing: unknown language 'xx'"),
        ({"healing": {"learning_rate": 2}}, "healing.learning_rate: "),
        ({"healing": {"tokens": 2}}, "healing.tokens: unknown key"),
    ],
)
def test_what_cannot_be_healed_is_told_before_anything_runs(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        make_study({**STUDY, **changes})
    assert told in str(error.value) and "\n" not in str(error.value)


def test_lines_longer_than_the_encoder_reads_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"training of mini-text \(healing\): max_length 600 is more than the 512 tokens"
    ):
        make_plan(make_study({**STUDY, "healing": {**STUDY["healing"], "max_length": 600}}))
