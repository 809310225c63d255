"""The forms in which a text is written: Markdown and LaTeX. What comes from a study is escaped in each."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from xstilts.reporting.references import Reference, entries
from xstilts.reporting.table import Table, latex, markdown, tex, tex_code


class Written(str):
    """Text that is in a form already, and is not escaped again."""


@dataclass
class Form(ABC):
    """How the pieces of a text are written. ``cited`` are the references that were, in their order."""

    cited: dict[str, Reference] = field(default_factory=dict)

    @abstractmethod
    def escape(self, text: str) -> Written:
        """Plain text, in which `code` stands between backticks."""

    @abstractmethod
    def begin(self, title: str) -> Written: ...

    @abstractmethod
    def abstract(self, sentences: Sequence[str]) -> Written: ...

    @abstractmethod
    def section(self, title: str, level: int = 1) -> Written: ...

    @abstractmethod
    def items(self, entries: Sequence[str]) -> Written: ...

    @abstractmethod
    def tables(self, tables: Sequence[Table]) -> Written: ...

    @abstractmethod
    def listing(self, text: str) -> Written:
        """Lines as they are."""

    @abstractmethod
    def references(self) -> Written:
        """All that was cited; and the end of the text's body."""

    @abstractmethod
    def appendix(self) -> Written: ...

    @abstractmethod
    def end(self) -> Written: ...

    def cite(self, *keys: str) -> Written:
        """References by key, behind a space; nothing where there are none. Raises KeyError for one that is unknown."""
        self.cited |= {key: entries()[key] for key in keys}
        return Written(f" {self._cite(keys)}" if keys else "")

    @abstractmethod
    def _cite(self, keys: Sequence[str]) -> str: ...

    @abstractmethod
    def link(self, address: str) -> Written: ...

    def text(self, text: str, cite: Sequence[str] = ()) -> Written:
        return Written(self.escape(text) + self.cite(*cite))

    def written(self, value: object) -> Written:
        """What a template puts in: escaped, unless it is in the form already."""
        return value if isinstance(value, Written) else self.escape(str(value))


class Markdown(Form):
    """For people, on GitHub and the like."""

    def escape(self, text: str) -> Written:
        parts = text.split("`")
        return Written(
            "".join(f"`{part}`" if i % 2 and i < len(parts) - 1 else _md(part) for i, part in enumerate(parts))
        )

    def begin(self, title: str) -> Written:
        return Written(f"# {self.escape(title)}")

    def abstract(self, sentences: Sequence[str]) -> Written:
        return Written(f"{self.section('Abstract')}\n\n{' '.join(map(self.written, sentences))}")

    def section(self, title: str, level: int = 1) -> Written:
        return Written(f"{'#' * (level + 1)} {self.escape(title)}")

    def items(self, entries: Sequence[str]) -> Written:
        return Written("\n".join(f"- {self.written(entry)}" for entry in entries))

    def tables(self, tables: Sequence[Table]) -> Written:
        return Written(markdown(tables).strip())

    def listing(self, text: str) -> Written:
        return Written("\n".join(f"    {line}" for line in text.splitlines()))

    def references(self) -> Written:
        told = sorted(entry.plain for entry in self.cited.values())
        return Written(f"{self.section('References')}\n\n{self.items(told)}")

    def appendix(self) -> Written:
        return self.section("Appendix")

    def end(self) -> Written:
        return Written("")

    def link(self, address: str) -> Written:
        return self.escape(address)

    def _cite(self, keys: Sequence[str]) -> str:
        return f"({self.escape('; '.join(entries()[key].short for key in keys))})"


class Latex(Form):
    """An article that pdfLaTeX and BibTeX take as it is."""

    def escape(self, text: str) -> Written:
        return Written(tex_code(text))

    def begin(self, title: str) -> Written:
        packages = "\n".join(f"\\usepackage{{{name}}}" for name in ("booktabs,adjustbox,textcomp", "url"))
        return Written(
            "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage[utf8]{inputenc}\n"
            "\\IfFileExists{lmodern.sty}{\\usepackage{lmodern}}{}\n"
            f"\\usepackage[margin=25mm]{{geometry}}\n{packages}\n{_BREAKS}\n\\emergencystretch=3em\n"
            f"\\title{{{self.escape(title)}}}\n\\author{{Authors}}\n\\begin{{document}}\n\\maketitle"
        )

    def abstract(self, sentences: Sequence[str]) -> Written:
        return Written(f"\\begin{{abstract}}\n{' '.join(map(self.written, sentences))}\n\\end{{abstract}}")

    def section(self, title: str, level: int = 1) -> Written:
        return Written(f"\\{'sub' * (level - 1)}section{{{self.escape(title)}}}")

    def items(self, entries: Sequence[str]) -> Written:
        lines = "\n".join(f"\\item {self.written(entry)}" for entry in entries)
        return Written(f"\\begin{{itemize}}\n{lines}\n\\end{{itemize}}" if entries else "")

    def tables(self, tables: Sequence[Table]) -> Written:
        return Written(latex(tables, place="!htbp").strip())

    def listing(self, text: str) -> Written:
        said = "\\\\\n".join(map(_indented, text.splitlines()))
        return Written(f"{{\\small\\ttfamily\\raggedright\\noindent\n{said}\\par}}")

    def references(self) -> Written:
        return Written("\\bibliographystyle{plain}\n\\bibliography{references}")

    def appendix(self) -> Written:
        return Written("\\clearpage\n\\appendix\n\\section{Appendix}")

    def end(self) -> Written:
        return Written("\\end{document}")

    def link(self, address: str) -> Written:
        plain = re.fullmatch(r"https?://[\w./~#?=&%:+-]+", address, re.ASCII)
        return Written(f"\\url{{{address}}}") if plain else self.escape(address)

    def _cite(self, keys: Sequence[str]) -> str:
        return f"\\cite{{{','.join(keys)}}}"


#: Addresses may be broken before a digit too, as those with a commit in them must be.
_BREAKS = (
    "\\expandafter\\def\\expandafter\\UrlBreaks\\expandafter{\\UrlBreaks"
    + "".join(f"\\do\\{digit}" for digit in range(10))
    + "}"
)


def _indented(line: str) -> str:
    """A line in LaTeX, its spaces in front kept."""
    inner = line.lstrip(" ")
    return "~" * (len(line) - len(inner)) + tex(inner)


def _md(text: str) -> str:
    """Text with what Markdown takes for markup escaped; an underscore within a word is none."""
    text = re.sub(r"([\\*\[\]#|~])", r"\\\1", text).replace("<", "&lt;")
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
