"""Tables for papers and spreadsheets: Markdown and LaTeX with intervals; the CSV files hold the frames as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from xstilts.analysis.analyse import Analysis
from xstilts.analysis.answer import signed
from xstilts.analysis.axes import ALL_LANGUAGES, BASELINE, ENGLISH, ZERO_SHOT, how_compared, millions
from xstilts.analysis.comparisons import SHOWN

_MARKED = "bold: differs from `none` (p below 0.05, of means over the non-English languages by Holm's correction)"


@dataclass(frozen=True)
class Number:
    """A number with its interval; ``marked`` where a paired interval excludes 0. ``note`` says what it rests on."""

    value: float
    low: float | None
    high: float | None
    marked: bool = False
    sign: bool = False
    note: str = ""

    @property
    def text(self) -> str:
        return signed(self.value) if self.sign else f"{self.value:.1f}"

    @property
    def half_width(self) -> str:
        return "" if self.low is None or self.high is None else f"{(self.high - self.low) / 2:.1f}"

    @property
    def interval(self) -> str:
        if self.low is None or self.high is None:
            return "no interval"
        return f"{signed(self.low)} to {signed(self.high)}" if self.sign else f"{self.low:.1f} to {self.high:.1f}"


Entry = str | Number | None


@dataclass(frozen=True)
class Table:
    """A table as people read it; a missing number is None. ``rules`` are the rows with a line above them."""

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    rules: frozenset[int] = frozenset()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, and are set flush right."""
        return tuple(not any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.header)))


def scores_tables(analysis: Analysis) -> list[Table]:
    """Mean over seeds by language and recipe: one table for each target and encoder."""
    marks = {
        row[:4] for row in analysis.gains.filter(pl.col("verdict").is_in(SHOWN)).iter_rows()
    }  # (encoder, recipe, target, language)
    frame = analysis.scores.filter(pl.col("value").is_not_null())

    def number(row: dict[str, object]) -> Number:
        key = (row["encoder"], row["recipe"], row["target"], row["language"])
        return _number(row, "value", marked=key in marks, sign=False)

    tables = _pivots(analysis, frame, "scores", number, analysis.axes.recipes)
    return [
        _captioned(table, f"{table.caption}. Mean over seeds, ± half the 95 % interval; {_MARKED}.") for table in tables
    ]


def gains_tables(analysis: Analysis) -> list[Table]:
    """Gains over `none` by language and recipe: one table for each target and encoder."""
    frame = analysis.gains.filter(pl.col("gain").is_not_null())

    def number(row: dict[str, object]) -> Number:
        return _number(row, "gain", marked=row["verdict"] in SHOWN, sign=True)

    recipes = tuple(recipe for recipe in analysis.axes.recipes if recipe != BASELINE)
    tables = _pivots(analysis, frame, "gains", number, recipes)
    return [
        _captioned(
            table,
            f"{table.caption}: gain over `none` in points, paired by seed and example, ± half the 95 % "
            f"interval; {_MARKED}.",
        )
        for table in tables
    ]


def sizes_table(analysis: Analysis) -> Table:
    """Slope of the zero-shot gain over size, for each target, family and recipe."""
    rows: list[tuple[Entry, ...]] = []
    rules = set()
    for row in analysis.sizes.iter_rows(named=True):
        if rows and rows[-1][0] != row["target"]:
            rules.add(len(rows))
        slope = None if row["slope"] is None else _number(row, "slope", row["low"] * row["high"] > 0, sign=True)
        span = f"{millions(row['smallest'])} to {millions(row['largest'])}"
        rows.append((row["target"], row["family"], row["recipe"], f"{row['n_sizes']} ({span})", slope, row["verdict"]))
    return Table(
        "sizes",
        "Gain over `none` (non-English mean) against size: points per tenfold parameters without embeddings, "
        "± half the 95 % interval; bold: the interval excludes 0.",
        ("target", "encoders", "recipe", "sizes", "slope", "with size, the gain"),
        tuple(rows),
        frozenset(rules),
    )


def blocks_tables(analysis: Analysis, scores: pl.DataFrame) -> list[Table]:
    """Retrieval and mining by the vectors of each block, from all ``scores``: a table for each target and encoder.

    Means over non-English languages and over seeds, without intervals: no choice is to be made by them.
    """
    own = scores.filter(pl.col("hidden_layer").is_not_null(), pl.col("language") != ENGLISH)
    tables = []
    for target in analysis.axes.targets:
        for encoder in analysis.axes.encoders:
            here = own.filter(pl.col("target") == target, pl.col("encoder") == encoder.label)
            if not here.height:
                continue
            means = {
                (metric, recipe): Number(value, None, None, note=f"mean of {n} scores")
                for metric, recipe, value, n in here.group_by("metric", "recipe")
                .agg(pl.col("value").mean(), n=pl.len())
                .iter_rows()
            }
            fixed = here.filter("main").row(0, named=True)
            names = {f"{fixed['metric']}@{n}": f"block {n}" for n in range(fixed["layers"] + 1)}
            names[f"{fixed['metric']}@{fixed['hidden_layer']}"] += " (scored)"
            names[f"{fixed['metric']}@dev"] = f"best on dev ({_blocks(here, fixed['metric'])})"
            recipes = [recipe for recipe in analysis.axes.recipes if (fixed["metric"], recipe) in means]
            rows = [
                (name, *(means.get((metric, recipe)) for recipe in recipes))
                for metric, name in names.items()
                if any((metric, recipe) in means for recipe in recipes)
            ]
            caption = (
                f"{target} ({fixed['metric']}; {how_compared(fixed)}), {encoder.label}, by the block whose output is "
                f"pooled, 0 being the embeddings. Mean over non-English languages and seeds."
            )
            tables.append(
                Table("blocks", caption, ("vectors", *recipes), tuple(rows), frozenset({fixed["layers"] + 1}))
            )
    return tables


