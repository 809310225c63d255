"""Types of models × formats: a tiny model of each is planned, trained, scored, exported, opened and used, offline."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModel, PreTrainedConfig

import xstilts
from bodies_of_types import KINDS, save
from test_engine_heads_mining import write as write_bucc
from xstilts.analysis.gather import gather
from xstilts.common import markdown
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, describe
from xstilts.encoders.load import check_loadable, own_head
from xstilts.engine import heads
from xstilts.engine.models import load_trained
from xstilts.handover.export import export
from xstilts.planning.plan import Plan, Train
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study
from xstilts.running.stages import run_stage
from xstilts.store import Store

#: A target of each format, and a record to predict.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": ("mini-paraphrase", {"premise": "Er liest.", "hypothesis": "Er schläft."}),
    "multiple_choice": ("mini-choice", {"prompt": "Who reads?", "choices": ["he does", "nobody"]}),
    "span": ("mini-span", {"question": "Wer?", "context": "Die Frau liest ein Buch."}),
    "tagging": ("mini-pos", {"tokens": ["Die", "Frau", "liest", "."]}),
    "retrieval": ("mini-retrieval", {}),
    "mining": ("bucc", {}),
}
TRAINED = [name for name, (_, record) in FORMATS.items() if record]

#: Decoders are read both ways, too.
WAYS = {**{name: {} for name in KINDS}, **{f"{name}, full": {"attention": "full"} for name in
                                           ("qwen3", "llama", "gemma3_text", "bloom", "gpt2", "xglm")}}  # fmt: skip

PAGE = Path(__file__).parents[1] / "docs" / "encoders.md"
BEGIN, END = "<!-- types, made by tests/test_matrix_types.py -->", "<!-- end of types -->"


@dataclass(frozen=True)
class Case:
    """A type, how it is read, and which formats."""

    way: str
    formats: tuple[str, ...]

    @property
    def model_type(self) -> str:
        return self.way.partition(",")[0]


def cases() -> list[Any]:
    """All formats of every type; in every run of the tests one format of each, the formats in turn."""
    names = list(FORMATS)
    short = [Case(way, (names[i % len(names)],)) for i, way in enumerate(WAYS)]
    whole = [pytest.param(Case(way, tuple(names)), id=f"{way}: all", marks=pytest.mark.soak) for way in WAYS]
    return [pytest.param(case, id=f"{case.way}: {case.formats[0]}") for case in short] + whole


def study(folder: Path, case: Case, **changes: Any) -> dict[str, Any]:
    targets = [
        {"task": task, "max_examples": 4, "languages": ["de"] if name == "mining" else ["sw"]}
        for name, (task, _) in FORMATS.items()
        if name in case.formats
    ]
    encoder = {"source": str(folder / "m"), "layers": 2, **WAYS[case.way]}
    training = {"max_train_examples": 8, "max_dev_examples": 4, "batch_size": 4, "max_length": 90, "doc_stride": 16,
                "max_query_length": 40, "epochs": 1, "precision": "fp32"}  # fmt: skip
    return {"name": "types", "encoders": [encoder], "recipes": ["none"], "seeds": [1], "targets": targets,
            "data": str(folder / "data"), "training": training, **changes}  # fmt: skip


def run(folder: Path, planned: Plan) -> Store:
    store = Store(folder / "store")
    for stage in planned.stages.values():
        run_stage(stage, store, lambda *_: None)
    return store


@pytest.mark.parametrize("case", cases())
def test_a_type(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    save(tmp_path / "m", case.model_type)
    for number, split in enumerate(("dev", "test"), 1):
        write_bucc(tmp_path / "data" / "bucc2018", split, 100 * number)
    planned = make_plan(make_study(study(tmp_path, case)))
    (encoder,) = planned.facts
    check_loadable(encoder)
    store = run(tmp_path, planned)
    scores = gather(planned, store).scores
    assert set(scores["format"]) == set(case.formats)
    assert scores["value"].is_finite().all() and scores["value"].is_between(0, 100).all()
    for cell in planned.cells:
        if cell.training is None:
            continue
        spec = planned.stages[cell.training].spec
        assert isinstance(spec, Train)
        out = export(planned, store, cell, tmp_path / cell.target.task)
        record = FORMATS[spec.task.format][1]
        (said,) = xstilts.predict(out, [record])
        assert said["prediction"] or spec.task.format == "span"
        with store.files(cell.training) as trained:
            whole = load_trained(spec.encoder, spec.task, spec.seed, trained)
        check_the_card_opens_it(out, whole)


@torch.no_grad()
def check_the_card_opens_it(folder: Path, trained: Any) -> None:
    """What the card's Python opens gives what the trained model gives."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    with_xstilts, alone = (part.split("```")[0] for part in card.split("```python\n")[1:])
    assert "xstilts" in with_xstilts and "xstilts" not in alone.replace(str(folder), "")
    ours, found = {}, {}  # type: dict[str, Any], dict[str, Any]
    with contextlib.redirect_stderr(io.StringIO()):
        exec(with_xstilts.replace('load(".")', f"load({str(folder)!r})"), ours)
        exec(alone.replace('folder = "."', f"folder = {str(folder)!r}"), found)
    assert ours["answer"] == found["answer"]
    inputs = found["inputs"]
    inputs = inputs[0] if isinstance(inputs, list) else inputs
    logits = found["outputs"](inputs)
    if type(trained).__name__.endswith("MultipleChoice") or getattr(trained, "kind", "") == "choices":
        inputs = {name: tensor[:, None] for name, tensor in inputs.items()}
    outputs = trained(**inputs)
    is_span = "start_logits" in outputs
    own = torch.stack([outputs.start_logits, outputs.end_logits], -1) if is_span else outputs.logits
    torch.testing.assert_close(logits, own, rtol=1e-4, atol=1e-5)


