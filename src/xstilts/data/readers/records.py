"""JSON lines with a row an example, under the names that its fields have here: the one layout for every format."""

from __future__ import annotations

from collections.abc import Iterator

from xstilts.data.problems import Problems
from xstilts.data.readers.source import Source
from xstilts.data.readers.squad import misplaced, tell_misplaced
from xstilts.data.readers.text import json_lines
from xstilts.tasks import formats
from xstilts.tasks.formats import Example


def read_records(source: Source, problems: Problems) -> Iterator[Example]:
    """Rows with the fields of the format's examples, others passed over. The id is the row's number where it has none.

    A field that may be None may be missing: there is no gold then, or no second text. `has_gold: false` says of a
    question without answers that it has none known.
    """
    fmt = formats.get(source.format)
    number = 0
    for path in source.paths:
        wrong: list[str] = []
        answers = 0
        for line, row in json_lines(path, problems):
            number += 1
            try:
                example = fmt.example.from_record({"id": str(number), **row})
            except ValueError as error:
                problems.add(path, f"{error}; no record of {fmt.title} (docs/add-a-task.md)", line)
                continue
            if fault := example.fault:
                problems.add(path, fault, line)
            if fmt.labelled:
                source.check_labels(sorted(fmt.labels_of([example])), path, line, problems)
            answers += len(example.marks)
            wrong += misplaced(example.id, example.texts[0], example.marks)
            yield example
        tell_misplaced(wrong, answers, path, problems)
