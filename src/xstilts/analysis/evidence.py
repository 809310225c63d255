"""What published results say of a question: pairs, pooled gains, slopes over size, and what limits them.

A published gain is a pair of scores that differ in nothing but the recipe: one publication and place in it, encoder,
protocol, target, language, metric and split; or it is stated as a gain. A pair of means over languages is one effect,
for the languages are those of the test set and no sample of others, and their errors are not independent.

**Errors.** The variance of a score is that of its stated error; else the binomial one, p (1 − p) / n, with the file's
n or the catalog's. Of exact match and of accuracy it is the variance over examples; of an F1 that is a mean over
questions it is an upper bound, for a variable between 0 and 1 with mean p varies by no more (Bhatia and Davis 2000, "A
better bound on the variance"). Other metrics have none; their gains are shown, not pooled. Of a mean over languages
it is that of an average language, as if all languages erred together. Two scores of one publication on the same test
set correlate by ρ (0.5; shown too for 0 and 0.8): with v the variances, a gain's is v₁ + v₀ − 2ρ√(v₁v₀), and gains that
share the score without share its error. None of this covers the variance over seeds, of which publications say nothing.

**Scales.** Points; the share of the remaining error that is removed, g / (100 − b); the logit of the score with less
that of the score without. Errors on the latter two are those of the delta method.

**Pooling.** `meta_regression.fit` with a random effect of each encoder, and of each study where there are several.
Effects are pooled that answer one question: target, recipe, setting, metric, and whether English only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import linalg

from xstilts.analysis.axes import millions
from xstilts.analysis.meta_regression import Fit, Groups, fit
from xstilts.analysis.published import BASELINE, FINE_TUNED, LEFT_OUT, MEAN, NON_ENGLISH, POOL, SHOW, Literature, Result
from xstilts.analysis.scales import ERROR, LOGIT, POINTS, SCALES, Scale
from xstilts.common.arrays import Floats
from xstilts.planning.recipe import NONE
from xstilts.tasks import Catalog, formats

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

#: The correlation of two scores on one test set, and those that are shown beside it.
RHO = 0.5
RHOS = (0.0, RHO, 0.8)

STATED, IMPUTED, UNKNOWN = "stated", "imputed", "none"
#: Half the width of a 95 % interval, in standard errors that count as known.
_NORMAL = 1.959964

PAIRS_SCHEMA: dict[str, type[pl.DataType]] = {
    "publication": pl.String,
    "source": pl.String,
    "hand": pl.String,
    "encoder": pl.String,
    "family": pl.String,
    "parameters": pl.Int64,
    "recipe": pl.String,
    "english": pl.String,  # yes | no | not established
    "setting": pl.String,
    "protocol": pl.String,
    "target": pl.String,
    "language": pl.String,
    "metric": pl.String,
    "split": pl.String,
    "without": pl.Float64,  # the score, points; null of a stated gain
    "with": pl.Float64,
    "gain": pl.Float64,  # points
    "error": pl.Float64,  # standard error of the gain, points
    "low": pl.Float64,  # of its 95 % interval
    "high": pl.Float64,
    "error_is": pl.String,  # stated | imputed | none
    "share": pl.Float64,  # of the remaining error that is removed, percent
    "logit": pl.Float64,
    "seeds": pl.Int64,
    "result": pl.String,
    "use": pl.String,
    "reason": pl.String,
    "own": pl.Boolean,  # of a study of one's own
}

POOLED_SCHEMA: dict[str, type[pl.DataType]] = {
    "target": pl.String,
    "recipe": pl.String,
    "setting": pl.String,
    "metric": pl.String,
    "english": pl.String,
    "k": pl.Int64,  # gains
    "own": pl.Int64,  # of these, of a study of one's own
    "studies": pl.Int64,
    "rho": pl.Float64,
    "gain": pl.Float64,  # points
    "low": pl.Float64,
    "high": pl.Float64,
    "least": pl.Float64,  # of the pooled gains without one of the gains in turn
    "most": pl.Float64,
    "predicted_low": pl.Float64,  # where the true gain of a further encoder is expected
    "predicted_high": pl.Float64,
    "tau2": pl.Float64,
    "tau2_low": pl.Float64,
    "tau2_high": pl.Float64,
    "i2": pl.Float64,  # percent
    "q": pl.Float64,
    "q_p": pl.Float64,
}

SLOPES_SCHEMA: dict[str, type[pl.DataType]] = {
    "target": pl.String,
    "recipe": pl.String,
    "setting": pl.String,
    "metric": pl.String,
    "english": pl.String,
    "family": pl.String,
    "k": pl.Int64,
    "n_sizes": pl.Int64,
    "smallest": pl.Int64,  # parameters
    "largest": pl.Int64,
    "scale": pl.String,  # points | share of the remaining error | logit
    "per": pl.String,  # tenfold | doubling
    "slope": pl.Float64,  # share: percentage points
    "low": pl.Float64,  # null with two gains, through which a line always goes
    "high": pl.Float64,
}

FLOW_SCHEMA: dict[str, type[pl.DataType]] = {
    "step": pl.String,  # found | copy | left out | baseline | shown | unpaired | no error | pooled
    "reason": pl.String,
    "rows": pl.Int64,
    "publications": pl.Int64,
}

BIAS_SCHEMA: dict[str, type[pl.DataType]] = {
    "publication": pl.String,
    "gains": pl.Int64,
    "seeds": pl.String,
    "chosen": pl.String,  # on what the result was chosen among others
    "hand": pl.String,
    "setting": pl.String,  # direct, or in what it is not
    "errors": pl.String,
    "note": pl.String,
}

CONFLICTS_SCHEMA: dict[str, type[pl.DataType]] = {
    "result": pl.String,
    "publication": pl.String,
    "source": pl.String,
    "target": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "gain": pl.Float64,
    "counted": pl.Boolean,
}


class Topic(NamedTuple):
    """What gains must have in common to be pooled."""

    target: str
    recipe: str
    setting: str
    metric: str
    english: str


@dataclass(frozen=True)
class Pair:
    """A published gain: of two scores, or as it is stated (``without`` is None)."""

    row: Result
    without: Result | None

    @property
    def topic(self) -> Topic:
        row = self.row
        return Topic(row.target, row.recipe, row.setting, row.metric, row.english or "not established")


@dataclass(frozen=True)
class Effects:
    """Gains (PAIRS_SCHEMA) as differences of scores whose covariance is known.

    ``of`` [k, 2] has the places in ``values`` [scores] of the score with and of that without, in points, and
    ``covariance`` [scores, scores] is that of their sampling errors. A gain that is stated is a score above one of 0
    that is known without error, and has a place on the scale of points alone.
    """

    frame: pl.DataFrame
    of: npt.NDArray[np.int64]
    values: Floats
    covariance: Floats

    @property
    def points(self) -> tuple[Floats, Floats]:
        """The effects [k] in points, and their covariance [k, k]."""
        given, lacking = self._scores
        return given - lacking, self._through(np.ones(len(given)), -np.ones(len(given)))

    def on(self, scale: Scale) -> tuple[Floats, Floats] | None:
        """The effects [k] and their covariance [k, k] on a scale; None where one is not defined, as a logit of 0."""
        given, lacking = self._scores
        if scale is POINTS:
            return self.points
        if self.frame["without"].has_nulls() or (lacking >= 100).any():
            return None
        if scale is ERROR:
            with_, without = 100 / (100 - lacking), -100 * (100 - given) / (100 - lacking) ** 2
        elif min(given.min(), lacking.min()) <= 0 or given.max() >= 100:
            return None
        else:
            with_, without = 100 / (given * (100 - given)), -100 / (lacking * (100 - lacking))
        return scale.of(given, lacking), self._through(with_, without)

    @property
    def _scores(self) -> tuple[Floats, Floats]:
        return self.values[self.of[:, 0]], self.values[self.of[:, 1]]

    def _through(self, with_: Floats, without: Floats) -> Floats:
        """The covariance of effects that have these derivatives [k] by their two scores."""
        rows = np.arange(len(self.of))
        slopes = np.zeros((len(self.of), len(self.values)))
        np.add.at(slopes, (rows, self.of[:, 0]), with_)
        np.add.at(slopes, (rows, self.of[:, 1]), without)
        return np.asarray(slopes @ self.covariance @ slopes.T)

    def among(self, kept: npt.NDArray[np.bool_]) -> Effects:
        """Those that are ``kept`` [k], with the scores that they are of."""
        used, of = np.unique(self.of[kept], return_inverse=True)
        covariance = self.covariance[np.ix_(used, used)]
        return Effects(self.frame.filter(pl.Series(kept)), of.reshape(-1, 2), self.values[used], covariance)

    def joined(self, other: Effects) -> Effects:
        """With those of another study."""
        return Effects(
            pl.concat([self.frame, other.frame]),
            np.concatenate([self.of, other.of + len(self.values)]),
            np.concatenate([self.values, other.values]),
            np.asarray(linalg.block_diag(self.covariance, other.covariance)),
        )


@dataclass(frozen=True)
class Assessment:
    """What is published of a question, and a study's own gains beside it."""

    literature: Literature
    targets: tuple[str, ...]  # that were asked about; the span tasks where none was
    flow: pl.DataFrame  # FLOW_SCHEMA
    pairs: pl.DataFrame  # PAIRS_SCHEMA: of means over languages and of all that is pooled; no copies, nothing left out
    pooled: pl.DataFrame  # POOLED_SCHEMA, a row for each ρ
    slopes: pl.DataFrame  # SLOPES_SCHEMA
    baselines: pl.DataFrame  # scores without intermediate training: encoder, family, parameters, target, metric, value
    bias: pl.DataFrame  # BIAS_SCHEMA
    conflicts: pl.DataFrame  # CONFLICTS_SCHEMA
    size: str  # in a sentence, what is published of the size of the encoder
    names: Mapping[str, str]  # of the targets, as people write them

    def called(self, target: str) -> str:
        return self.names.get(target, target)


