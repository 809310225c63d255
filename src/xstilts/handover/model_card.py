"""The card (README.md) of an exported model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import yaml
from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from xstilts.analysis.axes import ENGLISH, how_compared
from xstilts.common import markdown
from xstilts.data import on_hub
from xstilts.encoders import Encoder, EncoderFacts, bundled
from xstilts.engine.heads import InPython
from xstilts.handover.usage import Usage
from xstilts.planning.data_ref import DataRef
from xstilts.planning.recipe import Mean
from xstilts.planning.records import HealRecord
from xstilts.tasks import formats

# What the bundled weights are a copy of, so that the card names a model that its reader can find.
_SOURCES = {"bundled/e5-small": "intfloat/multilingual-e5-small"}


def model_card(
    *,
    encoder: Encoder,
    recipe: str,
    mean: Mean | None = None,
    usage: Usage,
    seed: int,
    hyperparameters: dict[str, object],
    data: list[dict[str, object]],
    scores: pl.DataFrame,
    evaluated: Mapping[str, DataRef],
    python: CardPython,
    facts: EncoderFacts,
    intermediate: bool,
    beyond_english: Sequence[str] = (),
    licence: str = "mit",
) -> str:
    """The text of a model's README.md.

    ``mean`` says of what of the recipe's models the weights are the mean. ``data`` are rows of DATA_SCHEMA for what
    the model was trained and selected on; ``scores`` are rows of SCORES_SCHEMA, of which those of this encoder,
    recipe, target and seed are shown; ``evaluated`` are the data that they are of, by language. ``intermediate`` says
    whether the recipe trains on anything before the target; ``beyond_english`` are the languages but English of
    labelled data that the model was given, translations too.
    """
    target, format = usage.task, usage.format
    base = _SOURCES.get(encoder.source, encoder.source)
    label = mean.label(recipe) if mean else recipe
    own = scores.filter(
        pl.col("encoder") == encoder.label,
        pl.col("recipe") == label,
        pl.col("target") == target,
        pl.col("seed") == seed,
    )
    front: dict[str, object] = {"license": licence, "language": _languages(own), "library_name": "transformers"}
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base) and not base.startswith("."):  # a folder is no name for others
        front["base_model"] = base
    front["pipeline_tag"] = formats.get(format).pipeline_tag
    if index := _model_index(f"{encoder.label}, {label}, {target}", own, evaluated):
        front["model-index"] = index
    zero_shot = [] if beyond_english else ["zero-shot"]
    front["tags"] = ["xstilts", "cross-lingual-transfer", *zero_shot, "intermediate-task-training"]
    start = f"{encoder.kept} of `{base}`" if encoder.is_cut else f"`{base}`"
    if encoder.init == "random":
        start = f"a randomly initialised model of the shape of {start}"
    training = _training(recipe, mean, data, intermediate)
    parts = [
        f"---\n{yaml.safe_dump(front, allow_unicode=True, sort_keys=False)}---",
        f"# {encoder.label}, {label}, {target}",
        f"A model for `{target}` ({formats.get(format).title}), from {start}, {training}. "
        f"Seed {seed}. Trained with xstilts.",
        "## How to use it",
        _with_xstilts(python, usage),
        "Without xstilts, with Transformers alone, the same answer"
        + (f" ({python.example.limit}):" if python.example.limit else ":"),
        f"```python\n{python.opening}\n\n{python.example.given}\n\n{python.example.answer}\n```",
        *_abstentions(usage, evaluated),
        "## Training data",
        markdown.table(("task", "split", "language", "use", "examples", "fingerprint (SHA-256)"), map(_data_row, data))
        if data
        else "None: the encoder is used as it is.",
        "## Hyper-parameters",
        markdown.table(("name", "value"), ((name, f"`{value}`") for name, value in hyperparameters.items()))
        if hyperparameters
        else "None.",
        "## Scores",
        _scores(own, target),
        "## Limits",
        "\n".join(f"- {limit}" for limit in (*_not_zero_shot(beyond_english), *_limits(encoder, facts, target, own))),
    ]
    return "\n\n".join(parts) + "\n"


def healed_card(
    encoder: Encoder, record: HealRecord, data: list[dict[str, object]], opening: str, facts: EncoderFacts,
    licence: str = "mit",
) -> str:  # fmt: skip
    """The text of a healed encoder's README.md; ``data`` and the rest as in `model_card`."""
    base = _SOURCES.get(encoder.source, encoder.source)
    front = {"license": licence, "library_name": "transformers", "tags": ["xstilts", "pruned", "distilled"]}
    parts = [
        f"---\n{yaml.safe_dump(front, allow_unicode=True, sort_keys=False)}---",
        f"# {encoder.label}",
        f"An encoder without a head: {encoder.kept}, of `{base}`. It was pruned and then healed: distilled from the "
        f"whole model on {record.tokens or 0:,} tokens of plain text. Made with xstilts.",
        "## How to open it",
        f"```python\n{opening}\n```",
        "## Healing",
        f"The relative squared error of its last hidden states against the whole model's, on text that was held out, "
        f"was {record.error_before:.3f} as pruned and is {record.error:.3f}.",
        "## Text",
        markdown.table(("task", "split", "language", "use", "examples", "fingerprint (SHA-256)"), map(_data_row, data)),
        "## Limits",
        "\n".join(f"- {limit}" for limit in (*_limits_of(encoder, facts), "It was trained on no task.")),
    ]
    return "\n\n".join(parts) + "\n"


