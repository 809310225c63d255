"""Data sets of the hub: the Parquet files of one split at one commit, read by the same rules as the files' layouts.

The hub's own listing of a repository says which files a configuration and split have: the `configs` of its card, or,
without one, the folders CONFIG/SPLIT of the branch refs/convert/parquet. Files come through the hub's cache, under
their commit, and are read from there, with the names of class labels that the library `datasets` puts into them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.hub import client, hub_errors
from xstilts.data.problems import Problems
from xstilts.data.readers import faults
from xstilts.data.readers.choices import Parsed, parse_commonsenseqa, parse_hellaswag
from xstilts.data.readers.offsets import Offsets, nearest
from xstilts.data.readers.squad import TYDIQA
from xstilts.tasks import formats
from xstilts.tasks.formats import Example
from xstilts.tasks.formats.classification import ClassificationExample
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample
from xstilts.tasks.formats.retrieval import RetrievalExample
from xstilts.tasks.formats.span import GoldAnswer, SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xstilts.tasks.task import HUB_READERS, Hub, Split, Task

#: Goes up when reading changes what examples the same commit gives.
VERSION = 1

#: How far from its offset an answer is looked for: the scripts that made google/xtreme stripped passages and answers of
#: the spaces around them, and left the offsets as they were (huggingface/datasets, datasets/xtreme/xtreme.py).
STRIPPED = 8

HubRow = dict[str, Any]


@dataclass(frozen=True)
class HubSplit:
    """A split of a configuration, at a commit."""

    layout: Hub = field(hash=False)
    commit: str
    config: str
    split: Split
    splits: tuple[str, ...]  # the hub's names of it
    language: str

    def __str__(self) -> str:
        return f"{self.layout.repository} {self.config} {'+'.join(self.splits)}"


def locate(task: Task, split: Split, language: str, revisions: Mapping[str, str]) -> HubSplit | None:
    """Where the hub has ``split`` (of the hub's own splits: no dev is cut here); None where it does not.

    Raises UserError when the repository cannot be had.
    """
    located = _wanted(task, split, language, revisions)
    if located is None:
        return None
    layout, commit, config = located.layout, located.commit, located.config
    return located if all(_patterns(layout.repository, commit, config, name) for name in located.splits) else None


def missing(task: Task, split: Split, language: str, revisions: Mapping[str, str]) -> str:
    """Why ``locate`` found nothing, as a part of a sentence."""
    located = _wanted(task, split, language, revisions)
    if located is None:
        return f"the hub has no {split} of it"
    known = configs(located.layout.repository, located.commit)
    where = f"{located.layout.repository} at {located.commit[:10]}"
    if known and located.config not in known:
        return f"{where} has no configuration {located.config!r} ({did_you_mean(located.config, known)})"
    has = f" (it has {', '.join(known[located.config])})" if known else ""
    return f"{where} has no split {'+'.join(located.splits)!r} in {located.config!r}{has}"


def _wanted(task: Task, split: Split, language: str, revisions: Mapping[str, str]) -> HubSplit | None:
    """What the catalog's layout names, whether or not the hub has it; None where it names nothing."""
    layout = task.hub
    if layout is None or task.files is None or language not in task.languages:
        return None
    names = {"train": layout.train, "dev": layout.dev, "test": layout.test}[split]
    if names is None:
        return None
    context, _, question = language.partition("-")
    config = layout.config.replace("{lang}", (layout.codes or task.files.codes).get(language, language))
    config = config.replace("{context}", context).replace("{question}", question)
    commit = resolve(layout.repository, revisions.get(layout.repository, layout.revision))
    return HubSplit(layout, commit, config, split, tuple(names.split("+")), language)


@lru_cache(maxsize=64)
def resolve(repository: str, revision: str) -> str:
    """The commit of a revision. The local cache goes first: the same study meets the same data."""
    return _snapshot(repository, revision, ("README.md", ".gitattributes")).name


@lru_cache(maxsize=64)
def configs(repository: str, commit: str) -> dict[str, dict[str, list[str]]]:
    """Configuration → split → patterns of its files, as the repository's card has them; empty without a card."""
    card = _snapshot(repository, commit, ("README.md", ".gitattributes")) / "README.md"
    if not card.is_file():
        return {}
    try:
        text = card.read_text(encoding="utf-8")
        listed = client().DatasetCard(text, ignore_metadata_errors=True).data.to_dict().get("configs")
        return {
            str(config["config_name"]): {
                str(files["split"]): [files["path"]] if isinstance(files["path"], str) else list(files["path"])
                for files in config["data_files"]
            }
            for config in listed or ()
        }
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"data set {repository} at revision {commit}: its card does not say which files a split has ({error!r}); "
            f"pin another revision under `hub:`"
        ) from None


