"""The wheel as its users have it: in an environment of its own, with the packages that it asks for and no others.

Nothing is downloaded: packages are links to those that this environment has.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tiny

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
                   cwd=ROOT, check=True, capture_output=True)  # fmt: skip
    (made,) = folder.glob("*.whl")
    return made


def needed(requirements: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
    """The names of all packages that requirements come to, of this environment's versions."""
    found: set[str] = set()
    wanted = [(Requirement(one), tuple(extras) or ("",)) for one in requirements]
    while wanted:
        requirement, of = wanted.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in of):
            continue
        name = canonicalize_name(requirement.name)
        if (name, inner := tuple(requirement.extras)) and (name not in found or inner):
            found.add(name)
            wanted += [(Requirement(one), inner or ("",)) for one in importlib.metadata.requires(name) or ()
                       if inner or "extra ==" not in one]  # fmt: skip
    return found


class Installed:
    """An environment with the wheel in it."""

    def __init__(self, folder: Path, wheel: Path, extras: Iterable[str] = ()) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        (packages,) = (folder / "venv").glob("lib/python*/site-packages")
        subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, packages], check=True)
        (metadata,) = packages.glob("xstilts-*.dist-info")
        of = importlib.metadata.Distribution.at(metadata)
        self.packages = needed(of.requires or (), extras)
        for name in self.packages:
            for file in importlib.metadata.files(name) or ():
                top = file.parts[0]
                if top != ".." and top != "__pycache__" and not (packages / top).exists():
                    (packages / top).symlink_to(importlib.metadata.distribution(name).locate_file(top))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XSTILTS"))}
        return subprocess.run([self.python, "-m", "xstilts", *words], cwd=self.folder, env=environment,
                              capture_output=True, text=True, timeout=300)  # fmt: skip


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("base"), wheel)


def test_the_base_is_light(base: Installed) -> None:
    assert not {"torch", "transformers", "datasets", "statsmodels", "babel", "huggingface-hub", "ray"} & base.packages
    assert len(base.packages) <= 31, sorted(base.packages)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-h", "Start with: xstilts demo"),
        ("tasks --json", "xquad"),
        ("encoders", "FacebookAI/xlm-roberta-large"),
        ("plan phang2020", "Not at hand, and counted as the catalog says"),
        ("init mine.yaml --task xquad --hours 5", "next: xstilts plan mine.yaml"),
        ("evidence --target tydiqa", "What was found"),
        ("status quickstart", "waiting"),
    ],
)
def test_what_needs_no_torch_works_without(base: Installed, words: str, said: str) -> None:
    done = base(*words.split())
    assert (done.returncode, done.stderr) == (0, "") and said in done.stdout


@pytest.mark.parametrize("words", ["run quickstart", "demo", "predict model --task span --question a --context b"])
def test_what_needs_torch_says_what_to_install(base: Installed, words: str) -> None:
    done = base(*words.split())
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert 'torch is not installed; pip install "xstilts[train]"' in done.stderr


def test_results_are_read_where_nothing_can_be_trained(base: Installed, finished: Path) -> None:
    """A store from elsewhere: its report, scores, claims and table."""
    study = str(finished / "tiny.yaml")
    for words, said in (
        (("report", study, "--out", "page"), "report.html"),
        (("scores", study), "mini-retrieval"),
        (("claims", study), "C02"),
        (("table", study), "none"),
    ):
        done = base(*words, "--store", str(finished / ".xstilts" / "store"))
        assert done.returncode == 0 and said in done.stdout, done.stderr
    assert (base.folder / "page" / "report.html").is_file()


@pytest.mark.soak
def test_a_study_is_run_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """From the install to a prediction: `demo` differs from this in the study alone."""
    xstilts = Installed(tmp_path, wheel, ["train", "bundled"])
    tiny.write(tmp_path, recipes=["none"])
    for words, said in (
        (("init", "own.yaml", "--from", "quickstart"), "own.yaml"),
        (("run", "tiny.yaml"), "report.html"),
        (("report", "tiny.yaml"), "report.html"),
        (("export", "tiny.yaml", "--target", "mini-span", "--out", "model"), "model"),
        (("predict", "model", "--task", "span", "--question", "Where?", "--context", "She was born in Bonn."), ""),
    ):
        done = xstilts(*words)
        assert done.returncode == 0 and said in done.stdout, done.stderr
    assert yaml.safe_load((tmp_path / "own.yaml").read_text())["name"] == "quickstart"
