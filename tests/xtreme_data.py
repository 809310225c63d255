"""A tiny XTREME: the files of its test sets as its download has them, without gold, and the English data beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xstilts.handover.xtreme import BENCHMARKS
from xstilts.tasks import builtin_catalog

SENTENCES = {"udpos": (("The", "Katze", "sleeps"), ("Ja",)), "panx": (("Bonn", "liegt", "am", "Rhein"), ("Ja", "!"))}
TAGS = {"udpos": (("DET", "NOUN", "VERB"), ("INTJ",)), "panx": (("B-LOC", "O", "O", "B-LOC"), ("O", "O"))}
PAIRS = 3  # of sentences, in a test set of classification
#: English sides of Tatoeba, not in alphabetical order; two are the same.
ENGLISH = ("Zoo.", "Apple.", "Moon.", "Apple.")


def write(folder: Path) -> Path:
    """All test files of all languages, and what targets are trained on. Gold is only in what is returned by `gold`."""
    files: dict[str, str] = {
        "mnli/train.json": pairs_json("train", ("contradiction", "entailment", "neutral")),
        "mnli/dev.json": pairs_json("dev", ("contradiction", "entailment", "neutral")),
        "squad/train-v1.1.json": squad("squad", 4, "gold"),
        "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json": squad("tydi-train", 4, "gold"),
    }
    files["pawsx/dev-de.tsv"] = "Hund\tKatze\t0\n"
    for split in ("train", "dev"):
        rows = (f"pawsx {split} {i}\tpawsx {split} {i}b\t{i % 2}\n" for i in range(4))
        files[f"pawsx/{split}-en.tsv"] = "".join(rows)
        for task in ("udpos", "panx"):
            tagged = zip(SENTENCES[task][0], TAGS[task][0], strict=True)
            files[f"{task}/{split}-en.tsv"] = "".join(f"{task}{split}{token}\t{tag}\n" for token, tag in tagged)
    codes = builtin_catalog()["tatoeba"].layouts[0].codes
    for benchmark in BENCHMARKS:
        for language in benchmark.languages:
            match benchmark.name:
                case "xnli" | "pawsx" as name:
                    rows = (f"{name} {language} {i}\t{name} {language} {i} too\n" for i in range(PAIRS))
                    files[f"{name}/test-{language}.tsv"] = "".join(rows)
                case "udpos" | "panx" as name:
                    blocks = ("".join(f"{token}\n" for token in tokens) for tokens in SENTENCES[name])
                    files[f"{name}/test-{language}.tsv"] = "\n".join(blocks)
                case "xquad":
                    files[f"xquad/xquad.{language}.json"] = squad(f"xquad-{language}", 2, "blank")
                case "mlqa":
                    name = f"test-context-{language}-question-{language}.json"
                    files[f"mlqa/MLQA_V1/test/{name}"] = squad(f"mlqa-{language}", 2, "blank")
                case "tydiqa":
                    name = f"tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json"
                    files[f"tydiqa/{name}"] = squad(f"tydiqa-{language}", 2, "blank")
                case "bucc2018":
                    for split, pairs in (("dev", 2), ("test", 3)):
                        for code in (language, "en"):
                            rows = (f"{code}-{split}-{i}\t{code}, {split}, {i}\n" for i in range(pairs))
                            files[f"bucc2018/{language}-en.{split}.{code}"] = "".join(rows)
                    files[f"bucc2018/{language}-en.dev.gold"] = f"{language}-dev-1\ten-dev-1\n"
                case "tatoeba":
                    stem = f"tatoeba/tatoeba.{codes[language]}-eng"
                    files[f"{stem}.eng"] = "".join(f"{sentence}\n" for sentence in ENGLISH)
                    files[f"{stem}.{codes[language]}"] = "".join(f"{language} {i}\n" for i in range(len(ENGLISH)))
    put(folder, files)
    return folder


def labels(folder: Path) -> Path:
    """The gold of these test sets in XTREME's layout; the predictions of `gold` score 100 on it."""
    files: dict[str, str] = {}
    for benchmark in BENCHMARKS:
        for language in benchmark.languages:
            match benchmark.name:
                case "xnli" | "pawsx" as name:
                    files[benchmark.file(language)] = "".join(f"{label}\n" for label in gold(name, language))
                case "udpos" | "panx" as name:
                    blocks = ("".join(f"{tag}\n" for tag in tags) for tags in TAGS[name])
                    files[benchmark.file(language)] = "\n".join(blocks)
                case "xquad" | "mlqa" | "tydiqa" as name:
                    files[benchmark.file(language)] = squad(f"{name}-{language}", 2, "gold")
                case "bucc2018":
                    files[benchmark.file(language)] = f"{language}-test-0\ten-test-1\n{language}-test-2\ten-test-0\n"
                case "tatoeba":
                    # "Apple." of lines 1 and 3 (from 0), "Moon." of line 2, "Zoo." of line 0
                    files[benchmark.file(language)] = "1\n3\n2\n0\n"
    put(folder, files)
    return folder


def gold(task: str, language: str) -> list[str]:
    """Right predictions of a test set, one an example, as a predict stage has them."""
    match task:
        case "xnli":
            return ["neutral", "contradiction", "entailment"]
        case "pawsx":
            return ["1", "0", "1"]
        case "udpos" | "panx":
            return [" ".join(tags) for tags in TAGS[task]]
        case "bucc":  # of the chosen block, of the best one, of the embeddings; then of English sentences
            return ["en-test-1\t-\t-", "-\t-\t-", "en-test-0\ten-test-0\ten-test-1", "-", "-", "-"]
        case "tatoeba":
            return [f"{i} {i} 1" for i in range(1, len(ENGLISH) + 1)]  # of the chosen block, then of all
        case _:
            return [f"answer {i}" for i in range(2)]


def pairs_json(name: str, labels: tuple[str, ...]) -> str:
    rows = {str(i): {"text_a": f"{name} {i}", "text_b": f"{name} {i} b", "label": label}
            for i, label in enumerate(labels * 2)}  # fmt: skip
    return json.dumps(rows)


def squad(name: str, passages: int, answers: str) -> str:
    data: list[dict[str, Any]] = []
    for i in range(passages):
        text = f"answer {i}"
        given = [{"text": text, "answer_start": 0}] if answers == "gold" else [{"text": "", "answer_start": 0}]
        question = {"id": f"{name}-{i}", "question": f"Which of {name}, {i}?", "answers": given}
        data.append({"title": name, "paragraphs": [{"context": f"{text} in {name}.", "qas": [question]}]})
    return json.dumps({"version": "1.1", "data": data})


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
