"""Damage to a finished store × commands: each is told or passed over, nothing else is lost, and a run mends it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from forked import Ended, XStilts, rows
from tiny import scores_in

Content = dict[str, Any]


@dataclass(frozen=True)
class Damage:
    """``do`` it to the folder of a store. ``aside``: artifacts that `verify` sets aside for it.

    ``told`` is what the error says of commands that cannot go on, ``by`` these; ``verified`` what `verify` says.
    """

    do: Callable[[Path], object]
    aside: int = 0
    told: str = ""
    by: tuple[str, ...] = ()
    verified: str = ""
    status: int = 1


# -- what is damaged ------------------------------------------------------------------------------------------------


def manifest(store: Path, kind: str = "score") -> Path:
    return next(
        path
        for path in sorted(store.glob("artifacts/*/*/manifest.json"))
        if json.loads(path.read_text())["meta"]["kind"] == kind
    )


def file(name: str) -> Callable[[Path], Path]:
    return lambda store: next(path for path in sorted(store.glob("artifacts/*/*/*/*")) if path.name == name)


def flip(find: Callable[[Path], Path], where: float = 0.5) -> Callable[[Path], None]:
    def do(store: Path) -> None:
        path = find(store)
        content = bytearray(path.read_bytes())
        content[int(len(content) * where)] ^= 1
        path.write_bytes(content)

    return do


def cut(find: Callable[[Path], Path], size: int) -> Callable[[Path], None]:
    return lambda store: os.truncate(find(store), size)


def instead(find: Callable[[Path], Path], put: Callable[[Path], object]) -> Callable[[Path], None]:
    """In the place of what is found."""

    def do(store: Path) -> None:
        path = find(store)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        put(path)

    return do


def told_otherwise(change: Callable[[Content], object], sealed: bool = False) -> Callable[[Path], None]:
    """A manifest with other values: as of an earlier version, without a digest; or, ``sealed``, with the one it had."""

    def do(store: Path) -> None:
        path = manifest(store)
        content = json.loads(path.read_text())
        if not sealed:
            del content["digest"]
        path.write_text(json.dumps(changed if (changed := change(content)) is not None else content))

    return do


def write(name: str, content: bytes = b"x") -> Callable[[Path], None]:
    def do(store: Path) -> None:
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(content)

    return do


def both(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def do(store: Path) -> None:
        for step in steps:
            step(store)

    return do


def in_logs(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def do(store: Path) -> None:
        for path in store.glob("logs/*/*.jsonl"):
            path.write_bytes(change(path.read_bytes()))

    return do


def elsewhere(store: Path) -> None:
    """On another disk where there is one, with a link to it."""
    disk = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else store.parent
    target = disk / f"xstilts-test-{os.getpid()}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(store / "artifacts", target)
    (store / "artifacts").symlink_to(target)


model, predictions, outcomes, curve = map(
    file, ("model.safetensors", "predictions.parquet", "outcomes.parquet", "curve.parquet")
)
ids: Callable[[Path], Path] = lambda store: next(store.glob("features/artifacts/*/*/*/ids.int32"))  # noqa: E731
part: Callable[[Path], Path] = lambda store: manifest(store).parent  # noqa: E731
first: Callable[[Path], Path] = lambda store: next(iter(sorted(store.glob("artifacts/*"))))  # noqa: E731
RUNS: Callable[[Path], Path] = lambda store: next(store.glob("runs/*.json"))  # noqa: E731
KEYS: Callable[[Path], Path] = lambda store: next(store.glob("runs/*.keys"))  # noqa: E731
FOLDER, FIFO = Path.mkdir, os.mkfifo
LOOP: Callable[[Path], None] = lambda path: path.symlink_to(path)  # noqa: E731
DANGLING: Callable[[Path], None] = lambda path: path.symlink_to("/nonexistent/disk")  # noqa: E731
ALL = ("status", "scores", "plan", "verify", "ls", "run")
SETTING_ASIDE = ("scores", "verify", "run")

DAMAGES: dict[str, Damage] = {
    "a bit of a model": Damage(flip(model), aside=1),
    "a bit of a model's header": Damage(flip(model, 0.00001), aside=1),
    "a model cut short": Damage(cut(model, 5000), aside=1),
    "an empty model": Damage(cut(model, 0), aside=1),
    "no model": Damage(lambda store: model(store).unlink(), aside=1),
    "a folder for a model": Damage(instead(model, FOLDER), aside=1),
    "a pipe for a model": Damage(instead(model, FIFO), aside=1),
    "a link in a circle for a model": Damage(instead(model, LOOP), aside=1),
    "a link to nowhere for a model": Damage(instead(model, DANGLING), aside=1),
    "a device for a model": Damage(instead(model, lambda path: path.symlink_to("/dev/zero")), aside=1),
    "a bit of predictions": Damage(flip(predictions), aside=1),
    "predictions cut short": Damage(cut(predictions, 700), aside=1),
    "no predictions": Damage(lambda store: predictions(store).unlink(), aside=1),
    "a pipe for predictions": Damage(instead(predictions, FIFO), aside=1),
    "a bit of outcomes": Damage(flip(outcomes), aside=1),
    "no outcomes": Damage(lambda store: outcomes(store).unlink(), aside=1),
    "a folder for outcomes": Damage(instead(outcomes, FOLDER), aside=1),
    "a link in a circle for outcomes": Damage(instead(outcomes, LOOP), aside=1),
    "a pipe for outcomes": Damage(instead(outcomes, FIFO), aside=1),
    "a bit of a curve": Damage(flip(curve), verified="for display alone, kept"),
    "no curve": Damage(lambda store: curve(store).unlink(), verified="for display alone, kept"),
    "a pipe for a curve": Damage(instead(curve, FIFO), verified="for display alone, kept"),
    "the attempt is a file": Damage(instead(lambda s: outcomes(s).parent, lambda path: path.write_text("x")), aside=1),
    "no attempt": Damage(lambda store: shutil.rmtree(outcomes(store).parent), aside=1),
    "a manifest cut short": Damage(cut(manifest, 100), aside=1),
    "an empty manifest": Damage(cut(manifest, 0), aside=1),
    "a manifest of zeros": Damage(lambda store: manifest(store).write_bytes(bytes(400)), aside=1),
    "a manifest in latin-1": Damage(lambda store: manifest(store).write_bytes(b'{"meta": "\xe9"}'), aside=1),
    "a bit of a manifest": Damage(flip(lambda store: manifest(store, "train"), 0.9), aside=1),
    "a score's time told otherwise": Damage(
        told_otherwise(lambda c: c["meta"].update(seconds=9.0), sealed=True), aside=1
    ),
    "a digest of another": Damage(told_otherwise(lambda c: c.update(digest="0" * 64), sealed=True), aside=1),
    "a digest that is a number": Damage(told_otherwise(lambda c: c.update(digest=5), sealed=True), aside=1),
    "a manifest without its digest": Damage(told_otherwise(lambda c: None)),
    "an unknown key": Damage(told_otherwise(lambda c: c.update(fjles={})), aside=1),
    "a list for a manifest": Damage(told_otherwise(lambda c: []), aside=1),
    "a text for a manifest": Damage(told_otherwise(lambda c: "x"), aside=1),
    "files: a list": Damage(told_otherwise(lambda c: c.update(files=["outcomes.parquet"])), aside=1),
    "files: null": Damage(told_otherwise(lambda c: c.update(files=None)), aside=1),
    "files: numbers": Damage(told_otherwise(lambda c: c.update(files={"outcomes.parquet": 5})), aside=1),
    "files: one outside": Damage(told_otherwise(lambda c: c["files"].update({"../../../../x": "0"})), aside=1),
    "files: one with a path": Damage(told_otherwise(lambda c: c["files"].update({"/etc/passwd": "0"})), aside=1),
    "meta: null": Damage(told_otherwise(lambda c: c.update(meta=None)), aside=1),
    "attempt: 5": Damage(told_otherwise(lambda c: c.update(attempt=5)), aside=1),
    "attempt: ../..": Damage(told_otherwise(lambda c: c.update(attempt="../..")), aside=1),
    "attempt: ..": Damage(told_otherwise(lambda c: c.update(attempt="..")), aside=1),
    "attempt: of NUL": Damage(told_otherwise(lambda c: c.update(attempt="\0")), aside=1),
    "sizes: a text": Damage(told_otherwise(lambda c: c.update(sizes="x")), aside=1),
    "sizes: texts": Damage(told_otherwise(lambda c: c.update(sizes={"outcomes.parquet": "5"})), aside=1),
    "a deep manifest": Damage(lambda s: manifest(s).write_text("[" * 100_000 + "]" * 100_000), aside=1),
    "a manifest of 5,000 digits": Damage(
        lambda s: manifest(s).write_text('{"files": {}, "meta": ' + "9" * 5000 + "}"), aside=1
    ),
    "a manifest of 1 TB": Damage(cut(manifest, 1 << 40), aside=1),
    "a folder for a manifest": Damage(instead(manifest, FOLDER), aside=1),
    "a pipe for a manifest": Damage(instead(manifest, FIFO), aside=1),
    "a link in a circle for a manifest": Damage(instead(manifest, LOOP)),
    "a file for an artifact": Damage(instead(part, lambda path: path.write_text("x"))),
    "token ids": Damage(flip(ids), verified="removed, nobody's: features/set-aside/"),
    "a pipe for token ids": Damage(instead(ids, FIFO), verified="removed, nobody's: features/set-aside/"),
    "a manifest of token ids": Damage(
        cut(lambda store: ids(store).parents[1] / "manifest.json", 100), verified="nobody's: features/set-aside/"
    ),
    "a desktop's file in artifacts": Damage(write("artifacts/.DS_Store")),
    "a desktop's file among keys": Damage(lambda store: (first(store) / ".DS_Store").write_text("x")),
    "a file in an artifact": Damage(lambda store: (part(store) / "notes.txt").write_text("x")),
    "a link in a circle in artifacts": Damage(lambda store: LOOP(store / "artifacts" / "loop")),
    "a link to the store in artifacts": Damage(lambda store: (store / "artifacts" / "up").symlink_to(store)),
    "artifacts on another disk": Damage(elsewhere),
    "artifacts on another disk, and damage": Damage(both(elsewhere, flip(outcomes)), aside=1),
    "artifacts on a disk that is gone": Damage(
        instead(lambda store: store / "artifacts", DANGLING), told="artifacts: ", by=ALL, status=2
    ),
    "artifacts moved away": Damage(
        lambda store: (store / "artifacts").rename(store.parent / "moved"), told="artifacts: no such folder", by=ALL,
        status=2,
    ),
    "a file for all artifacts": Damage(
        instead(lambda store: store / "artifacts", lambda path: path.write_text("x")), told="artifacts: ", by=ALL,
        status=2,
    ),
    "a stray file in leases": Damage(write("leases/stray"), verified="leases/stray"),
    "a file for a lease's folder": Damage(write(f"leases/{'0' * 64}"), verified=f"leases/{'0' * 64}"),
    "an empty lease": Damage(write(f"leases/{'0' * 64}/0", b"")),
    "a lease of nonsense": Damage(write(f"leases/{'0' * 64}/0", b'{"pid": "x", "host": 5}')),
    "a deep lease": Damage(write(f"leases/{'0' * 64}/0", b"[" * 100_000)),
    "leases of odd numbers": Damage(both(*(write(f"leases/{'0' * 64}/{name}") for name in ("007", "²", "9" * 30)))),
    "a file for all leases": Damage(
        instead(lambda store: store / "leases", lambda path: path.write_text("x")), verified="", told="leases: a file",
        by=(),
    ),
    "a file for what is set aside": Damage(
        both(write("set-aside"), flip(outcomes)), told="set-aside: a file where a folder belongs; move it away",
        by=SETTING_ASIDE,
    ),
    "a file for the scratch": Damage(
        both(instead(lambda store: store / "tmp", lambda path: path.write_text("x")), flip(outcomes)), aside=1,
        told="tmp: a file where a folder belongs; move it away", by=("verify", "run"),
    ),
    "half a line before each log": Damage(in_logs(lambda log: b'{"time": 1, "ev' + log)),
    "half a line in each log": Damage(in_logs(lambda log: log[: len(log) // 2] + b"\n" + log)),
    "zeros in each log": Damage(in_logs(lambda log: bytes(64) + b"\n" + log)),
    "latin-1 in each log": Damage(in_logs(lambda log: b"\xff\xfe\n" + log)),
    "logs of other JSON": Damage(in_logs(lambda log: b'[]\n5\nnull\n{"event": 5}\n' + b"[" * 100_000 + b"\n" + log)),
    "pipes for logs": Damage(
        lambda store: [instead(lambda _, path=path: path, FIFO)(store) for path in store.glob("logs/*/*.jsonl")]
    ),
    "a file for all logs": Damage(instead(lambda store: store / "logs", lambda path: path.write_text("x"))),
    "a run's record cut short": Damage(cut(RUNS, 20), verified="runs/"),
    "a run's record of nonsense": Damage(lambda store: RUNS(store).write_text('{"study": 5}'), verified="runs/"),
    "a pipe for a run's record": Damage(instead(RUNS, FIFO), verified="runs/"),
    "a run's keys cut short": Damage(cut(KEYS, 20), verified="runs/"),
    "a folder for a run's keys": Damage(instead(KEYS, FOLDER), verified="runs/"),
    "a file for all runs": Damage(instead(lambda store: store / "runs", lambda path: path.write_text("x"))),
}  # fmt: skip

COMMANDS = {
    "status": ("status", "tiny.yaml"),
    "scores": ("scores", "tiny.yaml", "--json"),
    "plan": ("plan", "tiny.yaml", "--json"),
    "verify": ("store", "verify"),
    "ls": ("store", "ls"),
}


@dataclass
class Case:
    """A copy of the folder in which the study ran, damaged."""

    folder: Path
    xstilts: XStilts
    damage: Damage
    whole: dict[str, str] = field(default_factory=dict)  # digest → file, of what the damage has left

    def __post_init__(self) -> None:
        self.damage.do(self.store)
        self.whole = dict(digests(self.store))

    @property
    def store(self) -> Path:
        return self.folder / ".xstilts" / "store"

    def __call__(self, *words: str, seconds: float = 30) -> Ended:
        return self.xstilts(self.folder, *words, seconds=seconds)

    def assert_nothing_lost(self) -> None:
        there = dict(digests(self.store))
        assert not (lost := [file for digest, file in self.whole.items() if digest not in there]), lost


def digests(store: Path) -> Iterator[tuple[str, str]]:
    """Of all files of artifacts, wherever in the store they are now."""
    for name in ("artifacts", "set-aside"):
        for folder, _, names in os.walk(os.path.realpath(store / name)):
            for path in (Path(folder, one) for one in names):
                if path.suffix in (".safetensors", ".parquet") and path.is_file():
                    yield hashlib.sha256(path.read_bytes()).hexdigest(), str(path)


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "study"
    shutil.copytree(finished, folder, symlinks=True)
    yield folder
    artifacts = folder / ".xstilts" / "store" / "artifacts"
    if artifacts.is_symlink() and artifacts.is_dir():
        shutil.rmtree(artifacts.resolve(), ignore_errors=True)


LOOKS = {f"{name}: {command}": (damage, command) for name, damage in DAMAGES.items() for command in COMMANDS}


@pytest.mark.parametrize("look", rows(LOOKS, 10))
def test_damage_is_told_or_passed_over_and_nothing_else_is_lost(
    look: tuple[Damage, str], folder: Path, xstilts: XStilts, finished: Path
) -> None:
    damage, command = look
    case = Case(folder, xstilts, damage)
    ended = case(*COMMANDS[command])
    case.assert_nothing_lost()
    if command in damage.by:
        ended.assert_refused(damage.told, status=damage.status)
        return
    ended.assert_accepted()
    if command == "verify":
        assert ended.out.count("damaged, set aside: ") == damage.aside and damage.verified in ended.out, ended.out
        again = case(*COMMANDS["verify"])
        again.assert_accepted()
        assert " 0 damaged, 0 leftovers removed" in again.out, again.out
        states = [stage["state"] for stage in json.loads(case(*COMMANDS["plan"]).out)["stages"]]
        assert states.count("to do") >= damage.aside and ("to do" in states or not damage.aside), states
    if command == "scores":
        axes = ["target", "recipe", "language", "metric"]
        found, known = pl.DataFrame(json.loads(ended.out)), scores_in(finished)
        assert found.join(known, on=[*axes, "value"]).height == found.height > 0


@pytest.mark.soak
@pytest.mark.parametrize("damage", [pytest.param(damage, id=name) for name, damage in DAMAGES.items()])
def test_a_good_run_afterwards_gives_the_same_bits_and_exports_every_model(
    damage: Damage, folder: Path, xstilts: XStilts, finished: Path
) -> None:
    case = Case(folder, xstilts, damage)
    case("store", "verify")
    ended = case("run", "tiny.yaml", seconds=300)
    case.assert_nothing_lost()
    ended.assert_plain()
    if "run" in damage.by:
        (error,) = ended.errors
        assert ended.status == damage.status and damage.told in error
        return
    assert ended.status == 0, ended.err
    assert scores_in(folder).equals(scores_in(finished))
    before = {digest for digest, file in digests(finished / ".xstilts" / "store") if file.endswith(".safetensors")}
    assert before <= dict(digests(case.store)).keys()
    for recipe in ("none", "mini-nli"):
        words = ("export", "tiny.yaml", "--target", "mini-span", "--recipe", recipe, "--out", f"model-{recipe}")
        case(*words).assert_accepted()
