"""Mining: pairs of sentences above a threshold of their margin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from xstilts.common.progress import Event, Sink, silent
from xstilts.engine.heads.sentences import Compared, rows_of
from xstilts.engine.inference import Reader
from xstilts.engine.machine.device import accelerator
from xstilts.engine.margins import mine
from xstilts.engine.rows import Row
from xstilts.engine.vectors import Embedded
from xstilts.planning.hyperparameters import Lengths
from xstilts.planning.records import Mined
from xstilts.tasks.formats.mining import NONE, SEPARATOR, MiningExample
from xstilts.tasks.metrics.bucc import Candidate, Pair, best_threshold, f1, mined
from xstilts.tasks.task import Task


@dataclass(frozen=True)
class Corpora:
    """Two corpora in which to mine: their sentences, and the vectors of these."""

    examples: Sequence[MiningExample]
    vectors: Embedded

    def candidates(self, block: int, device: torch.device) -> list[Candidate]:
        """The candidates by descending margin, each with the places of its two sentences in ``examples``."""
        sides = [
            [i for i, example in enumerate(self.examples) if example.english == wanted] for wanted in (False, True)
        ]
        source, target = (torch.from_numpy(self.vectors.block(block, np.array(side, int))).to(device) for side in sides)
        source_texts, target_texts = ([self.examples[i].text for i in side] for side in sides)
        found = mine(source, target, source_texts, target_texts)
        return [Candidate(sides[0][i], sides[1][j], margin) for i, j, margin in found]

    def gold(self) -> set[Pair]:
        places = {example.id: i for i, example in enumerate(self.examples) if example.english}
        return {(i, places[id]) for i, example in enumerate(self.examples) for id in example.translations or ()}


@dataclass(frozen=True)
class Found:
    """What was mined, and by which thresholds.

    ``predictions`` are one an example: for a foreign sentence the ids of its English translations by the chosen block,
    by the one that is best on dev, and by each from the embeddings to the last, with tabs between; `NONE` where there
    is none, and for an English sentence.
    """

    predictions: list[str]
    thresholds: list[float]  # by block
    dev: list[float]  # F1 on dev in points, by block

    @property
    def best(self) -> int:
        """The block with the highest F1 on dev; of several the lowest."""
        return self.dev.index(max(self.dev))


def find(test: Corpora, dev: Corpora, device: torch.device, progress: Sink = silent) -> Found:
    """Mine ``test`` by the vectors of each block, with the threshold that gives that block the best F1 on ``dev``.

    Both may be the same corpora. One block's vectors at a time are in memory, and on ``device``. ``progress`` hears
    how many blocks of all are done. Raises ValueError where ``dev`` has no gold pairs; ``test`` needs none.
    """
    gold = dev.gold()
    thresholds, scores, partners = [], [], []
    for block in range(test.vectors.blocks):
        on_dev = dev.candidates(block, device)
        threshold = best_threshold(on_dev, gold)
        correct, all_pairs = f1(mined(on_dev, threshold), gold)
        thresholds.append(threshold)
        scores.append(100.0 * correct / all_pairs)
        candidates = on_dev if test is dev else test.candidates(block, device)
        partners.append(_ids(test.examples, mined(candidates, threshold)))
        progress(Event(done=block + 1, steps=test.vectors.blocks))
    best = Found([], thresholds, scores).best
    by_example = zip(partners[test.vectors.chosen], partners[best], *partners, strict=True)
    predictions = [
        NONE if example.english else SEPARATOR.join(ids) for example, ids in zip(test.examples, by_example, strict=True)
    ]
    return Found(predictions, thresholds, scores)


def _ids(examples: Sequence[MiningExample], pairs: Iterable[Pair]) -> list[str]:
    """For each example the id of its partner."""
    ids = [NONE] * len(examples)
    for i, j in pairs:
        ids[i] = examples[j].id
    return ids


class MiningHead(Compared[MiningExample]):
    def make_rows(
        self, examples: Sequence[MiningExample], task: Task, tokenizer: Any, lengths: Lengths, *, training: bool
    ) -> list[Row]:
        """A row an example."""
        return rows_of((example.text for example in examples), tokenizer, lengths)

    def assemble(self, examples: Sequence[MiningExample], rows: Sequence[Row], reduced: Any, task: Task) -> list[str]:
        raise TypeError("mining looks at two corpora, see `find`")

    def predict(self, reader: Reader, sink: Sink) -> tuple[list[list[str]], dict[str, Mined]]:
        """With what dev says of each language, as ``mining``: the best block, each one's threshold and F1.

        One language after the other, so that the vectors of no more than one are on disk.
        """
        predictions, facts = [], {}
        for number, (test, dev) in enumerate(zip(reader.sets, reader.dev, strict=True)):

            def progress(event: Event, begun: int = 2 * number, text: str = f"reading {test.language}") -> None:
                done, steps = begun * event.steps + event.done, 2 * len(reader.sets) * event.steps  # half is to read
                sink(Event(text=text, done=done, steps=steps))

            both = [test] if dev is test else [test, dev]
            corpora = [
                Corpora(one.examples, vectors)
                for one, vectors in zip(both, self.embed(reader, both, progress), strict=True)
            ]
            mined = partial(progress, begun=2 * number + 1, text=f"mining {test.language}")
            found = find(corpora[0], corpora[-1], accelerator().device, mined)
            predictions.append(found.predictions)
            facts[test.language] = Mined(found.best, found.thresholds, found.dev)
        return predictions, facts


HEAD = MiningHead()
