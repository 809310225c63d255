"""The training loop: rows of one task in, the best weights by English dev score out."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from xstilts.errors import StageError
from xstilts.study import Hyperparameters
from xstilts.tasks.formats import IGNORED, Format, Row, pad, padded
from xstilts.training import memory
from xstilts.training.batches import training_batches
from xstilts.training.device import accelerator, autocast
from xstilts.training.dropout import drawing_from, redrawing
from xstilts.training.threads import AtOnce, side_by_side
from xstilts.units import parse_memory


@dataclass(frozen=True)
class Point:
    """A point of the training curve: mean loss since the last one, or the English dev score, after ``step`` steps."""

    step: int
    loss: float | None = None
    dev: float | None = None


@dataclass
class Log:
    """What a training leaves beside the weights."""

    points: list[Point] = field(default_factory=list)
    steps: int = 0
    tokens: int = 0  # real ones, without padding
    best_step: int = 0
    best_dev: float = -math.inf


def train(
    model: PreTrainedModel,
    rows: Sequence[Row],
    fmt: Format,
    hyper: Hyperparameters,
    *,
    seed: int,
    precision: str,
    pad_id: int,
    dev_score: Callable[[], float],
    name_of: Callable[[Row], str],
    progress: Callable[[int, int, float, float], None],
) -> Log:
    """Train ``model`` in place and leave in it the weights of the epoch with the best dev score (the first, if tied).

    ``dev_score`` evaluates the model as it is, in points; ``name_of`` names a row in error messages; ``progress`` is
    told (step, all steps, loss, tokens a second). AdamW without decay on biases and norms, linear schedule, gradient
    clipping once a step. A batch that does not fit ``hyper.memory`` goes through in parts, whose gradients add up to
    the batch's. Raises StageError where the loss is not finite, or no division of the batches fits.
    """
    engine = accelerator()
    division = memory.divide(model, rows, precision, parse_memory(hyper.memory) if hyper.memory else None)
    if division.checkpointing:
        # The new name is not in the last Transformers for Python 3.10, 5.20.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False, "context_fn": redrawing})
    lengths = [row.length * len(row.sequences) for row in rows]
    epochs = [
        training_batches(lengths, hyper.batch_size, seed, epoch, hyper.batch_tokens) for epoch in range(hyper.epochs)
    ]
    all_steps = sum(map(len, epochs))
    warmup = round(hyper.warmup * all_steps) if hyper.warmup < 1 else int(hyper.warmup)
    groups = _parameter_groups(model, hyper)
    optimizer = torch.optim.AdamW(groups, hyper.learning_rate, eps=hyper.adam_epsilon, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, all_steps)
    scaler = torch.amp.GradScaler(engine.device.type, enabled=precision == "fp16")
    model, optimizer = engine.prepare(model, optimizer)
    log, best = Log(), None
    every = max(1, all_steps // 50)
    losses: list[float] = []
    began = time.perf_counter()
    torch.manual_seed(seed)
    state = torch.get_rng_state()

    def gradients(part: _Part) -> float:
        """Add the part's to the model's; gives its loss, times its share."""
        inputs = {name: tensor.to(engine.device) for name, tensor in part.inputs.items()}
        with drawing_from(part.generator):
            with autocast(precision):
                loss = part.share * fmt.loss(model, inputs)
            engine.backward(scaler.scale(engine.num_processes * loss))  # their gradients are averaged
        return loss.item()

    def gradients_of_all(batch: Sequence[Row], at_once: AtOnce) -> float:
        """Those of a batch; gives its loss."""
        parts = list(_parts(batch, division, fmt, pad_id, f"{seed}/{log.steps}"))
        # A model with dropout of its own draws from the generator that threads share, as the first step shows.
        if log.steps and torch.equal(torch.get_rng_state(), state):
            value = sum(at_once(gradients, parts))
        else:
            value = sum(next(iter(at_once(gradients, [part]))) for part in parts)
        if engine.num_processes > 1:
            value = engine.reduce(torch.tensor(value, device=engine.device)).item()
        return value

    with side_by_side(2 if division.halves else 1) as at_once:
        for epoch, batches in enumerate(epochs):
            model.train()
            for batch in batches:
                chosen = [rows[i] for i in batch]
                value = gradients_of_all(chosen, at_once)
                if not math.isfinite(value):
                    names = ", ".join(name_of(row) for row in chosen)
                    raise StageError(f"loss is {value} at step {log.steps + 1} on {names}; lower learning_rate")
                scaler.unscale_(optimizer)
                engine.clip_grad_norm_(model.parameters(), hyper.max_grad_norm)
                scaler.step(optimizer)
                scaler.update()
                schedule.step()
                optimizer.zero_grad()
                log.steps += 1
                log.tokens += sum(row.tokens for row in chosen)
                losses.append(value)
                if log.steps % every == 0 or log.steps == all_steps:
                    mean = sum(losses) / len(losses)
                    log.points.append(Point(log.steps, loss=mean))
                    progress(log.steps, all_steps, mean, log.tokens / (time.perf_counter() - began))
                    losses = []
            dev = dev_score()
            log.points.append(Point(log.steps, dev=dev))
            if dev > log.best_dev:
                log.best_dev, log.best_step = dev, log.steps
                last = epoch == hyper.epochs - 1
                best = None if last else {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if best is not None:
        model.load_state_dict(best)
    engine.free_memory()  # it holds on to what it prepared
    return log


@dataclass(frozen=True)
class _Part:
    """What goes through the model at once of a batch."""

    inputs: dict[str, torch.Tensor]  # [rows, (choices,) length], and the targets
    share: float  # of the batch's targets: the weight of its loss
    generator: torch.Generator  # of its dropout


def _parts(batch: Sequence[Row], division: memory.Division, fmt: Format, pad_id: int, seed: str) -> Iterator[_Part]:
    """This process's parts of a batch: every process has as many, since they add up gradients part by part."""
    engine = accelerator()
    rows_by_process = [batch[i :: engine.num_processes] for i in range(engine.num_processes)]
    divided = [division.parts(rows) if rows else [] for rows in rows_by_process]
    total = sum(_count(part, fmt) for parts in divided for part in parts)
    own = divided[engine.process_index]
    seeds = random.Random(f"{seed}/{engine.process_index}")
    for i in range(max(map(len, divided))):
        part, share = (own[i], _count(own[i], fmt) / total) if i < len(own) else (batch[:1], 0.0)
        inputs = pad(part, pad_id) | fmt.targets(part, padded(max(row.length for row in part)))
        yield _Part(inputs, share, torch.Generator().manual_seed(seeds.getrandbits(63)))


def _count(rows: Sequence[Row], fmt: Format) -> int:
    """Targets that the loss is a mean over."""
    targets = fmt.targets(rows, padded(max(row.length for row in rows)))
    return int((next(iter(targets.values())) != IGNORED).sum())


def _parameter_groups(model: PreTrainedModel, hyper: Hyperparameters) -> list[dict[str, object]]:
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
        (decayed if parameter.ndim >= 2 else plain).append(parameter)  # biases and norm weights are vectors
    return [{"params": decayed, "weight_decay": hyper.weight_decay}, {"params": plain, "weight_decay": 0.0}]
