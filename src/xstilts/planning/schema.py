"""The JSON schema of a study file, by which editors complete and check it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xstilts.planning.hyperparameters import Hyperparameters
from xstilts.planning.recipe import NONE
from xstilts.planning.study import Study, presets
from xstilts.tasks import builtin_catalog


def study_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what a study file may say, with its short forms and the names that there are.

    It is looser than `load_study`, which also knows what goes together.
    """
    schema = Study.model_json_schema()
    parts, pieces = schema["properties"], schema["$defs"]
    tasks = sorted(task.name for task in builtin_catalog())
    pieces["Training"] = {
        "type": "object",
        "properties": _hyperparameters(pieces),
        "additionalProperties": False,
        "description": parts["training"]["description"],
    }
    for piece in (schema, *pieces.values()):
        if "training" in piece.get("properties", {}):
            piece["properties"]["training"] = {"$ref": "#/$defs/Training"}
    recipe = pieces["RecipeEntry"]
    recipe["properties"]["task"] = {**_named(tasks), "description": "the one intermediate task"}
    recipe["properties"]["tasks"]["items"] = _named(tasks)
    del recipe["required"]  # its name, which follows from its tasks
    pieces["TargetEntry"]["properties"]["task"] = _named(tasks)
    recipe["properties"]["mlm"]["anyOf"].append({"type": "number", "description": "its share of the steps"})
    recipe["properties"]["sampling"] = {"anyOf": [{"enum": ["proportional", "uniform"]}, {"$ref": "#/$defs/Sampling"}]}
    recipe["properties"]["merge"] = {
        "anyOf": [recipe["properties"]["merge"], {"type": "array", "items": {"type": "string"}}]
    }
    parts["recipes"]["items"] = {"anyOf": [_named([NONE, *tasks]), {"type": "null"}, parts["recipes"]["items"]]}
    parts["targets"]["items"] = {"anyOf": [_named(tasks), parts["targets"]["items"]]}
    parts["encoders"]["items"] = {"anyOf": [{"type": "string"}, parts["encoders"]["items"]]}
    parts["preset"] = {"enum": sorted(presets()), "default": "quick"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _named(names: Sequence[str]) -> dict[str, Any]:
    """One of these, which an editor offers, or what a file of the user's calls so."""
    return {"anyOf": [{"enum": list(names)}, {"type": "string"}]}


def _hyperparameters(pieces: dict[str, Any]) -> dict[str, Any]:
    """The fields of `training`, of which none must be there; types that they name go to ``pieces``."""
    schema = Hyperparameters.model_json_schema()
    pieces.update(schema.get("$defs", {}))
    fields: dict[str, Any] = schema["properties"]
    fields["lora"]["anyOf"].append({"const": "none"})
    return fields
