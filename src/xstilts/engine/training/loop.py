"""The training loop: rows of one or several tasks in, the best weights by English dev score out."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, zip_longest
from statistics import fmean

import torch

from xstilts.common.errors import StageError
from xstilts.common.units import parse_memory
from xstilts.engine.heads import Format
from xstilts.engine.machine import memory
from xstilts.engine.machine.device import accelerator, autocast
from xstilts.engine.machine.dropout import drawing_from, redrawing
from xstilts.engine.machine.threads import side_by_side
from xstilts.engine.models import Joint
from xstilts.engine.rows import IGNORED, Row, pad, padded
from xstilts.engine.training import averaging, parallel
from xstilts.engine.training.averaging import Snapshots
from xstilts.engine.training.checkpoints import Checkpoints, Training
from xstilts.engine.training.log import Log, Point
from xstilts.engine.training.mixture import Step, Stream, order, steps
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.planning.recipe import PROPORTIONAL, Sampling
from xstilts.planning.steps import step_counts


def train(
    model: Joint,
    streams: Sequence[Stream],
    hyper: Hyperparameters,
    *,
    seed: int,
    precision: str,
    pad_id: int,
    dev_scores: Callable[[], dict[str, float]],
    progress: Callable[[int, int, dict[str, float]], None],
    sampling: Sampling = PROPORTIONAL,
    mlm_share: float = 0.0,
    checkpoints: Checkpoints | None = None,
    snapshots: Snapshots | None = None,
) -> Log:
    """Train ``model`` in place and leave in it the weights with the best mean dev score (the first, if tied).

    ``streams`` are the tasks' rows; where there are several, ``sampling`` and ``mlm_share`` say which of them each
    step is of (see `mixture`). ``dev_scores`` evaluates the model as it is, task by task, in points, after each
    epoch of a single task; of several, as often as the most epochs of one, at equal distances. ``progress`` is told
    (step, all steps, values by name): loss and tokens_per_second, or dev scores. AdamW without decay on biases and
    norms, linear schedule, gradient clipping once a step, as ``hyper`` has it. A batch that does not fit
    ``hyper.memory``, or the memory that there is, goes through in parts, whose gradients add up to the batch's.
    With ``checkpoints`` it goes on where an earlier attempt was. ``snapshots`` are taken meanwhile, in the first
    process. Raises StageError where the loss or the gradient is not finite, or no division of the batches fits.
    """
    engine = accelerator()
    # Of a model that is shared out, the first process keeps a whole one beside it, to evaluate and to save.
    shared_out = hyper.sharding == "full" and engine.num_processes > 1
    trained = parallel.sharded(model) if shared_out else model.to(engine.device)
    budget = parse_memory(hyper.memory) if hyper.memory else None
    divisions = {stream.task: memory.divide(model.model(stream.task), stream.rows, precision, budget, model)
                 for stream in streams}  # fmt: skip
    course = _course(streams, sampling, mlm_share, seed)
    all_steps = len(course.streams)
    optimizer = torch.optim.AdamW(
        _parameter_groups(trained, hyper), hyper.learning_rate, eps=hyper.adam_epsilon, fused=True
    )
    scaler = torch.amp.GradScaler(engine.device.type, enabled=precision == "fp16")
    torch.manual_seed(seed)
    undrawn = torch.get_rng_state()
    run = Training(trained, optimizer, scaler, divisions, snapshots=snapshots)
    snapped_after = snapshots.after(all_steps) if snapshots else frozenset()
    if checkpoints:
        checkpoints.restore(run)
    for task, division in divisions.items():
        if division.checkpointing:
            _recompute(trained, task)
    log = run.log
    tasks = [stream.task for stream in streams if stream.supervised]
    every = max(1, all_steps // 50)
    began, tokens_before = time.perf_counter(), log.tokens

    def gradients(stream: Stream, part: _Part) -> float | None:
        """Add the part's to the model's; gives its loss, times its share, or None where memory ran out."""
        inputs = {name: tensor.to(engine.device) for name, tensor in part.inputs.items()}
        try:
            with drawing_from(part.generator):
                with autocast(precision):
                    loss = part.share * stream.format.loss(partial(trained, stream.task), inputs)
                scaler.scale(loss).backward()
            return loss.item()
        except (RuntimeError, MemoryError) as error:
            if not memory.ran_out(error):
                raise
            if shared_out:  # the others wait for this one's share of the weights
                raise StageError(
                    f"out of memory in a step of {stream.task}; set `memory`, or lower max_length"
                ) from None
            return None

    def gradients_of_all(step: Step, wanted: bool) -> tuple[float, bool]:
        """Those of a step's batch; gives its loss, and whether the first process ``wanted`` something."""
        task = step.stream.task
        while True:
            division = divisions[task]
            divided = _divided(step.rows, division)
            parts = list(_parts(divided, step.stream.format, pad_id, f"{seed}/{log.steps}"))
            # A model with dropout of its own draws from the generator that threads share, as the first step shows.
            unshared = division.halves and log.steps and torch.equal(torch.get_rng_state(), undrawn)
            groups = [parts] if unshared else [[part] for part in parts]
            values = [value for group in groups for value in at_once(partial(gradients, step.stream), group)]
            failed = None in values
            value, failures, asked = parallel.sums(
                sum(value or 0.0 for value in values), failed, wanted and engine.is_main_process
            )
            if not failures:
                parallel.sum_gradients(trained)
                return value, asked > 0
            optimizer.zero_grad()
            divisions[task] = _smaller(trained, task, division, divided)
            log.halvings += 1

    trained.train()
    with side_by_side(2 if any(division.halves for division in divisions.values()) else 1) as at_once:
        for step in steps(streams, course.streams, seed, log.steps):
            value, due = gradients_of_all(step, checkpoints is not None and checkpoints.due(log.steps + 1))
            if not math.isfinite(value):
                raise StageError(f"loss is {value} at step {log.steps + 1} on {_names(step)}; lower learning_rate")
            scaler.unscale_(optimizer)
            norm = parallel.full(torch.nn.utils.clip_grad_norm_(trained.parameters(), hyper.max_grad_norm)).item()
            if not math.isfinite(norm) and (not scaler.is_enabled() or scaler.get_scale() < 1):
                # In fp16 that is how the scaler finds its scale: it passes over the step and halves it.
                raise StageError(f"gradient is {norm} at step {log.steps + 1} on {_names(step)}; lower learning_rate")
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(hyper, log.steps, all_steps)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            log.steps += 1
            log.tokens += sum(row.tokens for row in step.rows)
            log.sequences += sum(len(row.sequences) for row in step.rows)
            log.steps_of[step.stream.task] = log.steps_of.get(step.stream.task, 0) + 1
            log.losses.append(value)
            last = log.steps == all_steps
            if log.steps % every == 0 or last:
                log.points.append(Point(log.steps, loss=sum(log.losses) / len(log.losses)))
                log.losses = []
                speed = (log.tokens - tokens_before) / (time.perf_counter() - began)
                progress(log.steps, all_steps, {"loss": log.points[-1].loss or 0.0, "tokens_per_second": speed})
            if log.steps in course.evaluated_after | snapped_after:
                parallel.collect(trained, model)
            if snapshots and log.steps in snapped_after and engine.is_main_process:
                snapshots.take(model)
            if log.steps in course.evaluated_after:
                of = parallel.from_first(dev_scores, tasks)
                trained.train()
                dev = fmean(of.values())
                log.points.append(Point(log.steps, dev=dev))
                progress(
                    log.steps,
                    all_steps,
                    {"dev": dev} | {f"dev/{task}": score for task, score in of.items() if len(of) > 1},
                )
                if dev > log.best_dev:
                    log.best_dev, log.best_step, log.dev_of = dev, log.steps, of
                    if engine.is_main_process:
                        run.best = None if last else {name: value.clone() for name, value in averaging.trained(model)}
            if checkpoints and due and not last:
                checkpoints.write(run)
    model.eval()
    if run.best is not None:
        averaging.put(run.best, model)
    return log


