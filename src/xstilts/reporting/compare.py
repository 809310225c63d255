"""Studies side by side: the gains that they share, over the same languages, and how their settings differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from xstilts.analysis.analyse import Analysis, analyse
from xstilts.analysis.axes import ENGLISH, NONE, ZERO_SHOT
from xstilts.analysis.results import Results
from xstilts.analysis.size import ALL, TOO_FEW
from xstilts.analysis.size_words import per
from xstilts.common.errors import UserError
from xstilts.reporting.charts import side_by_side
from xstilts.reporting.drawing import Chart, listed
from xstilts.reporting.table import Entry, Number, Table, shortened
from xstilts.reporting.tables import by_scale, gain_number, size_numbers
from xstilts.reporting.write import CELLS, environment, publish, write_charts, write_tables

#: Keys of a study file that do not bear on gains, or that the comparison has rows of its own for.
_NOT_SETTINGS = frozenset({"name", "description", "recipes", "targets", "encoders", "seeds"})


@dataclass(frozen=True)
class Comparison:
    """What studies have in common: each one's analysis of ``targets``, over the same languages and recipes."""

    studies: tuple[Results, ...]
    analyses: tuple[Analysis, ...]
    targets: tuple[str, ...]
    recipes: tuple[str, ...]  # without `none`
    languages: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]  # what could not be compared, a sentence each

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(study.name for study in self.studies)


def compare(studies: Sequence[Results]) -> Comparison:
    """Analyse what all ``studies`` share. Raises UserError where they share nothing that is comparable."""
    names = [study.name for study in studies]
    if len(studies) < 2:
        raise UserError("--compare needs at least two studies")
    if len(set(names)) < len(names):
        raise UserError(f"two studies have the same name, of {listed(names)}: give one another `name`")
    mains = [study.scores.filter("main") for study in studies]
    shared = _shared(mains, "target")
    if not shared:
        raise UserError(f"{listed(names)}: not comparable, no target has scores in all of them")
    reasons = {target: _differs(target, studies, mains) for target in shared}
    targets = tuple(target for target in shared if not reasons[target])
    left_out = [f"{target}: not comparable, {reason}" for target, reason in reasons.items() if reason]
    if not targets:
        raise UserError(f"{listed(names)}: not comparable: {'; '.join(left_out)}")
    recipes = _shared(mains, "recipe")
    if NONE not in recipes or len(recipes) < 2:
        raise UserError(f"{listed(names)}: not comparable, they share no recipe besides `{NONE}` with its scores")
    left_out += _only_some(studies, mains, "target", shared) + _only_some(studies, mains, "recipe", recipes)
    languages = {
        target: tuple(_shared([main.filter(pl.col("target") == target) for main in mains], "language"))
        for target in targets
    }
    cut = tuple(_restricted(study, languages, recipes) for study in studies)
    others = tuple(recipe for recipe in recipes if recipe != NONE)
    return Comparison(cut, tuple(analyse(study) for study in cut), targets, others, languages, tuple(left_out))


def write_comparison(found: Comparison, out: Path) -> Path:
    """Write report.html, charts/ and tables/ to ``out``, and return the page's path."""
    charts = [chart for target in found.targets if (chart := _chart(found, target))]
    settings, gains, sizes = settings_table(found), gains_table(found), _sizes_table(found)
    frames = {name: _stacked(found, name) for name in ("gains", "sizes")}
    tables = {"settings": (_frame(settings), [settings]), "gains": (frames["gains"], [gains])}
    if sizes.rows:
        tables["sizes"] = (frames["sizes"], [sizes])

    def write(new: Path) -> None:
        write_charts(charts, new)
        write_tables(tables, new)
        template = environment().get_template("compare.html.j2")
        (new / "report.html").write_text(
            template.render(
                found=found,
                charts=charts,
                differing=settings if settings.rows else None,
                gains=shortened([gains], CELLS)[0][0],
                sizes=shortened([sizes], CELLS)[0][0] if sizes.rows else None,
                answers=[
                    (of.name, analysis.answer) for of, analysis in zip(found.studies, found.analyses, strict=True)
                ],
            ),
            encoding="utf-8",
        )

    return publish(out, write)


