"""`xstilts submission`: XTREME's files from a study, read again by the checker, and what is said of a partial one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from xstilts.cli.app import app
from xstilts.common.errors import UserError
from xstilts.data import load
from xstilts.handover import submission
from xstilts.handover.evaluate import evaluate
from xstilts.handover.export import CellFilter
from xstilts.handover.xtreme import BENCHMARKS
from xstilts.planning.data_ref import examples
from xstilts.planning.plan import Plan, Predict
from xstilts.planning.planner import make_plan
from xstilts.planning.records import TrainRecord
from xstilts.planning.study import make_study
from xstilts.store import Store
from xstilts.tasks import builtin_catalog
from xstilts.tasks.formats.mining import MiningExample
from xstilts.tasks.formats.span import SpanExample
from xstilts.tasks.formats.tagging import TaggingExample
from xtreme_data import SENTENCES, gold, labels, put, write

BY_NAME = {benchmark.name: benchmark for benchmark in BENCHMARKS}
TARGETS = ["xnli", "pawsx", "panx", "udpos", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba"]


def study(data: Path, **changes: Any) -> Plan:
    content: dict[str, Any] = {
        "name": "xtreme", "encoders": ["bundled/e5-small@1"], "recipes": ["none"], "targets": TARGETS, "seeds": [1],
        "data": str(data), "training": {"precision": "fp32"},
    }  # fmt: skip
    return make_plan(make_study({**content, **changes}))


def fill(plan: Plan, store: Store, dev: dict[str, float] | None = None) -> None:
    """Publish what a run would: models with a dev score by recipe (50 by default), and right predictions.

    A model of a recipe other than `none` says so in what it predicts for the first example of XNLI.
    """
    for cell in plan.cells:
        for key in (cell.intermediate, cell.training):
            if key and store.peek(key) is None:
                with store.publish(key) as (_, meta):
                    score = (dev or {}).get(cell.recipe_label, 50.0)
                    meta |= TrainRecord(dev=score, precision="fp32", best_step=1, steps=1, examples=1).to_json()
        spec = plan.stages[cell.predictions].spec
        assert isinstance(spec, Predict)
        frames = []
        for ref in spec.sets:
            own = examples(ref)
            right = dict(
                zip(
                    (e.id for e in examples(replace(ref, max_examples=None))),
                    gold(ref.task.name, ref.language),
                    strict=True,
                )
            )
            predicted = [right[example.id] for example in own]
            if cell.recipe != "none" and ref.task.name == "xnli":
                predicted[0] = "contradiction"
            frames.append(pl.DataFrame({"language": ref.language, "id": [e.id for e in own], "prediction": predicted}))
        if store.peek(cell.predictions) is None:
            with store.publish(cell.predictions) as (folder, _):
                pl.concat(frames).write_parquet(folder / "predictions.parquet")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, submission.Submission]:
    """A study of all nine tasks, and the folder that was written of it."""
    folder = tmp_path_factory.mktemp("whole")
    plan, store = study(data), Store(folder / "store")
    fill(plan, store)
    return plan, folder / "out", submission.write(plan, store, folder / "out", CellFilter())


def test_acceptance_14_all_tasks_in_all_languages_are_written_and_score_100(
    whole: tuple[Plan, Path, submission.Submission], tmp_path: Path
) -> None:
    _, out, done = whole
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {one.file(language) for one in BENCHMARKS for language in one.languages}
    assert {line.split(":")[0] for line in done.written} == set(BY_NAME)
    assert any(gap.startswith("xnli: 3 of 5,010 examples in ar bg") for gap in done.gaps)
    assert all(" examples in " in gap for gap in done.gaps)  # else, it is whole
    scores = evaluate(out, labels(tmp_path)).scores
    assert {task: scores[task]["avg_metric"] for task in BY_NAME} == dict.fromkeys(BY_NAME, 100.0)
    assert scores["all_task"] == scores["retrieval"] == scores["qa"] == 100.0


def test_a_whole_submission_is_said_to_be_whole(
    whole: tuple[Plan, Path, submission.Submission], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out, _ = whole
    monkeypatch.setattr("xstilts.tasks.task.Task.count", lambda self, split, language: None)
    assert submission.write(plan, Store(out.parent / "store"), tmp_path / "again", CellFilter()).gaps == ()


def test_test_sets_without_gold_are_planned_predicted_and_not_scored(
    whole: tuple[Plan, Path, submission.Submission],
) -> None:
    plan, _, _ = whole
    scored = {cell.target.task for cell in plan.cells if cell.score}
    assert scored == {"tatoeba"}  # its pairs are its gold
    assert {stage.kind for stage in plan.stages.values() if "xnli" in stage.label} == {"predict"}
    assert any(note.startswith("xnli: the test data has no gold labels in any language") for note in plan.notes)


def test_the_files_are_in_the_formats_that_evaluate_py_reads(whole: tuple[Plan, Path, submission.Submission]) -> None:
    _, out, _ = whole
    assert (out / "xnli/test-sw.tsv").read_text() == "neutral\ncontradiction\nentailment\n"
    assert (out / "udpos/test-th.tsv").read_text() == "DET\nNOUN\nVERB\n\nINTJ\n"
    assert json.loads((out / "tydiqa/test-te.json").read_text()) == {
        "tydiqa-te-0": "answer 0",
        "tydiqa-te-1": "answer 1",
    }
    assert (out / "bucc2018/test-fr.tsv").read_text() == "fr-test-0\ten-test-1\nfr-test-2\ten-test-0\n"
    # a line an English sentence in alphabetical order; numbers from 0 of the foreign lines, without brackets
    assert (out / "tatoeba/test-de.tsv").read_text() == "1\n3\n2\n0\n"


def test_trap_c7_labels_go_by_name_not_by_the_order_of_class_ids(
    whole: tuple[Plan, Path, submission.Submission],
) -> None:
    """jiant's XNLI order is contradiction, entailment, neutral, and PAWS-X writes "0" and "1"."""
    _, out, _ = whole
    assert set((out / "xnli/test-de.tsv").read_text().split()) == {"contradiction", "entailment", "neutral"}
    assert (out / "pawsx/test-de.tsv").read_text() == "1\n0\n1\n"
    assert evaluate_label_error(out / "xnli/test-de.tsv", "contradictory") == "did you mean 'contradiction'?"


