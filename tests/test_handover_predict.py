"""`xstilts predict`: files in and out as people have them, taken up again after a kill, never mixed with others."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from typer.testing import CliRunner

import xstilts
from tiny import HEADS, write_models
from xstilts.cli.app import app
from xstilts.common.errors import UserError
from xstilts.engine import inference
from xstilts.handover import exported, predict, tables, usage
from xstilts.handover.exported import Exported
from xstilts.handover.predict import Asked, predict_file
from xstilts.handover.usage import Usage
from xstilts.tasks.formats.tagging import words


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(models: Path) -> Exported:
    return exported.load(models / "span", precision="fp32")


def questions(count: int) -> list[dict[str, Any]]:
    names = ["anna", "berg", "carl", "dora", "emil", "fritz", "gina", "hans"]
    return [
        {"id": i, "question": f"who is {names[i % 8]}?", "context": " ".join(names[i % 5 : i % 5 + 2 + i % 3]), "n": i}
        for i in range(count)
    ]


def written(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    file = folder / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["predict", *map(str, words)])


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delimiter", "line_end", "mark", "first"),
    [(",", "\n", "", ""), (";", "\r\n", "\ufeff", ""), (";", "\r\n", "\ufeff", "sep=;\r\n"), ("\t", "\n", "", "")],
)
def test_a_spreadsheet_comes_back_as_it_was_with_a_column_more(
    delimiter: str, line_end: str, mark: str, first: str, models: Path, tmp_path: Path
) -> None:
    """A byte order mark, semicolons, CR LF, line breaks and quotes in cells, empty cells and rows."""
    rows = [["Nr", "question", "context", "Notiz"],
            ["01", 'who is "anna"?', f"anna berg\nlives here{delimiter} yes", "=1+1"],
            ["", "", "", ""],
            ["02", "who?", "berg", ""]]  # fmt: skip
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    (tmp_path / "in.csv").write_bytes((mark + first + text.getvalue()).encode())
    ended = run(models / "span", "--input", tmp_path / "in.csv", "--out", tmp_path / "out.csv", "--threshold", 0)
    assert ended.exit_code == 0, ended.output
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf") == bool(mark) and (b"\r\n" in raw) == (line_end == "\r\n")
    back = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), delimiter=delimiter))
    assert back[0] == [*rows[0], "prediction", "confidence"]
    assert [row[:4] for row in back[1:]] == [rows[1], rows[3]]
    assert all(row[4] and row[4] in row[2] for row in back[1:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("question,context\nwho?\n", r"in.csv:2: 1 column, not 2; quote texts that hold ','"),
        ('question,context\n"a\nb",c\nwho?,x,y\n', r"in.csv:4: 3 columns, not 2"),
        ('question,context\nwho?,"anna\n', r"in.csv:2: not valid CSV"),
        ("question,context,context\na,b,c\n", r"in.csv:1: column 'context' stands twice"),
        ("question,context,\na,b,c\n", r"in.csv:2: column 3 has no name"),
        ("question,contxt\na,b\n", r"in.csv:2: unknown field 'contxt'; did you mean 'context'"),
        ("question;context\nwho?;\n", r"in.csv:2: no 'context'"),
        ("question,context\nwho\xff?,b\n", r"in.csv:2: not UTF-8"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_by_line_before_anything_is_written(
    content: str, message: str, models: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        predict_file(
            exported.load(models / "span"), tables.read_records(tmp_path / "in.csv", ("question", "context")),
            Asked(), tmp_path / "out.csv",
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_lists_in_cells_are_json_and_so_are_tags(models: Path, tmp_path: Path) -> None:
    (tmp_path / "choices.csv").write_text('prompt;choices\na b;"[""c"", ""d e""]"\n')
    (one,) = xstilts.predict(models / "multiple_choice", tmp_path / "choices.csv")
    assert one["prediction"] in ("c", "d e")
    (tmp_path / "texts.csv").write_text("text\n(anna) berg\n")
    assert run(models / "tagging", "--input", tmp_path / "texts.csv", "--out", tmp_path / "out.csv").exit_code == 0
    (row,) = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert json.loads(row["tokens"]) == ["(", "anna", ")", "berg"] and len(json.loads(row["prediction"])) == 4
    (tmp_path / "bad.csv").write_text('prompt,choices\na,"[c, d]"\n')
    with pytest.raises(UserError, match=r"bad.csv:2: 'choices'"):
        xstilts.predict(models / "multiple_choice", tmp_path / "bad.csv")


def test_parquet_keeps_its_columns_and_types(models: Path, tmp_path: Path) -> None:
    frame = pl.DataFrame(questions(7)).with_columns(day=pl.date(2026, 12, 1), nothing=pl.lit(None, pl.Int64))
    frame.write_parquet(tmp_path / "in.parquet")
    assert run(models / "span", "--input", tmp_path / "in.parquet", "--out", tmp_path / "out.parquet").exit_code == 0
    back = pl.read_parquet(tmp_path / "out.parquet")
    assert back.select(frame.columns).drop("nothing").equals(frame.drop("nothing"))
    assert back.columns == [*frame.columns, "prediction", "confidence"] and back["confidence"].is_between(0, 1).all()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"bad.parquet: cannot be read as Parquet"):
        xstilts.predict(models / "span", tmp_path / "bad.parquet")


def test_a_pipe_is_read_as_standard_input_is(models: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    content = json.dumps(questions(1)[0])
    writer = threading.Thread(target=pipe.write_text, args=(content,))
    writer.start()
    through_a_pipe = run(models / "span", "--input", pipe)
    writer.join()
    ended = CliRunner().invoke(app, ["predict", str(models / "span"), "--input", "-"], input=content)
    assert through_a_pipe.exit_code == ended.exit_code == 0 and through_a_pipe.stdout == ended.stdout != ""


# -- going on -------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def killed_after(chunks: int) -> Any:
    heard = []

    def hear(done: int, of: int) -> None:
        heard.append(done)
        if len(heard) > chunks:
            raise Killed

    return hear


@pytest.fixture()
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "CHUNK", 8)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("torn", [0, 1, 30, 600])
def test_killed_and_started_again_it_gives_what_an_uninterrupted_run_gives(
    suffix: str, torn: int, model: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file that it goes on from was cut in a line, or in a chunk."""
    records = tables.read_records(written(tmp_path, questions(37)))
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    predict_file(model, records, Asked(), whole)
    with pytest.raises(Killed):
        predict_file(model, records, Asked(), out, killed_after(3))
    part = tmp_path / f"out.{suffix}.part"
    assert not out.exists() and len(part.read_bytes().split(b"\n")) == 1 + 24 + 1
    os.truncate(part, part.stat().st_size - torn)
    read: list[int] = []
    before = Exported.predict
    monkeypatch.setattr(
        Exported, "predict", lambda self, some, *rest: read.append(len(some)) or before(self, some, *rest)
    )
    predict_file(model, records, Asked(), out)
    assert sum(read) == 37 - 8 * (3 - (torn > 0) - (torn > 300))  # what was whole is not predicted again
    assert out.read_bytes() == whole.read_bytes() and not part.exists()


