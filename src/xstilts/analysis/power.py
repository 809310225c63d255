"""What a study will be able to show before it has run: half-widths of intervals, and power.

A gain varies by the training runs (SD ``run`` of one seed's gain, of which there are S), by the questions that happen
to be in the test (SD ``example``, of a test of the study's size), by both at once (``noise``: models disagree at random
on single questions), and from encoder to encoder about the line over size (SD ``encoder``). With q times the questions
its variance is

    v = (run² + noise² / q) / S + example² / q

A slope over log10 of k sizes has the standard error √((encoder² + v) / Σ (x − x̄)²), estimated with k − 2 degrees of
freedom: what is said of encoders like these has to know how they differ. A gain on one encoder has the standard error
√v, of which each side, the recipe and `none`, estimates the share of its own runs with S − 1 degrees of freedom; the
share of the questions counts as known (`xstilts.analysis.crossed`).

The half-width is that which half of such studies stay below; it and the power of the two-sided t test are taken over
what the standard error may be estimated as, by quantiles of χ² (for slopes that is the noncentral t distribution of
Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences"). Power of gains is at Holm's first step, 0.05 over
the number of comparisons, and so the least that a gain can have; slopes are not corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl
from scipy import stats

from xstilts.analysis.axes import Axes, SizedEncoder, axes
from xstilts.analysis.bootstrap import resample
from xstilts.analysis.comparisons import ALPHA
from xstilts.analysis.crossed import BySeed, covariance, mean_of
from xstilts.analysis.intervals import LEVEL
from xstilts.analysis.meta_regression import fit
from xstilts.analysis.results import Results
from xstilts.analysis.scales import POINTS
from xstilts.analysis.size import ENOUGH_SIZES, READING, SizeCell, common_languages, groups, sides_in
from xstilts.common.arrays import Floats
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, EncoderFacts
from xstilts.encoders.families import look_up
from xstilts.planning.plan import Plan
from xstilts.planning.planner import make_plan
from xstilts.planning.recipe import NONE
from xstilts.planning.study import EncoderEntry, Study
from xstilts.tasks import formats

#: Effects whose power is told: points of gain, and points of gain per tenfold size.
EFFECTS = (1.0, 2.0, 4.0)

#: The outcome that stated deviations are of.
EVERY_TARGET = "every target"

POWER_SCHEMA: dict[str, type[pl.DataType]] = {
    "of": pl.String,  # gain | slope
    "outcome": pl.String,  # a target, `reading comprehension`, or `every target`
    "sizes": pl.Int64,
    "seeds": pl.Int64,
    "questions": pl.Float64,  # times the study's
    "half_width": pl.Float64,  # points, or points per tenfold size; null where nothing can be shown
    **{f"power_{effect:g}": pl.Float64 for effect in EFFECTS},
}

CHANGES_SCHEMA: dict[str, type[pl.DataType]] = {
    "change": pl.String,
    "flops": pl.Float64,  # that it adds
    "share": pl.Float64,  # of what the study takes
    "gain": pl.Float64,  # half-width of a gain with it, points, mean over outcomes
    "gain_bought": pl.Float64,  # points by which that is less, for each percent of compute
    "slope": pl.Float64,  # of a slope
    "slope_bought": pl.Float64,
}


@dataclass(frozen=True)
class Deviations:
    """Standard deviations of a gain, in points; see the module. ``encoder`` is None where nothing tells it."""

    run: float
    example: float
    noise: float = 0.0
    encoder: float | None = None

    def of_runs(self, seeds: int, questions: float = 1.0) -> float:
        """The variance that runs make in the mean over ``seeds``."""
        return (self.run**2 + self.noise**2 / questions) / seeds

    def variance(self, seeds: int, questions: float = 1.0) -> float:
        return self.of_runs(seeds, questions) + self.example**2 / questions


@dataclass(frozen=True)
class Precision:
    """Of an estimate: its standard error, and what that is ``estimated`` as, with which degrees of freedom, in studies
    that are equally likely [studies].
    """

    error: float
    estimated: Floats
    freedom: Floats

    @property
    def half_width(self) -> float:
        """Of the 95 % interval, the median over studies."""
        return float(np.median(self._critical(1 - LEVEL)))

    def power(self, effect: float, alpha: float = ALPHA) -> float:
        """The probability that the test tells an effect of this size from 0."""
        if not self.error:
            return float(effect != 0)
        critical = self._critical(alpha)
        above, below = (critical - effect) / self.error, (-critical - effect) / self.error
        return float(np.mean(stats.norm.sf(above) + stats.norm.cdf(below)))

    def _critical(self, alpha: float) -> Floats:
        return np.asarray(stats.t.ppf(1 - alpha / 2, self.freedom) * self.estimated)


def of_gain(deviations: Deviations, seeds: int, questions: float = 1.0) -> Precision | None:
    """Of the gain of a recipe on one encoder; None with one seed, by which nothing is shown."""
    if seeds < 2:
        return None
    of_runs, variance = deviations.of_runs(seeds, questions), deviations.variance(seeds, questions)
    side = of_runs / 2 * _relative(seeds - 1, 60)
    own, other = (part.ravel() for part in np.meshgrid(side, side))
    estimated = variance - of_runs + own + other
    squares = (own**2 + other**2) / (seeds - 1)
    freedom = np.divide(estimated**2, squares, out=np.full_like(squares, np.inf), where=squares > 0)
    return Precision(float(np.sqrt(variance)), np.sqrt(estimated), freedom)


def of_slope(deviations: Deviations, parameters: Sequence[int], seeds: int, questions: float = 1.0) -> Precision | None:
    """Of the slope of the gain over log10 of ``parameters``, one an encoder; None where nothing identifies it."""
    if deviations.encoder is None or len(set(parameters)) < ENOUGH_SIZES:
        return None
    size, freedom = np.log10(np.asarray(parameters, dtype=np.float64)), len(parameters) - 2
    each = deviations.encoder**2 + deviations.variance(seeds, questions)
    error = float(np.sqrt(each / ((size - size.mean()) ** 2).sum()))
    return Precision(error, error * np.sqrt(_relative(freedom, 2001)), np.full(2001, float(freedom)))


def _relative(freedom: int, n: int) -> Floats:
    """What a variance is estimated as with so many degrees of freedom, over itself: ``n`` values, equally likely."""
    return np.asarray(stats.chi2.ppf((np.arange(n) + 0.5) / n, freedom) / freedom)


def of_pilot(results: Results, *, resamples: int = 500) -> dict[str, Deviations]:
    """The deviations that a pilot shows, of each target, and of reading comprehension where it has several of these.

    They are pooled over its pretrained encoders and its recipes. Those from encoder to encoder are the REML estimate of
    the meta-regression over size, the mean over recipes, and None with fewer than ENOUGH_SIZES sizes. Raises UserError
    where no cell has two seeds.
    """
    of = axes(results)
    languages = common_languages(results.scores, of)
    cells: dict[SizeCell, BySeed] = {}
    for block in resample(results.outcomes, resamples=resamples).blocks(of):
        cells |= {cell: sides.gain(POINTS) for cell, sides in sides_in(block, languages, of).items()}
    labelled = {recipe for recipe in of.recipes if any(of.adds_labels(recipe, target) for target in of.targets)}
    own = [recipe for recipe in of.recipes if recipe not in of.means and recipe != NONE and recipe not in labelled]
    pooled: dict[str, tuple[str, ...]] = {target: (target,) for target in of.targets}
    if len(of.span_targets) > 1:
        pooled[READING] = of.span_targets
    found = {}
    for outcome, targets in pooled.items():
        gains: dict[tuple[SizedEncoder, str], BySeed] = {}
        for encoder in (one for one in of.encoders if not one.random):
            for recipe in own:
                parts = [SizeCell(encoder.label, recipe, target) for target in targets]
                if all(part in cells for part in parts):
                    gains[encoder, recipe] = mean_of([cells[part] for part in parts])
        if deviations := _deviations(gains, of, own):
            found[outcome] = deviations
    if not found:
        raise UserError(
            f"{results.name}: no gain of two seeds or more, so that nothing tells how runs vary; run more seeds, or "
            f"say --run-sd and --example-sd"
        )
    return found


def _deviations(
    gains: Mapping[tuple[SizedEncoder, str], BySeed], of: Axes, recipes: Sequence[str]
) -> Deviations | None:
    found = [variances for gain in gains.values() if (variances := _variances(gain)) is not None]
    return Deviations(*_roots(found), encoder=_between(gains, of, recipes)) if found else None


def deviations_of(gain: BySeed) -> Deviations | None:
    """Of one gain, by its seeds; None with a single one."""
    variances = _variances(gain)
    return None if variances is None else Deviations(*_roots([variances]))


def _variances(gain: BySeed) -> tuple[float, float, float] | None:
    """Of runs, examples and noise; estimates, which may be below 0."""
    there = ~np.isnan(gain.values)
    n = int(there.sum())
    if n < 2:
        return None
    drawn = gain.replicates[there].astype(np.float64)
    drawn = drawn[:, ~np.isnan(drawn).any(axis=0)]
    noise = float(np.var(drawn - drawn.mean(axis=0), axis=1, ddof=1).sum()) / (n - 1)
    seeds, examples = float(np.var(gain.values[there], ddof=1)), float(np.var(drawn.mean(axis=0), ddof=1))
    return seeds - noise, examples - noise / n, noise


def _roots(variances: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    run, example, noise = (float(np.sqrt(max(0.0, part))) for part in np.mean(variances, axis=0))
    return run, example, noise


def _between(gains: Mapping[tuple[SizedEncoder, str], BySeed], of: Axes, recipes: Sequence[str]) -> float | None:
    """The SD of the encoders' gains about a line over their size."""
    variances = []
    for recipe in recipes:
        chosen = sizes_of([encoder for encoder in of.encoders if (encoder, recipe) in gains])
        if len({encoder.parameters for encoder in chosen}) >= ENOUGH_SIZES:
            parts = [gains[encoder, recipe] for encoder in chosen]
            size = np.log10([encoder.parameters for encoder in chosen])
            design = np.column_stack([np.ones(len(size)), size - size.mean()])
            effects = [float(np.nanmean(part.values)) for part in parts]
            between = fit(effects, design, covariance(parts, [encoder.label for encoder in chosen]))
            variances.append(between.components[0].variance)
    return float(np.sqrt(np.mean(variances))) if variances else None


