"""Pydantic's complaints, each as one line that names the field and the remedy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from xstilts.common.validation import problems


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Circle(Part):
    kind: Literal["circle"]
    radius: float = 1.0


class Square(Part):
    kind: Literal["square", "rhombus"]
    side: float = Field(1.0, gt=0)


class Frame(Part):
    colour: str = "black"

    @field_validator("colour")
    @classmethod
    def _a_colour(cls, value: str) -> str:
        if value == "loud":
            raise ValueError("`loud` is no colour")
        return value


class Picture(Part):
    title: str
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="kind")], ...] = ()
    frame: Frame | None = None
    main: Circle | Square | None = Field(None, discriminator="kind")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({}, "title: missing; add it"),
        ({"titel": "a"}, "titel: unknown key: did you mean 'title'?"),
        ({"title": 3}, "title: Input should be a valid string (given: 3)"),
        ({"title": "a", "frame": {"color": "red"}}, "frame.color: unknown key: did you mean 'colour'?"),
        ({"title": "a", "frame": {"colour": "loud"}}, "frame.colour: `loud` is no colour"),
        ({"title": "a", "frame": 3}, "frame: must be a mapping of keys to values"),
        ({"title": "a", "main": {"kind": "square", "sied": 1}}, "main.sied: unknown key: did you mean 'side'?"),
        ({"title": "a", "main": {"kind": "rhombus", "side": 0}},
         "main.side: Input should be greater than 0 (given: 0)"),
        ({"title": "a", "main": {}}, "main.kind: missing; add one of circle, square, rhombus"),
        ({"title": "a", "main": {"kind": "cirle"}}, "main.kind: unknown kind 'cirle': did you mean 'circle'?"),
        ({"title": "a", "shapes": [{"kind": "circle", "size": 1}]}, "shapes.0.size: unknown key: known: kind, radius"),
        ({"title": "a", "shapes": [{"kind": "circle"}, {"kind": "dot"}]}, "shapes.1.kind: unknown kind 'dot': known: "
         "circle, rhombus, square"),
        ({"title": "a", "a\nb": 1}, "'a\\nb': unknown key: known: frame, main, shapes, title"),
        (3, "picture: must be a mapping of keys to values"),
    ],
)  # fmt: skip
def test_a_problem_is_told_in_one_line(content: Any, line: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Picture.model_validate(content)
    assert [one.text for one in problems(raised.value, Picture, "picture")] == [line]


def test_how_it_is_said_that_a_field_is_not_there() -> None:
    with pytest.raises(ValidationError) as raised:
        Picture.model_validate({})
    (one,) = problems(raised.value, Picture, absent="Field required")
    assert one.text == "title: Field required"
