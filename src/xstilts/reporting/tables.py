"""Which tables a report has. The CSV files hold the frames as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from xstilts.analysis.analyse import Analysis
from xstilts.analysis.answer import counted, signed
from xstilts.analysis.axes import ALL_LANGUAGES, ENGLISH, NONE, ZERO_SHOT, how_compared, millions
from xstilts.analysis.claims import EVIDENCE, SETUP, Verdict
from xstilts.analysis.claims import table as table_of_claims
from xstilts.analysis.comparisons import ABOVE, BELOW, HELPS, HURTS
from xstilts.analysis.intervals import EQUIVALENCE_MARGIN
from xstilts.analysis.results import Results
from xstilts.analysis.scales import SCALES
from xstilts.analysis.size import LEARNT, sign_of
from xstilts.analysis.size_words import per
from xstilts.reporting.paper_table import paper_table
from xstilts.reporting.table import LABELLED, Entry, Number, Table

#: Verdicts that stand in bold.
MARKED = (HELPS, HURTS, ABOVE, BELOW)
_MARKED = (
    "bold: the non-English mean helps or hurts (Holm-corrected p < 0.05); of a language, and of the mean over all, the "
    "95 % interval excludes 0, not corrected: about one in twenty does by chance"
)
_GAIN = "gain over `none` in points, paired by seed and example, ± half the 95 % interval"

MARGIN = f"{EQUIVALENCE_MARGIN:g} {'point' if EQUIVALENCE_MARGIN == 1 else 'points'}"
#: How the intervals and verdicts of the tables are made.
INTERVALS = (
    "Gains are a recipe's score minus that of `none`, same encoder, target and language, paired by seed and "
    "example. The standard error is that of seeds and examples crossed (bootstrap over the examples); 95 % "
    "intervals are Student's t with Satterthwaite's degrees of freedom, not corrected for their number. "
    "Languages, recipes and targets are fixed: what is said holds for these. With one seed intervals cover "
    "examples only, and nothing is judged; nor is it where a model collapsed, or nothing varies. A mean over the "
    "non-English languages helps or hurts where its p-value is below 0.05 after Holm's correction for the number "
    f"of such means. “No effect”: less than {MARGIN} either way, corrected likewise; “no evidence”: neither."
)


def all_tables(
    results: Results, analysis: Analysis, claims: Sequence[Verdict]
) -> dict[str, tuple[pl.DataFrame, list[Table]]]:
    """Name → the frame of its CSV file, and its tables."""
    always = {
        "scores": (analysis.scores, scores_tables(analysis)),
        "gains": (analysis.gains, gains_tables(analysis)),
        "comparisons": (_zero_shot(analysis.gains), [comparisons_table(analysis)]),
        "sizes": (analysis.sizes, [sizes_table(analysis.sizes)]),
    }
    where_there_are_rows = {
        "choices": (analysis.choices, choices_table),
        "learnt": (analysis.learnt, learnt_table),
        "gaps": (analysis.gaps, gaps_table),
        "averaging": (_zero_shot(analysis.averaging), averaging_table),
    }
    found = always | {
        name: (frame, [table(frame)]) for name, (frame, table) in where_there_are_rows.items() if frame.height
    }
    if analysis.axes.targets:
        paper = paper_table(results, analysis)
        found["paper"] = (paper.frame, list(paper.panels))
    by_block = results.scores.filter(pl.col("hidden_layer").is_not_null())  # retrieval and mining
    if by_block.height:
        found["blocks"] = (by_block, blocks_tables(analysis, by_block))
    if claims:
        found["claims"] = (claims_frame(claims), claims_tables(claims))
    return found


def comparisons_table(analysis: Analysis) -> Table:
    """Every zero-shot gain with its interval and tests, a row each."""
    frame = _zero_shot(analysis.gains)
    tests = [name for name in _TESTS if name in frame.columns]
    order = {target: i for i, target in enumerate(analysis.axes.targets)}
    rows: list[tuple[Entry, ...]] = []
    rules = set()
    for row in sorted(frame.to_dicts(), key=lambda row: order[row["target"]]):
        if rows and rows[-1][0] != row["target"]:
            rules.add(len(rows))
        gain = gain_number(row)
        low, high = (None if row[end] is None else Number(row[end], sign=True) for end in ("low", "high"))
        numbers = (None if row[name] is None else Number(row[name], digits=_TESTS[name][1]) for name in tests)
        names = (row["target"], row["encoder"], marked_recipe(row), said_verdict(row))
        rows.append((*names, replace(gain, low=None, high=None), low, high, *numbers))
    header = ("target", "encoder", "recipe", "verdict", "gain", "low", "high", *(_TESTS[name][0] for name in tests))
    said = f"; {'; '.join(_TESTS[name][2] for name in tests)}" if tests else ""
    caption = (
        "Gain over `none` in points, mean over the non-English languages, paired by seed and example, with its 95 % "
        f"interval; {_basis(frame, 'a target')}{said}.{said_labelled(frame)}"
    )
    return Table("comparisons", caption, header, tuple(rows), frozenset(rules))


#: Columns of the tests: how they are called, how many digits are printed, and what they are.
_TESTS = {
    "p": ("p", 3, "p: two-sided"),
    "p_holm": ("Holm p", 3, "Holm p: corrected for the number of comparisons that are judged, of which the verdict is"),
    "mde": ("detectable", 1, "detectable: the smallest gain that this corrected test finds with 80 % power"),
    "equivalence_p_holm": ("p of no effect", 3, "p of no effect: of the equivalence test, corrected likewise"),
}


def said_verdict(row: Mapping[str, object]) -> str:
    """The verdict of a row of GAINS_SCHEMA, with the reason where there is none."""
    return f"{row['verdict']}: {row['reason']}" if row["reason"] else str(row["verdict"])


def scores_tables(analysis: Analysis) -> list[Table]:
    """Mean over seeds by language and recipe: one table for each target and encoder."""
    marks = set(
        analysis.gains.filter(pl.col("verdict").is_in(MARKED))
        .select("encoder", "recipe", "target", "language")
        .iter_rows()
    )

    def number(row: dict[str, object]) -> Number:
        key = (row["encoder"], row["recipe"], row["target"], row["language"])
        return _number(row, "value", marked=key in marks, sign=False)

    said = "Mean over seeds, ± half the 95 % interval"
    return _pivots(analysis, _shown(analysis.scores, "value"), "scores", number, analysis.axes.recipes, said)


def gains_tables(analysis: Analysis) -> list[Table]:
    """Gains over `none` by language and recipe: one table for each target and encoder."""
    recipes = tuple(recipe for recipe in analysis.axes.recipes if recipe != NONE)
    said = _GAIN[0].upper() + _GAIN[1:]
    return _pivots(analysis, _shown(analysis.gains, "gain"), "gains", gain_number, recipes, said)


def sizes_table(sizes: pl.DataFrame) -> Table:
    """How the zero-shot gain changes with size on each scale, for each target, family and recipe (SIZES_SCHEMA)."""
    rows: list[tuple[Entry, ...]] = []
    rules = set()
    several = sizes["estimate"].n_unique() > 1
    for of_scales in by_scale(sizes):
        row = of_scales[0]
        if rows and rows[-1][0] != row["target"]:
            rules.add(len(rows))
        recipe = f"{row['recipe']}, learnt" if row["estimate"] == LEARNT else row["recipe"]
        span = f"{row['n_sizes']} ({millions(row['smallest'])} to {millions(row['largest'])})"
        verdict = row["verdict"] + (" (family and size mixed)" if row["confounded"] else "")
        factor, _ = per(row)
        these, new = (
            None if row[f"{name}_low"] is None else
            f"{signed(by * row[f'{name}_low'])} to {signed(by * row[f'{name}_high'])}"
            for name, by in (("these", factor), ("new", 1.0))
        )  # fmt: skip
        deviation, fit_p = (
            None if row[name] is None else Number(row[name], digits=digits)
            for name, digits in (("deviation", 1), ("fit_p", 3))
        )
        rows.append((row["target"], row["family"], recipe, span, *size_numbers(of_scales), these or "", deviation,
                     fit_p, new or "", verdict))  # fmt: skip
    seeds = _range(sizes["n_seeds"], "seed") if rows else ""
    learnt = "; learnt: of the intermediate trainings that were learnt" if several else ""
    return Table(
        "sizes",
        f"Change of the gain over `none` (non-English mean) {_over(sizes)}, ± half the 95 % interval for "
        "encoders like these: in points, in % of the remaining error, and in logits; bold: told from 0. These only: "
        "the interval for these encoders, in points. Deviation: SD of an encoder's true gain from the line, in points. "
        "Fit p: of all lying on it. New encoder: where the true gain of one that was not seen is expected, in points, "
        "halfway between smallest and largest. Where fit p is near 1, few sizes lie on a line by luck, and intervals "
        f"for others than these are too narrow for once; {seeds}{learnt}.",
        ("target", "encoders", "recipe", "sizes", "points", "error", "logit", "these only", "deviation", "fit p",
         "new encoder", "with size"),
        tuple(rows),
        frozenset(rules),
    )  # fmt: skip


def by_scale(sizes: pl.DataFrame) -> list[list[dict[str, Any]]]:
    """The rows of SIZES_SCHEMA, those that differ in the scale alone together."""
    what = [name for name in ("study", "family", "recipe", "target", "estimate") if name in sizes.columns]
    return [rows.to_dicts() for rows in sizes.partition_by(what, maintain_order=True)]


def size_numbers(of_scales: Sequence[dict[str, Any]]) -> list[Number | None]:
    """The change with size on each scale."""
    found: list[Number | None] = []
    for row, scale in zip(of_scales, SCALES, strict=True):
        factor, words = per(row)
        low, high = (None if row[end] is None else factor * row[end] for end in ("low", "high"))
        note = f"{words}; {row['n_encoders']} encoders, {counted(row['n_seeds'], 'seed')}"
        marked = row["low"] is not None and sign_of(row) != 0
        found.append(None if row["slope"] is None
                     else Number(factor * row["slope"], low, high, marked, True, note, scale.digits))  # fmt: skip
    return found


def _over(sizes: pl.DataFrame) -> str:
    """What the slopes of the rows are told over."""
    tenfold = {per(row)[0] == 1 for row in sizes.iter_rows(named=True)}
    return {
        frozenset({True}): "per tenfold parameters without embeddings",
        frozenset({False}): "from the smallest to the largest encoder",
    }.get(frozenset(tenfold), "per tenfold parameters without embeddings, or over the range where it is less")


def learnt_table(frame: pl.DataFrame) -> Table:
    """Which intermediate trainings were learnt."""
    said = {True: "learnt", False: "not learnt", None: "not known"}
    rows = tuple(
        (row["encoder"], row["recipe"], f"{row['n_learnt']} of {row['n_seeds']}", said[row["learnt"]])
        for row in frame.iter_rows(named=True)
    )
    rules = frozenset(i for i in range(1, len(rows)) if rows[i][0] != rows[i - 1][0])
    return Table(
        "learnt",
        "Intermediate trainings that were learnt: English dev score more than 1 point above predictions that read "
        "nothing, of SQuAD v2.0 and its like on the questions that have an answer; it is if all seeds are.",
        ("encoder", "recipe", "seeds", "training"),
        rows,
        rules,
    )


def choices_table(frame: pl.DataFrame) -> Table:
    """The recipe that dev chose for each encoder and target, what that gains on test, and what hindsight would have."""
    rows: list[tuple[Entry, ...]] = []
    rules = set()
    order = {encoder: i for i, encoder in enumerate(frame["encoder"].unique(maintain_order=True))}
    for row in sorted(frame.to_dicts(), key=lambda row: order[row["encoder"]]):
        if rows and rows[-1][0] != row["encoder"]:
            rules.add(len(rows))
        gain: Entry = row["reason"]
        if row["gain"] is not None:
            note = "; ".join(filter(None, (counted(row["n_seeds"], "seed"), row["reason"])))
            gain = Number(row["gain"], row["low"], row["high"], _excludes_zero(row), True, note)
        plain = (None if row[name] is None else Number(row[name]) for name in ("dev_score", "none_score", "score"))
        same, optimism, best, regret = (
            None if row[of] is None else Number(row[of], sign=True)
            for of in ("same_seeds", "optimism", "best_gain", "regret")
        )
        rows.append(
            (row["encoder"], row["target"], row["chosen"], *plain, gain, same, optimism, row["best"], best, regret)
        )
    return Table(
        "choices",
        "The recipe chosen on English dev by all seeds: its dev score; the test scores of `none` and of the chosen, "
        "mean over the non-English languages. Gain: each seed in turn is left out, the others choose, and it scores, "
        "± half the 95 % interval; optimism: what the gain would seem to be more if the same seeds chose and scored; "
        "regret: what the best recipe in hindsight, by the test scores, has above the chosen one; "
        f"{_range(frame['n_seeds'], 'seed')}; bold: the interval excludes 0, not corrected.",
        ("encoder", "target", "chosen", "dev", "none, test", "chosen, test", "gain", "gain, same seeds", "optimism",
         "best in hindsight", "best gain", "regret"),
        tuple(rows),
        frozenset(rules),
    )  # fmt: skip


def gaps_table(frame: pl.DataFrame) -> Table:
    """The cross-lingual gap of each encoder, recipe and target."""
    rows: list[tuple[Entry, ...]] = []
    rules = set()
    for row in frame.sort("target", "encoder", maintain_order=True).iter_rows(named=True):
        if rows and rows[-1][:2] != (row["target"], row["encoder"]):
            rules.add(len(rows))
        plain = (None if row[of] is None else Number(row[of]) for of in ("english", "zero_shot"))
        gap = None if row["gap"] is None else Number(row["gap"], row["low"], row["high"], _excludes_zero(row), True)
        rows.append((row["target"], row["encoder"], marked_recipe(row), *plain, gap))
    return Table(
        "gaps",
        "Cross-lingual gap: the English score less the mean over the non-English languages, in points, ± half the 95 % "
        f"interval; bold: the interval excludes 0.{said_labelled(frame)}",
        ("target", "encoder", "recipe", "English", "non-English", "gap"),
        tuple(rows),
        frozenset(rules),
    )


def averaging_table(frame: pl.DataFrame) -> Table:
    """What averaged models gain over the models that they are made of."""
    names = ("target", "encoder", "recipe")
    rows = tuple((row["target"], row["encoder"], marked_recipe(row), gain_number(row), said_verdict(row))
                 for row in frame.to_dicts())  # fmt: skip
    return Table(
        "averaging",
        "Models with averaged weights: points over the plain models of the same recipe, mean over the non-English "
        "languages, ± half the 95 % interval; a mean over seeds, which is one model, against the mean score of all "
        f"seeds, its interval over examples only.{said_labelled(frame)}",
        (*names, "gain", "verdict"),
        rows,
    )


def claims_tables(claims: Sequence[Verdict]) -> list[Table]:
    """What was claimed, and what the study says of it; apart, what is said of catalog, data and set-up."""
    captions = {
        EVIDENCE: "Claims of effects, and what this study says of each: supported, contradicted, undecided, not "
        "tested, or not comparable, for what it estimates is not what is claimed.",
        SETUP: "Setup: what is said of the catalog, the data and how studies are made. No evidence of any effect.",
    }
    columns = ("claim", "verdict", "statement", "evidence", "source")
    frame = claims_frame(claims)
    return [
        Table("claims", caption, columns, tuple(own.select(columns).iter_rows()), texts=frozenset({2, 3}))
        for group, caption in captions.items()
        if (own := frame.filter(group=group)).height
    ]


def claims_frame(claims: Sequence[Verdict]) -> pl.DataFrame:
    return table_of_claims(claims).rename({"id": "claim"})


def marked_recipe(row: Mapping[str, Any]) -> str:
    """The recipe of a row, with a sign where its models were given labelled data beyond English."""
    return f"{row['recipe']} {LABELLED}" if row["beyond_english"] else str(row["recipe"])


def said_labelled(frame: pl.DataFrame) -> str:
    """What that sign means, where a row has it."""
    languages = sorted({one for joined in frame["beyond_english"].drop_nulls() for one in joined.split("+")})
    return f" {LABELLED}: NOT zero-shot, with labelled data in {', '.join(languages)}." if languages else ""


def gain_number(row: dict[str, object]) -> Number:
    """A row of GAINS_SCHEMA as a number, bold where it is shown to help or hurt."""
    return _number(row, "gain", marked=row["verdict"] in MARKED, sign=True)


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


def _pivots(
    analysis: Analysis,
    frame: pl.DataFrame,
    name: str,
    number: Callable[[dict[str, object]], Number],
    recipes: tuple[str, ...],
    said: str,
) -> list[Table]:
    """Languages × recipes, a table for each target and encoder; ``said`` is what the numbers are."""
    axes = analysis.axes
    tables = []
    for (target, label), here in _by(frame, "target", "encoder"):
        cells = {(row["language"], row["recipe"]): number(row) for row in here.to_dicts()}
        languages = [*axes.languages[target], ZERO_SHOT, ALL_LANGUAGES]
        shown = [language for language in languages if any((language, recipe) in cells for recipe in recipes)]
        columns = [recipe for recipe in recipes if any((language, recipe) in cells for language in shown)]
        rows = tuple((language, *(cells.get((language, recipe)) for recipe in columns)) for language in shown)
        means = frozenset(i for i, language in enumerate(shown) if language in (ZERO_SHOT, ALL_LANGUAGES))
        vectors = axes.vectors.get((label, target))
        single = here.filter(pl.col("language").is_in(axes.languages[target]))
        caption = (
            f"{target} ({axes.metrics[target]}{f'; {vectors}' if vectors else ''}), {label}, "
            f"{axes.encoder(label).size} parameters without embeddings. {said}; {_basis(single, 'a language')}; "
            f"{_MARKED}.{said_labelled(here)}"
        )
        names = {row["recipe"]: marked_recipe(row) for row in here.to_dicts()}
        header = ("language", *(names[recipe] for recipe in columns))
        tables.append(
            (
                axes.targets.index(target),
                [encoder.label for encoder in axes.encoders].index(label),
                Table(
                    name,
                    caption,
                    header,
                    rows,
                    frozenset(sorted(means)[:1]),
                    means=means,
                ),
            )
        )
    return [table for _, _, table in sorted(tables, key=lambda entry: entry[:2])]


def _by(frame: pl.DataFrame, *names: str) -> list[tuple[tuple[str, ...], pl.DataFrame]]:
    parts = frame.partition_by(*names, as_dict=True, maintain_order=True)
    return [(tuple(map(str, key)), part) for key, part in parts.items()]


def _zero_shot(gains: pl.DataFrame) -> pl.DataFrame:
    return _shown(gains, "gain").filter(pl.col("language") == ZERO_SHOT)


def _shown(frame: pl.DataFrame, of: str) -> pl.DataFrame:
    return frame.filter(pl.col(of).is_not_null())


def _basis(frame: pl.DataFrame, per: str) -> str:
    """Seeds and examples of the rows, as `3 seeds, 240 to 250 examples on 48 texts a language`."""
    if not frame.height:
        return "no rows"
    texts = "" if frame["n"].equals(frame["n_groups"]) else f" on {_range(frame['n_groups'], 'text')}"
    return f"{_range(frame['n_seeds'], 'seed')}, {_range(frame['n'], 'example')}{texts} {per}"


def _range(numbers: pl.Series, thing: str) -> str:
    low, high = int(numbers.to_numpy().min()), int(numbers.to_numpy().max())
    return counted(low, thing) if low == high else f"{low:,} to {counted(high, thing)}"


def _excludes_zero(row: dict[str, object]) -> bool:
    low, high = row["low"], row["high"]
    return isinstance(low, float) and isinstance(high, float) and low * high > 0


def _number(row: dict[str, object], of: str, marked: bool, sign: bool) -> Number:
    def real(name: str) -> float | None:
        value = row[name]
        return value if isinstance(value, float) else None

    note = f"{row['n_seeds']} seed{'' if row['n_seeds'] == 1 else 's'}"
    if "n" in row:
        note += f", {row['n']:,} examples"
        if row["n_groups"] != row["n"]:
            note += f" on {row['n_groups']:,} texts"
    if row["covers"] == "examples":
        note += "; the interval covers examples only"
    return Number(real(of) or 0.0, real("low"), real("high"), marked, sign, note)
