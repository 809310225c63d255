"""A table as people read it, and its forms: Markdown, and LaTeX that a paper takes as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from xstilts.analysis.answer import signed
from xstilts.common.markdown import cell
from xstilts.common.markdown import table as table_in_markdown

#: What a LaTeX table holds at most: more columns or rows go to a further table, so that none leaves its page. Columns
#: under headings stand side by side as far as those of XTREME do: nine targets and their mean.
_TEX_COLUMNS, _TEX_GROUPED, _TEX_ROWS = 8, 10, 45
#: Half of an interval beyond which nobody reads the digits.
_WIDEST = 999
#: Behind what is not zero-shot.
LABELLED = "¶"
#: What stands where there is no number.
MISSING = "–"
#: Width of a column of running text in LaTeX, of the line's.
_TEX_TEXT = 0.34


@dataclass(frozen=True)
class Number:
    """A number with its interval; ``marked`` where a paired interval excludes 0. ``note`` says what it rests on.

    ``beside`` is the same by another metric, ``signs`` are those of footnotes.
    """

    value: float
    low: float | None = None
    high: float | None = None
    marked: bool = False
    sign: bool = False
    note: str = ""
    digits: int = 1
    beside: float | None = None
    signs: str = ""

    @property
    def text(self) -> str:
        if self.beside is not None:
            return f"{self.value:.{self.digits}f} / {self.beside:.{self.digits}f}"
        if self.sign:
            return signed(self.value, self.digits)
        if 0 < self.value < 0.5 * 10**-self.digits:
            return f"<{10**-self.digits:.{self.digits}f}"
        return f"{self.value:.{self.digits}f}"

    @property
    def half_width(self) -> str:
        if self.low is None or self.high is None:
            return ""
        half = (self.high - self.low) / 2
        return f"{half:.{self.digits}f}" if half <= _WIDEST else f">{_WIDEST}"

    @property
    def interval(self) -> str:
        if self.low is None or self.high is None:
            return ""
        if self.sign:
            return f"95 % interval {signed(self.low, self.digits)} to {signed(self.high, self.digits)}"
        return f"95 % interval {self.low:.{self.digits}f} to {self.high:.{self.digits}f}"

    @property
    def about(self) -> str:
        """The interval and what the number rests on, in words."""
        return "; ".join(filter(None, (self.interval, self.note)))


Entry = str | Number | None


@dataclass(frozen=True)
class Table:
    """A table as people read it; a missing number is None.

    ``rules`` are the rows with a line above them, ``texts`` the columns of running text, ``means`` the rows that
    stand for several others. ``over`` are headings above the columns, the same one over neighbours, and ``units`` what
    stands below a column's name. ``cut`` says what is left out, where something is.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    rules: frozenset[int] = frozenset()
    texts: frozenset[int] = frozenset()
    means: frozenset[int] = frozenset()
    over: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    cut: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, and are set flush right."""
        return tuple(not any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.header)))

    @property
    def headings(self) -> list[tuple[str, int]]:
        """Each heading above columns, with how many it spans; one without words stands over what has none."""
        return [(name, len(list(columns))) for name, columns in groupby(self.over)]

    @property
    def plain_caption(self) -> str:
        return self.caption.replace("`", "")


def shortened(tables: Sequence[Table], cells: int) -> tuple[list[Table], int]:
    """The first of the tables, of at most so many cells in all, and how many tables are left out.

    The first table is always there, if need be with its first rows only, which it then says.
    """
    shown: list[Table] = []
    for table in tables:
        width = len(table.header)
        if not shown and len(table.rows) * width > cells:
            rows = max(1, cells // width)
            table = replace(table, rows=table.rows[:rows], cut=f"the first {rows:,} of {len(table.rows):,} rows")
        elif len(table.rows) * width > cells:
            break
        cells -= len(table.rows) * width
        shown.append(table)
    return shown, len(tables) - len(shown)


def markdown(tables: Iterable[Table]) -> str:
    """The tables in Markdown, each under its caption."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def _markdown(table: Table) -> str:
    rows = (map(_md, row) for row in table.rows)
    units = table.units or ("",) * len(table.header)
    header = [_md(f"{name} ({unit})" if unit else name) for name, unit in zip(table.header, units, strict=True)]
    whole = table_in_markdown(header, rows, table.numeric)
    return f"{cell(_md(table.caption))}\n\n{whole}"


def latex(tables: Iterable[Table], place: str = "t") -> str:
    """The tables in LaTeX, intervals as subscripts; a table too wide or long for a page comes in parts.

    ``place`` is where LaTeX may put them: at the top of a page.
    """
    parts = ["% needs \\usepackage{booktabs,adjustbox}"]
    for number, table in enumerate(tables, 1):
        for letter, part in enumerate(_parts(table)):
            label = f"tab:{table.name}-{number}" + (f"-{letter + 1}" if letter else "")
            parts.append(_latex(part, label, place))
    return "\n\n".join(parts) + "\n"


