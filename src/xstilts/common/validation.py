"""All that is wrong in what a user wrote, each in one line: what pydantic complains of, and what is found after it."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from xstilts.common.errors import UserError, did_you_mean
from xstilts.common.fast_yaml import Document, Location

Model = type[BaseModel]
M = TypeVar("M", bound=BaseModel)

#: So many mistakes of a file are told; who made more has made one of them often.
MOST_TOLD = 50

#: What pydantic says where text is wanted and something else is given.
_NO_TEXT = ("string_type", "path_type")


@dataclass(frozen=True)
class Problem:
    """``text``: the field, what is wrong, what to do. ``location``: the keys and indices that lead there."""

    text: str
    location: Location = ()


@dataclass
class Mistakes:
    """What is wrong in one input, as it is found.

    ``name`` is the file's, or what else the input is called; empty where each problem says where it is.
    """

    name: str = ""
    document: Document | None = None
    problems: list[Problem] = field(default_factory=list)

    def add(self, text: str, *location: str | int) -> None:
        self.problems.extend(Problem(line, location) for line in text.splitlines())

    @contextmanager
    def at(self, *location: str | int) -> Iterator[None]:
        """What a UserError says in this block is a problem of this place."""
        try:
            yield
        except UserError as error:
            self.add(str(error), *location)

    def lines(self) -> list[str]:
        """Each with the name and, where it is known, the line; by line."""
        told = {}
        for problem in self.problems:
            line = self.document.line(problem.location) if self.document else None
            where = f"{self.name}:{line}: " if line else f"{self.name}: " if self.name else ""
            told[f"{where}{problem.text}"] = line or 0
        lines = sorted(told, key=lambda line: told[line])
        more = len(lines) - MOST_TOLD
        if more <= 0:
            return lines
        return [*lines[:MOST_TOLD], f"{self.name or 'the study'}: {more} more mistakes, not told here"]

    def check(self) -> None:
        """Raises UserError where there are any: a line each."""
        if self.problems:
            raise UserError("\n".join(self.lines()))


def refuse(problems: Iterable[str]) -> None:
    """For validators that find several things at once: raises ValueError with a line each, if there are any."""
    if lines := list(problems):
        raise ValueError("\n".join(lines))


class Trial:
    """Content from which what is wrong is taken out, so that the rest is looked at too."""

    def __init__(self, content: Any, mistakes: Mistakes):
        self.content = _copy(content)
        self.mistakes = mistakes
        self._indices: dict[int, list[int]] = {}  # of a list that has lost items, by its id: where its items were

    def validated(
        self,
        model: type[M],
        stand_ins: Mapping[str, Any] | None = None,
        whole: str = "",
        absent: str = "missing; add it",
    ) -> M | None:
        """An instance of what is right; None where too little is left. What is wrong is added to the mistakes.

        ``stand_ins`` take the place of fields that must be there and are not, for the sake of the others.
        """
        told: list[Location] = [problem.location for problem in self.mistakes.problems]
        while True:
            try:
                return model.model_validate(self.content)
            except ValidationError as error:
                every = error.errors()
                found = problems(error, model, whole, absent, self.mistakes.document, self.original)
                own = [problem.location for problem in problems(error, model)]
            for problem in found:
                # What is taken out may be missed: that is no mistake of its own.
                if not any(_within(problem.location, one) or _within(one, problem.location) for one in told):
                    self.mistakes.problems.append(problem)
            told += [problem.location for problem in found]
            told += [self.original(each["loc"]) for each in every if each["type"] == "missing"]
            for location in sorted(set(own), key=lambda one: [(isinstance(part, int), part) for part in one])[::-1]:
                if not self._take_out(location, stand_ins or {}):
                    return None

    def original(self, location: Location) -> Location:
        """Where in the input is what is at ``location`` now."""
        at, found = self.content, []
        for part in location:
            found.append(self._indices.get(id(at), range(part + 1))[part] if isinstance(part, int) else part)
            at = at[part] if _has(at, part) else None
        return tuple(found)

    def _take_out(self, location: Location, stand_ins: Mapping[str, Any]) -> bool:
        """Remove what is there, or the nearest thing that should have it; False where that is everything."""
        if not location:
            return False
        at: Any = self.content
        for part in location[:-1]:
            if not _has(at, part):
                return self._take_out(location[:-1], stand_ins)
            at = at[part]
        last: Any = location[-1]
        if at is self.content and last in stand_ins and at.get(last) is not stand_ins[last]:
            at[last] = stand_ins[last]
        elif not _has(at, last):
            return self._take_out(location[:-1], stand_ins)
        elif isinstance(at, list):
            self._indices.setdefault(id(at), list(range(len(at)))).pop(last)
            at.pop(last)
        else:
            del at[last]
        return True


def problems(
    error: ValidationError,
    model: Model,
    whole: str = "",
    absent: str = "missing; add it",
    document: Document | None = None,
    original: Callable[[Location], Location] = tuple,
    within: Location = (),
) -> list[Problem]:
    """What pydantic complains of in input of a ``model``: field, what is wrong, what to do; each mistake once.

    ``whole`` names the input in complaints that are of no field, ``absent`` is said of a field that is not there.
    ``original`` maps a location to that of the input, which is ``within`` the ``document``.
    """
    complaints: dict[Location, list[tuple[Location, str, list[str]]]] = {}  # by field, or by union of types
    every = error.errors()
    unknown = [each["loc"] for each in every if each["type"] == "extra_forbidden"]
    for each in every:
        if each["type"] == "missing" and _is_mistyped(each["loc"], unknown):
            continue  # the typo is what helps
        if each["type"] == "too_short" and any(_below_it(one["loc"], each["loc"]) for one in every):
            continue  # only whole items count
        walked, owners, inner, union = _walk(model, each["loc"])
        path = tuple(walked)
        field, lines = _said(each, owners, inner, original(path), absent, document, within)
        name = field_path(field) or whole
        whole_union = path[:union] if union is not None else path
        complaints.setdefault(whole_union, []).append((path, f"{name}: " if name else "", lines))
    found = []
    for group in complaints.values():
        deepest = max(len(path) for path, _, _ in group)
        (path, name, lines), *others = [one for one in group if len(one[0]) == deepest]
        lines = [" or ".join(["\n".join(lines), *(line for *_, more in others for line in more)])] if others else lines
        found += [Problem(name + line, (*within, *original(path))) for line in lines]
    return found


def _said(
    problem: Any, owners: list[Any], inner: list[Any], path: Location, absent: str, document: Document | None,
    within: Location,
) -> tuple[Location, list[str]]:  # fmt: skip
    """The field, and what is wrong with it."""
    tags = [tag for each in inner for tag in _tags(each)]
    match problem["type"]:
        case "extra_forbidden":
            known = {name for each in owners if _is_model(each) for name in each.model_fields}
            return path, [f"unknown key: {did_you_mean(str(path[-1]), known)}"]
        case "missing":
            return path, [absent]
        case "union_tag_not_found":
            return (*path, _discriminator(problem)), [f"missing; add one of {', '.join(tags)}"]
        case "union_tag_invalid":
            tag = problem["ctx"]["tag"]
            return (*path, _discriminator(problem)), [f"unknown kind {tag!r}: {did_you_mean(tag, tags)}"]
        case "value_error":
            return path, str(problem["ctx"]["error"]).splitlines()
        case "model_type" | "model_attributes_type":
            return path, ["must be a mapping of keys to values"]
        case kind:
            wants_text = kind in _NO_TEXT or (kind == "literal_error" and isinstance(problem["input"], bool))
            if wants_text and document and (remedy := document.quoted((*within, *path))):
                return path, [remedy]
            given = (document and document.truth((*within, *path))) or shown(problem["input"])
            return path, [f"{problem['msg']} (given: {given})"]


def shown(value: Any) -> str:
    """A value in a message: short, and on one line."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple | set):
        return f"{len(value)} values"
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def field_path(location: Sequence[str | int]) -> str:
    """Keys and indices as one name, ``targets.0.task``; a key that would break the line is quoted."""
    return ".".join(part if part.isprintable() and len(part) < 80 else shown(part) for part in map(str, location))