def paired(results: Iterable[Result]) -> list[Pair]:
    """The gains among the results: each score that has its like without a recipe, and each stated gain."""
    rows = list(results)
    bases = {row.measured: row for row in rows if row.quantity == "score" and row.recipe == NONE}
    found = []
    for row in rows:
        if row.quantity == "gain":
            found.append(Pair(row, None))
        elif row.recipe != NONE and row.measured in bases:
            found.append(Pair(row, bases[row.measured]))
    return found


def effects_of(pairs: Sequence[Pair], catalog: Catalog, rho: float = RHO) -> Effects:
    """The gains with their covariance; NaN where no error is known."""
    scores: dict[int, tuple[Result, int]] = {}
    places, values, variances = [], [0.0], [0.0]  # first: the 0 that stated gains are measured from
    for pair in pairs:
        for row in (pair.row, pair.without):
            if row is not None and id(row) not in scores:
                scores[id(row)] = row, len(values)
                values.append(row.value)
                variances.append(_variance(row, catalog))
        places.append([scores[id(row)][1] if row is not None else 0 for row in (pair.row, pair.without)])
    deviations = np.sqrt(variances)
    covariance = np.diag(np.asarray(variances))
    tests = [(row.publication, row.target, row.language, row.split) if row.quantity == "score" else id(row)
             for row, _ in scores.values()]  # fmt: skip
    for i, j in combinations(range(len(tests)), 2):
        if tests[i] == tests[j]:
            covariance[i + 1, j + 1] = covariance[j + 1, i + 1] = rho * deviations[i + 1] * deviations[j + 1]
    of = np.array(places, dtype=np.int64).reshape(-1, 2)
    frame = pl.DataFrame([_described(pair, catalog) for pair in pairs], schema=PAIRS_SCHEMA, infer_schema_length=None)
    found = Effects(frame, of, np.array(values), covariance)
    return replace(found, frame=with_errors(found))


