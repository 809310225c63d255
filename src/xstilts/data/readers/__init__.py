"""Readers of the official file layouts, by the name that a catalog entry gives as `reader`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from xstilts.common.errors import UserError, did_you_mean
from xstilts.data.problems import Problems, count
from xstilts.data.readers.choices import read_choices, read_commonsenseqa, read_cosmosqa, read_hellaswag
from xstilts.data.readers.pairs import read_aligned, read_csv, read_jsonl, read_pairs_json, read_tsv
from xstilts.data.readers.parallel import read_bucc, read_tatoeba
from xstilts.data.readers.plain import read_lines
from xstilts.data.readers.records import read_records
from xstilts.data.readers.source import Source
from xstilts.data.readers.squad import read_squad, read_squad_sentences, read_tydiqa
from xstilts.data.readers.tokens import read_conllu, read_stagged, read_tokens
from xstilts.tasks.formats import Example

__all__ = ["READERS", "Source", "faults", "read"]

READERS: dict[str, Callable[[Source, Problems], Iterator[Example]]] = {
    "squad": read_squad,
    "squad_sentences": read_squad_sentences,
    "tydiqa": read_tydiqa,
    "tsv": read_tsv,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "aligned": read_aligned,
    "pairs_json": read_pairs_json,
    "choices": read_choices,
    "commonsenseqa": read_commonsenseqa,
    "hellaswag": read_hellaswag,
    "cosmosqa": read_cosmosqa,
    "tokens": read_tokens,
    "conllu": read_conllu,
    "stagged": read_stagged,
    "tatoeba": read_tatoeba,
    "bucc": read_bucc,
    "lines": read_lines,
    "records": read_records,
}


def read(source: Source, problems: Problems) -> list[Example]:
    """The examples of ``source``, in file order. What is wrong goes to ``problems``, which may raise UserError."""
    name = source.layout.reader
    if name not in READERS:
        raise UserError(f"unknown reader {name!r} in a catalog entry: {did_you_mean(name, READERS)}")
    before = len(problems)
    examples = list(READERS[name](source, problems))
    path = source.paths[0]
    if not examples and len(problems) == before:
        problems.add(path, "no examples; the file is empty" + _of_language(source))
    for fault in faults(examples, source.labels, len(source.paths)):
        problems.add(path, fault)
    if source.split == "train" and examples and not any(example.has_gold for example in examples):
        problems.add(path, "no gold labels, without which nothing can be trained; fetch the files that have them")
    if len(problems) == before and (note := _blank(examples)):
        problems.note(path, note)
    return examples


def _blank(examples: Sequence[Example]) -> str | None:
    """What is said of texts without a character that can be read; a few are in most large data sets."""
    blank = [example.id for example in examples if not all(map(_VISIBLE.search, example.texts))]
    if not blank:
        return None
    return f"{count(len(blank), 'example')} of {len(examples):,} with an empty text, the first id {blank[0]}"


def faults(examples: Sequence[Example], labels: Sequence[str], files: int = 1) -> Iterator[str]:
    """What is wrong with the examples of a split as a whole, wherever they were read."""
    repeated = [id for id, count in Counter(example.id for example in examples).items() if count > 1]
    if repeated:
        among = f" over {files} files (read one of them only)" if files > 1 else ""
        yield f"{count(len(repeated), 'id')} given more than once{among}, the first {repeated[0]!r}; keep one each"
    if _is_placeholder(examples, labels):
        yield f"all {len(examples)} rows have the same label: a placeholder, not gold; use files with gold labels"


#: A character that can be seen: neither white space, nor a control or format character such as U+200B or U+FEFF.
_VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def _of_language(source: Source) -> str:
    return f", or holds none of language {source.language!r}" if source.layout.by_language else ""


def _is_placeholder(examples: Sequence[Example], labels: Sequence[str]) -> bool:
    """Copies of XTREME's test files carry one and the same label in every row; scored, they give chance level."""
    if len(examples) < 100 or len(labels) < 2:
        return False
    found = {example.gold_label for example in examples}
    return len(found) == 1 and None not in found
