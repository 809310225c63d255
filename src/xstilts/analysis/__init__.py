"""Comparisons, their intervals, and the answer in words, from the tables of a study."""