def assess(
    literature: Literature,
    catalog: Catalog,
    *,
    targets: Sequence[str] = (),
    recipe: str | None = None,
    sizes: tuple[float, float] | None = None,
    own: Effects | None = None,
) -> Assessment:
    """What is published of the ``targets`` (all by default), of a ``recipe``, of encoders of ``sizes`` (parameters).

    ``own`` gains join those of the same question.
    """
    question = _Asked(targets, recipe, sizes)
    asked = [row for row in literature.results if question.holds(row.target, row.recipe, row.parameters)]
    pairs = paired(asked)
    pool = [pair for pair in pairs if pair.row.use == POOL and (pair.without is None or pair.without.use == POOL)]
    known = [pair for pair in pool if _has_error(pair, catalog)]
    counted = {row.result: row.value for row in literature.results if row.result and row.counted}
    main = [pair for pair in pairs if pair.row.use != LEFT_OUT and (pair.row.is_mean or pair.row.use == POOL)
            and (pair.row.counted or pair.row.value != counted.get(pair.row.result or ""))]  # fmt: skip
    shown = effects_of(main, catalog)
    units = _units(known)
    own = question.of_own(own)
    by_topic = {topic: [unit for unit, _ in those] for topic, those in units.items()}
    pooled = [_pooled(effects_of(those, catalog, rho), topic, rho, own)
              for topic, those in by_topic.items() for rho in RHOS]  # fmt: skip
    slopes = [row for topic, those in by_topic.items()
              for row in _slopes(_with_own(effects_of(those, catalog), topic, own), topic)]  # fmt: skip
    parts = [pair for those in units.values() for _, of in those for pair in of]
    asked_of = tuple(targets or SPAN_TARGETS)
    return Assessment(
        literature=literature,
        targets=asked_of,
        flow=_flow(asked, pool, parts, literature),
        pairs=pl.concat([shown.frame, own.frame]) if own else shown.frame,
        pooled=pl.DataFrame(pooled, schema=POOLED_SCHEMA),
        slopes=pl.DataFrame(slopes, schema=SLOPES_SCHEMA),
        baselines=_baselines(asked),
        bias=_bias(main, literature, catalog),
        conflicts=_conflicts(asked, pairs),
        size=_of_size(pairs, asked_of, catalog),
        names={task.name: task.called for task in catalog},
    )


