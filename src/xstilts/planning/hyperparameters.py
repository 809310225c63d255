"""Hyper-parameters: how a task's data are read, and how a training stage is optimised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator

from xstilts.common.units import parse_memory
from xstilts.planning.part import Part

#: At most so many special tokens stand in a model input: ``<s> A </s></s> B </s>``.
SPECIAL_TOKENS = 4

#: Bytes that no training does without.
LEAST_MEMORY = 10**8

#: An encoder of more parameters is trained by LoRA where a study does not say otherwise: 16 bytes a parameter for full
#: training, 16 GB, and AdamW's state alone would not fit most devices.
LORA_ABOVE = 10**9

DropoutMode = Literal["preset", "none"]
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Lengths:
    """How much text a model input holds, in tokens: what decides the rows made of an example."""

    max_length: int
    doc_stride: int
    max_query_length: int


class Lora(Part):
    """Low-rank adapters in place of full training (Hu et al. 2021, arXiv 2106.09685): ΔW = alpha / rank · B·A."""

    rank: int = Field(8, gt=0)
    alpha: int = Field(16, gt=0, le=1_000_000)
    targets: tuple[str, ...] = Field(
        (), description="names of linear layers, or all-linear; queries and values if none"
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else sorted(value) if isinstance(value, list) else value


class Reading(Part):
    """How a task's data are read, and how much of them: each task of a stage has its own."""

    epochs: int = Field(gt=0, le=10_000)
    batch_size: int = Field(gt=0, le=1_000_000, description="examples (windows, for spans) an optimiser step")
    batch_tokens: int | None = Field(
        None, gt=0, le=10**9, description="tokens with padding a step, instead of batch_size"
    )
    max_length: int = Field(ge=16, le=1_000_000, description="tokens of a model input, with the special ones")
    doc_stride: int = Field(128, gt=0, description="tokens that two windows over one passage share")
    max_query_length: int = Field(64, gt=0, description="tokens that a question is cut to")
    max_train_examples: int | None = Field(None, gt=0, le=10**12)
    max_dev_examples: int | None = Field(None, gt=0, le=10**12)
    dev_selection: Literal["all", "first500"] = Field(
        "all", description="`first500`: of the first 500 dev rows only, as jiant (xtreme_runconfig_writer.py:48)"
    )

    @property
    def lengths(self) -> Lengths:
        return Lengths(self.max_length, self.doc_stride, self.max_query_length)


class Optimisation(Part):
    """How a training stage changes its model: one for all of its tasks."""

    learning_rate: float = Field(ge=1e-12, lt=1)
    warmup: float = Field(
        ge=0, le=1e9, description="linear warm-up: a share of all steps if below 1, else a number of steps"
    )
    weight_decay: float = Field(ge=0, le=10, description="on all but biases and layer norms")
    max_grad_norm: float = Field(1.0, ge=1e-6)
    adam_epsilon: float = Field(1e-8, ge=1e-30, le=1)  # smaller ones are 0 in 32 bits
    dropout: DropoutMode = Field("preset", description="`preset`: as the encoder's configuration has it")
    freeze_embeddings: bool = Field(False, description="keep the word embeddings as they were pretrained")
    precision: Precision = "fp32"
    memory: str | None = Field(None, description="what training may take, as 8GB: batches are divided to fit")
    processes: int = Field(1, gt=0, le=1024, description="processes that share each batch of a training stage")
    sharding: Literal["none", "full"] = Field(
        "none", description="`full`: processes share the weights and optimiser state too (FSDP), for large encoders"
    )
    collapse_retries: int = Field(
        0, ge=0, le=100, description="how often a collapsed training is tried again, with a seed derived from its own"
    )
    lora: Lora | None = Field(
        None, description="train low-rank adapters of the encoder instead of its weights; `none`: never"
    )

    @field_validator("lora", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("memory")
    @classmethod
    def _a_size(cls, value: str | None) -> str | None:
        if value is not None and parse_memory(value) < LEAST_MEMORY:
            raise ValueError(f"{value} is less than a training takes; write it as 8GB, or leave it out")
        return value


class Hyperparameters(Optimisation, Reading):
    """All that a task is trained with: a study writes it as one mapping, and a plan holds the two apart."""

    precision: Precision | Literal["auto"] = Field(  # type: ignore[assignment]  # definite once it is planned
        "auto", description="what models compute in; `auto`: what the machine that plans is fast in"
    )

    @property
    def lora_by_size(self) -> bool:
        """Whether nothing is said of LoRA, so that large encoders are trained with it (`LORA_ABOVE`)."""
        return "lora" not in self.model_fields_set

    @property
    def reading(self) -> Reading:
        return Reading(**self.model_dump(include=set(Reading.model_fields)))

    @property
    def optimisation(self) -> Optimisation:
        """Of hyper-parameters whose precision is no more `auto`: see `on`."""
        return Optimisation(**self.model_dump(include=set(Optimisation.model_fields)))

    def on(self, fast: Callable[[], Precision]) -> Hyperparameters:
        """With the precision that `auto` comes to where ``fast`` is what the machine is fast in."""
        return self.model_copy(update={"precision": fast()}) if self.precision == "auto" else self

    def key(self) -> dict[str, Any]:
        """What of these decides a stage's output. Keys from before a field was added stay where it is not used."""
        return {name: value for name, value in self.model_dump().items() if UNUSED.get(name, ...) != value}


#: Values with which these fields do nothing.
UNUSED = {"processes": 1, "sharding": "none", "collapse_retries": 0, "lora": None}
