"""An artifact is there whole or not at all: in a folder, in memory, on S3, on a disk that fails."""

from __future__ import annotations

import ast
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xstilts
from xstilts.common.errors import StageError, StoreError, UserError
from xstilts.store import store as stores
from xstilts.store.artifact import Artifact
from xstilts.store.processes import this_process
from xstilts.store.store import KEPT_COPIES, Store, sees

KEY = "ab" + "0" * 62


def put(store: Store, content: str = "hello", key: str = KEY, replace: bool = False) -> None:
    with store.publish(key, replace=replace) as (folder, meta):
        (folder / "text.txt").write_text(content)
        meta["seconds"] = 1.5


def text(store: Store, key: str = KEY) -> str:
    content = store.read(key, "text.txt")
    assert content is not None
    return content.read().decode()


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/store"
    return str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path.name}"


def test_what_was_published_is_read_back(url: str) -> None:
    put(Store(url))
    store = Store(url)  # another process's view
    artifact = store.get(KEY)
    assert artifact is not None and artifact.meta == {"seconds": 1.5} and artifact.size == 5
    with store.files(KEY) as folder:
        assert [(file.name, file.read_text()) for file in folder.glob("*")] == [("text.txt", "hello")]
    assert text(store) == "hello" and store.keys() == {KEY}


def test_an_artifact_may_have_no_files(url: str) -> None:
    with Store(url).publish(KEY):
        pass
    store = Store(url)
    assert store.keys() == {KEY} and store.get(KEY) is not None
    with store.files(KEY) as folder:
        assert list(folder.iterdir()) == []


def test_nothing_is_published_when_the_block_raises(url: str) -> None:
    store = Store(url)
    with pytest.raises(RuntimeError), store.publish(KEY) as (folder, _):
        (folder / "text.txt").write_text("half")
        raise RuntimeError("stopped")
    assert store.get(KEY) is None and store.peek(KEY) is None and store.keys() == set()
    assert list(store.scratch.iterdir()) == []
    with pytest.raises(StageError, match="run again"), store.files(KEY):
        pass


def files_in(store: Store) -> list[str]:
    """All files of artifacts but for manifests, without the attempts' names."""
    paths = store.fs.find(f"{store.root}/artifacts")
    return sorted(path.split("/")[-1] for path in paths if not path.endswith("manifest.json"))


def test_of_two_that_publish_the_same_key_the_first_wins_and_files_never_mix(url: str) -> None:
    first, second = Store(url), Store(url)
    with first.publish(KEY) as (folder, _), second.publish(KEY) as (other, _):
        (folder / "text.txt").write_text("outer")
        (folder / "more.txt").write_text("outer")
        (other / "text.txt").write_text("inner")  # its block ends first
    put(first, "late")
    assert text(Store(url)) == "inner" and files_in(first) == ["text.txt"]


def test_a_checkpoint_takes_the_place_of_the_one_before_and_can_be_removed(url: str) -> None:
    checkpoints = Store(f"{url}/checkpoints")
    for content in ("one", "two", "three"):
        put(checkpoints, content, replace=True)
        with Store(f"{url}/checkpoints").files(KEY) as folder, checkpoints.files(KEY) as own:
            assert (folder / "text.txt").read_text() == (own / "text.txt").read_text() == content
        assert files_in(checkpoints) == ["text.txt"]
    checkpoints.remove(KEY)
    checkpoints.remove(KEY)
    assert checkpoints.get(KEY) is None and files_in(checkpoints) == [] and Store(url).keys() == set()


@pytest.mark.parametrize("damage", ["changed", "cut", "removed", "manifest", "no manifest"])
def test_a_damaged_artifact_is_set_aside_and_can_be_published_again(url: str, damage: str) -> None:
    put(Store(url))
    store = Store(url)
    file, manifest = (
        next(path for path in store.fs.find(f"{store.root}/artifacts") if path.endswith(name))
        for name in ("text.txt", "manifest.json")
    )
    match damage:
        case "changed":
            store.fs.pipe_file(file, b"jello")
        case "cut":
            store.fs.pipe_file(file, b"hel")
        case "removed":
            store.fs.rm_file(file)
        case "manifest":
            store.fs.pipe_file(manifest, b'{"files": ')
        case _:
            store.fs.pipe_file(manifest, b"[]")
    assert store.get(KEY) is None and store.keys() == set()
    assert len(store.fs.ls(f"{store.root}/set-aside")) == 1
    put(store, "again")
    assert Store(url).get(KEY) is not None and text(Store(url)) == "again"


def test_damage_is_found_by_read_too(url: str) -> None:
    store = Store(url)
    put(store)
    (file,) = (path for path in store.fs.find(f"{store.root}/artifacts") if path.endswith("text.txt"))
    store.fs.pipe_file(file, b"jello")
    assert store.read(KEY, "text.txt") is None and store.peek(KEY) is None


