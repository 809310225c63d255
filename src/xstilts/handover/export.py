"""Hand a trained model over: a folder that Transformers opens, with its model card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from xstilts import data
from xstilts.analysis.gather import gather
from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.extras import need
from xstilts.encoders import Encoder, EncoderFacts, bodies, headed
from xstilts.encoders.load import load_tokenizer
from xstilts.engine import heads
from xstilts.engine.machine.device import fast_precision, named
from xstilts.engine.models import load_bare, load_trained
from xstilts.handover import onnx, usage
from xstilts.handover.exported import Exported
from xstilts.handover.model_card import CardPython, healed_card, model_card, opening
from xstilts.handover.usage import Usage
from xstilts.planning import records
from xstilts.planning.data_ref import DataRef, examples
from xstilts.planning.hyperparameters import Precision
from xstilts.planning.plan import Average, Cell, Heal, Merge, Plan, Predict, Train
from xstilts.planning.records import HealRecord, ModelRecord
from xstilts.store import Store
from xstilts.store.files import share
from xstilts.tasks import formats
from xstilts.tasks.task import Task


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
    untrained = [cell for cell in plan.cells if cell.training is None and cell.target.task == choice.target]
    check_names(untrained or trained, choice)
    if untrained:
        return _one_of_vectors(store, [cell for cell in untrained if choice.allows(cell)])
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


def _one_of_vectors(store: Store, cells: Sequence[Cell]) -> Cell:
    """Where nothing is trained on the target, the encoder is what its recipe made of it, which must be named."""
    if len(kinds := list(dict.fromkeys((cell.encoder.label, cell.recipe_label) for cell in cells))) > 1:
        which = ", ".join(f"{encoder} with {recipe}" for encoder, recipe in kinds[:4])
        more = ", …" if len(kinds) > 4 else ""
        raise UserError(
            f"--target {cells[0].target.task}: nothing is trained on it, so that no dev score chooses among {which}"
            f"{more}; name --encoder and --recipe"
        )
    cell = best_of_seeds(store, cells)
    if cell is None or (cell.intermediate and store.peek(cell.intermediate) is None):
        raise UserError("no such model is in the store yet; `xstilts run --models` trains it")
    return cell


def best_of_seeds(store: Store, cells: Sequence[Cell]) -> Cell | None:
    """Of untrained cells that differ in their seeds, the one with the best dev score of its intermediate task."""
    started = [replace(cell, training=cell.intermediate) for cell in cells]
    first = best(store, started)
    return cells[started.index(first) if first else 0] if cells else None


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


def export(plan: Plan, store: Store, cell: Cell, out: Path, *, with_onnx: bool = False) -> Path:
    """Write the cell's model, tokenizer and model card to the folder ``out``, whole or not at all.

    With ``with_onnx`` also as ONNX. Raises UserError if ``out`` is not empty, or cannot be written, or as `onnx.write`
    does.
    """
    _check_new(out)
    if with_onnx:
        need("onnx", "onnx", "onnxscript", "onnxruntime")
    predicts = plan.stages[cell.predictions].spec
    assert isinstance(predicts, Predict)
    task, facts, tokenizer = predicts.task, plan.facts[cell.encoder], load_tokenizer(cell.encoder)
    block = predicts.hidden_layer
    if block is None and formats.get(task.format).comparison:
        block = facts.layers  # the last, as it was trained
    used = Usage(
        task.format, task.name, **asdict(predicts.lengths), unanswerable=task.unanswerable, block=block,
        pooling=predicts.pooling,
    )  # fmt: skip
    run: Train | None = None
    if cell.training:
        spec = plan.stages[cell.training].spec
        assert isinstance(spec, Train | Average)
        trained = plan.stages[spec.runs[0]].spec if isinstance(spec, Average) else spec
        assert isinstance(trained, Train)
        run = trained
        used = replace(used, unanswerable=run.task.unanswerable)
        with store.files(cell.training) as folder:
            model = load_trained(spec.encoder, spec.task, spec.seed, folder, run.optimisation.dropout)
        if task.labels:  # what the target calls the classes of the task that it is trained on
            model.config.id2label = dict(enumerate(task.labels))
            model.config.label2id = {label: i for i, label in enumerate(task.labels)}
        used = _with_abstentions(used, run, Exported(out, model, tokenizer, used, task.labels, *fast()))
    elif predicts.model:
        with store.files(predicts.model) as folder:
            model = load_bare(cell.encoder, predicts.seed, folder)
    else:
        model = load_bare(cell.encoder, predicts.seed, None)
    trained_on = [key for key in (plan.healed.get(cell.encoder), cell.intermediate, cell.training) if key]
    card = model_card(
        encoder=cell.encoder,
        recipe=cell.recipe,
        mean=cell.mean,
        usage=used,
        seed=cell.seed,
        hyperparameters=run.hyperparameters if run else {},
        data=_rows([use for key in trained_on for use in _data(plan, key)]),
        scores=gather(plan, store).scores,
        evaluated={ref.language: ref for ref in predicts.sets},
        python=_in_python(model, used, task, tokenizer, facts),
        facts=facts,
        intermediate=cell.intermediate is not None,
        beyond_english=plan.beyond_english(cell),
    )
    return _write(out, model, cell.encoder, card, used, with_onnx=with_onnx)


def fast() -> tuple[torch.device, Precision]:
    """The device of this process, and the precision that it is fast in."""
    device = named(None)
    return device, fast_precision(device)


#: English dev questions on which it is measured what giving no answer comes to.
MOST_DEV = 1000


def _with_abstentions(used: Usage, run: Train, model: Exported) -> Usage:
    """With what thresholds come to on the English dev data of the training, where there may be no answer."""
    if not used.unanswerable:
        return used
    dev = data.cap(examples(run.parts[0].dev), MOST_DEV)
    found = model.format.abstentions(dev, model.raw(dev), model.task)
    return replace(used, dev_examples=len(dev), abstentions=tuple(found))


def _in_python(model: PreTrainedModel, used: Usage, task: Task, tokenizer: Any, facts: EncoderFacts) -> CardPython:
    """How a card has people use the model, by xstilts and without."""
    head = heads.get(used.format)
    if isinstance(model, headed.Headed):
        opened = headed.opening(model)
    elif model.base_model is model:  # an encoder without a head
        source, name = bodies.imported_from(model)
        opened = opening(name, facts, source, head.OUTPUTS)
    else:
        opened = opening(head.AUTO_CLASS, facts, outputs=head.OUTPUTS)
    task = task.model_copy(update={"unanswerable": used.unanswerable})
    return CardPython(opened, head.in_python(task, tokenizer, used.lengths, used.block, used.pooling))


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
        model = load_bare(encoder, 0, folder)
    texts, facts = _rows([("healing", ref) for ref in spec.texts]), plan.facts[encoder]
    source, name = bodies.imported_from(model)
    return _write(out, model, encoder, healed_card(encoder, record, texts, opening(name, facts, source), facts))


def _check_new(out: Path) -> None:
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: exists already; choose a new folder")


def _write(
    out: Path,
    model: PreTrainedModel,
    encoder: Encoder,
    card: str,
    used: Usage | None = None,
    *,
    with_onnx: bool = False,
) -> Path:
    """Whole or not at all."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:
            new = Path(scratch, "model")
            new.mkdir()
            headed.save(model, new) if isinstance(model, headed.Headed) else model.save_pretrained(new)
            load_tokenizer(encoder).save_pretrained(new)
            if used:
                usage.write(used, new)
            if with_onnx:
                card += f"\n{onnx.write(new)}\n"
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