@dataclass(frozen=True)
class _Course:
    """The stream of each step, and after how many steps the model is evaluated."""

    streams: list[int]
    evaluated_after: frozenset[int]


def _course(streams: Sequence[Stream], sampling: Sampling, mlm_share: float, seed: int) -> _Course:
    supervised = [stream for stream in streams if stream.supervised]
    epochs = max(stream.hyper.epochs for stream in supervised)
    if len(streams) == 1:
        ends = list(accumulate(len(streams[0].batches(seed, epoch)) for epoch in range(epochs)))
        return _Course([0] * ends[-1], frozenset(ends))
    counts, mlm = step_counts(
        [len(stream.rows) for stream in supervised], [stream.hyper for stream in supervised], sampling, mlm_share
    )
    left = iter(counts)
    chosen = order([next(left) if stream.supervised else mlm for stream in streams], seed)
    return _Course(chosen, frozenset(round(len(chosen) * (i + 1) / epochs) for i in range(epochs)))


def _learning_rate(hyper: Hyperparameters, step: int, steps: int) -> float:
    """Of the step after ``step`` ones: it rises linearly during warm-up, and falls linearly to 0 at the end."""
    warmup = round(hyper.warmup * steps) if hyper.warmup < 1 else int(hyper.warmup)
    if step < warmup:
        return hyper.learning_rate * (step / max(1, warmup))
    return hyper.learning_rate * max(0.0, (steps - step) / max(1, steps - warmup))