#: The reading comprehension targets of XTREME.
SPAN_TARGETS = ("xquad", "mlqa", "tydiqa")


def called(name: str, catalog: Catalog) -> str:
    """A task's name as people write it; of one that the catalog lacks, the name."""
    return next((task.called for task in catalog if task.name == name), name)


@dataclass(frozen=True)
class _Asked:
    """Targets (all, if there are none), a recipe, and encoders from the least to the most parameters."""

    targets: Sequence[str]
    recipe: str | None
    sizes: tuple[float, float] | None

    def holds(self, target: str, recipe: str, parameters: int | None) -> bool:
        """Of a row, or of a gain; scores without intermediate training are of every recipe."""
        return (
            (not self.targets or target in self.targets)
            and (self.recipe is None or recipe == NONE or self.recipe in (recipe, *recipe.split("+")))
            and (self.sizes is None or (parameters is not None and self.sizes[0] <= parameters <= self.sizes[1]))
        )

    def of_own(self, own: Effects | None) -> Effects | None:
        if own is None:
            return None
        kept = [self.holds(*row) for row in own.frame.select("target", "recipe", "parameters").iter_rows()]
        return own.among(np.array(kept)) if any(kept) else None


def _variance(row: Result, catalog: Catalog) -> float:
    """Of a score, or a stated gain, in squared points; NaN where it is not known."""
    if row.error is not None:
        return row.error**2
    task = next((one for one in catalog if one.name == row.target), None)
    bounded = row.metric in ("accuracy", "exact_match") or (
        row.metric == "f1" and task is not None and formats.get(task.format).comprehension
    )
    sizes = [row.n] if row.n else _counts(row, catalog)
    if row.quantity == "gain" or not bounded or not sizes:
        return float("nan")
    # a score of 0 or 100 varies as one of half an example more or less would
    shares = np.clip(row.value / 100, 0.5 / np.array(sizes), 1 - 0.5 / np.array(sizes))
    return float(100 * np.sqrt(shares * (1 - shares) / np.array(sizes)).mean()) ** 2