def sizes_of(encoders: Sequence[SizedEncoder]) -> tuple[SizedEncoder, ...]:
    """Of the groups of encoders that are compared over their sizes, that with the most sizes."""
    found = groups(encoders)
    return max(found, key=lambda group: len({one.parameters for one in group.encoders})).encoders if found else ()


@dataclass(frozen=True)
class Design:
    """What of a study decides its precision."""

    parameters: tuple[int, ...]  # without embeddings, of the encoders that are compared over their sizes
    seeds: int
    questions: float  # times the study's own
    comparisons: int  # gains that are tested: encoders × recipes × targets

    @property
    def sizes(self) -> int:
        return len(set(self.parameters))


@dataclass(frozen=True)
class Outlook:
    """What a study can show as it is and in designs around it."""

    design: Design
    deviations: Mapping[str, Deviations]
    power: pl.DataFrame  # POWER_SCHEMA
    changes: pl.DataFrame  # CHANGES_SCHEMA


def outlook(study: Study, deviations: Mapping[str, Deviations]) -> Outlook:
    """What ``study`` can show, given the ``deviations`` of each of its targets, or of EVERY_TARGET.

    Compute is estimated from the plans of the study and of its changes (`xstilts.planning.cost`); nothing is computed.
    """
    plan = make_plan(study, estimate=True)
    design = _design(plan)
    outcomes = _outcomes(plan, deviations)
    larger = _another_size(plan, design, outcomes)
    sets = [design.parameters, *([(*design.parameters, larger[1])] if larger else [])]
    rows = [
        _row(what, outcome, each, replace(design, parameters=parameters, seeds=seeds, questions=questions))
        for what in ("gain", "slope")
        for outcome, each in outcomes.items()
        if what == "slope" or outcome != READING
        for parameters in (sets if what == "slope" else sets[:1])
        for seeds in sorted({max(2, design.seeds - 1), design.seeds, design.seeds + 1, 2 * design.seeds})
        for questions in (1.0, 2.0)
        if what == "gain" or of_slope(each, parameters, seeds) is not None
    ]
    return Outlook(design, outcomes, pl.DataFrame(rows, schema=POWER_SCHEMA), _changes(plan, design, outcomes, larger))