KILLS_ITSELF = """
import os, signal, sys
from pathlib import Path
from xstilts.handover import exported, predict, tables
predict.CHUNK = 8
heard = lambda done, of: os.kill(os.getpid(), signal.SIGKILL) if done > 15 else None
model, file, out = map(Path, sys.argv[1:])
predict.predict_file(exported.load(model, precision="fp32"), tables.read_records(file), predict.Asked(), out, heard)
"""


@pytest.mark.usefixtures("small")
def test_what_a_killed_process_left_is_gone_on_from(model: Exported, models: Path, tmp_path: Path) -> None:
    file, out = written(tmp_path, questions(37)), tmp_path / "out.csv"
    killed = subprocess.run([sys.executable, "-c", KILLS_ITSELF, models / "span", file, out], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists() and len((tmp_path / "out.csv.part").read_bytes().splitlines()) == 1 + 16
    predict_file(model, tables.read_records(file), Asked(), out)
    predict_file(model, tables.read_records(file), Asked(), tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.csv", "whole.csv"]


@pytest.mark.usefixtures("small")
def test_another_input_model_or_option_is_told_and_not_mixed(model: Exported, models: Path, tmp_path: Path) -> None:
    records, out = tables.given(questions(20)), tmp_path / "out.csv"
    with pytest.raises(Killed):
        predict_file(model, records, Asked(), out, killed_after(1))
    kept = (tmp_path / "out.csv.part").read_bytes()
    other = tables.given([*questions(19), {**questions(20)[19], "context": "emil"}])
    for changed, asked, what in (
        (other, Asked(), "input"),
        (records, Asked(threshold=0.2), "--threshold"),
        (records, Asked(n_best=3, batch_size=2), "--n-best and --batch-size"),
    ):
        with pytest.raises(UserError, match=rf"out.csv.part: begun with another {what}; remove it"):
            predict_file(model, changed, asked, out)
    used = usage.read(models / "span")
    assert used is not None
    usage.write(Usage(**{**used.__dict__, "max_length": 30}), models / "span")
    try:
        with pytest.raises(UserError, match="begun with another model"):
            predict_file(model, records, Asked(), out)
    finally:
        usage.write(used, models / "span")
    assert (tmp_path / "out.csv.part").read_bytes() == kept and not out.exists()
    predict_file(model, records, Asked(), out)
    with pytest.raises(UserError, match="exists already; remove it"):
        predict_file(model, records, Asked(), out)


@pytest.mark.usefixtures("small")
def test_two_at_a_time_do_not_write_one_file(model: Exported, tmp_path: Path) -> None:
    records, out = tables.given(questions(20)), tmp_path / "out.jsonl"

    def meanwhile(done: int, of: int) -> None:
        with pytest.raises(UserError, match="another process is writing it"):
            predict_file(model, records, Asked(), out)

    predict_file(model, records, Asked(), out, meanwhile)
    assert len(out.read_text().splitlines()) == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "x.txt"), "its ending says no layout"),
        (("--out", "/proc/x.csv"), "--out /proc/x.csv: cannot be written"),
        (("--threshold", "1.5"), "--threshold 1.5: must be from 0"),
        (("--device", "cuda:99"), "device cuda:99: cannot be used here"),
        (("--device", "spam"), "device spam: cannot be used here"),
        (("--task", "classification"), "no model for classification"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    words: tuple[str, ...], message: str, models: Path, tmp_path: Path
) -> None:
    ended = run(models / "span", "--input", written(tmp_path, questions(2)), *words)
    assert isinstance(ended.exception, UserError) and message in str(ended.exception)
    assert "\n" not in str(ended.exception)


