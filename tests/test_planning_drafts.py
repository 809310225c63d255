"""Studies to begin with: what `xstilts init` writes is a sound study, of what was asked for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from xstilts.common.errors import UserError
from xstilts.planning import drafts
from xstilts.planning.drafts import Wish, draft
from xstilts.planning.study import SHIPPED, load_study


def written(tmp_path: Path, wish: Wish) -> tuple[dict[str, object], float]:
    found = draft(wish, "mine", processes=2)
    file = tmp_path / "mine.yaml"
    file.write_text(found.text, encoding="utf-8")
    load_study(file)  # sound
    return yaml.safe_load(found.text), found.hours


def test_a_study_of_the_hubs_data_is_drafted_without_a_network(tmp_path: Path) -> None:
    content, hours = written(tmp_path, Wish(("xquad",), ("hi", "ru"), hours=5.0))
    assert content["targets"] == [{"task": "xquad", "languages": ["hi", "ru"]}] and content["hub"] is True
    assert content["recipes"] == ["none", "mnli", "hellaswag", "commonsenseqa"], "not SQuAD, the target's own"
    assert hours <= 5.0
    whole, longer = written(tmp_path, Wish(("xquad",), ("hi", "ru")))
    assert "training" not in whole and longer > 5.0


def test_every_key_that_is_not_plain_has_a_comment() -> None:
    lines = draft(Wish(("xnli",)), "mine", processes=2).text.splitlines()
    keys = {line.partition(":")[0]: before for before, line in pairwise(lines)}
    assert all(keys[key].startswith("# ") for key in ("encoders", "recipes", "targets", "seeds", "preset", "hub"))


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(("xquadd",)), "task 'xquadd': did you mean 'xquad'"),
        (Wish(("xquad",), ("sw",)), "language 'sw': xquad has ar, de, el, en"),
        (Wish(("xnli",), hours=0.01), "300 training examples a task take about .* a smaller encoder"),
        (Wish(("xquad",), data=Path("nowhere")), "nowhere: no test data of xquad"),
    ],
)
def test_what_cannot_be_drafted_is_said(wish: Wish, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draft(wish, "mine", processes=2)


@pytest.mark.realdata
def test_a_folder_says_what_can_be_studied(real_data: Path, tmp_path: Path) -> None:
    found = drafts.targets_in(real_data)
    assert {"xquad", "xnli", "tatoeba"} <= set(found) and not {"xquad-r", "squad"} & set(found)
    content, _ = written(tmp_path, Wish(("xquad",), ("hi",), data=real_data, hours=5))
    assert content["data"] == str(real_data) and "squad" not in content["recipes"]
    with pytest.raises(UserError, match="no test data of a task"):
        drafts.targets_in(tmp_path)
    with pytest.raises(UserError, match=r"language 'sw': .*: tatoeba has .*de"):
        draft(Wish(("tatoeba",), ("sw",), data=real_data), "mine", processes=2)


@pytest.mark.parametrize("name", [file.stem for file in sorted(SHIPPED.glob("*.yaml"))])
def test_copies_of_studies_are_sound_where_they_are(name: str, tmp_path: Path) -> None:
    files = drafts.copy(name, tmp_path / "own" / "mine.yaml")
    assert load_study(files[0]).name == name
    with pytest.raises(UserError, match="there is such a file already"):
        drafts.copy(name, tmp_path / "own" / "mine.yaml")


def test_the_begin_of_a_name_is_enough_where_it_is_one_studys(tmp_path: Path) -> None:
    drafts.copy("xquad", tmp_path / "a.yaml")
    with pytest.raises(UserError, match="--from x: no study"):
        drafts.copy("x", tmp_path / "b.yaml")