def _design(plan: Plan) -> Design:
    cut = {entry.encoder for entry in plan.study.encoders if entry.encoder.is_cut}
    sized = [
        SizedEncoder(encoder.label, encoder.source, encoder not in cut, encoder.init == "random",
                     facts.parameters_without_embeddings)
        for encoder, facts in plan.facts.items()
    ]  # fmt: skip
    labelled = {recipe.name for recipe in plan.study.recipes if recipe.translated or recipe.target_training}
    tested = {(cell.encoder, cell.recipe_label, cell.target.task) for cell in plan.cells
              if cell.score and cell.recipe != NONE and cell.recipe not in labelled}  # fmt: skip
    if not tested:
        raise UserError(f"{plan.study.name}: `none` is the only recipe, or nothing is scored: there is no gain to show")
    parameters = tuple(one.parameters for one in sizes_of(sized))
    return Design(parameters, len(plan.study.seeds), 1.0, len(tested))


def _outcomes(plan: Plan, deviations: Mapping[str, Deviations]) -> dict[str, Deviations]:
    """The deviations of what the study has; those of a target that the pilot lacks are the mean of the others."""
    if EVERY_TARGET in deviations:
        return {EVERY_TARGET: deviations[EVERY_TARGET]}
    catalog = plan.study.catalog
    targets = list(dict.fromkeys(cell.target.task for cell in plan.cells if cell.score))
    reading = [target for target in targets if formats.get(catalog[target].format).comprehension]
    wanted = [*targets, *([READING] if len(reading) > 1 and READING in deviations else [])]
    mean = _mean([one for outcome, one in deviations.items() if outcome != READING])
    return {outcome: deviations.get(outcome, mean) for outcome in wanted}


