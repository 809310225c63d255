"""An exported model as ONNX beside its weights, checked against the model itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from xstilts.common.errors import UserError
from xstilts.common.extras import need
from xstilts.encoders.bodies import told
from xstilts.handover.exported import Exported, load

FILE = Path("onnx", "model.onnx")

#: How far its outputs may be from the model's: logits, or the hidden states of which vectors are made.
TOLERANCE = 1e-3

#: Shapes of the inputs that it is tried on: rows, and tokens up to those that the model was trained with.
ROWS = (1, 3)
TOKENS = (5, 33, 10_000)


class _Positional(nn.Module):
    """A model whose inputs and outputs have an order."""

    def __init__(self, opened: Exported) -> None:
        super().__init__()
        self.model, self.names = opened.model, input_names(opened)
        self.outputs, self.block = opened.head.ONNX, opened.usage.block

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        vectors = self.block is not None
        said = self.model(**dict(zip(self.names, inputs, strict=True)), output_hidden_states=vectors)
        return (said.hidden_states[self.block],) if vectors else tuple(said[name] for name in self.outputs)


def input_names(opened: Exported) -> tuple[str, ...]:
    types = ("token_type_ids",) if "token_type_ids" in opened.tokenizer.model_input_names else ()
    return ("input_ids", "attention_mask", *types)


def write(folder: Path) -> str:
    """Write ``folder``/`FILE` of the exported model in it; gives what its card says of that.

    Inputs are [rows, tokens], of multiple choice [rows, choices, tokens], of any size. Raises UserError where PyTorch
    cannot export the model, or what it exports differs from it by more than `TOLERANCE`.
    """
    need("onnx", "onnx", "onnxscript", "onnxruntime")
    opened = load(folder, device="cpu", precision="fp32")
    model, file = _Positional(opened).eval(), folder / FILE
    file.parent.mkdir()
    inputs = next(_inputs(opened, ROWS[-1:], TOKENS[1:2]))
    free = {axis: torch.export.Dim.DYNAMIC for axis in range(inputs[0].ndim)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages that have nothing to do with this
    with told("--onnx: the model"), warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, inputs, dynamo=True, dynamic_shapes=((free,) * len(inputs),), verbose=False,
            input_names=list(model.names), output_names=list(model.outputs),
        )  # fmt: skip
        assert program is not None, "with dynamo it always gives one"
        program.save(str(file))
    apart = difference(file, opened)
    if not apart <= TOLERANCE:
        raise UserError(
            f"--onnx: its outputs differ from the model's by {apart:.2g}, more than {TOLERANCE:g}; leave --onnx out"
        )
    return _section(opened, apart)


def difference(file: Path, opened: Exported) -> float:
    """The largest difference of an output between an ONNX file and a model, at tokens that are no padding."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    model, apart = _Positional(opened).eval(), 0.0
    for inputs in _inputs(opened, ROWS, TOKENS):
        with torch.inference_mode():
            expected = [each.numpy() for each in model(*inputs)]
        given = {name: each.numpy() for name, each in zip(model.names, inputs, strict=True)}
        read = given["attention_mask"].astype(bool)
        for own, other in zip(expected, session.run(None, given), strict=True):
            if own.shape != other.shape:
                return float("inf")
            of_tokens = own.shape[: read.ndim] == read.shape
            apart = max(apart, float(np.abs(own - other)[read if of_tokens else ...].max()))
    return apart


def _inputs(opened: Exported, rows: Sequence[int], tokens: Sequence[int]) -> Iterator[tuple[torch.Tensor, ...]]:
    """Random ids, the last row of several padded."""
    draw = np.random.default_rng(0)
    pad = opened.tokenizer.pad_token_id
    ids = np.setdiff1d(np.arange(len(opened.tokenizer)), [pad])
    for count in rows:
        for length in (min(tokens, opened.usage.max_length) for tokens in tokens):
            shape = (count, *opened.head.ONNX_INNER, length)
            drawn, mask = draw.choice(ids, shape), np.ones(shape, np.int64)
            if count > 1:
                drawn[-1, ..., -(length // 3) :], mask[-1, ..., -(length // 3) :] = pad, 0
            types = [np.zeros(shape, np.int64)] * (len(input_names(opened)) - 2)
            yield tuple(torch.from_numpy(each.astype(np.int64)) for each in (drawn, mask, *types))


def _section(opened: Exported, apart: float) -> str:
    names = ", ".join(f"`{name}`" for name in input_names(opened))
    said = ", ".join(f"`{name}`" for name in opened.head.ONNX)
    block = f" after block {opened.usage.block}" if opened.usage.block is not None else ""
    return (
        f"## ONNX\n\n`{FILE}` is the same model: {names} in, {said}{block} out. On {len(ROWS) * len(TOKENS)} random "
        f"inputs of up to {opened.usage.max_length} tokens its outputs differ from the model's by at most {apart:.1e} "
        f"(ONNX Runtime {version('onnxruntime')}, CPU, fp32)."
    )