def _walk(model: Model, location: tuple[int | str, ...]) -> tuple[list[int | str], list[Any], list[Any], int | None]:
    """What a location says to people, the types that its last part is of, those that it leads to, and where in it a
    choice of types was.

    Which of several types an input is tried as, pydantic says in the location, by its name or tag, which is no key.
    """
    path: list[int | str] = []
    owners: list[Any] = [model]
    at: list[Any] = [model]
    chosen, union = True, None
    for part in location:
        if part == "[key]":  # that a key itself is wrong
            continue
        if not chosen:
            tagged = [each for each in at if part in _tags(each)]
            at, chosen, union = tagged or at, True, None if tagged else len(path)
            continue
        path.append(part)
        owners = at
        at = [member for each in at for member in _below(each, part)]
        chosen = len(at) < 2
    return path, owners, at, union


def _below(annotation: Any, part: str | int) -> list[Any]:
    """The types that what is at ``part`` of a value of this type may have."""
    if _is_model(annotation):
        found = annotation.model_fields.get(part)
        return member_types(found.annotation) if found else []
    inner = [each for each in get_args(annotation) if each is not ...]
    if not inner or isinstance(annotation, types.UnionType):
        return []
    return member_types(inner[-1])


def member_types(annotation: Any) -> list[Any]:
    """The types of a union, but for None; a type by itself."""
    if get_origin(annotation) is Annotated:
        return member_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [each for one in get_args(annotation) if one is not types.NoneType for each in member_types(one)]
    return [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _tags(annotation: Any) -> tuple[Any, ...]:
    """The values by which one model is told from the others of a union: those of its ``kind``."""
    if not _is_model(annotation) or "kind" not in annotation.model_fields:
        return ()
    return get_args(annotation.model_fields["kind"].annotation)


def _discriminator(problem: Any) -> str:
    return str(problem["ctx"]["discriminator"]).strip("'")


def _is_mistyped(missing: tuple[int | str, ...], unknown: Iterable[tuple[int | str, ...]]) -> bool:
    """Whether what is missing is there under a name that is close to its own."""
    close = (str(each[-1]) for each in unknown if each[:-1] == missing[:-1])
    return bool(difflib.get_close_matches(str(missing[-1]), close, n=1))


def _below_it(location: Sequence[str | int], other: Sequence[str | int]) -> bool:
    return len(location) > len(other) and _within(tuple(location), tuple(other))


def _within(location: Location, other: Location) -> bool:
    return location[: len(other)] == other


def _has(content: Any, part: str | int) -> bool:
    if isinstance(content, list):
        return isinstance(part, int) and part < len(content)
    return isinstance(content, dict) and part in content


def _copy(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _copy(value) for key, value in content.items()}
    return [_copy(value) for value in content] if isinstance(content, list) else content
