"""From a study to its plan: every stage with its key, its inputs and its cost; everything wrong is found here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from typing import Any, get_args

from xstilts import encoders
from xstilts.common import digests
from xstilts.common.errors import UserError
from xstilts.common.validation import Mistakes
from xstilts.data import translation
from xstilts.encoders import Encoder, EncoderFacts
from xstilts.encoders.families import NOT_AT_HAND, look_up
from xstilts.planning import contamination, cost
from xstilts.planning.added import AddedSeed, told
from xstilts.planning.data_ref import DataRef, examples, has_gold, size, token_count
from xstilts.planning.hyperparameters import LORA_ABOVE, Hyperparameters, Lora, Precision
from xstilts.planning.plan import (
    REVISIONS,
    Average,
    Cell,
    Heal,
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
)
from xstilts.planning.recipe import PROPORTIONAL, Mean, MlmEntry, RecipeEntry, TargetTraining, TranslatedEntry
from xstilts.planning.steps import step_counts
from xstilts.planning.study import RETRIEVAL_DEPTH, EncoderEntry, Study, TargetEntry
from xstilts.planning.study_data import StudyData, Trained
from xstilts.tasks import formats
from xstilts.tasks.task import Task


def make_plan(
    study: Study,
    *,
    estimate: bool = False,
    fast: Callable[[], Precision] = lambda: "fp32",
    added: Sequence[AddedSeed] = (),
) -> Plan:
    """Plan a study, reading all of its data. Raises UserError where data or encoders are missing or wrong.

    Everything that can be wrong with the input is found here, before any training starts. With ``estimate``, data and
    listed encoders that are not at hand are taken to be as the catalog says: a plan to look at, not to run. ``fast`` is
    asked for what `precision: auto` comes to, if the study has any: it decides scores, so the keys have it. Seeds that
    were ``added`` are planned where the study has their encoder, recipe and target, and not they themselves.
    """
    return _Planner(study, estimate, fast, added).plan()


def keys_in_any_precision(study: Study, added: Sequence[AddedSeed] = ()) -> set[str]:
    """Of the stages of a study's plans, whatever `precision: auto` came to where it was run."""
    keys: set[str] = set()
    for precision in get_args(Precision):
        plan = make_plan(study, fast=repeat(precision).__next__, added=added)
        keys |= plan.stages.keys()
        if plan.auto is None:
            break
    return keys


@dataclass(frozen=True)
class _Before:
    """What a recipe does before the target task, the same for all encoders, and seeds on one sample."""

    recipe: RecipeEntry
    parts: tuple[TrainingPart, ...]
    hyper: Hyperparameters | None  # of its first task, where it has any
    mlm: MlmPart | None


@dataclass(frozen=True)
class _Target:
    """What is the same of a target for all encoders, recipes, and seeds on one sample.

    Digests are of what decides.
    """

    entry: TargetEntry
    task: Task
    labels: tuple[str, ...]  # what the task calls the classes of its model, in the order of their ids
    part: TrainingPart | None  # its training, if it has any
    sets: tuple[DataRef, ...]
    dev: tuple[DataRef, ...]  # on which thresholds are chosen
    scored: tuple[DataRef, ...]  # of the sets those with gold
    hyper: Hyperparameters
    tokens: int  # read to predict it once
    length: float  # of an input, mean tokens
    predicts: str
    scores: str


@dataclass(frozen=True)
class _OnSample:
    """Recipes and targets on one sample of the training data: that of all seeds, or of one."""

    before: dict[str, _Before]
    targets: dict[str, tuple[_Target, ...]]  # recipe → on which it has scores: the same but for `target_training`

    @property
    def trained_on(self) -> list[DataRef]:
        parts = [part for each in self.before.values() for part in each.parts]
        parts += [target.part for each in self.targets.values() for target in each if target.part]
        texts = [ref for each in self.before.values() if each.mlm for ref in each.mlm.texts]
        return [*(part.train for part in parts), *texts]


