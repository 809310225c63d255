"""What a catalog entry says: a data set family in one format, and where its examples come from."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from xstilts.common.errors import did_you_mean

Split = Literal["train", "dev", "test"]

OnBadOffset = Literal["error", "drop", "mend"]


#: Readers that are told what the columns or fields of their files hold, and what these may be.
TABLES = {
    "tsv": ("premise", "hypothesis", "label", "language", "_"),
    "jsonl": ("id", "premise", "hypothesis", "label"),
    "csv": ("id", "premise", "hypothesis", "label"),
}


#: The reader of tokens with tags, one a line, and what its columns may hold.
TOKENS = "tokens"
TOKEN_COLUMNS = ("token", "tag", "_")


#: Readers of answers that have offsets.
ANSWERS = ("squad", "squad_sentences", "tydiqa", "records")


#: The reader of multiple choice whose fields may go by name: `prompt`, a template such as "{context} {question}";
#: `label`; and under each label, as the files write it, the field of its choice.
CHOICES = "choices"


#: Readers of texts to classify, which read labels under other names too.
PAIRS = (*TABLES, "pairs_json", "aligned")


#: The reader of files of several languages, which the ids of their examples tell apart, as TyDiQA-GoldP's do.
BY_IDS = "tydiqa"


def texts_of_numbers(names: Any) -> Any:
    """A mapping whose keys are labels, those that YAML reads as whole numbers as the texts that they were."""
    if not isinstance(names, dict):
        return names
    return {str(key) if type(key) is int else key: name for key, name in names.items()}


class Files(BaseModel):
    """Where a task's examples come from: a reader, and for each split the files it reads.

    Patterns are relative to the data folder; ``{lang}`` stands for the language (``{context}`` and ``{question}``
    for those of a pair such as de-en), ``*`` matches several files (read in sorted order).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: str
    bundled: bool = Field(False, description="whether the files come with xstilts, in place of the data folder")
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    test_gold: str | None = Field(None, description="a file of labels, one a line, for `test` without; may be missing")
    columns: tuple[str, ...] | dict[str, str] = Field(
        (), description="what a table's columns hold, `_` for one to pass over; or, by the names of columns or fields"
    )
    header: bool = Field(False, description="whether to pass over the first row, where `columns` goes by position")
    separator: Literal["tab", "space", "whitespace"] | None = Field(
        None,
        description="tokens: what stands between columns, `whitespace` any run of it; seen from the file by default",
    )
    comment: str | None = Field(None, description="tokens: how lines begin that are to be passed over", min_length=1)
    on_bad_offset: OnBadOffset = Field(
        "error", description="of answers in train files that are not at their offset: drop them, or mend the offset"
    )
    skip_short: bool = Field(False, description="whether to pass over rows that lack columns (a line break in a text)")
    codes: dict[str, str] = Field({}, description="file-name codes of languages that differ from the catalog's")
    label_names: dict[str, str | None] = Field(
        {}, description="labels that the files write differently: theirs, then the task's, null to pass such rows over"
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_are_texts(cls, columns: Any) -> Any:
        if isinstance(columns, dict) and any(isinstance(name, int) for name in columns.values()):
            raise ValueError("`columns` as a mapping goes by name; by position it is a list, such as [_, token, tag]")
        return columns

    @field_validator("label_names", mode="before")
    @classmethod
    def _numbers_may_be_labels(cls, names: Any) -> Any:
        return texts_of_numbers(names)

    @model_validator(mode="after")
    def _columns_fit_the_reader(self) -> Files:
        if self.on_bad_offset != "error" and self.reader not in ANSWERS:
            raise ValueError(f"`on_bad_offset` is for the readers {', '.join(ANSWERS)}, not for {self.reader}")
        if self.reader == TOKENS:
            return self._tokens_have_columns()
        if self.separator or self.comment:
            option = "separator" if self.separator else "comment"
            raise ValueError(f"`{option}` is for the reader {TOKENS}, not for {self.reader}")
        if self.reader == CHOICES and self.columns:
            if not isinstance(self.columns, dict) or not {"prompt", "label"} < set(self.columns):
                raise ValueError("`columns` of choices must be {prompt: TEMPLATE, label: FIELD, and LABEL: FIELD each}")
            return self
        if (self.reader in TABLES) != bool(self.columns):
            readers = ", ".join(TABLES)
            raise ValueError(f"`columns` must be given for the readers {readers}, and only there ({self.reader})")
        known = TABLES.get(self.reader, ())
        unknown = sorted(set(self.columns) - set(known))
        if unknown:
            raise ValueError(f"`columns` knows {', '.join(known)}, not {unknown}")
        if self.columns and "premise" not in self.columns:
            raise ValueError("`columns` must name a premise (the text, or the first of two)")
        if self.columns and self.reader != "tsv" and not isinstance(self.columns, dict):
            raise ValueError(f"`columns` must go by name for the reader {self.reader}, as {{premise: NAME}}")
        if self.label_names and self.reader not in PAIRS:
            raise ValueError(f"`label_names` is for the readers {', '.join(PAIRS)}, not for {self.reader}")
        if self.skip_short and self.reader != "tsv":
            raise ValueError(f"`skip_short` is for the reader tsv, not for {self.reader}")
        return self

    def _tokens_have_columns(self) -> Files:
        held = [name for name in self.columns if name != "_"]
        if self.columns and ("token" not in held or len(set(held)) < len(held) or not set(held) <= {*TOKEN_COLUMNS}):
            raise ValueError(
                "`columns` of tokens names one token, and one tag unless there is no gold: by position as in "
                "[_, token, tag], or by the first row as in {token: FORM, tag: NER}"
            )
        if self.header and not isinstance(self.columns, tuple):
            raise ValueError("`header` passes over a first row; where `columns` goes by its names it is read")
        if self.label_names or self.skip_short:
            option = "label_names" if self.label_names else "skip_short"
            raise ValueError(f"`{option}` is not for the reader {TOKENS}")
        return self

    def chooses(self, pattern: str) -> bool:
        """Whether what is read of the files of one of its patterns depends on the language."""
        return "{lang}" in pattern or "{context}" in pattern or self.by_language

    @property
    def by_language(self) -> bool:
        """Whether one file holds several languages, of which the reader picks one."""
        return "language" in self.columns or self.languages_in_ids

    @property
    def languages_in_ids(self) -> bool:
        """Whether it is the ids of examples that say of which language they are."""
        return self.reader == BY_IDS


#: Readers of a hub data set's rows (`xstilts.data.hub`), and the column that each thing they need stands in by default.
HUB_READERS: dict[str, dict[str, str]] = {
    "pairs": {"premise": "premise", "hypothesis": "hypothesis", "label": "label"},
    "span": {"id": "id", "context": "context", "question": "question", "answers": "answers"},
    "tokens": {"tokens": "tokens", "tags": "tags"},
    "commonsenseqa": {name: name for name in ("id", "question", "choices", "answerKey")},
    "hellaswag": {name: name for name in ("ind", "ctx_a", "ctx_b", "endings", "label")},
    "cosmosqa": {
        name: name for name in ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label")
    },
    "tatoeba": {"source": "source_sentence", "target": "target_sentence"},
}


class Hub(BaseModel):
    """Where the hub has a task's examples: a repository of Parquet files, and for each split the hub's name of it.

    In ``config``, ``{lang}`` stands for the language, ``{context}`` and ``{question}`` for those of a pair such as
    de-en. A split such as `train_r1+train_r2` joins several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str
    revision: str = Field("main", description="a branch, tag or commit; a study may pin another")
    config: str = "default"
    reader: str
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    columns: dict[str, str] = Field({}, description="of what the reader needs, the columns that are named otherwise")
    codes: dict[str, str] = Field({}, description="what `config` writes for languages; the codes of `files` by default")
    label_names: dict[str, str | None] = Field(
        {}, description="labels that the hub writes differently: its, then the task's, null to pass such rows over"
    )
    on_bad_offset: OnBadOffset = Field(
        "error", description="of answers in train data that are not at their offset: drop them, or mend the offset"
    )
    counts_differ: bool = Field(False, description="whether the hub has other examples than the files have")

    @field_validator("label_names", mode="before")
    @classmethod
    def _numbers_may_be_labels(cls, names: Any) -> Any:
        return texts_of_numbers(names)

    @model_validator(mode="after")
    def _columns_fit_the_reader(self) -> Hub:
        if self.reader not in HUB_READERS:
            raise ValueError(f"unknown reader {self.reader!r} of the hub; {did_you_mean(self.reader, HUB_READERS)}")
        if self.on_bad_offset != "error" and self.reader != "span":
            raise ValueError(f"`on_bad_offset` is for the hub's reader span, not for {self.reader}")
        known = {*HUB_READERS[self.reader], *(("id", "language") if self.reader == "pairs" else ())}
        if unknown := sorted(set(self.columns) - known):
            raise ValueError(f"`columns` of the hub's {self.reader} knows {', '.join(sorted(known))}, not {unknown}")
        return self


class Task(BaseModel):
    """A data set family in one format, as its catalog entry describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str = Field("", max_length=60, description="as people write it; its name by default")
    format: str = Field(description="a module of xstilts.tasks.formats; what it says of entries is held by the catalog")
    description: str
    languages: tuple[str, ...]
    metric: str = Field(description="the main metric; a format may report others beside it")
    files: Files | None = None
    also: tuple[Files, ...] = Field((), description="other layouts of the same data, tried in order after `files`")
    hub: Hub | None = Field(None, description="the same data on the hub, for studies that say `hub: true`")
    of: tuple[str, ...] = Field((), description="in place of `files`: the tasks whose examples this one unites")
    parts: tuple[Task, ...] = Field((), description="the tasks that `of` names; the catalog fills it in")
    labels: tuple[str, ...] = Field((), description="classification labels or tags; order decides the class ids")
    labels_from_data: bool = Field(
        False, description="tagging: in place of `labels`, all tags of the English train and dev files, sorted"
    )
    label_map: dict[str, str] = Field(
        {}, description="with `train`: labels of that task, then what they are called here; others keep their names"
    )
    unanswerable: bool = Field(False, description="span: questions without an answer occur (SQuAD v2)")
    answer_rules: Literal["squad", "mlqa"] = Field("squad", description="span: how answers are normalised for scoring")
    train: str | None = Field(
        None, description="the task whose English data it is trained on; itself by default. Labels go by name"
    )
    train_languages: Literal["en", "all"] = Field(
        "en",
        description="`all`: on the train data of every language, which is NOT zero-shot: its name ends in -leaky",
    )
    stands_for: str | None = Field(
        None, description="the task of which this is another cut: claims about that one are tested on this one too"
    )
    counts: dict[Split, int | dict[str, int]] = Field(
        {}, description="examples that the whole official split has; by language, `*` for all others, where they differ"
    )
    licence: str
    citation: str
    cite: tuple[str, ...] = Field((), description="keys of its references, in xstilts's references.bib")
    url: str = ""
    provenance: str = ""

    @field_validator("name", "languages")
    @classmethod
    def _names_are_plain(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """They stand in file names, tables and terminals."""
        for name in (value,) if isinstance(value, str) else value:
            if not re.fullmatch(r"\w[\w.+-]*", name):
                raise ValueError(f"{name!r} must be of letters, digits, and . _ + - behind the first")
        return value

    @field_validator("title")
    @classmethod
    def _titles_are_on_one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError(f"{value!r} has characters that cannot be shown; write letters, digits and spaces")
        return value

    @model_validator(mode="after")
    def _a_leak_has_a_name(self) -> Task:
        if (self.train_languages == "all") != self.name.endswith("-leaky"):
            raise ValueError("`train_languages: all` is not zero-shot: such a name ends in -leaky, and no other does")
        return self

    @model_validator(mode="after")
    def _counts_fit_the_languages(self) -> Task:
        counted = {language for known in self.counts.values() if isinstance(known, dict) for language in known}
        if strangers := sorted(counted - {*self.languages, "*"}):
            raise ValueError(f"`counts` has languages that the task does not: {', '.join(strangers)}")
        return self

    @model_validator(mode="after")
    def _names_go_between_two_tasks(self) -> Task:
        if self.label_map and self.train in (None, self.name):
            raise ValueError("`label_map` names the labels of another task, which `train` names; give both")
        return self

    @model_validator(mode="after")
    def _has_data(self) -> Task:
        if bool(self.of) == (self.files is not None) or ((self.also or self.hub) and self.files is None):
            raise ValueError("an entry has `files` (and `also`, other layouts of them), or `of`, the tasks it unites")
        return self

    @property
    def called(self) -> str:
        """As people write it."""
        return self.title or self.name

    @property
    def layouts(self) -> tuple[Files, ...]:
        return (self.files, *self.also) if self.files else ()

    def has_own(self, split: Split) -> bool:
        """Whether an entry's files of a split differ from language to language."""
        patterns = ((layout, getattr(layout, split)) for layout in self.layouts)
        return any(layout.chooses(pattern) for layout, pattern in patterns if pattern)

    def count(self, split: Split, language: str) -> int | None:
        """How many examples the whole official split has in a language; None where the entry does not say."""
        known = self.counts.get(split)
        return known.get(language, known.get("*")) if isinstance(known, dict) else known

    @property
    def training_task(self) -> str | None:
        """Name of the task whose English data fine-tunes this one; None where nothing is trained."""
        return self.train or (self.name if self.of or any(layout.train for layout in self.layouts) else None)
