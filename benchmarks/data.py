"""What both sides read: the same examples, the same spread of lengths, the same lengths of windows."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.jobs import ROOT
from xstilts.common.errors import UserError
from xstilts.data import fingerprint
from xstilts.engine.machine.device import fast_precision
from xstilts.planning.data_ref import DataRef
from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.planning.study import presets
from xstilts.tasks import builtin_catalog
from xstilts.tasks.task import Split, Task

ENCODER = "bundled/e5-small"
LANGUAGES = ["ar", "de", "en", "es", "hi", "ru", "zh"]  # of XQuAD, where there are texts of every length and script

#: English data to measure training on, by task.
TRAINING: dict[str, Split] = {"xquad": "test", "mnli": "train", "squad": "train"}


def set_folder() -> None:
    """Let XSTILTS_DATA name the data folder, for the processes of the measurements too. Raises UserError."""
    if "XSTILTS_DATA" not in os.environ:
        beside = ROOT.parent / "shared" / "data"
        if not beside.is_dir():
            raise UserError("no data folder; set XSTILTS_DATA to the folder with the files that docs/data.md lists")
        os.environ["XSTILTS_DATA"] = str(beside)
    for task, language in [*((task, "en") for task in TRAINING), *(("xquad", language) for language in LANGUAGES)]:
        source(task, language)  # complains now of what is missing


def folder() -> Path:
    """The data folder."""
    return Path(os.environ["XSTILTS_DATA"])


def source(task_name: str, language: str = "en", count: int | None = None) -> DataRef:
    """The data of a task, or ``count`` examples of it; the same for every caller, as in a study."""
    task, split = builtin_catalog()[task_name], TRAINING[task_name]
    return DataRef(task, split, language, folder(), fingerprint(task, split, language, folder()), count)


def hyperparameters(task: Task, **changes: Any) -> Hyperparameters:
    """Those of the preset `quick`, which a study has by default, in the precision that this machine is fast in."""
    preset = presets()["quick"]
    values = {**preset["default"], **preset.get(task.format, {}), **preset.get(task.name, {}), **changes}
    return Hyperparameters.model_validate(values).on(fast_precision)


def spread(lengths: Sequence[int], count: int, seed: int) -> list[int]:
    """Indices of ``count`` items, shuffled: evenly spaced among all in the order of their lengths.

    A few steps then read what a whole epoch reads on average; a plain sample of so few rows would not.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    chosen = [order[int((place + 0.5) * len(order) / count)] for place in range(count)]
    random.Random(seed).shuffle(chosen)
    return chosen
