"""A task with labelled data in each of its languages, for studies of what labelled data do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = {"en": ("Town", "we saw it"), "de": ("Stadt", "wir sahen sie"), "es": ("Villa", "la vimos")}
SPLITS = {"train": 24, "dev": 8, "test": 12}


def towns(folder: Path) -> dict[str, Any]:
    """What a study needs to have it, once its files are in ``folder``."""
    for language, (word, rest) in WORDS.items():
        for split, count in SPLITS.items():
            lines = (f"{word}{n}\tB-LOC\n" + "".join(f"{one}\tO\n" for one in [*rest.split(), split, str(n)]) + "\n"
                     for n in range(count))  # fmt: skip
            (folder / f"{split}-{language}.tsv").write_text("".join(lines), encoding="utf-8")
    entry = {
        "name": "towns", "format": "tagging", "description": "towns", "languages": [*WORDS], "metric": "f1",
        "labels": ["O", "B-LOC", "I-LOC"], "licence": "none", "citation": "none",
        "files": {"reader": "tokens", **{split: f"{split}-{{lang}}.tsv" for split in SPLITS}},
    }  # fmt: skip
    (folder / "towns.yaml").write_text(json.dumps(entry), encoding="utf-8")
    return {"tasks": [str(folder / "towns.yaml")], "data": str(folder)}
