"""The draft of a paper on a study: one text, written in Markdown and in LaTeX, with its references in BibTeX.

Its numbers are those of the store and of the analysis; its prose (paper.j2) has none of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import polars as pl
import yaml
from jinja2 import Environment, StrictUndefined

from xstilts.analysis.analyse import Analysis
from xstilts.analysis.answer import QUESTION, Answer, counted
from xstilts.analysis.axes import ENGLISH, NONE, ZERO_SHOT, millions
from xstilts.analysis.evidence import Assessment
from xstilts.analysis.methods import Methods, Span, UsedRecipe, methods, planned
from xstilts.analysis.results import Results
from xstilts.common.units import duration
from xstilts.reporting.evidence import Section, section
from xstilts.reporting.forms import Form, Latex, Markdown, Written
from xstilts.reporting.paper_table import paper_table
from xstilts.reporting.table import Table
from xstilts.reporting.tables import INTERVALS, Verdict, choices_table, claims_tables, sizes_table
from xstilts.reporting.write import costs, count, publish

#: The form of each file of a draft.
FORMS: Mapping[str, type[Form]] = {"paper.md": Markdown, "paper.tex": Latex}


def write_paper(
    results: Results,
    analysis: Analysis,
    out: Path,
    claims: Sequence[Verdict] = (),
    published: Assessment | None = None,
    *,
    languages: str = ZERO_SHOT,
) -> Path:
    """Write paper.md, paper.tex, references.bib and data.csv to ``out``, and return the path of paper.md.

    ``published`` is what stands beside the results; ``languages`` are those that scores are means over. Raises
    UserError where ``out`` cannot be written.
    """

    def write(new: Path) -> None:
        for name, form in FORMS.items():
            filled = form()
            (new / name).write_text(draft(filled, results, analysis, claims, published, languages), encoding="utf-8")
            bibtex = "\n".join(entry.bibtex for _, entry in sorted(filled.cited.items()))
            (new / "references.bib").write_text(bibtex, encoding="utf-8")
        results.data.write_csv(new / "data.csv")

    publish(out, write)
    return out / "paper.md"


def draft(
    form: Form,
    results: Results,
    analysis: Analysis,
    claims: Sequence[Verdict],
    published: Assessment | None,
    languages: str,
) -> str:
    """The text of a draft in a form, which then knows what it cites."""
    study, answer, used = results.study, analysis.answer, methods(results)
    evidence = section(published) if published else None
    environment = Environment(
        finalize=form.written,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string((files("xstilts.reporting") / "paper.j2").read_text(encoding="utf-8"))
    text = template.render(
        form=form,
        study=study,
        title=f"{study.name}: English intermediate-task training and zero-shot cross-lingual transfer",
        status=_status(results),
        missing=[*_never_run(results, analysis), *answer.missing],
        answer=[*answer.best, *_labelled(answer), *filter(None, answer.size[:1]), answer.basis],
        question=QUESTION,
        encoders=_encoders(used),
        encoders_said=_encoders_said(used, form),
        recipes=[_recipe(recipe, form) for recipe in used.recipes] + _averages(results, form),
        targets=_targets(used),
        targets_said=_targets_said(used, form),
        precisions=_listed(_precisions(results)) or "a precision that is not on record",
        seeds=f"{counted(len(study.seeds), 'seed')} ({_listed([str(seed) for seed in study.seeds])})",
        sample=results.training_sample,
        other_languages=_other_languages(results),
        ranks=_listed(sorted({str(lora.rank) for one in used.trainings if (lora := one.hyperparameters.lora)})),
        trainings=_trainings(used),
        intervals=INTERVALS,
        evidence=evidence,
        sources=list(_sources(evidence, form)) if evidence else [],
        compute_said=_compute_said(results),
        compute=_compute(results),
        results=[*answer.best, *filter(None, [answer.hurt, *_labelled(answer), answer.controls, answer.basis])],
        paper=paper_table(results, analysis, languages).panels,
        sizes=[sizes_table(analysis.sizes)] if analysis.sizes.height else [],
        size_said=list(filter(None, answer.size)),
        choices=choices_table(analysis.choices) if analysis.choices.height else None,
        claims=claims_tables(claims),
        limitations=[*answer.cannot, *_limitations(results, used)],
        uncited=[f"`{name}`: no reference is known; add one." for name in used.uncited],
        data=_data(results),
        versions=[f"{name}: {version}" for name, version in results.versions.items()],
        study_yaml=yaml.safe_dump(study.content(), sort_keys=False, allow_unicode=True),
    )
    return text.strip() + "\n"


def _status(results: Results) -> str:
    version = results.versions.get("xstilts", "")
    return (
        f"Draft on the study `{results.name}`, written by {f'xstilts {version}'.strip()}. Its numbers are those of the "
        "study's results; authors, related work and discussion are yours to add."
    )


def _never_run(results: Results, analysis: Analysis) -> Iterator[str]:
    """Encoders, recipes and targets that the study asks for, and that no score is of."""
    asked = list(planned(results))
    axes = analysis.axes
    there = [{one.label for one in axes.encoders}, set(axes.recipes), set(axes.targets)]
    for i, (kind, known) in enumerate(zip(("encoder", "recipe", "target"), there, strict=True)):
        for name in dict.fromkeys(cell[i] for cell in asked):
            if name not in known:
                yield f"{kind} `{name}`: no scores"


def _encoders(used: Methods) -> Table:
    rows = tuple(
        (
            encoder.label,
            "random" if encoder.random else "pretrained",
            encoder.kept or ("" if encoder.layers is None else str(encoder.layers)),
            *("" if n is None else millions(n) for n in (encoder.parameters, encoder.parameters_without_embeddings)),
        )
        for encoder in used.encoders
    )
    header = ("encoder", "weights", "layers", "parameters", "without embeddings")
    return Table("encoders", "Encoders, without pooler and heads.", header, rows)


def _encoders_said(used: Methods, form: Form) -> Written:
    sources = {encoder.source: encoder.cite for encoder in used.encoders}
    named = _joined(form, [form.text(f"`{source}`", cite) for source, cite in sources.items()])
    said = f"{counted(len(used.encoders), 'encoder')}, of {counted(len(sources), 'pretrained model')}: "
    random = ""
    if any(encoder.random for encoder in used.encoders):
        random = " Those with random weights are controls: they have the shape, and nothing was pretrained."
    kept = ""
    if any(encoder.kept for encoder in used.encoders):
        kept = " Pruned encoders are parts of a pretrained model, not pretrained at that size."
    return Written(form.escape(said) + named + "." + form.escape(kept + random))


def _recipe(recipe: UsedRecipe, form: Form) -> Written:
    """What happens between pretraining and the target, in a line."""
    entry = recipe.entry
    if entry.name == NONE:
        return form.text(f"`{NONE}`: no intermediate training; the encoder goes to the target task at once.")
    cite = recipe.cite
    if entry.merge:
        parts = ", ".join(f"{weight:g} of `{name}`" for name, weight in entry.merge.items())
        said = f"task arithmetic, the changes to the weights that other recipes train, added to the encoder: {parts}"
        cite = ("ilharco-etal-2023-editing", *cite)
    elif not entry.tasks:
        said = "no intermediate training"
    else:
        said = f"trained on {_listed(recipe.tasks)}"
        if len(recipe.tasks) > 1:
            said += f" in one stage, {_sampling(recipe)}"
        if entry.translated:
            source = entry.translated.files or entry.translated.engine
            said += f", and on machine translations into {_listed(entry.translated.languages)} (`{source}`)"
        if entry.mlm:
            where = f" on text in {_listed(entry.mlm.languages)}" if entry.mlm.languages else ""
            said += f", with masked language modelling{where} mixed in, {100 * entry.mlm.share:g} % of all steps"
    said += _target_training(recipe)
    if not entry.transfer_pooler:
        said += "; the pooler is not taken over"
    called = "" if recipe.called == entry.name or recipe.called in recipe.tasks else f" ({recipe.called})"
    return Written(form.text(f"`{entry.name}`{called}: {said}", cite) + form.escape("."))


def _target_training(recipe: UsedRecipe) -> str:
    """What the target is trained and selected on besides English, or in its place; empty where that is nothing."""
    asked = recipe.entry.target_training
    if asked is None:
        return ""
    which = f"the training of {_listed([f'`{name}`' for name in asked.of])}" if asked.of else "the target's training"
    if asked.translated:
        source = asked.translated.files or asked.translated.engine
        on = f"its English data and machine translations into {_listed(asked.translated.languages)} (`{source}`)"
    else:
        most = "".join(f", at most {n:,} examples in {one}" for one, n in asked.max_train_examples.items())
        on = f"labelled data in {_listed(asked.train_languages)}{most}"
    dev = "" if asked.dev_languages == ("en",) else f", selected on dev data in {_listed(asked.dev_languages)}"
    return f"; {which} is on {on}{dev}: NOT zero-shot"


def _sampling(recipe: UsedRecipe) -> str:
    sampling = recipe.entry.sampling
    if sampling.by == "uniform":
        return "with as many steps of each"
    root = f" to the power of 1/{sampling.temperature:g}" if sampling.temperature != 1 else ""
    cap = f", at most {sampling.cap:,} counting" if sampling.cap else ""
    return f"with steps in proportion to their examples{root}{cap}"


def _averages(results: Results, form: Form) -> list[Written]:
    if not results.study.means:
        return []
    said = f"Beside each, models whose weights are means, of {_listed([mean.of for mean in results.study.means])}"
    return [Written(form.text(said, ("schmidt-etal-2023-free",)) + form.escape("."))]


def _targets(used: Methods) -> Table:
    rows = tuple(
        (
            target.called,
            target.group,
            target.trained_on or "nothing",
            target.split,
            f"{len(target.languages)} ({' '.join(target.languages)})" if target.languages else "",
            _range(target.examples),
        )
        for target in used.targets
    )
    header = ("target", "group", "trained on", "split", "languages", "examples a language")
    return Table("targets", "Targets, and on what they are evaluated.", header, rows, texts=frozenset({4}))


def _targets_said(used: Methods, form: Form) -> Written:
    named = [form.text(target.called, target.cite) for target in used.targets]
    return Written(form.escape(f"{counted(len(used.targets), 'target')}: ") + _joined(form, named) + form.escape("."))


def _trainings(used: Methods) -> Table | None:
    if not used.trainings:
        return None
    rows = []
    for one in used.trainings:
        hyper = one.hyperparameters
        batch = f"{hyper.batch_tokens:,} tokens" if hyper.batch_tokens else str(hyper.batch_size)
        where = [*(f"recipe {name}" for name in one.before), *one.targets]
        rows.append(
            (one.called, ", ".join(where), _range(one.examples), f"{one.whole:,}" if one.whole else "",
             str(hyper.epochs), batch, f"{hyper.learning_rate:g}", f"{hyper.warmup:g}", f"{hyper.weight_decay:g}",
             str(hyper.max_length))
        )  # fmt: skip
    return Table(
        "trainings",
        "Trainings: for what a task is trained on, the examples used and those that its official English train split "
        "has, epochs, examples an optimiser step, highest learning rate, warm-up (a share of the steps, or so many), "
        "weight decay, and tokens of an input.",
        ("task", "for", "examples", "of", "epochs", "batch", "rate", "warm-up", "decay", "length"),
        tuple(rows),
        texts=frozenset({1}),
    )


def _compute(results: Results) -> Table | None:
    rows = costs(results.stages)
    if not rows:
        return None
    return Table(
        "compute",
        "Computation by kind of stage, whenever it was done.",
        ("stages", "number", "done", "time", "tokens", "FLOPs"),
        tuple(
            (str(row["kind"]), f"{row['stages']:,}", f"{row['done']:,}", duration(row["seconds"]),
             count(row["tokens"]), count(row["flops"]))
            for row in rows
        ),
        rules=frozenset({len(rows) - 1}),
    )  # fmt: skip


def _compute_said(results: Results) -> str:
    rows = costs(results.stages)
    if not rows or rows[-1]["flops"] is None:
        return "No stage is on record."
    total = rows[-1]
    return (
        f"All stages together took {total['seconds'] / 3600:.2f} hours and {count(total['flops'])} floating-point "
        f"operations, on {results.versions.get('machine', 'a machine not on record')} or where else they were computed."
    )


def _labelled(answer: Answer) -> list[str]:
    return [f"NOT zero-shot: {sentence}" for sentence in answer.labelled]


def _limitations(results: Results, used: Methods) -> Iterator[str]:
    """What the facts of the study leave open, beside what the analysis says."""
    fewer = [
        f"{one.called} ({_range(one.examples)} of {one.whole:,})"
        for one in used.trainings
        if one.examples and one.whole and one.examples[1] < one.whole
    ]
    if fewer:
        yield f"Trained on a part of the official English train split: {_listed(list(dict.fromkeys(fewer)))}."
    parts = [
        f"{target.called} ({_range(target.examples)} a language of {_range(target.whole)})"
        for target in used.targets
        if target.examples and target.whole and target.examples < target.whole
    ]
    if parts:
        yield f"Evaluated on a part of the official split: {_listed(parts)}."
    yield (
        "Encoders aside, what was chosen is fixed: intervals speak of these recipes, targets and languages, and of no "
        "others that might have been chosen."
    )
    machine = results.versions.get("machine")
    if precisions := _precisions(results):
        where = f" (here: {machine})" if machine else ""
        yield f"Computed in {_listed(precisions)}; scores may differ on machines of another kind{where}."
    if any(one.hyperparameters.lora for one in used.trainings):
        yield "Low-rank adapters were trained; full training may gain more or less."


def _sources(evidence: Section, form: Form) -> Iterator[Written]:
    """The publications of the evidence, each with its address."""
    for _, citation, address in evidence.sources:
        if address:
            citation = citation.replace(address, "").rstrip(" ,") + ", "
        yield Written(form.escape(citation) + (form.link(address) if address else ""))


def _data(results: Results) -> Table:
    """A row for what was read of a task's split, and a digest of the digests of its languages."""
    rows = []
    for (task, split, use), here in results.data.group_by("task", "split", "use", maintain_order=True):
        digests = "".join(here.sort("language")["fingerprint"].fill_null(""))
        digest = hashlib.sha256(digests.encode()).hexdigest()[:12]
        rows.append((str(task), str(split), str(use), str(here["language"].n_unique()), _range(_span(here)), digest))
    return Table(
        "data",
        "Data read: languages, examples in each, first digits of the SHA-256 of their fingerprints, in the order "
        "of languages; `data.csv` has each.",
        ("task", "split", "use", "languages", "examples", "digest"),
        tuple(rows),
    )


