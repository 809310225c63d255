"""`xstilts export --onnx`: the file says what the model says, by its own runtime, or is refused."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch

import xstilts
from tiny import HEADS, MIX, Inline, write_models
from xstilts.common.errors import UserError
from xstilts.handover import onnx
from xstilts.running.run import execute


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("name", HEADS)
def test_it_says_what_the_model_says(name: str, models: Path, tmp_path: Path) -> None:
    """On a real text; and a model with other weights is told apart from it."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = copytree(models / name, tmp_path / "m")
    section = onnx.write(folder)
    opened = xstilts.load(folder)
    texts = (["anna lives in bonn"] * 2, ["where?", "who is anna?"])
    inputs = dict(opened.tokenizer(*texts, padding=True, return_tensors="np"))
    if name == "multiple_choice":
        inputs = {field: each[None] for field, each in inputs.items()}
    said = onnxruntime.InferenceSession(str(folder / onnx.FILE)).run(None, inputs)
    own = opened.model(**{field: torch.from_numpy(each) for field, each in inputs.items()}, output_hidden_states=True)
    expected = [own.hidden_states[1]] if name == "retrieval" else [own[output] for output in opened.head.ONNX]
    assert len(said) == len(expected)
    for one, other in zip(said, expected, strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), atol=1e-4)
    stated = float(section.split("at most ")[1].split()[0])
    assert 0 <= stated < 1e-4
    assert stated == pytest.approx(onnx.difference(folder / onnx.FILE, opened), rel=0.1, abs=1e-9)
    with torch.no_grad():
        opened.model.base_model.encoder.layer[0].output.LayerNorm.bias[0] += 0.5
    assert onnx.difference(folder / onnx.FILE, opened) > onnx.TOLERANCE


def test_what_differs_is_refused_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = xstilts.api.open_store(tmp_path / "store")
    study = {**MIX, "targets": [{"task": "mini-span", "max_examples": 2, "languages": ["en"]}]}
    assert execute(xstilts.plan(study), store, make=lambda: Inline(store)) == {}
    monkeypatch.setattr("xstilts.common.extras.find_spec", lambda package: None if package == "onnxruntime" else True)
    with pytest.raises(UserError, match=r'onnxruntime is not installed; pip install "xstilts\[onnx\]"'):
        xstilts.export(study, tmp_path / "out" / "m", store=store.url, onnx=True)
    monkeypatch.undo()
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx, "difference", lambda *_: 0.02)
    with pytest.raises(UserError, match=r"--onnx: its outputs differ from the model's by 0.02, more than 0.001; leave"):
        xstilts.export(study, tmp_path / "out" / "m", store=store.url, onnx=True)
    assert not [*(tmp_path / "out").iterdir()]
    monkeypatch.undo()
    xstilts.export(study, tmp_path / "out" / "m", store=store.url, onnx=True)
    assert (tmp_path / "out" / "m" / onnx.FILE).is_file()
    assert "\n## ONNX\n" in (tmp_path / "out" / "m" / "README.md").read_text()
