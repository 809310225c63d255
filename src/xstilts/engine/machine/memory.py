"""How much memory training takes, and how batches are divided so that it stays within a budget."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers import PreTrainedModel

from xstilts.common.errors import StageError
from xstilts.common.units import memory
from xstilts.engine.machine.device import accelerator, on_cpu
from xstilts.engine.rows import Row, padded
from xstilts.planning import cost

#: Of the budget, what may be planned for: estimates are not exact, and allocators leave gaps.
USABLE = 0.9

_STATUS = Path("/proc/self/status")


def reset_peak() -> None:
    """Forget the peak so far, where the system can: a worker lives through many stages, and each has its own."""
    if accelerator().device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Bytes: the most that was held since `reset_peak`, of the GPU's memory if there is one, else of this process."""
    if accelerator().device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    if _STATUS.exists():
        return _status("VmHWM")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def held() -> int:
    """Bytes held now; where the system does not say, the peak."""
    if accelerator().device.type == "cuda":
        return torch.cuda.memory_allocated()
    return _status("VmRSS") if _STATUS.exists() else peak()


def _status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


@dataclass(frozen=True)
class Division:
    """How a batch is worked through: as a whole, in two halves at the same time, or ``tokens`` with padding at once.

    With ``checkpointing`` activations are recomputed.
    """

    tokens: int | None = None
    checkpointing: bool = False
    halves: bool = False

    def smaller(self, parts: Sequence[Sequence[Row]]) -> Division | None:
        """What to try where ``parts`` of a batch did not fit: half of the largest of them at once.

        A single row's activations are recomputed; None where they were already.
        """
        largest = max(parts, key=_sizes)
        if len(largest) > 1:
            return replace(self, tokens=_sizes(largest) // 2, halves=False)
        return None if self.checkpointing else replace(self, checkpointing=True)

    def parts(self, batch: Sequence[Row]) -> list[list[Row]]:
        """``batch`` in halves that take as long, or in pieces in its order, each within the limit or a single row."""
        if self.tokens is None:
            return [list(part) for part in (batch[::2], batch[1::2]) if part] if self.halves else [list(batch)]
        parts: list[list[Row]] = [[]]
        longest = 0
        for row in batch:
            longest = max(longest, _size(row))
            if parts[-1] and longest * (len(parts[-1]) + 1) > self.tokens:
                parts.append([])
                longest = _size(row)
            parts[-1].append(row)
        return parts


def divide(
    model: PreTrainedModel,
    rows: Sequence[Row],
    precision: str,
    budget: int | None,
    whole: torch.nn.Module | None = None,
) -> Division:
    """How to train ``model``, perhaps as a part of the ``whole``, on batches of ``rows`` within ``budget`` bytes.

    Smaller pieces of a batch come first, since they cost nothing; activations are recomputed (Chen et al. 2016,
    arXiv 1604.06174) only where not even the longest row fits without. Raises StageError where it does not with.
    """
    if budget is None:
        return Division(halves=on_cpu() and accelerator().num_processes == 1)
    trained = sum(parameter.numel() for parameter in (whole or model).parameters() if parameter.requires_grad)
    fixed = held() + 12 * trained  # gradients and AdamW's two moments, in 32 bits
    room = USABLE * budget - fixed
    longest = max(rows, key=_size)
    for checkpointing in (False, True):
        tokens = int(room / activation_bytes(model, longest.length, precision, checkpointing=checkpointing))
        if tokens >= _size(longest):
            return Division(tokens, checkpointing)
    needed = fixed + _size(longest) * activation_bytes(model, longest.length, precision, checkpointing=True)
    raise StageError(
        f"memory {memory(budget)} is too little: about {memory(round(needed / USABLE))} are needed for one row of "
        f"{longest.length} tokens; raise it or lower max_length"
    )


def activation_bytes(model: PreTrainedModel, length: int, precision: str, *, checkpointing: bool) -> float:
    """`cost.activation_bytes` of a model."""
    config = model.config
    ffn = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return cost.activation_bytes(
        int(config.num_hidden_layers), config.hidden_size, ffn, config.num_attention_heads, length,
        4 if precision == "fp32" else 2, checkpointing=checkpointing,
    )  # fmt: skip


def ran_out(error: BaseException) -> bool:
    """Whether a GPU's memory or the CPU's is what was wanting."""
    return isinstance(error, MemoryError) or (isinstance(error, Exception) and should_reduce_batch_size(error))


def _sizes(rows: Sequence[Row]) -> int:
    """Tokens with padding."""
    return max(map(_size, rows)) * len(rows)


def _size(row: Row) -> int:
    return padded(row.length) * len(row.sequences)