def settings_table(found: Comparison) -> Table:
    """The settings in which the studies differ, a row each."""
    rows = []
    for setting, values in _settings(found).items():
        if len(set(values)) > 1:
            rows.append((setting, *values))
    return Table(
        "settings",
        "Settings in which the studies differ; a difference between their gains may come from any of them.",
        ("setting", *found.names),
        tuple(rows),
        texts=frozenset(range(1, len(found.names) + 1)),
    )


def gains_table(found: Comparison) -> Table:
    """Gains by target and recipe, a column for each study and encoder."""
    sides = _sides(found)
    cells: dict[tuple[str, str, str], Number] = {}
    for who, frame in sides.items():
        for row in frame.iter_rows(named=True):
            cells[row["target"], row["recipe"], who] = gain_number(row)
    rows: list[tuple[Entry, ...]] = []
    rules = set()
    for target in found.targets:
        rules.add(len(rows))
        rows += [
            (target, recipe, *(cells.get((target, recipe, who)) for who in sides))
            for recipe in found.recipes
            if any((target, recipe, who) in cells for who in sides)
        ]
    over: dict[str, list[str]] = {}
    for target in found.targets:
        over.setdefault(listed([code for code in found.languages[target] if code != ENGLISH]), []).append(target)
    spread = "; ".join(f"{listed(targets)}: {languages}" for languages, targets in over.items())
    caption = (
        "Gain over `none` in points by study and encoder, mean over the non-English languages that all studies have "
        f"({spread}), ± half the 95 % interval; bold: helps or hurts (Holm-corrected p < 0.05)."
    )
    computed = [listed(study.scores["precision"].drop_nulls().unique().sort().to_list()) for study in found.studies]
    if len(set(computed)) > 1:
        by_study = [f"{what} ({name})" for what, name in zip(computed, found.names, strict=True)]
        caption += f" Computed in {'; '.join(by_study)}."
    return Table("gains", caption, ("target", "recipe", *sides), tuple(rows), frozenset(rules))


def _sizes_table(found: Comparison) -> Table:
    frame = _stacked(found, "sizes").filter(pl.col("slope").is_not_null(), pl.col("verdict") != TOO_FEW)
    rows: list[tuple[Entry, ...]] = []
    # Side by side are rows of the same target and recipe, in the order of the first study's table.
    for _, same in frame.filter(estimate=ALL).group_by("target", "recipe", maintain_order=True):
        for of_scales in by_scale(same):
            row = of_scales[0]
            names = (row["target"], row["recipe"], row["study"], row["family"])
            rows.append((*names, str(row["n_sizes"]), per(row)[1], *size_numbers(of_scales), row["verdict"]))
    rules = frozenset(i for i in range(1, len(rows)) if rows[i][:2] != rows[i - 1][:2])
    return Table(
        "sizes",
        "Change of the gain over `none` with parameters without embeddings, in points, in % of the remaining error, "
        "and in logits, ± half the 95 % interval for encoders like these; bold: told from 0.",
        ("target", "recipe", "study", "encoders", "sizes", "over", "points", "error", "logit", "with size"),
        tuple(rows),
        rules,
    )


def _chart(found: Comparison, target: str) -> Chart | None:
    parts = [
        frame.filter(pl.col("target") == target).with_columns(who=pl.lit(who)) for who, frame in _sides(found).items()
    ]
    return side_by_side(pl.concat(parts), target, found.recipes) if parts else None


def _sides(found: Comparison) -> dict[str, pl.DataFrame]:
    """Each study's gains on each of its pretrained encoders, under `study: encoder`."""
    sides = {}
    for name, analysis in zip(found.names, found.analyses, strict=True):
        rows = analysis.gains.filter(pl.col("language") == ZERO_SHOT, pl.col("gain").is_not_null())
        for encoder in analysis.axes.encoders:
            here = rows.filter(pl.col("encoder") == encoder.label)
            if here.height and not encoder.random:
                sides[f"{name}: {encoder.label}"] = here
    return sides


def _stacked(found: Comparison, table: str) -> pl.DataFrame:
    """The analyses' tables one under the other, with the study's name."""
    frames = [
        getattr(analysis, table).select(pl.lit(name).alias("study"), pl.all())
        for name, analysis in zip(found.names, found.analyses, strict=True)
    ]
    return pl.concat(frames)


