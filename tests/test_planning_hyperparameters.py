"""Hyper-parameters: one mapping in a study, in a plan what reads text and what optimises."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from xstilts.planning.hyperparameters import UNUSED, Hyperparameters, Lengths, Lora, Optimisation, Reading

REQUIRED: dict[str, Any] = {
    "epochs": 2, "batch_size": 8, "max_length": 64, "learning_rate": 1e-3, "warmup": 0.1, "weight_decay": 0.01
}  # fmt: skip


def test_each_is_of_reading_or_of_optimisation() -> None:
    assert not Reading.model_fields.keys() & Optimisation.model_fields.keys()
    assert Hyperparameters.model_fields.keys() == Reading.model_fields.keys() | Optimisation.model_fields.keys()


def test_the_two_hold_what_the_mapping_said() -> None:
    both = Hyperparameters(**REQUIRED, lora={"targets": ["value", "query"]}, memory="8GB", dev_selection="first500")
    both = both.on(lambda: "bf16")
    reading, optimisation = both.reading, both.optimisation
    assert type(reading) is Reading and type(optimisation) is Optimisation
    assert reading.model_dump() | optimisation.model_dump() == both.model_dump()
    assert optimisation.lora == Lora(targets=("query", "value")) and optimisation.memory == "8GB"
    assert reading.lengths == both.lengths == Lengths(64, 128, 64)


def test_what_is_not_used_is_not_in_the_key() -> None:
    both = Hyperparameters(**REQUIRED)
    assert both.key().keys() == Hyperparameters.model_fields.keys() - UNUSED.keys()
    used = Hyperparameters(**REQUIRED, processes=2, lora={})
    assert used.key() == both.key() | {"processes": 2, "lora": {"rank": 8, "alpha": 16, "targets": ()}}


@pytest.mark.parametrize("field", ["max_lenght", "learning_rat"])
def test_a_key_that_neither_knows_is_an_error(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Hyperparameters(**REQUIRED, **{field: 1})
