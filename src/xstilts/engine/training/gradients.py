"""The gradients of a batch: shared out over the processes, and in each in parts that fit its memory."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

import torch

from xstilts.common.errors import StageError
from xstilts.engine.heads import Head
from xstilts.engine.machine import memory
from xstilts.engine.machine.device import accelerator, autocast
from xstilts.engine.machine.dropout import drawing_from, redrawing
from xstilts.engine.machine.threads import AtOnce
from xstilts.engine.models import Joint
from xstilts.engine.rows import IGNORED, Row, pad, padded
from xstilts.engine.training import parallel
from xstilts.engine.training.checkpoints import TrainingState
from xstilts.engine.training.course import Course
from xstilts.engine.training.mixture import Step, Stream


def add(run: TrainingState, course: Course, step: Step, at_once: AtOnce, wanted: bool) -> tuple[float, bool]:
    """Those of a step's batch, to the model's; gives its loss, and whether the first process ``wanted`` something.

    Where memory runs out in one process, all divide the batch further and begin it anew. Raises StageError where
    nothing is left to divide.
    """
    task, seed = step.stream.task, f"{course.seed}/{run.log.steps}"
    while True:
        division = run.divisions[task]
        divided = _divided(step.rows, division)
        parts = list(_parts(divided, step.stream.head, course.pad_id, seed))
        # A model with dropout of its own draws from the generator that threads share, as the first step shows.
        unshared = division.halves and run.log.steps and not _drawn(course.seed)
        groups = [parts] if unshared else [[part] for part in parts]
        losses = [loss for group in groups for loss in at_once(partial(_add_part, run, course, step.stream), group)]
        loss, failures, asked = parallel.sums(
            sum(loss or 0.0 for loss in losses), None in losses, wanted and accelerator().is_main_process
        )
        if not failures:
            parallel.sum_gradients(run.model)
            return loss, asked > 0
        run.optimizer.zero_grad()
        run.divisions[task] = _smaller(run.model, task, division, divided)
        run.log.halvings += 1


def _divided(batch: Sequence[Row], division: memory.Division) -> list[list[list[Row]]]:
    """The parts of a batch, by process."""
    processes = accelerator().num_processes
    shares = [batch[i::processes] for i in range(processes)]
    return [division.parts(rows) if rows else [] for rows in shares]


@dataclass(frozen=True)
class _Part:
    """What goes through the model at once of a batch."""

    inputs: dict[str, torch.Tensor]  # [rows, (choices,) length], and the targets
    share: float  # of the batch's targets: the weight of its loss
    generator: torch.Generator  # of its dropout


def _parts(divided: Sequence[Sequence[Sequence[Row]]], head: Head, pad_id: int, seed: str) -> Iterator[_Part]:
    """This process's parts. Every process has as many, since they may exchange weights with each."""
    own = accelerator().process_index
    total = sum(_count(part, head) for parts in divided for part in parts)
    spare = next(part for parts in divided for part in parts)[:1]
    seeds = random.Random(f"{seed}/{own}")
    for parts in zip_longest(*divided):
        part, share = (parts[own], _count(parts[own], head) / total) if parts[own] else (spare, 0.0)
        inputs = pad(part, pad_id) | head.targets(part, padded(max(row.length for row in part)))
        yield _Part(inputs, share, torch.Generator().manual_seed(seeds.getrandbits(63)))


def _count(rows: Sequence[Row], head: Head) -> int:
    """Targets that the loss is a mean over."""
    targets = head.targets(rows, padded(max(row.length for row in rows)))
    return int((next(iter(targets.values())) != IGNORED).sum())


def _drawn(seed: int) -> bool:
    """Whether numbers were drawn from the process's generator since it was given its ``seed``."""
    return not torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(seed).get_state())


def _add_part(run: TrainingState, course: Course, stream: Stream, part: _Part) -> float | None:
    """Gives the part's loss, times its share, or None where memory ran out."""
    inputs = {name: tensor.to(accelerator().device) for name, tensor in part.inputs.items()}
    try:
        with drawing_from(part.generator):
            with autocast(course.precision):
                loss = part.share * stream.head.loss(partial(run.model, stream.task), inputs)
            run.scaler.scale(loss).backward()
        return loss.item()
    except (RuntimeError, MemoryError) as error:
        if not memory.ran_out(error):
            raise
        if parallel.shared_out(run.model):  # the others wait for this one's share of the weights
            raise StageError(f"out of memory in a step of {stream.task}; set `memory`, or lower max_length") from None
        return None


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
        recompute(model, task)
    return smaller


def recompute(model: Joint, task: str) -> None:
    """Recompute the activations of a task's model in its backward pass, in place of keeping them."""
    one = model.model(task)
    # The new name is not in the last Transformers for Python 3.10, 5.20.
    enable = getattr(one, "activation_checkpointing_enable", None) or one.gradient_checkpointing_enable
    enable({"use_reentrant": False, "context_fn": redrawing})
