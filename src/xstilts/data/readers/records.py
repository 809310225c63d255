"""JSON lines, or an array, with a row an example, under the names that its fields have here: for every format."""

from __future__ import annotations

from collections.abc import Iterator

from xstilts.data.problems import Problems
from xstilts.data.readers.offsets import Offsets
from xstilts.data.readers.source import Source
from xstilts.data.readers.text import json_rows
from xstilts.tasks import formats
from xstilts.tasks.formats import Example, GoldAnswer


def read_records(source: Source, problems: Problems) -> Iterator[Example]:
    """Rows with the fields of the format's examples, others passed over. The id is the row's number where it has none.

    A field that may be None may be missing: there is no gold then, or no second text. `has_gold: false` says of a
    question without answers that it has none known.
    """
    fmt = formats.get(source.format)
    number = 0
    for path in source.paths:
        offsets = Offsets(source.layout.on_bad_offset if source.split not in ("dev", "test") else "keep")
        for where, row in json_rows(path, problems):
            number += 1
            try:
                example = fmt.example.from_record({"id": str(number), **row})
            except ValueError as error:
                problems.add(path, f"{error}; no record of {fmt.title} (docs/add-a-task.md)", where)
                continue
            if fault := example.fault:
                problems.add(path, fault, where)
            if fmt.labelled:
                source.check_labels(sorted(fmt.labels_of([example])), path, where, problems)
            if example.marks:
                settled = offsets.settle(example.id, example.texts[0], example.marks)
                if not settled:
                    continue
                example = _with_marks(example, settled)
            yield example
        offsets.tell(path, problems)


def _with_marks(example: Example, marks: tuple[GoldAnswer, ...]) -> Example:
    changed = example if marks == example.marks else example.with_texts(example.texts, marks)
    assert not isinstance(changed, str), "what has answers can be translated"
    return changed
