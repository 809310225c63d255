"""`xstilts table` and `xstilts paper`: what a paper takes from a study. Printing, no logic."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from xstilts import api
from xstilts.cli.options import StoreOption, StudyFile, check_writable


class PaperFormat(str, Enum):
    md = "md"
    latex = "latex"
    html = "html"
    csv = "csv"


class MeanOver(str, Enum):
    """The keys of `xstilts.reporting.paper_table.MEANS`."""

    non_english = "non-english"
    all = "all"


MeanOption = Annotated[
    MeanOver, typer.Option("--mean", help="over which languages scores are means: those without English, or all")
]


def table(
    study: StudyFile,
    format: Annotated[PaperFormat, typer.Option(help="how to print")] = PaperFormat.md,
    mean: MeanOption = MeanOver.non_english,
    store: StoreOption = None,
) -> None:
    """Print the table of a paper: encoders and recipes by targets, their mean, and the gains with intervals.

    The mean is over the non-English languages of each target; XTREME's own is over all. LaTeX needs the packages
    booktabs and adjustbox.
    """
    from xstilts.analysis.analyse import analyse
    from xstilts.reporting.paper_table import MEANS, paper_table
    from xstilts.reporting.table import latex, markdown
    from xstilts.reporting.write import html

    results = api.results(study, store)
    found = paper_table(results, analyse(results), MEANS[mean.value])
    match format:
        case PaperFormat.csv:
            text = found.frame.write_csv()
        case PaperFormat.latex:
            text = latex(found.panels)
        case PaperFormat.html:
            text = html(found.panels)
        case PaperFormat.md:
            text = markdown(found.panels)
    print(text, end="")


def paper(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="folder to write to")],
    mean: MeanOption = MeanOver.non_english,
    store: StoreOption = None,
) -> None:
    """Write the draft of a paper on a study, in Markdown and LaTeX, with its references in BibTeX.

    Question, methods, results, claims, limitations and references are those of the study, as far as it was run; what
    lacks is said. Every number is the store's.
    """
    check_writable(out)
    path = api.paper(study, out, store, mean=mean.value)
    print(f"Draft: {path}, {path.with_suffix('.tex')} (pdflatex, bibtex, and pdflatex twice)")
