"""The scales on which a gain is told: over a baseline that differs, the same gain in points is not the same effect.

Of a score with and without an intermediate training, in points from 0 to 100:

- points: with − without.
- share of the remaining error: (with − without) / (100 − without), percent. The relative error reduction.
- logit: log(with / (100 − with)) − log(without / (100 − without)), a log odds ratio where scores are accuracies.

Where it matters, a score of 0 or 100 is taken to be half an example away from it (the empirical logit of Cox and Snell
1989, "Analysis of binary data", section 2.1).

Over a baseline that grows with the encoder, the three need not have the same sign: an effect of size that depends on
the scale is not one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xstilts.common.arrays import Floats


@dataclass(frozen=True)
class Scale:
    name: str
    key: str  # in names of files
    unit: str  # as it is said behind a number
    digits: int  # that are printed
    of: Callable[[Floats, Floats], Floats]
    bounded: bool = True  # whether scores of 0 or 100 are taken to be half an example away from it

    def text(self, number: float, *, sign: bool = True) -> str:
        """A number of this scale, with its sign (a true minus) or without."""
        return signed(number, self.digits) if sign else f"{number:.{self.digits}f}"

    def gain(self, score: Floats, without: Floats, n: int) -> Floats:
        """What a ``score`` gains over that ``without``, both in points, of ``n`` examples; NaN where one is."""
        if self.bounded:
            score, without = (np.clip(one, 50 / n, 100 - 50 / n) for one in (score, without))
        return self.of(score, without)


def signed(number: float, digits: int = 1) -> str:
    """With sign and so many digits, with a true minus: +4.2, −0.3, 0.0."""
    text = f"{number:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _logit(score: Floats) -> Floats:
    return np.asarray(np.log(score / (100 - score)))


POINTS = Scale("points", "points", "points", 1, lambda score, without: score - without, bounded=False)
ERROR = Scale(
    "share of the remaining error", "error", "% of the remaining error", 1,
    lambda score, without: 100 * (score - without) / (100 - without),
)  # fmt: skip
LOGIT = Scale("logit", "logit", "logits", 2, lambda score, without: _logit(score) - _logit(without))
SCALES = (POINTS, ERROR, LOGIT)