def _training(recipe: str, mean: Mean | None, data: list[dict[str, object]], intermediate: bool) -> str:
    first = f"first trained on the intermediate task `{recipe}`" if intermediate else "without an intermediate task"
    languages = {row.get("language") for row in data if row.get("use") == "train"}
    return (
        f"{first}, then on the target"
        + (f"; its weights are the mean of {mean.of}" if mean else "")
        + ("; all training data are English" if languages == {ENGLISH} else "")
    )


@dataclass(frozen=True)
class CardPython:
    """Python that opens a model and defines `outputs`, and that has it answer an example."""

    opening: str
    example: InPython


def _with_xstilts(python: CardPython, usage: Usage) -> str:
    call = f"answer = model({python.example.call})"
    lines = ["import xstilts", "", 'model = xstilts.load(".")  # the folder of this file', python.example.given, call]
    many = "" if usage.block is not None else " `xstilts predict` does so for files."
    return (
        "```python\n" + "\n".join(lines) + "\n```\n\n"
        f"Inputs are read as in training: up to {usage.max_length} tokens"
        + (f", longer passages in windows that share {usage.doc_stride}" if formats.get(usage.format).windowed else "")
        + f".{many}"
    )


def _abstentions(usage: Usage, evaluated: Mapping[str, DataRef]) -> list[str]:
    if not usage.abstentions:
        return []
    scored_so = any(ref.task.unanswerable for ref in evaluated.values())
    header = ("threshold", "answered", "exact match of these", "F1 of these", "exact match of all", "F1 of all")
    rows = ((f"{one.threshold:g}", f"{100 * one.answered:.0f} %",
             *("–" if value is None else f"{value:.1f}" for value in one[2:]))
            for one in usage.abstentions)  # fmt: skip
    return [
        "## When it gives no answer",
        f"It has learnt that a question may have none. It gives none where it is less sure than a threshold, 0.5 by "
        f"default: `model(…, threshold=0.9)`, `xstilts predict --threshold 0.9`. On {usage.dev_examples:,} English dev "
        f"questions of its training, on which its weights were chosen too; in other languages it may be surer or less "
        f"sure than it is right:",
        markdown.table(header, rows),
        'Of all questions, "no answer" is right where there is none, by the rules of SQuAD v2.0.'
        + ("" if scored_so else f" The scores on `{usage.task}` below are of always answering, as threshold 0 does."),
    ]


def _model_index(name: str, own: pl.DataFrame, evaluated: Mapping[str, DataRef]) -> list[dict[str, object]]:
    """The scores as the hub's metadata have them: by language, the main metric and the one that papers print too."""
    results = []
    for row in own.iter_rows(named=True):
        fmt = formats.get(row["format"])
        if not row["main"] and row["metric"] != fmt.beside:
            continue
        ref = evaluated[row["language"]]
        places = on_hub(ref.task, ref.split, ref.language, ref.provider)
        place = places[0][1] if len(places) == 1 else None
        results.append(
            EvalResult(
                task_type=fmt.pipeline_tag,
                dataset_type=place.layout.repository if place else ref.task.name,
                dataset_name=f"{ref.task.title or ref.task.name} ({row['language']})",
                dataset_config=place.config if place else row["language"],
                dataset_split="+".join(place.splits) if place else ref.split,
                dataset_revision=place.commit if place else None,
                dataset_args={"language": row["language"], "examples": row["n"], "sha256": ref.fingerprint},
                metric_type=row["metric"],
                metric_name=row["metric"].replace("_", " "),
                metric_value=round(row["value"], 2),
            )
        )
    index: list[dict[str, object]] = eval_results_to_model_index(name, results) if results else []
    return index


