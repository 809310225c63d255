"""What a plan will take: time, memory, disk, and what its stages' sharing saves. Needs no torch."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from xstilts.common import fast_yaml
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.units import memory, parse_memory
from xstilts.planning import cost, records
from xstilts.planning.plan import Average, Heal, Merge, Plan, Predict, Stage, Train
from xstilts.store import Store
from xstilts.tasks import formats

#: A core of which nothing is known yet is taken to do this many operations a second.
ASSUMED_FLOPS_PER_SECOND = 1e11

#: Of a device's peak, what training is taken to reach: an assumption, as no GPU was measured. A CPU was seen to reach
#: 0.45 of its own with 12 layers (docs/benchmarks.md); small encoders and short sequences reach less.
UTILISATION = 0.35


@dataclass(frozen=True)
class Device:
    """``tflops``: peak dense TFLOP/s in the precision that training uses; ``memory`` in GB."""

    name: str
    tflops: float
    memory: float
    source: str

    @property
    def rate(self) -> float:
        """Operations a second that a stage is taken to do."""
        return UTILISATION * self.tflops * 1e12


@cache
def devices() -> dict[str, Device]:
    content = fast_yaml.read(Path(__file__).parent / "devices.yaml")
    return {name: Device(name, **facts) for name, facts in content.items()}


def device(name: str) -> Device:
    """Raises UserError."""
    if name not in devices():
        raise UserError(f"--device {name}: not in the table: {did_you_mean(name, devices())}")
    return devices()[name]


@dataclass(frozen=True)
class Estimate:
    """Of the stages to compute; seconds, bytes and operations."""

    seconds: float  # with the processes at hand
    critical: tuple[Stage, ...]  # each needs the one before it: no number of processes is faster
    critical_seconds: float
    flops: float
    disk: int
    memory: int  # of the stage that takes the most
    largest: Stage | None  # that stage


@dataclass(frozen=True)
class Sharing:
    """What a plan takes, and what it would if each cell were computed alone."""

    stages: int
    flops: float
    stages_alone: int
    flops_alone: float


@dataclass(frozen=True)
class StageCost:
    """What a stage of the plan takes (operations, seconds in its processes, bytes), and whether it is there."""

    key: str
    kind: str
    label: str
    state: Literal["to do", "done", "not needed"]
    flops: float
    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Forecast:
    """What a plan takes from here on. ``rate`` is in operations a second; ``measured``: by stages that are done."""

    stages: tuple[StageCost, ...]
    left: Estimate
    rate: float
    measured: bool
    sharing: Sharing
    notes: tuple[str, ...]


def forecast(plan: Plan, store: Store, processes: int, on: Device | None = None) -> Forecast:
    """Of what the store lacks, on so many devices ``on``, or by as many processes of this machine."""
    todo, there = {stage.key for stage in plan.missing(store)}, store.keys()
    measured = None if on else measured_rate(plan, store)
    rate = on.rate if on else measured or ASSUMED_FLOPS_PER_SECOND
    stages = tuple(
        StageCost(
            stage.key, stage.kind, stage.label,
            "to do" if stage.key in todo else "done" if stage.key in there else "not needed",
            stage.flops, stage.flops / rate / stage.processes, training_memory(plan, stage), disk(plan, stage),
        )
        for stage in plan.stages.values()
    )  # fmt: skip
    too_much = too_large(plan, todo, on) if on else None
    notes = (*plan.notes, *([too_much] if too_much else []))
    return Forecast(stages, estimate(plan, todo, rate, processes), rate, measured is not None, sharing(plan), notes)


def measured_rate(plan: Plan, store: Store) -> float | None:
    """Operations a second, as the plan counts them, of training stages that are done; None if none is."""
    there = store.keys()
    pairs = [(stage, records.peek(store, stage.key)) for stage in plan.stages.values()
             if stage.kind == "train" and stage.key in there]  # fmt: skip
    done = [(stage.flops, record.seconds) for stage, record in pairs if record]
    return sum(flops for flops, _ in done) / sum(seconds for _, seconds in done) if done else None


def estimate(plan: Plan, todo: Collection[str], rate: float, processes: int) -> Estimate:
    """Of the stages ``todo``, when ``processes`` at a time each do ``rate`` operations a second.

    The time is that of list scheduling in the plan's order: whenever a process is free, it takes the first stage that
    is ready (Graham 1969, doi 10.1137/0117039: at most twice the shortest possible).
    """
    stages = [plan.stages[key] for key in plan.stages if key in todo]
    took = {stage.key: stage.flops / rate / stage.processes for stage in stages}
    ends: dict[str, float] = {}  # of the longest chain up to and with a stage
    before: dict[str, str | None] = {}
    for stage in stages:
        last = max((source for source in stage.inputs if source in ends), key=ends.__getitem__, default=None)
        before[stage.key] = last
        ends[stage.key] = took[stage.key] + (ends[last] if last else 0.0)
    at = max(ends, key=ends.__getitem__, default=None)
    critical_seconds = ends[at] if at else 0.0
    chain: list[Stage] = []
    while at is not None:
        chain.append(plan.stages[at])
        at = before[at]
    needs = {stage.key: training_memory(plan, stage) for stage in stages}
    largest = max(stages, key=lambda stage: needs[stage.key], default=None)
    return Estimate(
        seconds=_makespan(stages, took, processes),
        critical=tuple(reversed(chain)),
        critical_seconds=critical_seconds,
        flops=sum(stage.flops for stage in stages),
        disk=sum(disk(plan, stage) for stage in stages),
        memory=needs[largest.key] if largest else 0,
        largest=largest,
    )


def _makespan(stages: list[Stage], took: dict[str, float], processes: int) -> float:
    needed_by: dict[str, list[int]] = {}
    lacks = []
    for place, stage in enumerate(stages):
        sources = [source for source in set(stage.inputs) if source in took]
        lacks.append(len(sources))
        for source in sources:
            needed_by.setdefault(source, []).append(place)
    ready = [place for place, lacking in enumerate(lacks) if not lacking]
    running: list[tuple[float, int]] = []
    now, free = 0.0, processes
    while ready or running:
        while ready and min(processes, stages[ready[0]].processes) <= free:
            place = heapq.heappop(ready)
            free -= min(processes, stages[place].processes)
            heapq.heappush(running, (now + took[stages[place].key], place))
        now, place = heapq.heappop(running)
        free += min(processes, stages[place].processes)
        for other in needed_by.get(stages[place].key, ()):
            lacks[other] -= 1
            if not lacks[other]:
                heapq.heappush(ready, other)
    return now


def disk(plan: Plan, stage: Stage) -> int:
    """Bytes that the artifact takes at most: the weights of a trained model, in 32 bits; tables are small beside it.

    Those of the mean of its checkpoints too, where the study averages them.
    """
    if isinstance(stage.spec, Heal):
        return 4 * plan.facts[stage.spec.encoder].parameters_without_embeddings
    if not isinstance(stage.spec, Train | Merge | Average):
        return 0
    models = 2 if isinstance(stage.spec, Train) and stage.spec.snapshots else 1
    return 4 * plan.facts[stage.spec.encoder].parameters * models


def training_memory(plan: Plan, stage: Stage) -> int:
    """Bytes that a stage takes in one process at most, roughly: the whole vocabulary, and a batch of longest rows.

    Training: weights, gradients and AdamW's two moments in 32 bits, 16 bytes a parameter, and the activations of a
    batch (`cost.activation_bytes`), or what the study's `memory` allows. Under LoRA gradients and moments are of the
    adapters alone. Prediction and averaging: the weights, the latter twice.
    """
    spec = stage.spec
    if not isinstance(spec, Train | Average | Predict):
        return 0
    facts = plan.facts[spec.encoder]
    if not isinstance(spec, Train):
        return (4 if isinstance(spec, Predict) else 8) * facts.parameters
    if spec.optimisation.memory:
        return parse_memory(spec.optimisation.memory)
    shared = spec.optimisation.processes if spec.optimisation.sharding == "full" else 1
    wide = 4 if spec.optimisation.precision == "fp32" else 2
    rows = 0.0
    for part in spec.parts:
        reading = part.reading
        tokens = reading.batch_tokens or reading.batch_size * reading.max_length
        if not reading.batch_tokens:
            tokens *= formats.get(part.task.format).inputs
        each = cost.activation_bytes(
            facts.layers, facts.hidden_size, facts.ffn, facts.heads, reading.max_length, wide, checkpointing=False
        )
        rows = max(rows, tokens / spec.optimisation.processes * each)
    trained = cost.lora_parameters(facts, spec.optimisation.lora) if spec.optimisation.lora else facts.parameters
    return round((4 * facts.parameters + 12 * trained) / shared + rows)


def too_large(plan: Plan, todo: Collection[str], on: Device) -> str | None:
    """A note where a stage does not fit into a device's memory, with what to do."""
    over = [key for key in todo if training_memory(plan, plan.stages[key]) > on.memory * 1e9]
    if not over:
        return None
    largest = plan.stages[max(over, key=lambda key: training_memory(plan, plan.stages[key]))]
    return (
        f"{len(over):,} stages may need more than the {on.memory:.0f} GB of {on.name}, such as {largest.label} with "
        f"{memory(training_memory(plan, largest))}; set `memory: {on.memory * 0.9:.0f}GB` in `training`, so that "
        "batches are divided, or `processes` with `sharding: full`"
    )


def sharing(plan: Plan) -> Sharing:
    """What the cells of a plan share."""
    chains: dict[str, tuple[int, float]] = {}  # stage → stages and operations of it and all before it

    def chain(key: str) -> tuple[int, float]:
        if key not in chains:
            stage = plan.stages[key]
            before = [chain(source) for source in stage.inputs]
            chains[key] = 1 + sum(n for n, _ in before), stage.flops + sum(flops for _, flops in before)
        return chains[key]

    alone = [chain(cell.score or cell.predictions) for cell in plan.cells]
    return Sharing(
        len(plan.stages), sum(stage.flops for stage in plan.stages.values()),
        sum(n for n, _ in alone), sum(flops for _, flops in alone),
    )  # fmt: skip