def _latex(table: Table, label: str, place: str) -> str:
    kinds = [
        f"p{{{_TEX_TEXT}\\linewidth}}" if i in table.texts else "r" if right else "l"
        for i, right in enumerate(table.numeric)
    ]
    lines = [
        f"\\begin{{table}}[{place}]",
        "\\centering",
        "\\setlength{\\belowcaptionskip}{6pt}",  # most classes have none, for captions under figures
        f"\\caption{{{tex_code(table.caption)}}}",
        f"\\label{{{label}}}",
        "\\begin{adjustbox}{max width=\\linewidth, max totalheight=0.8\\textheight}",
        "\\small",
        f"\\begin{{tabular}}{{{''.join(kinds)}}}",
        "\\toprule",
        *_tex_headings(table),
        " & ".join(map(tex, table.header)) + " \\\\",
        *([" & ".join(map(tex, table.units)) + " \\\\"] if table.units else []),
        "\\midrule",
    ]
    for i, row in enumerate(table.rows):
        if i in table.rules:
            lines.append("\\midrule")
        cells = (_breakable(_tex(entry)) if i in table.texts else _tex(entry) for i, entry in enumerate(row))
        lines.append(" & ".join(cells) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{adjustbox}", "\\end{table}"]
    return "\n".join(lines)


def _breakable(text: str) -> str:
    """LaTeX that may go to the next line within words such as mnli+qqp and a/b."""
    return re.sub(r"(?<=\w)(\+|/|\\_)(?=\w)", r"\1\\allowbreak{}", text)


def _tex_headings(table: Table) -> list[str]:
    """A line of headings above the columns, each with a rule below it."""
    if not table.over:
        return []
    cells, rules, column = [], [], 1
    for name, span in table.headings:
        cells.append(f"\\multicolumn{{{span}}}{{c}}{{{tex(name)}}}")
        if name:
            rules.append(f"\\cmidrule(lr){{{column}-{column + span - 1}}}")
        column += span
    return [" & ".join(cells) + " \\\\", "".join(rules)]


def _parts(table: Table) -> Iterator[Table]:
    """The table as it is, or in parts; each has the columns of names on the left."""
    names = next((i for i, right in enumerate(table.numeric) if right), len(table.header))
    rest = range(names, len(table.header))
    most = _TEX_GROUPED if table.over else _TEX_COLUMNS
    columns = [rest[i : i + most] for i in range(0, len(rest), most)] or [rest]
    for start in range(0, max(1, len(table.rows)), _TEX_ROWS):
        for chunk in columns:
            kept = (*range(names), *chunk)
            yield replace(
                table,
                caption=table.caption if (start, chunk) == (0, columns[0]) else f"{table.caption} (continued)",
                header=tuple(table.header[i] for i in kept),
                rows=tuple(tuple(row[i] for i in kept) for row in table.rows[start : start + _TEX_ROWS]),
                rules=frozenset(rule - start for rule in table.rules if rule > start),
                texts=frozenset(new for new, old in enumerate(kept) if old in table.texts),
                over=tuple(table.over[i] for i in kept) if table.over else (),
                units=tuple(table.units[i] for i in kept) if table.units else (),
            )


_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "*": "{*}", "−": "$-$", "±": r"$\pm$", "…": r"\ldots{}", "→": r"$\rightarrow$",
    "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "·": r"$\cdot$", "–": "--", "—": "---", "\n": " ",
    "“": "``", "”": "''", "‘": "`", "’": "'", "•": r"$\bullet$", "„": r"\quotedblbase{}",
    **{digit: f"$^{value}$" for value, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}, "⁻": "$^-$",
    "≈": r"$\approx$", "∞": r"$\infty$", "ρ": r"$\rho$", "τ": r"$\tau$", "β": r"$\beta$", "Σ": r"$\Sigma$",
    "†": r"$\dagger$", "‡": r"$\ddagger$", "§": r"\S{}", "¶": r"\P{}",
}  # fmt: skip


#: Letters from U+00A0 to U+017F that pdfLaTeX does not know; of higher ones it knows few.
_NO_LETTERS = "ĦħĸĿŀŉŦŧſ"


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped, and those that pdfLaTeX has no letters for by their number."""
    return "".join(_TEX.get(character) or _letter(character) for character in text)


def _letter(character: str) -> str:
    if character < "\u0180" and character not in _NO_LETTERS:
        return character if character.isprintable() or character == "\u00a0" else " "
    return f"{{[}}U+{ord(character):04X}{{]}}"


def _md(entry: Entry) -> str:
    if entry is None:
        return MISSING
    if isinstance(entry, str):
        return entry.replace("<", "&lt;")
    value = (f"**{entry.text}**" if entry.marked else entry.text) + entry.signs
    return f"{value} ± {entry.half_width}" if entry.half_width else value


def _tex(entry: Entry) -> str:
    if entry is None:
        return tex(MISSING)
    if isinstance(entry, str):
        return tex(entry)
    value = entry.text.replace("−", "-")  # in mathematics a hyphen is a minus
    value = f"\\mathbf{{{value}}}" if entry.marked else value
    value += f"^{{{tex(entry.signs).replace('$', '')}}}" if entry.signs else ""
    return f"${value}_{{\\pm {entry.half_width}}}$" if entry.half_width else f"${value}$"


def tex_code(text: str) -> str:
    """Text with `code` in typewriter."""
    return "".join(f"\\texttt{{{tex(part)}}}" if i % 2 else tex(part) for i, part in enumerate(text.split("`")))