def opening(model_class: str, facts: EncoderFacts, source: str = "transformers", outputs: str | None = None) -> str:
    """Python that opens a model of one of Transformers' classes, from the module that has it.

    With ``outputs``, an expression of `model` and `inputs`, it defines a function of that name.
    """
    others = f", {model_class}" if source == "transformers" else f"\nfrom {source} import {model_class}"
    eager = ', attn_implementation="eager"' if facts.decoder and not facts.causal else ""
    defined = f"\n\n\n@torch.inference_mode()\ndef outputs(inputs):\n    return {outputs}" if outputs else ""
    return (
        ("import torch\n" if outputs else "") + f"from transformers import AutoTokenizer{others}\n\n"
        'folder = "."  # the folder of this file\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        f"model = {model_class}.from_pretrained(folder{eager}){defined}"
    )


def _languages(own: pl.DataFrame) -> list[str]:
    codes = {code for language in own["language"] for code in language.split("-")}  # de-en: MLQA's pairs
    return sorted(codes | {ENGLISH}, key=lambda code: (code != ENGLISH, code))


def _data_row(row: Mapping[str, object]) -> tuple[object, ...]:
    fingerprint = f"`{str(row.get('fingerprint') or '')[:16]}`"
    return (*(row.get(name, "") for name in ("task", "split", "language", "use", "examples")), fingerprint)


def _scores(own: pl.DataFrame, target: str) -> str:
    if not own.height:
        return "This model was not scored."
    rows = own.sort(~pl.col("main"), pl.col("language") != ENGLISH, "language")
    splits = ", ".join(sorted(set(rows["split"].drop_nulls())))
    table = markdown.table(
        ("language", "metric", "points", "examples", "seed"),
        (
            (row["language"], _metric(row), f"{row['value']:.1f}", f"{row['n']:,}", row["seed"])
            for row in rows.iter_rows(named=True)
        ),
    )
    mean = own.filter(pl.col("main"), pl.col("language") != ENGLISH)
    said = f"`{target}`, split {splits}; one seed, so the scores do not show how much training varies.\n\n{table}"
    if mean.height:
        value = mean["value"].to_numpy().mean()
        said += f"\n\nMean over {mean.height} non-English languages ({mean['metric'][0]}): {value:.1f}."
    return said


def _metric(row: Mapping[str, object]) -> str:
    """The metric; of retrieval and mining also by which vectors."""
    pooled = row["hidden_layer"] is not None
    return f"{row['metric']} (block {row['hidden_layer']}, {how_compared(row)})" if pooled else str(row["metric"])


def _not_zero_shot(languages: Sequence[str]) -> list[str]:
    if not languages:
        return []
    named = ", ".join(languages)
    return [f"NOT zero-shot in {named}: it was trained or selected on labelled data in {named}, or on translations."]


def _limits(encoder: Encoder, facts: EncoderFacts, target: str, own: pl.DataFrame) -> list[str]:
    limits = ["Zero-shot scores differ between languages; in a language that is not listed, none was measured."]
    if target.startswith("mini-"):
        limits.append("The target is of the embedded mini suite, small and made for trying out: not an XTREME score.")
    limits += _limits_of(encoder, facts)
    if own.height and own["preset"].drop_nulls().len():
        limits.append(f"Trained with preset `{own['preset'].drop_nulls()[0]}`, precision `{own['precision'][0]}`.")
    return limits


def _limits_of(encoder: Encoder, facts: EncoderFacts) -> list[str]:
    limits = []
    if encoder.is_cut:
        what = "It was" if encoder.ffn or encoder.heads else "Its layers were"
        limits.append(f"{what} cut from a larger pretrained encoder: no stand-in for pretraining at that size.")
    if encoder.heal is not None:
        limits.append("Healing makes it more like the whole model on text; it is no pretraining at that size either.")
    if encoder.source == bundled.NAME:
        limits.append(
            "multilingual-e5-small was tuned on pairs that include NLI, SQuAD and translations: "
            "no neutral starting point for a study of intermediate tasks."
        )
    if facts.causal:
        limits.append(
            "A decoder, read forwards: each token has seen those before it alone. Its tokenizer puts an end of text "
            "behind a text and a line break between two, pads on the right, and with the end of text where the decoder "
            "names no padding."
        )
    elif facts.decoder:
        limits.append("A decoder that was pretrained to read forwards, and reads both ways here (`is_causal: false`).")
    if encoder.init == "random":
        limits.append("It was not pretrained: a control, of no use otherwise.")
    return limits
