"""`xstilts evidence`: what the literature says of a question, and a user's own results and runs beside it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from synthetic import SIZES, make_results
from xstilts.cli import app as cli
from xstilts.cli import evidence as cli_evidence
from xstilts.planning.study import load_study

ROOT = Path(__file__).parents[1]
COLUMNS = "publication,source,encoder,family,parameters,recipe,english,target,language,metric,split,quantity,value\n"
NO_SIZES = "No published study was found that trains one encoder family at two or more sizes with and without English"


@pytest.fixture
def xstilts():
    def call(*arguments: str) -> tuple[int, str, Exception | None]:
        run = CliRunner().invoke(cli.app, ["evidence", *arguments])
        return run.exit_code, run.stdout, run.exception

    return call


def two_sizes(tmp_path: Path) -> str:
    """A study such as nobody has published: XLM-R base and large, SQuAD first or not, on TyDiQA."""
    file = tmp_path / "mine.csv"
    rows = [f"lee-2031,table 1,xlm-r {size},XLM-R,{size},{recipe},{english},tydiqa,mean,f1,test,score,{value}\n"
            for size, without, gain in ((277_000_000, 53.0, 17.0), (559_000_000, 65.0, 11.0))
            for recipe, english, value in (("none", "", without), ("squad", "yes", without + gain))]  # fmt: skip
    file.write_text(COLUMNS + "".join(rows), "utf-8")
    return str(file)


def test_the_default_question_is_that_of_reading_comprehension(xstilts):
    status, text, _ = xstilts()
    assert status == 0
    assert text.startswith("Published evidence: XQuAD, MLQA, TyDiQA-GoldP\n\n" + NO_SIZES)
    assert re.search(r"PaLM 8B \(chung-2022\) +\+22\.5 +\+18\.1 to \+26\.9 +┊ +─+●─+\n", text)
    assert re.search(r"pooled +\+17\.3 .*■", text) and re.search(r"expected of a further encoder +\+9\.0 to", text)
    assert "−4.3 points (−6.2 to −2.5), +0.5 % of the remaining error (−0.7 to +1.8), −0.20 logits" in text
    assert "per tenfold size; the scales do not agree, so there is no verdict on size." in text
    assert "78.7 (+2.1) in Table 16 of chung-2021, which counts; 77.2 (+0.6) in README of xue-2021." in text
    assert "phang-2020: seeds: not stated; chosen on: not stated; second-hand; direct; errors: imputed;" in text
    assert text.index("→ XQuAD, fine-tuned") < text.index("→ TyDiQA-GoldP, fine-tuned") < text.index("flan →")


def test_the_flow_adds_up(xstilts):
    _, text, _ = xstilts("--target", "all")
    flow = text.split("What was found\n")[1]
    total = int(re.match(r"\s*([\d,]+) results of 26 publications", flow)[1].replace(",", ""))
    outside = re.sub(r"\([^()]*\)", "", flow.split(": ", 1)[1])
    assert total == 1180 == sum(map(int, re.findall(r"(?:^|, )(\d+) ", outside)))


def test_a_file_that_identifies_size_ends_the_sentence_that_none_does(xstilts, tmp_path):
    status, text, _ = xstilts("--published", two_sizes(tmp_path), "--target", "tydiqa")
    assert status == 0 and NO_SIZES not in text
    assert "lee-2031 (XLM-R, 2 sizes from 277M to 559M; TyDiQA-GoldP)" in text
    assert "per doubling size; a line goes through any two gains, so this says nothing of size." in text
    _, other, _ = xstilts("--published", two_sizes(tmp_path), "--target", "xquad")
    assert NO_SIZES in other, "of another target"


def test_a_question_may_be_narrower(xstilts):
    _, text, _ = xstilts("--target", "tydiqa", "--size", "100M-1B", "--recipe", "best")
    assert text.startswith("Published evidence: TyDiQA-GoldP, after best, encoders of 100M-1B parameters\n")
    assert "xlm-roberta-large" in text and "PaLM" not in text and "MLQA" not in text.split("\n\n", 2)[2]
    _, larger, _ = xstilts("--target", "tydiqa", "--size", "1B-")
    assert "PaLM 540B" in larger and "xlm-roberta-large" not in larger


def test_the_files_say_the_same(xstilts, tmp_path):
    status, printed, _ = xstilts("--target", "tydiqa", "--json")
    found = json.loads(printed)
    assert status == 0 and found["size"].startswith(NO_SIZES)
    assert {row["recipe"] for row in found["pairs"]} >= {"flan", "best"} and found["publications"]["phang-2020"][
        "title"
    ]
    outs = {suffix: tmp_path / f"evidence{suffix}" for suffix in (".json", ".csv", ".html")}
    for out in outs.values():
        status, text, _ = xstilts("--target", "tydiqa", "--out", str(out))
        assert status == 0 and text.endswith(f"Written: {out}\n")
    assert json.loads(outs[".json"].read_text("utf-8")) == found
    assert pl.read_csv(outs[".csv"]).height == len(found["pairs"])
    page = outs[".html"].read_text("utf-8")
    assert NO_SIZES in page and page.count("<svg ") >= 4 and "charts/" not in page


def test_own_runs_stand_beside_and_are_pooled(xstilts, tmp_path, monkeypatch):
    study = ROOT / "tests" / "golden" / "three_sizes.yaml"
    results = make_results(
        lambda encoder, recipe, target: 8.0 * (recipe == "mini-nli"), name="quickstart", encoders=SIZES,
        recipes=("none", "mini-nli"), targets={"mini-span": "span"}, languages=("en", "de"), examples=60)  # fmt: skip
    monkeypatch.setattr(cli_evidence, "gather", lambda plan, store: replace(results, study=load_study(study)))
    file = tmp_path / "mine.csv"
    file.write_text(
        COLUMNS.replace("value", "value,error")
        + "lee-2031,table 1,big,,,mini-nli,yes,mini-span,mean,f1,test,gain,4.0,1.0\n", "utf-8")  # fmt: skip
    status, text, error = xstilts("--published", str(file), "--target", "mini-span", "--own", str(study))
    assert status == 0, error
    assert re.search(r"bundled/e5-small@3 \(here\) +\+\d+\.\d .*◆", text)
    assert "over 4 gains, 3 of them here of 2 studies" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "tydiq"), r"--target tydiq: nothing is published of it here: did you mean 'tydiqa'\?"),
        (("--recipe", "flam"), r"--recipe flam: nothing is published of it here: did you mean 'flan'\?"),
        (("--size", "big"), r"--size big: from the least to the most parameters, as in 100M-1B"),
        (("--size", "1B-100M"), r"--size 1B-100M: from the least"),
        (("--out", "x.pdf"), r"--out x\.pdf: must end in \.html, \.csv or \.json"),
        (("--out", "no/such/x.csv"), r"--out no/such/x\.csv: cannot be written: No such file"),
        (("--out", "no/such/x.html"), r"no/such/x\.html: cannot be written: No such file"),
        (("--published", "no.csv"), r"no\.csv: no such file of published results"),
        (("--own", "no.yaml"), r"no\.yaml: no such"),
    ],
)
def test_what_is_wrong_is_told(xstilts, arguments, message):
    status, _, error = xstilts(*arguments)
    assert status == 1 and re.search(message, str(error)), "main() prints it in one line and ends with status 2"