def _names(step: Step) -> str:
    return ", ".join(map(step.stream.name_of, step.rows))


@dataclass(frozen=True)
class _Part:
    """What goes through the model at once of a batch."""

    inputs: dict[str, torch.Tensor]  # [rows, (choices,) length], and the targets
    share: float  # of the batch's targets: the weight of its loss
    generator: torch.Generator  # of its dropout


def _divided(batch: Sequence[Row], division: memory.Division) -> list[list[list[Row]]]:
    """The parts of a batch, by process."""
    processes = accelerator().num_processes
    shares = [batch[i::processes] for i in range(processes)]
    return [division.parts(rows) if rows else [] for rows in shares]


def _parts(divided: Sequence[Sequence[Sequence[Row]]], fmt: Format, pad_id: int, seed: str) -> Iterator[_Part]:
    """This process's parts. Every process has as many, since they may exchange weights with each."""
    own = accelerator().process_index
    total = sum(_count(part, fmt) for parts in divided for part in parts)
    spare = next(part for parts in divided for part in parts)[:1]
    seeds = random.Random(f"{seed}/{own}")
    for parts in zip_longest(*divided):
        part, share = (parts[own], _count(parts[own], fmt) / total) if parts[own] else (spare, 0.0)
        inputs = pad(part, pad_id) | fmt.targets(part, padded(max(row.length for row in part)))
        yield _Part(inputs, share, torch.Generator().manual_seed(seeds.getrandbits(63)))


def _smaller(
    model: Joint, task: str, division: memory.Division, divided: Sequence[Sequence[Sequence[Row]]]
) -> memory.Division:
    """How to go on after a batch that was ``divided`` did not fit. Raises StageError where nothing is left to try."""
    if accelerator().device.type == "cuda":
        torch.cuda.empty_cache()
    parts = [part for parts in divided for part in parts]
    smaller = division.smaller(parts)
    if smaller is None:
        longest = max(row.length for part in parts for row in part)
        raise StageError(
            f"out of memory with a single row of {task}, of up to {longest} tokens, and activations recomputed; "
            "lower max_length, take a smaller encoder, or run fewer stages at the same time"
        )
    if smaller.checkpointing and not division.checkpointing:
        _recompute(model, task)
    return smaller


def _recompute(model: Joint, task: str) -> None:
    """Recompute the activations of a task's model in its backward pass, in place of keeping them."""
    one = model.model(task)
    # The new name is not in the last Transformers for Python 3.10, 5.20.
    enable = getattr(one, "activation_checkpointing_enable", None) or one.gradient_checkpointing_enable
    enable({"use_reentrant": False, "context_fn": redrawing})


def _count(rows: Sequence[Row], fmt: Format) -> int:
    """Targets that the loss is a mean over."""
    targets = fmt.targets(rows, padded(max(row.length for row in rows)))
    return int((next(iter(targets.values())) != IGNORED).sum())


def _parameter_groups(model: torch.nn.Module, hyper: Hyperparameters) -> list[dict[str, object]]:
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
        (decayed if parameter.ndim >= 2 else plain).append(parameter)  # biases and norm weights are vectors
    return [{"params": decayed, "weight_decay": hyper.weight_decay}, {"params": plain, "weight_decay": 0.0}]