def evaluate_label_error(path: Path, label: str) -> str:
    wrong = path.with_name("wrong.tsv")
    wrong.write_text(f"{label}\n")
    with pytest.raises(UserError) as error:
        submission.check(wrong, BY_NAME["xnli"], [])
    wrong.unlink()
    return str(error.value).split("; ")[-1]


def test_trap_c9_2_submission_keeps_label_and_token_of_truncated_words(tmp_path: Path) -> None:
    """The released writer put (label, token) for words behind the cut, so that tokens stood among the tags.

    Here long sentences are split and every token has a tag; a file with a token in a tag's place is refused.
    """
    from xstilts.encoders import Encoder
    from xstilts.encoders.load import load_tokenizer
    from xstilts.engine.heads import tagging
    from xstilts.planning.hyperparameters import Lengths

    task, words = builtin_catalog()["udpos"], tuple(f"word{i}" for i in range(90))
    example = TaggingExample("1", words, None)
    tokenizer = load_tokenizer(Encoder("bundled/e5-small"))
    rows = tagging.HEAD.make_rows([example], task, tokenizer, Lengths(32, 16, 16), training=False)
    assert len(rows) > 3
    reduced = [["NOUN"] * (len(row.window) - 1) for row in rows]
    (prediction,) = tagging.HEAD.assemble([example], rows, reduced, task)
    path = tmp_path / "test-en.tsv"
    path.write_text(submission._content(BY_NAME["udpos"], [example], [prediction]))
    submission.check(path, BY_NAME["udpos"], [example])
    assert path.read_text() == "NOUN\n" * 90

    path.write_text("NOUN\n" * 60 + "word60\n" * 30)
    with pytest.raises(UserError, match=r"test-en.tsv:61: 'word60' is no label of udpos"):
        submission.check(path, BY_NAME["udpos"], [example])
    path.write_text("NOUN\n" * 60)  # cut, as after the maximal length
    with pytest.raises(UserError, match=r"test-en.tsv:1: sentence 1 has 60 tags, not 90"):
        submission.check(path, BY_NAME["udpos"], [example])


