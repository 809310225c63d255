"""The schema for editors: what is right passes, what is misspelt does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from tiny import STUDY
from xstilts.cli import app as cli
from xstilts.planning.schema import study_schema
from xstilts.planning.study import SHIPPED

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = study_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


STUDIES = [*sorted(SHIPPED.glob("*.yaml")), ROOT / "tests" / "golden" / "study" / "all.yaml"]


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_studies_that_are_right_pass(file: Path, validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(yaml.safe_load(file.read_text("utf-8")))] == []


@pytest.mark.parametrize(
    "change",
    [
        {"recipes": ["none", None, {"task": "mini-nli", "mlm": 0.2}, {"merge": {"mini-nli": 1.0}, "name": "m"}]},
        {"recipes": [{"tasks": ["mini-nli", "mini-choice"], "sampling": "uniform", "training": {"lora": "none"}}]},
        {"encoders": [{"source": "bundled/e5-small", "layers": {"every": 2}}], "training": {"lora": {"rank": 4}}},
        {"targets": ["of-my-own", {"task": "mini-span", "training": {"epochs": 2}}], "average": {"seeds": True}},
    ],
)
def test_the_forms_that_a_study_may_use_pass(change: dict[str, Any], validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors({**STUDY, **change})] == []


@pytest.mark.parametrize(
    "change",
    [
        {"recipies": []},
        {"seeds": ["one"]},
        {"targets": [{"task": "mini-span", "langauges": ["sw"]}]},
        {"recipes": [{"task": "mini-nli", "training": {"learning_rat": 1e-4}}]},
        {"training": {"epochs": 0}},
        {"preset": "quik"},
    ],
)
def test_what_is_misspelt_does_not(change: dict[str, Any], validator: Draft202012Validator) -> None:
    assert not validator.is_valid({**STUDY, **change})


def test_the_command_writes_it() -> None:
    ended = CliRunner().invoke(cli.app, ["schema"])
    assert ended.exit_code == 0 and json.loads(ended.output) == study_schema()
