"""Attention for the CPU: a few heads at a time, so that their scores stay in the cache, with cheap dropout.

SDPA's fast path on the CPU knows no dropout, and its backward pass is slower than plain matrix products; the eager
path walks a dozen times over all scores of a layer, in main memory. benchmarks/ compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from xstilts.engine.machine.dropout import actual_rate, signed

#: Its name among Transformers' attention implementations.
NAME = "xstilts_blocked"

#: Scores handled at once. In 16 bits they fit the caches; fewer leave too little work for several threads.
BLOCK = 1 << 20


class _Attention(torch.autograd.Function):
    """softmax(Q·Kᵀ + mask)·V with dropout on the softmax; Q is scaled already.

    Query, key and value are [rows · heads, length, head size]; the mask [rows, 1, length, length] is added. The
    gradient is FlashAttention's (Dao et al. 2022, arXiv 2205.14135, appendix B.2), with the softmax kept.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
        rows: int, p: float,
    ) -> torch.Tensor:  # fmt: skip
        value = value / (1.0 - actual_rate(p)) if p else value
        output = torch.empty_like(query)
        kept = query.new_empty(len(query), query.shape[1], key.shape[1]) if any(ctx.needs_input_grad) else None
        for heads, own_rows in _blocks(query, key, rows):
            scores = torch.bmm(query[heads], key[heads].transpose(1, 2))
            if mask is not None:
                scores.view(len(range(*own_rows.indices(rows))), -1, *scores.shape[1:]).add_(mask[own_rows])
            shares = torch.softmax(scores, -1)
            if kept is not None:
                shares = signed(shares, p, out=kept[heads]).relu() if p else kept[heads].copy_(shares)
            elif p:
                shares = signed(shares, p, out=scores).relu_()
            torch.bmm(shares, value[heads], out=output[heads])
        if kept is not None:
            ctx.save_for_backward(query, key, value, output, kept)
            ctx.rows, ctx.p = rows, p
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, output, kept = ctx.saved_tensors  # kept is negative where the share was dropped
        gradient = gradient.contiguous()
        of_query, of_key, of_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        wide = torch.promote_types(kept.dtype, torch.float32)
        mean = (gradient.to(wide) * output.to(wide)).sum(-1, keepdim=True).to(kept.dtype)
        for heads, _ in _blocks(query, key, ctx.rows):
            shares = kept[heads].relu() if ctx.p else kept[heads]
            torch.bmm(shares.transpose(1, 2), gradient[heads], out=of_value[heads])
            of_scores = torch.bmm(gradient[heads], value[heads].transpose(1, 2)).mul_(shares)
            of_scores.addcmul_(kept[heads].abs() if ctx.p else shares, mean[heads], value=-1)
            torch.bmm(of_scores, key[heads], out=of_query[heads])
            torch.bmm(of_scores.transpose(1, 2), query[heads], out=of_key[heads])
        if ctx.p:
            of_value /= 1.0 - actual_rate(ctx.p)
        return of_query, of_key, of_value, None, None, None


def _blocks(query: torch.Tensor, key: torch.Tensor, rows: int) -> Iterator[tuple[slice, slice]]:
    """Slices of the first dimension that hold `BLOCK` scores or one head, and the rows that they belong to."""
    heads = len(query) // rows
    room = max(1, BLOCK // (query.shape[1] * key.shape[1]))
    if room >= heads:
        step = room // heads
        for row in range(0, rows, step):
            end = min(row + step, rows)
            yield slice(row * heads, end * heads), slice(row, end)
    else:
        for row in range(rows):
            for head in range(0, heads, room):
                yield slice(row * heads + head, row * heads + min(head + room, heads)), slice(row, row + 1)


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """What Transformers calls: [rows, heads, length, head size] in, [rows, length, heads, head size] out.

    Few types cap their scores (``softcap``) or share attention out to sinks too (``s_aux``, [heads]): step by step.
    """
    rows, heads, length, size = query.shape
    repeats = heads // key.shape[1]  # some encoders share a key and value between heads
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    query = query * (size**-0.5 if scaling is None else scaling)
    if softcap is not None or s_aux is not None:
        return _step_by_step(
            query, key, value, attention_mask, dropout if module.training else 0.0, softcap, s_aux
        ), None
    output = _Attention.apply(
        *(states.reshape(rows * heads, -1, size) for states in (query, key, value)),
        None if attention_mask is None else attention_mask.to(query.dtype),
        rows,
        dropout,
    )
    return output.view(rows, heads, length, size).transpose(1, 2).contiguous(), None


def _step_by_step(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, p: float,
    softcap: float | None, sinks: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """As Transformers' eager paths of Gemma 2 (modeling_gemma2.py) and GPT-OSS (modeling_gpt_oss.py)."""
    scores = query @ key.transpose(2, 3)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    if sinks is not None:
        scores = torch.cat([scores, sinks.view(1, -1, 1, 1).expand(*scores.shape[:3], 1)], -1)
    shares = torch.softmax(scores, -1)[..., : key.shape[2]]
    return (nn.functional.dropout(shares, p) @ value).transpose(1, 2).contiguous()


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, eager_mask)
