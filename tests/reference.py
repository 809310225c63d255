"""Slow and plain: what fast code is compared with."""

from fractions import Fraction


def reference_f1(prediction, gold):
    """2·|common| / (|prediction| + |gold|), the harmonic mean written as one fraction."""
    left, common = list(gold), 0
    for word in prediction:
        if word in left:
            left.remove(word)
            common += 1
    return Fraction(2 * common, len(prediction) + len(gold)) if common else Fraction(0)
