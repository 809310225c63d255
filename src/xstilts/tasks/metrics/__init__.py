"""The metrics of every task, by example.

An example's outcome is a numerator and a denominator; a set of examples scores 100 · Σ numerator / Σ denominator.
A mean has denominator 1, an F1 over entities 2·correct over predicted + gold: so any subset, and any bootstrap
resample of examples, is scored from the same rows without the predictions.
"""