def test_trap_c9_8_mined_pairs_of_a_test_set_without_gold_leave_as_a_file(tmp_path: Path) -> None:
    corpora = [
        MiningExample("de-000000001", "eins", False, None), MiningExample("de-000000002", "zwei", False, None),
        MiningExample("en-000000007", "one", True, None), MiningExample("en-000000008", "two", True, None),
    ]  # fmt: skip
    # by the chosen block, by the best on dev, by each block; "-" where nothing was found, and for English sentences
    predictions = ["en-000000008\ten-000000007\t-", "-\ten-000000007\t-", "-", "-"]
    path = tmp_path / "test-de.tsv"
    path.write_text(submission._content(BY_NAME["bucc2018"], corpora, predictions))
    assert path.read_text() == "de-000000001\ten-000000008\n"
    submission.check(path, BY_NAME["bucc2018"], corpora)
    path.write_text("de-000000001\ten-000000008\nen-000000007\tde-000000002\n")
    with pytest.raises(UserError, match=r"test-de.tsv:2: id 'en-000000007' is not in the corpus of its column"):
        submission.check(path, BY_NAME["bucc2018"], corpora)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("xnli/test-en.tsv", "entailment\n", "", r":2: 2 lines in the file, not 3"),
        ("xnli/test-en.tsv", "neutral", "2", r":1: '2' is no label of xnli"),
        ("tatoeba/test-en.tsv", "3\n", "[3]\n", r":2: '\[3\]': not a line number from 0"),
        ("tatoeba/test-en.tsv", "3\n", "4\n", r":2: no sentence 4 in the test set"),
        ("tatoeba/test-en.tsv", "3\n", "", r":3: 3 lines in the file, not 4"),
        ("panx/test-en.tsv", "B-LOC\n\n", "B-LOC\n", r":1: sentence 1 has 6 tags, not 4"),
        ("panx/test-en.tsv", "\n\nO\nO\n", "\n", r":1: 1 sentence in the file, not 2"),
        ("mlqa/test-en.json", "mlqa-en-1", "mlqa-en-7", r":3: the test set has no question 'mlqa-en-7'"),
        ("mlqa/test-en.json", ',\n "mlqa-en-1": "answer 1"', "", r":3: no answer to 1 question, the first 'mlqa-en-1'"),
    ],
)
def test_acceptance_14_the_checker_names_file_and_line(
    whole: tuple[Plan, Path, submission.Submission], tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    plan, out, _ = whole
    benchmark = BY_NAME[file.split("/")[0]]
    language = "de" if benchmark.name == "tatoeba" else "en"
    text = (out / benchmark.file(language)).read_text()
    assert old in text
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(text.replace(old, new, 1))
    sets = [stage.spec for stage in plan.stages.values() if isinstance(stage.spec, Predict)]
    refs = [ref for spec in sets for ref in spec.sets if ref.task.name == benchmark.task and ref.language == language]
    with pytest.raises(UserError, match=rf"{file}({message})"):
        submission.check(path, benchmark, examples(refs[0]))


def test_acceptance_2_the_number_of_tags_is_that_of_the_tokens(whole: tuple[Plan, Path, submission.Submission]) -> None:
    _, out, _ = whole
    for name, sentences in SENTENCES.items():
        for language in BY_NAME[name].languages:
            blocks = (out / name / f"test-{language}.tsv").read_text().split("\n\n")
            assert [len(block.split()) for block in blocks] == [len(tokens) for tokens in sentences]


# -- partial studies, and which model -------------------------------------------------------------------------------


def test_the_best_recipe_by_english_dev_score_is_taken(data: Path, tmp_path: Path) -> None:
    plan, store = study(data, recipes=["none", "pawsx"], targets=["xnli", "tatoeba"]), Store(tmp_path / "store")
    fill(plan, store, {"none": 40.0, "pawsx": 60.0})
    done = submission.write(plan, store, tmp_path / "best", CellFilter())
    assert done.written == ("xnli: bundled/e5-small@1, recipe pawsx, seed 1, English dev 60.0",)
    assert (tmp_path / "best/xnli/test-en.tsv").read_text().startswith("contradiction\n")
    # Nothing is trained on Tatoeba: no dev score says which recipe, and test data must not.
    (left_out,) = [gap for gap in done.gaps if gap.startswith("tatoeba: left out")]
    assert "--target tatoeba --encoder … --recipe …" in left_out

    added = submission.write(plan, store, tmp_path / "best", CellFilter(target="tatoeba", recipe="none"))
    assert len(added.written) == 1 and (tmp_path / "best/tatoeba/test-zh.tsv").is_file()
    submission.write(plan, store, tmp_path / "none", CellFilter(recipe="none"))
    assert (tmp_path / "none/xnli/test-en.tsv").read_text().startswith("neutral\n")
    with pytest.raises(UserError, match=r"best/xnli: exists already"):
        submission.write(plan, store, tmp_path / "best", CellFilter())
    with pytest.raises(UserError, match=r"--recipe paws: .*did you mean 'pawsx'"):
        submission.write(plan, store, tmp_path / "wrong", CellFilter(recipe="paws"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "none", "store"]


def test_a_partial_study_is_written_and_said_to_be_partial(data: Path, tmp_path: Path) -> None:
    targets = [{"task": "xquad", "languages": ["en", "de"], "max_examples": 1}, "mini-nli", "pawsx"]
    plan, store = study(data, targets=targets), Store(tmp_path / "store")
    fill_only = [cell for cell in plan.cells if cell.target.task == "xquad"]
    fill(replace(plan, cells=tuple(fill_only)), store)
    done = submission.write(plan, store, tmp_path / "out", CellFilter())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["xquad"]
    assert set(done.gaps) >= {
        "mini-nli: left out, XTREME has no such task",
        "pawsx: left out, its predictions are not in the store; `xstilts run` makes them",
        "xquad: 1 of 1,190 examples in de en",
        "xquad: no predictions in es el ru tr ar vi th zh hi",
        "xnli: no predictions",
    }
    assert len(json.loads((tmp_path / "out/xquad/test-de.json").read_text())) == 1


CAPS = {"xnli": 2, "pawsx": 2, "panx": 1, "udpos": 1, "xquad": 1, "mlqa": 1, "tydiqa": 1, "bucc": 2, "tatoeba": 2}


@pytest.fixture(scope="module")
def capped(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that predicts a part of each test set, rightly, and the labels of the whole."""
    folder = tmp_path_factory.mktemp("capped")
    plan, store = (
        study(data, targets=[{"task": task, "max_examples": n} for task, n in CAPS.items()]),
        Store(folder / "s"),
    )
    fill(plan, store)
    done = submission.write(plan, store, folder / "out", CellFilter())
    assert any(gap.startswith("xnli: 2 of 5,010 examples in") for gap in done.gaps)
    labels(folder / "labels")
    return folder


def test_submissions_of_capped_runs_are_scored_on_what_was_predicted_and_flagged(capped: Path) -> None:
    """Right predictions of some examples score 100, of whatever part of the test set they are; no mean has them."""
    found = evaluate(capped / "out", capped / "labels")
    assert {task: found.scores[task]["avg_metric"] for task in BY_NAME} == dict.fromkeys(BY_NAME, 100.0)
    assert set(found.capped) == set(BY_NAME) and found.scores.keys() == BY_NAME.keys()
    assert any(note.startswith("xnli: on 2 of 3 examples in ar bg") and "not XTREME" in note for note in found.notes)
    parts = json.loads((capped / "out/xnli/capped.json").read_text())
    assert any(part["examples"] != [0, 1] for part in parts.values())  # not the first ones alone
    told = CliRunner().invoke(app, ["score", str(capped / "out"), str(capped / "labels"), "--json"])
    assert set(json.loads(told.stdout)["capped"]) == set(BY_NAME)
    assert "xnli (capped)" in CliRunner().invoke(app, ["score", str(capped / "out"), str(capped / "labels")]).stdout


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("xnli/test-en.tsv", "n", "entailment\n"),
        ("udpos/test-en.tsv", "\n", "X\n"),
        ("tatoeba/test-de.tsv", "\n", "0\n"),
        ("xquad/test-en.json", "answer", "no"),
    ],
)
def test_wrong_predictions_of_a_capped_run_score_less(
    capped: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    copytree(capped / "out", tmp_path / "out")
    path = tmp_path / "out" / file
    if file.endswith("json"):
        path.write_text(path.read_text().replace(old, new))
    else:
        path.write_text(new * path.read_text().count("\n"))
    task, language = file.split("/")[0], file.split("-")[-1].split(".")[0]
    scores = evaluate(tmp_path / "out", capped / "labels").scores[task]
    (main,) = {"accuracy", "f1"} & scores.keys()
    assert scores[main][language] < 100 == scores[main]["fr" if task in ("xnli", "udpos", "tatoeba") else "es"]


def test_what_a_capped_run_predicted_must_fit_the_labels(capped: Path, tmp_path: Path) -> None:
    copytree(capped / "out", tmp_path / "out")
    file = tmp_path / "out/xnli/capped.json"
    for content, message in (
        ('{"ar": {"of": 4, "examples": [0, 1]}}', r"xnli/test-ar.tsv: 3 examples, not the 4 of capped.json"),
        ('{"ar": {"of": 3, "examples": [1, 0]}}', r"capped.json: ar: places that are not in order"),
        ('{"ar": {"of": 3, "examples": [0, 3]}}', r"capped.json: ar: places that are not in order from 0 to 2"),
        ('{"ar": {"of": "3", "examples": []}}', r"capped.json: ar.of: input should be a valid integer"),
        ('{"ar": 3', r"capped.json:1: "),
    ):
        file.write_text(content)
        with pytest.raises(UserError, match=message):
            evaluate(tmp_path / "out", capped / "labels", partial=True)


def test_models_that_are_not_trained_yet_are_counted(data: Path, tmp_path: Path) -> None:
    plan, store = study(data, seeds=[1, 2, 3], targets=["xnli"]), Store(tmp_path / "store")
    fill(replace(plan, cells=plan.cells[1:2]), store)
    done = submission.write(plan, store, tmp_path / "out", CellFilter())
    (line,) = done.written
    assert line == "xnli: bundled/e5-small@1, recipe none, seed 2, English dev 50.0; 2 of 3 models are not trained yet"


def test_dev_data_makes_no_submission(data: Path, tmp_path: Path) -> None:
    plan = study(data, targets=[{"task": "pawsx", "split": "dev", "languages": ["de"]}])
    with pytest.raises(UserError, match=r"nothing to write: pawsx: left out, the study predicts dev data"):
        submission.write(plan, Store(tmp_path / "store"), tmp_path / "out", CellFilter())
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_was_written_and_what_is_lacking(data: Path, tmp_path: Path) -> None:
    content = {"name": "x", "encoders": ["bundled/e5-small@1"], "recipes": ["none"], "targets": ["xnli"], "seeds": [1]}
    file = tmp_path / "x.yaml"
    file.write_text(json.dumps({**content, "data": str(data), "training": {"precision": "fp32"}}))
    fill(study(data, name="x", targets=["xnli"]), Store(tmp_path / "store"))
    words = ["submission", str(file), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines()[0].startswith("xnli: bundled/e5-small@1, recipe none, seed 1")
    assert told.stdout.splitlines()[-1].endswith("out: no whole XTREME submission, the notes say what it lacks")
    assert "note: panx: no predictions" in told.stderr


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["xquad", "udpos", "tatoeba"])
def test_right_predictions_on_public_test_sets_score_100(name: str, real_data: Path, tmp_path: Path) -> None:
    """Files written from gold, in languages of several scripts, against gold as the official files have it."""
    task, benchmark = builtin_catalog()[name], BY_NAME[name]
    for language in ("ar", "hi", "zh"):
        own = load(task, "test", language, real_data)
        match name:
            case "xquad":
                predictions = [example.answers[0].text for example in own if isinstance(example, SpanExample)]
                squad = (real_data / f"xquad/xquad.{language}.json").read_text()
                put(tmp_path / "labels", {benchmark.file(language): squad})
            case "udpos":
                predictions = [" ".join(example.tags or ()) for example in own if isinstance(example, TaggingExample)]
                lines = (real_data / f"udpos/test-{language}.tsv").read_text().split("\n")
                tags = "\n".join(line.split("\t")[-1] for line in lines)
                put(tmp_path / "labels", {benchmark.file(language): tags})
            case _:
                predictions = [f"{example.id} {example.id}" for example in own]
                code = {"ar": "ara", "hi": "hin", "zh": "cmn"}[language]
                english = (real_data / f"tatoeba/tatoeba.{code}-eng.eng").read_text().splitlines()
                order = sorted(range(len(english)), key=lambda i: english[i].strip())
                put(tmp_path / "labels", {benchmark.file(language): "".join(f"{i}\n" for i in order)})
        put(tmp_path / "out", {benchmark.file(language): submission._content(benchmark, own, predictions)})
        submission.check(tmp_path / "out" / benchmark.file(language), benchmark, own)
    scores = evaluate(tmp_path / "out", tmp_path / "labels", partial=True).scores
    assert scores[name]["avg_metric"] == 100.0
