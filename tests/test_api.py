"""What Python users call: each function takes a study file, its content or a Study, on a study that is run once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import xstilts
from tiny import MIX, Inline, write
from xstilts.common.errors import UserError
from xstilts.running.run import execute


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    table = xstilts.run(MIX, store=store, workers=1)
    assert set(table["language"]) == {"en", "sw"} and set(table["recipe"]) == {"none"}
    return store


@pytest.mark.parametrize("kind", ["path", "text", "mapping", "study"])
def test_a_study_is_a_path_a_mapping_or_a_study(kind: str, store: Path, tmp_path: Path) -> None:
    file = write(tmp_path, targets=MIX["targets"], recipes=MIX["recipes"])
    study = {"path": file, "text": str(file), "mapping": MIX, "study": xstilts.load_study(file)}[kind]
    planned = xstilts.plan(study)
    assert {stage.kind for stage in planned.stages.values()} >= {"train", "score"} and not planned.missing(
        xstilts.api.open_store(store)
    )
    table = xstilts.scores(study, store, language="sw", metric="f1")
    assert table["language"].unique().to_list() == ["sw"] and table["metric"].unique().to_list() == ["f1"]
    assert xstilts.run(study, store).equals(xstilts.scores(study, store))
    report = xstilts.report(study, tmp_path / "report", store)
    assert report.page == tmp_path / "report" / "report.html" and Path(report).is_file()
    assert "Basis: 1 seed" in report.answer and str(report) == str(report.page)
    draft = xstilts.paper(study, tmp_path / "draft", store)
    assert draft == tmp_path / "draft" / "paper.md" and draft.is_file()
    with pytest.raises(UserError, match="mean: 'al': did you mean 'all'"):
        xstilts.paper(study, tmp_path / "other", store, mean="al")


def test_what_there_is_shows_itself_in_a_notebook(store: Path, tmp_path: Path) -> None:
    shown = xstilts.plan(MIX)._repr_html_()
    assert "Plan of tiny: 3 stages (1 train, 1 predict, 1 score)" in shown and ">mini-span<" in shown
    value = xstilts.scores(MIX, store).filter("main")["value"].mean()
    assert (
        f'<th scope="row">bundled/e5-small@1: none</th><td>{value:.1f}</td>'
        in xstilts.results(MIX, store)._repr_html_()
    )
    page = xstilts.report(MIX, tmp_path / "a & b", store)
    assert (
        f'<a href="{tmp_path}/a &amp; b/report.html">' in page._repr_html_()
        and "<p>Basis: 1 seed" in page._repr_html_()
    )


@pytest.mark.parametrize("by", ["file", "stdin"])
def test_a_script_without_a_main_guard_runs_a_study_once(by: str, tmp_path: Path) -> None:
    """Workers do not import it, which would begin another run in each of them."""
    study = {**MIX, "targets": [{"task": "mini-retrieval", "max_examples": 4, "languages": ["sw"]}]}
    text = f"import xstilts\nprint('begun')\nprint(xstilts.run({study!r}, store='store', workers=2).height)\n"
    script = tmp_path / "script.py"
    script.write_text(text, "utf-8")
    words = [sys.executable, *([script.name] if by == "file" else [])]
    done = subprocess.run(
        words, input=text if by == "stdin" else None, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    begun, rows = done.stdout.split()
    assert (done.returncode, begun) == (0, "begun") and int(rows) > 0, done.stderr


def test_a_model_is_exported_and_used(store: Path, tmp_path: Path) -> None:
    folder = xstilts.export(MIX, tmp_path / "model", store=store, recipe="none", seed=1)
    record = {"question": "Where does she live?", "context": "She lives in Nairobi."}
    (by_format,) = xstilts.predict(folder, [record], "span")
    (by_task,) = xstilts.predict(str(folder), [record], "xquad", n_best=2)
    assert by_format.keys() == {*record, "prediction"} and by_format["prediction"] in record["context"]
    assert len(by_task["n_best"]) == 2
    with pytest.raises(UserError, match="neither a format nor a task: did you mean 'span'"):
        xstilts.predict(folder, [record], "spam")
    with pytest.raises(UserError, match="no predictions to give"):
        xstilts.predict(folder, [record], "tatoeba")
    with pytest.raises(UserError, match="for span models only"):
        xstilts.predict(folder, [record], "xnli", n_best=2)
    with pytest.raises(UserError, match="the study trains no such model"):
        xstilts.export(MIX, tmp_path / "other", store=store, recipe="mini-nli")


def test_a_model_that_has_learnt_of_unanswerable_questions_may_give_no_answer(tmp_path: Path) -> None:
    study = {**MIX, "targets": [{"task": "mini-span-unanswerable", "max_examples": 2, "languages": ["en"]}]}
    store = xstilts.api.open_store(tmp_path / "store")
    assert execute(xstilts.plan(study), store, make=lambda: Inline(store)) == {}
    folder = xstilts.export(study, tmp_path / "model", store=store.url)
    record = {"question": "Where does she live?", "context": "She lives in Nairobi."}
    # Let the model think what its first token, CLS, is likest to: all vectors are of about one length.
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(*record.values(), return_tensors="pt")
    with torch.no_grad():
        model.qa_outputs.weight[:] = model.base_model(**inputs).last_hidden_state[0, 0]
    model.save_pretrained(folder)
    (said,) = xstilts.predict(folder, [record])
    assert said == {**record, "prediction": "", "confidence": said["confidence"]} and said["confidence"] < 0.5
    (pressed,) = xstilts.predict(folder, [record], threshold=0.0)
    assert pressed["prediction"] and pressed["prediction"] in record["context"]
    (listed,) = xstilts.predict(folder, [record], "span", n_best=3)
    assert listed["prediction"] == listed["n_best"][0]["text"] == "" and listed["n_best"][1]["text"]
    (folder / "xstilts.json").unlink()  # as of a model that is another's, and has learnt of none
    assert xstilts.predict(folder, [record], "span")[0]["prediction"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "x"}, "study: encoders: missing; add it"),
        ({**MIX, "recipies": []}, "study: recipies: unknown key: did you mean 'recipes'?"),
        ({**MIX, "targets": ["mini-spam"]}, "study: targets: unknown task 'mini-spam': did you mean 'mini-span'?"),
    ],
)
def test_a_mapping_is_checked_as_a_file_is(content: Mapping[str, Any], message: str) -> None:
    for function in (xstilts.plan, xstilts.run, xstilts.scores, xstilts.report):
        with pytest.raises(UserError) as raised:
            function(content)
        assert message in str(raised.value)


def test_there_are_no_scores_before_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the store holds no scores of it yet"):
        xstilts.scores(MIX, tmp_path)


def test_functions_stay_functions_whatever_is_imported_and_torch_waits_until_it_is_needed() -> None:
    program = (
        "import sys, pkgutil, importlib, xstilts; assert not {'torch', 'transformers'} & sys.modules.keys();"
        "names = [one.name for one in pkgutil.walk_packages(xstilts.__path__, 'xstilts.')"
        " if not one.name.endswith('__main__') and 'fast_translate_lines' not in one.name];"
        "[importlib.import_module(name) for name in names];"
        "assert all(callable(getattr(xstilts, name)) for name in xstilts.__all__ if name != '__version__'); "
        "print(len(names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) > 100, done.stderr
