"""What the pieces of a study file have in common."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from xstilts.common.validation import member_types

T = TypeVar("T")

#: Markup of terminals, HTML, LaTeX, Markdown and spreadsheets, all of which names end in.
_MARKUP = '<>[]{}\\|$^`"'


class Closed(BaseModel):
    """A piece of a file: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(Closed):
    """A piece of a study file."""

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1."""
        if isinstance(value, bool) and info.field_name:
            types = member_types(cls.model_fields[info.field_name].annotation)
            if (int in types or float in types) and bool not in types:
                raise PydanticCustomError("number_type", "must be a number")
        return value


def _plain(name: str) -> str:
    if not name or name != name.strip():
        raise ValueError(f"{name!r} is no name; give one, without spaces around it")
    if found := sorted({each for each in name if each in _MARKUP or not each.isprintable()}):
        shown = " ".join(each if each.isprintable() else repr(each)[1:-1] for each in found)
        raise ValueError(f"a name cannot have {shown} in it; leave it out")
    if name[0] in "=+-@~/.":
        raise ValueError(f"{name[:40]!r}: a name begins with a letter or a digit")
    if len(name) > 100:
        raise ValueError(f"{len(name)} characters; a `name` has at most 100")
    return name


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ValueError(f"{twice[0]} is listed twice; remove one")
    return values


#: What tables, charts and files call something.
Name = Annotated[str, AfterValidator(_plain)]

#: Languages of a task that a part is limited to.
Languages = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_each_once)]