def _mean(deviations: Sequence[Deviations]) -> Deviations:
    """Of the variances."""

    def root(name: str) -> float | None:
        known = [value for one in deviations if (value := getattr(one, name)) is not None]
        return float(np.sqrt(np.mean(np.square(known)))) if known else None

    return Deviations(**{field.name: root(field.name) for field in fields(Deviations)})  # type: ignore[arg-type]


def _row(what: str, outcome: str, deviations: Deviations, design: Design) -> dict[str, object]:
    found, alpha = of_gain(deviations, design.seeds, design.questions), ALPHA / design.comparisons
    if what == "slope":
        found, alpha = of_slope(deviations, design.parameters, design.seeds, design.questions), ALPHA
    return {
        "of": what, "outcome": outcome, "sizes": design.sizes, "seeds": design.seeds, "questions": design.questions,
        "half_width": found.half_width if found else None,
        **{f"power_{effect:g}": found.power(effect, alpha) if found else None for effect in EFFECTS},
    }  # fmt: skip


def _half_widths(outcomes: Mapping[str, Deviations], design: Design) -> tuple[float, float]:
    """Of a gain and of a slope, the means over outcomes; NaN where one cannot be told."""

    def mean(found: Sequence[Precision | None]) -> float:
        known = [one.half_width for one in found if one]
        return float(np.mean(known)) if known else float("nan")

    targets = [each for outcome, each in outcomes.items() if outcome != READING]
    return (
        mean([of_gain(each, design.seeds, design.questions) for each in targets]),
        mean([of_slope(each, design.parameters, design.seeds, design.questions) for each in targets]),
    )