def _counts(row: Result, catalog: Catalog) -> list[int]:
    """The catalog's counts of the examples of the language, or of each of those of a mean; none where one lacks."""
    task = next((one for one in catalog if one.name == row.target), None)
    if task is None or row.split not in ("dev", "test"):
        return []
    languages = task.languages if row.language == MEAN else (row.language,)
    if row.language == NON_ENGLISH:
        languages = tuple(one for one in task.languages if one != "en")
    counts = [task.count("dev" if row.split == "dev" else "test", language) for language in languages]
    return [] if None in counts else [count for count in counts if count is not None]


def _has_error(pair: Pair, catalog: Catalog) -> bool:
    rows = [row for row in (pair.row, pair.without) if row is not None]
    return not any(np.isnan(_variance(row, catalog)) for row in rows)


def _described(pair: Pair, catalog: Catalog) -> dict[str, object]:
    row, without = pair.row, pair.without
    stated = all(one.error is not None for one in (row, without) if one is not None)
    same = row.model_dump(include=set(PAIRS_SCHEMA) - {"error"})
    return same | {
        "english": pair.topic.english,
        "without": without.value if without else None,
        "with": row.value if without else None,
        "gain": row.value - (without.value if without else 0),
        "error_is": STATED if stated else IMPUTED if _has_error(pair, catalog) else UNKNOWN,
        "own": False,
    }


def with_errors(of: Effects) -> pl.DataFrame:
    """The frame with errors and intervals in points, and the gains on the other scales."""
    columns: dict[str, list[float | None]] = {"error": [], "low": [], "high": [], "share": [], "logit": []}
    for i, gain in enumerate(of.frame["gain"]):
        one = of.among(np.arange(of.frame.height) == i)
        error = float(np.sqrt(one.points[1].item()))
        known = (error, gain - _NORMAL * error, gain + _NORMAL * error) if error == error else (None, None, None)
        for name, value in zip(("error", "low", "high"), known, strict=True):
            columns[name].append(value)
        for name, scale in (("share", ERROR), ("logit", LOGIT)):
            found = one.on(scale)
            columns[name].append(float(found[0].item()) if found else None)
    return of.frame.with_columns(**{name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()})


def _units(pairs: Iterable[Pair]) -> dict[Topic, list[tuple[Pair, tuple[Pair, ...]]]]:
    """Of each question the gains that are pooled, one for each encoder and protocol, with the pairs that each is of.

    A mean over the non-English languages goes before one over all, and that before the languages, which are averaged
    here; English is left out of them where there are others.
    """
    groups: dict[Topic, dict[tuple[object, ...], dict[str, Pair]]] = defaultdict(lambda: defaultdict(dict))
    for pair in pairs:
        trained = (*pair.row.measured[:5], pair.row.split)
        groups[pair.topic][trained][pair.row.language] = pair
    found: dict[Topic, list[tuple[Pair, tuple[Pair, ...]]]] = {}
    for topic, by_encoder in groups.items():
        found[topic] = []
        for by_language in by_encoder.values():
            mean = by_language.get(NON_ENGLISH) or by_language.get(MEAN)
            zero_shot = tuple(pair for language, pair in by_language.items() if language != "en")
            parts = (mean,) if mean else zero_shot or tuple(by_language.values())
            found[topic].append((mean or _mean_of(parts), parts))
    return found


