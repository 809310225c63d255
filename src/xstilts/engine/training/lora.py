"""Low-rank adapters in place of full training (Hu et al. 2021, arXiv 2106.09685), by PEFT.

They are attached to the encoder for a training and merged into its weights after it: what a stage publishes is a model
as any other. The encoder's own weights stay as they are, its embeddings and norms too; heads and poolers train fully.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear, LoraModel
from torch import nn

from xstilts.encoders import EncoderFacts
from xstilts.engine.models import Joint
from xstilts.planning import cost
from xstilts.planning.hyperparameters import Lora

ADAPTER = "default"


def attach(model: Joint, lora: Lora, facts: EncoderFacts, seed: int) -> None:
    """Put adapters beside the encoder's layers: B is 0, so that nothing changes yet, and A is drawn from ``seed``."""
    encoder = model.encoder
    pooler = getattr(encoder, "pooler", None)
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=list(cost.adapted(facts, lora.targets)),
        exclude_modules=r"pooler\..*" if pooler is not None else None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        LoraModel(encoder, config, ADAPTER)
    if pooler is not None:
        pooler.requires_grad_(True)


def merge(model: Joint) -> None:
    """Add what the adapters learnt to the weights, and take them away."""
    encoder = model.encoder
    for name, layer in _adapted(encoder):
        layer.merge()
        encoder.set_submodule(name, layer.get_base_layer())
    del encoder.peft_config


def trained(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights that training changes, by their names in the merged model and as they are in it."""
    adapted = dict(_adapted(model))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not any(name.startswith(f"{layer}.") for layer in adapted):
            yield name, parameter.detach()
    for name, layer in adapted.items():
        yield f"{name}.weight", (layer.weight + layer.get_delta_weight(ADAPTER)).detach()


def _adapted(model: nn.Module) -> list[tuple[str, Linear]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, Linear)]
