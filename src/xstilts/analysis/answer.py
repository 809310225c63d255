"""The answer in words: what helped, what hurt, whether size matters, and what cannot be concluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from xstilts.analysis.axes import ZERO_SHOT, Axes
from xstilts.analysis.comparisons import HELPS, HURTS, NO_EFFECT, SHOWN
from xstilts.analysis.intervals import EQUIVALENCE_MARGIN
from xstilts.analysis.results import Results
from xstilts.analysis.scales import signed as signed
from xstilts.analysis.size_words import size_caveats, size_sentences
from xstilts.planning.recipe import NONE

QUESTION = (
    "Does training on an English intermediate task, before the English target task, help in languages without "
    "training data: which task, by how much, and does it depend on the size of the encoder?"
)

#: With fewer seeds, the interval says little about how much training varies.
ENOUGH_SEEDS = 5
#: With fewer examples a language, percentile intervals are too narrow.
ENOUGH_EXAMPLES = 50
_MOST_NAMED = 3  # items of a list that a line of the terminal has room for

# Caveats that a study's own notes may state already, by a word that such a note would hold.
_MINI = ("mini suite", "Targets named mini-… are the embedded mini suite: their scores are not XTREME's.")
_TRUNCATED = ("runcat", "{} are the first layers of one pretrained encoder: no stand-in for pretraining at that size.")


@dataclass(frozen=True)
class Answer:
    """The answer piece by piece, each in plain sentences; a piece that has nothing to say is empty."""

    best: tuple[str, ...]  # one sentence a target, span targets first: the recipe that helped most
    hurt: str
    size: tuple[str, ...]  # two sentences: over reading comprehension, then target by target
    basis: str  # seeds, examples, languages
    controls: str
    missing: tuple[str, ...]
    cannot: tuple[str, ...]  # what cannot be concluded, most important first

    def text(self) -> str:
        """At most eight lines for the terminal."""
        lines = [
            *self.best[:2],  # further targets are in the report
            self.hurt,
            " ".join(self.size),
            self.basis,
            self.controls,
            _some("Missing: ", self.missing, "; "),
            _some("Cannot be concluded: ", self.cannot, " "),
        ]
        return "\n".join(line for line in lines if line)


def answer(results: Results, of: Axes, scores: pl.DataFrame, gains: pl.DataFrame, sizes: pl.DataFrame) -> Answer:
    """The answer that the scores (ESTIMATES_SCHEMA), gains (GAINS_SCHEMA) and sizes (SIZES_SCHEMA) give."""
    means = gains.filter(pl.col("language") == ZERO_SHOT)
    missing = (*_missing(results, of), *results.failures)
    if not means.height:
        return Answer((_why_no_gains(of),), "", (), _basis(results, of), "", missing, tuple(results.notes))
    pretrained = [encoder.label for encoder in of.encoders if not encoder.random]
    compared = means.filter(pl.col("encoder").is_in(pretrained))
    return Answer(
        best=tuple(_best(target, of, compared) for target in of.targets),
        hurt=_hurt(compared),
        size=size_sentences(of, sizes),
        basis=_basis(results, of),
        controls=_controls(of, scores),
        missing=missing,
        cannot=_cannot(results, of, gains, sizes),
    )


def ranged(low: float | None, high: float | None, covers: str) -> str:
    """An interval in words, with what it covers where that is the examples alone."""
    if low is None or high is None:
        return "no interval"
    only = ", over examples only: one seed" if covers == "examples" else ""
    return f"95 % interval {signed(low)} to {signed(high)}{only}"


def counted(n: int, thing: str, things: str | None = None) -> str:
    return f"{n:,} {thing if n == 1 else things or thing + 's'}"


def _best(target: str, of: Axes, means: pl.DataFrame) -> str:
    here = means.filter(pl.col("target") == target).sort("gain", descending=True, nulls_last=True)
    if not here.height:
        return f"{target}: no comparison with `{NONE}` has scores on both sides."
    helped = here.filter(pl.col("verdict") == HELPS)
    row = (helped if helped.height else here).row(0, named=True)
    encoder = of.encoder(row["encoder"])
    gain = f"{signed(row['gain'])} points ({ranged(row['low'], row['high'], row['covers'])})"
    where = (
        f"as the mean over {counted(row['n_languages'], 'non-English language')}, "
        f"on {row['encoder']} ({encoder.size} parameters without embeddings)"
    )
    if (here["verdict"] == NO_EFFECT).all():
        margin = f"{EQUIVALENCE_MARGIN:g} {'point' if EQUIVALENCE_MARGIN == 1 else 'points'}"
        return f"{target}: every recipe is shown to change less than {margin}; {row['recipe']}, {gain} {where}."
    if not helped.height:
        return f"{target}: no recipe is shown to help. The largest gain, of {row['recipe']}, is {gain} {where}."
    return f"{target}: {row['recipe']} helps most, {gain} {where}."


def _hurt(means: pl.DataFrame) -> str:
    hurt = means.filter(pl.col("verdict") == HURTS).sort("gain")
    if not hurt.height:
        return f"Hurt: none is shown to ({counted(means.height, 'comparison')})."
    named = [
        f"{row['recipe']} on {row['target']}, {row['encoder']}: {signed(row['gain'])} "
        f"({ranged(row['low'], row['high'], row['covers'])})"
        for row in hurt.head(_MOST_NAMED).iter_rows(named=True)
    ]
    more = f"; and {hurt.height - _MOST_NAMED} more" if hurt.height > _MOST_NAMED else ""
    return f"Hurt: {'; '.join(named)}{more}."


def _basis(results: Results, of: Axes) -> str:
    main = results.scores.filter(pl.col("main"))
    if not main.height:
        return "No scores yet."
    low, high = main["n"].to_numpy().min(), main["n"].to_numpy().max()
    examples = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    languages = {len(codes) for codes in of.languages.values()}
    spread = counted(max(languages), "language")
    if len(languages) > 1:
        spread = f"{min(languages)} to {spread}"
    how = ", ".join(
        f"{name} {'/'.join(sorted(set(main[name].drop_nulls())))}"
        for name in ("preset", "precision")
        if main[name].drop_nulls().len()
    )
    return (
        f"Basis: {counted(len(of.seeds), 'seed')}, {examples} examples a language, {spread} a target"
        f"{'; ' + how if how else ''}."
    )


def _controls(of: Axes, scores: pl.DataFrame) -> str:
    """Pretrained against randomly initialised encoders: without a gap, scores would say nothing of pretraining."""
    means = scores.filter(pl.col("language") == ZERO_SHOT).select("encoder", "recipe", "target", "value")
    zero_shot = {tuple(cell): value for *cell, value in means.iter_rows()}
    pretrained = {(one.source, one.parameters): one.label for one in of.encoders[::-1] if not one.random}
    said = []
    for target in of.targets[:_MOST_NAMED]:
        for encoder in of.encoders:
            same = pretrained.get((encoder.source, encoder.parameters))
            if not encoder.random or same is None:
                continue
            for recipe in of.recipes:
                both = [zero_shot.get((label, recipe, target)) for label in (same, encoder.label)]
                if both[0] is not None and both[1] is not None:
                    said.append(
                        f"{target}, {same}, {recipe}: pretrained {both[0]:.1f}, untrained control {both[1]:.1f}"
                    )
                    break  # one recipe is enough, the first: `none` where it was run
    return f"Controls (non-English mean): {'; '.join(said[:_MOST_NAMED])}." if said else ""


def _missing(results: Results, of: Axes) -> tuple[str, ...]:
    """Cells of the study without scores, or with fewer languages or seeds than the others."""
    cell = ["encoder", "recipe", "target"]
    by_seed = results.scores.filter("main").group_by(*cell, "seed").agg("language")
    scored: dict[tuple[str, str, str], list[set[str]]] = {}
    for *key, _, languages in by_seed.iter_rows():
        scored.setdefault((key[0], key[1], key[2]), []).append(set(languages))
    found = []
    for encoder in of.encoders:
        for recipe in of.recipes:
            for target in of.targets:
                name = f"{encoder.label}, {recipe}, {target}"
                planned = len(of.seeds)
                if results.planned is not None:
                    planned = results.planned.get((encoder.label, recipe, target), 0)
                if not planned:
                    continue
                there = scored.get((encoder.label, recipe, target))
                if there is None:
                    found.append(f"{name}: no scores")
                    continue
                languages = set().union(*there)
                lacking = [language for language in of.languages[target] if language not in languages]
                if lacking:
                    found.append(f"{name}: no scores in {', '.join(lacking)}")
                seeds = sum(one == languages for one in there)
                if seeds < planned:
                    found.append(f"{name}: {seeds} of {counted(planned, 'seed')} with all languages")
    return tuple(found)


def _cannot(results: Results, of: Axes, gains: pl.DataFrame, sizes: pl.DataFrame) -> tuple[str, ...]:
    pretrained = [encoder for encoder in of.encoders if not encoder.random]
    caveats = _collapsed(results) + _precisions(results)
    if len(of.seeds) == 1:
        caveats.append("One seed: the intervals cover the examples only, not how much training varies.")
    elif len(of.seeds) < ENOUGH_SEEDS:
        caveats.append(f"{len(of.seeds)} seeds tell little of how training varies; {ENOUGH_SEEDS} or more are better.")
    named = any(entry.name and entry.layers for entry in results.study.encoders)
    for (word, said), applies in (
        (_MINI, any(target.startswith("mini-") for target in of.targets)),
        (_TRUNCATED, not all(encoder.whole for encoder in pretrained)),
    ):
        if applies and not any(word in note for note in results.notes):
            caveats.append(said.format("Encoders with `layers` in the study" if named else "Labels with @"))
    caveats += size_caveats(sizes)
    fewest = results.scores.filter(pl.col("main"))["n"].to_numpy().min()
    if fewest < ENOUGH_EXAMPLES:
        caveats.append(f"As few as {counted(int(fewest), 'example')} a language: such intervals are too narrow.")
    main, single = gains.filter(pl.col("language") == ZERO_SHOT), gains.filter(pl.col("n_languages") == 1)
    shown = single.filter(pl.col("verdict").is_in(SHOWN)).height
    caveats.append(
        f"What is said of non-English means is corrected for their number ({main.height:,}, Holm); intervals are "
        f"not. Nor are single languages: of {counted(single.height, 'comparison')} {shown} exclude 0, "
        f"about {0.05 * single.height:.0f} would if no recipe did anything."
    )
    caveats.append(results.training_sample)
    return (*caveats, *results.notes)


def _collapsed(results: Results) -> list[str]:
    """How many trainings were no better on dev than the majority class: a gain then says little of the task."""
    trained = results.curves.unique(["key", "recipe"], maintain_order=True).join(
        results.stages.select("key", "collapsed").drop_nulls(), on="key", maintain_order="left"
    )
    said = []
    for phase in ("intermediate", "target"):
        of_phase = trained.filter(pl.col("phase") == phase)
        by_recipe = of_phase.group_by("recipe", maintain_order=True).agg(pl.col("collapsed").sum(), n=pl.len())
        named = [f"{recipe} {n} of {of}" for recipe, n, of in by_recipe.iter_rows() if n]
        if named:
            said.append(f"of {of_phase.height} {phase} trainings {of_phase['collapsed'].sum()} ({', '.join(named)})")
    if not said:
        return []
    return [
        f"No better on dev than the majority class are, {'; '.join(said)}: gains after these say little of what a task "
        "can teach."
    ]


def _precisions(results: Results) -> list[str]:
    """Targets whose models computed in one precision here and in another there: a difference may be of that alone."""
    found = results.scores.filter("main").group_by("target", maintain_order=True).agg("precision")
    mixed = {target: sorted(set(given) - {None}) for target, given in found.iter_rows()}
    return [
        f"{target}: computed in {' and '.join(given)}, and a gain between them may be the precision's alone; set one "
        "`precision` in `training`."
        for target, given in mixed.items()
        if len(given) > 1
    ]


def _why_no_gains(of: Axes) -> str:
    if not of.recipes:
        return "No scores yet: nothing can be said."
    if NONE not in of.recipes:
        return f"No gains: recipe `{NONE}` has no scores, and gains are measured against it."
    if of.recipes == (NONE,):
        return f"No gains: `{NONE}` is the only recipe with scores."
    return f"No gains: no recipe has scores in a non-English language where `{NONE}` has some."


def _some(head: str, items: Sequence[str], glue: str) -> str:
    if not items:
        return ""
    more = f"{glue}({len(items) - _MOST_NAMED} more in the report)" if len(items) > _MOST_NAMED else ""
    return head + glue.join(items[:_MOST_NAMED]) + more
