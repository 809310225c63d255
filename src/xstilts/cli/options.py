"""Options and tables that several commands share."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from xstilts.common.errors import UserError
from xstilts.common.extras import need

StudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY", help="a study file, or the name of one that comes with xstilts: quickstart")
]


def plain(entry: Any) -> dict[str, Any]:
    return asdict(entry)


def quiet() -> None:
    """Keep Transformers' progress bars and advice off the terminal."""
    need("train", "torch", "transformers")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def check_writable(folder: Path) -> None:
    """Raises UserError where the folder that results go to cannot be made or written: before they are computed."""
    try:
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for one in made:
            one.rmdir()
    except FileExistsError:
        raise UserError(f"--out {folder}: a file, not a folder; name another") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--out {folder}: cannot be written: {reason}; name another folder") from None


StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar="XSTILTS_STORE", help="where artifacts are kept: a folder or any fsspec URL"),
]


JsonOption = Annotated[bool, typer.Option("--json", help="machine-readable output on stdout")]
