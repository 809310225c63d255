"""Model folders × plan and run: accepted, or one line that names folder or file, before any stage and any training."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from forked import XStilts, rows
from test_encoders_load import save_model

Change = Callable[[Path], Any]

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
INDEX, SHARD = "model.safetensors.index.json", "model-00001-of-00001.safetensors"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "m"
    save_model(folder, "xlm-roberta")
    return folder


def config(**values: Any) -> Change:
    """Fields of config.json set, or taken away where ... is given."""
    return in_json(CONFIG, **values)


def in_json(file: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        content = {**json.loads((folder / file).read_text()), **values}
        (folder / file).write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))

    return change


def written(file: str, content: bytes | str) -> Change:
    return lambda folder: (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def changed(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return changed


def tokenizer(change: Callable[[dict[str, Any]], Any]) -> Change:
    def changed(folder: Path) -> None:
        content = json.loads((folder / TOKENIZER).read_text())
        change(content)
        (folder / TOKENIZER).write_text(json.dumps(content))

    return changed


def header(content: Any, body: bytes = b"") -> bytes:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def replaced(file: str, make: Callable[[Path], Any]) -> Change:
    """Something that is no file, in its place."""

    def change(folder: Path) -> None:
        (folder / file).unlink()
        make(folder / file)

    return change


def sharded(content: Any) -> Change:
    def change(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / SHARD)
        (folder / INDEX).write_text(content if isinstance(content, str) else json.dumps(content))

    return change


def all_in(folder: Path) -> None:
    names = dict.fromkeys(load_file(folder / WEIGHTS), SHARD)
    sharded({"metadata": {}, "weight_map": names})(folder)


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def with_code(folder: Path) -> None:
    (folder / "evil.py").write_text("open('pwned', 'w')\nclass E: pass\n")
    names = dict.fromkeys(["AutoConfig", "AutoModel", "AutoModelForQuestionAnswering"], "evil.E")
    for file in (CONFIG, "tokenizer_config.json"):
        in_json(file, auto_map={**names, "AutoTokenizer": ["evil.E", "evil.E"]}, trust_remote_code=True)(folder)


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def key_of(tensors: dict[str, torch.Tensor], end: str) -> str:
    return next(name for name in tensors if name.endswith(end))


def set_to(end: str, tensor: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return weights(lambda all: all.update({key_of(all, end): tensor(all[key_of(all, end)]).contiguous()}))


TENSOR = {"dtype": "F32", "shape": [30, 16], "data_offsets": [0, 1920]}
LOOP = replaced(CONFIG, lambda path: path.symlink_to(path.name))
NUMBERS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
           "max_position_embeddings")  # fmt: skip
WRONG: tuple[Any, ...] = ("32", None, -1, 0, 10**9, 2.5, [2], True)

#: What is done to a whole folder, and what the error names; None where the folder is as good as before.
CASES: dict[str, tuple[Change, str | None]] = {
    "as it is": (lambda folder: None, None),
    "sharded": (all_in, None),
    "weights cut short": (lambda folder: os.truncate(folder / WEIGHTS, 9000), f"{WEIGHTS} has 9,000 bytes, of "),
    "weights too long": (lambda folder: os.truncate(folder / WEIGHTS, 900_000), f"{WEIGHTS} has 900,000 bytes, of "),
    "weights empty": (written(WEIGHTS, b""), f"{WEIGHTS} is no safetensors file"),
    "weights of FF": (written(WEIGHTS, b"\xff" * 8), f"{WEIGHTS} is no safetensors file"),
    "header of 2^60 bytes": (written(WEIGHTS, struct.pack("<Q", 1 << 60) + b"{}"), f"{WEIGHTS} is no safetensors"),
    "header no JSON": (written(WEIGHTS, header(b"xxxx")), f"{WEIGHTS} has no header"),
    "header a list": (written(WEIGHTS, header([])), f"{WEIGHTS} has no header"),
    "header deep": (written(WEIGHTS, header(DEEP.encode())), f"{WEIGHTS} has no header"),
    "header without tensors": (written(WEIGHTS, header({})), f"{WEIGHTS} has no tensors"),
    "header of words": (written(WEIGHTS, header({"a": {**TENSOR, "shape": "x"}}, bytes(1920))), "has no header"),
    "header outside": (
        written(WEIGHTS, header({"a": {**TENSOR, "data_offsets": [0, 1 << 50]}}, bytes(64))), f"{WEIGHTS} has "),
    "header overflowing": (
        written(WEIGHTS, header({"a": {**TENSOR, "shape": [1 << 40, 1 << 40]}}, bytes(1920))), "cannot be used"),
    "weights a folder": (replaced(WEIGHTS, Path.mkdir), f"{WEIGHTS}: cannot be read: a folder"),
    "weights a pipe": (replaced(WEIGHTS, os.mkfifo), f"{WEIGHTS}: cannot be read: a named pipe"),
    "weights a pointer": (written(WEIGHTS, LFS), f"{WEIGHTS} is a Git LFS pointer"),
    "config a pointer": (written(CONFIG, LFS), f"{CONFIG} is a Git LFS pointer"),
    "tokenizer a pointer": (written(TOKENIZER, LFS), f"{TOKENIZER} is a Git LFS pointer"),
    "weights missing": (lambda folder: (folder / WEIGHTS).unlink(), "no complete model.safetensors"),
    "weights pickled": (pickled, "xstilts unpickles nothing"),
    "NaN": (set_to("layer.0.output.dense.weight", lambda one: one * float("nan")), "two words come out as NaN"),
    "infinite": (set_to("word_embeddings.weight", lambda one: one * 0 + float("inf")), "two words come out as NaN"),
    "NaN in the last block": (set_to("layer.2.output.dense.bias", lambda one: one / 0), "two words come out as NaN"),
    "a tensor missing": (
        weights(lambda all: all.pop(key_of(all, "layer.2.output.dense.weight"))), "the weights lack 1 of"),
    "a wrong shape": (set_to("layer.1.output.dense.weight", lambda one: one[:3, :3]), "has the shape (3, 3)"),
    "fewer words in the weights": (
        both(set_to("word_embeddings.weight", lambda one: one[:20]), weights(lambda all: all.pop("lm_head.bias", 0))),
        "the weights 20 and 16"),
    "whole numbers": (set_to("word_embeddings.weight", lambda one: one.to(torch.int32)), "are of type I32"),
    "8 bits": (set_to("word_embeddings.weight", lambda one: one.to(torch.float8_e4m3fn)), "are of type F8_E4M3"),
    "16 bits": (weights(lambda all: all.update({name: one.half() for name, one in all.items()})), None),
    "code of its own": (with_code, None),
    "code of its own, unknown type": (both(with_code, config(model_type="evil")), "brings code of its own"),
    "config empty": (written(CONFIG, ""), f"{CONFIG} is not JSON"),
    "config a list": (written(CONFIG, "[]"), f"{CONFIG} is not a model's"),
    "config deep": (written(CONFIG, '{"a":' + DEEP), "nested too deeply"),
    "config of 5,000 digits": (written(CONFIG, '{"hidden_size":' + "9" * 5000 + "}"), f"{CONFIG} is not JSON"),
    "config latin-1": (written(CONFIG, b'{"a":"\xe9"}'), f"{CONFIG}:1: not UTF-8"),
    "config utf-16": (written(CONFIG, "{}".encode("utf-16")), "UTF-16"),
    "config a folder": (replaced(CONFIG, Path.mkdir), f"{CONFIG}: cannot be read: a folder"),
    "config a pipe": (replaced(CONFIG, os.mkfifo), f"{CONFIG}: cannot be read: a named pipe"),
    "config links to itself": (LOOP, f"{CONFIG}: cannot be read: Too many levels"),
    "config missing": (lambda folder: (folder / CONFIG).unlink(), f"{CONFIG}: missing"),
    **{f"{field} {value!r}": (config(**{field: value}), field) for field in NUMBERS for value in WRONG},
    "hidden NaN": (config(hidden_size=float("nan")), "hidden_size"),
    "hidden no multiple of heads": (config(hidden_size=33), "hidden_size 33"),
    "4 layers of 3": (config(num_hidden_layers=4), "config.json has 4 layers, the weights 3"),
    "positions 10": (config(max_position_embeddings=10), "max_position_embeddings"),
    "positions 100": (config(max_position_embeddings=100), "has the shape (40, 16)"),
    "another activation": (config(hidden_act="nosuch"), "'nosuch' is not known"),
    **{f"type {value}": (config(model_type=value), "its model type") for value in (5, ["x"], "nosuch", None, ...)},
    "padding x": (config(pad_token_id="x"), "pad_token_id"),
    "padding beyond the words": (config(pad_token_id=10**6), "pad_token_id"),
    "padding -1": (config(pad_token_id=-1), "pad_token_id"),
    "quantized": (config(quantization_config={"quant_method": "bitsandbytes"}), "quantized weights"),
    "dropout 5": (config(hidden_dropout_prob=5), "dropout"),
    "attention from elsewhere": (config(_attn_implementation="evil/kernel", attn_implementation="evil/kernel"), None),
    "type of numbers": (config(torch_dtype="os.system"), None),
    "types of layers": (config(layer_types=5), "layer_types"),
    "tokenizer empty": (written(TOKENIZER, ""), f"{TOKENIZER} is not JSON"),
    "tokenizer {}": (written(TOKENIZER, "{}"), f"{TOKENIZER} cannot be read"),
    "tokenizer deep": (written(TOKENIZER, DEEP), f"{TOKENIZER} is not JSON"),
    "tokenizer a folder": (replaced(TOKENIZER, Path.mkdir), f"{TOKENIZER}: cannot be read: a folder"),
    "tokenizer a pipe": (replaced(TOKENIZER, os.mkfifo), f"{TOKENIZER}: cannot be read: a named pipe"),
    "tokenizer without model": (tokenizer(lambda all: all.pop("model")), f"{TOKENIZER} cannot be read"),
    "a piece of id 2^40": (tokenizer(lambda all: all["model"]["vocab"].update(zz=1 << 40)), f"{TOKENIZER} cannot"),
    "a piece beyond the words": (tokenizer(lambda all: all["model"]["vocab"].update(zz=30)), "up to id 30 ('zz')"),
    "no unknown piece": (
        both(tokenizer(lambda all: all["model"]["vocab"].pop("<unk>")),
             tokenizer(lambda all: all.update(added_tokens=[]))), "tokenizer"),
    "no special tokens around": (tokenizer(lambda all: all.update(post_processor=None)), "no special tokens around"),
    "cut to 5": (
        tokenizer(lambda all: all.update(truncation={"direction": "Right", "max_length": 5, "strategy": "LongestFirst",
                                                     "stride": 0})), None),
    "class from elsewhere": (in_json("tokenizer_config.json", tokenizer_class="os.system"), None),
    "no padding": (in_json("tokenizer_config.json", pad_token=None), "has no padding token"),
    "at most 5 tokens": (in_json("tokenizer_config.json", model_max_length=5), "takes 5 tokens"),
    "at most -1 tokens": (in_json("tokenizer_config.json", model_max_length=-1), "takes -1 tokens"),
    "at most x tokens": (in_json("tokenizer_config.json", model_max_length="x"), "tokenizer"),
    "tokenizer_config no JSON": (written("tokenizer_config.json", "{"), "tokenizer"),
    "no tokenizer": (lambda folder: [path.unlink() for path in folder.glob("tokenizer*")], "no tokenizer in"),
    "index no JSON": (sharded("{"), f"{INDEX} is not JSON"),
    "index {}": (sharded({}), f"{INDEX}: no `weight_map`"),
    "index a list": (sharded([]), f"{INDEX} is not a model's"),
    "index of numbers": (sharded({"weight_map": {"a": 1}}), f"{INDEX}: no `weight_map`"),
    "index leads out": (sharded({"weight_map": {"a": "../../../../etc/passwd"}}), "is not beside it"),
    "index leads to the root": (sharded({"weight_map": {"a": "/etc/passwd"}}), "is not beside it"),
    "a shard missing": (sharded({"weight_map": {"a": "model-00009-of-00009.safetensors"}}), "no complete model"),
    "an adapter alone": (
        both(lambda folder: [(folder / name).unlink() for name in (WEIGHTS, CONFIG)],
             written("adapter_config.json", '{"peft_type": "LORA"}')), "holds an adapter alone"),
    "an adapter beside": (written("adapter_config.json", '{"peft_type": "LORA"}'), "holds an adapter"),
}  # fmt: skip

STUDY = {
    "name": "bad", "encoders": ["./m"], "recipes": ["none"], "seeds": [1],
    "targets": [{"task": "mini-paraphrase", "max_examples": 2, "languages": ["de"]}],
    "training": {"max_train_examples": 4, "max_dev_examples": 2, "max_length": 32, "batch_size": 4},
}  # fmt: skip


@pytest.mark.parametrize("case", rows(CASES, cut=14))
def test_a_folder(xstilts: XStilts, model: Path, tmp_path: Path, case: tuple[Change, str | None]) -> None:
    change, named = case
    copytree(model, tmp_path / "m")
    change(tmp_path / "m")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(STUDY))
    ended = xstilts(tmp_path, "run", "s.yaml", seconds=60, HF_HUB_OFFLINE="1")
    if named is None:
        ended.assert_accepted()
    else:
        ended.assert_refused("encoder ./m", named)
        assert not list(tmp_path.rglob("manifest.json"))
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "m" / "pwned").exists()
