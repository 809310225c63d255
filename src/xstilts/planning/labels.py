"""From the labels of the task that a model is trained on to those of the task that it answers: names go between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xstilts.common.errors import UserError, did_you_mean
from xstilts.tasks import formats
from xstilts.tasks.task import Task

#: Labels of a task that an error names; tag sets have a thousand.
TOLD = 12

#: What is of no type, and says of two sets of tags nothing where both have it.
OUTSIDE = "O"


def named(target: Task, trained: Task) -> tuple[str, ...]:
    """What ``target`` calls each class of a model that was trained on ``trained``, in the order of the model's ids.

    Raises UserError where a name is of no use to the other task, unless the target's `label_map` says what it means.
    """
    where = f"targets: {target.name}"
    if target.format != trained.format:
        raise UserError(
            f"{where}: is of format {target.format}, and {trained.name}, which it is trained on, of {trained.format}; "
            f"name a task of the same format as `train` in its entry"
        )
    if strange := [label for label in target.label_map if label not in trained.labels and trained.labels]:
        known = did_you_mean(strange[0], trained.labels)
        raise UserError(f"{where}: `label_map`: {trained.name} has no label {strange[0]!r}; {known}")
    names = tuple(target.label_map.get(label, label) for label in trained.labels)
    if not names or not target.labels:  # the data are to give them, and are not at hand
        return names
    theirs = f"{trained.name}, which it is trained on, {_listed(trained.labels)}"
    both = f"{where}: has labels {_listed(target.labels)}; {theirs}"
    if unknown := [label for label, name in zip(trained.labels, names, strict=True) if name not in target.labels]:
        raise UserError(
            f"{both}: predictions of {unknown[0]!r} would mean nothing; say what {trained.name}'s labels are "
            f"called here, as in `label_map: {{{unknown[0]}: {target.labels[0]}}}`, or name another task as `train`"
        )
    never = never_predicted(target, trained)
    many = formats.get(target.format).many_labels
    if never and (not many or set(names) <= {OUTSIDE}):
        raise UserError(
            f"{both}: {never[0]!r} is never learnt; pass its rows over (`label_names`), map a label to it "
            f"(`label_map`), or name another task as `train`"
        )
    return names


def never_predicted(target: Task, trained: Task) -> list[str]:
    """Labels of ``target`` that no class of a model trained on ``trained`` has."""
    names = {target.label_map.get(label, label) for label in trained.labels}
    return [label for label in target.labels if trained.labels and label not in names]


def notes(target: Task, trained: Task) -> Iterator[str]:
    """What a user may not expect of a target that is trained on another task."""
    if never := never_predicted(target, trained):
        yield f"{target.name}: {_listed(never)} is never predicted: {trained.name}, on which it is trained, has none."
    if target.unanswerable and not trained.unanswerable:
        yield (
            f"{target.name} has questions without an answer, and {trained.name}, on which it is trained, has none: "
            f"that there is no answer is never learnt."
        )
    if trained.unanswerable and not target.unanswerable:
        yield (
            f"{trained.name}, on which {target.name} is trained, has questions without an answer, and {target.name} "
            f"has none: each is given the best answer, whatever the model thinks of there being none."
        )


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - TOLD:,} more" if len(labels) > TOLD else ""
    return ", ".join(labels[:TOLD]) + more