#: What data are used for, besides evaluation.
_USES = {"train": "training", "selection": "selection", "mlm": "masked language modelling", "threshold": "thresholds"}


def _other_languages(results: Results) -> str:
    """Whether anything but English has a say before evaluation."""
    translated = [
        f"machine translations into {_listed(entry.languages)} (`{recipe.name}`)"
        for recipe in results.study.recipes
        for entry in (recipe.translated, recipe.target_training and recipe.target_training.translated)
        if entry
    ]
    other = results.data.filter(pl.col("use").is_in(list(_USES)), pl.col("language") != ENGLISH)
    read = [
        f"{_USES[str(use)]} on {task} in {_listed(sorted(_beyond(here['language'])))}"
        for (use, task), here in other.group_by("use", "task", maintain_order=True)
    ]
    if not translated + read:
        return "Nothing but English data is trained or selected on."
    return f"Trained and selected is on English data, and besides: {'; '.join(translated + read)}."


def _beyond(languages: pl.Series) -> set[str]:
    """Those but English; languages that are read together are joined by +."""
    return {one for joined in languages for one in str(joined).split("+")} - {ENGLISH}


def _precisions(results: Results) -> list[str]:
    return sorted(set(results.scores["precision"].drop_nulls()))


def _span(data: pl.DataFrame) -> Span:
    counts = data["examples"].to_list()
    return min(counts), max(counts)


def _range(span: Span | None) -> str:
    if span is None:
        return ""
    return f"{span[0]:,}" if span[0] == span[1] else f"{span[0]:,} to {span[1]:,}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _joined(form: Form, parts: Sequence[Written]) -> Written:
    *first, last = parts
    return Written(f"{form.escape(', ').join(first)}{form.escape(' and ')}{last}" if first else last)
