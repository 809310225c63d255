"""Hand a trained model over: a folder that Transformers opens, with its model card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from safetensors import SafetensorError

from xstilts.analysis.gather import gather
from xstilts.common.errors import UserError, did_you_mean
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads
from xstilts.engine.models import load_trained
from xstilts.handover.model_card import model_card
from xstilts.planning import records
from xstilts.planning.data_ref import DataRef, examples
from xstilts.planning.plan import Average, Cell, Merge, Plan, Train
from xstilts.planning.records import ModelRecord
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
    cell = best(store, [cell for cell in trained if choice.allows(cell)])
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


def best(store: Store, cells: Sequence[Cell]) -> Cell | None:
    """Of the cells whose model is in the store, the one with the best English dev score; the first, if tied."""
    found = [(records.peek(store, cell.training or ""), cell) for cell in cells]
    there = [(record.dev, cell) for record, cell in found if isinstance(record, ModelRecord)]
    return max(there, key=itemgetter(0))[1] if there else None


def export(plan: Plan, store: Store, cell: Cell, out: Path) -> Path:
    """Write the cell's model, tokenizer and model card to the folder ``out``, whole or not at all.

    Raises UserError if it is not empty, or cannot be written.
    """
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: exists already; choose a new folder")
    spec = plan.stages[cell.training or ""].spec
    assert isinstance(spec, Train | Average)
    run = plan.stages[spec.runs[0]].spec if isinstance(spec, Average) else spec
    assert isinstance(run, Train)
    fmt = heads.get(spec.task.format)
    with store.files(cell.training or "") as folder:
        model = load_trained(spec.encoder, spec.task, spec.seed, folder, run.optimisation.dropout)
    if spec.task.unanswerable:  # `predict` gives an answer to all questions otherwise
        model.config.unanswerable = True
    used = [*_data(plan, cell.intermediate), *_data(plan, cell.training)]
    card = model_card(
        encoder=cell.encoder,
        recipe=cell.recipe,
        mean=cell.mean,
        target=cell.target.task,
        format=spec.task.format,
        seed=cell.seed,
        hyperparameters=run.hyperparameters,
        data=[
            {
                "task": ref.task.name,
                "split": ref.split,
                "language": ref.language,
                "use": use,
                "examples": len(examples(ref)),
                "fingerprint": ref.fingerprint,
            }
            for use, ref in used
        ],
        scores=gather(plan, store).scores,
        auto_class=fmt.AUTO_CLASS,
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:
            new = Path(scratch, "model")
            new.mkdir()
            model.save_pretrained(new)
            load_tokenizer(spec.encoder).save_pretrained(new)
            (new / "README.md").write_text(card, encoding="utf-8")
            share(new)
            os.replace(new, out)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--out {out}: cannot be written: {reason}; name another folder") from None
    return out


def _data(plan: Plan, key: str | None) -> list[tuple[str, DataRef]]:
    """What the stage and those that it starts from were trained on, and for what."""
    match plan.stages[key].spec if key else None:
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
