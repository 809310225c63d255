"""Resampling over examples, with seeds and languages kept.

Each replicate draws a sample of examples, which all encoders, recipes and seeds share, since they are scored on the
same examples: both sides of a comparison are drawn in pairs. Languages that share example ids, as in parallel tests,
share the sample too. Examples that share a text, as questions on one passage do, are drawn together: the sample is one
of passages (Davison and Hinkley 1997, "Bootstrap Methods and Their Application", section 3.8). Of G passages, G - 1 are
drawn: with G the variance would come out (G - 1)/G too small (Rao and Wu 1988, "Resampling inference with complex
survey data"). Seeds are not drawn: with three of them no resampling leaves the range of the three.

What an interval is made of these replicates, and of what varies over the seeds: `xstilts.analysis.crossed`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import numpy.typing as npt
import polars as pl

from xstilts.analysis.axes import ALL_LANGUAGES, ENGLISH, ZERO_SHOT, Axes
from xstilts.analysis.crossed import over_seeds
from xstilts.common.arrays import Floats, Ints

Places = tuple[Ints, Ints, Ints, Ints]  # of cells, by encoder, recipe, seed and language

RESAMPLES = 1000

#: Weights of examples, and replicates, that are held at once; each bounds memory to some 128 MB.
_WEIGHTS_AT_ONCE = 2**25
_REPLICATES_AT_ONCE = 2**25

_CELL = ["encoder", "recipe", "language", "seed"]


@dataclass(frozen=True)
class Sample:
    """Estimates, one a row, with how they vary. NaN where a seed lacks or a ratio is 0/0."""

    values: Floats  # [rows]
    by_seed: Floats  # [rows, seeds]
    of_examples: Floats  # [rows], variances as in `xstilts.analysis.crossed`: over the samples of examples, ...
    of_seeds: Floats  # ... over the seeds, 0 with a single one, ...
    freedom: Floats  # ... which has these degrees of freedom, ...
    of_noise: Floats  # ... and what both of them count
    n: Ints  # [rows], examples, summed over the languages
    n_groups: Ints  # [rows], likewise, examples that share a text counted once
    n_languages: int


@dataclass(frozen=True)
class Block:
    """One encoder's scores on one target in points, as they are and resampled; NaN where there is none."""

    encoder: str
    target: str
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    values: Floats  # [recipes, seeds, languages]
    replicates: Floats  # [recipes, seeds, languages, resamples], of examples alone
    examples: Ints  # [recipes, seeds, languages]
    groups: Ints  # [recipes, seeds, languages], examples that share a text counted once

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """Which languages have a score of at least one seed, [recipes, languages]."""
        return np.asarray((self.examples > 0).any(axis=1))

    def over(self, languages: Ints, recipes: Ints, minus: int | None = None, *, paired: bool = False) -> Sample:
        """The mean over ``languages`` of ``recipes``, or what it exceeds that of the recipe ``minus`` by.

        Of each recipe over the seeds that have all that is needed. The seeds of two recipes are as different as any two
        seeds, unless they are ``paired``.
        """
        values = self.values[np.ix_(recipes, np.arange(len(self.seeds)), languages)].mean(axis=2)
        replicates = self.means(recipes, languages)
        n, n_groups = (self._counted(each, recipes, languages) for each in (self.examples, self.groups))
        if minus is None:
            return self.sample(values, replicates, n, n_groups, len(languages))
        one = np.array([minus])
        base, drawn = self.values[one][:, :, languages].mean(axis=2), self.means(one, languages)
        n = np.minimum(n, self._counted(self.examples, one, languages))
        n_groups = np.minimum(n_groups, self._counted(self.groups, one, languages))
        found = self.sample(values - base, replicates - drawn, n, n_groups, len(languages))
        if paired:
            return found
        lacking = np.isnan(found.by_seed)
        of_seeds, of_noise, squares = (np.zeros(len(recipes)) for _ in range(3))
        for side, of_side in ((values, replicates), (base + np.zeros_like(values), drawn)):
            own, freedom = over_seeds(np.where(lacking, np.nan, side))
            of_seeds, squares = of_seeds + own, squares + own**2 / np.maximum(freedom, 1)
            of_noise += _noise(of_side, lacking)
        freedom = np.where(squares > 0, of_seeds**2 / np.maximum(squares, 1e-300), found.freedom)
        return replace(found, of_seeds=of_seeds, freedom=freedom, of_noise=of_noise)

    @staticmethod
    def _counted(each: Ints, recipes: Ints, languages: Ints) -> Ints:
        """Of the seed that has most, summed over the languages, [recipes]."""
        return np.asarray(each[recipes][:, :, languages].max(axis=1).sum(axis=1))

    def drawn(self, recipe: int, languages: Ints) -> int:
        """How many examples a sample for the mean over ``languages`` has, those that share a text counted once."""
        return int(self._counted(self.groups, np.array([recipe]), languages)[0]) // len(languages)

    def sample(self, values: Floats, replicates: Floats, n: Ints, n_groups: Ints, n_languages: int) -> Sample:
        """From ``values`` [rows, seeds] and their ``replicates`` [rows, seeds, resamples] of the examples."""
        lacking = np.isnan(values)
        means, of_examples = np.full(len(values), np.nan), np.full(len(values), np.nan)
        for mask, rows in _alike(lacking):
            means[rows] = values[rows][:, mask].mean(axis=1)
            of_examples[rows] = _variances(replicates[rows][:, mask].mean(axis=1))
        seeds = over_seeds(values)
        return Sample(means, values, of_examples, *seeds, _noise(replicates, lacking), n, n_groups, n_languages)

    def means(self, recipes: Ints, languages: Ints) -> Floats:
        """The replicates' means over ``languages``, [recipes, seeds, resamples]."""
        if len(languages) == 1:
            return self.replicates[recipes, :, languages[0]]
        return self.replicates[np.ix_(recipes, np.arange(len(self.seeds)), languages)].mean(axis=2)


