"""Models: a bare encoder is trained, saved, loaded and shared as the encoder under a head is."""

from __future__ import annotations

from pathlib import Path

import torch

from xstilts.encoders import Encoder, bundled
from xstilts.engine.models import Trimmed, build_model, build_models, load_trained, save_trained, take_head
from xstilts.tasks import builtin_catalog

ENCODER = Encoder(bundled.NAME, layers=1)
BARE, HEADED = builtin_catalog()["mini-retrieval"], builtin_catalog()["mini-nli"]
NAME = "encoder.layer.0.output.dense.weight"


def changed(folder: Path) -> Trimmed:
    """A bare encoder with other weights than the pretrained ones, saved to ``folder``."""
    trimmed = build_model(ENCODER, BARE, 1, None, [], head=False)
    with torch.no_grad():
        for weight in trimmed.model.parameters():
            weight.add_(0.5)
    save_trained(trimmed, folder)
    return trimmed


def test_a_bare_encoder_is_loaded_as_it_was_saved_and_goes_under_a_head(tmp_path: Path) -> None:
    saved = changed(tmp_path).model.state_dict()
    again = build_model(ENCODER, BARE, 2, tmp_path, [], head=True).model.state_dict()
    assert again.keys() == saved.keys() and all(torch.equal(again[name], saved[name]) for name in saved)
    under = build_model(ENCODER, HEADED, 1, tmp_path, [], head=False).model.state_dict()
    assert torch.equal(under["bert." + NAME], saved[NAME])
    assert torch.equal(load_trained(ENCODER, BARE, 1, tmp_path).state_dict()[NAME], saved[NAME])


def test_a_bare_encoder_has_no_head_to_take_over(tmp_path: Path) -> None:
    changed(tmp_path)
    trimmed = build_model(ENCODER, BARE, 1, None, [], head=False)
    before = {name: tensor.clone() for name, tensor in trimmed.model.state_dict().items()}
    take_head(trimmed.model, tmp_path)
    assert all(weight.requires_grad for weight in trimmed.model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in trimmed.model.state_dict().items())


def test_a_bare_encoder_is_the_one_under_the_heads_of_the_other_tasks() -> None:
    for tasks in ([BARE, HEADED], [HEADED, BARE]):
        joint = build_models(ENCODER, tasks, 1, None, [], head=False).joint
        assert joint.model(BARE.name) is joint.model(HEADED.name).base_model is joint.encoder
