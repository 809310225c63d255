import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from synthetic import make_results, with_recipes
from test_reporting_write import EVIL, Page
from xstilts.analysis.analyse import analyse
from xstilts.analysis.beside import evidence_beside
from xstilts.analysis.evidence import Assessment, assess
from xstilts.analysis.matched import Matched
from xstilts.analysis.published import Literature, Publication, Result, load_published
from xstilts.reporting.evidence import evidence_tables, section
from xstilts.reporting.table import latex, markdown
from xstilts.reporting.write import write_evidence, write_report
from xstilts.tasks import builtin_catalog

CATALOG = builtin_catalog()


@pytest.fixture(scope="module")
def found() -> Assessment:
    return assess(load_published(), CATALOG, targets=["tydiqa", "xnli"])


def test_the_page_is_sound_and_says_all(found, tmp_path):
    path = write_evidence(found, tmp_path / "evidence.html", "TyDiQA and XNLI")
    text = path.read_text("utf-8")
    page = Page(text)
    words = "\n".join(page.words())
    for said in ("flan → TyDiQA-GoldP, few-shot, exact match; not known to be English only", "Pooled: +17.3",
                 "no verdict on size", "Copies that differ", "What limits it", "results of "):  # fmt: skip
        assert said in words
    assert text.count("<svg ") == len([*section(found).charts]) >= 9
    links = [attributes["href"] or "" for name, attributes in page.tags if name == "a"]
    assert all(link.startswith(("#", "https://")) for link in links), "one file, that works from disk"


def test_charts_are_drawn_with_what_they_show(found):
    charts = {chart.title: chart for chart in section(found).charts}
    flan = next(chart for title, chart in charts.items() if title.startswith("flan →"))
    ElementTree.fromstring(flan.svg)
    for shown in ("PaLM 8B (chung-2022)", "PaLM 540B (Table 3)", "pooled", "expected of a further encoder"):
        assert shown in flan.svg
    bubbles = charts["Gains against the size of the encoder, and against its score without intermediate training"]
    assert "parameters of the encoder" in bubbles.svg and "score without, points" in bubbles.svg
    assert bubbles.note.startswith("Shown are 6 of ")


def test_tables_are_complete_in_every_form(found):
    tables = evidence_tables(found)
    assert set(tables) == {"published", "pooled", "published-sizes", "bias", "flow"}
    for frame, table in tables.values():
        assert len(table.rows) == frame.height
        assert markdown([table]).count("\n| ") >= frame.height and "\\begin{tabular}" in latex([table])


def test_what_a_users_file_says_is_escaped(tmp_path):
    given = {"publication": EVIL, "source": EVIL, "encoder": EVIL, "target": "xnli", "language": "mean", "metric": EVIL,
             "split": "test", "quantity": "score", "use": "show", "reason": EVIL, "result": EVIL}  # fmt: skip
    rows = [Result.model_validate({**given, "recipe": recipe, "value": value, "protocol": protocol})
            for recipe, value, protocol in (("none", 50.0, "a"), (EVIL, 60.0, "a"), ("none", 51.0, "b"))]  # fmt: skip
    publication = Publication(authors=(EVIL,), title=EVIL, url="javascript:alert(1)", note=EVIL)
    literature = Literature(tuple(rows), {EVIL: publication}, {}, ("xquad",))
    text = write_evidence(assess(literature, CATALOG), tmp_path / "e.html", EVIL).read_text("utf-8")
    assert "alert(1)" in text and EVIL not in text
    assert not [tag for tag in Page(text).tags if "javascript:" in str(tag)], "no link to it"


def test_an_empty_question_has_a_page(found, tmp_path):
    nothing = assess(load_published(), CATALOG, targets=["xquad"], recipe="hellaswag", sizes=(1.0, 2.0))
    text = write_evidence(nothing, tmp_path / "e.html", "XQuAD").read_text("utf-8")
    Page(text)
    assert "0 results of 0 publications." in text and "<svg " not in text
    assert not [*section(replace(found, pairs=found.pairs.clear(), pooled=found.pooled.clear())).charts]


def test_a_report_has_the_section_beside_its_own_runs(tmp_path):
    results = make_results(
        lambda encoder, recipe, target: 8.0 * (recipe == "squad"), recipes=("none", "squad"),
        targets={"tydiqa": "span"}, languages=("en", "fi"), seeds=(1, 2), examples=50)  # fmt: skip
    results = with_recipes(results, ["none", {"name": "squad", "tasks": ["squad"]}])
    analysis = analyse(results, resamples=50)
    found = evidence_beside(load_published(), Matched(results, analysis, CATALOG, None))
    assert found is not None and found.pairs.filter("own")["recipe"].to_list() == ["best"] * 3
    text = write_report(results, tmp_path / "out", analysis, published=found).read_text("utf-8")
    page = Page(text)
    assert 'id="published"' in text and "No published study was found" in "\n".join(page.words())
    links = {attributes["href"] for name, attributes in page.tags if name == "a"}
    for link in links:
        if link and not link.startswith(("#", "https://")):
            assert (tmp_path / "out" / link).exists(), link
    assert {"tables/published.csv", "charts/published-gains.svg"} <= links
    assert "gains, 3 of them here of 2 studies" in text, "X-STILTs' best and the one chosen here"


def test_a_study_whose_targets_nobody_published_has_no_section():
    results = make_results(recipes=("none", "mini-mnli"), examples=20)
    assert evidence_beside(load_published(), Matched(results, analyse(results, resamples=50), CATALOG, None)) is None