def test_a_batch_that_memory_does_not_hold_is_told(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 TB")

    monkeypatch.setattr(inference, "predict", out_of_memory)
    with pytest.raises(UserError, match="a batch of 4,096 is more than cpu holds; give a smaller --batch-size"):
        xstilts.predict(models / "span", questions(2), batch_size=4096)


# -- what is predicted ----------------------------------------------------------------------------------------------


def test_batches_of_another_size_and_the_cpu_say_the_same(models: Path, tmp_path: Path) -> None:
    file = written(tmp_path, questions(30))
    by_tokens, by_rows = (
        xstilts.predict(models / "span", file, batch_size=size, device="cpu", threshold=0.0) for size in (None, 3)
    )
    assert [one["prediction"] for one in by_tokens] == [one["prediction"] for one in by_rows]


def test_lengths_are_those_that_it_was_trained_with(models: Path, tmp_path: Path) -> None:
    """The passage of 60 pieces is read in windows of 32, whose number the export says."""
    opened = exported.load(models / "span")
    record = {"question": "who?", "context": "a b c d e f g h i j " * 6}
    rows = opened.head.make_rows([opened.example(record, "x")], opened.task, opened.tokenizer, opened.usage.lengths,
                                 training=False)  # fmt: skip
    assert len(rows) > 2 and max(row.length for row in rows) == 32


def test_a_threshold_gives_fewer_answers_and_the_n_best_hold_no_answer(models: Path) -> None:
    asked = questions(40)
    by_threshold = {t: xstilts.predict(models / "span", asked, threshold=t) for t in (0.0, 0.3, 0.7, 1.0)}
    answered = [sum(bool(one["prediction"]) for one in by_threshold[t]) for t in (0.0, 0.3, 0.7, 1.0)]
    assert answered == sorted(answered, reverse=True) and answered[0] == 40 and answered[0] > answered[2]
    for one in by_threshold[0.3]:
        assert bool(one["prediction"]) == (one["confidence"] >= 0.3)
    for few, alone in zip(
        xstilts.predict(models / "span", asked, n_best=2, threshold=0.3), by_threshold[0.3], strict=True
    ):
        assert "" in [answer["text"] for answer in few["n_best"]]
        assert few["prediction"] == alone["prediction"]
    with pytest.raises(UserError, match="have learnt that there may be no answer"):
        xstilts.predict(models / "classification", [{"premise": "a"}], threshold=0.3)


def test_a_loaded_model_is_called_and_says_what_with(models: Path) -> None:
    answer = xstilts.load(models / "span")
    assert repr(answer).startswith("<span model for mine in ") and "(question, context)" in repr(answer)
    said = answer("who?", "anna berg", threshold=0.0)
    assert said and said in "anna berg" and answer(context="anna berg", question="who?", threshold=0.0) == said
    assert {one["text"] for one in answer("who?", "anna berg", n_best=9)} >= {"", said}
    label = xstilts.load(models / "classification")
    assert label("anna") in HEADS["classification"][1] and label("anna", "berg") in HEADS["classification"][1]
    assert xstilts.load(models / "multiple_choice")("a", ["b", "c"]) in ("b", "c")
    tag = xstilts.load(models / "tagging")
    assert tag("(anna) berg") == tag(["(", "anna", ")", "berg"]) and [token for token, _ in tag("a b")] == ["a", "b"]
    vectors = xstilts.load(models / "retrieval")(["anna", "anna berg"])
    assert vectors.shape == (2, 16) and abs((vectors**2).sum(1) - 1).max() < 1e-5
    assert abs(xstilts.load(models / "retrieval")("anna") - vectors[0]).max() < 1e-5
    with pytest.raises(UserError, match="the call: no 'context'; a record has question, context"):
        answer("who?")
    with pytest.raises(TypeError, match="at most 2 arguments: question, context"):
        answer("who?", "anna", "berg")


def test_a_folder_that_says_nothing_or_nonsense_of_its_use_is_told(models: Path, tmp_path: Path) -> None:
    said = (models / "span" / usage.FILE).read_text()
    for content, message in (
        ("{", r"xstilts.json: column 2: invalid JSON"),
        (said.replace("32", '"x"'), r"xstilts.json: max_length: input should be a valid integer"),
        (said.replace('"span"', '"spam"'), r"xstilts.json: format: 'spam' is none"),
    ):
        (tmp_path / usage.FILE).write_text(content)
        with pytest.raises(UserError, match=message):
            usage.read(tmp_path)
    (tmp_path / usage.FILE).unlink()
    for file in (models / "span").iterdir():
        if file.name != usage.FILE:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(UserError, match="does not say its format"):
        xstilts.load(tmp_path)
    assert xstilts.predict(tmp_path, questions(1), "span")[0].keys() == {*questions(1)[0], "prediction"}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("d'Uruguay: 3.14, (well-known)!", ["d'Uruguay", ":", "3.14", ",", "(", "well-known", ")", "!"]),
        ('"U.S." said...', ['"', "U.S", ".", '"', "said", ".", ".", "."]),
        ("廣達電腦（北京）2011年", ["廣", "達", "電", "腦", "（", "北", "京", "）", "2011", "年"]),
        ("ป็นเมือง", ["ป็", "น", "เ", "มื", "อ", "ง"]),
        ("می‌خواهم नमस्ते दुनिया।", ["می‌خواهم", "नमस्ते", "दुनिया", "।"]),
        (" \u3000\n", []),
    ],
)
def test_raw_text_is_split_as_the_page_says(text: str, tokens: list[str]) -> None:
    assert words(text) == tokens
    assert "".join(tokens) == "".join(text.split())
