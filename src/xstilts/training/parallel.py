"""A training stage on several processes, each with its share of every batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from xstilts.training.device import accelerator

#: Gradients that are sent as one message, in elements: large enough that none waits for the network's latency.
BUCKET = 1 << 24


def sums(*values: float) -> list[float]:
    """Of each value over all processes."""
    engine = accelerator()
    if engine.num_processes == 1:
        return list(values)
    return engine.reduce(torch.tensor(values, dtype=torch.float64, device=engine.device)).tolist()


def sum_gradients(model: torch.nn.Module) -> None:
    """Give every process the sum of all processes' gradients.

    After the backward pass, once every process has said that its memory held, and not amid it as in DDP, where those
    that were through wait for good for one whose memory ran out. What no process has a gradient of, as the heads of the
    other tasks, stays without.
    """
    if accelerator().num_processes == 1:
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        torch.distributed.all_reduce(flat)
        for gradient, summed in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
            gradient.copy_(summed.view_as(gradient))


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and sum(each.numel() for each in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
