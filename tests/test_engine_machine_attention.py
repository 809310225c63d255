"""The CPU's attention and dropout: the same numbers as the plain formulas, the same distribution of zeros."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForQuestionAnswering

from xstilts.encoders import Encoder, bundled
from xstilts.encoders.load import load_model
from xstilts.engine.machine import attention, dropout

Tensors = list[torch.Tensor]


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, p: float) -> Any:
    """The formula, with the zeros that the same random state gives `attention`."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    shares = torch.softmax(scores if mask is None else scores + mask, -1)
    if p:
        shares = shares * (drawn_by_blocks(shares, p) >= 0) / (1 - dropout.actual_rate(p))
    return (shares @ value).transpose(1, 2)


def drawn_by_blocks(shares: torch.Tensor, p: float) -> torch.Tensor:
    heads = shares.flatten(0, 1)
    blocks = attention._blocks(heads, heads, len(shares))
    return torch.cat([dropout.draw(heads[part].shape, p) for part, _ in blocks]).view(shares.shape)


def states(rows: int, heads: int, length: int, dtype: torch.dtype) -> Tensors:
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(rows, length, heads, 8, generator=generator).to(dtype) for _ in range(4)]


def outcome(function: Any, inputs: Tensors, gradient: torch.Tensor) -> Tensors:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    torch.manual_seed(3)
    output = function(*(leaf.transpose(1, 2) for leaf in leaves))
    output.backward(gradient)
    return [output.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 3),
    heads=st.integers(1, 4),
    length=st.integers(1, 17),
    block=st.sampled_from([1, 300, 1 << 18]),  # part of a row's heads, one row, all rows
    p=st.sampled_from([0.0, 0.1, 0.5]),
    masked=st.booleans(),
)
def test_attention_is_the_formula_with_its_gradients(
    rows: int, heads: int, length: int, block: int, p: float, masked: bool
) -> None:
    *inputs, gradient = states(rows, heads, length, torch.float64)
    mask = None
    if masked:
        mask = torch.zeros(rows, 1, length, length, dtype=torch.float64)
        mask[0, :, :, max(1, length - 3) :] = -torch.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", block)
        ours = outcome(
            lambda q, k, v: attention.attention(nn.Identity(), q, k, v, mask, dropout=p)[0], inputs, gradient
        )
        formula = outcome(lambda q, k, v: plain(q, k, v, mask, p), inputs, gradient)
    for mine, expected in zip(ours, formula, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("p", [0.0, 0.1])
def test_in_bf16_it_is_as_close_to_the_formula_as_bf16_operations_are(p: float) -> None:
    *inputs, gradient = states(2, 4, 96, torch.bfloat16)
    exact = outcome(lambda q, k, v: plain(q, k, v, None, p), [t.double() for t in inputs], gradient.double())
    ours = outcome(lambda q, k, v: attention.attention(nn.Identity(), q, k, v, None, dropout=p)[0], inputs, gradient)
    rough = outcome(lambda q, k, v: plain(q, k, v, None, p), inputs, gradient)
    for mine, theirs, true in zip(ours, rough, exact, strict=True):
        assert (mine - true).norm() < 1.2 * (theirs - true).norm()


def test_keys_and_values_may_be_shared_between_heads() -> None:
    query, key, value, _ = (tensor.transpose(1, 2) for tensor in states(2, 4, 6, torch.float64))
    ours, _ = attention.attention(nn.Identity(), query, key[:, :2], value[:, :2], None)
    spread = [tensor[:, :2].repeat_interleave(2, 1) for tensor in (key, value)]
    torch.testing.assert_close(ours, plain(query, *spread, None, 0.0))


def test_the_model_gives_the_same_answers_with_it_as_with_transformers_own(  # in fp32, with padding
) -> None:
    ids = torch.randint(4, 9000, (3, 24), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    outputs = []
    for name in ("eager", attention.NAME):
        model = load_model(
            Encoder(bundled.NAME, layers=2), AutoModelForQuestionAnswering, seed=1, attn_implementation=name
        )
        loss = model(ids, mask, start_positions=torch.tensor([1, 2, 3]), end_positions=torch.tensor([4, 5, 6])).loss
        loss.backward()
        outputs.append([loss, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)])
    for ours, theirs in zip(outputs[1], outputs[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    layer, ones = dropout.Dropout(0.1), torch.ones(1000, 1001, dtype=dtype, requires_grad=True)
    output = layer(ones)
    count = output.numel()
    dropped = (output == 0).sum().item()
    assert abs(dropped - 0.1 * count) < 5 * math.sqrt(0.09 * count)  # five standard deviations
    torch.testing.assert_close(output.max().item(), 1 / 0.9, rtol=torch.finfo(dtype).eps, atol=1e-4)
    # Neighbours are independent: they come from the same 64 random bits.
    both = ((output[:, :-1] == 0) & (output[:, 1:] == 0)).sum().item()
    assert abs(both - 0.01 * count) < 6 * math.sqrt(0.01 * count)
    output.sum().backward()
    assert ones.grad is not None and torch.equal(ones.grad, output.detach())  # the same elements, the same scale


def test_dropout_follows_the_random_state_and_rests_in_evaluation() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.0)))
    dropout.replace_dropout(model)
    assert [type(module) for module in model.modules()].count(dropout.Dropout) == 2
    values = torch.randn(50, 4)
    torch.manual_seed(1)
    first = model(values)
    assert not torch.equal(first, model(values))
    torch.manual_seed(1)
    assert torch.equal(first, model(values))
    assert torch.equal(model.eval()(values), model[0](values))
