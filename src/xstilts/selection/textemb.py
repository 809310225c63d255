"""TextEmb: how like each other the texts of two tasks are (Vu et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xstilts.common.arrays import Floats
from xstilts.encoders import Encoder
from xstilts.selection.evidence import Evidence, Material, Question


def scores(evidence: Evidence, question: Question) -> dict[str, float]:
    """Recipe → cosine of its tasks' text embedding and the target's, by the plain encoder."""
    target = text_embedding(evidence, question.encoder, [question.part])
    return {
        candidate.recipe: cosine(text_embedding(evidence, question.encoder, candidate.parts), target)
        for candidate in question.candidates
        if candidate.parts
    }


def text_embedding(evidence: Evidence, encoder: Encoder, parts: Sequence[Material]) -> Floats:
    """[d]: the mean over tokens, then over sequences, of the last block's outputs; over tasks, where there are several.

    Source: Vu et al. 2020, arXiv 2005.00770; tuvuumass/task-transferability at commit 4ef2a4c, run_textemb_QA.py.
    """
    means = [evidence.unlabelled(encoder, part, None, tokens=False).mean(axis=0, dtype=np.float64) for part in parts]
    return np.asarray(np.mean(means, axis=0), np.float64)


def cosine(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Of two vectors of any shape, laid out flat; 0 where one of them is 0."""
    x, y = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norms if norms else 0.0
