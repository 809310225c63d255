"""`make bench`: measures each figure in rounds, ours and the baseline in turn, and prints and writes the medians."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

from benchmarks import data, jobs
from benchmarks.jobs import RESULTS, Job, job
from xstilts.common.errors import UserError, did_you_mean

Results = dict[Job, list[dict[str, Any]]]


def ours(layers: int = 12, dropout: str = "preset", task: str = "xquad", batch_size: int = 16) -> Job:
    return job("ours", "train", task=task, layers=layers, dropout=dropout, batch_size=batch_size, steps=12)


def trainer(layers: int = 12, task: str = "xquad", batch_size: int = 16, steps: int = 3, **options: Any) -> Job:
    return job("baseline", "train", task=task, layers=layers, batch_size=batch_size, steps=steps, **options)


@dataclass(frozen=True)
class Figure:
    """A figure is ``key`` of what its jobs return; its target is one of the ratio where there is a baseline."""

    name: str
    unit: str
    ours: Job
    baseline: Job | None
    target: float
    key: str = "speed"
    at_most: bool = False
    parts: tuple[str, ...] = ()  # other keys to show with it


EVALUATION = job("evaluation", "spans", layers=3, count=200, repeats=3)
PREPARATION = job("evaluation", "prepare", questions=100_000)
SCALING = job("ours", "scaling", layers=12, batch_size=16, steps=8)
FIGURES = (
    Figure("train_span_12", "tokens/s", ours(), trainer(), 9),
    Figure("train_span_6", "tokens/s", ours(6), trainer(6), 9),
    Figure("train_span_3", "tokens/s", ours(3), trainer(3), 9),
    Figure("train_span_12_nodropout", "tokens/s", ours(dropout="none"), trainer(), 16),
    Figure("train_span_12_tuned", "tokens/s", ours(), trainer(steps=7, tuned=True), 2.2),
    Figure("train_classification", "tokens/s", ours(task="mnli", batch_size=32),
           trainer(task="mnli", batch_size=32, steps=4), 8),
    Figure("peak_fraction", "of peak", ours(), None, 0.55, "peak_fraction"),
    Figure("peak_fraction_nodropout", "of peak", ours(dropout="none"), None, 0.55, "peak_fraction"),
    Figure("train_memory", "bytes", ours(), trainer(), 0.4, "memory", at_most=True),
    Figure("evaluate_xquad", "questions/s", job("ours", "evaluate", layers=12, count=20),
           job("baseline", "evaluate", layers=12, count=20), 6),
    Figure("features", "questions/s", job("ours", "features", repeats=3), job("baseline", "features", repeats=3), 2),
    Figure("evaluation", "× forward passes", EVALUATION, None, 1.3, "ratio", at_most=True,
           parts=("features", "scoring", "cores")),
    Figure("decoding", "× forward passes", EVALUATION, None, 0.1, "decoding", at_most=True),
    Figure("predict_files", "× evaluation", job("predicting", "files", layers=3, count=10_000, repeats=2), None, 0.8,
           "ratio", parts=("cores",)),
    Figure("prepare_cold", "s", PREPARATION, None, 60, "cold", at_most=True),
    Figure("prepare_cached", "s", PREPARATION, None, 2, "cached", at_most=True),
    Figure("scaling", "time/FLOPs", SCALING, None, 1.0, "larger", at_most=True, parts=("depth", "length")),
)  # fmt: skip


def main() -> None:
    names = [figure.name for figure in FIGURES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=names, help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny, and its figures mean nothing")
    arguments = parser.parse_args()
    for name in arguments.only:
        if name not in names:
            raise UserError(f"unknown figure {name!r}: {did_you_mean(name, names)}")
    if arguments.rounds < 1:
        raise UserError("--rounds must be at least 1")
    data.set_folder()
    figures = [figure for figure in FIGURES if figure.name in arguments.only]
    began = time.monotonic()
    results = measure(figures, 1 if arguments.quick else arguments.rounds, quick=arguments.quick)
    print_settings(results)
    entries = [summary(figure, results) for figure in figures]
    print_table(figures, entries, results)
    file = RESULTS / ("quick.json" if arguments.quick else "latest.json")
    write(file, entries)
    print(f"\n{time.monotonic() - began:.0f} s in all; written to {file.relative_to(jobs.ROOT)}")


def measure(figures: list[Figure], rounds: int, *, quick: bool) -> Results:
    """Every job that the figures need, once a round; ours and the baseline's of a figure follow each other."""
    wanted = [each for figure in figures for each in (figure.ours, figure.baseline) if each is not None]
    results: Results = {each: [] for each in wanted}
    for number in range(1, rounds + 1):
        for each in results:
            began = time.monotonic()
            results[each].append(jobs.run(each.quick() if quick else each, seed=number))
            print(f"round {number}/{rounds}: {each}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return results


def summary(figure: Figure, results: Results) -> dict[str, Any]:
    """The figure as results/latest.json has it: medians over the rounds, and from where to where they go."""
    values = [result[figure.key] for result in results[figure.ours]]
    others = [result[figure.key] for result in results[figure.baseline]] if figure.baseline else []
    ratios = [value / other for value, other in zip(values, others, strict=False)]
    return {
        "name": figure.name,
        "value": median(values),
        "unit": figure.unit,
        "baseline": median(others) if others else None,
        "ratio": median(values) / median(others) if others else None,
        "runs": len(values),
        "spread": {
            "value": [min(values), max(values)],
            "baseline": [min(others), max(others)] if others else None,
            "ratio": [min(ratios), max(ratios)] if ratios else None,
        },
    }


def print_settings(results: Results) -> None:
    packages = ("torch", "transformers", "datasets", "tokenizers", "xstilts")
    print(", ".join(f"{name} {version(name)}" for name in packages) + f"; encoder {data.ENCODER}\n")
    for found in results.values():
        print(f"{found[0]['job']}: {found[0]['settings']}")


def print_table(figures: list[Figure], entries: list[dict[str, Any]], results: Results) -> None:
    print("\n| figure | unit | xstilts (min–max) | baseline (min–max) | ratio (min–max) | target | met |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for figure, entry in zip(figures, entries, strict=True):
        shown = [_shown(entry[what], entry["spread"][what]) for what in ("value", "baseline", "ratio")]
        reached = entry["value"] if entry["ratio"] is None else entry["ratio"]
        met = reached <= figure.target if figure.at_most else reached >= figure.target
        target = f"{'≤' if figure.at_most else '≥'} {figure.target:g}{'' if entry['ratio'] is None else '×'}"
        print(f"| {figure.name} | {figure.unit} | {' | '.join(shown)} | {target} | {'yes' if met else 'no'} |")
        for part in figure.parts:
            values = [result[part] for result in results[figure.ours]]
            print(f"| {figure.name}: {part} | {figure.unit} | {_shown(median(values), values)} | | | | |")


def _shown(value: float | None, spread: list[float] | None) -> str:
    if value is None or spread is None:
        return ""
    return f"{_digits(value)} ({_digits(min(spread))}–{_digits(max(spread))})"


def _digits(value: float) -> str:
    if value >= 1e8:
        return f"{value / 1e9:.2f}e9"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(file: Any, entries: list[dict[str, Any]]) -> None:
    """Into a list of all figures; those that were not measured this time stay as they were."""
    before = json.loads(file.read_text()) if file.exists() else []
    found = {entry["name"]: entry for entry in [*before, *entries]}
    file.parent.mkdir(exist_ok=True)
    ordered = [found[figure.name] for figure in FIGURES if figure.name in found]
    file.write_text(json.dumps(ordered, indent=2) + "\n")


if __name__ == "__main__":
    jobs.command(main)