def test_attention_decides_the_keys_of_a_decoder_and_is_told(tmp_path: Path) -> None:
    save(tmp_path / "m", "qwen3")
    for number, split in enumerate(("dev", "test"), 1):
        write_bucc(tmp_path / "data" / "bucc2018", split, 100 * number)

    def planned(**encoder: Any) -> Plan:
        changes = study(tmp_path, Case("qwen3", ("span", "retrieval")))
        return make_plan(make_study({**changes, "encoders": [{**changes["encoders"][0], **encoder}]}))

    plain, causal, full = planned(), planned(attention="causal"), planned(attention="full")
    assert plain.stages.keys() == causal.stages.keys()
    assert not plain.stages.keys() & full.stages.keys()
    assert any("is a decoder, read forwards" in note and "last token" in note for note in plain.notes)
    assert any("read both ways" in note and "mean over tokens" in note for note in full.notes)
    assert {encoder.label.removeprefix(str(tmp_path)) for encoder in full.facts} == {"/m@2 full"}
    save(tmp_path / "b", "bert")
    with pytest.raises(UserError, match="attention: causal: a bert reads both ways; leave it out"):
        describe(Encoder(str(tmp_path / "b"), attention="causal"))


def test_a_mixture_of_masked_words_wants_a_head_for_them(tmp_path: Path) -> None:
    save(tmp_path / "m", "qwen3")
    recipe = {"name": "mixed", "tasks": ["mini-nli"], "mlm": {"share": 0.2, "task": "mini-text", "languages": ["sw"]}}
    with pytest.raises(UserError, match=r"recipes: mixed: mlm: .*, a qwen3, has no head for masked") as error:
        make_plan(make_study(study(tmp_path, Case("qwen3", ("span",)), recipes=["none", recipe])))
    assert "\n" not in str(error.value)


def head_of(config: PreTrainedConfig, name: str) -> str:
    auto_class = getattr(transformers, heads.get(name).AUTO_CLASS)
    return "vectors" if auto_class is AutoModel else "ours" if own_head(config, auto_class) else "Transformers"


def test_the_page_names_the_types_that_are_tested(tmp_path: Path) -> None:
    """Where a change is meant: XSTILTS_GOLDEN=write, and read the difference."""
    rows = []
    for name in KINDS:
        save(tmp_path / name, name)
        facts = describe(Encoder(str(tmp_path / name)))
        config = transformers.AutoConfig.from_pretrained(tmp_path / name)
        inner = "encoder of an encoder–decoder" if config.is_encoder_decoder else "encoder"
        part = "decoder" if facts.decoder else inner
        ways = "causal, full" if f"{name}, full" in WAYS else "causal" if facts.decoder else "full"
        of_formats = [head_of(config, name) for name in FORMATS]
        rows.append((f"`{name}`", part, ways, *of_formats, "Transformers" if facts.mlm else "–"))
    header = (name.replace("_", " ") for name in ("type", "read as", "attention", *FORMATS, "MLM"))
    text = markdown.table(tuple(header), rows)
    before, after = PAGE.read_text(encoding="utf-8").split(BEGIN)[0], PAGE.read_text(encoding="utf-8").split(END)[1]
    if os.environ.get("XSTILTS_GOLDEN") == "write":
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    assert f"{BEGIN}\n{text}\n{END}" in PAGE.read_text(encoding="utf-8")
    assert len(KINDS) >= 14
