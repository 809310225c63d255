"""`xstilts claims` on the quickstart study, with simulated scores in place of runs."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synthetic import SIZES, make_results
from xstilts.analysis.results import Results
from xstilts.cli import app as cli
from xstilts.cli import claims as cli_claims
from xstilts.planning.study import load_study

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "tests" / "golden" / "three_sizes.yaml"
GAINS = {"mini-span-paraphrased": 20.0, "mini-nli": -20.0, "mini-choice": 0.0}


@pytest.fixture(scope="module")
def results() -> Results:
    found = make_results(
        lambda encoder, recipe, target: GAINS.get(recipe, 0.0), name="quickstart", encoders=SIZES,
        recipes=("none", *GAINS), targets={"mini-span": "span", "mini-retrieval": "retrieval"},
        languages=("en", "de", "es", "fr", "ru", "tr", "ar", "hi", "zh", "sw", "ja"), seeds=(1, 2),
        examples=60)  # fmt: skip
    return replace(found, study=load_study(QUICKSTART))


@pytest.fixture
def xstilts(results, monkeypatch):
    monkeypatch.setattr(cli_claims, "gather", lambda plan, store: results)

    def call(*arguments: str) -> tuple[int, str, Exception | None]:
        run = CliRunner().invoke(cli.app, ["claims", str(QUICKSTART), *arguments])
        return run.exit_code, run.stdout, run.exception

    return call


def example(tmp_path: Path) -> str:
    """The claims file that the documentation shows."""
    [text] = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/claims.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    file = tmp_path / "mine.yaml"
    file.write_text(text, "utf-8")
    return str(file)


def test_the_documented_claims_give_the_golden_output(xstilts, tmp_path):
    status, text, _ = xstilts("--claims", example(tmp_path))
    assert status == 0
    assert text == (ROOT / "tests/golden/claims.txt").read_text("utf-8")


def test_the_formats_say_the_same(xstilts, tmp_path):
    mine = example(tmp_path)
    _, text, _ = xstilts("--claims", mine, "--json")
    found = json.loads(text)
    assert [row["id"] for row in found["claims"]] == ["paraphrases", "anything-goes", "size-of-nli"]
    first = found["claims"][0]
    assert first["outcome"] == "supported" and first["low"] <= first["estimate"] <= first["high"]
    assert first["stages"] and {row["recipe"] for row in first["rows"]} == {"mini-span-paraphrased"}
    _, table, _ = xstilts("--claims", mine, "--format", "csv")
    assert table.splitlines()[0] == "id,statement,source,group,verdict,evidence,low,high" and first["evidence"] in table
    _, page, _ = xstilts("--claims", mine, "--format", "md")
    lines = page.splitlines()
    head = "| id | statement | source | verdict | evidence |"
    at = [i for i, line in enumerate(lines) if line == head]
    assert len(at) == 2 and lines[at[1] - 2].startswith("Setup, no evidence") and "size-of-nli" in lines[at[1] + 2]
    assert all(line.count(" | ") == 4 for line in lines if line.startswith("| ") and "---" not in line)


def test_published_results_stand_beside_and_are_pooled(xstilts, tmp_path):
    file = tmp_path / "published.csv"
    file.write_text(
        "publication,source,encoder,recipe,target,language,metric,split,quantity,value,error\n"
        "Someone,table 1,big,mini-nli,mini-span,mean,f1,test,gain,4.0,1.0\n"
        "Someone,table 1,big,none,mini-span,mean,f1,test,score,60.0,\n"
        "Someone,table 1,big,none,mini-span,de,f1,test,score,50.0,\n",
        "utf-8",
    )
    status, text, _ = xstilts("--published", str(file), "--claims", example(tmp_path))
    assert status == 0
    assert "published gain: mini-nli on mini-span (mean), +4.0 on big (Someone); here " in text
    assert "published score: none on mini-span (mean), 60.0 on big (Someone); here " in text
    assert "published results for single languages: 1 (--format md" in text and "50.0" not in text
    pooled = r"pooled: mini-nli on mini-span \(f1\), 4 gains, 3 of them here: .* τ² [\d.]+, I² \d+ %, Q [\d.]+"
    assert re.search(pooled, text)
    _, page, _ = xstilts("--published", str(file), "--format", "md")
    assert "\nPublished results\n\n| publication |" in page and "\nPooled\n\n| recipe |" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--claims", "no.yaml"), r"no\.yaml: no such claims file"),
        (("--published", "no.csv"), r"no\.csv: no such file of published results"),
        (("--encoder", "bundled/e5-small@7"), r"encoder bundled/e5-small@7: the study has no scores of it"),
    ],
)
def test_what_is_wrong_is_told(xstilts, arguments, message):
    status, _, error = xstilts(*arguments)
    assert status == 1 and re.search(message, str(error)), "main() prints it in one line and ends with status 2"


def test_before_anything_ran_it_says_so(tmp_path: Path) -> None:
    run = CliRunner().invoke(cli.app, ["claims", str(QUICKSTART), "--store", str(tmp_path / "store")])
    assert run.exit_code == 0
    said = f"{QUICKSTART}: nothing of it is scored yet, so it tests no claim; `xstilts run {QUICKSTART}` first"
    assert run.stderr.splitlines() == [said]
    assert run.stdout.startswith("Setup, no evidence") and "supported" not in run.stdout
