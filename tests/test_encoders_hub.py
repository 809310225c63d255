"""Encoders of the hub, and a whole study with data and encoder from it, through a stand-in on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from hub_server import Server, client, serve
from test_data_hub import parquet, put
from test_encoders_load import save_model

CLIENT = """
import json, sys
from transformers import AutoModel
from xstilts.encoders import Encoder, describe
from xstilts.encoders.load import load_model, load_tokenizer
from xstilts.common.errors import UserError
for name, revision in json.load(sys.stdin):
    encoder = Encoder(name, revision=revision)
    try:
        digest = describe(encoder).digest
        ids = load_tokenizer(encoder)("a b")["input_ids"]
        weights = load_model(encoder, AutoModel, seed=0).get_input_embeddings().weight
        told = f"{digest} {ids} {weights.detach().sum().item():.6f}"
    except UserError as error:
        told = f"error: {error}"
    print(json.dumps(told))
"""

TEXTS = [(f"a {word}", f"b {word}", str(number % 2)) for number, word in enumerate("cdefghijklmn")]


def ask(server: Server, home: Path, encoders: list[tuple[str, str | None]], **more: str) -> list[str]:
    done = client(server.url, home, ["-c", CLIENT], json.dumps(encoders), **more)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small XLM-R with random weights."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, "xlm-roberta")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def hub(model: dict[str, bytes]) -> Iterator[Server]:
    def without(*names: str) -> dict[str, bytes]:
        return {name: content for name, content in model.items() if name not in names}

    config = json.loads(model["config.json"])
    foreign = {**config, "model_type": "own", "auto_map": {"AutoModel": "modeling_own.OwnModel"}}
    with serve() as server:
        server.commit("models/some/xlmr", {**model, "pytorch_model.bin": b"never read"})
        server.commit("models/some/pickled", {**without("model.safetensors"), "pytorch_model.bin": b"pickle"})
        server.commit("models/some/slow", without("tokenizer.json", "tokenizer_config.json"))
        server.commit("models/some/no-model", {"README.md": b"-"})
        files = {**model, "config.json": json.dumps(foreign).encode(), "modeling_own.py": b"raise SystemExit(9)"}
        server.commit("models/some/own", files)
        server.commit("models/some/gated", model)
        server.repositories["models/some/gated"].gated = True
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


def test_encoders_through_the_hub(hub: Server, home: Path) -> None:
    commit = hub.repositories["models/some/xlmr"].branches["main"]
    refused = {
        ("some/pickled", None): "no complete model.safetensors at commit",
        ("some/slow", None): "no tokenizer at commit",
        ("some/own", None): "brings code of its own, which xstilts does not run",
        ("some/no-model", None): "has no config.json on the hub",
        ("some/gated", None): "its terms must be accepted on the hub first",
        ("some/absent", None): "neither a folder nor a model on the hub",
        ("some/xlmr", "nope"): "at revision nope: the hub has no such revision",
    }
    pinned, unpinned, *told = ask(hub, home, [("some/xlmr", commit), ("some/xlmr", None), *refused])
    assert pinned == unpinned and pinned.startswith(f"hub:{commit} [0, 4, 5, 2] ")
    for one, ((name, _), message) in zip(told, refused.items(), strict=True):
        assert one.startswith(f"error: encoder {name}") and message in one and "\n" not in one
    fetched = {request.rpartition("/")[2] for request in hub.requests if "/resolve/" in request}
    assert "model.safetensors" in fetched
    assert not fetched & {"pytorch_model.bin", "modeling_own.py"}
    before = len(hub.requests)
    again = ask(hub, home, [("some/xlmr", commit), ("some/xlmr", None), ("some/other", None)], HF_HUB_OFFLINE="1")
    assert again[:2] == [pinned, unpinned] and "not in the local cache, and the hub cannot be reached" in again[2]
    assert len(hub.requests) == before


def test_a_study_with_data_and_encoder_of_the_hub(hub: Server, home: Path, tmp_path: Path) -> None:
    def rows(texts: list[tuple[str, str, str]], shift: str = "") -> bytes:
        columns = [[shift + row[n] for row in texts] for n in (0, 1)]
        return parquet({"sentence1": columns[0], "sentence2": columns[1], "label": [row[2] for row in texts]})

    tables = {"PAWS-X.en/train": rows(TEXTS[:8]), "PAWS-X.en/validation": rows(TEXTS[8:])}
    data = put(hub, "google/xtreme", {**tables, **{f"PAWS-X.{each}/test": rows(TEXTS, "o ") for each in ("de", "ja")}})
    study = {
        "name": "far",
        "hub": {"google/xtreme": data},
        "encoders": [{"source": "some/xlmr", "revision": hub.repositories["models/some/xlmr"].branches["main"]}],
        "recipes": ["none"],
        "targets": ["pawsx"],
        "seeds": [1],
        "training": {"batch_size": 4, "max_length": 16},
    }
    file = tmp_path / "far.yaml"
    file.write_text(yaml.safe_dump(study))
    store = {"XSTILTS_STORE": str(tmp_path / "store")}
    command = ["-m", "xstilts.cli", "run", str(file), "--out", str(tmp_path / "out")]
    done = client(hub.url, home, command, **store)
    assert done.returncode == 0, done.stderr
    scores = pl.read_parquet(tmp_path / "out" / "scores.parquet").filter("main")
    assert dict(scores.select("language", "n").iter_rows()) == {"de": 12, "ja": 12}
    told = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"pawsx: 8 examples from the hub, google/xtreme train at commit {data}" in told
    assert "other counts than the official ones: de 12 of 2,000, ja 12 of 2,000" in told
    done = client(hub.url, home, ["-m", "xstilts.cli", "plan", str(file)], HF_HUB_OFFLINE="1", **store)
    assert done.returncode == 0, done.stderr
    assert " 0 to do" in done.stdout.replace("\n", " ") and f"at commit {data}" in done.stdout
