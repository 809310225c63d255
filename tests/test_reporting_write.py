import base64
import hashlib
import html
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from browser import BROWSER, Tab, browser
from synthetic import RECIPES, SIZES, gain_by_size, labelled, make_results, without
from xstilts.analysis.analyse import Analysis, analyse
from xstilts.analysis.answer import signed
from xstilts.analysis.axes import axes
from xstilts.analysis.results import SCORES_SCHEMA, Results
from xstilts.common.errors import UserError
from xstilts.encoders import describe, parse
from xstilts.engine.heads import InPython
from xstilts.handover.model_card import CardPython, model_card, opening
from xstilts.handover.usage import Usage
from xstilts.planning.data_ref import DataRef
from xstilts.reporting import write
from xstilts.reporting.charts import STRONGEST
from xstilts.reporting.drawing import COLOURS, HELPS_COLOUR, HURTS_COLOUR
from xstilts.reporting.table import latex, markdown, tex
from xstilts.reporting.tables import blocks_tables, gains_tables, scores_tables, sizes_table
from xstilts.reporting.write import write_report
from xstilts.tasks import builtin_catalog

GOLDEN = Path(__file__).parent / "golden" / "report.txt"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def results() -> Results:
    encoders = {**SIZES, "bundled/e5-small@6 random": SIZES["bundled/e5-small@6"]}
    return make_results(gain_by_size(20.0), encoders=encoders, examples=60, failures=["train x: out of memory"])


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(results, tmp_path_factory.mktemp("report") / "out")


class Page(HTMLParser):
    """Tags as (name, attributes), and ids; raises where a tag is closed that is not open."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def words(self) -> list[str]:
        """What stands in headings, paragraphs and lists, line by line; neither charts nor tables."""
        return [" ".join(text.split()) for text in "".join(self.texts).split("\n") if text.strip()]

    def handle_data(self, data: str) -> None:
        if not {"style", "script", "svg", "table", "pre", "details"} & set(self.open):
            self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> is not what is open"
        if tag in ("p", "li", "h1", "h2", "h3", "figcaption"):
            self.texts.append("\n")


def test_golden_report(results: Results, report: Path):
    """The page's text and its tables. Where a change is meant: XSTILTS_GOLDEN=write, and read the difference."""
    page = Page(report.read_text(encoding="utf-8"))
    tables = [
        (report.parent / "tables" / f"{name}.md").read_text(encoding="utf-8") for name in ("comparisons", "sizes")
    ]
    text = "\n\n".join(["\n".join(page.words()), *tables])
    if os.environ.get("XSTILTS_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_headings_tables_and_landmarks_are_in_order(report: Path):
    """What a screen reader goes by: one h1, no level left out, a caption and scopes for each table, named regions."""
    page = Page(report.read_text(encoding="utf-8"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption") and names.count("main") == names.count("nav") == 1
    assert all(attrs.get("scope") in ("col", "row", "colgroup") for tag, attrs in page.tags if tag == "th")
    assert all({"aria-label", "aria-labelledby"} & set(attrs) for tag, attrs in page.tags if tag in ("section", "nav"))
    assert all(attrs.get("aria-label") for _, attrs in page.tags if attrs.get("tabindex") == "0")
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs} <= ids
    first = next(attrs for tag, attrs in page.tags if tag == "a")
    assert first["class"] == "skip" and first["href"] == "#answer"


def test_colours_have_contrast():
    """WCAG 2.2: text 4.5:1 (1.4.3), what charts are drawn with 3:1 (1.4.11), in light, in dark and on paper."""
    css = (Path(write.__file__).parent / "style.css").read_text(encoding="utf-8")
    blocks = [dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r":root \{([^}]*)\}", css)]
    light, dark, paper = blocks
    for scheme in (light, dark, paper):
        for name in ("ink", "faint", "accent", "warn"):
            assert contrast(scheme[name], scheme["ground"]) >= 4.5 and contrast(scheme[name], scheme["raised"]) >= 4.5
    for ground in (light["ground"], dark["ground"]):
        assert all(contrast(colour, ground) >= 3 for colour in COLOURS)
    for scheme in (light, dark):
        for colour in (HELPS_COLOUR, HURTS_COLOUR):  # the number in the strongest cell of a heat map
            assert contrast(scheme["ink"], blended(colour, scheme["ground"], STRONGEST)) >= 4.5


def channels(colour: str) -> list[float]:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]


