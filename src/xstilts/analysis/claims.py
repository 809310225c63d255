"""What a study says of claims: supported, contradicted, undecided, not comparable or not tested, with the evidence.

A claim of an effect names a range of points: "about 8.2" is 8.2 ± the margin of equivalence, "at least 0" is open
above. It is supported only if the whole 95 % interval of the study's estimate lies in the range, contradicted only if
none of it does, and undecided otherwise: so is an equivalence test read, and an effect in the claimed direction but of
another size does not support a number. As with gains, nothing is decided with one seed, without variation, or where
models collapsed. Of a share of recipes, each gain is judged in this way by its own interval, not corrected for their
number; the claim is supported if the gains that lie in the range suffice for the share, contradicted if those that may
do not. Beside a mean or share over recipes stands that of the recipes that were learnt (`xstilts.analysis.learnt`).

All that holds for the quantity that the claim is about. Where the study estimates another one, in encoder, targets,
languages, split or training data, the two are not comparable: the verdict says so, with what was found here and in what
it differs. The study's encoder for a claim is the claim's own, else the largest pretrained one.

What a claim says of the catalog, the data or the set-up of a study is no evidence of anything: such claims are a group
of their own, and agree or differ.

A recipe is matched with a claim by the tasks that it trains on, not by its name, and by what else it has (MLM,
translations, a merge). A task that `stands_for` another in the catalog is taken for it, and differs from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from xstilts.analysis.analyse import Analysis
from xstilts.analysis.answer import ranged, signed
from xstilts.analysis.axes import ENGLISH
from xstilts.analysis.claims_file import (
    Best,
    Claim,
    Difference,
    Effect,
    EncoderIs,
    Examples,
    Gain,
    Languages,
    OverTargets,
    Phases,
    Provenance,
    Roles,
    Share,
)
from xstilts.analysis.comparisons import GAINS_SCHEMA
from xstilts.analysis.matched import Matched, is_known_as
from xstilts.analysis.results import Results
from xstilts.common.errors import UserError, did_you_mean
from xstilts.data import Data, training_size
from xstilts.planning.recipe import NONE, RecipeEntry
from xstilts.tasks import Catalog, builtin_catalog, formats
from xstilts.tasks.task import Task

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED = "supported", "contradicted", "undecided", "not tested"
NOT_COMPARABLE = "not comparable"
#: Of the group SETUP.
AGREES, DIFFERS = "agrees", "differs"
#: Groups of claims: those that scores decide, and those on catalog, data and set-up.
EVIDENCE, SETUP = "evidence", "setup"

CLAIMS_SCHEMA: dict[str, type[pl.DataType]] = {
    "id": pl.String,
    "statement": pl.String,
    "source": pl.String,
    "group": pl.String,  # evidence | setup
    "verdict": pl.String,  # "not comparable" with what was found here
    "evidence": pl.String,
    "low": pl.Float64,  # of the 95 % interval in points; of a share, from 0 to 1: the pairs that surely hold
    "high": pl.Float64,  # ... and those that may
}


@dataclass(frozen=True)
class Verdict:
    """What the study says of a claim."""

    claim: Claim
    outcome: str  # supported | contradicted | undecided | not comparable | not tested; of set-up: agrees | differs
    found: str  # in a sentence
    setting: tuple[str, ...] = ()  # in what the study's quantity differs from the claim's
    here: str = ""  # the study's estimate, in a word or two
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    rows: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=GAINS_SCHEMA))
    stages: tuple[str, ...] = ()  # keys of the stages whose scores these are

    @property
    def group(self) -> str:
        return EVIDENCE if isinstance(self.claim.predicate, Effect) else SETUP

    @property
    def verdict(self) -> str:
        return f"{self.outcome} (here: {self.here})" if self.outcome == NOT_COMPARABLE else self.outcome

    @property
    def evidence(self) -> str:
        return f"{self.found}. What differs: {'; '.join(self.setting)}." if self.setting else f"{self.found}."


def check(
    claims: Iterable[Claim],
    results: Results,
    analysis: Analysis,
    *,
    catalog: Catalog | None = None,
    data: Data = None,
    encoder: str | None = None,
) -> list[Verdict]:
    """What the study says of each claim, by the rules above.

    ``catalog`` is the study's, with its own tasks; ``data`` is where training examples are counted; ``encoder`` is the
    label of the encoder to test effects on, in place of the claim's or the largest. Raises UserError.
    """
    study = Matched(results, analysis, catalog or builtin_catalog(), data)
    labels = study.pretrained
    if encoder is not None and encoder not in labels:
        raise UserError(
            f"encoder {encoder}: the study has no scores of it, pretrained: {did_you_mean(encoder, labels)}"
        )
    return [_judge(claim, study, encoder) for claim in claims]


def table(verdicts: Iterable[Verdict]) -> pl.DataFrame:
    """A row for each verdict (CLAIMS_SCHEMA), evidence first."""
    rows = [
        (one.claim.id, one.claim.statement, one.claim.source, one.group, one.verdict, one.evidence, one.low, one.high)
        for one in sorted(verdicts, key=lambda one: one.group)
    ]
    return pl.DataFrame(rows, schema=CLAIMS_SCHEMA, orient="row")


def decide(low: float, high: float, effect: Effect) -> str:
    """Whether an interval supports that the effect lies in its range; an undefined one (NaN) decides nothing."""
    at_least, at_most = effect.range
    if at_least <= low and high <= at_most:
        return SUPPORTED
    return CONTRADICTED if high < at_least or low > at_most else UNDECIDED


def _judge(claim: Claim, study: Matched, encoder: str | None) -> Verdict:
    match claim.predicate:
        case EncoderIs() as said:
            return _encoder(claim, said, study)
        case Roles() as said:
            return _roles(claim, said, study)
        case Languages() as said:
            return _languages(claim, said, study)
        case Provenance() as said:
            return _provenance(claim, said, study)
        case Examples() as said:
            return _examples(claim, said, study)
        case Phases() as said:
            return _phases(claim, said, study)
        case effect:
            return _effect(claim, effect, study, encoder)


def _effect(claim: Claim, effect: Gain | Share | Difference | Best, study: Matched, encoder: str | None) -> Verdict:
    chosen = encoder or study.encoder(claim.encoder)
    if chosen is None:
        return Verdict(claim, NOT_TESTED, "The study has no scores of a pretrained encoder yet")
    if not study.targets(effect.targets):
        return Verdict(claim, NOT_TESTED, f"The study has no scores on {_any_of(effect.targets)}")
    match effect:
        case Gain():
            found = _gain(claim, effect, study, chosen)
        case Share():
            found = _share(claim, effect, study, chosen)
        case Difference():
            found = _difference(claim, effect, study, chosen)
        case Best():
            found = _best(claim, effect, study, chosen)
    if found.outcome == NOT_TESTED:
        return found
    found = replace(found, setting=_setting(claim, effect, study, found.rows), stages=study.keys(found.rows))
    reasons = found.rows["reason"].drop_nulls().unique(maintain_order=True).to_list()
    if reasons:
        found = replace(found, outcome=UNDECIDED, found=f"{found.found}; nothing is decided: {'; '.join(reasons)}")
    return replace(found, outcome=NOT_COMPARABLE) if found.setting else found


def _gain(claim: Claim, said: Gain, study: Matched, encoder: str) -> Verdict:
    recipes = [name for tasks in said.recipes for name in study.training_on(tasks)]
    rows = study.gains(encoder, recipes, said.targets, said.languages)
    if not rows.height:
        wanted = " or ".join("+".join(tasks) for tasks in said.recipes)
        return Verdict(claim, NOT_TESTED, f"{encoder} has no scores of a recipe that trains on {wanted} alone")
    return _combined(claim, said, study, f"{', '.join(rows['recipe'].unique(maintain_order=True))}: mean gain", rows)


def _difference(claim: Claim, said: Difference, study: Matched, encoder: str) -> Verdict:
    def but(entry: RecipeEntry) -> dict[str, object]:
        return entry.model_dump(exclude={"name", said.beyond})

    pairs = [(name, other.name) for name, one in study.plain.items() for other in study.recipes.values()
             if getattr(other, said.beyond) is not None and but(other) == but(one)]  # fmt: skip
    rows = study.gains(encoder, [name for pair in pairs for name in pair], said.targets, said.languages)
    cells = {(recipe, target) for recipe, target in rows.select("recipe", "target").iter_rows()}
    both = [(a, b, target) for a, b in pairs for target in study.targets(said.targets)
            if (a, target) in cells and (b, target) in cells]  # fmt: skip
    if not both:
        what = "MLM mixed in" if said.beyond == "mlm" else "translated data"
        return Verdict(claim, NOT_TESTED, f"No recipe of the study stands beside the same one with {what}")
    weights = {(a, target): 1.0 / len(both) for a, _, target in both}
    for _, b, target in both:
        weights[b, target] = weights.get((b, target), 0.0) - 1.0 / len(both)
    used = pl.DataFrame(list(weights), schema=["recipe", "target"], orient="row")
    rows = rows.join(used, on=["recipe", "target"], how="semi", maintain_order="left")
    names = "; ".join(dict.fromkeys(f"{a} less {b}" for a, b, _ in both))
    return _combined(claim, said, study, f"{names}: mean difference", rows, weights)


def _combined(
    claim: Claim,
    said: Gain | Difference,
    study: Matched,
    what: str,
    rows: pl.DataFrame,
    weights: dict[tuple[str, str], float] | None = None,
) -> Verdict:
    """Of Σ weight · gain over (recipe, target): their mean by default."""
    if weights is None and rows.height == 1:  # as the table of gains has it
        estimate, low, high = (rows[name].item() for name in ("gain", "low", "high"))
    else:
        found = study.combined(rows, weights or _mean(rows))
        estimate, low, high = found.value, found.low, found.high
    here = f"{signed(estimate)} points"
    told = f"{what} {_over(rows)} {here} ({ranged(low, high, '')}), claimed {_claimed(said)}"
    outcome = UNDECIDED if low is None or high is None else decide(low, high, said)
    learnt = rows.join(study.learnt, on=["encoder", "recipe"], how="semi", maintain_order="left")
    if weights is None and 0 < learnt.height < rows.height:
        alone = study.combined(learnt, _mean(learnt))
        told += f"; of the learnt alone {signed(alone.value)} ({ranged(alone.low, alone.high, '')})"
    return Verdict(claim, outcome, told + _unlearnt(study, rows), (), here, estimate, low, high, rows)


def _mean(rows: pl.DataFrame) -> dict[tuple[str, str], float]:
    """Weights of a mean over the rows."""
    return {(recipe, target): 1 / rows.height for recipe, target in rows.select("recipe", "target").iter_rows()}


def _unlearnt(study: Matched, rows: pl.DataFrame) -> str:
    """Which recipes of the rows are known not to have been learnt."""
    failed = study.analysis.learnt.filter(pl.col("learnt").not_())
    names = rows.join(failed, on=["encoder", "recipe"], how="semi", maintain_order="left")["recipe"].unique(
        maintain_order=True
    )
    return f"; not learnt: {', '.join(names)}" if len(names) else ""


def _share(claim: Claim, said: Share, study: Matched, encoder: str) -> Verdict:
    rows = study.gains(encoder, list(study.plain), said.targets, said.languages)
    n_recipes = rows["recipe"].n_unique()
    if n_recipes < said.min_recipes:
        where = _any_of(study.targets(said.targets))
        needed = f"A share takes {said.min_recipes} recipes, {encoder} has scores of {n_recipes} on {where}"
        return Verdict(claim, NOT_TESTED, needed)
    outcomes = [decide(low, high, said) if low is not None and high is not None else UNDECIDED
                for low, high in rows.select("low", "high").iter_rows()]  # fmt: skip
    surely, not_at_all = outcomes.count(SUPPORTED), outcomes.count(CONTRADICTED)
    low, high = surely / rows.height, 1 - not_at_all / rows.height
    outcome = SUPPORTED if low >= said.share else CONTRADICTED if high < said.share else UNDECIDED
    here = f"{surely} of {rows.height} gains"
    found = (
        f"{here} of {n_recipes} recipes {_over(rows)} lie surely in the range ({_claimed(said)}), {not_at_all} surely "
        f"not, {rows.height - surely - not_at_all} are open; claimed of {100 * said.share:.0f} %"
    )
    passed = rows.with_row_index("row").join(study.learnt, on=["encoder", "recipe"], how="semi")["row"].to_list()
    if 0 < len(passed) < rows.height:
        found += f"; of the {len(passed)} learnt {[outcomes[i] for i in passed].count(SUPPORTED)}"
    return Verdict(claim, outcome, found + _unlearnt(study, rows), (), here, surely / rows.height, low, high, rows)


def _best(claim: Claim, said: Best, study: Matched, encoder: str) -> Verdict:
    """By the row of all targets of the choices, or that of the only one: their intervals cover the choosing."""
    choices = study.analysis.choices.filter(pl.col("encoder") == encoder)
    single = choices.filter(pl.col("chosen").is_not_null())
    if not single.height:
        return Verdict(claim, NOT_TESTED, "No target of the study has an English dev score to choose a recipe by")
    strangers = set(single["target"]) - set(study.targets(said.targets))
    if strangers:
        names = ", ".join(sorted(strangers))
        return Verdict(claim, NOT_TESTED, f"The mean over the study's targets holds {names}, which the claim does not")
    row = (single if single.height == 1 else choices.filter(pl.col("chosen").is_null())).row(0, named=True)
    recipes = single.select("target", recipe="chosen")
    compared = study.gains(encoder, list(study.axes.recipes), said.targets, said.languages)
    cells = zip(compared["recipe"], compared["target"], strict=True)
    compared = compared.filter(pl.Series([not study.axes.adds_labels(*cell) for cell in cells], dtype=pl.Boolean))
    if not compared.height:
        return Verdict(claim, NOT_TESTED, f"The study has no recipe to choose beside `{NONE}`")
    if row["gain"] is None:
        return Verdict(
            claim, UNDECIDED, f"Chosen by English dev data, but {row['reason']}", here="one seed", rows=compared
        )
    rows = compared.join(recipes, on=["target", "recipe"], how="semi", maintain_order="left")
    if not rows.height:  # `none` is chosen everywhere: the gains passed over are the evidence
        rows = compared
    chosen = ", ".join(f"{recipe} on {target}" for target, recipe in recipes.iter_rows())
    found = (
        f"Chosen by English dev data: {chosen}; mean gain over non-English languages, by the choice "
        f"of the other seeds, {signed(row['gain'])} points "
        f"({ranged(row['low'], row['high'], '')}), claimed {_claimed(said)}"
    )
    outcome = UNDECIDED if row["low"] is None else decide(row["low"], row["high"], said)
    return Verdict(
        claim, outcome, found, (), f"{signed(row['gain'])} points", row["gain"], row["low"], row["high"], rows
    )


def _setting(claim: Claim, said: OverTargets, study: Matched, rows: pl.DataFrame) -> tuple[str, ...]:
    """In what the gains differ from what the claim is about."""
    differ = []
    encoder = rows["encoder"][0]
    if claim.encoder and not is_known_as(study.axes.encoder(encoder), claim.encoder):
        differ.append(f"{encoder}, not {claim.encoder}")
    chosen = study.analysis.choices.filter(pl.col("encoder") == encoder, pl.col("chosen").is_not_null())
    used = (chosen if isinstance(said, Best) else rows)["target"].unique(maintain_order=True).to_list()
    meant = {study.stands_for(target) for target in used} | set(used)
    missing = [target for target in said.targets if target not in meant]
    if missing:
        differ.append(f"{len(said.targets) - len(missing)} of {len(said.targets)} targets")
    trained = [task for name in rows["recipe"].unique(maintain_order=True) if name in study.recipes
               for task in study.recipes[name].tasks]  # fmt: skip
    differ += [f"{name} for {study.stands_for(name)}" for name in dict.fromkeys([*trained, *used])
               if study.stands_for(name) != name and name not in said.targets]  # fmt: skip
    for target, n in rows.select("target", "n_languages").unique(maintain_order=True).iter_rows():
        task = study.task(study.stands_for(target))
        there = [one for one in task.languages if said.languages == "all" or one != ENGLISH] if task else []
        if n < len(there):
            differ.append(f"{n} of {len(there)} languages on {target}")
    splits = study.results.scores.filter(pl.col("target").is_in(used)).select("target", "split").unique(
        maintain_order=True)  # fmt: skip
    other = [
        f"{split} of {target}"
        for target, split in splits.iter_rows()
        if claim.split and split != claim.split and _has(study.task(study.stands_for(target)), claim.split)
    ]
    if other:
        differ.append(f"{', '.join(other)}, not {claim.split}")
    differ += _cut_short(
        study, [*trained, *(t for name in used if (task := study.task(name)) and (t := task.training_task))]
    )
    return tuple(dict.fromkeys(differ))


def _cut_short(study: Matched, trained: Sequence[str]) -> list[str]:
    """Tasks of whose training data the study used a part."""
    train = study.results.data.filter(pl.col("use") == "train")
    most = dict(train.group_by("task").agg(pl.col("examples").max()).iter_rows())
    said = []
    for name in dict.fromkeys(trained):
        task = study.task(study.stands_for(name))
        whole = task.count("train", ENGLISH) if task else None
        if whole is not None and name in most and most[name] < 0.8 * whole:  # a tenth may be cut out as dev
            said.append(f"trained on {most[name]:,} of {whole:,} examples of {study.stands_for(name)}")
    return said


def _encoder(claim: Claim, said: EncoderIs, study: Matched) -> Verdict:
    labels = [one.label for one in study.axes.encoders]
    if not labels:
        return Verdict(claim, NOT_TESTED, "The study has no scores yet")
    if all(is_known_as(one, said.source) for one in study.axes.encoders):
        return Verdict(claim, AGREES, f"The study starts from {', '.join(labels)}")
    return Verdict(claim, NOT_TESTED, f"The study starts from {', '.join(labels)}, not from {said.source}")


def _roles(claim: Claim, said: Roles, study: Matched) -> Verdict:
    fits: Callable[[Task], bool] = {
        "target": lambda task: task.training_task is not None or formats.get(task.format).comparison is not None,
        "intermediate": lambda task: task.training_task == task.name,
        "untrained": lambda task: task.training_task is None,
    }[said.role]
    tasks = [study.catalog[name] for name in said.tasks]
    wrong = [task.name for task in tasks if not fits(task)]
    there = {task.format for task in tasks}
    lacking = [name for name in said.formats if name not in there]
    role = {"target": "targets", "intermediate": "intermediate tasks", "untrained": "untrained tasks"}[said.role]
    problems = [
        *([f"{', '.join(wrong)}: not {role}"] if wrong else []),
        *([f"{len(tasks)} tasks, not {said.count}"] if said.count not in (None, len(tasks)) else []),
        *([f"none of format {', '.join(lacking)}"] if lacking else []),
    ]
    if problems:
        return Verdict(claim, DIFFERS, f"The catalog: {'; '.join(problems)}")
    return Verdict(claim, AGREES, f"The catalog has {len(tasks)} {role}: {', '.join(said.tasks)}")


def _languages(claim: Claim, said: Languages, study: Matched) -> Verdict:
    found = {language for name in said.tasks for language in study.catalog[name].languages}
    outcome = AGREES if len(found) == said.count else DIFFERS
    return Verdict(claim, outcome, f"The catalog has {len(found)} languages of these tasks, claimed {said.count}")


def _provenance(claim: Claim, said: Provenance, study: Matched) -> Verdict:
    texts = {name: study.catalog[name].provenance for name in said.tasks}
    told = "; ".join(f"{name}: {text or 'nothing'}" for name, text in texts.items())
    holds = all(word.lower() in text.lower() for text in texts.values() for word in said.mentions)
    return Verdict(claim, AGREES if holds else DIFFERS, f"The catalog says of {told}")


def _examples(claim: Claim, said: Examples, study: Matched) -> Verdict:
    """Fewer examples decide nothing: whether files are a part of the data cannot be seen from them."""
    counted = training_size(study.catalog[said.task], study.data)
    if counted is None:
        return Verdict(claim, NOT_TESTED, f"The training data of {said.task} are not at hand")
    if counted < said.count:
        return Verdict(claim, UNDECIDED, f"The files at hand have {counted:,}, and may be a part")
    outcome = AGREES if counted == said.count else DIFFERS
    return Verdict(claim, outcome, f"{counted:,} training examples of {said.task} were counted")


def _phases(claim: Claim, said: Phases, study: Matched) -> Verdict:
    """By the stages that were computed for recipes with tasks, on targets that are trained on."""
    curves = study.results.curves.filter(pl.col("recipe").is_in(list(study.plain)))
    found: dict[tuple[str, str, int], set[str]] = {}
    for encoder, recipe, seed, phase in curves.select("encoder", "recipe", "seed", "phase").unique().iter_rows():
        found.setdefault((encoder, recipe, seed), set()).add(phase)
    if not found or "target" not in study.results.curves["phase"]:
        return Verdict(claim, NOT_TESTED, "The study has no trained recipe with intermediate tasks and trained target")
    whole = sum(phases == set(said.phases) for phases in found.values())
    keys = tuple(curves["key"].unique(maintain_order=True))
    told = f"{whole} of {len(found)} runs of recipes with tasks were trained in the phases {' and '.join(said.phases)}"
    outcome = AGREES if whole == len(found) else UNDECIDED if whole else DIFFERS
    return Verdict(claim, outcome, told, stages=keys)


def _has(task: Task | None, split: str) -> bool:
    return task is not None and any(getattr(layout, split) for layout in task.layouts)


def _claimed(effect: Effect) -> str:
    if effect.about is not None:
        return f"about {signed(effect.about)} (± {effect.margin:g})"
    return " and ".join([
        *([f"at least {signed(effect.at_least)}"] if effect.at_least is not None else []),
        *([f"at most {signed(effect.at_most)}"] if effect.at_most is not None else []),
    ])  # fmt: skip


def _over(rows: pl.DataFrame) -> str:
    return f"on {', '.join(rows['target'].unique(maintain_order=True))}, {rows['encoder'][0]},"


def _any_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"any of {', '.join(names)}"
