"""`python -m benchmarks.mining`: how long mining a block takes, and its memory, with the vectors of all blocks on disk.

Random vectors with translations planted among them: as many sentences as BUCC's Chinese sample has, and more. Each case
is a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks import jobs
from xstilts.common.units import duration
from xstilts.common.units import memory as size
from xstilts.engine.heads.mining import Corpora
from xstilts.engine.machine import memory
from xstilts.engine.vectors import Embedded, Vectors
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.metrics.bucc import best_threshold, f1, mined

BLOCKS, DIMENSIONS = 13, 384  # of multilingual-e5-small, embeddings included
BATCH = 1024  # sentences written at a time
NOISE = 0.5  # of a translation, where sentences are normal variates

#: Foreign and English sentences.
CASES = {"BUCC zh sample": (8_624, 13_589), "larger": (50_000, 40_000)}


def search(sources: int, targets: int, seed: int) -> dict[str, Any]:
    """Write the vectors of all blocks, which are alike, and mine one; every thirtieth sentence has a translation."""
    torch.set_num_threads(jobs.threads())
    random = np.random.default_rng(seed)
    pairs = min(sources, targets) // 30
    meaning = random.normal(size=(pairs, DIMENSIONS)).astype(np.float32)
    examples = [MiningExample(f"s{i}", f"s{i}", False, (f"t{i}",) if i < pairs else ()) for i in range(sources)]
    examples += [MiningExample(f"t{i}", f"t{i}", True, None) for i in range(targets)]
    vectors = Vectors()
    for side in (sources, targets):
        for at in range(0, side, BATCH):
            batch = random.normal(size=(min(BATCH, side - at), DIMENSIONS)).astype(np.float32)
            known = meaning[at : at + BATCH]
            batch[: len(known)] = known + NOISE * batch[: len(known)]
            batch += 0.5  # all somewhat alike, as an encoder's vectors are
            batch /= np.linalg.norm(batch, axis=1, keepdims=True)
            vectors.append(np.broadcast_to(batch[:, None].astype(np.float16), (len(batch), BLOCKS, DIMENSIONS)))
    vectors.close()
    corpora = Corpora(examples, Embedded(vectors, np.arange(sources + targets), 0))
    before = memory.peak()
    began = time.perf_counter()
    candidates = corpora.candidates(BLOCKS - 1, torch.device("cpu"))
    seconds = time.perf_counter() - began
    gold = corpora.gold()
    common, all_pairs = f1(mined(candidates, best_threshold(candidates, gold)), gold)
    return {
        "seconds": seconds,
        "search": memory.peak() - before,
        "one": 2 * DIMENSIONS * len(vectors),
        "f1": 100 * common / all_pairs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mining", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sentences, whose figures mean nothing")
    scale = 10 if parser.parse_args().quick else 1
    print(f"{DIMENSIONS} dimensions, {BLOCKS} blocks in 16 bits on disk, {jobs.threads()} threads\n")
    print(
        "| case | sentences | vectors of a block | of all | F1 | time a block | memory of the search | of all vectors |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, (sources, targets) in CASES.items():
        sources, targets = sources // scale, targets // scale
        found = jobs.run(jobs.job("mining", "search", sources=sources, targets=targets), seed=1)
        print(
            f"| {name} | {sources:,} × {targets:,} | {size(found['one'])} | {size(BLOCKS * found['one'])} | "
            f"{found['f1']:.1f} | {duration(found['seconds'])} | {size(found['search'])} | "
            f"{found['search'] / (BLOCKS * found['one']):.0%} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == [search.__name__]:
        jobs.answer({search.__name__: search})
    else:
        jobs.command(main)