def test_an_artifact_without_its_manifest_does_not_exist(tmp_path: Path) -> None:
    put(Store(tmp_path))
    (tmp_path / "artifacts" / "ab" / KEY / "manifest.json").unlink()  # killed just before the last step
    assert Store(tmp_path).get(KEY) is None
    put(Store(tmp_path), "again")
    assert text(Store(tmp_path)) == "again"


def test_artifacts_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """Their files are beside the manifest, which tells no sizes."""
    store = Store(tmp_path)
    put(store)
    home = tmp_path / "artifacts" / "ab" / KEY
    artifact = store.peek(KEY)
    assert artifact is not None
    (home / artifact.attempt / "text.txt").rename(home / "text.txt")
    (home / "manifest.json").write_text(f'{{"files": {{"text.txt": "{artifact.files["text.txt"]}"}}, "meta": {{}}}}')
    old = Store(tmp_path)
    assert old.get(KEY) is not None and text(old) == "hello"


def test_a_remote_store_downloads_once_and_keeps_few(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Store(s3)
    keys = [f"{i:02}{'0' * 62}" for i in range(KEPT_COPIES + 3)]
    for key in keys:
        put(store, key=key)
    fetched = []
    get_file = store.fs.get_file
    monkeypatch.setattr(store.fs, "get_file", lambda path, to: (fetched.append(path), get_file(path, to)))
    with store.files(keys[0]) as in_use:
        for key in keys[1:]:
            for _ in range(2):
                with store.files(key) as folder:
                    assert (folder / "text.txt").read_text() == "hello"
        assert len(fetched) == len(keys) and len(list(tmp_path.glob("xstilts/tmp/*"))) == KEPT_COPIES + 2
        assert (in_use / "text.txt").read_text() == "hello"


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
    with pytest.raises(UserError, match=r"store nosuch://x: .*--store"):
        Store("nosuch://x")


def test_without_s3fs_a_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.registry  # noqa: F401 (its name in fsspec is another object's)

    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(UserError, match=r'pip install "xstilts\[s3\]"'):
        Store("s3://bucket/x")


def test_a_missing_bucket_and_missing_credentials_are_told(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="bucket does not exist; make the bucket first"):
        Store("s3://nobody-made-this/x")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID"):
        Store(f"{s3}/x")
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_store_whose_network_is_gone_says_so(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(s3)

    def gone(*_: object, **__: object) -> bytes:
        from botocore.exceptions import EndpointConnectionError

        raise EndpointConnectionError(endpoint_url="http://s3.example.org")

    monkeypatch.setattr(store.fs, "cat_file", gone)
    with pytest.raises(StoreError, match=r"store s3://.*Could not connect.*AWS_ENDPOINT_URL.*run again"):
        store.peek(KEY)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.name != "posix" or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing_and_goes_on_once_there_is_space(disk: Path) -> None:
    store = Store(disk / "store")
    put(store)
    filler = disk / "filler"
    with pytest.raises(StoreError, match=r"No space left.*free some space"), store.publish("cd" * 32) as (folder, _):
        (folder / "weights").write_bytes(bytes(2 << 20))
    with pytest.raises(StoreError, match="free some space"), store.publish("cd" * 32) as (folder, _):
        raise RuntimeError(f"SafetensorError: I/O error: {os.strerror(28)} (os error 28)")
    with open(filler, "wb", buffering=0) as stream, pytest.raises(OSError):
        while True:
            stream.write(bytes(4096))
    with pytest.raises(StoreError, match="free some space"):
        put(store, key="cd" * 32)
    assert text(Store(disk / "store")) == "hello" and store.peek("cd" * 32) is None
    filler.unlink()
    put(store, "after", key="cd" * 32)
    assert text(Store(disk / "store"), "cd" * 32) == "after" and list((disk / "store" / "tmp").iterdir()) == []


def test_a_disk_that_became_read_only_can_be_read(disk: Path) -> None:
    store = Store(disk / "store")
    put(store)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreError, match="Read-only file system; make it writable"):
        put(store, key="cd" * 32)
    assert text(Store(disk / "store")) == "hello"
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    put(store, key="cd" * 32)
    assert store.keys() == {KEY, "cd" * 32}


def test_a_store_that_is_deleted_meanwhile_is_not_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError, match="its folder is gone"), store.publish(KEY) as (folder, _):
        (folder / "text.txt").write_text("hello")
        shutil.rmtree(tmp_path / "store")
    with pytest.raises(StoreError, match="its folder is gone"):
        put(store)
    assert not (tmp_path / "store").exists()


def test_errors_of_the_block_that_are_not_the_disks_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), Store(tmp_path).publish(KEY):
        (tmp_path / "data.tsv").read_text()


