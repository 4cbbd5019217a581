"""JSON Schema of a scenario file, from the same declarations that read it."""

from __future__ import annotations

import copy
import json
from typing import Any

from fedsim.scenario.file.settings import OVERRIDABLE, ScenarioFile

__all__ = ["scenario_schema", "scenario_schema_text"]


def scenario_schema() -> dict[str, Any]:
    """Schema for editors; a file that extends another may leave out what that one holds."""
    schema: dict[str, Any] = ScenarioFile.model_json_schema(mode="validation", by_alias=True)
    definitions = schema["$defs"]
    case = definitions["CaseTable"]["properties"]
    for name in OVERRIDABLE:
        case[name] = _without_mandatory_keys(schema["properties"][name], definitions)
    for name in ("ModelTable", "LoraTable", "WorkloadTable", "ServerTable", "DataTable"):
        definitions[name].pop("required", None)
    schema["required"] = ["question"]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "fedsim scenario"
    return schema


def scenario_schema_text() -> str:
    """The schema as it is printed."""
    return json.dumps(scenario_schema(), indent=1, ensure_ascii=False) + "\n"


def _without_mandatory_keys(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A case changes some keys of a table and leaves the others."""
    found = copy.deepcopy(schema)
    found.pop("default", None)
    reference = found.get("$ref", "").rpartition("/")[2]
    if reference:
        assert reference in definitions
    return found
