"""A training stage on several processes, each with its share of every batch.

All compute the same steps on the same batches as one process would; gradients are summed. The first process alone
evaluates, writes and tells of its progress. With `sharding: full` weights and optimiser state are shared out too: FSDP
(Zhao et al. 2023, arXiv 2304.11277), as torch's `fully_shard` has it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from xstilts.engine.machine.device import accelerator
from xstilts.engine.models import Joint

#: Gradients that are sent as one message, in elements: large enough that none waits for the network's latency.
BUCKET = 1 << 24


def sums(*values: float) -> list[float]:
    """Of each value over all processes."""
    engine = accelerator()
    if engine.num_processes == 1:
        return list(values)
    added: list[float] = engine.reduce(torch.tensor(values, dtype=torch.float64, device=engine.device)).tolist()
    return added


def from_first(scores: Callable[[], dict[str, float]], names: Sequence[str]) -> dict[str, float]:
    """What ``scores`` gives in the first process, under these ``names``; the others wait for it."""
    found = scores() if accelerator().is_main_process else dict.fromkeys(names, 0.0)
    return dict(zip(found, sums(*found.values()), strict=True))


def sum_gradients(model: torch.nn.Module) -> None:
    """Give every process the sum of all processes' gradients.

    After the backward pass, once every process has said that its memory held, and not amid it as in DDP, where those
    that were through wait for good for one whose memory ran out. What no process has a gradient of, as the heads of the
    other tasks, stays without.
    """
    if accelerator().num_processes == 1 or shared_out(model):
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


def sharded(model: Joint) -> Joint:
    """A copy of ``model`` of which each process holds a share; a layer's weights come together while it computes."""
    copied = copy.deepcopy(model)
    layers = {
        layer
        for one in map(copied.model, copied.models)
        for modules in one.modules()
        if isinstance(modules, torch.nn.ModuleList) and len(modules) == one.config.num_hidden_layers
        for layer in modules
    }
    mesh = torch.distributed.device_mesh.init_device_mesh(accelerator().device.type, (accelerator().num_processes,))
    for module in [module for module in copied.modules() if module in layers] + [copied]:
        whole = fully_shard(module, mesh=mesh)
        whole.set_gradient_divide_factor(1.0)  # gradients are summed: parts are weighted by their share of the batch
        whole.set_force_sum_reduction_for_comms(True)
    return copied


def shared_out(model: torch.nn.Module) -> bool:
    return isinstance(model, FSDPModule)


def full(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor that may be shared out. All processes must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """``whole``, shared out as ``tensor`` is."""
    if not isinstance(tensor, DTensor):
        return whole
    return distribute_tensor(whole.to(tensor.device), tensor.device_mesh, tensor.placements)


def collect(source: Joint, target: Joint) -> None:
    """Copy the weights of ``source``, whole, into ``target``: in the first process, while all others help."""
    if source is target:
        return
    with torch.no_grad():
        for given, own in zip(source.parameters(), target.parameters(), strict=True):
            whole = full(given.detach())
            if accelerator().is_main_process:
                own.copy_(whole)