def _mean_of(pairs: Sequence[Pair]) -> Pair:
    """The mean over languages, whose n is that of the mean standard error."""

    def mean(rows: Sequence[Result]) -> Result:
        counts = [row.n for row in rows]
        n = None if None in counts else round(np.mean([1 / np.sqrt(count) for count in counts if count]) ** -2)
        errors = [row.error for row in rows]
        error = None if None in errors else float(np.mean([one for one in errors if one is not None]))
        value = float(np.mean([row.value for row in rows]))
        return rows[0].model_copy(update={"language": NON_ENGLISH, "value": value, "n": n, "error": error})

    without = [pair.without for pair in pairs if pair.without is not None]
    return pairs[0] if len(pairs) == 1 else Pair(mean([pair.row for pair in pairs]), mean(without) if without else None)


def _with_own(published: Effects, topic: Topic, own: Effects | None) -> Effects:
    if own is None:
        return published
    mine = own.frame.select(
        (pl.col("target") == topic.target) & (pl.col("recipe") == topic.recipe)
        & (pl.col("setting") == topic.setting) & (pl.col("metric") == topic.metric)
        & (pl.col("english") == topic.english)
    ).to_series()  # fmt: skip
    return published.joined(own.among(mine.to_numpy())) if mine.any() else published


def _fit(of: Effects, scale: Scale, moderator: Floats | None = None) -> Fit | None:
    """None where the scale is not defined or there are too few effects."""
    found = of.on(scale)
    k = of.frame.height
    columns = [np.ones(k)] if moderator is None else [np.ones(k), moderator]
    if found is None or k <= len(columns):
        return None
    design = np.column_stack(columns)
    return fit(found[0], design, found[1], groups=_groups(of.frame, design))


def _groups(frame: pl.DataFrame, design: Floats) -> Groups:
    """Studies, encoders and rows: of these, those whose variances can be told apart from each other and the design."""
    k = frame.height
    basis = linalg.null_space(design.T)
    encoders = frame["encoder"].str.split("/").list.last().str.to_lowercase()
    kept: list[list[Hashable]] = []
    projected: list[Floats] = []
    for labels in (np.arange(k), frame["publication"].to_numpy(), encoders.to_numpy()):
        same = (labels[:, None] == labels).astype(np.float64)
        tried = [*projected, (basis.T @ same @ basis).ravel()]
        if np.linalg.matrix_rank(np.array(tried), tol=1e-9 * k) == len(tried):
            kept.append(labels.tolist())
            projected = tried
    return kept


def _pooled(published: Effects, topic: Topic, rho: float, own: Effects | None) -> dict[str, object]:
    of = _with_own(published, topic, own)
    frame = of.frame
    row: dict[str, object] = topic._asdict() | {
        "k": frame.height,
        "own": int(frame["own"].sum()),
        "studies": frame["publication"].n_unique(),
        "rho": rho,
    }
    found = _fit(of, POINTS)
    if found is None:  # a single gain
        return row | frame.select("gain", "low", "high").row(0, named=True)
    mean = found.at([1.0])
    parts = found.components
    without = _without_one(of)
    return row | {
        "gain": mean.value, "low": mean.low, "high": mean.high,
        "least": min(without, default=None), "most": max(without, default=None),
        "predicted_low": mean.predicted_low, "predicted_high": mean.predicted_high,
        "tau2": sum(part.variance for part in parts), "tau2_low": sum(part.low for part in parts),
        "tau2_high": sum(part.high for part in parts), "i2": found.i2, "q": found.q, "q_p": found.q_p,
    }  # fmt: skip