def _patterns(repository: str, commit: str, config: str, split: str) -> tuple[str, ...]:
    known = configs(repository, commit)
    if known:
        return tuple(known.get(config, {}).get(split, ()))
    pattern = f"{config}/{split}/*.parquet"  # as on refs/convert/parquet
    return (pattern,) if _files(repository, commit, (pattern,)) else ()


@lru_cache(maxsize=1024)
def _files(repository: str, commit: str, patterns: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of some patterns, downloaded where they are not in the cache; sorted."""
    for local in (True, False):
        folder = _snapshot(repository, commit, patterns, local=local)
        if found := tuple(sorted({path for pattern in patterns for path in folder.glob(pattern)})):
            return found
    return ()


def _snapshot(repository: str, revision: str, patterns: tuple[str, ...], local: bool = True) -> Path:
    """The folder of a revision in the hub's cache, named by the commit, with the files of some patterns in it."""
    hub = client()
    wanted: HubRow = {"repo_type": "dataset", "revision": revision, "allow_patterns": list(patterns)}
    with hub_errors("data set", repository, revision):
        if local:
            try:
                return Path(hub.snapshot_download(repository, local_files_only=True, **wanted))
            except hub.errors.LocalEntryNotFoundError:
                pass
        return Path(hub.snapshot_download(repository, **wanted))


def read(task: Task, located: HubSplit, problems: Problems) -> list[Example]:
    """The examples of a split, in the hub's order; what is odd about them goes to the notes of ``problems``.

    Ids are those that the files' reader would give to the same rows: the data set's own, or else the row's number.
    Raises UserError, naming repository, configuration and column, where the rows are not as expected.
    """
    examples = list(READERS[located.layout.reader](task, located, problems))
    if not examples:
        raise UserError(f"{located}: no examples of language {located.language!r}; pin another revision under `hub:`")
    for fault in (*faults(examples, task.labels), formats.get(task.format).misfit(examples, task)):
        if fault:
            raise UserError(f"{located}: {fault}")
    return examples


def _rows(located: HubSplit) -> Iterator[HubRow]:
    """Each row under the names that the reader knows, class labels by their names."""
    layout = located.layout
    fields = {**HUB_READERS[layout.reader], **layout.columns}
    for split in located.splits:
        for path in _located_files(located, split):
            table, names = _table(path, list(dict.fromkeys(fields.values())), located)
            for batch in table.iter_slices(1000):
                columns = [_named(batch[column].to_list(), names.get(column)) for column in fields.values()]
                for values in zip(*columns, strict=True):
                    yield dict(zip(fields, values, strict=True))


def _located_files(located: HubSplit, split: str) -> tuple[Path, ...]:
    repository, commit = located.layout.repository, located.commit
    found = _files(repository, commit, _patterns_of(located, split))
    if not found:
        raise UserError(f"{located}: the hub has no file of it; pin another revision under `hub:`")
    return found


def _patterns_of(located: HubSplit, split: str) -> tuple[str, ...]:
    patterns = _patterns(located.layout.repository, located.commit, located.config, split)
    assert patterns, "what was located has files"
    return patterns


def _table(path: Path, columns: list[str], located: HubSplit) -> tuple[pl.DataFrame, dict[str, list[str]]]:
    """Some columns of a Parquet file, and the names of the class labels in it, by column."""
    try:
        has = pl.read_parquet_schema(path)
        for column in columns:
            if column not in has:
                where = f"{located.layout.repository} {located.config}"
                raise UserError(f"{where}: no column {column!r}; it has {', '.join(has)}")
        table, metadata = pl.read_parquet(path, columns=columns), pl.read_parquet_metadata(path)
        noted = json.loads(metadata.get("huggingface", "{}"))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as Parquet ({why}); remove it from the cache") from None
    match noted:
        case {"info": {"features": {**features}}}:
            names = {str(name): _class_names(feature) for name, feature in features.items()}
            return table, {name: own for name, own in names.items() if own is not None}
    return table, {}


def _class_names(feature: Any) -> list[str] | None:
    """The names of a column of class labels, or of lists of them; None for any other column.

    As ``Features.to_dict`` writes them (datasets 2 to 5): {"names": [...], "_type": "ClassLabel"}, {"feature": ...}.
    """
    match feature:
        case {"feature": inner} | [inner]:
            return _class_names(inner)
        case {"_type": "ClassLabel", "names": [*names]}:
            return [str(name) for name in names]
    return None


def _named(column: list[Any], names: list[str] | None) -> list[Any]:
    """Class labels by name; what has no name (-1: no label) stays the number, as text."""
    if names is None:
        return column

    def name(value: int) -> str:
        return names[value] if 0 <= value < len(names) else str(value)

    return [[name(one) for one in value] if isinstance(value, list) else name(value) for value in column]


def _check_labels(task: Task, labels: list[str], located: HubSplit, number: int) -> None:
    for label in labels:
        if label not in task.labels and not task.labels_from_data:
            raise UserError(
                f"{located}: row {number}: label {label!r} is not in the label set; {did_you_mean(label, task.labels)}"
            )


def _texts(located: HubSplit, number: int, row: HubRow, *fields: str) -> tuple[str, ...]:
    """The texts in some fields of a row."""
    for name in fields:
        if not isinstance(row[name], str):
            column = located.layout.columns.get(name, HUB_READERS[located.layout.reader].get(name, name))
            raise UserError(f"{located}: row {number}: no text in column {column!r}; pin another revision under `hub:`")
    return tuple(row[name] for name in fields)


def _pairs(task: Task, located: HubSplit, problems: Problems) -> Iterator[ClassificationExample]:
    """Ids count the rows of the language, as in tables; those passed over too, as in JSON lines."""
    layout, number = located.layout, 0
    for row in _rows(located):
        if row.get("language", located.language) != located.language:
            continue
        number += 1
        premise, hypothesis = _texts(located, number, row, "premise", "hypothesis")
        written = str(row["label"]) if str(row["label"]) in layout.label_names else row["label"]
        if not isinstance(written, str):
            raise UserError(f"{located}: row {number}: label {written!r} is a number without a name, or missing; "
                            "labels go by name, as `label_names` gives them")  # fmt: skip
        label = layout.label_names.get(written, written)
        if label is not None:
            _check_labels(task, [label], located, number)
            yield ClassificationExample(str(row.get("id", number)), premise, hypothesis, label)


def _spans(task: Task, located: HubSplit, problems: Problems) -> Iterator[SpanExample]:
    """A question without answers is unanswerable where the task has such questions, else without gold."""
    together = len(task.languages) > 1 and "{" not in located.layout.config  # as TyDiQA-GoldP, all in one
    prefix = f"{TYDIQA.get(located.language, located.language)}-" if together else ""
    offsets = Offsets(located.layout.on_bad_offset if located.split == "train" else "keep")
    for number, row in enumerate(_rows(located), start=1):
        id, context, question = _texts(located, number, row, "id", "context", "question")
        if not id.startswith(prefix):
            continue
        given = [GoldAnswer(text, start) for text, start in _answers(row["answers"], located, number)]
        near = (nearest(context, answer, STRIPPED) or answer for answer in given)
        answers = offsets.settle(id, context, near)
        if answers or not given:
            yield SpanExample(id, context, question, answers, has_gold=bool(answers) or task.unanswerable)
    offsets.tell(Path(str(located)), problems)


def _answers(value: Any, located: HubSplit, number: int) -> list[tuple[str, int]]:
    match value:
        case {"text": [*texts], "answer_start": [*starts]} if len(texts) == len(starts):
            return [(text, start) for text, start in zip(texts, starts, strict=True) if text]
    raise UserError(f"{located}: row {number}: answers without as many texts as answer_starts")


def _tokens(task: Task, located: HubSplit, problems: Problems) -> Iterator[TaggingExample]:
    """The prefix of PAN-X's tokens ("de:Berlin") goes where all of a split have it, as in the files."""
    rows = list(_rows(located))
    prefix = f"{located.language}:"
    prefixed = all(token.startswith(prefix) for row in rows for token in row["tokens"])
    for number, row in enumerate(rows, start=1):
        tokens, tags = row["tokens"], row["tags"]
        if len(tokens) != len(tags) or not tokens or not all(tokens):
            raise UserError(f"{located}: row {number}: {len(tokens)} tokens and {len(tags)} tags, or an empty token; "
                            "pin another revision under `hub:`")  # fmt: skip
        if not all(isinstance(tag, str) for tag in tags):
            raise UserError(f"{located}: row {number}: tags are numbers without names; labels go by name")
        _check_labels(task, tags, located, number)
        yield TaggingExample(
            str(number), tuple(token.removeprefix(prefix) if prefixed else token for token in tokens), tuple(tags)
        )


def _choices(
    parse: Callable[[HubRow], Parsed],
) -> Callable[[Task, HubSplit, Problems], Iterator[MultipleChoiceExample]]:
    def read_rows(task: Task, located: HubSplit, problems: Problems) -> Iterator[MultipleChoiceExample]:
        for number, row in enumerate(_rows(located), start=1):
            parsed = parse(row)
            if parsed is None or (parsed[3] is not None and not 0 <= parsed[3] < len(parsed[2])):
                raise UserError(f"{located}: row {number}: not in the layout of {located.layout.reader}, or its label "
                                "is none of the choices; pin another revision under `hub:`")  # fmt: skip
            id, prompt, choices, label = parsed
            yield MultipleChoiceExample(id or str(number), prompt, tuple(choices), label)

    return read_rows


def _hellaswag(row: HubRow) -> Parsed:
    """The label is text on the hub, and empty in the test set."""
    label = row["label"]
    if isinstance(label, str):
        label = int(label) if label.isdecimal() else None if label == "" else label
    return parse_hellaswag({**row, "label": label})


def _cosmosqa(row: HubRow) -> Parsed:
    match row:
        case {"id": str(id), "context": str(context), "question": str(question), "label": int(label)}:
            choices = [row[f"answer{n}"] for n in range(4)]
            if all(isinstance(choice, str) for choice in choices):
                return id, f"{context} {question}", choices, None if label == -1 else label
    return None


def _tatoeba(task: Task, located: HubSplit, problems: Problems) -> Iterator[RetrievalExample]:
    """The hub keeps the line ends that its script read (datasets/xtreme/xtreme.py), the files' reader does not."""
    for number, row in enumerate(_rows(located), start=1):
        source, target = (text.rstrip("\r\n") for text in _texts(located, number, row, "source", "target"))
        if not source.strip() or not target.strip():
            raise UserError(f"{located}: row {number}: an empty sentence; pin another revision under `hub:`")
        yield RetrievalExample(str(number), source, target)


READERS: dict[str, Callable[[Task, HubSplit, Problems], Iterator[Example]]] = {
    "pairs": _pairs,
    "span": _spans,
    "tokens": _tokens,
    "commonsenseqa": _choices(parse_commonsenseqa),
    "hellaswag": _choices(_hellaswag),
    "cosmosqa": _choices(_cosmosqa),
    "tatoeba": _tatoeba,
}