def _settings(found: Comparison) -> dict[str, list[str]]:
    """What bears on the gains, by study: from the scores, and from the study files."""
    rows: dict[str, list[str]] = {}
    files = [_flat(study.study.content()) for study in found.studies]
    mains = [study.scores.filter("main") for study in found.studies]
    rows["encoders"] = [
        listed([e.label for e in analysis.axes.encoders if not e.random]) for analysis in found.analyses
    ]
    rows["seeds"] = [
        f"{len(analysis.axes.seeds)} ({listed(list(map(str, analysis.axes.seeds)))})" for analysis in found.analyses
    ]
    for name in ("preset", "precision"):
        rows[name] = [listed(main[name].drop_nulls().unique().sort().to_list()) for main in mains]
    for target in found.targets:
        here = [main.filter(pl.col("target") == target) for main in mains]
        rows[f"examples a language, {target}"] = [_span(main["n"]) for main in here]
        rows[f"vectors compared, {target}"] = [
            listed(sorted({of for (_, name), of in analysis.axes.vectors.items() if name == target}))
            for analysis in found.analyses
        ]
    for key in dict.fromkeys(key for file in files for key in file):
        if key.split(".")[0] not in {*_NOT_SETTINGS, "preset"}:
            rows[key] = [file.get(key, "by default") for file in files]
    for library in ("torch", "transformers", "xstilts"):
        rows[library] = [study.versions.get(library, "unknown") for study in found.studies]
    return rows


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings by dotted names."""
    found: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = (
                yaml.safe_dump(value, default_flow_style=True, width=1000).split("\n...")[0].strip()
            )
    return found


def _differs(target: str, studies: Sequence[Results], mains: Sequence[pl.DataFrame]) -> str:
    """Why a target's scores cannot be compared over the studies; empty where they can."""
    for column in ("metric", "split", "format"):
        values = [listed(main.filter(pl.col("target") == target)[column].unique().sort().to_list()) for main in mains]
        if len(set(values)) > 1:
            return f"its {column} differs ({' / '.join(values)})"
    languages = _shared([main.filter(pl.col("target") == target) for main in mains], "language")
    if not set(languages) - {ENGLISH}:
        return "the studies share no non-English language of it"
    prints = [
        {
            row["language"]: row["fingerprint"]
            for row in study.data.filter(pl.col("task") == target, pl.col("use") == "evaluation").iter_rows(named=True)
        }
        for study in studies
    ]
    other = [code for code in languages if len({found[code] for found in prints if code in found}) > 1]
    return f"its evaluation data differ ({listed(other)})" if other else ""


def _only_some(
    studies: Sequence[Results], mains: Sequence[pl.DataFrame], column: str, shared: Sequence[str]
) -> list[str]:
    """A sentence for each study that has targets or recipes that not all have."""
    found = []
    for study, main in zip(studies, mains, strict=True):
        own = [name for name in main[column].unique(maintain_order=True) if name not in shared]
        if own:
            found.append(f"{study.name}: {listed(own)} left out, a {column} that not all studies have")
    return found


def _shared(mains: Sequence[pl.DataFrame], column: str) -> list[str]:
    """What all of the tables have in a column, in the order of the first."""
    in_all = set.intersection(*(set(main[column]) for main in mains))
    return [name for name in mains[0][column].unique(maintain_order=True) if name in in_all]


def _restricted(study: Results, languages: Mapping[str, Sequence[str]], recipes: Sequence[str]) -> Results:
    pairs = pl.DataFrame(
        [(target, language) for target, codes in languages.items() for language in codes],
        schema={"target": pl.String, "language": pl.String},
        orient="row",
    )

    def kept(frame: pl.DataFrame) -> pl.DataFrame:
        within = frame.join(pairs, on=["target", "language"], how="semi", maintain_order="left")
        return within.filter(pl.col("recipe").is_in(list(recipes)))

    return replace(study, scores=kept(study.scores), outcomes=kept(study.outcomes))


def _span(numbers: pl.Series) -> str:
    low, high = int(numbers.to_numpy().min()), int(numbers.to_numpy().max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _frame(table: Table) -> pl.DataFrame:
    return pl.DataFrame(list(table.rows), schema={name: pl.String for name in table.header}, orient="row")