def _without_one(of: Effects) -> list[float]:
    """The pooled gains without each of the gains; none of two, where a single one would be left."""
    k = of.frame.height
    fits = (_fit(of.among(np.arange(k) != i), POINTS) for i in range(k))
    return [float(one.coefficients[0]) for one in fits if one is not None]


def _slopes(of: Effects, topic: Topic) -> list[dict[str, object]]:
    """Over the sizes of each series of encoders that has several, on each scale.

    A series with a study's own gains alone is the study's own affair: `xstilts.analysis.size`.
    """
    rows = []
    sized = of.frame.with_row_index("at").filter(pl.col("parameters").is_not_null(), pl.col("family").is_not_null())
    for (family,), group in sized.group_by("family", maintain_order=True):
        parameters = group["parameters"].to_numpy()
        if len(set(parameters.tolist())) < 2 or group["own"].all():
            continue
        those = of.among(np.isin(np.arange(of.frame.height), group["at"].to_numpy()))
        span = np.log10(parameters.max() / parameters.min())
        unit = 1.0 if span >= 1 else float(np.log10(2))
        size = np.log10(parameters) / unit
        for scale in SCALES:
            found, values = _fit(those, scale, size), those.on(scale)
            slope = None if values is None else float(np.polyfit(size, values[0], 1)[0])
            rows.append(
                topic._asdict()
                | {
                    "family": family,
                    "k": len(parameters),
                    "n_sizes": len(set(parameters.tolist())),
                    "smallest": int(parameters.min()),
                    "largest": int(parameters.max()),
                    "scale": scale.name,
                    "per": "tenfold" if span >= 1 else "doubling",
                    "slope": float(found.coefficients[1]) if found else slope,
                    "low": float(found.low[1]) if found else None,
                    "high": float(found.high[1]) if found else None,
                }
            )
    return rows


def _flow(asked: Sequence[Result], used: Sequence[Pair], known: Sequence[Pair], literature: Literature) -> pl.DataFrame:
    """Each row that was asked about, once: what became of it, and why. `found` is their sum.

    ``used`` are the pairs of rows to pool, ``known`` those of them that are pooled.
    """
    counted = {row.result for row in literature.results if row.result is not None and row.counted}
    paired_rows = {id(row) for pair in used for row in (pair.row, pair.without) if row is not None}
    in_pooled = {id(row) for pair in known for row in (pair.row, pair.without) if row is not None}
    became = []
    for row in asked:
        reason = row.reason or ""
        if row.result in counted and not row.counted:
            step, reason = "copy", "of a result that another row counts"
        elif row.use == LEFT_OUT:
            step = "left out"
        elif row.use == BASELINE:
            step, reason = "baseline", "a score without intermediate training"
        elif row.use == SHOW:
            step = "shown"
        elif id(row) in in_pooled:
            step, reason = "pooled", f"in {len({pair.topic for pair in known})} questions"
        elif id(row) in paired_rows:
            step, reason = "no error", "no standard error is stated, and none follows from a count of examples"
        else:
            step, reason = "unpaired", "no score that differs in the recipe alone"
        became.append((step, reason, row.publication))
    frame = pl.DataFrame(became, schema=["step", "reason", "publication"], orient="row")
    order = ["copy", "left out", "baseline", "shown", "unpaired", "no error", "pooled"]
    counts = frame.group_by("step", "reason").agg(rows=pl.len(), publications=pl.col("publication").n_unique())
    counts = counts.sort(pl.col("step").cast(pl.Enum(order)), "rows", "reason", descending=[False, True, False])
    first = {"step": ["found"], "reason": [""], "rows": [len(asked)],
             "publications": [len({row.publication for row in asked})]}  # fmt: skip
    return pl.concat([pl.DataFrame(first, schema=FLOW_SCHEMA), counts.cast(pl.Schema(FLOW_SCHEMA))])


