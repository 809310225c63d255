"""Hand a trained model over: a folder that Transformers opens, with its model card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedModel

from xstilts.analysis.gather import gather
from xstilts.common.errors import UserError, did_you_mean
from xstilts.encoders import Encoder, bodies, headed
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads
from xstilts.engine.models import load_healed, load_trained
from xstilts.handover.model_card import healed_card, model_card, opening
from xstilts.planning import records
from xstilts.planning.data_ref import DataRef, examples
from xstilts.planning.plan import Average, Cell, Heal, Merge, Plan, Train
from xstilts.planning.records import HealRecord, ModelRecord
from xstilts.store import Store
from xstilts.store.files import share


@dataclass(frozen=True)
class CellFilter:
    """What to export; None leaves it to the English dev score."""

    target: str | None = None
    encoder: str | None = None
    recipe: str | None = None
    seed: int | None = None

    def allows(self, cell: Cell) -> bool:
        return (
            self.target in (None, cell.target.task)
            and self.encoder in (None, cell.encoder.label)
            and self.recipe in (None, cell.recipe_label)
            and self.seed in (None, cell.seed)
        )


def choose(plan: Plan, store: Store, choice: CellFilter) -> Cell:
    """The cell whose model has the best English dev score among those that ``choice`` allows.

    Raises UserError where it names something that the study does not have, or where nothing is trained yet.
    """
    trained = [cell for cell in plan.cells if cell.training is not None]
    check_names(trained, choice)
    targets = list(dict.fromkeys(cell.target.task for cell in trained))
    if choice.target is None and len(targets) > 1:
        raise UserError(f"the study has several trained targets; name one with --target: {', '.join(targets)}")
    allowed = [cell for cell in trained if choice.allows(cell)]
    check_selected_alike(plan, allowed)
    cell = best(store, allowed)
    if cell is None:
        trained_once = any(cell.score and store.peek(cell.score) for cell in trained if choice.allows(cell))
        raise UserError(
            "no such model is in the store any more, though its scores are; `xstilts run --models` trains it again"
            if trained_once and not store.lost() & plan.stages.keys()
            else "no such model is in the store yet; `xstilts run` trains it"
        )
    return cell


def check_names(cells: Sequence[Cell], choice: CellFilter) -> None:
    """Raise UserError where ``choice`` names what none of ``cells`` has."""
    for field, wanted, names in (
        ("target", choice.target, {cell.target.task for cell in cells}),
        ("encoder", choice.encoder, {cell.encoder.label for cell in cells}),
        ("recipe", choice.recipe, {cell.recipe_label for cell in cells}),
        ("seed", choice.seed, {cell.seed for cell in cells}),
    ):
        if wanted is not None and wanted not in names:
            raise UserError(
                f"--{field} {wanted}: the study trains no such model: {did_you_mean(str(wanted), map(str, names))}"
            )


def check_selected_alike(plan: Plan, cells: Sequence[Cell]) -> None:
    """Raise UserError where the dev scores of ``cells`` are of different languages, and choose nothing."""
    languages = {plan.selected_on(cell): cell.recipe_label for cell in cells}
    if len(languages) > 1:
        told = ", ".join(f"{language} of {recipe}" for language, recipe in languages.items())
        raise UserError(f"dev scores are of different languages ({told}): name one with --recipe")


def best(store: Store, cells: Sequence[Cell]) -> Cell | None:
    """Of the cells whose model is in the store, the one with the best English dev score; the first, if tied."""
    found = [(records.peek(store, cell.training or ""), cell) for cell in cells]
    there = [(record.dev, cell) for record, cell in found if isinstance(record, ModelRecord)]
    return max(there, key=itemgetter(0))[1] if there else None


def export(plan: Plan, store: Store, cell: Cell, out: Path) -> Path:
    """Write the cell's model, tokenizer and model card to the folder ``out``, whole or not at all.

    Raises UserError if it is not empty, or cannot be written.
    """
    _check_new(out)
    spec = plan.stages[cell.training or ""].spec
    assert isinstance(spec, Train | Average)
    run = plan.stages[spec.runs[0]].spec if isinstance(spec, Average) else spec
    assert isinstance(run, Train)
    fmt, facts = heads.get(spec.task.format), plan.facts[spec.encoder]
    with store.files(cell.training or "") as folder:
        model = load_trained(spec.encoder, spec.task, spec.seed, folder, run.optimisation.dropout)
    if spec.task.unanswerable:  # `predict` gives an answer to all questions otherwise
        model.config.unanswerable = True
    used = [*_data(plan, plan.healed.get(cell.encoder)), *_data(plan, cell.intermediate), *_data(plan, cell.training)]
    card = model_card(
        encoder=cell.encoder,
        recipe=cell.recipe,
        mean=cell.mean,
        target=cell.target.task,
        format=spec.task.format,
        seed=cell.seed,
        hyperparameters=run.hyperparameters,
        data=_rows(used),
        scores=gather(plan, store).scores,
        opening=headed.opening(model) if isinstance(model, headed.Headed) else opening(fmt.AUTO_CLASS, facts),
        facts=facts,
        intermediate=cell.intermediate is not None,
        beyond_english=plan.beyond_english(cell),
    )
    return _write(out, model, spec.encoder, card)


def healed_encoder(plan: Plan, label: str | None) -> Encoder:
    """The healed encoder of this label, or the only one. Raises UserError."""
    labels = {encoder.label: encoder for encoder in plan.healed}
    if not labels:
        raise UserError("--healed: no encoder of the study is healed; give one `heal`, a number of tokens")
    if label is None and len(labels) > 1:
        raise UserError(f"--healed: name one with --encoder: {', '.join(labels)}")
    if label is not None and label not in labels:
        raise UserError(f"--encoder {label}: the study heals no such encoder: {did_you_mean(label, labels)}")
    return labels[label] if label else next(iter(labels.values()))


def export_healed(plan: Plan, store: Store, encoder: Encoder, out: Path) -> Path:
    """Write a healed encoder, its tokenizer and its card to the folder ``out``, as `export` does.

    Raises UserError as that does, and where it is not healed yet.
    """
    _check_new(out)
    key = plan.healed[encoder]
    spec, record = plan.stages[key].spec, records.peek(store, key)
    assert isinstance(spec, Heal)
    if not isinstance(record, HealRecord):
        raise UserError(f"{encoder.label} is not in the store yet; `xstilts run` heals it")
    with store.files(key) as folder:
        model = load_healed(encoder, folder)
    texts, facts = _rows([("healing", ref) for ref in spec.texts]), plan.facts[encoder]
    source, name = bodies.imported_from(model)
    return _write(out, model, encoder, healed_card(encoder, record, texts, opening(name, facts, source), facts))


def _check_new(out: Path) -> None:
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: exists already; choose a new folder")


def _write(out: Path, model: PreTrainedModel, encoder: Encoder, card: str) -> Path:
    """Whole or not at all."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:
            new = Path(scratch, "model")
            new.mkdir()
            headed.save(model, new) if isinstance(model, headed.Headed) else model.save_pretrained(new)
            load_tokenizer(encoder).save_pretrained(new)
            (new / "README.md").write_text(card, encoding="utf-8")
            share(new)
            os.replace(new, out)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--out {out}: cannot be written: {reason}; name another folder") from None
    return out


def _rows(used: Sequence[tuple[str, DataRef]]) -> list[dict[str, object]]:
    """As a card has them."""
    return [
        {
            "task": ref.task.name,
            "split": ref.split,
            "language": ref.language,
            "use": use,
            "examples": len(examples(ref)),
            "fingerprint": ref.fingerprint,
        }
        for use, ref in used
    ]


def _data(plan: Plan, key: str | None) -> list[tuple[str, DataRef]]:
    """What the stage and those that it starts from were trained on, and for what."""
    match plan.stages[key].spec if key else None:
        case Heal(texts=texts_read):
            return [("healing", ref) for ref in texts_read]
        case Train(parts=parts, mlm=mlm):
            texts = [("mlm", ref) for ref in mlm.texts] if mlm else []
            uses = [use for part in parts for use in (("train", part.train), ("selection", part.dev))]
            by_machine = [
                (f"translated into {one.language}", part.train) for part in parts for one in part.translations
            ]
            return [*uses, *by_machine, *texts]
        case Merge(weights=weights):
            return list(dict.fromkeys(use for source, _ in weights for use in _data(plan, source)))
        case Average(runs=runs):
            return list(dict.fromkeys(use for run in runs for use in _data(plan, run)))
        case _:
            return []
