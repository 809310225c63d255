"""Scores of a folder of predictions, as XTREME's evaluate.py gives them.

Source: google-research/xtreme at commit 838c13b, evaluate.py. Tags are scored by seqeval 0.0.12, as there, XQuAD and
TyDiQA by SQuAD's rules in every language, MLQA by its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.common.errors import UserError
from xstilts.data.problems import count
from xstilts.handover.xtreme import (
    BENCHMARKS,
    CAPPED,
    GROUPS,
    Benchmark,
    Capped,
    GoldQuestion,
    T,
    check_count,
    check_sentences,
    read_answers,
    read_capped,
    read_golds,
    read_labels,
    read_numbers,
    read_pairs,
    read_tags,
)
from xstilts.tasks.metrics import mlqa, squad
from xstilts.tasks.metrics.tagging import Counts, chunk_counts, entity_counts


@dataclass(frozen=True)
class Evaluation:
    """``scores`` as evaluate.py writes them to its output file, and ``notes`` on what they do not hold.

    All are in points. A task has, by metric and language, what its files score; avg_<metric>, the mean over the
    languages; avg_metric, that of its metric, which for question answering is the mean of F1 and exact match. Groups
    of tasks have the mean of avg_metric where all their tasks are there, and so has all_task.
    """

    scores: dict[str, Any]
    notes: tuple[str, ...]
    capped: tuple[str, ...] = ()  # tasks of whose test sets a part was predicted: no score of XTREME


def evaluate(predictions: Path, labels: Path, *, partial: bool = False) -> Evaluation:
    """Score the tasks of which both folders have a folder.

    Raises UserError, with file and line, for a file that is missing or not what it should be. With ``partial`` the
    means are over the languages that both folders have, and groups with such a task have none; nor have groups with a
    task of which a study with `max_examples` predicted a part, on which it is scored.
    """
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give one that holds a folder a task")
    tasks: dict[str, Any] = {}
    whole: set[str] = set()
    capped: list[str] = []
    notes: list[str] = []
    for benchmark in BENCHMARKS:
        there = [(folder / benchmark.name).is_dir() for folder in (predictions, labels)]
        if any(there) and not all(there):
            notes.append(f"{benchmark.name}: not scored, {labels if there[0] else predictions} has none of it")
        if not all(there):
            continue
        languages = benchmark.languages
        if partial:
            languages = tuple(
                language
                for language in languages
                if all((folder / benchmark.file(language)).is_file() for folder in (predictions, labels))
            )
            missing = [language for language in benchmark.languages if language not in languages]
            if missing:
                notes.append(f"{benchmark.name}: without {' '.join(missing)}, so its means are not XTREME's")
            if not languages:
                continue
        parts = read_capped(predictions / benchmark.name)
        by_part: dict[str, list[str]] = {}
        for language in languages:
            if language in parts:
                by_part.setdefault(parts[language].said, []).append(language)
        notes += [
            f"{benchmark.name}: on {what} in {' '.join(among)}: not XTREME's score" for what, among in by_part.items()
        ]
        if by_part:
            capped.append(benchmark.name)
        elif languages == benchmark.languages:
            whole.add(benchmark.name)
        tasks[benchmark.name] = _task(benchmark, languages, predictions, labels, parts, notes)
    if not tasks:
        names = ", ".join(benchmark.name for benchmark in BENCHMARKS)
        raise UserError(f"{predictions}: nothing to score; it and {labels} must have a folder of one task ({names})")
    return Evaluation(_means(tasks, whole) | tasks, tuple(notes), tuple(capped))


def _means(tasks: dict[str, Any], whole: set[str]) -> dict[str, float]:
    members = {group: [one.name for one in BENCHMARKS if one.group == group] for group in GROUPS}
    everything = {"all_task": [one.name for one in BENCHMARKS]} | members
    return {
        name: sum(tasks[task]["avg_metric"] for task in own) / len(own)
        for name, own in everything.items()
        if whole.issuperset(own)
    }


def _task(
    benchmark: Benchmark, languages: Sequence[str], predictions: Path, labels: Path, parts: Mapping[str, Capped],
    notes: list[str],
) -> dict[str, Any]:  # fmt: skip
    scores: dict[str, dict[str, float]] = {}
    for language in languages:
        for folder in (predictions, labels):
            if not (folder / benchmark.file(language)).is_file():
                raise UserError(
                    f"{folder / benchmark.file(language)}: no such file; XTREME's mean is over all languages of "
                    f"{benchmark.name} ({' '.join(benchmark.languages)}), --partial takes those that are there"
                )
        files = predictions / benchmark.file(language), labels / benchmark.file(language)
        found = _language(benchmark, language, *files, parts.get(language), notes)
        for metric, value in found.items():
            scores.setdefault(metric, {})[language] = value
    means = {f"avg_{metric}": sum(values.values()) / len(values) for metric, values in scores.items()}
    if benchmark.content == "answers":
        main = (means["avg_exact_match"] + means["avg_f1"]) / 2
    else:
        main = means["avg_f1"] if "avg_f1" in means else means["avg_accuracy"]
    return {**scores, **means, "avg_metric": main}


def _language(
    benchmark: Benchmark, language: str, predictions: Path, labels: Path, part: Capped | None, notes: list[str]
) -> dict[str, float]:
    def kept(gold: list[T]) -> list[T]:
        return part.kept(gold, labels) if part else gold

    match benchmark.content:
        case "labels":
            gold, guess = kept(read_labels(labels, benchmark)), read_labels(predictions, benchmark)
            check_count(predictions, len(guess), len(gold))
            return _accuracy(gold, guess)
        case "lines":
            gold, guess = kept(read_numbers(labels)), read_numbers(predictions)
            check_count(predictions, len(guess), len(gold))
            return _accuracy(gold, guess)
        case "tags":
            there, found = kept(read_tags(labels, benchmark)), read_tags(predictions, benchmark)
            check_sentences(predictions, found, [len(sentence.tags) for sentence in there])
            count_of = entity_counts if benchmark.entities else chunk_counts
            counts = count_of([sentence.tags for sentence in there], [sentence.tags for sentence in found])
            return _precision_recall_f1(Counts(*map(sum, zip(*counts, strict=True))))
        case "pairs":
            true, mined = set(read_pairs(labels)), read_pairs(predictions).keys()
            if part:
                true = {pair for pair in true if part.ids.issuperset(pair)}
            return _precision_recall_f1(Counts(len(true & mined), len(mined), len(true)))
        case "answers":
            questions = read_golds(labels)
            if part:
                questions = [question for question in questions if question.id in part.ids]
                if not questions:
                    raise UserError(f"{labels}: has none of the questions that {CAPPED} of {predictions.parent} names")
            return _answers(benchmark, language, predictions, questions, labels, notes)


def _accuracy(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    return {"accuracy": sum(g == p for g, p in zip(gold, predicted, strict=True)) / len(gold) * 100}


def _precision_recall_f1(counts: Counts) -> dict[str, float]:
    precision = counts.correct / counts.predicted if counts.predicted else 0.0
    recall = counts.correct / counts.gold if counts.gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if counts.correct else 0.0
    return {"f1": f1 * 100, "precision": precision * 100, "recall": recall * 100}


def _answers(
    benchmark: Benchmark, language: str, predictions: Path, questions: Sequence[GoldQuestion], labels: Path,
    notes: list[str],
) -> dict[str, float]:  # fmt: skip
    """As the official scripts, an unanswered question scores 0 and an answer to no question is passed over."""
    answers = read_answers(predictions)
    unanswered = [question.id for question in questions if question.id not in answers]
    surplus = answers.keys() - {question.id for question in questions}
    if unanswered:
        what = count(len(unanswered), "question")
        notes.append(f"{predictions}: no answer to {what}, which score 0, the first {unanswered[0]!r}")
    if surplus:
        notes.append(f"{predictions}: {count(len(surplus), 'answer')} to no question of {labels}, passed over")
    exact_match = f1 = 0.0
    for question in questions:
        answer = answers.get(question.id)
        if answer is None:
            continue
        if benchmark.by_language:
            exact_match += mlqa.exact_match(answer, question.golds, language)
            f1 += mlqa.f1(answer, question.golds, language)
        else:
            exact_match += squad.exact_match(answer, question.golds)
            f1 += squad.f1(answer, question.golds)
    return {"exact_match": 100.0 * exact_match / len(questions), "f1": 100.0 * f1 / len(questions)}
