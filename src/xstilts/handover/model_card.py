"""The card (README.md) of an exported model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl
import yaml

from xstilts.analysis.axes import ENGLISH, how_compared
from xstilts.common import markdown
from xstilts.encoders import Encoder, EncoderFacts, bundled
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
    target: str,
    format: str,
    seed: int,
    hyperparameters: dict[str, object],
    data: list[dict[str, object]],
    scores: pl.DataFrame,
    opening: str,
    facts: EncoderFacts,
    intermediate: bool,
    beyond_english: Sequence[str] = (),
    licence: str = "mit",
) -> str:
    """The text of a model's README.md.

    ``mean`` says of what of the recipe's models the weights are the mean. ``data`` are rows of DATA_SCHEMA for what the
    model was trained and selected on; ``opening`` is Python that opens it; ``scores`` are rows of SCORES_SCHEMA, of
    which those of this encoder, recipe, target and seed are shown. ``intermediate`` says whether the recipe trains on
    anything before the target; ``beyond_english`` are the languages but English of labelled data that it was given,
    translations too.
    """
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
        "## How to open it",
        f"```python\n{opening}\n```",
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


def opening(model_class: str, facts: EncoderFacts, source: str = "transformers") -> str:
    """Python that opens a model of one of Transformers' classes, from the module that has it."""
    others = f", {model_class}" if source == "transformers" else f"\nfrom {source} import {model_class}"
    eager = ', attn_implementation="eager"' if facts.decoder and not facts.causal else ""
    return (
        f"from transformers import AutoTokenizer{others}\n\n"
        'folder = "."  # the folder of this file\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        f"model = {model_class}.from_pretrained(folder{eager})"
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
