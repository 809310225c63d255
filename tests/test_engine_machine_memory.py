"""A batch in parts trains as the whole batch does, within the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xstilts.common.errors import StageError
from xstilts.common.progress import silent
from xstilts.common.units import parse_memory
from xstilts.data import mini
from xstilts.encoders import Encoder
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads
from xstilts.engine.machine import memory
from xstilts.engine.models import Trimmed, build_model
from xstilts.engine.rows import Row, padded
from xstilts.engine.training import loop
from xstilts.engine.training.course import Course
from xstilts.engine.training.log import Log
from xstilts.engine.training.mixture import Stream
from xstilts.planning.hyperparameters import Hyperparameters, Lengths
from xstilts.tasks import builtin_catalog

ENCODER = Encoder("bundled/e5-small", layers=1)
HYPER = Hyperparameters(
    epochs=1, batch_size=12, learning_rate=1e-3, warmup=0, weight_decay=0.01, max_length=128, doc_stride=32,
    max_query_length=32, precision="fp32", dropout="none",
)  # fmt: skip

#: With so large an epsilon AdamW's steps are gradients, instead of their signs where they are tiny.
GRADIENTS = HYPER.model_copy(update={"adam_epsilon": 1.0, "learning_rate": 0.01, "max_grad_norm": 1e9})


def built(task_name: str, hyper: Hyperparameters = HYPER, count: int = 24) -> tuple[Trimmed, list[Row], heads.Format]:
    task = builtin_catalog()[task_name]
    fmt = heads.get(task.format)
    examples = mini.generate(task_name.removeprefix("mini-"), "train", "en")[:count]
    rows = fmt.make_rows(examples, task, load_tokenizer(ENCODER), Lengths(128, 32, 32), training=True)
    trimmed = build_model(ENCODER, task, 1, None, rows, head=False, dropout=hyper.dropout)
    return trimmed, trimmed.rows(rows), fmt


def trained(task_name: str, hyper: Hyperparameters) -> tuple[Log, dict[str, torch.Tensor]]:
    trimmed, rows, fmt = built(task_name, hyper)
    stream = Stream(task_name, fmt, rows, hyper, lambda row: str(row.example))
    course = Course([stream], hyper, seed=1, precision=hyper.precision, pad_id=1)
    log = loop.train(trimmed.joint, course, lambda: {task_name: 0.0}, silent)
    return log, trimmed.model.state_dict()


@pytest.mark.parametrize("task", ["mini-span", "mini-nli", "mini-choice", "mini-pos"])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, expected = trained(task, GRADIENTS)
    monkeypatch.setattr(memory, "divide", lambda *_: memory.Division(tokens=200))
    parts, weights = trained(task, GRADIENTS)
    assert [point.loss for point in parts.points[:-1]] == pytest.approx([point.loss for point in whole.points[:-1]])
    assert (parts.steps, parts.tokens) == (whole.steps, whole.tokens)
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-5, msg=name)


def test_recomputing_activations_changes_no_bit_dropout_included(monkeypatch: pytest.MonkeyPatch) -> None:
    hyper = HYPER.model_copy(update={"dropout": "preset"})
    monkeypatch.setattr(memory, "divide", lambda *_: memory.Division())
    _, expected = trained("mini-span", hyper)
    monkeypatch.setattr(memory, "divide", lambda *_: memory.Division(checkpointing=True))
    _, weights = trained("mini-span", hyper)
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_halves_side_by_side_compute_the_bits_that_they_do_one_after_the_other(
    precision: str, threads: Callable[[int], None]
) -> None:
    hyper = HYPER.model_copy(update={"dropout": "preset", "precision": precision})
    threads(1)
    one, expected = trained("mini-span", hyper)
    threads(2)
    two, weights = trained("mini-span", hyper)
    assert one == two and torch.get_num_threads() == 2
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def test_a_model_with_dropout_of_its_own_stays_reproducible(
    monkeypatch: pytest.MonkeyPatch, threads: Callable[[int], None]
) -> None:
    monkeypatch.setattr("xstilts.engine.models.replace_dropout", lambda model: None)
    hyper = HYPER.model_copy(update={"dropout": "preset"})
    threads(2)
    (_, once), (_, again) = trained("mini-span", hyper), trained("mini-span", hyper)
    assert all(torch.equal(again[name], tensor) for name, tensor in once.items())


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_fp16_trains_with_a_scaled_loss() -> None:
    losses = {}
    for precision in ("fp16", "fp32"):
        log, _ = trained("mini-nli", HYPER.model_copy(update={"precision": precision}))
        losses[precision] = [point.loss for point in log.points]
    assert losses["fp16"][:-1] == pytest.approx(losses["fp32"][:-1], rel=2e-3)
    assert losses["fp16"] != losses["fp32"]


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=30), limit=st.integers(1, 400))
def test_parts_hold_each_row_once_in_order_within_the_limit(lengths: list[int], limit: int) -> None:
    rows = [Row(i, [[5] * length]) for i, length in enumerate(lengths)]
    parts = memory.Division(limit).parts(rows)
    assert [row for part in parts for row in part] == rows
    for part in parts:
        assert len(part) == 1 or len(part) * max(padded(row.length) for row in part) <= limit


def test_a_budget_divides_first_then_recomputes_then_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed, rows, _ = built("mini-span")
    monkeypatch.setattr(memory, "held", lambda: 10**9)
    fixed = 10**9 + 12 * sum(parameter.numel() for parameter in trimmed.model.parameters())
    longest = max(rows, key=lambda row: row.length)
    size = padded(longest.length)

    def budget(rows_that_fit: float, checkpointing: bool) -> int:
        each = size * memory.activation_bytes(trimmed.model, longest.length, "fp32", checkpointing=checkpointing)
        return round((fixed + rows_that_fit * each) / memory.USABLE) + 1

    assert memory.divide(trimmed.model, rows, "fp32", None) == memory.Division(halves=True)
    division = memory.divide(trimmed.model, rows, "fp32", budget(3.0, False))
    assert division.tokens == pytest.approx(3 * size, abs=1) and not division.checkpointing
    deep = trimmed.model.config
    monkeypatch.setattr(deep, "num_hidden_layers", 24)  # where recomputing saves most
    assert memory.divide(trimmed.model, rows, "fp32", budget(1.5, True)).checkpointing
    with pytest.raises(StageError, match=r"memory .* is too little: about .* are needed for one row of"):
        memory.divide(trimmed.model, rows, "fp32", budget(0.5, True))


def test_peak_is_of_what_came_after_the_reset() -> None:
    big = torch.ones(60_000_000)
    memory.reset_peak()
    assert memory.peak() >= big.nbytes
    del big
    memory.reset_peak()
    before = memory.peak()
    again = torch.ones(60_000_000)
    assert memory.peak() - before == pytest.approx(again.nbytes, rel=0.2)


@pytest.mark.parametrize(("text", "size"), [("8GB", 8e9), ("512 mb", 512e6), ("1.5GiB", 1.5 * 2**30)])
def test_sizes_of_memory(text: str, size: float) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["8", "eight GB", "-1GB", "8 KB"])
def test_what_is_no_size_of_memory_is_refused_with_the_study(text: str) -> None:
    with pytest.raises(ValueError, match="is no size of memory; write it as 8GB"):
        Hyperparameters.model_validate({**HYPER.model_dump(), "memory": text})


# -- out of memory --------------------------------------------------------------------------------------------------


class Cramped:
    """Has room for so many rows at once, for one at a time when ``recomputing``, and remembers how many it was given.

    It fails in the backward pass of every second batch, so that gradients are there already.
    """

    def __init__(self, model: torch.nn.Module, rows: int, error: type[BaseException], recomputing: int = 1) -> None:
        self.model, self.rows, self.error, self.recomputing, self.given = model, rows, error, recomputing, [0]
        model.register_forward_pre_hook(self.before, with_kwargs=True)
        model.classifier.register_full_backward_hook(self.after)

    def room(self) -> int:
        return self.recomputing if self.rows == 0 and self.recomputes() else self.rows

    def recomputes(self) -> bool:
        return any(getattr(module, "gradient_checkpointing", False) for module in self.model.modules())

    def before(self, model: torch.nn.Module, arguments: object, inputs: dict[str, torch.Tensor]) -> None:
        self.given.append(len(inputs["input_ids"]))
        if self.given[-1] > self.room() and len(self.given) % 2:
            raise self.error("CUDA out of memory. Tried to allocate 9.00 GiB")

    def after(self, *_: object) -> None:
        if self.given[-1] > self.room():
            raise self.error("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")


def cramped(
    hyper: Hyperparameters, monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[Log, dict[str, torch.Tensor], Cramped]:
    """Trained on mini-nli by a model without much room."""
    made = []
    build = globals()["built"]

    def build_cramped(*given: object) -> object:
        trimmed, rows, fmt = build(*given)
        made.append(Cramped(trimmed.model, *arguments))  # type: ignore[arg-type]
        return trimmed, rows, fmt

    with monkeypatch.context() as patch:
        patch.setitem(globals(), "built", build_cramped)
        log, weights = trained("mini-nli", hyper)
    return log, weights, made[0]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_trains_the_same(
    error: type[BaseException], count: int, monkeypatch: pytest.MonkeyPatch, threads: Callable[[int], None]
) -> None:
    threads(count)
    whole, expected = trained("mini-nli", GRADIENTS)
    parts, weights, model = cramped(GRADIENTS, monkeypatch, 2, error)
    assert whole.halvings == 0 and parts.halvings == 2  # 12 rows, halves of 6 on the CPU, then 3, then 1 or 2
    assert max(model.given[-6:]) <= 2
    assert [point.loss for point in parts.points[:-1]] == pytest.approx([point.loss for point in whole.points[:-1]])
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-5, msg=name)


def test_what_does_not_fit_as_a_single_row_is_recomputed_else_the_stage_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, expected = trained("mini-nli", GRADIENTS)
    log, weights, _ = cramped(GRADIENTS, monkeypatch, 0, MemoryError)
    assert log.halvings == 4  # 6 → 3 → 1, then a row with its activations recomputed
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-5, msg=name)
    with pytest.raises(StageError, match=r"out of memory with a single row of mini-nli.*lower max_length"):
        cramped(GRADIENTS, monkeypatch, 0, MemoryError, 0)


def test_other_errors_are_not_taken_for_a_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(RuntimeError):
        def __init__(self, text: str) -> None:
            super().__init__("shapes do not match")

    with pytest.raises(Wrong, match="shapes"):
        cramped(HYPER, monkeypatch, 0, Wrong)


def test_a_gradient_that_is_no_number_stops_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    build = built

    def spoilt(*arguments: object) -> object:
        trimmed, rows, fmt = build(*arguments)  # type: ignore[arg-type]
        trimmed.model.classifier.weight.register_hook(lambda gradient: gradient * float("inf"))
        return trimmed, rows, fmt

    monkeypatch.setitem(globals(), "built", spoilt)
    with pytest.raises(StageError, match=r"gradient is (inf|nan) at step 1 on \d+, .*; lower learning_rate"):
        trained("mini-nli", HYPER)
