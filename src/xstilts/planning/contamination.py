"""No text or id that a study trains or selects on may stand in data that it evaluates on.

What one task is trained on may not stand in the dev data of a target that is trained on another either, since by these
the best recipe is chosen: it is left out of training, whatever the study says of overlap.
"""

from __future__ import annotations

from itertools import product

from xstilts.common.errors import UserError
from xstilts.data import translation
from xstilts.planning import overlap
from xstilts.planning.data_ref import DataRef, examples
from xstilts.planning.study_data import StudyData
from xstilts.tasks.task import Task


def leave_out(data: StudyData) -> None:
    """Exclude from training and selection what is evaluated on, with a note on each set.

    Raises UserError where the study does not say `on_overlap: drop` and the overlap is more than minor
    (`planning.overlap`), where nothing would be left, and where files of translations hold what is evaluated on.
    """
    evaluated = overlap.Index(
        overlap.EvaluationSet(ref.task.name, ref.language, examples(ref))
        for sets in data.evaluation.values()
        for ref in sets
        if ref.expected is None
    )
    selecting = _selecting(data)
    for ref, is_trained_on in _used(data).items():
        if ref.expected is not None:
            continue
        indexes = [evaluated]
        if is_trained_on:
            indexes += [index for task, index in selecting if not data.share_dev(task, ref.task)]
        if (ids := _shared(ref, indexes, data)) is not None:
            data.excluded[ref] = ids
    _check_translated(data, evaluated)


def _shared(ref: DataRef, indexes: list[overlap.Index], data: StudyData) -> frozenset[str] | None:
    """Ids of the examples of a set that the indexes have too, the first of which is of what is evaluated on."""
    found = [index.compare(_training_set(ref)).overlaps for index in indexes]
    overlaps = [one for each in found for one in each]
    if not overlaps:
        return None
    grave = [one for one in found[0] if not one.minor]
    told = f"{(grave or overlaps)[0]}"
    if len(overlaps) > 1:
        told += f"; so it is with {len(overlaps) - 1} more sets"
    if grave and data.study.on_overlap == "error":
        raise UserError(
            f"contamination: {told}; train on other data, or set `on_overlap: drop` to leave the shared examples out "
            f"of training"
        )
    whole = _training_set(ref.whole)
    ids = frozenset[str]().union(*(index.compare(whole).ids for index in indexes))
    if len(ids) == len(whole.examples):
        raise UserError(f"contamination: {told}; nothing is left without it, train on other data")
    data.note(
        f"{len(ids):,} of {len(whole.examples):,} examples of {ref.task.name} {ref.split} were dropped: they overlap "
        f"with data that models are scored or selected on ({told})."
    )
    return ids


def _used(data: StudyData) -> dict[DataRef, bool]:
    """What reaches training stages: what tasks are trained on (true), their dev data, and texts."""
    refs: dict[DataRef, bool] = {}
    for draw in dict.fromkeys(data.draws.values()):
        for trained in data.trained_tasks():
            train, dev = data.training(trained, draw)
            refs |= {train: True, dev: False}
        for recipe in data.study.recipes:
            if recipe.mlm:
                refs |= dict.fromkeys(data.texts(recipe.mlm, draw)[0], False)
    if any(entry.heal for entry in data.study.encoders):
        refs |= dict.fromkeys(data.healing_texts(), False)
    return refs


def _selecting(data: StudyData) -> list[tuple[Task, overlap.Index]]:
    """The tasks that targets are trained on, with their dev data, by which recipes or checkpoints are chosen."""
    refs: dict[DataRef, None] = {}
    for trained in data.trained_tasks():
        dev = data.training(trained)[1]
        if trained.target and dev.expected is None:
            refs[dev] = None
    return [
        (ref.task, overlap.Index([
            overlap.EvaluationSet(f"{ref.task.name} {ref.split}", language, examples(ref.of(language)))
            for language in ref.language.split("+")
        ]))
        for ref in refs
    ]  # fmt: skip


def _check_translated(data: StudyData, evaluated: overlap.Index) -> None:
    """What engines make of clean English data is new text; files of translations may hold anything."""
    for trained in data.trained_tasks():
        translated = trained.translated
        if translated is None or translated.files is None:
            continue
        name = trained.task.name
        samples = dict.fromkeys(data.training(trained, draw)[0] for draw in data.draws.values())
        for source, language in product(samples, translated.languages):
            found = translation.read_translated(
                source.task, translated.files, language, examples(source), source.provider
            )
            training = overlap.TrainingSet(f"{name} in {translated.files}", "train", found.examples, language)
            grave = [one for one in evaluated.compare(training).overlaps if not one.minor]
            if grave:
                raise UserError(f"contamination: {grave[0]}; remove these examples from the file")


def _training_set(ref: DataRef) -> overlap.TrainingSet:
    return overlap.TrainingSet(ref.task.name, ref.split, examples(ref), ref.language)
