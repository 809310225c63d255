"""What the documents show works as shown."""

import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from tiny import XSTILTS, scores_in, write
from xstilts.cli import app as cli
from xstilts.planning.study import load_study
from xstilts.tasks import builtin_catalog, read_entry
from xstilts.tasks.task import Files

ROOT = Path(__file__).parents[1]
LABELS = ("negative", "positive")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/golden/*.md")])


def blocks(document, language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / document).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [text for tag, text in found if tag == language]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing


def test_the_readme_study_is_valid(tmp_path):
    [text] = blocks("README.md", "yaml")
    file = tmp_path / "nli-or-commonsense.yaml"
    file.write_text(text, "utf-8")
    (tmp_path / "data").mkdir()
    study = load_study(file)
    for target in study.targets:
        assert target.task in study.catalog
    for recipe in study.recipes:
        assert all(task in study.catalog for task in recipe.tasks)


def test_the_contributing_examples_are_valid(tmp_path):
    entry, recipes = blocks("CONTRIBUTING.md", "yaml")
    file = tmp_path / "reviews.yaml"
    file.write_text(entry, "utf-8")
    assert read_entry(file).name == "reviews"
    [readme_study] = blocks("README.md", "yaml")
    study = re.sub(r"^recipes:.*\n", lambda _: recipes, readme_study, flags=re.MULTILINE)
    file.write_text(study, "utf-8")
    (tmp_path / "data").mkdir()
    assert [recipe.name for recipe in load_study(file).recipes] == ["none", "mnli", "mnli-slow"]


def test_the_files_of_tokens_that_are_shown_can_be_said():
    """What the layouts hold, tests/test_data_readers_tokens.py reads."""
    _, shown, _ = blocks("docs/add-a-task.md", "yaml")
    lines = [line for line in shown.splitlines() if not line.startswith("#")]
    assert len(lines) == 5
    for line in lines:
        Files.model_validate(yaml.safe_load(line)["files"])


def test_the_task_of_ones_own_runs_as_shown(tmp_path, monkeypatch):
    """docs/add-a-task.md: its entry and its study, word for word, on data such as it describes."""
    entry, _, study = blocks("docs/add-a-task.md", "yaml")
    (tmp_path / "reviews.yaml").write_text(entry, "utf-8")
    (tmp_path / "study.yaml").write_text(study, "utf-8")
    (tmp_path / "data" / "reviews").mkdir(parents=True)
    for name in ("train-en", "dev-en", "test-en", "test-de", "test-sw"):
        rows = [
            f"{name} review {n}: it {'works' if n % 2 else 'broke'} on day {n}.\t{LABELS[n % 2]}" for n in range(16)
        ]
        (tmp_path / "data" / "reviews" / f"{name}.tsv").write_text("\n".join(rows), "utf-8")
    monkeypatch.chdir(tmp_path)
    for command in (["plan"], ["run", "--workers", "1"]):
        ended = CliRunner().invoke(cli.app, [*command, "study.yaml"])
        assert ended.exit_code == 0, ended.output
    scores = pl.read_parquet(tmp_path / "runs" / "reviews" / "scores.parquet").filter(pl.col("main"))
    assert set(scores["language"]) == {"en", "de", "sw"} and set(scores["target"]) == {"reviews"}
    assert set(scores["recipe"]) == {"none", "mini-nli"} and set(scores["n"]) == {16}


def test_every_task_of_the_catalog_is_in_the_table_of_official_splits():
    official, _, hub = (ROOT / "docs" / "data.md").read_text("utf-8").partition("\n## From the hub")
    rows = re.findall(r"^\| (\w[\w-]*) \| .+ \| .+ \|$", official, re.MULTILINE)
    named = sorted(name for name in rows if name != "task")
    first_cells = re.findall(r"^\| ([\w, -]+) \|", hub.partition("\n## ")[0], re.MULTILINE)
    on_hub = {name for cell in first_cells for name in cell.split(", ")} - {"task"}
    assert on_hub - {"---"} == {task.name for task in builtin_catalog() if task.hub}
    assert named == sorted(task.name for task in builtin_catalog() if not task.name.startswith("mini-"))


def test_the_commands_exist():
    """Every `xstilts COMMAND` in the README and in CONTRIBUTING is one."""
    commands = set()
    for document in ("README.md", "CONTRIBUTING.md"):
        commands.update(re.findall(r"`xstilts ([a-z]+)", (ROOT / document).read_text("utf-8")))
        commands.update(re.findall(r"^xstilts ([a-z]+)", "".join(blocks(document, "")), re.MULTILINE))
    assert commands >= {"run", "plan", "scores", "data"}
    assert commands <= set(get_command(cli.app).commands)
    for command in sorted(commands):
        result = CliRunner().invoke(cli.app, [command, "--help"])
        assert result.exit_code == 0, result.output


def test_python_in_the_readme_uses_what_there_is():
    import xstilts

    [code] = blocks("README.md", "python")
    for name in re.findall(r"xstilts\.(\w+)", code):
        assert callable(getattr(xstilts, name))


def commands_for_clusters():
    """The commands of docs/cluster.md as lists of words, comments left out."""
    return [shlex.split(line, comments=True) for line in "".join(blocks("docs/cluster.md", "")).splitlines()]


def own_environment(**more):
    path = os.pathsep.join(entry for entry in sys.path if entry)
    inherited = {key: value for key, value in os.environ.items() if key not in ("XSTILTS_DATA", "XSTILTS_STORE")}
    return {**inherited, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": path, **more}


@pytest.mark.soak
def test_the_commands_for_clusters_run_as_shown(tmp_path, s3, finished):
    """docs/cluster.md in its order; the machines are nodes of Ray on this one."""
    pytest.importorskip("ray")
    write(tmp_path).rename(tmp_path / "study.yaml")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    places = {"/shared": str(tmp_path / "shared"), "s3://my-bucket": s3, "HEAD": "127.0.0.1", "6379": port}
    commands = [words for words in commands_for_clusters() if "slurm" not in words]
    assert commands.count(["ray", "stop"]) == 1  # not run: it ends every Ray of this machine, also of others
    commands.remove(["ray", "stop"])
    assert len(commands) == 11
    # As docs/cluster.md asks for, with a token of this test's own.
    environment = own_environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    machines = []
    try:
        for words in commands:
            for place, own in places.items():
                words = [word.replace(place, own) for word in words]
            if words[0] == "ray":  # in the foreground, so that it ends with the test
                ray = [sys.executable, "-m", "ray.scripts.scripts", *words[1:], "--num-cpus=1", "--block"]
                machines.append(subprocess.Popen(ray, env=environment, stdout=subprocess.DEVNULL))
                time.sleep(15)
                continue
            if "ray" in words:  # something to compute
                for store in (".xstilts", "shared"):
                    shutil.rmtree(tmp_path / store, ignore_errors=True)
            ended = subprocess.run(
                [*XSTILTS, *words[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
            )
            assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
            if words[1] == "run":
                assert scores_in(tmp_path).equals(scores_in(finished)), words
    finally:
        for machine in machines[::-1]:
            machine.terminate()
            machine.wait()


def test_the_command_for_slurm_asks_for_what_it_says(tmp_path):
    """docs/cluster.md; sbatch is a script that keeps what it is given and refuses."""
    pytest.importorskip("submitit")
    write(tmp_path).rename(tmp_path / "study.yaml")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text(f"#!/bin/sh\ncp $1 {tmp_path}/asked\necho no such partition >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    [words] = [words for words in commands_for_clusters() if "slurm" in words]
    words = [word.replace("/shared", str(tmp_path / "shared")) for word in words]
    environment = own_environment(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    ended = subprocess.run([*XSTILTS, *words[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2 and "sbatch refuses the job: no such partition" in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr
    asked = set(re.findall(r"^#SBATCH --(\S+)$", (tmp_path / "asked").read_text(), re.MULTILINE))
    assert asked >= {"partition=gpu", "gpus-per-node=1", "cpus-per-task=4", "mem=16GB", "time=240"}, asked