def blended(colour: str, ground: str, opacity: float) -> str:
    mixed = (opacity * a + (1 - opacity) * b for a, b in zip(channels(colour), channels(ground), strict=True))
    return "#" + "".join(f"{round(255 * value):02x}" for value in mixed)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_all_files_are_written(report: Path, results: Results):
    out = report.parent
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    named = ("scores", "paper", "gains", "comparisons", "sizes", "choices", "gaps")
    tables = {f"tables/{name}.{kind}" for name in named for kind in ("csv", "md", "tex")}
    tables |= {f"tables/{name}.csv" for name in ("stages", "data", "size-points", "size-lines")}
    names = {f"{kind}-{target}" for kind in ("gains", "size", "scores") for target in ("mini-qa", "mini-nli")}
    names |= {"overview", "gains", "forest-mini-nli", "choices", "curves-loss", "curves-dev"}
    names |= {"size-mini-qa-error", "size-mini-qa-logit"}
    charts = {f"charts/{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert written == {"report.html", "scores.parquet", "scores.csv"} | tables | charts
    assert pl.read_parquet(out / "scores.parquet").equals(results.scores)
    assert pl.read_csv(out / "scores.csv", schema=pl.Schema(SCORES_SCHEMA)).height == results.scores.height
    assert (
        pl.read_csv(out / "tables/gains.csv")["verdict"]
        .str.contains("helps|hurts|no effect|no evidence|above 0|below 0|holds 0|not judged")
        .all()
    )


def test_the_page_says_the_answer_first_and_holds_all_parts(report: Path, results: Results):
    text = report.read_text(encoding="utf-8")
    Page(text)
    answer = analyse(results).answer
    first = text.index(html.escape(answer.best[0], quote=False))
    assert first < text.index("<svg") < text.index('id="gains"') < text.index('id="costs"')
    for part in (answer.size[0], answer.controls, "train x: out of memory", "a1b2c3d4a1b2", "AVX-512", *answer.cannot):
        assert html.escape(part).replace("&#x27;", "&#39;") in text
    assert "recipes:\n- name: none\n- name: mini-squad\n  tasks:\n  - mini-squad\n" in text


def test_the_page_loads_nothing_and_ids_do_not_clash(report: Path):
    text = report.read_text(encoding="utf-8")
    page = Page(text)
    loading = [
        (tag, attrs)
        for tag, attrs in page.tags
        if tag in ("img", "iframe", "object", "embed", "source")
        or (tag == "script" and attrs)
        or (tag == "link" and attrs["href"] != "data:,")
    ]
    assert loading == []
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [attrs["content"] or "" for tag, attrs in page.tags if "http-equiv" in attrs]
    assert policy.startswith("default-src 'none';") and f"script-src 'sha256-{digest}'" in policy, (
        "no other script runs"
    )
    assert not re.search(r"@import|url\((?!#)", text)
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert all(not re.match(r"[a-z]+:|//", link or "") for link in links)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | {link[1:] for link in links if link and link.startswith("#")}
    assert used <= set(ids)
    assert all((report.parent / link).exists() for link in links if link and not link.startswith("#"))
    svgs = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(svgs) == 14 and all(attrs["role"] == "img" and attrs["aria-label"] for attrs in svgs)


def test_charts_are_readable_in_both_schemes_and_as_files(report: Path):
    text = report.read_text(encoding="utf-8")
    assert "#010203" not in text and "currentColor" in text
    for path in (report.parent / "charts").glob("*.svg"):
        svg = path.read_text(encoding="utf-8")
        ElementTree.fromstring(svg)
        assert 'fill="#ffffff"' in svg and "#000000" in svg and "#010203" not in svg
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_text_from_the_study_is_escaped(tmp_path: Path):
    """Studies have no such names, but outcomes may come from elsewhere."""
    results = make_results(
        name=EVIL, encoders={"evil-a": 1_000_000, "b": 2_000_000}, recipes=("none", "evil-b"),
        targets={"evil-c": "span"}, languages=("en", "de"), examples=10, failures=[EVIL], notes=[EVIL],
    )  # fmt: skip
    evil = pl.col(pl.String).str.replace_all("evil-", EVIL, literal=True)
    frames = ("scores", "outcomes", "curves", "stages", "data")
    results = replace(results, **{name: getattr(results, name).with_columns(evil) for name in frames})
    report = write_report(results, tmp_path / "out")
    text = report.read_text(encoding="utf-8")
    assert text.count("<script") == 1 and html.escape(EVIL) in text
    Page(text)
    assert all("/" not in path.stem and "<" not in path.stem for path in (tmp_path / "out" / "charts").iterdir())
    for path in (tmp_path / "out" / "charts").glob("*.svg"):
        ElementTree.fromstring(path.read_text(encoding="utf-8"))


def small(**options: object) -> Results:
    two = {name: SIZES[name] for name in list(SIZES)[1:]}
    return make_results(
        **{"examples": 10, "encoders": two, "targets": {"mini-qa": "span"}, "languages": ("en", "de", "ru"), **options}
    )


def test_many_caveats_are_folded_and_none_is_lost(tmp_path: Path):
    notes = [f"train {number}: collapsed" for number in range(30)]
    text = write_report(small(notes=notes), tmp_path / "out").read_text(encoding="utf-8")
    caveats = text[text.index('id="cannot"') :].partition("</section>")[0]
    unfolded, _, folded = caveats.partition("<details>")
    assert notes[0] in unfolded and notes[-1] in folded
    assert f"{folded.count('<li>')} more</summary>" in folded
    assert all(f"<li>{note}</li>" in caveats for note in notes)


@pytest.mark.parametrize(
    "broken",
    [
        small(recipes=()),
        small(recipes=("none",)),
        small(languages=("en",)),
        small(encoders={"one": 1_000_000}, seeds=(0,)),
        without(small(), recipe="mini-mnli", encoder="bundled/e5-small@6"),
        without(small(), recipe="none"),
    ],
    ids=["no scores", "baseline only", "English only", "one of each", "a cell is missing", "no baseline"],
)
def test_a_study_that_is_not_complete_has_a_report(broken: Results, tmp_path: Path):
    text = write_report(broken, tmp_path).read_text(encoding="utf-8")
    Page(text)
    assert analyse(broken).answer.best[0].split("`")[0].split("<")[0] in html.unescape(text)


def test_an_empty_study_has_a_report(tmp_path: Path):
    empty = make_results(recipes=())
    cleared = {name: getattr(empty, name).clear() for name in ("curves", "stages", "data")}
    text = write_report(Results(**{**vars(empty), **cleared, "versions": {}}), tmp_path).read_text(encoding="utf-8")
    Page(text)
    assert "No scores yet" in text


def test_an_interrupted_report_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipes = ("none", "mini-squad")
    write_report(small(recipes=recipes), tmp_path)
    (tmp_path / "notes.txt").write_text("the user's own")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "page", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_report(small(recipes=recipes, targets={"other": "span"}), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    write_report(small(recipes=recipes, targets={"other": "span"}), tmp_path)
    assert (tmp_path / "notes.txt").exists()
    assert {path.name for path in (tmp_path / "charts").glob("gains-*.svg")} == {"gains-other.svg"}
    assert not list(tmp_path.glob(".report-*"))


def test_a_place_that_cannot_be_written_is_the_users_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the report"):
        write_report(small(recipes=("none",)), tmp_path / "file" / "out")


def test_tables_for_papers():
    results = make_results(gain_by_size(20.0), examples=50, targets={"qa_100%": "span"})
    analysis = analyse(results)
    text = latex([*scores_tables(analysis), *gains_tables(analysis), sizes_table(analysis.sizes)])
    assert r"qa\_100\%" in text and "qa_100" not in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\end{table}") == 7
    assert re.search(r"\$\\mathbf\{\+\d+\.\d\}_\{\\pm \d+\.\d\}\$", text)
    assert r"\texttt{none}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(len(re.findall(r"(?<!\\)&", row)) in (3, 4, 5, 11) for row in rows)
    written = markdown(gains_tables(analysis))
    widths = {line.count("|") for line in written.splitlines() if line.startswith("|")}
    assert widths == {5}


def test_bold_stands_where_a_mean_helps_or_hurts_and_where_the_interval_of_a_language_excludes_0():
    analysis = analyse(make_results(gain_by_size(30.0), examples=100, seeds=(0, 1, 2)))
    means = analysis.gains.filter(pl.col("verdict").is_in(["helps", "hurts"]))
    languages = analysis.gains.filter(pl.col("verdict").is_in(["above 0", "below 0"]))
    assert set(means["language"]) == {"all non-English"} and languages.height
    assert ((languages["low"] > 0) | (languages["high"] < 0)).all()
    marked = means.height + languages.height
    for tables in (gains_tables(analysis), scores_tables(analysis)):
        assert markdown(tables).count("**") == 2 * marked
        assert all("not corrected" in table.caption for table in tables)


def test_tex_escapes_special_characters():
    assert (
        tex("a_b & 50% #1 {x} ~^ \\") == r"a\_b \& 50\% \#1 \{x\} \textasciitilde{}\textasciicircum{} \textbackslash{}"
    )


def card(recipe: str, encoder: str = "bundled/e5-small@6", target: str = "mini-qa", **given: Any) -> str:
    facts = describe(parse("bundled/e5-small@6"))
    python = CardPython(opening("AutoModelForQuestionAnswering", facts), InPython("given", "call", "answer"))
    usage, task = Usage("span", target, 384, 128, 64), builtin_catalog()["mini-span"]
    languages = given["scores"]["language"].unique()
    evaluated = {language: DataRef(task, "test", language, None, "1") for language in languages}
    return model_card(
        encoder=parse(encoder), recipe=recipe, usage=usage, evaluated=evaluated, python=python, facts=facts,
        intermediate=recipe == "mini-squad", **{"hyperparameters": {}, "data": [], "seed": 1, **given},
    )  # fmt: skip


def test_model_card():
    results = make_results(examples=20, languages=builtin_catalog()["mini-span"].languages)
    text = card(
        "mini-squad",
        hyperparameters={"learning_rate": 1e-4, "epochs": 3},
        data=results.data.filter(pl.col("use") == "train").to_dicts(),
        scores=results.scores,
    )
    _, front, body = text.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["base_model"] == "intfloat/multilingual-e5-small" and meta["license"] == "mit"
    assert meta["language"][:2] == ["en", "ar"] and len(meta["language"]) == 11
    assert meta["pipeline_tag"] == "question-answering"
    assert "AutoModelForQuestionAnswering.from_pretrained(folder)" in body
    assert (
        "| learning_rate | `0.0001` |" in body
        and "| mini-squad | train | en | train | 1000 | `a1b2c3d4a1b2c3d4` |" in body
    )
    own = results.scores.filter(
        pl.col("encoder") == "bundled/e5-small@6", pl.col("recipe") == "mini-squad", pl.col("target") == "mini-qa",
        pl.col("seed") == 1, pl.col("language") == "de", pl.col("main"),
    )  # fmt: skip
    assert f"| de | f1 | {own['value'][0]:.1f} | 20 | 1 |" in body
    assert "`intfloat/multilingual-e5-small`, first trained on the intermediate task `mini-squad`, then on the" in body
    assert "all training data are English" in body
    assert "Mean over 10 non-English languages (f1)" in body
    assert "not an XTREME score" in body and "cut from a larger pretrained encoder" in body


def test_the_card_of_a_model_with_labelled_data_of_other_languages_says_that_it_is_not_zero_shot():
    scores = make_results(examples=20).scores
    cards = [card("few", scores=scores, beyond_english=languages) for languages in ((), ("de", "sw"))]
    assert ["zero-shot" in yaml.safe_load(one.split("---\n")[1])["tags"] for one in cards] == [True, False]
    assert ["NOT zero-shot in de, sw" in one for one in cards] == [False, True]
    assert "without an intermediate task, then on the target" in cards[1]


def test_what_is_not_zero_shot_is_marked_wherever_its_scores_stand(tmp_path: Path):
    recipes = ["none", "mini-nli", "few"]
    results = labelled(make_results(recipes=recipes, gain=lambda _, recipe, __: {"few": 20.0}.get(recipe, 1.0)), "few")
    out = tmp_path / "out"
    write_report(results, out)
    for name in ("gains", "scores", "comparisons", "gaps"):
        text = (out / "tables" / f"{name}.md").read_text()
        assert "few ¶" in text and "none ¶" not in text and "mini-nli ¶" not in text
        assert "¶: NOT zero-shot, with labelled data in de." in text
        frame = pl.read_csv(out / "tables" / f"{name}.csv")
        assert set(frame.filter(pl.col("beyond_english") == "de")["recipe"]) == {"few"}
    assert "NOT zero-shot, with labelled data of other languages" in (out / "tables" / "paper.md").read_text()
    assert r"\P{}" in (out / "tables" / "paper.tex").read_text()
    page = (out / "report.html").read_text()
    assert "<strong>Not zero-shot</strong>" in page and "with labelled data in de, gains +" in page


def test_model_card_of_a_folder_names_no_base_model():
    text = card("none", encoder="/data/models/mine", target="xquad", seed=0, scores=make_results(recipes=()).scores)
    assert "base_model" not in text and "was not scored" in text


#: JavaScript: the table of comparisons, and its rows that are shown, as target, recipe and gain.
TABLE = "document.querySelector('#gains table')"
ROWS = (f"[...{TABLE}.tBodies[0].rows].filter(row => !row.hidden)"
        ".map(row => [0, 2, 4].map(i => row.cells[i].textContent))")  # fmt: skip


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if BROWSER is None:
        pytest.skip("chromium is not installed")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_tables_sort_and_filter(report: Path, tab: Tab):
    tab.open(report, width=1400)
    study = tab.evaluate(ROWS)
    orders = []
    for _ in range(3):
        tab.evaluate(f"{TABLE}.tHead.rows[0].cells[4].querySelector('button').click()")
        orders.append(tab.evaluate(ROWS))
    gains = [[float(gain.replace("−", "-")) for _, _, gain in order] for order in orders]
    assert gains[0] == sorted(gains[0], reverse=True) and gains[1] == sorted(gains[1])
    assert len(study) == 24 and orders[2] == study, "the third click gives the study's order back"
    tab.evaluate(
        "(() => { const input = document.querySelector('#gains .filter input'); input.value = 'SQUAD+MLM mini-qa';"
        " input.dispatchEvent(new Event('input')); })()"
    )
    assert tab.evaluate("document.querySelector('#gains .filter output').textContent") == "4 of 24 rows"
    assert {(target, recipe) for target, recipe, _ in tab.evaluate(ROWS)} == {("mini-qa", "mini-squad+mlm")}
    assert tab.requested() == [report.as_uri()] and tab.said() == []


def test_the_page_is_whole_without_its_script(report: Path, tab: Tab):
    words = "document.body.innerText.replace(/[↕\\u00a0\\s]+/g, ' ')"
    tab.open(report, width=1400)
    tab.evaluate("document.querySelectorAll('.filter').forEach(line => line.remove())")
    with_script = tab.evaluate(words)
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(report, width=1400)
    assert tab.evaluate("document.querySelectorAll('thead button, .filter').length") == 0
    without = tab.evaluate(words)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert with_script == without


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1000, False), (1400, False), (1400, True)])
def test_the_page_in_a_browser(report: Path, tab: Tab, width: int, dark: bool):
    """Nothing is fetched or logged, the page is as wide as the window, and the contents stay in sight."""
    tab.open(report, width=width, dark=dark)
    tab.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    page = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert page[0] <= page[1] <= width
    wider = "[...document.querySelectorAll('.box')].filter(box => box.scrollWidth > box.clientWidth + 1)"
    cut = tab.evaluate(f"{wider}.map(box => box.getAttribute('aria-label'))")
    assert cut == [] or width < 1400, "nothing is cut on the right"
    tab.evaluate("document.getElementById('costs').scrollIntoView()")
    top, bottom = tab.evaluate("(box => [box.top, box.bottom])(document.querySelector('nav').getBoundingClientRect())")
    assert top >= 0 and bottom <= 900
    covered = tab.evaluate("document.elementFromPoint(innerWidth / 2, document.querySelector('#costs-title')"
                           ".getBoundingClientRect().top + 5).id")  # fmt: skip
    assert covered == "costs-title", "a heading that was gone to is not below the contents"
    tab.evaluate("scrollTo(0, 0)")
    tab.press("Tab")
    name, left = tab.evaluate(
        "document.activeElement.className + ' ' + document.activeElement.getBoundingClientRect().left"
    ).split()
    assert name == "skip" and float(left) >= 0, "the first stop of the keyboard is the link past the header"
    assert tab.requested() == [report.as_uri()] and tab.said() == []


