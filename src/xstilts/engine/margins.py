"""Candidates of translations in two corpora, by the ratio of their cosine to those of their neighbours.

Source: google-research/xtreme (commit 4940374c), third_party/utils_retrieve.py: mine_bitext with retrieval "max" and
margin "ratio" (Artetxe and Schwenk 2019, arXiv 1811.01136).

Sentences that occur more than once on a side are one while neighbours are looked for, and belong to no candidate:
so XTREME has it, while jiant counts them as all of their ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from xstilts.tasks.metrics.bucc import Candidate


def mine(
    source: torch.Tensor,
    target: torch.Tensor,
    source_texts: Sequence[str],
    target_texts: Sequence[str],
    *,
    neighbours: int = 4,
    chunk: int = 2048,
) -> list[Candidate]:
    """The candidates by descending margin, each sentence in one at most.

    ``source`` [n, d] and ``target`` [m, d] are the sentences' vectors, L2-normalised, on any device; the texts [n] and
    [m] say which sentences are the same. The margin of a pair is its cosine over the mean of two means: of the
    source's cosines with its nearest ``neighbours``, and of the target's with its own. Each sentence of either side
    proposes the one of its neighbours that gives the largest margin, which need not be the nearest; the proposals of
    both sides are taken from the largest margin down, as long as both sentences are free.

    Exact, with memory for ``chunk`` · ``chunk`` cosines at a time. Of equal margins, and of equal cosines, the
    sentence that occurred first goes first. Raises ValueError when vectors are not normalised, or not as many as the
    texts.
    """
    _check(source, source_texts, chunk)
    _check(target, target_texts, chunk)
    if not source_texts or not target_texts:
        return []
    sources, targets = _Distinct.of(source_texts), _Distinct.of(target_texts)
    forward, backward = _nearest(source, sources.rows, target, targets.rows, neighbours, chunk)

    forward_mean, backward_mean = forward.mean(), backward.mean()
    forward_margins, best_targets = _proposals(forward, forward_mean, backward_mean)
    backward_margins, best_sources = _proposals(backward, backward_mean, forward_mean)
    margins, order = torch.cat([forward_margins, backward_margins]).sort(descending=True, stable=True)
    of_sources = torch.cat([torch.arange(len(sources.rows)), best_sources])[order].tolist()
    of_targets = torch.cat([best_targets, torch.arange(len(targets.rows))])[order].tolist()
    candidates = []
    free_sources, free_targets = [True] * len(sources.rows), [True] * len(targets.rows)
    for margin, i, j in zip(margins.tolist(), of_sources, of_targets, strict=True):
        if margin <= 0.0:
            break
        if free_sources[i] and free_targets[j]:
            free_sources[i] = free_targets[j] = False
            if sources.once[i] and targets.once[j]:
                candidates.append(Candidate(sources.rows[i], targets.rows[j], margin))
    return candidates


def _check(vectors: torch.Tensor, texts: Sequence[str], chunk: int) -> None:
    if len(vectors) != len(texts):
        raise ValueError(f"{len(vectors)} vectors for {len(texts)} texts")
    for some in vectors.split(chunk):
        if not bool(((torch.linalg.vector_norm(some.float(), dim=-1) - 1.0).abs() < 1e-2).all()):
            raise ValueError("the vectors are not L2-normalised")


@dataclass(frozen=True)
class _Distinct:
    """The different sentences of a side in the order of their first occurrence."""

    rows: list[int]  # the last occurrence, whose vector XTREME takes
    once: list[bool]

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Distinct:
        last = {text: row for row, text in enumerate(texts)}
        counts = Counter(texts)
        return cls(list(last.values()), [counts[text] == 1 for text in last])


class _Nearest:
    """The largest cosines of each row [rows, neighbours], in descending order, and the columns they are found in."""

    def __init__(self, rows: int, neighbours: int, device: torch.device):
        self.cosines = torch.full((rows, neighbours), -torch.inf, device=device)
        self.columns = torch.zeros((rows, neighbours), dtype=torch.long, device=device)

    def add(self, tile: torch.Tensor, row: int, column: int) -> None:
        """Take in the cosines of some rows and columns, from ``row`` and ``column`` on; columns in ascending order."""
        cosines, columns = self.cosines[row : row + len(tile)], self.columns[row : row + len(tile)]
        if column == 0:
            self._begin(tile.clone(), cosines, columns)
            return
        # After the first columns few cosines are among the largest: only these are sorted.
        at, new = (tile > cosines[:, -1:]).contiguous().nonzero(as_tuple=True)
        rows, owner = at.unique_consecutive(return_inverse=True)
        kept = cosines.shape[1]
        values = torch.cat([cosines[rows].flatten(), tile[at, new]])
        where = torch.cat([columns[rows].flatten(), new + column])
        owners = torch.cat([torch.arange(len(rows), device=tile.device).repeat_interleave(kept), owner])
        order = values.sort(descending=True, stable=True).indices  # the first of equals stays the first
        order = order[owners[order].sort(stable=True).indices]
        counts = kept + owner.bincount(minlength=len(rows))
        largest = order[(counts.cumsum(0) - counts)[:, None] + torch.arange(kept, device=tile.device)]
        cosines[rows], columns[rows] = values[largest], where[largest]

    @staticmethod
    def _begin(tile: torch.Tensor, cosines: torch.Tensor, columns: torch.Tensor) -> None:
        """Fill ``cosines`` and ``columns`` with the largest of the first ``tile``, which is overwritten."""
        for rank in range(min(cosines.shape[1], tile.shape[1])):
            largest, at = tile.max(1, keepdim=True)  # the first of equals, which topk does not promise
            cosines[:, rank], columns[:, rank] = largest[:, 0], at[:, 0]
            tile.scatter_(1, at, -torch.inf)

    def mean(self) -> torch.Tensor:
        return self.cosines.double().sum(1) / self.cosines.shape[1]

    def cpu(self) -> _Nearest:
        self.cosines, self.columns = self.cosines.cpu(), self.columns.cpu()
        return self


def _nearest(
    source: torch.Tensor, sources: list[int], target: torch.Tensor, targets: list[int], neighbours: int, chunk: int
) -> tuple[_Nearest, _Nearest]:
    """The nearest targets of each source, and the nearest sources of each target, from one pass over all pairs."""
    forward = _Nearest(len(sources), min(neighbours, len(targets)), source.device)
    backward = _Nearest(len(targets), min(neighbours, len(sources)), source.device)
    for row in range(0, len(sources), chunk):
        some = source[sources[row : row + chunk]].float()
        for column in range(0, len(targets), chunk):
            tile = some @ target[targets[column : column + chunk]].float().T
            forward.add(tile, row, column)
            backward.add(tile.T, column, row)
    return forward.cpu(), backward.cpu()


def _proposals(near: _Nearest, mean: torch.Tensor, other_mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each row the largest margin among its neighbours [rows], and that neighbour's column [rows].

    A margin is 0 where the mean of the neighbourhoods is not positive, so that the ratio would say nothing.
    """
    middle = (mean[:, None] + other_mean[near.columns]) / 2
    margins = torch.where(middle > 0, near.cosines.double() / middle, 0.0)
    largest, at = margins.max(1, keepdim=True)
    return largest[:, 0], near.columns.gather(1, at)[:, 0]