def test_a_file_system_without_hard_links_serves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(stores.os, "link", refused)
    put(Store(tmp_path), "first")
    put(Store(tmp_path), "second")
    assert text(Store(tmp_path)) == "first"


def publish_for_ever(url: str, first: int) -> None:
    store = Store(url)
    for i in range(first, 1_000_000):
        key = f"{i:064}"
        with store.publish(key[::-1]) as (folder, _):
            for name in ("a", "b"):
                (folder / name).write_bytes(name.encode() * 5000)


def test_whenever_it_is_killed_what_was_published_is_whole_and_verify_leaves_no_orphans(tmp_path: Path) -> None:
    from xstilts.store import upkeep

    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    for turn in range(12):
        process = context.Process(target=publish_for_ever, args=(str(tmp_path), turn * 10_000))
        process.start()
        time.sleep(0.03 + 0.0137 * turn)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    store = Store(tmp_path)
    keys = store.keys()
    assert len(keys) > 20 and all(store.get(key) is not None for key in keys)
    verified = upkeep.verify(store)
    assert verified.artifacts == len(keys) and verified.damaged == []
    left = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(left) == 3 * len(keys)  # the manifest and both files
    assert not list((tmp_path / "tmp").iterdir()) and not (tmp_path / "set-aside").exists()
    assert len(list(tmp_path.glob("artifacts/*/*"))) == len(keys)


def test_removing_what_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    Store(tmp_path).remove(KEY)
    assert not [path for path in tmp_path.rglob("*") if path.parent.name == "tmp"]


def test_a_store_is_asked_and_no_file_system_is_used_beside_it() -> None:
    source = Path(xstilts.__file__).parent
    found = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path in sorted(source.rglob("*.py"))
        if path.parent.name != "store"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and (node.attr in ("fs", "root") or (node.attr == "local" and "store" in ast.unparse(node.value).lower()))
    ]
    assert not found, "\n".join(found)
    for name in ("leases", "logs", "upkeep"):
        text = (source / "store" / f"{name}.py").read_text(encoding="utf-8")
        assert not re.search(r"store\.(fs|root|local)\b", text), name


def test_single_files(url: str) -> None:
    store = Store(url)
    path = store.path("leases", "some", "1")
    assert store.names(store.path("leases", "some")) == [] and store.find(store.path("leases")) == {}
    assert store.create(path, b"one") and not store.create(path, b"other")
    assert store.content(path) == b"one" and store.names(store.path("leases", "some")) == ["1"]
    assert {key: info["size"] for key, info in store.find(store.path("leases")).items()} == {("some", "1"): 3}
    before = store.modified(path)
    store.touch(path, b"one")
    assert store.content(path) == b"one" and store.modified(path) >= before
    store.write(path, b"two")
    assert store.content(path) == b"two" and sees(store.url, path)
    store.delete_folder(store.path("leases", "some"), if_empty=True)
    assert store.content(path) == b"two"
    store.delete(path)
    store.delete_folder(store.path("leases", "some"), if_empty=True)
    assert store.names(store.path("leases", "some")) == [] and not sees(store.url, path)
    if not url.startswith("s3"):  # which does not say
        with pytest.raises(FileNotFoundError):
            store.delete(path)


def test_lines_are_appended_where_a_store_can(url: str) -> None:
    store = Store(url)
    for line in ("one\n", "two\n"):
        assert store.append(store.path("logs", "a", "b.jsonl"), line.encode()) == store.local
        assert not store.local or store.content(store.path("logs", "a", "b.jsonl")).decode().endswith(line)


def test_files_and_folders_have_the_mode_that_the_umask_says(tmp_path: Path) -> None:
    """Also those of libraries that write by way of a temporary file, as that of safetensors does."""
    before = os.umask(0o027)
    try:
        with Store(tmp_path / "store").publish(KEY) as (folder, _):
            (folder / "private").touch(mode=0o600)
    finally:
        os.umask(before)
    found = {(path.is_file(), path.stat().st_mode & 0o777) for path in (tmp_path / "store").rglob("*")}
    assert found == {(True, 0o640), (False, 0o750)}