def test_a_mark_says_on_hover_what_it_is(report: Path, results: Results):
    """In the drawing itself, so that it works without the script, and in the files."""
    text = report.read_text(encoding="utf-8")
    gains = analyse(results).gains.filter(pl.col("language") == "de", pl.col("gain").is_not_null())
    for row in gains.head(5).to_dicts():
        assert f"<title>{row['encoder']}, {row['recipe']}, de: {signed(row['gain'])} [" in text
    svg = (report.parent / "charts" / "overview.svg").read_text(encoding="utf-8")
    assert svg.count("<title>") == 9 and "bundled/e5-small@12, mini-squad: " in svg


def test_the_page_prints(report: Path, tab: Tab, tmp_path: Path):
    tab.open(report, width=1400)
    tab.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.skipif("XSTILTS_AXE" not in os.environ, reason="XSTILTS_AXE names no axe.min.js of axe-core")
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(report: Path, tab: Tab, width: int, dark: bool):
    tab.open(report, width=width, dark=dark)
    tab.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert violations(tab) == []


def violations(tab: Tab) -> list[str]:
    """What axe-core says is wrong with the page that is open."""
    tab.evaluate(Path(os.environ["XSTILTS_AXE"]).read_text(encoding="utf-8"))
    run = "axe.run().then(all => all.violations.map(one => one.id + ': ' + one.nodes[0].html.slice(0, 200)))"
    found = tab.call("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)
    said: list[str] = found["result"]["value"]
    return said


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_tables_compile(tmp_path: Path):
    """In an article as LaTeX has it, every table stays within the line and the page."""
    results = make_results(
        gain_by_size(20.0),
        recipes=(*RECIPES, *(f"a_recipe-of_long name&{i}" for i in range(10))),
        targets={"qa_100%": "span", "nli": "classification"},
        languages=tuple(f"l{i}" for i in range(50)),
        examples=10,
    )
    out = write_report(results, tmp_path / "out", analyse(results, resamples=50)).parent
    tables = sorted(path.name for path in (out / "tables").glob("*.tex"))
    assert {"comparisons.tex", "gains.tex", "scores.tex", "sizes.tex"} <= set(tables)
    floats = "\n".join((out / "tables" / name).read_text(encoding="utf-8") for name in tables)
    text = floats.replace(r"\end{table}", r"\end{table}\clearpage")
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,adjustbox}\begin{document}" + text + r"\end{document}",
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):  # the second time labels are known
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert not re.findall("Overfull .*|Float too large.*|multiply.defined.*|undefined references", log)