def _baselines(asked: Sequence[Result]) -> pl.DataFrame:
    rows = [row for row in asked if row.quantity == "score" and row.recipe == NONE and row.is_mean and row.counted]
    names = ("publication", "encoder", "family", "parameters", "setting", "target", "language", "metric", "value")
    schema = {name: pl.Int64 if name == "parameters" else pl.Float64 if name == "value" else pl.String
              for name in names}  # fmt: skip
    return pl.DataFrame([{name: getattr(row, name) for name in names} for row in rows], schema=schema)


def _bias(pairs: Sequence[Pair], literature: Literature, catalog: Catalog) -> pl.DataFrame:
    """What limits each publication that has gains."""
    rows = []
    for key, group in _grouped(pairs, lambda pair: pair.row.publication).items():
        publication = literature.publication(key)
        seeds = {pair.row.seeds for pair in group}
        errors = {_described(pair, catalog)["error_is"] for pair in group}
        rows.append({
            "publication": key,
            "gains": len(group),
            "seeds": "not stated" if None in seeds else ", ".join(map(str, sorted(one for one in seeds if one))),
            "chosen": publication.chosen,
            "hand": "second" if any(pair.row.hand == "second" for pair in group) else "first",
            "setting": "; ".join(dict.fromkeys(map(_indirect, group))),
            "errors": ", ".join(sorted(map(str, errors))),
            "note": publication.note,
        })  # fmt: skip
    return pl.DataFrame(rows, schema=BIAS_SCHEMA)


def _indirect(pair: Pair) -> str:
    """In what a gain is not of English intermediate training before English target training, tested zero-shot."""
    differs: list[str] = [] if pair.row.setting == FINE_TUNED else [pair.row.setting]
    if pair.topic.english != "yes":
        differs.append("not English only" if pair.topic.english == "no" else "not known to be English only")
    if pair.row.language == "en":
        differs.append("tested in English")
    return "indirect: " + ", ".join(differs) if differs else "direct"


def _conflicts(asked: Sequence[Result], pairs: Sequence[Pair]) -> pl.DataFrame:
    """The rows that state one result and do not agree."""
    gains = {id(pair.row): pair.row.value - (pair.without.value if pair.without else 0) for pair in pairs}
    rows = []
    for name, group in _grouped((row for row in asked if row.result is not None), lambda row: row.result).items():
        if len({row.value for row in group}) > 1:
            rows += [
                (name, row.publication, row.source, row.target, row.metric, row.value, gains.get(id(row)), row.counted)
                for row in sorted(group, key=lambda row: not row.counted)
            ]
    return pl.DataFrame(rows, schema=CONFLICTS_SCHEMA, orient="row")


def _of_size(pairs: Sequence[Pair], targets: Sequence[str], catalog: Catalog) -> str:
    """Which publications have a series of encoders in several sizes, with and without; or that none has."""
    direct = [
        pair for pair in pairs
        if pair.row.setting == FINE_TUNED and pair.row.english == "yes" and pair.row.target in targets
        and pair.row.use != LEFT_OUT and pair.row.language != "en" and pair.row.parameters and pair.row.family
    ]  # fmt: skip
    found = []
    for (publication, family), group in _grouped(direct, lambda pair: (pair.row.publication, pair.row.family)).items():
        sizes = {pair.row.parameters for pair in group if pair.row.parameters}
        if len(sizes) > 1:
            on = dict.fromkeys(called(pair.row.target, catalog) for pair in group)
            found.append(f"{publication} ({family}, {len(sizes)} sizes from {millions(min(sizes))} to "
                         f"{millions(max(sizes))}; {', '.join(on)})")  # fmt: skip
    if found:
        return (
            "Published with one encoder family at two or more sizes, with and without English intermediate training: "
            f"{'; '.join(found)}."
        )
    *most, last = [called(target, catalog) for target in targets]
    where = f"{', '.join(most)} or {last}" if most else last
    return (
        "No published study was found that trains one encoder family at two or more sizes with and without English "
        f"intermediate training and tests it zero-shot on {where}."
    )


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found
