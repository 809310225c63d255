"""`make bench-quality`: do models trained by xstilts answer as well as those of the Trainer, after equal training?"""

from __future__ import annotations

import argparse
import json
import math
import sys
from statistics import mean, stdev
from typing import Any

from benchmarks import data, jobs
from benchmarks.jobs import RESULTS, job
from xstilts.common.errors import UserError
from xstilts.planning.data_ref import examples
from xstilts.tasks.metrics import squad

COMMON = {"layers": 3, "questions": 1000, "epochs": 2, "count": 40}
VARIANTS = {
    "dropout": job("ours", "quality", dropout="preset", **COMMON),
    "no dropout": job("ours", "quality", dropout="none", **COMMON),
    "trainer": job("baseline", "quality", **COMMON),
}

#: Student's t that 95 % lie within, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="2 to 10")
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny, and its scores mean nothing")
    arguments = parser.parse_args()
    if arguments.seeds - 1 not in T95:
        raise UserError("--seeds must be 2 to 10")
    data.set_folder()
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    settings = {}
    for seed in range(1, arguments.seeds + 1):
        for name, each in VARIANTS.items():
            chosen = each.quick() if arguments.quick else each
            result = jobs.run(chosen, seed)
            scores[name].append(f1_by_language(result["answers"], dict(chosen.options)["count"]))
            settings[name] = f"{result['job']}: {result['settings']}"
            print(f"seed {seed}, {name}: English {scores[name][-1]['en']:.1f}", file=sys.stderr)
    entries = [entry for what in ("English", "zero-shot") for entry in compare(scores, what)]
    print("\n".join(settings.values()))
    print("\n| F1 | model | mean | by seed | minus the Trainer's, 95 % interval over seeds |")
    print("| --- | --- | --- | --- | --- |")
    for entry in entries:
        by_seed = ", ".join(f"{value:.1f}" for value in entry["by_seed"])
        low, high = entry["interval"]
        difference = "" if entry["name"] == "trainer" else f"{entry['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
        print(f"| {entry['what']} | {entry['name']} | {entry['mean']:.1f} | {by_seed} | {difference} |")
    file = RESULTS / ("quality-quick.json" if arguments.quick else "quality.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"settings": settings, "f1": entries, "f1_by_language": scores}, indent=2) + "\n")
    print(f"\nwritten to {file.relative_to(jobs.ROOT)}")


def f1_by_language(answers: dict[str, list[str]], count: int) -> dict[str, float]:
    """Points, by XQuAD's official rules for both sides."""
    scores = {}
    for language, given in answers.items():
        golds: list[Any] = list(examples(data.source("xquad", language, count)))
        pairs = zip(given, golds, strict=True)
        scores[language] = 100 * mean(squad.f1(text, [each.text for each in gold.answers]) for text, gold in pairs)
    return scores


def compare(scores: dict[str, list[dict[str, float]]], what: str) -> list[dict[str, Any]]:
    """Each variant's mean F1 in English, or in the other languages, and its difference from the Trainer's by seed."""
    languages = ["en"] if what == "English" else [each for each in data.LANGUAGES if each != "en"]
    values = {name: [mean(seed[each] for each in languages) for seed in seeds] for name, seeds in scores.items()}
    entries = []
    for name, own in values.items():
        differences = [mine - other for mine, other in zip(own, values["trainer"], strict=True)]
        centre, n = mean(differences), len(differences)
        reach = T95[n - 1] * stdev(differences) / math.sqrt(n)
        entries.append(
            {"what": what, "name": name, "mean": mean(own), "by_seed": own, "difference": centre,
             "interval": [centre - reach, centre + reach]}
        )  # fmt: skip
    return entries


if __name__ == "__main__":
    jobs.command(main)
