"""XTREME's prediction folder from a study: written, and read again as XTREME's evaluate.py reads it.

The layout is described in :mod:`xstilts.xtreme`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import polars as pl

from xstilts.common import textfile
from xstilts.common.errors import UserError
from xstilts.data.problems import count
from xstilts.handover.export import CellFilter, best, best_of_seeds, check_names, check_selected_alike
from xstilts.handover.xtreme import (
    BENCHMARKS,
    Benchmark,
    Capped,
    check_count,
    check_sentences,
    line_of,
    read_answers,
    read_labels,
    read_numbers,
    read_pairs,
    read_tags,
    write_capped,
)
from xstilts.planning import records
from xstilts.planning.data_ref import examples
from xstilts.planning.plan import Cell, Plan, Predict
from xstilts.planning.records import ModelRecord
from xstilts.store import Store
from xstilts.tasks.formats import Example, mining, span
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.formats.tagging import TaggingExample


@dataclass(frozen=True)
class Submission:
    """What was written, a line a task, and what a whole submission to XTREME would have beside it."""

    written: tuple[str, ...]
    gaps: tuple[str, ...]


def write(plan: Plan, store: Store, out: Path, choice: CellFilter) -> Submission:
    """Write the predictions of the best model of each target that XTREME has to ``out``, a folder a task.

    The best is chosen by English dev score among the models that ``choice`` allows. Where nothing is trained on a
    target (retrieval) no such score tells encoders or recipes apart; then ``choice`` must. What the study lacks of
    XTREME is in the result. Raises UserError where nothing can be written, where ``out`` has a task's folder already,
    and where a file is found wrong; then nothing is written.
    """
    check_names(plan.cells, choice)
    benchmarks = {benchmark.task: benchmark for benchmark in BENCHMARKS}
    written: list[str] = []
    gaps: list[str] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".submission-", dir=out.parent) as scratch:
            for target in plan.study.targets:
                if choice.target not in (None, target.task):
                    continue
                benchmark = benchmarks.get(target.task)
                if benchmark is None:
                    gaps.append(f"{target.task}: left out, XTREME has no such task")
                elif target.split != "test":
                    gaps.append(f"{benchmark.name}: left out, the study predicts {target.split} data, not test data")
                elif cell := _chosen(plan, store, own := replace(choice, target=target.task), benchmark, gaps):
                    if (out / benchmark.name).exists():
                        raise UserError(f"{out / benchmark.name}: exists already; remove it, or give another --out")
                    _write_task(plan, store, cell, benchmark, Path(scratch), gaps)
                    written.append(f"{benchmark.name}: {_named(plan, store, cell, own)}")
            if not written:
                raise UserError(f"nothing to write: {'; '.join(gaps)}")
            out.mkdir(exist_ok=True)
            for folder in sorted(Path(scratch).iterdir()):
                os.replace(folder, out / folder.name)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror or error})") from None
    return Submission(tuple(written), (*gaps, *_missing(out)))


def _missing(folder: Path) -> list[str]:
    """What a whole submission has and ``folder`` has not."""
    found = []
    for benchmark in BENCHMARKS:
        languages = [language for language in benchmark.languages if not (folder / benchmark.file(language)).is_file()]
        if len(languages) == len(benchmark.languages):
            found.append(f"{benchmark.name}: no predictions")
        elif languages:
            found.append(f"{benchmark.name}: no predictions in {' '.join(languages)}")
    return found


def check(path: Path, benchmark: Benchmark, gold: Sequence[Example]) -> None:
    """Read a file of predictions as evaluate.py does, and compare it with the examples that it should be about.

    Raises UserError, with file and line, for a wrong label, number of lines, sentence, id or a missing one.
    """
    match benchmark.content:
        case "labels":
            check_count(path, len(read_labels(path, benchmark)), len(gold))
        case "lines":
            numbers = read_numbers(path)
            known = {_line_number(example.id) for example in gold}
            for line, number in enumerate(numbers, 1):
                if int(number) not in known:
                    raise UserError(f"{path}:{line}: no sentence {number} in the test set, which counts from 0")
            check_count(path, len(numbers), len(gold))
        case "tags":
            lengths = [len(example.tokens) for example in cast(Sequence[TaggingExample], gold)]
            check_sentences(path, read_tags(path, benchmark), lengths)
        case "pairs":
            sides = [
                {example.id for example in cast(Sequence[MiningExample], gold) if example.english is english}
                for english in (False, True)
            ]
            for pair, line in read_pairs(path).items():
                for id, side in zip(pair, sides, strict=True):
                    if id not in side:
                        raise UserError(f"{path}:{line}: id {id!r} is not in the corpus of its column")
        case "answers":
            answers, ids = read_answers(path), {example.id for example in gold}
            for id in answers:
                if id not in ids:
                    raise UserError(f"{path}:{line_of(path, id)}: the test set has no question {id!r}")
            lacking = [example.id for example in gold if example.id not in answers]
            if lacking:
                last = textfile.read_text(path).count("\n")
                raise UserError(
                    f"{path}:{last}: no answer to {count(len(lacking), 'question')}, the first {lacking[0]!r}"
                )


# -- which model ----------------------------------------------------------------------------------------------------


def _chosen(plan: Plan, store: Store, choice: CellFilter, benchmark: Benchmark, gaps: list[str]) -> Cell | None:
    """The model to take the predictions of; None where there is none, and ``gaps`` says why."""
    allowed = [cell for cell in plan.cells if choice.allows(cell)]
    trained = [cell for cell in allowed if cell.training]
    kinds = list(dict.fromkeys((cell.encoder.label, cell.recipe_label) for cell in allowed))
    if not allowed:
        gaps.append(f"{benchmark.name}: left out, the study has no such model of it")
        return None
    if trained:
        check_selected_alike(plan, trained)
        cell = best(store, trained)
    elif len(kinds) == 1:
        cell = best_of_seeds(store, allowed)
    else:
        which = ", ".join(f"{encoder} with {recipe}" for encoder, recipe in kinds[:4])
        gaps.append(
            f"{benchmark.name}: left out, nothing is trained on it, so that no dev score chooses among {which}"
            f"{', …' if len(kinds) > 4 else ''}; add it with --target {choice.target} --encoder … --recipe …"
        )
        return None
    if cell is None or store.get(cell.predictions) is None:
        how = "run" if cell is None or cell.predictions in store.lost() else "run --models"
        gaps.append(f"{benchmark.name}: left out, its predictions are not in the store; `xstilts {how}` makes them")
        return None
    return cell


def _named(plan: Plan, store: Store, cell: Cell, choice: CellFilter) -> str:
    """The model, and how it was chosen."""
    name = f"{cell.encoder.label}, recipe {cell.recipe_label}, seed {cell.seed}"
    record = records.peek(store, cell.training) if cell.training else None
    if not isinstance(record, ModelRecord):
        return name
    others = [other for other in plan.cells if choice.allows(other) and other.training]
    untrained = sum(store.peek(other.training or "") is None for other in others)
    left = f"; {untrained:,} of {len(others):,} models are not trained yet" if untrained else ""
    return f"{name}, English dev {record.dev:.1f}{left}"


# -- files ----------------------------------------------------------------------------------------------------------


def _write_task(plan: Plan, store: Store, cell: Cell, benchmark: Benchmark, out: Path, gaps: list[str]) -> None:
    spec = plan.stages[cell.predictions].spec
    assert isinstance(spec, Predict)
    with store.files(cell.predictions) as source:
        frame = pl.read_parquet(source / "predictions.parquet")
    short: dict[str, list[str]] = {}
    capped: dict[str, Capped] = {}
    (out / benchmark.name).mkdir()
    for ref in spec.sets:
        if ref.language not in benchmark.languages:
            gaps.append(f"{benchmark.name}: {ref.language} left out, XTREME does not have it in this task")
            continue
        own, path = examples(ref), out / benchmark.file(ref.language)
        predictions = frame.filter(pl.col("language") == ref.language)["prediction"].to_list()
        if benchmark.content == "answers":
            predictions = span.answers(predictions, ref.task)
        path.write_text(_content(benchmark, own, predictions), encoding="utf-8")
        check(path, benchmark, own)
        at_hand = examples(replace(ref, max_examples=None))
        whole = ref.task.count(ref.split, ref.language) or len(at_hand)
        if len(own) < whole:
            short.setdefault(f"{len(own):,} of {whole:,} examples", []).append(ref.language)
        if len(own) < len(at_hand):
            capped[ref.language] = Capped(of=len(at_hand), examples=_places(benchmark, own, at_hand))
    if capped:
        write_capped(out / benchmark.name, capped)
    gaps += [f"{benchmark.name}: {what} in {' '.join(languages)}" for what, languages in short.items()]


def _places(benchmark: Benchmark, own: Sequence[Example], whole: Sequence[Example]) -> list[int] | list[str]:
    """Where the examples that were predicted stand in the whole file, or their ids where it has these."""
    if benchmark.content in ("answers", "pairs"):
        return [example.id for example in own]
    if benchmark.content == "lines":
        whole = _alphabetical(cast(Sequence[RetrievalExample], whole))
    wanted = {example.id for example in own}
    return [place for place, example in enumerate(whole) if example.id in wanted]


def _alphabetical(sentences: Sequence[RetrievalExample]) -> list[RetrievalExample]:
    """XTREME sorts the English side (utils_preprocess.py, tatoeba_preprocess) so that lines do not tell the answer.

    By the stripped sentences and, as sorting is stable, by line where they are equal.
    """
    return sorted(sentences, key=lambda pair: pair.target.strip())


def _content(benchmark: Benchmark, own: Sequence[Example], predictions: Sequence[str]) -> str:
    match benchmark.content:
        case "labels":
            return "".join(f"{label}\n" for label in predictions)
        case "tags":
            return "\n".join("".join(f"{tag}\n" for tag in tags.split(" ")) for tags in predictions)
        case "answers":
            answers = {example.id: answer for example, answer in zip(own, predictions, strict=True)}
            return json.dumps(answers, ensure_ascii=False, indent=1) + "\n"
        case "pairs":
            corpora = cast(Sequence[MiningExample], own)
            return "".join(f"{id}\t{english}\n" for id, english in mining.pairs(corpora, predictions))
        case "lines":
            sentences = cast(Sequence[RetrievalExample], own)
            found = dict(zip((sentence.id for sentence in sentences), predictions, strict=True))
            queries = (found[sentence.id].split(" ")[0] for sentence in _alphabetical(sentences))
            return "".join(f"{_line_number(id)}\n" for id in queries)


def _line_number(id: str) -> int:
    """From 0; the ids of Tatoeba's sentences count its lines from 1."""
    return int(id) - 1
