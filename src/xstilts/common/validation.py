"""What pydantic complains of, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from xstilts.common.errors import did_you_mean

Model = type[BaseModel]


def first_problem(error: ValidationError, model: Model, whole: str = "", absent: str = "missing; add it") -> str:
    """The first complaint about input of a ``model`` as one line: field, what is wrong, what to do.

    ``whole`` names the input in complaints that are of no field, ``absent`` is said of a field that is not there.
    """
    problems = error.errors()
    # A mistyped key is also a missing one: the typo is what helps.
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    path, owners, inner = _walk(model, problem["loc"])
    field = field_path(path) or whole
    tags = [tag for each in inner for tag in _tags(each)]
    match problem["type"]:
        case "extra_forbidden":
            message = f"unknown key: {did_you_mean(path[-1], {name for each in owners for name in each.model_fields})}"
        case "missing":
            message = absent
        case "union_tag_not_found":
            field, message = f"{field}.{_discriminator(problem)}", f"missing; add one of {', '.join(tags)}"
        case "union_tag_invalid":
            tag = problem["ctx"]["tag"]
            field = f"{field}.{_discriminator(problem)}"
            message = f"unknown kind {tag!r}: {did_you_mean(tag, tags)}"
        case "value_error":
            message = str(problem["ctx"]["error"])
        case "model_type" | "model_attributes_type":
            message = "must be a mapping of keys to values"
        case _:
            message = f"{problem['msg']} (given: {problem['input']!r})"
    return f"{field}: {message}" if field else message


def field_path(location: list[str]) -> str:
    """Keys and indices as one name, ``targets.0.task``; a key that would break the line is quoted."""
    return ".".join(part if part.isprintable() else repr(part) for part in location)


def _walk(model: Model, location: tuple[int | str, ...]) -> tuple[list[str], list[Model], list[Model]]:
    """What a location says to people, the models that its last part is a key of, and those that it leads to.

    Which of several models an input is of, pydantic says in the location by the tag of that one, which is no key.
    """
    path: list[str] = []
    owners = inner = [model]
    for part in location:
        tagged = [each for each in inner if len(inner) > 1 and part in _tags(each)]
        if tagged:
            inner = tagged
            continue
        path.append(str(part))
        owners = inner
        fields = [each.model_fields[part] for each in inner if isinstance(part, str) and part in each.model_fields]
        inner = [each for field in fields for each in _models(field.annotation)] or inner
    return path, owners, inner


def _models(annotation: Any) -> Iterator[Model]:
    """The models in a type such as ``tuple[Model, ...]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _tags(model: Model) -> tuple[Any, ...]:
    """The values by which one model is told from the others of a union: those of its ``kind``."""
    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _discriminator(problem: Any) -> str:
    return str(problem["ctx"]["discriminator"]).strip("'")