def _another_size(plan: Plan, design: Design, outcomes: Mapping[str, Deviations]) -> tuple[EncoderEntry, int] | None:
    """The depth of a source that the study lacks and that narrows slopes most for its parameters, and these.

    It is none below the smallest: there, encoders may score so low that there is nothing to gain on.
    """
    there = {(encoder.source, facts.layers) for encoder, facts in plan.facts.items()}
    candidates: list[tuple[EncoderEntry, int]] = []
    for entry in {entry.source: entry for entry in plan.study.encoders if entry.init == "pretrained"}.values():
        whole = _facts(Encoder(entry.source, None, "pretrained", entry.revision))
        for layers in range(1, whole.layers + 1 if whole else 0):
            if whole and (entry.source, layers) not in there:
                depth = {"layers": layers if layers < whole.layers else None, "ffn": None, "heads": None}
                other = entry.model_copy(update={**depth, "name": None})
                facts = _facts(other.encoder)
                if facts and facts.parameters_without_embeddings >= min(design.parameters, default=0):
                    candidates.append((other, facts.parameters_without_embeddings))
    size = np.log10(np.asarray(design.parameters, dtype=np.float64))

    def worth(candidate: tuple[EncoderEntry, int]) -> float:
        more = replace(design, parameters=(*design.parameters, candidate[1]))
        before, after = (_half_widths(outcomes, one)[1] for one in (design, more))
        if np.isnan(before):  # too few sizes yet: the farthest from those that there are
            return float(abs(np.log10(candidate[1]) - size.mean()))
        return (before - after) / candidate[1]

    slopes = any(one.encoder is not None for one in outcomes.values())
    return max(candidates, key=worth, default=None) if slopes and design.parameters else None


def _facts(encoder: Encoder) -> EncoderFacts | None:
    """None where nothing tells them."""
    try:
        return look_up(encoder)
    except UserError:
        return None


def _changes(
    plan: Plan, design: Design, outcomes: Mapping[str, Deviations], larger: tuple[EncoderEntry, int] | None
) -> pl.DataFrame:
    """What one more seed, one more size and twice the questions each buy."""
    study = plan.study
    more = study.model_copy(update={"seeds": (*study.seeds, next_seed(study.seeds))})
    changes: list[tuple[str, Study, Design]] = [("one more seed", more, replace(design, seeds=design.seeds + 1))]
    if larger:
        entry, parameters = larger
        wider = study.model_copy(update={"encoders": (*study.encoders, entry)})
        more_sizes = replace(design, parameters=(*design.parameters, parameters))
        changes.append((f"one more size, {entry.encoder.label}", wider, more_sizes))
    targets = tuple(target.model_copy(update={"max_examples": target.max_examples and 2 * target.max_examples})
                    for target in study.targets)  # fmt: skip
    longer = study.model_copy(update={"targets": targets})
    before, own = _half_widths(outcomes, design), _flops(plan)
    rows = []
    for change, other, changed in [*changes, ("twice the questions", longer, replace(design, questions=2.0))]:
        planned = make_plan(other, estimate=True)
        if other is longer and _questions(planned) < 1.5 * _questions(plan):
            continue  # there are no more
        flops, after = _flops(planned) - own, _half_widths(outcomes, changed)
        share = flops / own if own else float("nan")
        bought = [(old - new) / (100 * share) if share > 0 else float("nan")
                  for old, new in zip(before, after, strict=True)]  # fmt: skip
        rows.append({"change": change, "flops": flops, "share": share, "gain": after[0], "gain_bought": bought[0],
                     "slope": after[1], "slope_bought": bought[1]})  # fmt: skip
    return pl.DataFrame(rows, schema=CHANGES_SCHEMA).fill_nan(None)


def next_seed(seeds: Sequence[int]) -> int:
    return max(seeds) + 1


def _flops(plan: Plan) -> float:
    return sum(stage.flops for stage in plan.stages.values())


def _questions(plan: Plan) -> int:
    return sum(count for use, _, count in plan.data if use == "evaluation")


def best_of(changes: pl.DataFrame, what: str) -> str | None:
    """The change that buys most of the half-width of a gain or slope for its compute; None where none buys any."""
    told: Floats = changes[f"{what}_bought"].fill_null(0.0).to_numpy()
    return str(changes["change"][int(told.argmax())]) if len(told) and told.max() > 0 else None