def as_nobody(do: Callable[[], object]) -> str:
    """What ``do`` raises when a user does it to whom nothing belongs."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        try:
            do()
        except Exception as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, "rb") as stream:
        return stream.read().decode()


@pytest.mark.skipif(not hasattr(os, "setresuid") or os.getuid() != 0, reason="needs to become another user")
def test_what_another_user_may_not_do_names_the_file_its_owner_and_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and "pytest" in str(folder):
            folder.chmod(0o755)
    store = Store(tmp_path / "store")
    put(store)
    home = f"artifacts/ab/{KEY}"
    assert as_nobody(lambda: text(Store(store.url))) == ""
    said = as_nobody(lambda: put(Store(store.url), key="cd" * 32))
    assert re.fullmatch(
        rf"StoreError: store {store.url}: tmp/\S+: Permission denied; it is root's, who can give you access "
        rf"\(chmod -R g\+rwX {store.root}\), then run again to go on", said
    ), said  # fmt: skip
    Path(store.path(home, "manifest.json")).chmod(0o600)
    assert f"{home}/manifest.json: Permission denied; it is root's" in as_nobody(lambda: Store(store.url).peek(KEY))
    Path(store.path("artifacts")).chmod(0o700)
    assert "artifacts: Permission denied" in as_nobody(lambda: Store(store.url).keys())


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", "..", ".", "", "manifest.json", "a\\b", "a\0b"])
def test_no_manifest_leads_out_of_its_folder(name: str) -> None:
    sound = Artifact(KEY, {"a": "0"}, {}, {"a": 1}, "attempt")
    assert Artifact.of(KEY, sound.manifest()) == sound
    with pytest.raises(ValueError):
        Artifact.of(KEY, replace(sound, files={name: "0"}).manifest())
    if name:
        with pytest.raises(ValueError):
            Artifact.of(KEY, replace(sound, attempt=name).manifest())


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_whichever_bit_of_a_manifest_flips_it_says_the_same_or_is_damaged(place: int, bit: int) -> None:
    sound = Artifact(KEY, {"text.txt": "ab" * 32}, {"kind": "score", "flops": 1.5, "of": None}, {"text.txt": 5}, "x")
    content = bytearray(sound.manifest())
    content[place % len(content)] ^= 1 << bit
    with suppress(ValueError):
        assert Artifact.of(KEY, bytes(content)) == sound


def test_a_damaged_curve_does_not_take_its_model_with_it(url: str) -> None:
    with Store(url).publish(KEY) as (folder, _):
        (folder / "weights").write_text("w")
        (folder / "curve.parquet").write_text("c")
    store = Store(url)
    (curve,) = (path for path in store.fs.find(f"{store.root}/artifacts") if path.endswith("curve.parquet"))
    store.fs.pipe_file(curve, b"d")
    assert store.read(KEY, "curve.parquet") is None and store.get(KEY) is not None and store.lost() == set()
    with Store(url).files(KEY) as folder:
        assert (folder / "weights").read_text() == "w"


def test_what_was_set_aside_is_lost_until_it_is_published_again(url: str) -> None:
    store = Store(url)
    assert store.lost() == set()
    put(store)
    (file,) = (path for path in store.fs.find(f"{store.root}/artifacts") if path.endswith("text.txt"))
    store.fs.pipe_file(file, b"jello")
    with pytest.raises(StageError, match="was damaged, and is set aside; run again"), Store(url).files(KEY):
        pass
    assert store.lost() == {KEY}
    put(store)
    assert store.lost() == set()


def test_a_store_that_is_to_be_there_is_not_made(url: str) -> None:
    with pytest.raises(StoreError, match="its folder is gone"):
        Store(url, anew=False)
    Store(url)
    assert Store(url, anew=False).keys() == set()


def test_a_line_that_does_not_fit_on_the_disk_is_told_and_the_next_begins_a_line(disk: Path) -> None:
    store = Store(disk / "store")
    log = store.path("logs", "a.jsonl")
    filler = disk / "filler"
    store.append(log, b"first\n")
    with open(filler, "wb", buffering=0) as stream, pytest.raises(OSError):
        while True:
            stream.write(bytes(4096))
    with pytest.raises(StoreError, match=r"No space left on device; free some"), store.failing_plainly():
        while True:
            store.append(log, b"x" * 999 + b"\n")
    with pytest.raises(OSError):
        store.create(store.path("leases", "key", "0"), b"x" * 5000)
    assert store.names(store.path("leases", "key")) == []  # no empty lease
    filler.unlink()
    store.append(log, b"again\n")
    lines = store.content(log).split(b"\n")
    assert (lines[0], lines[-2:]) == (b"first", [b"again", b""]) and 0 < len(lines[-3]) <= 999


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nope://x", "Protocol not known: nope; choose a folder or another fsspec URL with --store"),
        ("hf://datasets/x", "Repository id must be"),
        ("zip://x::file:///nope", "No such file or directory"),
        ("ftp://127.0.0.1:1/x", "Connection refused; choose a folder"),
        ("https://127.0.0.1:9/x", "check its address"),
        ("s3:bucket/x", "a folder of this name is hardly meant; write s3://… or ./s3:bucket/x"),
        ("smb://host/x", "the library for such stores is not installed"),
    ],
)
def test_whatever_is_wrong_with_a_url_is_told_in_one_line(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as told:
        Store(url)
    assert str(told.value).startswith(f"store {url}: ") and said in str(told.value)
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir()), "nothing is made in its place"
