"""What pruned encoders keep, their sizes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModel

from test_encoders_load import TYPES, save_model
from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, Every, bundled, describe
from xstilts.encoders.load import load_model
from xstilts.encoders.pruning import PARTS, Kept
from xstilts.planning import cost
from xstilts.planning.planner import make_plan
from xstilts.planning.study import make_study

E5 = bundled.NAME


@pytest.mark.parametrize(
    ("encoder", "kept"),
    [
        (Encoder(E5), Kept(tuple(range(12)))),
        (Encoder(E5, layers=3, ffn=1.0, heads=12), Kept((0, 1, 2))),
        (Encoder(E5, layers=Every(5)), Kept((0, 5, 10))),
        (Encoder(E5, layers=(0, 11), ffn=0.25), Kept((0, 11), ffn=384)),
        (Encoder(E5, ffn=100, heads=6), Kept(tuple(range(12)), ffn=100, heads=6)),
    ],
    ids=lambda value: value.label if isinstance(value, Encoder) else "",
)
def test_what_is_kept(encoder: Encoder, kept: Kept) -> None:
    assert describe(encoder).kept == kept


#: What each type can be cut to; None where its heads cannot.
HEADS = {"bert": 1, "xlm-roberta": 1, "xlm-roberta-xl": 1, "deberta-v2": None, "modernbert": None, "eurobert": None}


@pytest.mark.parametrize("model_type", TYPES)
def test_parameters_are_those_of_the_modules(model_type: str, tmp_path: Path) -> None:
    save_model(tmp_path, model_type)
    encoder = Encoder(str(tmp_path), layers=(0, 2), ffn=12, heads=HEADS[model_type])
    facts, model = describe(encoder), load_model(encoder, AutoModel, seed=0)
    counted = {name: p.numel() for name, p in model.named_parameters() if not name.startswith("pooler.")}
    assert facts.parameters == sum(counted.values())
    assert (facts.layers, facts.ffn, facts.heads) == (2, 12, HEADS[model_type] or 2)
    blocks = model.get_submodule(PARTS[model_type].blocks)
    of_first = [(name.rpartition(".")[2], *reversed(module.weight.shape))
                for name, module in blocks[0].named_modules() if hasattr(module, "in_features")]  # fmt: skip
    assert sorted(map(tuple, facts.linear)) == sorted(of_first)


def test_fewer_heads_take_less_attention() -> None:
    whole, half = describe(Encoder(E5)), describe(Encoder(E5, heads=6))
    weights = 2 * (whole.parameters_without_embeddings - half.parameters_without_embeddings)
    saved = cost.flops(whole, 1, 100, training=False) - cost.flops(half, 1, 100, training=False)
    assert saved == weights + 4 * 12 * 192 * 100


@pytest.mark.parametrize(
    ("encoder", "told"),
    [
        (Encoder(E5, layers=(3, 12)), "the model has the blocks 0 to 11, and no 12"),
        (Encoder(E5, ffn=1537), "the model has 1536 feed-forward units; keep 1 to 1536"),
        (Encoder(E5, heads=13), "the model has 12 attention heads; keep 1 to 12"),
    ],
)
def test_more_than_there_is(encoder: Encoder, told: str) -> None:
    with pytest.raises(UserError, match=f"encoder {encoder.label}: {told}"):
        describe(encoder)


@pytest.mark.parametrize(
    ("model_type", "change", "told"),
    [
        ("eurobert", {"heads": 1}, "a eurobert cannot have fewer heads; cut `layers` or `ffn`"),
        ("modernbert", {"layers": (1, 2)}, "the first block that is kept of a modernbert must be its lowest, 0"),
    ],
)
def test_what_a_type_cannot_be_cut_to(model_type: str, change: dict[str, Any], told: str, tmp_path: Path) -> None:
    save_model(tmp_path, model_type)
    with pytest.raises(UserError, match=told):
        describe(Encoder(str(tmp_path), **change))


STUDY = {"name": "pruned", "recipes": ["none"], "targets": ["mini-span"], "seeds": [1]}


@pytest.mark.parametrize(
    ("entry", "label"),
    [
        ({"source": E5, "layers": [0, 2, 5]}, f"{E5}@0,2,5"),
        ({"source": E5, "layers": {"every": 2}, "ffn": 384}, f"{E5}@every 2 ffn 384"),
        ({"source": E5, "ffn": 0.5, "heads": 6}, f"{E5} ffn 0.5 heads 6"),
    ],
)
def test_an_entry_and_its_label_are_the_same_encoder(entry: dict[str, Any], label: str) -> None:
    written, named = (make_study({**STUDY, "encoders": [one]}) for one in (entry, label))
    assert written.encoders[0].encoder.label == label
    assert make_plan(written).stages.keys() == make_plan(named).stages.keys()


def test_pruned_encoders_have_stages_of_their_own() -> None:
    labels = [E5, f"{E5}@6", f"{E5}@0,2,4,6,8,10", f"{E5} ffn 768", f"{E5} heads 6"]
    plan = make_plan(make_study({**STUDY, "encoders": labels}))
    assert len(plan.stages) == 3 * len(labels)
    same = make_plan(make_study({**STUDY, "encoders": [f"{E5}@0,1,2,3,4,5", f"{E5} ffn 0.5", f"{E5}@every 2"]}))
    assert same.stages.keys() < plan.stages.keys()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"layers": [3]}, "list two blocks or more; the lowest alone is `layers: 1`"),
        ({"layers": [3, 1]}, "list blocks from the lowest to the highest, each once"),
        ({"layers": {"every": 1}}, "greater than or equal to 2"),
        ({"ffn": 1.5}, "1.5 is neither a share, up to 1, nor a whole number of units"),
        ({"ffn": True}, "must be a number"),
    ],
)
def test_wrong_entries(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=r"study: encoders\.0\.") as error:
        make_study({**STUDY, "encoders": [{"source": E5, **entry}]})
    assert told in str(error.value) and "\n" not in str(error.value)
