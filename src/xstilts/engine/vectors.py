"""Sentence vectors on disk: those of every block of an encoder are more than memory may hold."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

Half = npt.NDArray[np.float16]


class Vectors:
    """Vectors of sentences after each block, in 16 bits: one file a block, which vanishes with the process."""

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = []
        self._blocks: list[Half] = []
        self._count = 0
        self._hidden = 0

    def append(self, vectors: Half) -> None:
        """Write the vectors [sentences, blocks, hidden] of a batch behind those that are there."""
        if not self._files:
            self._files = [tempfile.TemporaryFile() for _ in range(vectors.shape[1])]  # noqa: SIM115 - until `close`
            self._hidden = vectors.shape[2]
        for block, file in enumerate(self._files):
            file.write(np.ascontiguousarray(vectors[:, block], np.float16).tobytes())
        self._count += len(vectors)

    def close(self) -> None:
        """End the writing. From now on the vectors can be read."""
        for file in self._files:
            file.flush()
            shape = (self._count, self._hidden)
            self._blocks.append(np.memmap(file, np.float16, mode="r", shape=shape))
            file.close()  # the mapping stays

    def __len__(self) -> int:
        return self._count

    @property
    def blocks(self) -> int:
        """How many outputs there are: the embeddings (0) and that of each block."""
        return len(self._blocks)

    def block(self, n: int) -> Half:
        """The vectors [sentences, hidden] after block ``n``, in the order of writing, read as they are looked at."""
        return self._blocks[n]


@dataclass(frozen=True)
class Embedded:
    """The vectors of some sentences, of which several may share one; ``chosen`` is the block that is scored first."""

    vectors: Vectors
    places: npt.NDArray[np.int64]  # [sentences], in `vectors`
    chosen: int

    def __len__(self) -> int:
        return len(self.places)

    @property
    def blocks(self) -> int:
        return self.vectors.blocks

    def block(self, n: int, sentences: npt.NDArray[np.int64]) -> Half:
        """The vectors [sentences, hidden] after block ``n`` of those numbers ``sentences``, in memory."""
        return self.vectors.block(n)[self.places[sentences]]