def _blocks(here: pl.DataFrame, metric: str) -> str:
    """Which blocks are the best on dev, over recipes, languages and seeds."""
    best = here.filter(pl.col("metric") == f"{metric}@dev")["hidden_layer"].unique().sort().to_list()
    return f"block {', '.join(map(str, best))}"


def markdown(tables: Iterable[Table]) -> str:
    """The tables in Markdown, each under its caption."""
    parts = []
    for table in tables:
        lines = [
            _md(table.caption),
            "",
            _md_row(table.header),
            _md_row("---:" if right else "---" for right in table.numeric),
        ]
        lines += [_md_row([_md(entry) for entry in row]) for row in table.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def latex(tables: Iterable[Table]) -> str:
    """The tables in LaTeX for the package booktabs; intervals as subscripts."""
    parts = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        lines = [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{_tex_code(table.caption)}}}",
            f"\\begin{{tabular}}{{{''.join('r' if right else 'l' for right in table.numeric)}}}",
            "\\toprule",
            " & ".join(tex(name) for name in table.header) + " \\\\",
            "\\midrule",
        ]
        for i, row in enumerate(table.rows):
            if i in table.rules:
                lines.append("\\midrule")
            lines.append(" & ".join(_tex(entry) for entry in row) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "−": "$-$", "±": r"$\pm$", "…": r"\ldots{}", "\n": " ",
}  # fmt: skip


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_TEX.get(character, character) for character in text)


def _pivots(
    analysis: Analysis,
    frame: pl.DataFrame,
    name: str,
    number: Callable[[dict[str, object]], Number],
    recipes: tuple[str, ...],
) -> list[Table]:
    axes = analysis.axes
    cells = {(row["encoder"], row["target"], row["language"], row["recipe"]): number(row) for row in frame.to_dicts()}
    tables = []
    for target in axes.targets:
        for encoder in axes.encoders:
            here = {key[2:] for key in cells if key[:2] == (encoder.label, target)}
            languages = [*axes.languages[target], ZERO_SHOT, ALL_LANGUAGES]
            shown = [language for language in languages if any((language, recipe) in here for recipe in recipes)]
            columns = [recipe for recipe in recipes if any((language, recipe) in here for language in shown)]
            if not here:
                continue
            rows = tuple(
                (language, *(cells.get((encoder.label, target, language, recipe)) for recipe in columns))
                for language in shown
            )
            means = [i for i, language in enumerate(shown) if language in (ZERO_SHOT, ALL_LANGUAGES)]
            vectors = axes.vectors.get((encoder.label, target))
            caption = (
                f"{target} ({axes.metrics[target]}{f'; {vectors}' if vectors else ''}), {encoder.label}, "
                f"{encoder.size} parameters without embeddings"
            )
            tables.append(Table(name, caption, ("language", *columns), rows, frozenset(means[:1])))
    return tables


def _captioned(table: Table, caption: str) -> Table:
    return Table(table.name, caption, table.header, table.rows, table.rules)


def _number(row: dict[str, object], of: str, marked: bool, sign: bool) -> Number:
    def real(name: str) -> float | None:
        value = row[name]
        return value if isinstance(value, float) else None

    note = f"{row['n_seeds']} seed{'' if row['n_seeds'] == 1 else 's'}"
    if "n" in row:
        note += f", {row['n']:,} examples"
    if row["covers"] == "examples":
        note += "; the interval covers examples only"
    return Number(real(of) or 0.0, real("low"), real("high"), marked, sign, note)


def _md_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _md(entry: Entry) -> str:
    if entry is None:
        return ""
    if isinstance(entry, str):
        return entry.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
    value = f"**{entry.text}**" if entry.marked else entry.text
    return f"{value} ± {entry.half_width}" if entry.half_width else value


def _tex(entry: Entry) -> str:
    if entry is None:
        return ""
    if isinstance(entry, str):
        return tex(entry)
    value = entry.text.replace("−", "-")
    value = f"\\mathbf{{{value}}}" if entry.marked else value
    return f"${value}_{{\\pm {entry.half_width}}}$" if entry.half_width else f"${value}$"


def _tex_code(text: str) -> str:
    """A caption, with `code` in typewriter."""
    return "".join(f"\\texttt{{{tex(part)}}}" if i % 2 else tex(part) for i, part in enumerate(text.split("`")))
