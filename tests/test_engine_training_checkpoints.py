"""A training that is interrupted and goes on computes the bits of one that was not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from xstilts.common.progress import Event, silent
from xstilts.data import load
from xstilts.encoders import Encoder, describe
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads
from xstilts.engine.heads.mlm import Masked
from xstilts.engine.machine.device import is_slow
from xstilts.engine.machine.memory import Division
from xstilts.engine.models import build_models
from xstilts.engine.training import checkpoints as module
from xstilts.engine.training import loop, lora
from xstilts.engine.training.averaging import Snapshots
from xstilts.engine.training.checkpoints import Checkpoints, Policy
from xstilts.engine.training.course import Course
from xstilts.engine.training.log import Log
from xstilts.engine.training.mixture import Stream
from xstilts.planning.hyperparameters import Hyperparameters, Lora
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store, logs
from xstilts.tasks import builtin_catalog

ENCODER = Encoder("bundled/e5-small", layers=1)
HYPER = Hyperparameters(
    epochs=3, batch_size=8, learning_rate=1e-3, warmup=0.1, weight_decay=0.01, max_length=48, doc_stride=16,
    max_query_length=16, precision="fp32",
)  # fmt: skip
KEY = "ab" * 32


@pytest.fixture(autouse=True)
def a_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Interrupted(Exception):
    pass


class Stopping(Checkpoints):
    """Interrupts a training before step ``stop``."""

    stop: int | None = None

    def due(self, step: int) -> bool:
        if step == self.stop:
            raise Interrupted
        return super().due(step)


def checkpoints_in(folder: Path, every_steps: int = 2, stop: int | None = None, precision: str = "fp32") -> Stopping:
    own = Stopping(Store(folder), KEY, {"precision": precision}, Policy(every_steps=every_steps))
    own.stop = stop
    return own


def train(
    tasks: tuple[str, ...], checkpoints: Checkpoints | None = None, snapshots: Snapshots | None = None, **changes: Any
) -> tuple[Log, dict[str, torch.Tensor]]:
    """Train on some tasks, of which mini-text is MLM. The dev score is a number that a single bit would change.

    Gives the log, and the weights with those of the ``snapshots``.
    """
    hyper = HYPER.model_copy(update=changes)
    tokenizer = load_tokenizer(ENCODER)
    catalog = builtin_catalog()
    rows = {}
    for name in tasks:
        language = "sw" if name == "mini-text" else "en"
        examples = load(catalog[name], "train", language, None)[:24]
        fmt = heads.get(catalog[name].format)
        rows[name] = fmt.make_rows(examples, catalog[name], tokenizer, hyper.lengths, training=True)[:24]
    trimmed = build_models(
        ENCODER, [catalog[name] for name in tasks], 1, None, [row for own in rows.values() for row in own],
        head=False, dropout=hyper.dropout,
    )  # fmt: skip
    if hyper.lora:
        lora.attach(trimmed.joint, hyper.lora, describe(ENCODER), 1)
    special = frozenset(trimmed.mapping[tokenizer.all_special_ids].tolist())
    mask = int(trimmed.mapping[tokenizer.mask_token_id])
    masked: dict[str, Any] = {
        "supervised": False, "view": lambda rows, seed: Masked(rows, special, mask, len(trimmed.ids), seed)
    }  # fmt: skip
    streams = [
        Stream(name, heads.get(catalog[name].format), trimmed.rows(own), hyper, lambda row: str(row.example),
               **(masked if name == "mini-text" else {}))
        for name, own in rows.items()
    ]  # fmt: skip

    def dev_scores() -> dict[str, float]:
        total = sum(float(parameter.detach().double().abs().sum()) for parameter in trimmed.joint.parameters())
        return {name: 1e6 * total % 100 for name in tasks if name != "mini-text"}

    share = 0.25 if "mini-text" in tasks else 0.0
    course = Course(streams, hyper, seed=1, precision=hyper.precision, pad_id=1, mlm_share=share)
    log = loop.train(trimmed.joint, course, dev_scores, silent, checkpoints, snapshots)
    means = {f"mean of {name}": weight for name, weight in snapshots.mean().items()} if snapshots else {}
    return log, trimmed.joint.state_dict() | means


def assert_same(one: tuple[Log, dict[str, torch.Tensor]], other: tuple[Log, dict[str, torch.Tensor]]) -> None:
    assert replace(one[0], resumed_at=[]) == replace(other[0], resumed_at=[])
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(other[1][name], tensor) for name, tensor in one[1].items())


@pytest.mark.parametrize(
    ("tasks", "precision", "stops"),
    [
        (("mini-nli",), "fp32", (3, 7, 9)),  # within an epoch, after the evaluations of one and of two
        pytest.param(("mini-nli",), "fp16", (6,), marks=pytest.mark.soak),
        (("mini-nli", "mini-pos", "mini-text"), "fp32", (6,)),
        # minutes, where the processor has no bf16
        pytest.param(
            ("mini-nli", "mini-pos", "mini-text"), "bf16", (19,), marks=[pytest.mark.soak] if is_slow("bf16") else []
        ),
    ],
)
def test_what_goes_on_computes_the_bits_of_what_was_not_interrupted(
    tasks: tuple[str, ...], precision: str, stops: tuple[int, ...], tmp_path: Path
) -> None:
    whole = train(tasks, precision=precision)
    assert len({point.dev for point in whole[0].points if point.dev is not None}) == 3
    for stop in stops:
        folder = tmp_path / str(stop)
        with pytest.raises(Interrupted):
            train(tasks, checkpoints_in(folder, stop=stop, precision=precision), precision=precision)
        resumed = train(tasks, checkpoints_in(folder, precision=precision), precision=precision)
        assert resumed[0].resumed_at == [(stop - 1) // 2 * 2]
        assert_same(whole, resumed)


def test_snapshots_and_adapters_go_on_too(tmp_path: Path) -> None:
    def run(checkpoints: Checkpoints | None = None) -> tuple[Log, dict[str, torch.Tensor]]:
        snapshots = Snapshots(3, lora.trained)
        return train(("mini-nli",), checkpoints, snapshots, lora=Lora(rank=2))

    whole = run()
    for stop in (3, 9):  # before a snapshot was taken, and after two
        with pytest.raises(Interrupted):
            run(checkpoints_in(tmp_path / str(stop), stop=stop))
        resumed = run(checkpoints_in(tmp_path / str(stop)))
        assert resumed[0].resumed_at and any(name.startswith("mean of ") for name in whole[1])
        assert_same(whole, resumed)


@pytest.mark.soak
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_it_may_be_interrupted_before_any_step(precision: str, tmp_path: Path) -> None:
    tasks = ("mini-nli", "mini-pos", "mini-text")
    whole = train(tasks, precision=precision)
    for stop in range(1, whole[0].steps + 1):
        folder = tmp_path / str(stop)
        with pytest.raises(Interrupted):
            train(tasks, checkpoints_in(folder, 1, stop, precision), precision=precision)
        assert_same(whole, train(tasks, checkpoints_in(folder, 1000, precision=precision), precision=precision))


def test_it_may_be_interrupted_again_and_again(tmp_path: Path) -> None:
    whole = train(("mini-nli",))
    for stop in (3, 5, 6, 9):
        with pytest.raises(Interrupted):
            train(("mini-nli",), checkpoints_in(tmp_path, 1, stop))
    resumed = train(("mini-nli",), checkpoints_in(tmp_path, 1))
    assert resumed[0].resumed_at == [2, 4, 5, 8]
    assert_same(whole, resumed)


def test_a_model_that_draws_from_the_generator_of_the_process_goes_on_with_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xstilts.engine.models.replace_dropout", lambda model: None)
    whole = train(("mini-nli",))
    with pytest.raises(Interrupted):
        train(("mini-nli",), checkpoints_in(tmp_path, stop=6))
    assert_same(whole, train(("mini-nli",), checkpoints_in(tmp_path)))


def test_a_division_that_memory_decided_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xstilts.engine.machine.memory.divide", lambda *_: Division(tokens=100))
    whole = train(("mini-nli",))
    with pytest.raises(Interrupted):
        train(("mini-nli",), checkpoints_in(tmp_path, stop=6))
    monkeypatch.setattr("xstilts.engine.machine.memory.divide", lambda *_: Division(tokens=200))
    assert_same(whole, train(("mini-nli",), checkpoints_in(tmp_path)))


def test_what_is_damaged_or_does_not_agree_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(("mini-nli",))

    def interrupted(name: str) -> Path:
        with pytest.raises(Interrupted):
            train(("mini-nli",), checkpoints_in(tmp_path / name, stop=6))
        return tmp_path / name

    folder = interrupted("damaged")
    (file,) = folder.rglob(module.WEIGHTS)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    damaged = checkpoints_in(folder)
    assert damaged.passed_over == "its checkpoint is passed over: it is damaged, and set aside"
    resumed = train(("mini-nli",), damaged)
    assert resumed[0].resumed_at == []
    assert_same(whole, resumed)
    folder = interrupted("disagreeing")
    assert checkpoints_in(folder, precision="bf16")._found is None
    assert checkpoints_in(folder)._found is not None and checkpoints_in(folder).passed_over is None
    now = module._surroundings()
    other = {**now, "torch": "1.0", "code": {**now["code"], "data": "", "engine": ""}}
    monkeypatch.setattr(module, "_surroundings", lambda: other)
    own = checkpoints_in(folder, precision="bf16")
    assert own._found is None
    assert own.passed_over == (
        f"its checkpoint at step 4 is passed over: other code (data, engine), torch {torch.__version__} → 1.0, "
        "precision fp32 → bf16"
    )


def test_of_the_code_only_that_of_some_rooms_decides_whether_a_training_goes_on(tmp_path: Path) -> None:
    source = Path(module.__file__).parents[2]
    copied = shutil.copytree(source, tmp_path / "xstilts", ignore=shutil.ignore_patterns("__pycache__"))
    code = module._code(copied)
    assert code == module._code(source) and tuple(code) == module.ROOMS
    for room in {path.name for path in copied.iterdir() if path.is_dir()}:
        (copied / room / "__init__.py").write_text("# changed")
        changed = module._code(copied)
        assert {name for name in code if code[name] != changed[name]} == {room} & {*module.ROOMS}
        code = changed


def test_a_training_goes_on_without_checkpoints_where_there_is_no_room_for_them(tmp_path: Path) -> None:
    checkpoints = checkpoints_in(tmp_path)

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    checkpoints.store.publish = full  # type: ignore[method-assign]
    assert_same(train(("mini-nli",)), train(("mini-nli",), checkpoints))
    assert checkpoints.error == "OSError: [Errno 28] No space left on device"


def test_checkpoints_come_so_seldom_that_writing_takes_a_fiftieth_of_the_time(tmp_path: Path) -> None:
    now = 0.0

    class Written(Checkpoints):
        def _files(self, training: Any) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
            nonlocal now
            now += takes
            yield from ()

        def _state(self, training: Any) -> dict[str, Any]:
            return {}

    own = Written(Store(tmp_path), KEY, {}, clock=lambda: now)
    takes, written = 0.1, []
    training = module.TrainingState(None, None, None, {})  # type: ignore[arg-type]
    for step in range(1, 40_000):  # of 0.1 seconds
        now += 0.1
        if own.due(step):
            written.append(now)
            own.write(training)
            takes = min(2 * takes, 6.4)
    assert written[0] == pytest.approx(30)
    gaps = [after - before for before, after in pairwise(written)]
    assert gaps[:3] == pytest.approx([30.2, 30.3, 30.5], abs=0.2)  # seconds + what the last took
    assert gaps[-1] == pytest.approx(50 * 6.4 + 6.4, abs=0.2)


# -- a whole stage ---------------------------------------------------------------------------------------------------

STUDY = {
    "name": "killed", "encoders": ["bundled/e5-small@1"], "recipes": [{"task": "mini-nli", "mlm": {
        "task": "mini-text", "share": 0.2, "training": {"max_train_examples": 20}}}], "targets": ["mini-paraphrase"],
    "seeds": [1], "training": {"max_train_examples": 160, "max_dev_examples": 40, "epochs": 2, "precision": "fp32"},
}  # fmt: skip

#: Trains the first stage of the study, writing a checkpoint every third step.
RUN = """
import json, sys
from xstilts.engine.training.checkpoints import Policy
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store
plan = make_plan(make_study(json.loads(sys.argv[1])))
stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
run_stage(stage, Store(sys.argv[2]), lambda event: print(event.done, flush=True), Policy(every_steps=3))
"""


def test_a_stage_whose_process_is_killed_goes_on_to_the_same_artifact(tmp_path: Path) -> None:
    plan = make_plan(make_study(STUDY))
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    whole = Store(tmp_path / "whole")
    run_stage(stage, whole, lambda *_: None)
    killed = Store(tmp_path / "killed")
    command = [sys.executable, "-c", RUN, json.dumps(STUDY), killed.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 14:
                process.send_signal(signal.SIGKILL)
    assert killed.peek(stage.key) is None and Store(f"{killed.url}/checkpoints").peek(stage.key) is not None
    run_stage(stage, killed, lambda *_: None)
    expected, artifact = whole.get(stage.key), killed.get(stage.key)
    assert expected is not None and artifact is not None
    assert artifact.meta["resumed_at"] and artifact.meta["resumed_at"][0] >= 9
    assert artifact.files["model.safetensors"] == expected.files["model.safetensors"]
    curves = [pl.read_parquet(store.read(stage.key, "curve.parquet") or "") for store in (whole, killed)]
    assert curves[0].equals(curves[1])
    assert artifact.meta["dev_of"] == expected.meta["dev_of"] and artifact.meta["tokens"] == expected.meta["tokens"]
    assert Store(f"{killed.url}/checkpoints").peek(stage.key) is None


def test_a_run_says_why_it_passes_a_checkpoint_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = {**STUDY, "recipes": ["none"], "targets": [{"task": "mini-paraphrase", "max_examples": 4}]}
    (tmp_path / "study.json").write_text(json.dumps(study))
    stage = next(stage for stage in make_plan(make_study(study)).stages.values() if stage.kind == "train")
    store = Store(tmp_path / "store")

    def interrupt(event: Event) -> None:
        if event.done == 5:
            raise Interrupted

    surroundings = {**module._surroundings(), "torch": "2.12.0"}
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(module, "_surroundings", lambda: surroundings)
        run_stage(stage, store, interrupt, Policy(every_steps=3))
    words = [sys.executable, "-m", "xstilts.cli", "run", "study.json", "--store", store.url]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    why = f"its checkpoint at step 3 is passed over: torch 2.12.0 → {torch.__version__}"
    assert f"note: {stage.label}: {why}" in ended.stderr.splitlines()
    notes = [record for record in logs.read(store, stage.key) if record["event"] == "note"]
    assert [record["text"] for record in notes] == [why]
    artifact = store.peek(stage.key)
    assert artifact is not None and artifact.meta["resumed_at"] == []
