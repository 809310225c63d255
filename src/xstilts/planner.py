"""From a study to its plan: every stage with its key, its inputs and its cost; everything wrong is found here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from xstilts import cost, data, encoders
from xstilts.data import overlap, translation
from xstilts.encoders import Encoder, EncoderFacts, sources
from xstilts.encoders.families import expected
from xstilts.errors import UserError
from xstilts.plan import (
    REVISIONS,
    Average,
    Cell,
    DataRef,
    Kind,
    Merge,
    MlmPart,
    Plan,
    Predict,
    Score,
    Spec,
    Stage,
    Train,
    TrainingPart,
    Translate,
    Translation,
    examples,
    has_gold,
    size,
    token_count,
)
from xstilts.recipe import PROPORTIONAL, Mean, Mlm, RecipeEntry, Translated
from xstilts.study import RETRIEVAL_DEPTH, EncoderEntry, Hyperparameters, Lora, Study, TargetEntry
from xstilts.tasks import COMPARING, Split, Task
from xstilts.training.mixture import step_counts


def make_plan(study: Study, *, estimate: bool = False) -> Plan:
    """Plan a study, reading all of its data. Raises UserError where data or encoders are missing or wrong.

    Everything that can be wrong with the input is found here, before any training starts. With ``estimate``, data and
    listed encoders that are not at hand are taken to be as the catalog says: a plan to look at, not to run.
    """
    return _Planner(study, estimate).plan()


@dataclass(frozen=True)
class _Before:
    """What a recipe does before the target task, the same for all encoders and seeds."""

    recipe: RecipeEntry
    parts: tuple[TrainingPart, ...]
    mlm: MlmPart | None


@dataclass(frozen=True)
class _Target:
    """What is the same of a target for all encoders, recipes and seeds; digests are of what decides."""

    entry: TargetEntry
    task: Task
    part: TrainingPart | None  # its training, if it has any
    sets: tuple[DataRef, ...]
    dev: tuple[DataRef, ...]  # on which thresholds are chosen
    scored: tuple[DataRef, ...]  # of the sets those with gold
    hyper: Hyperparameters
    tokens: int  # read to predict it once
    length: float  # of an input, mean tokens
    predicts: str
    scores: str


class _Planner:
    def __init__(self, study: Study, estimate: bool):
        self.study = study
        self.estimate = estimate
        self.catalog = study.catalog
        self.tasks: dict[str, Task] = {}
        self.absent: dict[str, None] = {}  # what is not at hand
        self.facts = {entry.encoder: self._facts(entry.encoder) for entry in study.encoders}
        self.stages: dict[str, Stage] = {}
        self.cells: list[Cell] = []
        self.uses: dict[tuple[str, DataRef], int] = {}
        self.evaluation = {target.task: self._evaluation(target) for target in study.targets}
        self.notes: dict[str, None] = {}  # in order, each once
        self.dev = {target.task: self._thresholds(target) for target in study.targets}
        self.overlapping: dict[DataRef, frozenset[str]] = {}
        self.flops: dict[tuple[Any, ...], float] = {}  # of training, which is the same for all seeds

    def plan(self) -> Plan:
        self._check_overlap()
        self._note_what_is_not_scored()
        self._note_translations()
        before = {recipe.name: self._before(recipe) for recipe in self.study.recipes}
        targets = [self._target(target) for target in self.study.targets]
        for entry in self.study.encoders:
            for seed in self.study.seeds:
                for recipe in self.study.recipes_of(entry):
                    intermediate = self._intermediate(entry.encoder, recipe, before, seed)
                    for target in targets:
                        self._cells(entry.encoder, recipe, intermediate, target, seed)
            self._means_over_seeds(entry, before, targets)
        if self.absent:
            self._note(f"Not at hand, and counted as the catalog says: {'; '.join(self.absent)}.")
        for note in hub_notes(self.uses):
            self._note(note)
        if partial := partial_data(self.uses):
            self._note(f"Other than the whole official data: {'; '.join(partial)}.")
        data_used = tuple((use, ref, count) for (use, ref), count in self.uses.items())
        return Plan(self.study, self.stages, tuple(self.cells), self.facts, data_used, tuple(self.notes))

    def _facts(self, encoder: Encoder) -> EncoderFacts:
        if self.estimate and not sources.at_hand(encoder.source) and (facts := expected(encoder)) is not None:
            self.absent[encoder.label] = None
            return facts
        return encoders.describe(encoder)

    # -- data ---------------------------------------------------------------------------------------------------

    def _task(self, name: str) -> Task:
        """The catalog's task, with its labels where these are the data's to give."""
        if name not in self.tasks:
            task = self.catalog[name]
            unlabelled = task.labels_from_data and self._is_absent(task, "train", "en")
            self.tasks[name] = task if unlabelled else data.labelled(task, self.study.provider)
        return self.tasks[name]

    def _ref(self, task: Task, split: Split, language: str, use: str, cap: int | None, *, cut: bool = False) -> DataRef:
        provider = self.study.provider
        source: Split = "train" if cut else split
        if any(self._is_absent(task, source, one) for one in language.split("+")):
            self.absent[f"{task.name} {split}"] = None
            count = cost.expected_examples(task, split, language)
            ref = DataRef(
                task, split, language, provider, f"{task.name} is not at hand", expected=min(count, cap or count)
            )
            self.uses[use, ref] = size(ref)
            return ref
        prints = [data.fingerprint(task, source, one, provider) for one in language.split("+")]
        fingerprint = prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()
        ref = DataRef(task, split, language, provider, fingerprint, cap, cut=cut)
        self.uses[use, ref] = len(examples(ref))
        return ref

    def _evaluation(self, target: TargetEntry) -> tuple[DataRef, ...]:
        task = self._task(target.task)
        languages = target.languages or data.available(task, target.split, self.study.provider)
        if not languages and self.estimate:
            languages = task.languages
        if not languages:
            data.load(task, target.split, task.languages[0], self.study.provider)  # says what is missing, and where
            raise AssertionError(f"{task.name}: no language is available, yet {task.languages[0]} can be loaded")
        return tuple(
            self._ref(task, target.split, language, "evaluation", target.max_examples)
            for language in task.languages
            if language in languages
        )

    def _is_absent(self, task: Task, split: Split, language: str) -> bool:
        return self.estimate and language not in data.available(task, split, self.study.provider)

    def _note_what_is_not_scored(self) -> None:
        for name, sets in self.evaluation.items():
            blank = [ref.language for ref in sets if not has_gold(ref)]
            if blank:
                which = "any language" if len(blank) == len(sets) else ", ".join(blank)
                self._note(
                    f"{name}: the {sets[0].split} data has no gold labels in {which}: predictions are made there, "
                    "but no score."
                )

    def _note_translations(self) -> None:
        for recipe in self.study.recipes:
            if recipe.translated:
                self._note(
                    f"{recipe.name} trains on machine translations into {', '.join(recipe.translated.languages)} (by "
                    f"{recipe.translated.files or recipe.translated.engine}): in these languages it is not zero-shot."
                )

    def _thresholds(self, target: TargetEntry) -> tuple[DataRef, ...]:
        """Mining: the dev data of each evaluated language, on whose gold pairs the threshold is chosen."""
        task = self._task(target.task)
        if task.format != "mining":
            return ()
        languages = [ref.language for ref in self.evaluation[target.task]]
        refs = tuple(self._ref(task, "dev", language, "threshold", target.max_examples) for language in languages)
        for ref in refs:
            if ref.expected is None and not any(getattr(example, "translations", None) for example in examples(ref)):
                lacks = f"dev data in {ref.language} has no gold pairs, on which the threshold is chosen"
                remedy = (
                    "raise max_examples" if target.max_examples else "fetch its .gold file, or name other `languages`"
                )
                raise UserError(f"targets: {task.name}: {lacks}; {remedy}")
        if target.split == "dev":
            self._note(
                f"{task.name} is evaluated on dev, on which its thresholds are chosen too: its F1 is the highest that "
                f"any threshold gives, and flattered."
            )
        return refs

    def _training(
        self, task: Task, overrides: dict[str, Any], intermediate: bool
    ) -> tuple[DataRef, DataRef, Hyperparameters]:
        """The data that a task is trained and selected on: the only data that training stages are given.

        They are English, and none of them is evaluated on. Where a target is evaluated on the dev split, the task
        that it shares the split with is selected on a tenth of its train split. Only a task whose entry has
        `train_languages: all`, which its name must say too, trains on other languages; it is selected on English.
        """
        hyper = self.study.hyperparameters(task, overrides, intermediate=intermediate)
        language, cut = "en", self._is_evaluated_on_dev(task)
        if cut:
            self._note(
                f"Targets are evaluated on the dev split of {task.name}: it is selected on a tenth of its English "
                f"train split, and trained on the rest."
            )
        if task.train_languages == "all":
            language = "+".join(data.available(task, "train", self.study.provider)) or "en"
            self._note(
                f"{task.name} trains on {', '.join(language.split('+'))}: what is trained on it is NOT zero-shot in "
                f"these languages."
            )
        train = self._ref(task, "train", language, "train", hyper.max_train_examples, cut=cut)
        dev = self._ref(task, "dev", "en", "selection", hyper.max_dev_examples, cut=cut)
        return self._clean(train), self._clean(dev), hyper

    def _is_evaluated_on_dev(self, task: Task) -> bool:
        """Whether a target is evaluated on the dev data that ``task`` would be selected on, or translations of them."""
        targets = (self._task(target.task) for target in self.study.targets if target.split == "dev")
        return any(self._share_dev(task, self._with_english(target)) for target in targets)

    def _with_english(self, target: Task) -> Task:
        """``target``, or the task it is trained on where that has the English side of its dev data (XCOPA: COPA)."""
        if "en" in target.languages or target.training_task is None:
            return target
        trained = self._task(target.training_task)
        return trained if any(layout.dev for layout in trained.layouts) else target

    def _dev_data(self, task: Task) -> set[str]:
        """What tells the dev data of a task, or of the tasks that it unites: names, and prints of the English files."""
        parts, provider = task.parts or (task,), self.study.provider
        there = [part for part in parts if "en" in data.available(part, "dev", provider)]
        return {part.name for part in parts} | {data.fingerprint(part, "dev", "en", provider) for part in there}

    def _note(self, text: str) -> None:
        self.notes[text] = None

    def _clean(self, ref: DataRef) -> DataRef:
        excluded = self.overlapping.get(ref)
        if not excluded:
            return ref
        return replace(ref, excluded=excluded)

    def _check_overlap(self) -> None:
        """No text or id that is trained or selected on may stand in data that is evaluated on.

        What one task is trained on may not stand in the dev data of a target that is trained on another either, since
        by these the best recipe is chosen: it is left out of training, whatever the study says of overlap.
        """
        trained: dict[DataRef, None] = {}
        refs: dict[DataRef, None] = {}
        for task, overrides, intermediate in self._trained_tasks():
            train, dev, _ = self._training(task, overrides, intermediate)
            trained[train] = None
            refs |= dict.fromkeys((train, dev))
        for recipe in self.study.recipes:
            if recipe.mlm:
                refs |= dict.fromkeys(self._texts(recipe.mlm)[0])
        evaluated = overlap.Index(
            overlap.Evaluation(ref.task.name, ref.language, examples(ref))
            for sets in self.evaluation.values()
            for ref in sets
            if ref.expected is None
        )
        selecting = self._selecting()
        for ref in refs:
            if ref.expected is not None:
                continue
            others = [index for task, index in selecting if ref in trained and not self._share_dev(task, ref.task)]
            training = _training_set(ref)
            scored = evaluated.compare(training).overlaps
            overlaps = [*scored, *(one for index in others for one in index.compare(training).overlaps)]
            if not overlaps:
                continue
            grave = [one for one in scored if not one.minor]
            told = f"{(grave or overlaps)[0]}"
            if len(overlaps) > 1:
                told += f"; so it is with {len(overlaps) - 1} more sets"
            if grave and self.study.on_overlap == "error":
                raise UserError(
                    f"contamination: {told}; train on other data, or set `on_overlap: drop` to leave "
                    f"the shared examples out of training"
                )
            whole = _training_set(replace(ref, max_examples=None))
            ids = frozenset[str]().union(*(index.compare(whole).ids for index in (evaluated, *others)))
            if len(ids) == len(whole.examples):
                raise UserError(f"contamination: {told}; nothing is left without it, train on other data")
            self.overlapping[ref] = ids
            self._note(
                f"{len(ids):,} of {len(whole.examples):,} examples of {ref.task.name} {ref.split} were dropped: "
                f"they overlap with data that models are scored or selected on ({told})."
            )
        self._check_translated(evaluated)

    def _selecting(self) -> list[tuple[Task, overlap.Index]]:
        """The tasks that targets are trained on, with their English dev data, by which recipes are chosen."""
        refs: dict[DataRef, None] = {}
        for task, overrides, intermediate in self._trained_tasks():
            dev = self._training(task, overrides, intermediate)[1]
            if not intermediate and dev.expected is None:
                refs[dev] = None
        return [
            (ref.task, overlap.Index([overlap.Evaluation(f"{ref.task.name} {ref.split}", "en", examples(ref))]))
            for ref in refs
        ]

    def _share_dev(self, one: Task, other: Task) -> bool:
        """Whether two tasks are selected on the same data, in part at least."""
        return bool(self._dev_data(one) & self._dev_data(other))

    def _check_translated(self, index: overlap.Index) -> None:
        """What engines make of clean English data is new text; files of translations may hold anything."""
        for recipe in self.study.recipes:
            translated = recipe.translated
            if translated is None or translated.files is None:
                continue
            for name in recipe.tasks:
                source = self._training(self._task(name), recipe.training, True)[0]
                for language in translated.languages:
                    found = translation.read_translated(
                        source.task, translated.files, language, examples(source), source.provider
                    )
                    training = overlap.Training(f"{name} in {translated.files}", "train", found.examples, language)
                    grave = [one for one in index.compare(training).overlaps if not one.minor]
                    if grave:
                        raise UserError(f"contamination: {grave[0]}; remove these examples from the file")

    def _trained_tasks(self) -> Iterator[tuple[Task, dict[str, Any], bool]]:
        """Each task that is trained on, with the overrides of its hyper-parameters, and whether as an intermediate."""
        for recipe in self.study.recipes:
            for name in recipe.tasks:
                yield self._task(name), recipe.training, True
        for target in self.study.targets:
            training_task = self._task(target.task).training_task
            if training_task:
                yield self._task(training_task), target.training, False

    # -- stages -------------------------------------------------------------------------------------------------

    def _add(
        self, kind: Kind, label: str, spec: Spec, decides: list[Any], inputs: tuple[str | None, ...],
        flops: float = 0.0,
    ) -> str:  # fmt: skip
        sources = tuple(key for key in inputs if key is not None)
        key = _digest([kind, REVISIONS[kind], decides, inputs])
        self.stages.setdefault(key, Stage(key, kind, label, spec, sources, flops))
        return key

    def _identity(self, encoder: Encoder) -> list[Any]:
        """What decides an encoder. The same files are the same encoder in whatever folder they are."""
        facts = self.facts[encoder]
        return [encoder.init, facts.layers, facts.digest, encoder.source if facts.digest.startswith("hub:") else None]

    def _part(
        self, task: Task, overrides: dict[str, Any], *, intermediate: bool, translated: Translated | None = None
    ) -> TrainingPart:
        if translated and task.train_languages != "en":
            raise UserError(f"recipes: {task.name} trains on more than English, and only English data is translated")
        train, dev, hyper = self._training(task, overrides, intermediate)
        translations = tuple(self._translation(train, language, translated) for language in sorted(translated.languages)
                             ) if translated else ()  # fmt: skip
        decides = [task.format, task.metric, train.key(), dev.key(), hyper.key(),
                   [[each.language, each.stage, each.fingerprint] for each in translations]]  # fmt: skip
        return TrainingPart(task, train, dev, hyper, _digest(decides), translations)

    def _translation(self, source: DataRef, language: str, wanted: Translated) -> Translation:
        task = source.task
        if wanted.files is not None:
            found = translation.read_translated(task, wanted.files, language, examples(source), source.provider)
            for reason, count in found.dropped.items():
                self._note(f"{task.name} in {language}: {count:,} examples are left out: {reason}.")
            fingerprint = translation.files_fingerprint(task, wanted.files, language, source.provider)
            return Translation(language, wanted.files, None, wanted.files, fingerprint)
        engine = translation.engine(wanted.engine)
        stage = self._add(
            "translate", f"translate {task.name} into {language}", Translate(source, language, wanted.engine),
            [engine.id(language), translation.VERSION, task.format, source.key()], (),
        )  # fmt: skip
        return Translation(language, wanted.engine, stage)

    def _texts(self, mlm: Mlm) -> tuple[tuple[DataRef, ...], Hyperparameters]:
        """The text of each language, by default of those that targets are evaluated in and that there is text of."""
        task = self._task(mlm.task)
        hyper = self.study.hyperparameters(task, mlm.training, intermediate=True)
        languages = mlm.languages
        if languages is None:
            evaluated = {part for refs in self.evaluation.values() for ref in refs for part in ref.language.split("-")}
            there = data.available(task, "train", self.study.provider)
            if not there and self.estimate:
                there = task.languages
            languages = tuple(each for each in there if each in evaluated)
        languages = tuple(each for each in task.languages if each in languages)
        if not languages:
            data.load(task, "train", task.languages[0], self.study.provider)  # says what is missing, and where
            raise UserError(f"mlm: {task.name} has text in no language of the targets; name its `languages`")
        return tuple(self._ref(task, "train", each, "mlm", hyper.max_train_examples) for each in languages), hyper

    def _mlm(self, mlm: Mlm) -> MlmPart:
        texts, hyper = self._texts(mlm)
        clean = tuple(map(self._clean, texts))
        decides = [mlm.share, [ref.key() for ref in clean], hyper.key()]
        return MlmPart(self._task(mlm.task), clean, hyper, mlm.share, _digest(decides))

    def _train(self, spec: Train, label: str) -> str:
        parts = [part.digest for part in spec.parts]
        mlm = spec.mlm.digest if spec.mlm else None
        sampling = spec.sampling.model_dump() if len(parts) > 1 else None
        decides = [self._identity(spec.encoder), parts, spec.seed, sampling, mlm, spec.pooler]
        if spec.snapshots:
            decides.append({"snapshots": spec.snapshots})
        if spec.head:
            decides.append({"head": spec.head})
        translated = [each.stage for part in spec.parts for each in part.translations]
        if spec.hyper.lora:
            self._note_lora(spec.encoder, spec.hyper.lora)
        costs = (spec.encoder, *parts, spec.sampling, mlm)
        if costs not in self.flops:
            self.flops[costs] = self._training_flops(spec)
        return self._add("train", label, spec, decides, (spec.start, *translated, *([spec.head] if spec.head else [])),
                         self.flops[costs])  # fmt: skip

    def _note_lora(self, encoder: Encoder, lora: Lora) -> None:
        facts = self.facts[encoder]
        try:
            count, names = cost.lora_parameters(facts, lora), ", ".join(cost.adapted(facts, lora.targets))
        except UserError as error:
            raise UserError(f"{encoder.label}: {error}") from None
        self._note(
            f"LoRA of rank {lora.rank} on {names} trains {count:,} parameters beside the {facts.parameters:,} of "
            f"{encoder.label}, which stay as they are, and the heads."
        )

    def _training_flops(self, spec: Train) -> float:
        """Estimated: rows are taken to be as many as examples."""
        sizes = [size(part.train) * (1 + len(part.translations)) for part in spec.parts]
        share = spec.mlm.share if spec.mlm else 0.0
        counts, mlm_steps = step_counts(sizes, [part.hyper for part in spec.parts], spec.sampling, share)
        flops = 0.0
        for part, rows, steps in zip(spec.parts, sizes, counts, strict=True):
            tokens = token_count(part.train, part.hyper.max_length) * (1 + len(part.translations))
            seen = part.hyper.epochs if len(spec.parts) == 1 else steps * part.hyper.batch_size / max(1, rows)
            length = min(part.hyper.max_length, tokens / max(1, rows))
            flops += seen * cost.flops(self.facts[spec.encoder], tokens, length, training=True, lora=part.hyper.lora)
        if spec.mlm:
            tokens = sum(token_count(ref, spec.mlm.hyper.max_length) for ref in spec.mlm.texts)
            lines = max(1, sum(size(ref) for ref in spec.mlm.texts))
            seen = mlm_steps * spec.mlm.hyper.batch_size / lines
            flops += seen * cost.flops(
                self.facts[spec.encoder], tokens, tokens / lines, training=True, lora=spec.hyper.lora
            )
        return flops

    def _before(self, recipe: RecipeEntry) -> _Before:
        """The tasks of a recipe by name: their order in the study changes nothing."""
        parts = tuple(
            self._part(self._task(name), recipe.training, intermediate=True, translated=recipe.translated)
            for name in sorted(recipe.tasks)
        )
        return _Before(recipe, parts, self._mlm(recipe.mlm) if recipe.mlm else None)

    def _intermediate(self, encoder: Encoder, recipe: RecipeEntry, before: dict[str, _Before], seed: int) -> str | None:
        """The key of what a recipe does before the target task; None where it does nothing."""
        where = f"{encoder.label} seed {seed}"
        if recipe.merge:
            weights = []
            for name, weight in recipe.merge.items():
                key = self._intermediate(encoder, before[name].recipe, before, seed)
                assert key is not None, "a study merges recipes with training"
                weights.append((key, weight))
            weights.sort()
            return self._add(
                "merge", f"{where}: merge {recipe.name}", Merge(encoder, seed, tuple(weights)),
                [self._identity(encoder), [weight for _, weight in weights]], tuple(key for key, _ in weights),
            )  # fmt: skip
        own = before[recipe.name]
        if not own.parts:
            return None
        spec = Train(encoder, own.parts, seed, None, sampling=recipe.sampling, mlm=own.mlm)
        return self._train(spec, f"{where}: train {recipe.name}")

    def _check_snapshots(self, part: TrainingPart) -> None:
        wanted = self.study.average.checkpoints if self.study.average else None
        if not wanted or part.hyper.batch_tokens:
            return
        steps = step_counts([size(part.train)], [part.hyper], PROPORTIONAL)[0][0]
        if steps < wanted:
            raise UserError(
                f"average: checkpoints: {wanted} of {part.task.name}, which is trained for {steps} steps; lower it"
            )

    def _target(self, target: TargetEntry) -> _Target:
        task = self._task(target.task)
        part = None
        if task.training_task:
            part = self._part(self._task(task.training_task), target.training, intermediate=False)
            self._check_snapshots(part)
        sets, dev = self.evaluation[target.task], self.dev[target.task]
        hyper = self.study.hyperparameters(part.task if part else task, target.training)
        scored = tuple(ref for ref in sets if has_gold(ref))
        read = {*sets, *dev}
        tokens = sum(token_count(ref, hyper.max_length) for ref in read)
        reads = hyper.model_dump(include={"max_length", "doc_stride", "max_query_length", "precision"})
        predicts: list[Any] = [task.format, task.unanswerable, [ref.key() for ref in sets], reads]
        if task.format in COMPARING:
            predicts += [target.pooling, [ref.key() for ref in dev]]
        scores = [task.format, task.metric, task.answer_rules, [ref.key() for ref in scored]]
        return _Target(
            target, task, part, sets, dev, scored, hyper, tokens,
            min(hyper.max_length, tokens / max(1, sum(size(ref) for ref in read))), _digest(predicts), _digest(scores),
        )  # fmt: skip

    def _cells(
        self, encoder: Encoder, recipe: RecipeEntry, intermediate: str | None, target: _Target, seed: int
    ) -> None:
        """The cell of a seed, and that of the mean of its checkpoints where the study asks for it."""
        model = intermediate
        if target.part:
            model = self._target_training(encoder, recipe, intermediate, target, seed)
        self._cell(encoder, recipe.name, intermediate, target, seed, model)
        average = self.study.average
        if target.part and model and average and average.checkpoints:
            label = Mean(average.checkpoints).label(recipe.name)
            mean = self._average(encoder, label, target.part, seed, (model,), snapshots=True)
            self._cell(encoder, label, intermediate, target, seed, mean)

    def _means_over_seeds(self, entry: EncoderEntry, before: dict[str, _Before], targets: list[_Target]) -> None:
        """The cells of an encoder's models averaged over the runs of all seeds, if the study asks for it.

        All runs are under the head that the first one trained, which the others leave as it is: heads that begin at
        random are not aligned, as Schmidt et al. 2023 found (their `TrainBody`: github.com/fdschmidt93/free-lunch-xlt,
        trident-xtreme/src/projects/fsxlt_avg/module.py).
        """
        average, encoder, seeds = self.study.average, entry.encoder, self.study.seeds
        if not average or not average.seeds:
            return
        if encoder.init == "random":
            self._note(f"{encoder.label}: begins with other weights for each seed, and is not averaged over seeds.")
            return
        means = [Mean(None, len(seeds)), *([Mean(average.checkpoints, len(seeds))] if average.checkpoints else [])]
        for recipe in self.study.recipes_of(entry):
            starts = [self._intermediate(encoder, recipe, before, seed) for seed in seeds]
            for target in targets:
                if target.part is None:
                    continue
                head = self._target_training(encoder, recipe, starts[0], target, seeds[0])
                others = [self._target_training(encoder, recipe, start, target, seed, head)
                          for start, seed in zip(starts[1:], seeds[1:], strict=True)]  # fmt: skip
                for mean in means:
                    label, snapshots = mean.label(recipe.name), mean.checkpoints is not None
                    model = self._average(encoder, label, target.part, seeds[0], (head, *others), snapshots=snapshots)
                    self._cell(encoder, label, starts[0], target, seeds[0], model)

    def _target_training(
        self, encoder: Encoder, recipe: RecipeEntry, intermediate: str | None, target: _Target, seed: int,
        head: str | None = None,
    ) -> str:  # fmt: skip
        assert target.part is not None
        pooler = recipe.transfer_pooler or intermediate is None
        snapshots = self.study.average.checkpoints if self.study.average else None
        spec = Train(encoder, (target.part,), seed, intermediate, pooler, snapshots=snapshots, head=head)
        under = f" under the head of seed {self.study.seeds[0]}" if head else ""
        return self._train(spec, f"{encoder.label} seed {seed}: {recipe.name} → train {target.part.task.name}{under}")

    def _average(
        self, encoder: Encoder, label: str, part: TrainingPart, seed: int, runs: tuple[str, ...], *, snapshots: bool
    ) -> str:
        tokens = token_count(part.dev, part.hyper.max_length)
        length = min(part.hyper.max_length, tokens / max(1, size(part.dev)))
        return self._add(
            "average", f"{encoder.label} seed {seed}: {label} of {part.task.name}",
            Average(encoder, part, seed, runs, snapshots), [snapshots], tuple(sorted(runs)),
            cost.flops(self.facts[encoder], tokens, length, training=False),
        )  # fmt: skip

    def _cell(
        self, encoder: Encoder, recipe: str, intermediate: str | None, target: _Target, seed: int, model: str | None
    ) -> None:
        task, where = target.task, f"{encoder.label} seed {seed}: {recipe}"
        layer = self._hidden_layer(encoder, target.entry) if task.format in COMPARING else None
        random_seed = seed if encoder.init == "random" else 0
        predictions = self._add(
            "predict",
            f"{where} → predict {task.name}",
            Predict(
                encoder, task, target.sets, target.hyper, random_seed, layer, model, target.entry.pooling, target.dev
            ),
            [self._identity(encoder), target.predicts, random_seed, layer],
            (model,),
            cost.flops(self.facts[encoder], target.tokens, target.length, training=False),
        )
        score = None
        if target.scored:
            score = self._add(
                "score", f"{where} → score {task.name}", Score(task, target.scored, predictions), [target.scores],
                (predictions,),
            )  # fmt: skip
        trained_on = model if target.part else None
        self.cells.append(Cell(encoder, recipe, target.entry, seed, intermediate, trained_on, predictions, score))

    def _hidden_layer(self, encoder: Encoder, target: TargetEntry) -> int:
        """0 = embeddings, n = after block n."""
        layers = self.facts[encoder].layers
        if target.hidden_layer == "last":
            return layers
        if target.hidden_layer == "relative":
            return round(RETRIEVAL_DEPTH * layers)
        if target.hidden_layer > layers:
            raise UserError(
                f"targets: {target.task}: hidden_layer {target.hidden_layer}: {encoder.label} has {layers} layers"
            )
        return target.hidden_layer


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def hub_notes(refs: Iterable[tuple[str, DataRef]]) -> list[str]:
    """What a study takes from the hub: a line for each task and split, with the commit and the counts."""
    counted: dict[tuple[str, str], dict[str, tuple[int, int | None]]] = {}
    for ref in dict.fromkeys(replace(ref, max_examples=None, excluded=frozenset()) for _, ref in refs):
        for language in ref.language.split("+") if ref.expected is None else ():
            for task, place in data.on_hub(ref.task, "train" if ref.cut else ref.split, language, ref.provider):
                where = f"{place.layout.repository} {'+'.join(place.splits)} at commit {place.commit}"
                counted.setdefault((task.name, where), {})[language] = data.hub_counts(task, place)
    return [_hub_note(name, where, counts) for (name, where), counts in counted.items()]


def partial_data(refs: Iterable[tuple[str, DataRef]]) -> list[str]:
    """What is in files and has other than the official number of examples, as in "mnli train 8,999 of 392,702"."""
    told: dict[str, dict[str, None]] = {}  # what → languages
    for ref in dict.fromkeys(replace(ref, max_examples=None, excluded=frozenset()) for _, ref in refs):
        split: Split = "train" if ref.cut else ref.split
        for language in ref.language.split("+") if ref.expected is None else ():
            official = ref.task.count(split, language)
            if official is None or data.on_hub(ref.task, split, language, ref.provider):
                continue
            # Where there are no dev files, dev was cut out of train.
            whole = ref.task.layouts and split == "train" and not any(layout.dev for layout in ref.task.layouts)
            splits: tuple[Split, ...] = ("train", "dev") if whole else (split,)
            found = sum(len(data.load(ref.task, one, language, ref.provider)) for one in splits)
            if found != official:
                told.setdefault(f"{ref.task.name} {split} {found:,} of {official:,}", {})[language] = None
    return [what if list(among) == ["en"] else f"{what} in {' '.join(among)}" for what, among in told.items()]


def _hub_note(name: str, where: str, counts: dict[str, tuple[int, int | None]]) -> str:
    """``counts``: language → examples found, and how many the official files have where that is known."""
    total = sum(found for found, _ in counts.values())
    known = {language: pair for language, pair in counts.items() if pair[1] is not None}
    others = [f"{language} {found:,} of {of:,}" for language, (found, of) in known.items() if found != of]
    among = "" if list(counts) == ["en"] else f" in {len(counts)} languages"
    told = "; other counts than the official ones: " + ", ".join(others) if others else ""
    if known and not others:
        told = "; " + ("all official counts" if len(known) == len(counts) else "the known official counts") + " are met"
    return f"{name}: {total:,} examples{among} from the hub, {where}{told}."


def _training_set(ref: DataRef) -> overlap.Training:
    return overlap.Training(ref.task.name, ref.split, examples(ref), ref.language)