@dataclass(frozen=True)
class _Test:
    """The outcomes of cells that share examples, summed over those that are drawn together."""

    cells: pl.DataFrame  # encoder, recipe, language, seed
    numerators: Floats  # [cells, groups]
    denominators: Floats  # [cells or 1, groups]; one row where all are alike, as in a mean
    totals: Floats  # [cells], in points
    examples: Ints  # [cells]
    groups: Ints  # [cells]
    draws: tuple[object, ...]  # what the samples of examples depend on

    def weights(self, resamples: int, random_state: int) -> Iterator[tuple[slice, Floats]]:
        """How often each group is drawn, [resamples, groups], some resamples at a time."""
        n = self.numerators.shape[1]
        generator = _generator(random_state, *self.draws)
        step = max(1, _WEIGHTS_AT_ONCE // n)
        for start in range(0, resamples, step):
            rows = min(step, resamples - start)
            draws = generator.integers(n, size=(rows, n - 1), dtype=np.int32)
            draws += (np.arange(rows, dtype=np.int32) * n)[:, None]
            weights = np.bincount(draws.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float32)
            yield slice(start, start + rows), weights


@dataclass(frozen=True)
class Resamples:
    """The outcomes of a study, ready to be resampled."""

    tests: dict[str, list[_Test]]  # by target
    resamples: int
    random_state: int

    def blocks(self, of: Axes) -> Iterator[Block]:
        """Encoder by encoder within a target. The samples do not depend on what else is in the study."""
        recipes = {recipe: i for i, recipe in enumerate(of.recipes)}
        seeds = {seed: i for i, seed in enumerate(of.seeds)}
        for target in of.targets:
            if target not in self.tests:
                continue
            languages = {language: i for i, language in enumerate(of.languages[target])}
            shape = (len(recipes), len(seeds), len(languages))
            at_once = max(1, _REPLICATES_AT_ONCE // (int(np.prod(shape)) * self.resamples))
            labels = [encoder.label for encoder in of.encoders]
            for start in range(0, len(labels), at_once):
                encoders = {label: i for i, label in enumerate(labels[start : start + at_once])}
                values = np.full((len(encoders), *shape), np.nan)
                replicates = np.full((len(encoders), *shape, self.resamples), np.nan, dtype=np.float32)
                examples, groups = (np.zeros((len(encoders), *shape), dtype=np.int64) for _ in range(2))
                for test in self.tests[target]:
                    rows, at = _places(test.cells, encoders, recipes, seeds, languages)
                    values[at], examples[at], groups[at] = test.totals[rows], test.examples[rows], test.groups[rows]
                    _ratios(test, rows, at, replicates, self.random_state)
                for label, i in encoders.items():
                    if examples[i].any():
                        yield Block(label, target, of.recipes, of.seeds, of.languages[target], values[i],
                                    replicates[i], examples[i], groups[i])  # fmt: skip


def resample(outcomes: pl.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> Resamples:
    """Make ready the main metric's ``outcomes`` (OUTCOMES_SCHEMA). The same arguments give the same replicates."""
    tests: dict[str, list[_Test]] = {}
    for target in outcomes["target"].unique(maintain_order=True):
        own = outcomes.lazy().filter(pl.col("main"), pl.col("target") == target)
        frame = own.select(*_CELL, "id", "group", "numerator", "denominator").collect()
        if frame.height:
            tests[str(target)] = [_test(str(target), part) for part in _sharing(frame)]
    return Resamples(tests, resamples, seed)


def language_rows(languages: Sequence[str], scored: npt.NDArray[np.bool_]) -> Iterator[tuple[str, Ints]]:
    """The rows of a table: each language that is ``scored``, the mean over the non-English ones, the mean over all."""
    there = np.flatnonzero(scored)
    for i in there:
        yield languages[int(i)], np.array([i])
    others = np.array([i for i in there if languages[int(i)] != ENGLISH], dtype=np.int64)
    if others.size:
        yield ZERO_SHOT, others
        if others.size < there.size:
            yield ALL_LANGUAGES, there


def alike(scored: npt.NDArray[np.bool_]) -> Iterator[tuple[npt.NDArray[np.bool_], Ints]]:
    """The recipes by which languages they have: a row of ``scored`` [recipes, languages], and those that share it."""
    for mask in np.unique(scored, axis=0):
        if mask.any():
            yield mask, np.flatnonzero((scored == mask).all(axis=1))


def _alike(lacking: npt.NDArray[np.bool_]) -> Iterator[tuple[npt.NDArray[np.bool_], Ints]]:
    """Rows of ``lacking`` [rows, seeds] by which seeds they have, if any: these, and the rows."""
    for mask in np.unique(lacking, axis=0):
        if not mask.all():
            yield ~mask, np.flatnonzero((lacking == mask).all(axis=1))


def _noise(replicates: Floats, lacking: npt.NDArray[np.bool_]) -> Floats:
    """Σ Var(seed − mean over seeds) / (S (S − 1)) over the seeds that do not lack; 0 where there is one.

    Of ``replicates`` [rows or 1, seeds, resamples], with ``lacking`` [rows, seeds].
    """
    found = np.zeros(len(lacking))
    for mask, rows in _alike(lacking):
        n_seeds = int(np.count_nonzero(mask))
        if n_seeds > 1:
            drawn = (replicates[rows] if len(replicates) == len(lacking) else replicates)[:, mask]
            each = _variances(drawn.reshape(-1, drawn.shape[2])).reshape(-1, n_seeds).sum(axis=1)
            # Σ Var(seed − mean) = Σ Var(seed) − S · Var(mean)
            left = np.maximum(each - n_seeds * _variances(drawn.mean(axis=1)), 0)
            found[rows] = left / (n_seeds * (n_seeds - 1))
    return found


def _variances(replicates: Floats) -> Floats:
    """Over the resamples; one that is not defined (NaN) is left out."""
    found = replicates.var(axis=1, dtype=np.float64)
    for row in np.flatnonzero(np.isnan(found)):
        kept = replicates[row][~np.isnan(replicates[row])]
        if kept.size:
            found[row] = kept.var(dtype=np.float64)
    return found


def _generator(random_state: int, *what: object) -> np.random.Generator:
    return np.random.default_rng([random_state, crc32(repr(what).encode())])


def _sharing(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """A target's outcomes, as one where its languages share example ids, else one a language."""
    ids = frame.select("language", "id").unique()
    return [frame] if ids["id"].n_unique() < ids.height else frame.partition_by("language", maintain_order=True)


def _test(target: str, frame: pl.DataFrame) -> _Test:
    cells = frame.select(_CELL).unique(maintain_order=True).with_row_index("cell")
    own = frame.select(*_CELL, "numerator", "denominator", group=pl.coalesce("group", "id").cast(pl.String))
    groups = own["group"].unique().sort()
    joined = own.join(cells, on=_CELL, maintain_order="left")
    shape = (cells.height, len(groups))
    at = joined["cell"].to_numpy().astype(np.int64) * len(groups)
    at += joined["group"].cast(pl.Enum(groups)).to_physical().to_numpy()

    def matrix(name: str) -> Floats:
        sums = np.bincount(at, weights=joined[name].to_numpy(), minlength=shape[0] * shape[1])
        return sums.reshape(shape).astype(np.float64)

    up, down = matrix("numerator"), matrix("denominator")
    counts = np.bincount(at, minlength=shape[0] * shape[1]).reshape(shape)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: an F1 with nothing to find
        totals = 100 * up.sum(axis=1) / down.sum(axis=1)
    same = bool((down == down[:1]).all())
    return _Test(
        cells.drop("cell"),
        up.astype(np.float32),
        down[: 1 if same else None].astype(np.float32),
        totals,
        counts.sum(axis=1),
        (counts > 0).sum(axis=1),
        (target, frame["language"].unique().cast(pl.String).sort().to_list()),
    )


def _places(
    cells: pl.DataFrame,
    encoders: dict[str, int],
    recipes: dict[str, int],
    seeds: dict[int, int],
    languages: dict[str, int],
) -> tuple[Ints, Places]:
    """Which rows of ``cells`` are of these axes, and where they stand on them."""

    def place(name: str, axis: dict[str, int] | dict[int, int]) -> pl.Expr:
        column = pl.col(name) if name == "seed" else pl.col(name).cast(pl.String)
        return column.replace_strict(axis, default=None, return_dtype=pl.Int64)

    there = cells.select(
        place("encoder", encoders), place("recipe", recipes), place("seed", seeds), place("language", languages)
    )
    there = there.with_row_index("row").drop_nulls()
    row, encoder, recipe, seed, language = (there[name].to_numpy().astype(np.int64) for name in there.columns)
    return row, (encoder, recipe, seed, language)


def _ratios(test: _Test, rows: Ints, at: Places, replicates: Floats, random_state: int) -> None:
    """Write 100 · Σ numerator / Σ denominator over each sample of the examples to where ``at`` says."""
    up = test.numerators[rows].T
    down = (test.denominators if len(test.denominators) == 1 else test.denominators[rows]).T
    for drawn, weights in test.weights(replicates.shape[-1], random_state):
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates[at[0], at[1], at[2], at[3], drawn] = (100 * (weights @ up) / (weights @ down)).T
