"""The data of a study: what is trained on, selected by and evaluated on, each read once, with notes on what is odd."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from xstilts import data
from xstilts.common.errors import UserError
from xstilts.common.validation import Mistakes
from xstilts.planning import cost, labels
from xstilts.planning.data_ref import DataRef, examples, has_gold, size, wanting_gold, without_gold
from xstilts.planning.hyperparameters import Hyperparameters, Reading
from xstilts.planning.recipe import MlmEntry, RecipeEntry, TargetTraining, TranslatedEntry
from xstilts.planning.study import Study, TargetEntry
from xstilts.tasks import builtin_catalog, formats
from xstilts.tasks.task import Split, Task


class Trained(NamedTuple):
    """A task that is trained on, how its data are read, and as what: before the targets, or as one of them."""

    task: Task
    reading: Reading
    target: str | None = None  # that it is the training of; None: an intermediate task
    asked: TargetTraining | None = None  # on what that target is trained, where it is not English alone
    translated: TranslatedEntry | None = None


class StudyData:
    """Raises UserError where data are missing or wrong.

    With ``estimate``, data of the catalog's tasks that are not at hand are taken to be as it says; those of a task
    that the user adds must be there.
    """

    def __init__(self, study: Study, estimate: bool, added: Iterable[int] = ()):
        self.study = study
        self.seeds = tuple(dict.fromkeys((*study.seeds, *added)))
        self.estimate = estimate
        self.absent: dict[str, None] = {}  # what is not at hand
        self.uses: dict[tuple[str, DataRef], int] = {}  # (use, data) → examples
        self.notes: dict[str, None] = {}  # in order, each once
        self.excluded: dict[DataRef, frozenset[str]] = {}  # ids of examples that are not trained or selected on
        self._tasks: dict[str, Task] = {}
        self.names: dict[str, tuple[str, ...]] = {}  # target → what it calls the classes of its model, by their ids
        self.evaluation: dict[str, tuple[DataRef, ...]] = {}  # target → by language
        self.thresholds: dict[str, tuple[DataRef, ...]] = {}
        self._read()

    def _read(self) -> None:
        """Look at all data, so that all that is wrong with them is told at once."""
        mistakes = Mistakes()
        for target in self.study.targets:
            with mistakes.at():
                self.names[target.task] = self._names(self.task(target.task))
        for target in self.study.targets:
            with mistakes.at():
                self.evaluation[target.task] = self._evaluation(target)
                self.thresholds[target.task] = self._thresholds(target)
        if any(entry.heal for entry in self.study.encoders):
            with mistakes.at():
                self.healing_texts()
        for trained in self._trainings():
            with mistakes.at():
                self.training(trained())
        mistakes.check()

    def task(self, name: str) -> Task:
        """The catalog's task, with its labels where these are the data's to give, or the task's it is trained on."""
        if name not in self._tasks:
            task = self.study.catalog[name]
            if task.labels_from_data and task.train not in (None, name):
                task = task.model_copy(update={"labels": self.task(str(task.train)).labels, "labels_from_data": False})
            elif task.labels_from_data and not self._is_absent(task, "train", "en"):
                task = data.labelled(task, self.study.provider)
                if faults := list(formats.get(task.format).faults(task)):
                    raise UserError(f"{name}: labels of its data: {'; '.join(faults)}")
            self._tasks[name] = task
        return self._tasks[name]

    def _names(self, task: Task) -> tuple[str, ...]:
        if task.training_task in (None, task.name):
            return task.labels
        trained = self.task(task.training_task)
        names = labels.named(task, trained)
        for text in labels.notes(task, trained):
            self.note(text)
        return names

    @property
    def draws(self) -> dict[int, int | None]:
        """Seed → which sample of the training data its models have; None is the one that all seeds share."""
        return {seed: seed if self.study.sample == "per_seed" else None for seed in self.seeds}

    def trained_tasks(self) -> Iterator[Trained]:
        """Each task that is trained on, as often as it is in another way."""
        return (make() for make in self._trainings())

    def _trainings(self) -> Iterator[Callable[[], Trained]]:
        """Calls that give them, and raise UserError each for itself."""
        for recipe in self.study.recipes:
            for name in recipe.tasks:
                yield partial(self.intermediate, recipe, name)
        changed = [(one, self.study.targets_of(one)) for one in self.study.recipes if one.target_training]
        for target in self.study.targets:
            if self.study.catalog[target.task].training_task:
                yield partial(self.target, target)
                for recipe, targets in changed:
                    if target in targets:
                        yield partial(self.target, target, recipe.target_training)

    def intermediate(self, recipe: RecipeEntry, name: str) -> Trained:
        """One of a recipe's tasks."""
        task = self.task(name)
        hyper = self.study.hyperparameters(task, recipe.training, intermediate=True)
        return Trained(task, hyper.reading, translated=recipe.translated)

    def target(self, target: TargetEntry, asked: TargetTraining | None = None) -> Trained:
        """The training of a target that has one, in English where nothing else is ``asked``."""
        task = self.task(str(self.study.catalog[target.task].training_task))
        hyper = self.study.hyperparameters(task, target.training)
        return Trained(task, hyper.reading, target.task, asked, asked.translated if asked else None)

    def training(self, trained: Trained, draw: int | None = None) -> tuple[DataRef, DataRef]:
        """The data that a task is trained and selected on: the only data that training stages are given.

        They are English, and none of them is evaluated on. Where a target is evaluated on the dev split, the task
        that it shares the split with is selected on a tenth of its train split. Other languages have a say in two
        cases, both of which are told and marked: a task whose entry has `train_languages: all`, which its name must
        say too, trains on all of them and is selected on English; and a recipe's `target_training` names them.
        """
        task, reading, asked = trained.task, trained.reading, trained.asked
        if "en" not in task.languages:
            raise UserError(
                f"{task.name}: is trained on English, and `languages` of its entry has no en; add it, or name the task "
                f"that it is trained on as `train`"
            )
        language, source, dev_language = "en", task, "en"
        cut = self._is_evaluated_on_dev(task)
        if cut:
            self.note(
                f"Targets are evaluated on the dev split of {task.name}: it is selected on a tenth of its English "
                f"train split, and trained on the rest."
            )
        if task.train_languages == "all":
            language = "+".join(data.available(task, "train", self.study.provider)) or "en"
            self.note(
                f"{task.name} trains on {', '.join(language.split('+'))}: what is trained on it is NOT zero-shot in "
                f"these languages."
            )
        caps: dict[str, int] = {}
        if asked:
            language = self._joined(task, "train", asked.train_languages, cut)
            source = self._selecting_task(trained, asked.dev_languages, cut)
            dev_language = self._joined(source, "dev", asked.dev_languages, cut)
            caps = asked.max_train_examples
        train = self._ref(
            task, "train", language, "train", reading.max_train_examples, cut=cut, draw=draw,
            each=caps if asked else None,
        )  # fmt: skip
        dev = self._ref(
            source, "dev", dev_language, "selection", reading.max_dev_examples, cut=cut, each={} if asked else None
        )
        train, dev = self.clean(train), self.clean(dev)
        if not size(train):
            raise UserError(f"{task.name}: no example is left to train on: all are in evaluation data too")
        return train, dev

    def _joined(self, task: Task, split: Split, languages: tuple[str, ...], cut: bool) -> str:
        """Languages in the catalog's order. Raises UserError where one has no data of its own."""
        there = self._own_languages(task, split, cut)
        if lacking := [language for language in languages if language not in there]:
            raise UserError(
                f"target_training: {task.name} has no {_DATA[split]} data in {', '.join(lacking)}; there is some in "
                f"{', '.join(there) or 'no language'}: name these, or bring files by language (docs/data.md)"
            )
        return "+".join(language for language in task.languages if language in languages)

    def _own_languages(self, task: Task, split: Split, cut: bool) -> list[str]:
        """With data of their own at hand or, of an estimate, by the catalog."""
        source: Split = "train" if cut or (split == "dev" and not any(one.dev for one in task.layouts)) else split
        there = data.own_languages(task, source, self.study.provider)
        return [language for language in task.languages
                if language in there or (self._is_absent(task, source, language)
                                         and (language == "en" or task.has_own(source)))]  # fmt: skip

    def _selecting_task(self, trained: Trained, languages: tuple[str, ...], cut: bool) -> Task:
        """Whose dev data a target is selected on: of the task that it is trained on, or its own where that lacks some.

        XNLI is trained on MultiNLI, which is English, and has dev data in each of its languages.
        """
        task = trained.task
        own = self.task(str(trained.target))
        if own.labels == task.labels and not cut and own.name != task.name:
            lacks = [set(languages) - set(self._own_languages(one, "dev", False)) for one in (task, own)]
            if lacks[0] and not lacks[1]:
                return own
        return task

    def texts(self, mlm: MlmEntry, draw: int | None = None) -> tuple[tuple[DataRef, ...], Hyperparameters]:
        """The text of MLM, and how it is read."""
        task = self.task(mlm.task)
        hyper = self.study.hyperparameters(task, mlm.training, intermediate=True)
        return self._texts("mlm", task, mlm.languages, hyper.max_train_examples, draw), hyper

    def healing_texts(self) -> tuple[DataRef, ...]:
        """The text that encoders are healed on: all that there is of its languages, the same for all seeds."""
        healing = self.study.healing
        return self._texts("healing", self.task(healing.task), healing.languages, None)

    def _texts(
        self, use: str, task: Task, languages: tuple[str, ...] | None, most: int | None, draw: int | None = None
    ) -> tuple[DataRef, ...]:
        """The text of each language, by default of those that targets are evaluated in and that there is text of."""
        if languages is None:
            evaluated = {part for refs in self.evaluation.values() for ref in refs for part in ref.language.split("-")}
            there = data.available(task, "train", self.study.provider)
            if not there and self.estimate:
                there = task.languages
            languages = tuple(each for each in there if each in evaluated)
        languages = tuple(each for each in task.languages if each in languages)
        if not languages:
            data.load(task, "train", task.languages[0], self.study.provider)  # says what is missing, and where
            raise UserError(f"{use}: {task.name} has text in no language of the targets; name its `languages`")
        return tuple(self._ref(task, "train", each, use, most, draw=draw) for each in languages)

    def clean(self, ref: DataRef) -> DataRef:
        """Without the examples that are excluded."""
        excluded = self.excluded.get(ref)
        return replace(ref, excluded=excluded) if excluded else ref

    def share_dev(self, one: Task, other: Task) -> bool:
        """Whether two tasks are selected on the same data, in part at least."""
        return bool(self._dev_data(one) & self._dev_data(other))

    def note(self, text: str) -> None:
        self.notes[text] = None

    def note_evaluation(self) -> None:
        """What is not scored, and in which languages recipes with translations are not zero-shot."""
        for name, sets in self.evaluation.items():
            lacking = {ref: without_gold(ref) for ref in sets if not has_gold(ref)}
            blank = [ref.language for ref, ids in lacking.items() if len(ids) == wanting_gold(ref)]
            if blank:
                which = "any language" if len(blank) == len(sets) else ", ".join(blank)
                self.note(
                    f"{name}: the {sets[0].split} data has no gold labels in {which}: predictions are made there, "
                    "but no score."
                )
            for ref, ids in lacking.items():
                if ref.language not in blank:
                    self.note(
                        f"{name}: {len(ids):,} of {wanting_gold(ref):,} examples of the {ref.split} data in "
                        f"{ref.language} have no gold label, the first {ids[0]!r}: predictions are made there, but no "
                        f"score."
                    )
        for recipe in self.study.recipes:
            asked = recipe.target_training
            for translated in (recipe.translated, asked.translated if asked else None):
                if translated:
                    self.note(
                        f"{recipe.name} trains on machine translations into {', '.join(translated.languages)} (by "
                        f"{translated.files or translated.engine}): in these languages it is not zero-shot."
                    )
            if asked and asked.languages:
                self.note(self._not_zero_shot(recipe.name, asked, self.study.targets_of(recipe)))

    @staticmethod
    def _not_zero_shot(name: str, asked: TargetTraining, targets: Sequence[TargetEntry]) -> str:
        most = "".join(f", at most {n:,} in {language}" for language, n in asked.max_train_examples.items())
        return (
            f"{name} trains {', '.join(target.task for target in targets)} on labelled data in "
            f"{', '.join(asked.train_languages)}{most}, and selects on dev data in {', '.join(asked.dev_languages)}: "
            f"in {', '.join(asked.languages)} it is NOT zero-shot."
        )

    def note_sources(self, encoders: Sequence[str]) -> None:
        """Which ``encoders`` and data are not at hand, and which data are from the hub or not whole."""
        if absent := [*encoders, *self.absent]:
            self.note(f"Not at hand, and counted as the catalog says: {'; '.join(absent)}.")
        for text in _hub_notes(self.uses):
            self.note(text)
        if partial := _partial(self.uses):
            self.note(f"Other than the whole official data: {'; '.join(partial)}.")

    def _evaluation(self, target: TargetEntry) -> tuple[DataRef, ...]:
        task = self.task(target.task)
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

    def _thresholds(self, target: TargetEntry) -> tuple[DataRef, ...]:
        """Of formats with `thresholds`: the dev data of each evaluated language, on which its threshold is chosen."""
        task = self.task(target.task)
        fmt = formats.get(task.format)
        if not fmt.thresholds:
            return ()
        languages = [ref.language for ref in self.evaluation[target.task]]
        refs = tuple(self._ref(task, "dev", language, "threshold", target.max_examples) for language in languages)
        for ref in refs:
            if ref.expected is None and not fmt.shows_threshold(examples(ref)):
                lacks = f"dev data in {ref.language} has no gold pairs, on which the threshold is chosen"
                remedy = (
                    "raise max_examples" if target.max_examples else "fetch its .gold file, or name other `languages`"
                )
                raise UserError(f"targets: {task.name}: {lacks}; {remedy}")
        if target.split == "dev":
            self.note(
                f"{task.name} is evaluated on dev, on which its thresholds are chosen too: its F1 is the highest that "
                f"any threshold gives, and flattered."
            )
        return refs

    def _ref(
        self, task: Task, split: Split, language: str, use: str, cap: int | None, *, cut: bool = False,
        draw: int | None = None, each: dict[str, int] | None = None,
    ) -> DataRef:  # fmt: skip
        """Of at most ``cap`` examples; with ``each`` of so many in a language, and ``cap`` in those that it lacks."""
        provider = self.study.provider
        caps: dict[str, int] = {}
        if each is not None:
            wanted = {one: each.get(one, cap) for one in language.split("+")}
            caps, cap = {one: most for one, most in wanted.items() if most is not None}, None
            if "+" not in language:
                caps, cap = {}, caps.get(language)
        source: Split = "train" if cut else split
        if absent := [one for one in language.split("+") if self._is_absent(task, source, one)]:
            data.check_names(task, source, absent[0], provider)
            self.absent[f"{task.name} {split}"] = None
            counts = {one: cost.expected_examples(task, split, one) for one in language.split("+")}
            count = sum(min(n, caps.get(one, n)) for one, n in counts.items())
            ref = DataRef(
                task, split, language, provider, f"{task.name} is not at hand", expected=min(count, cap or count)
            )
            self.uses[use, ref] = size(ref)
            return ref
        prints = [data.fingerprint(task, source, one, provider) for one in language.split("+")]
        fingerprint = prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()
        ref = DataRef(task, split, language, provider, fingerprint, cap, cut=cut, caps=tuple(caps.items()))
        if draw is not None and len(examples(ref)) < len(examples(ref.whole)):
            ref = replace(ref, draw=draw)
        if (use, ref) not in self.uses:
            self._check(ref, use)
            self.uses[use, ref] = len(examples(ref))
            for one in language.split("+"):
                for text in data.notes(task, source, one, provider):
                    self.note(f"{text}.")
        return ref

    def _check(self, ref: DataRef, use: str) -> None:
        """Whether a data set has the gold that a model is trained and selected by."""
        where, found = f"{ref.task.name} {ref.split} data in {ref.language}", examples(ref)
        if use not in ("train", "selection") or not (lacking := without_gold(ref)):
            return
        what = f"{len(lacking):,} of {len(found):,} examples have no gold label, the first {lacking[0]!r}"
        if use == "selection" or len(lacking) == len(found):
            raise UserError(f"{where}: {what}; give them one, or remove them")
        self.note(f"{where}: {what}: nothing is learnt from them.")

    def _is_absent(self, task: Task, split: Split, language: str) -> bool:
        """Whether data are not at hand, and are counted as the catalog says."""
        absent = [
            part for part in task.parts or (task,) if language not in data.available(part, split, self.study.provider)
        ]
        return self.estimate and bool(absent) and all(map(self._is_builtin, absent))

    def _is_builtin(self, task: Task) -> bool:
        return task.name in builtin_catalog() and self.study.catalog[task.name] == builtin_catalog()[task.name]

    def _is_evaluated_on_dev(self, task: Task) -> bool:
        """Whether a target is evaluated on the dev data that ``task`` would be selected on, or translations of them."""
        targets = (self.task(target.task) for target in self.study.targets if target.split == "dev")
        return any(self.share_dev(task, self._with_english(target)) for target in targets)

    def _with_english(self, target: Task) -> Task:
        """``target``, or the task it is trained on where that has the English side of its dev data (XCOPA: COPA)."""
        if "en" in target.languages or target.training_task is None:
            return target
        trained = self.task(target.training_task)
        return trained if any(layout.dev for layout in trained.layouts) else target

    def _dev_data(self, task: Task) -> set[str]:
        """What tells the dev data of a task, or of the tasks that it unites: names, and prints of the English files."""
        parts, provider = task.parts or (task,), self.study.provider
        there = [part for part in parts if "en" in data.available(part, "dev", provider)]
        return {part.name for part in parts} | {data.fingerprint(part, "dev", "en", provider) for part in there}


#: What a split is called where it is missing.
_DATA: dict[Split, str] = {"train": "training", "dev": "dev", "test": "test"}


def _hub_notes(refs: Iterable[tuple[str, DataRef]]) -> list[str]:
    """What a study takes from the hub: a line for each task and split, with the commit and the counts."""
    counted: dict[tuple[str, str], dict[str, tuple[int, int | None]]] = {}
    for ref in dict.fromkeys(ref.whole for _, ref in refs):
        for language in ref.language.split("+") if ref.expected is None else ():
            for task, place in data.on_hub(ref.task, "train" if ref.cut else ref.split, language, ref.provider):
                where = f"{place.layout.repository} {'+'.join(place.splits)} at commit {place.commit}"
                counted.setdefault((task.name, where), {})[language] = data.hub_counts(task, place)
    return [_hub_note(name, where, counts) for (name, where), counts in counted.items()]


def _partial(refs: Iterable[tuple[str, DataRef]]) -> list[str]:
    """What is in files and has other than the official number of examples, as in "mnli train 8,999 of 392,702"."""
    told: dict[str, dict[str, None]] = {}  # what → languages
    for ref in dict.fromkeys(ref.whole for _, ref in refs):
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