class _Planner:
    def __init__(self, study: Study, estimate: bool, fast: Callable[[], Precision], added: Sequence[AddedSeed]):
        self.study = study
        self.estimate = estimate
        self.auto: Precision | None = None  # what `precision: auto` comes to, once there is one
        self._fast = fast
        self.added = [one for one in added if _is_new(study, one)]
        self.facts: dict[Encoder, EncoderFacts] = {}
        mistakes = Mistakes()
        for entry in study.encoders:
            with mistakes.at():
                self.facts[entry.encoder] = self._facts(entry.encoder)
        with mistakes.at():
            self.data = StudyData(study, estimate, [one.seed for one in self.added])
        mistakes.check()
        self.stages: dict[str, Stage] = {}
        self.cells: list[Cell] = []
        self.healed: dict[Encoder, str] = {}
        self.flops: dict[tuple[Any, ...], float] = {}  # of training, which is the same for all seeds

    def plan(self) -> Plan:
        contamination.leave_out(self.data)
        self.data.note_evaluation()
        for entry in self.study.encoders:
            if entry.heal is not None:
                self.healed[entry.encoder] = self._heal(entry.encoder, entry.heal)
        made = {draw: self._on_sample(draw) for draw in dict.fromkeys(self.data.draws.values())}
        self._check_drawn(made.values())
        samples = {seed: made[draw] for seed, draw in self.data.draws.items()}
        for encoder in self.study.encoders:
            for seed in self.study.seeds:
                sample = samples[seed]
                for recipe in self.study.recipes_of(encoder):
                    intermediate = self._intermediate(encoder.encoder, recipe, sample.before, seed)
                    for target in sample.targets[recipe.name]:
                        self._cells(encoder.encoder, recipe, intermediate, target, seed)
            self._means_over_seeds(encoder, {seed: samples[seed] for seed in self.study.seeds})
        self._add_seeds(samples)
        self._note_decoders()
        absent = [encoder.label for encoder, facts in self.facts.items() if facts.digest == NOT_AT_HAND]
        self.data.note_sources(absent)
        used = tuple((use, ref, count) for (use, ref), count in self.data.uses.items())
        return Plan(
            self.study, self.stages, tuple(self.cells), self.facts, used, tuple(self.data.notes), self.auto, self.healed
        )

    def _note_decoders(self) -> None:
        for encoder, facts in self.facts.items():
            if facts.causal:
                self.data.note(
                    f"{encoder.label} is a decoder, read forwards as it was pretrained: classes and choices are read "
                    "at the last token, an end of text; `attention: full` reads both ways."
                )
            elif facts.decoder:
                self.data.note(
                    f"{encoder.label} is a decoder, read both ways (`attention: full`), which its pretraining knows "
                    "nothing of: classes and choices are read at the mean over tokens."
                )

    def precision(self) -> Precision:
        if self.auto is None:
            self.auto = self._fast()
        return self.auto

    def _facts(self, encoder: Encoder) -> EncoderFacts:
        return look_up(encoder) if self.estimate else encoders.describe(encoder)

    def _add(
        self, kind: Kind, label: str, spec: Spec, decides: list[Any], inputs: tuple[str | None, ...],
        flops: float = 0.0,
    ) -> str:  # fmt: skip
        sources = tuple(key for key in inputs if key is not None)
        key = _digest([kind, REVISIONS[kind], decides, inputs])
        self.stages.setdefault(key, Stage(key, kind, label, spec, sources, flops))
        return key

    def _add_seeds(self, samples: Mapping[int, _OnSample]) -> None:
        entries = {entry.encoder.label: entry.encoder for entry in self.study.encoders}
        for one in self.added:
            encoder, sample = entries[one.encoder], samples[one.seed]
            (recipe,) = (recipe for recipe in self.study.recipes if recipe.name == one.recipe)
            (target,) = (target for target in sample.targets[one.recipe] if target.entry.task == one.target)
            intermediate = self._intermediate(encoder, recipe, sample.before, one.seed)
            self._cells(encoder, recipe, intermediate, target, one.seed)
        if self.added:
            self.data.note(told(self.added))

    def _on_sample(self, draw: int | None) -> _OnSample:
        before: dict[str, _Before] = {}
        targets: list[_Target] = []
        changed: dict[str, tuple[_Target, ...]] = {}
        mistakes = Mistakes()
        for recipe in self.study.recipes:
            with mistakes.at():
                before[recipe.name] = self._before(recipe, draw)
        for entry in self.study.targets:
            with mistakes.at():
                targets.append(self._target(entry, draw))
        for recipe in self.study.recipes:
            if recipe.target_training and len(targets) == len(self.study.targets):
                with mistakes.at():
                    changed[recipe.name] = tuple(self._changed(targets, recipe, recipe.target_training, draw))
        self._check_encoders(before, targets, mistakes)
        mistakes.check()
        same = tuple(targets)
        return _OnSample(before, {recipe.name: changed.get(recipe.name, same) for recipe in self.study.recipes})

    def _check_drawn(self, made: Collection[_OnSample]) -> None:
        """A study that wants samples drawn anew for each seed has some."""
        if self.study.sample == "per_seed" and not any(ref.draw is not None for one in made for ref in one.trained_on):
            raise UserError(
                "sample: per_seed: no training data are more than `max_train_examples`, so that there is nothing to "
                "draw; set it in `training`, or leave `sample` out"
            )

    def _check_encoders(self, before: dict[str, _Before], targets: list[_Target], mistakes: Mistakes) -> None:
        """No row is longer than what an encoder reads: its positions end there. Layers that are asked for are there."""
        wanted = [(part.task.name, part.reading.max_length) for each in before.values() for part in each.parts]
        wanted += [(each.mlm.task.name, each.mlm.reading.max_length) for each in before.values() if each.mlm]
        wanted += [(target.task.name, target.hyper.max_length) for target in targets]
        if self.healed:
            wanted.append((f"{self.study.healing.task} (healing)", self.study.healing.max_length))
        for encoder, facts in self.facts.items():
            for name, length in wanted:
                if length > facts.max_length:
                    mistakes.add(
                        f"training of {name}: max_length {length} is more than the {facts.max_length} tokens that "
                        f"{encoder.label} reads; lower it"
                    )
            for target in targets:
                with mistakes.at():
                    self._hidden_layer(encoder, target.entry)
        for entry in self.study.encoders:
            facts = self.facts[entry.encoder]
            for recipe in self.study.recipes_of(entry):
                if recipe.mlm and not facts.mlm:
                    mistakes.add(
                        f"recipes: {recipe.name}: mlm: {entry.encoder.label}, a {facts.model_type}, has no head for "
                        "masked language modelling; limit the `recipes` of this encoder"
                    )

    def _identity(self, encoder: Encoder) -> list[Any]:
        """What decides an encoder. The same files are the same encoder in whatever folder they are."""
        facts = self.facts[encoder]
        hub = encoder.source if facts.digest.startswith("hub:") or facts.digest == NOT_AT_HAND else None
        pruned = [] if facts.kept.whole_blocks else [asdict(facts.kept)]
        attention = [{"attention": "full"}] if facts.decoder and not facts.causal else []
        return [encoder.init, facts.layers, facts.digest, hub, *pruned, *attention]

    def _part(self, trained: Trained, hyper: Hyperparameters, draw: int | None) -> TrainingPart:
        task, translated = trained.task, trained.translated
        if translated and task.train_languages != "en":
            raise UserError(f"recipes: {task.name} trains on more than English, and only English data is translated")
        train, dev = self.data.training(trained, draw)
        translations = tuple(self._translation(train, language, translated) for language in sorted(translated.languages)
                             ) if translated else ()  # fmt: skip
        decides = [task.format, task.metric, train.key(), dev.key(), hyper.key(),
                   [[each.language, each.stage, each.fingerprint] for each in translations]]  # fmt: skip
        return TrainingPart(task, train, dev, hyper.reading, _digest(decides), translations)

    def _translation(self, source: DataRef, language: str, wanted: TranslatedEntry) -> Translation:
        task = source.task
        if wanted.files is not None:
            found = translation.read_translated(task, wanted.files, language, examples(source), source.provider)
            for reason, count in found.dropped.items():
                self.data.note(f"{task.name} in {language}: {count:,} examples are left out: {reason}.")
            fingerprint = translation.files_fingerprint(task, wanted.files, language, source.provider)
            return Translation(language, wanted.files, None, wanted.files, fingerprint)
        engine = translation.engine(wanted.engine)
        stage = self._add(
            "translate", f"translate {task.name} into {language}", Translate(source, language, wanted.engine),
            [engine.id(language), translation.VERSION, task.format, source.key()], (),
        )  # fmt: skip
        return Translation(language, wanted.engine, stage)

    def _mlm(self, mlm: MlmEntry, draw: int | None) -> MlmPart:
        texts, hyper = self.data.texts(mlm, draw)
        hyper = hyper.on(self.precision)
        clean = tuple(map(self.data.clean, texts))
        decides = [mlm.share, [ref.key() for ref in clean], hyper.key()]
        return MlmPart(self.data.task(mlm.task), clean, hyper.reading, mlm.share, _digest(decides))

    def _heal(self, encoder: Encoder, tokens: int) -> str:
        """The key of the stage that heals an encoder."""
        healing = self.study.healing
        task = self.data.task(healing.task)
        texts = tuple(map(self.data.clean, self.data.healing_texts()))
        lines = sum(map(size, texts))
        if lines < 2:
            raise UserError(f"healing: {task.name}: fewer than two lines are left to heal on; bring more text")
        own = healing.model_dump(include={"learning_rate", "batch_size", "max_length"})
        hyper = self.study.hyperparameters(task, {**own, **_HEALING}).on(self.precision)
        read = sum(token_count(ref, hyper.max_length) for ref in texts)
        same = ", ".join(one.label for one in self.facts if one.heal == tokens)
        self.data.note(
            f"Healed, that is distilled from the whole model on {tokens:,} tokens of {task.name} before anything else "
            f"({', '.join(ref.language for ref in texts)}: about {read:,} tokens in all): {same}."
        )
        length, facts = min(hyper.max_length, read / lines), self.facts[encoder]
        flops = cost.flops(facts, tokens, length, training=True)
        flops += cost.flops(self._facts(encoder.whole), tokens, length, training=False)
        return self._add(
            "heal", f"{encoder.label}: heal", Heal(encoder, task, texts, hyper.reading, hyper.optimisation, tokens),
            [self._identity(encoder), tokens, [ref.key() for ref in texts], hyper.key()], (), flops,
        )  # fmt: skip

    def _train(self, spec: Train, label: str, hyper: Hyperparameters) -> str:
        facts = self.facts[spec.encoder]
        by_size = hyper.lora_by_size and facts.parameters > LORA_ABOVE and bool(facts.attention)
        if by_size:
            spec = replace(spec, optimisation=spec.optimisation.model_copy(update={"lora": Lora()}))
        parts = [part.digest for part in spec.parts]
        mlm = spec.mlm.digest if spec.mlm else None
        sampling = spec.sampling.model_dump() if len(parts) > 1 else None
        decides = [self._identity(spec.encoder), parts, spec.seed, sampling, mlm, spec.pooler]
        if spec.snapshots:
            decides.append({"snapshots": spec.snapshots})
        if spec.head:
            decides.append({"head": spec.head})
        translated = [each.stage for part in spec.parts for each in part.translations]
        if spec.optimisation.lora:
            self._note_lora(spec.encoder, spec.optimisation.lora, by_size)
        if by_size:
            decides.append({"lora": Lora().model_dump()})
        costs = (spec.encoder, *parts, spec.sampling, mlm)
        if costs not in self.flops:
            self.flops[costs] = self._training_flops(spec)
        return self._add("train", label, spec, decides, (spec.start, *translated, *([spec.head] if spec.head else [])),
                         self.flops[costs])  # fmt: skip

    def _note_lora(self, encoder: Encoder, lora: Lora, by_size: bool) -> None:
        facts = self.facts[encoder]
        try:
            count, names = cost.lora_parameters(facts, lora), ", ".join(cost.adapted(facts, lora.targets))
        except UserError as error:
            raise UserError(f"{encoder.label}: {error}") from None
        self.data.note(
            f"LoRA of rank {lora.rank} on {names} trains {count:,} parameters beside the {facts.parameters:,} of "
            f"{encoder.label}, which stay as they are, and the heads."
            + (
                " So are encoders of more than a billion; `lora: none` in `training` trains them whole."
                if by_size
                else ""
            )
        )

    def _training_flops(self, spec: Train) -> float:
        """Estimated: rows are taken to be as many as examples."""
        sizes = [size(part.train) * (1 + len(part.translations)) for part in spec.parts]
        share, lora = spec.mlm.share if spec.mlm else 0.0, spec.optimisation.lora
        counts, mlm_steps = step_counts(sizes, [part.reading for part in spec.parts], spec.sampling, share)
        flops = 0.0
        for part, rows, steps in zip(spec.parts, sizes, counts, strict=True):
            tokens = token_count(part.train, part.reading.max_length) * (1 + len(part.translations))
            seen = part.reading.epochs if len(spec.parts) == 1 else steps * part.reading.batch_size / max(1, rows)
            length = min(part.reading.max_length, tokens / max(1, rows))
            flops += seen * cost.flops(self.facts[spec.encoder], tokens, length, training=True, lora=lora)
        if spec.mlm:
            tokens = sum(token_count(ref, spec.mlm.reading.max_length) for ref in spec.mlm.texts)
            lines = max(1, sum(size(ref) for ref in spec.mlm.texts))
            seen = mlm_steps * spec.mlm.reading.batch_size / lines
            flops += seen * cost.flops(self.facts[spec.encoder], tokens, tokens / lines, training=True, lora=lora)
        return flops

    def _before(self, recipe: RecipeEntry, draw: int | None) -> _Before:
        """The tasks of a recipe by name: their order in the study changes nothing."""
        tasks = [self.data.intermediate(recipe, name) for name in sorted(recipe.tasks)]
        hypers = [self.study.hyperparameters(one.task, recipe.training, intermediate=True).on(self.precision)
                  for one in tasks]  # fmt: skip
        parts = tuple(self._part(*each, draw) for each in zip(tasks, hypers, strict=True))
        return _Before(
            recipe, parts, hypers[0] if hypers else None, self._mlm(recipe.mlm, draw) if recipe.mlm else None
        )

    def _intermediate(self, encoder: Encoder, recipe: RecipeEntry, before: dict[str, _Before], seed: int) -> str | None:
        """The key of what a recipe does before the target task; None where it does nothing."""
        where, start = f"{encoder.label} seed {seed}", self.healed.get(encoder)
        if recipe.merge:
            weights = []
            for name, weight in recipe.merge.items():
                key = self._intermediate(encoder, before[name].recipe, before, seed)
                assert key is not None, "a study merges recipes with training"
                weights.append((key, weight))
            weights.sort()
            return self._add(
                "merge", f"{where}: merge {recipe.name}", Merge(encoder, seed, tuple(weights), start),
                [self._identity(encoder), [weight for _, weight in weights]],
                (*(key for key, _ in weights), *([start] if start else [])),
            )  # fmt: skip
        own = before[recipe.name]
        if own.hyper is None:
            return None
        spec = Train(encoder, own.parts, own.hyper.optimisation, seed, start, sampling=recipe.sampling, mlm=own.mlm)
        return self._train(spec, f"{where}: train {recipe.name}", own.hyper)

    def _changed(
        self, targets: Sequence[_Target], recipe: RecipeEntry, asked: TargetTraining, draw: int | None
    ) -> Iterator[_Target]:
        """The targets whose training a recipe changes, with what they are trained on by it."""
        wanted = self.study.targets_of(recipe)
        for target in targets:
            if target.entry in wanted:
                part = self._part(self.data.target(target.entry, asked), target.hyper, draw)
                self._check_snapshots(part)
                yield replace(target, part=part)

    def _check_snapshots(self, part: TrainingPart) -> None:
        wanted = self.study.average.checkpoints if self.study.average else None
        if not wanted or part.reading.batch_tokens:
            return
        steps = step_counts([size(part.train)], [part.reading], PROPORTIONAL)[0][0]
        if steps < wanted:
            raise UserError(
                f"average: checkpoints: {wanted} of {part.task.name}, which is trained for {steps} steps; lower it"
            )

    def _target(self, target: TargetEntry, draw: int | None) -> _Target:
        task = self.data.task(target.task)
        trained = self.data.task(task.training_task) if task.training_task else None
        hyper = self.study.hyperparameters(trained or task, target.training).on(self.precision)
        part = self._part(self.data.target(target), hyper, draw) if trained else None
        if part:
            self._check_snapshots(part)
        sets, dev = self.data.evaluation[target.task], self.data.thresholds[target.task]
        scored = tuple(ref for ref in sets if has_gold(ref))
        read = {*sets, *dev}
        tokens = sum(token_count(ref, hyper.max_length) for ref in read)
        reads = hyper.model_dump(include={"max_length", "doc_stride", "max_query_length", "precision"})
        predicts: list[Any] = [task.format, task.unanswerable, [ref.key() for ref in sets], reads]
        if formats.get(task.format).compares(task):
            predicts += [target.pooling, [ref.key() for ref in dev]]
        labels = self.data.names[target.task]
        if labels != task.labels:
            predicts.append({"labels": labels})
        scores = [task.format, task.metric, task.answer_rules, [ref.key() for ref in scored]]
        return _Target(
            target, task, labels, part, sets, dev, scored, hyper, tokens,
            min(hyper.max_length, tokens / max(1, sum(size(ref) for ref in read))), _digest(predicts), _digest(scores),
        )  # fmt: skip

    def _cells(
        self, encoder: Encoder, recipe: RecipeEntry, intermediate: str | None, target: _Target, seed: int
    ) -> None:
        """The cell of a seed, and that of the mean of its checkpoints where the study asks for it."""
        model = intermediate or self.healed.get(encoder)
        if target.part:
            model = self._target_training(encoder, recipe, intermediate, target, seed)
        self._cell(encoder, recipe.name, intermediate, target, seed, model)
        for mean in self.study.means:
            if target.part and model and mean.seeds == 1:
                average = self._average(encoder, recipe, mean, target, seed, (model,))
                self._cell(encoder, recipe.name, intermediate, target, seed, average, mean)

    def _means_over_seeds(self, entry: EncoderEntry, samples: dict[int, _OnSample]) -> None:
        """The cells of an encoder's models averaged over the runs of all seeds, if the study asks for it.

        All runs are under the head that the first one trained, which the others leave as it is: heads that begin at
        random are not aligned, as Schmidt et al. 2023 found (their `TrainBody`: github.com/fdschmidt93/free-lunch-xlt,
        trident-xtreme/src/projects/fsxlt_avg/module.py).
        """
        encoder, means = entry.encoder, [one for one in self.study.means if one.seeds > 1]
        if not means:
            return
        if encoder.init == "random":
            self.data.note(f"{encoder.label}: begins with other weights for each seed, and is not averaged over seeds.")
            return
        for recipe in self.study.recipes_of(entry):
            starts = [self._intermediate(encoder, recipe, each.before, seed) for seed, each in samples.items()]
            for of_seeds in zip(*(each.targets[recipe.name] for each in samples.values()), strict=True):
                target, first = of_seeds[0], self.study.seeds[0]
                if target.part is None:
                    continue
                head = self._target_training(encoder, recipe, starts[0], target, first)
                others = [self._target_training(encoder, recipe, start, own, seed, head)
                          for start, own, seed in list(zip(starts, of_seeds, samples, strict=True))[1:]]  # fmt: skip
                for mean in means:
                    model = self._average(encoder, recipe, mean, target, first, (head, *others))
                    self._cell(encoder, recipe.name, starts[0], target, first, model, mean)

    def _target_training(
        self, encoder: Encoder, recipe: RecipeEntry, intermediate: str | None, target: _Target, seed: int,
        head: str | None = None,
    ) -> str:  # fmt: skip
        assert target.part is not None
        pooler = recipe.transfer_pooler or intermediate is None
        snapshots = self.study.average.checkpoints if self.study.average else None
        start = intermediate or self.healed.get(encoder)
        spec = Train(encoder, (target.part,), target.hyper.optimisation, seed, start, pooler,
                     snapshots=snapshots, head=head)  # fmt: skip
        under = f" under the head of seed {self.study.seeds[0]}" if head else ""
        label = f"{encoder.label} seed {seed}: {recipe.name} → train {target.part.task.name}{under}"
        return self._train(spec, label, target.hyper)

    def _average(
        self, encoder: Encoder, recipe: RecipeEntry, mean: Mean, target: _Target, seed: int, runs: tuple[str, ...]
    ) -> str:
        part, snapshots = target.part, mean.checkpoints is not None
        assert part is not None
        tokens = token_count(part.dev, part.reading.max_length)
        length = min(part.reading.max_length, tokens / max(1, size(part.dev)))
        return self._add(
            "average", f"{encoder.label} seed {seed}: {mean.label(recipe.name)} of {part.task.name}",
            Average(encoder, part, target.hyper.optimisation.precision, seed, runs, snapshots),
            [snapshots], tuple(sorted(runs)),
            cost.flops(self.facts[encoder], tokens, length, training=False),
        )  # fmt: skip

    def _cell(
        self, encoder: Encoder, recipe: str, intermediate: str | None, target: _Target, seed: int, model: str | None,
        mean: Mean | None = None,
    ) -> None:  # fmt: skip
        task, where = target.task, f"{encoder.label} seed {seed}: {mean.label(recipe) if mean else recipe}"
        layer = self._hidden_layer(encoder, target.entry) if formats.get(task.format).compares(task) else None
        random_seed = seed if encoder.init == "random" else 0
        predictions = self._add(
            "predict",
            f"{where} → predict {task.name}",
            Predict(
                encoder,
                task.model_copy(update={"labels": target.labels}),
                target.sets,
                target.hyper.lengths,
                target.hyper.optimisation.precision,
                random_seed,
                layer,
                model,
                target.entry.pooling,
                target.dev,
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
        self.cells.append(Cell(encoder, recipe, target.entry, seed, intermediate, trained_on, predictions, score, mean))

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


#: What of healing is not the study's to say: nothing is dropped out or decayed, and one process does it.
_HEALING = {
    "epochs": 1, "batch_tokens": None, "warmup": 0.05, "weight_decay": 0.0, "dropout": "none",
    "freeze_embeddings": True, "processes": 1, "sharding": "none", "collapse_retries": 0, "lora": None,
    "max_train_examples": None, "max_dev_examples": None, "dev_selection": "all",
}  # fmt: skip


def _is_new(study: Study, one: AddedSeed) -> bool:
    """Whether a seed that was added is of what a study has now, and none of its own."""
    targets = [target.task for entry in study.encoders if entry.encoder.label == one.encoder
               for recipe in study.recipes_of(entry) if recipe.name == one.recipe
               for target in study.targets_of(recipe)]  # fmt: skip
    return one.seed not in study.seeds and one.target in targets


def _digest(content: Any) -> str:
    return digests.of_json(content, ensure_ascii=False)
