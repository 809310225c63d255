"""The training loop: rows of one or several tasks in, the best weights by English dev score out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import fmean

import torch
from torch.nn.utils import clip_grad_norm_

from xstilts.common.errors import StageError
from xstilts.common.progress import Event, Sink, in_words
from xstilts.common.units import parse_memory
from xstilts.engine.machine import memory
from xstilts.engine.machine.device import accelerator
from xstilts.engine.machine.threads import side_by_side
from xstilts.engine.models import Joint
from xstilts.engine.training import averaging, gradients, parallel
from xstilts.engine.training.averaging import Snapshots
from xstilts.engine.training.checkpoints import Checkpoints, TrainingState
from xstilts.engine.training.course import Course
from xstilts.engine.training.log import Log, Point
from xstilts.engine.training.mixture import Step


def train(
    model: Joint,
    course: Course,
    dev_scores: Callable[[], dict[str, float]],
    progress: Sink,
    checkpoints: Checkpoints | None = None,
    snapshots: Snapshots | None = None,
) -> Log:
    """Train ``model`` in place and leave in it the weights with the best mean dev score (the first, if tied).

    ``dev_scores`` evaluates the model as it is, task by task, in points. ``progress`` hears of loss and
    tokens_per_second, and of dev scores. AdamW without decay on biases and norms, linear schedule, gradient clipping
    once a step. A batch that does not fit ``memory``, or the memory that there is, goes through in parts, whose
    gradients add up to the batch's. With ``checkpoints`` it goes on where an earlier attempt was. ``snapshots`` are
    taken meanwhile, in the first process. Raises StageError where the loss or the gradient is not finite, or no
    division of the batches fits.
    """
    run = _begun(model, course, checkpoints, snapshots)
    log, optimizer, scaler, all_steps = run.log, run.optimizer, run.scaler, len(course.order)
    snapped_after = snapshots.after(all_steps) if snapshots else frozenset()
    began, tokens_before = time.perf_counter(), log.tokens
    run.model.train()
    with side_by_side(2 if any(division.halves for division in run.divisions.values()) else 1) as at_once:
        for step in course.steps(log.steps):
            due = checkpoints is not None and checkpoints.due(log.steps + 1)
            loss, due = gradients.add(run, course, step, at_once, due)
            if not math.isfinite(loss):
                raise _diverged("loss", loss, log, step)
            scaler.unscale_(optimizer)
            norm = parallel.full(clip_grad_norm_(run.model.parameters(), course.optimisation.max_grad_norm)).item()
            # In fp16 that is how the scaler finds its scale: it passes over the step and halves it.
            if not math.isfinite(norm) and (not scaler.is_enabled() or scaler.get_scale() < 1):
                raise _diverged("gradient", norm, log, step)
            for group in optimizer.param_groups:
                group["lr"] = course.learning_rate(log.steps)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            log.add_step(loss, step.stream.task, step.rows)
            last = log.steps == all_steps
            if log.steps % max(1, all_steps // 50) == 0 or last:
                speed = (log.tokens - tokens_before) / (time.perf_counter() - began)
                progress(_event(log, course, {"loss": log.add_loss(), "tokens_per_second": speed}))
            if log.steps in course.evaluated_after | snapped_after:
                parallel.collect(run.model, model)
            if snapshots and log.steps in snapped_after and accelerator().is_main_process:
                snapshots.take(model)
            if log.steps in course.evaluated_after:
                progress(_event(log, course, _evaluate(run, model, course, dev_scores)))
            if checkpoints and due and not last:
                checkpoints.write(run)
    model.eval()
    if run.best is not None:
        averaging.put(run.best, model)
    return log


def _begun(model: Joint, course: Course, checkpoints: Checkpoints | None, snapshots: Snapshots | None) -> TrainingState:
    """Before the first step, or after the last one that an earlier attempt has kept."""
    engine, optimisation = accelerator(), course.optimisation
    # Of a model that is shared out, the first process keeps a whole one beside it, to evaluate and to save.
    shared_out = optimisation.sharding == "full" and engine.num_processes > 1
    trained = parallel.sharded(model) if shared_out else model.to(engine.device)
    budget = parse_memory(optimisation.memory) if optimisation.memory else None
    divisions = {stream.task: memory.divide(model.model(stream.task), stream.rows, course.precision, budget, model)
                 for stream in course.streams}  # fmt: skip
    optimizer = torch.optim.AdamW(
        _parameter_groups(trained, optimisation.weight_decay), optimisation.learning_rate,
        eps=optimisation.adam_epsilon, fused=True,
    )  # fmt: skip
    scaler = torch.amp.GradScaler(engine.device.type, enabled=course.precision == "fp16")
    torch.manual_seed(course.seed)
    run = TrainingState(trained, optimizer, scaler, divisions, snapshots=snapshots)
    if checkpoints:
        checkpoints.restore(run)
    for task, division in divisions.items():
        if division.checkpointing:
            gradients.recompute(trained, task)
    return run


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, object]]:
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
        (decayed if parameter.ndim >= 2 else plain).append(parameter)  # biases and norm weights are vectors
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _diverged(what: str, value: float, log: Log, step: Step) -> StageError:
    names = ", ".join(map(step.stream.name_of, step.rows))
    return StageError(f"{what} is {value} at step {log.steps + 1} on {names}; lower learning_rate")


def _event(log: Log, course: Course, values: dict[str, float]) -> Event:
    return Event(text=in_words(values), done=log.steps, steps=len(course.order), values=values)


def _evaluate(
    run: TrainingState, model: Joint, course: Course, dev_scores: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """The dev scores of ``model``, by name; its weights are kept if they are the best so far."""
    log = run.log
    of = parallel.from_first(dev_scores, [stream.task for stream in course.supervised])
    run.model.train()
    dev = fmean(of.values())
    log.points.append(Point(log.steps, dev=dev))
    if dev > log.best_dev:
        log.best_dev, log.best_step, log.dev_of = dev, log.steps, of
        last = log.steps == len(course.order)  # they are in the model then
        if accelerator().is_main_process:
            run.best = None if last else {name: value.clone() for name, value in averaging.trained(model)}
    return {"dev": dev} | {f"dev/{task}": score for task, score in of.items() if len(of) > 1}
