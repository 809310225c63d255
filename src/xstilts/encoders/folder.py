"""Whether a model folder is whole: its files are what they are called, and agree with each other. Without torch."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xstilts.common import textfile
from xstilts.common.errors import UserError
from xstilts.encoders.sizes import Shape

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER = "adapter_config.json"

#: What Git leaves in place of a large file that was not fetched.
_LFS = b"version https://git-lfs"

#: The types of numbers that weights may have; others are quantized, or no weights.
_FLOATS = {"F64", "F32", "F16", "BF16"}

#: No header of a model is longer: XLM-R XXL's has 100 kB.
_LONGEST_HEADER = 100_000_000


def read_json(file: Path, name: str) -> dict[str, Any]:
    """An object in a model's JSON file. Raises UserError, of the encoder ``name``."""
    try:
        content = json.loads(textfile.read_text(file, "missing; a model folder is what save_pretrained writes"))
    except textfile.UnreadableError as error:
        raise UserError(f"encoder {name}: {error}") from None
    except (ValueError, RecursionError) as error:
        if _is_pointer(file):
            raise UserError(f"encoder {name}: {file} {_FETCH}") from None
        what = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"encoder {name}: {file} is not JSON: {what}; download the model again") from None
    if not isinstance(content, dict):
        raise UserError(f"encoder {name}: {file} is not a model's: it is no object with named fields")
    return content


def shards(folder: Path, name: str) -> list[Path] | None:
    """The files of a folder's weights; None where they are not there, or not all. Raises UserError.

    A file that the index names outside of the folder is never opened.
    """
    index = folder / WEIGHTS_INDEX
    if not index.is_file():
        return [folder / WEIGHTS] if (folder / WEIGHTS).exists() else None
    names = read_json(index, name).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(each, str) for each in names.values()):
        raise UserError(f"encoder {name}: {index}: no `weight_map` of tensors to files; download the model again")
    for each in names.values():
        if Path(each).name != each:
            raise UserError(f"encoder {name}: {index}: {each!r} is not beside it; download the model again")
    files = [folder / each for each in sorted(set(names.values()))]
    return files if all(file.exists() for file in files) else None


def check(folder: Path, name: str, shape: Shape) -> None:
    """Configuration, weights and tokenizer of a folder, as far as they are there, fit each other. Raises UserError.

    Of the weights the headers are read, which say what tensors there are, and of which shape.
    """
    if (folder / ADAPTER).exists():
        raise UserError(
            f"encoder {name}: {folder} holds an adapter ({ADAPTER}); merge it into its model (merge_and_unload) and "
            f"save that, or take {ADAPTER} away if the weights are whole"
        )
    if files := shards(folder, name):
        tensors = {key: entry for file in files for key, entry in _header(file, name, *_state(file, name)).items()}
        _check_tensors(tensors, folder, name, shape)
    if (folder / TOKENIZER).exists():
        _check_pieces(folder / TOKENIZER, name, shape.vocabulary, *_state(folder / TOKENIZER, name))


def _state(file: Path, name: str) -> tuple[int, int]:
    """Size and time of a regular file: while they are the same, it need not be read again."""
    try:
        return textfile.check_regular(file), file.stat().st_mtime_ns
    except UserError as error:
        raise UserError(f"encoder {name}: {error}") from None


_FETCH = "is a Git LFS pointer, not the file; run `git lfs pull` there, or download the model"


def _is_pointer(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(_LFS)) == _LFS


@cache
def _header(file: Path, name: str, size: int, _modified: int) -> dict[str, Any]:
    """What a safetensors file says of its tensors (github.com/huggingface/safetensors, README: Format)."""
    again = "copy or download it again"
    if _is_pointer(file):
        raise UserError(f"encoder {name}: {file} {_FETCH}")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise UserError(f"encoder {name}: {file} is no safetensors file, or is cut short; {again}")
        raw = stream.read(length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        ends = [entry["data_offsets"][1] for entry in header.values()]
        whole = 8 + length + max(ends, default=0)
        shapes = [(entry["dtype"], [int(n) for n in entry["shape"]]) for entry in header.values()]
    except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
        raise UserError(f"encoder {name}: {file} has no header of safetensors; {again}") from None
    if whole != size:
        raise UserError(f"encoder {name}: {file} has {size:,} bytes, of {whole:,}; {again}")
    if not shapes:
        raise UserError(f"encoder {name}: {file} has no tensors; {again}")
    return dict(header)


def _check_tensors(tensors: dict[str, Any], folder: Path, name: str, shape: Shape) -> None:
    for key, entry in tensors.items():
        if key.endswith(".weight") and entry["dtype"] not in _FLOATS:
            raise UserError(
                f"encoder {name}: the weights in {folder} are of type {entry['dtype']} ({key}), which is not trained; "
                f"take the model in 16 or 32 bits"
            )
    numbers = [int(found[1]) for key in tensors if (found := re.search(r"\b(?:layers?|blocks?|h)\.(\d+)\.", key))]
    if numbers and max(numbers) + 1 < shape.layers:
        raise UserError(
            f"encoder {name}: {folder}: {CONFIG} has {shape.layers} layers, the weights {max(numbers) + 1}; "
            f"take both from the same model"
        )
    for key, entry in tensors.items():
        is_words = re.search(r"(word_embeddings|embed_tokens|tok_embeddings)\.weight$", key)
        if is_words and entry["shape"] != [shape.vocabulary, shape.embedding]:
            raise UserError(
                f"encoder {name}: {folder}: {CONFIG} has a vocabulary of {shape.vocabulary} and vectors of "
                f"{shape.embedding}, the weights {' and '.join(map(str, entry['shape']))}; take both from one model"
            )


@cache
def _check_pieces(file: Path, name: str, vocabulary: int, _size: int, _modified: int) -> None:
    """No piece of a tokenizer has an id that the model lacks."""
    read_json(file, name)
    if find_spec("tokenizers") is None:  # nothing is trained here, only read what was trained elsewhere
        return
    from tokenizers import Tokenizer

    try:
        pieces = Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
    except Exception as error:  # the bindings raise nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"encoder {name}: {file} cannot be read: {reason}; save the tokenizer again") from None
    if not pieces:
        raise UserError(f"encoder {name}: {file} knows no piece; save the tokenizer again")
    piece, highest = max(pieces.items(), key=lambda item: item[1])
    if highest >= vocabulary:
        raise UserError(
            f"encoder {name}: {file} has pieces up to id {highest} ({piece[:40]!r}), the model's vocabulary "
            f"ends at {vocabulary - 1} (vocab_size); take both from the same model"
        )
