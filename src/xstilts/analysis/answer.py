"""The answer in words: what helped, what hurt, whether size matters, and what cannot be concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from xstilts.analysis.axes import ENGLISH, ZERO_SHOT, Axes
from xstilts.analysis.comparisons import ABOVE, BELOW, HELPS, HURTS, NO_EFFECT, NOT_JUDGED
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
_NOTHING_COMPARED = f"No intermediate task is compared: `{NONE}` alone is zero-shot."
_MOST_CODES = 12  # languages that are named
_MOST_NAMED = 3  # items of a list that a line of the terminal has room for

# Caveats that a study's own notes may state already, by a word that such a note would hold.
_MINI = ("mini suite", "Targets named mini-… are the embedded mini suite: their scores are not XTREME's.")
_PRUNED = ("runcat", "{} are {} of one pretrained encoder: no stand-in for pretraining at that size.")


@dataclass(frozen=True)
class Answer:
    """The answer piece by piece, each in plain sentences; a piece that has nothing to say is empty."""

    best: tuple[
        str, ...
    ]  # what happened, if nothing is judged; a sentence a target, span targets first: what helped most
    languages: str
    hurt: str
    size: tuple[str, ...]  # two sentences: over reading comprehension, then target by target
    basis: str  # seeds, examples, languages
    controls: str
    missing: tuple[str, ...]
    cannot: tuple[str, ...]  # what cannot be concluded, most important first
    labelled: tuple[str, ...] = ()  # what recipes gain that are not zero-shot; nothing else speaks of these

    def text(self) -> str:
        """At most eight lines for the terminal."""
        lines = [
            *self.best[:2],  # further targets are in the report
            " ".join(filter(None, (self.hurt, self.languages))),
            " ".join(self.size),
            _some("NOT zero-shot: ", self.labelled, " "),
            self.basis,
            self.controls,
            _some("Missing: ", self.missing, "; "),
            _some("Cannot be concluded: ", self.cannot, " "),
        ]
        return "\n".join(line for line in lines if line)


def answer(
    results: Results,
    of: Axes,
    scores: pl.DataFrame,
    gains: pl.DataFrame,
    sizes: pl.DataFrame,
    learnt: pl.DataFrame,
) -> Answer:
    """The answer that scores (ESTIMATES_SCHEMA), gains (GAINS_SCHEMA), SIZES_SCHEMA and LEARNT_SCHEMA give."""
    means = gains.filter(pl.col("language") == ZERO_SHOT)
    missing = (*_missing(results, of), *results.failures)
    if not means.height:
        return Answer((_why_no_gains(of),), "", "", (), _basis(results, of), "", missing, tuple(results.notes))
    adds = pl.Series([of.adds_labels(*cell) for cell in gains.select("recipe", "target").iter_rows()], dtype=pl.Boolean)
    of_labels, gains = gains.filter(adds), gains.filter(~adds)
    pretrained = pl.col("encoder").is_in([encoder.label for encoder in of.encoders if not encoder.random])
    compared = gains.filter(pl.col("language") == ZERO_SHOT, pretrained)
    best = [_best(target, of, compared, learnt) for target in of.targets]
    return Answer(
        best=tuple(filter(None, (_not_judged(compared), *best))) or (_NOTHING_COMPARED,),
        hurt=_hurt(compared, of),
        languages=_by_language(of, gains.filter(pretrained)),
        size=size_sentences(of, sizes),
        basis=_basis(results, of),
        controls=_controls(of, scores),
        missing=missing,
        cannot=_cannot(results, of, gains, sizes),
        labelled=_labelled(of, of_labels.filter(pretrained)),
    )


def ranged(low: float | None, high: float | None, covers: str) -> str:
    """An interval in words, with what it covers where that is the examples alone."""
    if low is None or high is None:
        return "no interval"
    only = ", over examples only: one seed" if covers == "examples" else ""
    return f"95 % interval {signed(low)} to {signed(high)}{only}"


def counted(n: int, thing: str, things: str | None = None) -> str:
    return f"{n:,} {thing if n == 1 else things or thing + 's'}"


def _not_judged(means: pl.DataFrame) -> str:
    """What happened, where no comparison could be judged; else empty."""
    if not means.height or (means["verdict"] != NOT_JUDGED).any():
        return ""
    reasons = means["reason"].unique(maintain_order=True).to_list()
    if any(reason.startswith("collapsed") for reason in reasons):
        models = "each comparison has models that are no better on English dev than the majority class"
        return f"Nothing can be concluded on any intermediate task: training collapsed, and {models}."
    return f"Nothing can be concluded on any intermediate task, for there is {' or '.join(reasons)}."


def _best(target: str, of: Axes, means: pl.DataFrame, learnt: pl.DataFrame) -> str:
    """Which task helps on a target, in which languages, by how much, and how sure that is."""
    name = of.called(target)
    here = means.filter(pl.col("target") == target).sort("gain", descending=True, nulls_last=True)
    if not here.height and any(of.adds_labels(recipe, target) for recipe in of.recipes):
        return ""  # nothing there is zero-shot but `none`
    if not here.height:
        return f"{name}: no comparison with `{NONE}` has scores on both sides."
    judged = here.filter(pl.col("verdict") != NOT_JUDGED)
    helped = judged.filter(pl.col("verdict") == HELPS)
    row = next(rows for rows in (helped, judged, here) if rows.height).row(0, named=True)
    recipe, encoder = of.called(row["recipe"]), of.encoder(row["encoder"])
    gain = f"{signed(row['gain'])} points ({ranged(row['low'], row['high'], row['covers'])})"
    codes = [code for code in of.languages[target] if code != ENGLISH]
    named = f" ({', '.join(codes)})" if len(codes) == row["n_languages"] and len(codes) <= _MOST_CODES else ""
    seen = of.beyond_english.get((row["recipe"], target))
    which = f" (NOT zero-shot: trained on labelled data in {', '.join(seen)})" if seen else " without training data"
    where = (
        f"as the mean over {counted(row['n_languages'], 'language')}{which}{named}, on "
        f"{row['encoder']} ({encoder.size} parameters without embeddings){_unlearnt(row, learnt)}"
    )
    if not judged.height:
        return f"{name}: nothing is judged, {row['reason']}. The largest estimate is that of {recipe}: {gain} {where}."
    if (judged["verdict"] == NO_EFFECT).all():
        margin = f"{EQUIVALENCE_MARGIN:g} {'point' if EQUIVALENCE_MARGIN == 1 else 'points'}"
        return f"{name}: every recipe is shown to change less than {margin}; {recipe}, {gain} {where}."
    if not helped.height:
        return f"{name}: no recipe is shown to help. The largest gain, of {recipe}, is {gain} {where}."
    number = means.filter(pl.col("verdict") != NOT_JUDGED).height
    sure = f"; shown after correction for {counted(number, 'comparison')}" if number > 1 else ""
    return f"{name}: {recipe} helps most, {gain} {where}{sure}."


def _labelled(of: Axes, gains: pl.DataFrame) -> tuple[str, ...]:
    """What labelled data of other languages gain, a sentence a target and recipe, on the largest encoder that has it.

    In the languages that they are in, where these are evaluated; else as the mean over all but English.
    """
    said = []
    for target in of.targets:
        for recipe in of.recipes:
            own = gains.filter(pl.col("target") == target, pl.col("recipe") == recipe, pl.col("gain").is_not_null())
            if not own.height:
                continue
            encoder = [one.label for one in of.encoders if one.label in set(own["encoder"])][-1]
            own, codes = own.filter(pl.col("encoder") == encoder), of.beyond_english[recipe, target]
            there = own.filter(pl.col("language").is_in(codes))
            rows = there if there.height else own.filter(pl.col("language") == ZERO_SHOT)
            found = []
            for row in rows.iter_rows(named=True):
                interval = ranged(row["low"], row["high"], row["covers"])
                found.append(f"{signed(row['gain'])} points in {row['language']} ({interval})")
            told = f"{', '.join(found[:_MOST_NAMED])}{', and more in the tables' if len(found) > _MOST_NAMED else ''}"
            said.append(f"{of.called(target)}: {of.called(recipe)}, with labelled data in {', '.join(codes)}, gains "
                        f"{told} over `{NONE}`, on {encoder}.")  # fmt: skip
    return tuple(said)


def _unlearnt(row: Mapping[str, object], learnt: pl.DataFrame) -> str:
    """That the recipe of a gain was not learnt, where that is so."""
    own = learnt.filter(pl.col("encoder") == row["encoder"], pl.col("recipe") == row["recipe"])
    if not own.height or own["learnt"].item() is not False:
        return ""
    return (
        f", though its intermediate training was learnt with {own['n_learnt'].item()} of {own['n_seeds'].item()} seeds"
    )


def _by_language(of: Axes, gains: pl.DataFrame) -> str:
    """In which language the gains that are shown are largest and smallest."""
    said = []
    for row in gains.filter(pl.col("language") == ZERO_SHOT, pl.col("verdict") == HELPS).iter_rows(named=True):
        own = gains.filter(
            *(pl.col(name) == row[name] for name in ("encoder", "recipe", "target")),
            pl.col("n_languages") == 1, pl.col("language") != ENGLISH, pl.col("gain").is_not_null(),
        ).sort("gain")  # fmt: skip
        if own.height > 1:
            ends = [f"{signed(own['gain'][i])} in {own['language'][i]}" for i in (0, -1)]
            said.append(f"{of.called(row['recipe'])} on {of.called(row['target'])}, {row['encoder']}, from "
                        f"{ends[0]} to {ends[1]}")  # fmt: skip
    return _some("By language, as estimated: ", said, "; ") + "." * bool(said)


def _hurt(means: pl.DataFrame, of: Axes) -> str:
    judged = means.filter(pl.col("verdict") != NOT_JUDGED)
    hurt = judged.filter(pl.col("verdict") == HURTS).sort("gain")
    if not judged.height:
        return ""
    if not hurt.height:
        return f"Hurt: none is shown to ({counted(judged.height, 'comparison')})."
    named = [
        f"{of.called(row['recipe'])} on {of.called(row['target'])}, {row['encoder']}: {signed(row['gain'])} "
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
    cut = [entry.encoder for entry in results.study.encoders if entry.encoder.is_cut]
    if all(isinstance(one.layers, int) and not (one.ffn or one.heads) for one in cut):
        which, parts = "Encoders with `layers` in the study", "the first layers"
    else:
        which, parts = "Pruned encoders", "parts"
    which = which if any(one.name for one in cut) or parts == "parts" else "Labels with @"
    for (word, said), applies in (
        (_MINI, any(target.startswith("mini-") for target in of.targets)),
        (_PRUNED, not all(encoder.whole for encoder in pretrained)),
    ):
        if applies and not any(word in note for note in results.notes):
            caveats.append(said.format(which, parts))
    caveats += size_caveats(sizes)
    fewest = results.scores.filter(pl.col("main"))["n"].to_numpy().min()
    if fewest < ENOUGH_EXAMPLES:
        caveats.append(f"As few as {counted(int(fewest), 'example')} a language: such intervals are too narrow.")
    told = gains.filter(pl.col("verdict") != NOT_JUDGED)
    main, single = told.filter(pl.col("language") == ZERO_SHOT), told.filter(pl.col("n_languages") == 1)
    shown = single.filter(pl.col("verdict").is_in([ABOVE, BELOW])).height
    caveats.append(
        f"What is said of non-English means is corrected for their number ({main.height:,}, Holm); intervals are "
        f"not. Nor are single languages: of {counted(single.height, 'comparison')} {shown} exclude 0, "
        f"about {0.05 * single.height:.0f} would if no recipe did anything."
    )
    caveats.append(
        "Languages, recipes and targets are fixed: what is said holds for these, and not for others like them."
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
