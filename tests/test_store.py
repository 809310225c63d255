"""An artifact is there whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from xstilts.errors import StageError, UserError
from xstilts.processes import this_process
from xstilts.store import Store

KEY = "ab" + "0" * 62


def put(store: Store, content: str = "hello") -> None:
    with store.publish(KEY) as (folder, meta):
        (folder / "text.txt").write_text(content)
        meta["seconds"] = 1.5


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path.name}"


def test_what_was_published_is_read_back(url: str) -> None:
    put(Store(url))
    store = Store(url)  # another process's view
    artifact = store.get(KEY)
    assert artifact is not None and artifact.meta == {"seconds": 1.5}
    with store.files(KEY) as folder:
        assert (folder / "text.txt").read_text() == "hello"
    content = store.read(KEY, "text.txt")
    assert content is not None and content.read() == b"hello"


def test_nothing_is_published_when_the_block_raises(url: str) -> None:
    store = Store(url)
    with pytest.raises(RuntimeError), store.publish(KEY) as (folder, _):
        (folder / "text.txt").write_text("half")
        raise RuntimeError("stopped")
    assert store.get(KEY) is None and store.peek(KEY) is None
    with pytest.raises(StageError, match="run again"), store.files(KEY):
        pass


@pytest.mark.parametrize("damage", ["changed", "cut", "removed", "manifest"])
def test_a_damaged_artifact_is_set_aside_and_can_be_published_again(tmp_path: Path, damage: str) -> None:
    put(Store(tmp_path))
    (file,) = tmp_path.glob(f"artifacts/ab/{KEY}/*/text.txt")
    if damage == "changed":
        file.write_text("jello")
    elif damage == "cut":
        file.write_text("hel")
    elif damage == "removed":
        file.unlink()
    else:
        (file.parent.parent / "manifest.json").write_text('{"files": ')
    store = Store(tmp_path)
    assert store.get(KEY) is None
    assert len(list((tmp_path / "set-aside").iterdir())) == 1
    put(store)
    assert Store(tmp_path).get(KEY) is not None


def test_an_artifact_without_its_manifest_does_not_exist(tmp_path: Path) -> None:
    put(Store(tmp_path))
    (tmp_path / "artifacts" / "ab" / KEY / "manifest.json").unlink()  # killed just before the last step
    assert Store(tmp_path).get(KEY) is None
    put(Store(tmp_path), "again")
    content = Store(tmp_path).read(KEY, "text.txt")
    assert content is not None and content.read() == b"again"


def test_scratch_of_dead_processes_is_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    here = this_process()
    dead = tmp_path / "tmp" / f"{replace(here, pid=999999999)}~x"  # above every process id
    renumbered = tmp_path / "tmp" / f"{replace(here, started=1.0)}~x"  # its number is another's now
    elsewhere = tmp_path / "tmp" / f"{replace(here, pid=999999999, host='other')}~x"
    alive = tmp_path / "tmp" / f"{here}~x"
    for folder in (dead, renumbered, elsewhere, alive):
        folder.mkdir(parents=True)
    store.sweep()
    assert alive.exists() and elsewhere.exists() and not dead.exists() and not renumbered.exists()


def test_a_store_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--store"):
        Store(tmp_path / "file" / "store")