def large() -> tuple[Results, Analysis]:
    """A study of 1,000,000 score rows, and an analysis as long as its own, of made-up numbers."""
    small = make_results(examples=10)
    analysis = analyse(small, resamples=20)
    names = {
        "encoder": [f"family{i % 3}/encoder@{i}" for i in range(5)],
        "recipe": ["none", *(f"recipe-{i}" for i in range(24))],
        "target": [f"target-{i}" for i in range(40)],
        "language": ["en", *(f"l{i}" for i in range(39))],
        "seed": list(range(5)),
    }
    cells = pl.DataFrame({"encoder": names["encoder"]})
    for name in ("recipe", "target", "language", "seed"):
        cells = cells.join(pl.DataFrame({name: names[name]}), how="cross")
    noise = pl.int_range(pl.len()).hash(0) % 1000 / 10

    def filled(rows: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
        """``rows`` with the columns they lack from the first row of ``like``."""
        return rows.join(like.head(1).drop(rows.columns, strict=False), how="cross").select(like.columns)

    scores = cells.with_columns(
        value=noise,
        format=pl.when(pl.col("target").str.ends_with("0")).then(pl.lit("span")).otherwise(pl.lit("classification")),
        parameters_without_embeddings=10_000_000 * (pl.col("encoder").str.slice(-1).cast(pl.Int64) + 1),
    )
    results = replace(small, scores=filled(scores, small.scores))
    means = cells.filter(pl.col("seed") == 0).drop("seed")
    pooled = means.with_columns(language=pl.lit("all non-English")).unique(maintain_order=True)
    means = pl.concat([means, pooled]).with_columns(value=noise, gain=noise - 50, verdict=pl.lit("helps"))
    means = means.with_columns(low=pl.col("value") - 2, high=pl.col("value") + 2)
    gains = means.filter(pl.col("recipe") != "none").with_columns(low=pl.col("gain") - 2, high=pl.col("gain") + 2)
    slopes = gains.filter(pl.col("language") == "all non-English").select("encoder", "recipe", "target", "low", "high")
    slopes = slopes.with_columns(family=pl.col("encoder").str.split("@").list.first(), slope=pl.col("low") + 2)
    return results, replace(
        analysis,
        axes=axes(results),
        scores=filled(means, analysis.scores),
        gains=filled(gains, analysis.gains),
        sizes=filled(slopes.drop("encoder"), analysis.sizes),
    )


@pytest.mark.soak
def test_a_million_scores_make_a_page_under_10_mb(tmp_path: Path):
    results, analysis = large()
    assert results.scores.height == 1_000_000
    page = write_report(results, tmp_path, analysis)
    assert page.stat().st_size < 10e6
    text = page.read_text(encoding="utf-8")
    Page(text)
    assert "Charts show the first 6 of 40 targets" in text and "Shown: the first" in text
    assert pl.scan_parquet(tmp_path / "scores.parquet").select(pl.len()).collect().item() == 1_000_000
    gains = pl.scan_csv(tmp_path / "tables" / "gains.csv").select(pl.len()).collect().item()
    assert gains == analysis.gains.height


def mined() -> Results:
    """A study of one mining target: two recipes and encoders of six blocks, each block scored."""
    results = make_results(
        gain_by_size(20.0), encoders={"bundled/e5-small@6": SIZES["bundled/e5-small@6"]}, targets={"bucc": "mining"}
    )
    chosen = results.scores.with_columns(metric=pl.lit("f1"), hidden_layer=pl.lit(4, pl.Int64), pooling=pl.lit("cls"))
    blocks = [
        chosen.with_columns(
            metric=pl.lit(f"f1@{n}"), main=pl.lit(False), hidden_layer=pl.lit(n, pl.Int64), value=pl.lit(10.0 * n)
        )
        for n in range(7)
    ]
    best = blocks[5].with_columns(metric=pl.lit("f1@dev"))
    return Results(**{**vars(results), "scores": pl.concat([chosen, best, *blocks])})


def test_a_retrieval_score_is_printed_with_its_block_pooling_and_margin(tmp_path: Path) -> None:
    results = mined()
    analysis = analyse(results, resamples=20)
    assert "(f1; block 4 of 6, cls pooling, ratio margin)" in markdown(scores_tables(analysis))
    (table,) = blocks_tables(analysis, results.scores)
    assert table.caption.startswith("bucc (f1; cls pooling, ratio margin), bundled/e5-small@6")
    rows = {row[0]: row[1] for row in table.rows}
    assert list(rows) == ["block 0", "block 1", "block 2", "block 3", "block 4 (scored)", "block 5", "block 6",
                          "best on dev (block 5)"]  # fmt: skip
    assert [number.text for number in rows.values()] == ["0.0", "10.0", "20.0", "30.0", "40.0", "50.0", "60.0", "50.0"]
    page = write_report(results, tmp_path, analysis).read_text(encoding="utf-8")
    Page(page)
    assert "best on dev (block 5)" in page and "best on dev" in (tmp_path / "tables" / "blocks.md").read_text()


def test_a_study_without_retrieval_has_no_tables_by_block(report: Path) -> None:
    assert "by block" not in report.read_text(encoding="utf-8")
    assert not list((report.parent / "tables").glob("blocks.*"))
